import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedtool.errors import MigrationError, SettingsError
from seedtool.files import hashing
from seedtool.schema.schema_files import schema_fingerprint
from seedtool.settings import Settings, load

FACTS = {"version": "18.6", "locale": "C.UTF-8", "encoding": "UTF8", "owner": "postgres"}
INI = "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"

names = st.from_regex(r"[a-z0-9_]{1,8}(\.py|\.sql|\.mako|)", fullmatch=True)
trees = st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=5)
slow_disk = hypothesis_settings(max_examples=40)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(
        tmp_path, {"alembic.ini": INI, "migrations/env.py": "", "migrations/versions/0001_first.py": "revision = '1'"}
    )
    return tmp_path


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def of(root: Path, facts: dict[str, str] | None = None, **changes: object) -> str:
    return schema_fingerprint(changed(root, **changes), FACTS if facts is None else facts)


def changed(root: Path, **changes: object) -> Settings:
    return msgspec.structs.replace(load(root, environ={"SEEDTOOL_HOME": "state"}), **changes)


def fill(folder: Path, tree: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    write(folder, tree)


@slow_disk
@given(tree=trees, other=trees)
def test_two_trees_have_one_fingerprint_only_when_they_are_equal(project: Path, tree, other):
    fill(project / "migrations" / "versions", tree)
    first = of(project)
    fill(project / "migrations" / "versions", other)
    assert (of(project) == first) == (tree == other)


@slow_disk
@given(tree=trees, data=st.data())
def test_a_byte_that_moves_to_the_next_file_changes_it(project: Path, tree, data):
    name = data.draw(st.sampled_from(sorted(tree)))
    other = data.draw(names)
    assume(other not in tree and tree[name])
    fill(project / "migrations" / "versions", {**tree, other: b""})
    before = of(project)
    fill(project / "migrations" / "versions", {**tree, name: tree[name][:-1], other: tree[name][-1:]})
    assert of(project) != before


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=2, max_size=4), st.data())
def test_no_byte_moves_from_one_part_to_its_neighbour_unseen(parts, data):
    def digest_of(*entries):
        digest = hashing.Digest()
        for entry in entries:
            digest.add(*entry)
        return digest.hexdigest()

    at = data.draw(st.integers(0, len(parts) - 2))
    moved = [*parts[:at], parts[at][:-1], parts[at][-1:] + parts[at + 1], *parts[at + 2 :]]
    assert digest_of(parts) != digest_of(moved)
    assert digest_of(parts) != digest_of(parts[: at + 1], parts[at + 1 :])


@slow_disk
@given(order=st.permutations(["a.py", "b.py", "c.py", "d"]))
def test_the_order_in_which_files_were_made_does_not_matter(project: Path, order):
    fill(project / "migrations" / "versions", dict.fromkeys(sorted(order), b"x"))
    before = of(project)
    fill(project / "migrations" / "versions", dict.fromkeys(order, b"x"))
    assert of(project) == before


@pytest.mark.parametrize(
    "leftover",
    [
        "__pycache__/env.cpython-311.pyc",
        "versions/__pycache__/x.pyc",
        "versions/old.pyc",
        "versions/.0001_first.py.swp",
        "versions/0001_first.py~",
        "versions/#0001_first.py#",
        ".DS_Store",
    ],
)
def test_what_python_and_editors_leave_behind_does_not_change_it(project: Path, leftover: str):
    before = of(project)
    write(project / "migrations", {leftover: "anything"})
    assert of(project) == before


def test_files_beside_the_migrations_do_not_change_it(project: Path):
    before = of(project)
    write(project, {"README.md": "anything", "app/models.py": "anything"})
    assert of(project) == before


def test_two_checkouts_of_one_project_share_it(project: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("elsewhere")
    for path in project.rglob("*"):
        if path.is_file():
            write(other, {str(path.relative_to(project)): path.read_bytes()})
    assert of(other) == of(project)


def test_everything_else_that_shapes_the_schema_changes_it(project: Path):
    write(project, {"app/models.py": "a = 1", "app/views.sql": "SELECT 1"})
    seen = [of(project)]
    seen.append(of(project, {**FACTS, "owner": "someone"}))
    seen.append(of(project, {**FACTS, "locale": "es_CL"}))
    seen.append(of(project, alembic_x=("tenant=1",)))
    seen.append(of(project, alembic_x=("tenant=1", "more")))
    seen.append(of(project, fingerprint_paths=("app/*.py",)))
    seen.append(of(project, fingerprint_paths=("app/**/*",)))
    seen.append(of(project, fingerprint_paths=("app",)))
    write(project, {"app/models.py": "a = 2"})
    seen.append(of(project, fingerprint_paths=("app/*.py",)))
    write(project, {"alembic.ini": INI + "timezone = UTC\n"})
    seen.append(of(project))
    write(project, {"pyproject.toml": "[tool.alembic]\nfile_template = 'x'\n"})
    seen.append(of(project))
    assert len(set(seen)) == len(seen) - 1  # app and app/**/* hold the same files


#: a line of env.py or of a revision → a file that it makes part of the schema
IMPORTED = {
    "import models": "models.py",
    "import os, models as m": "models.py",
    "import os; import models": "models.py",
    "from app.models import Base": "app/models.py",
    "from app import models": "app/models.py",
    "from app.models import (\n    Base,  # all tables\n)": "app/__init__.py",
    "from app import (\n    views,\n    models,\n)": "app/models.py",
    "from app import views, \\\n    models": "app/models.py",
    "def upgrade():\n    from app.models import Base": "app/models.py",
    "from app import *": "app/__init__.py",
    "import app.models": "app/parts/columns.py",
    "from app.parts import columns": "app/parts/columns.py",
    "from shop.tables import T": "src/shop/tables.py",
    "from importlib import import_module\nimport_module('app.models')": "app/models.py",
    "import pkgutil\nimport app.discover": "app/parts/columns.py",
    "SQL = Path('sql/views.sql').read_text()": "sql/views.sql",
    "from versions import tools": "migrations/versions/tools.py",
}
PROJECT = {
    "models.py": "",
    "app/__init__.py": "",
    "app/models.py": "from .parts.columns import id_\nfrom . import names\n",
    "app/names.py": "",
    "app/parts/__init__.py": "",
    "app/parts/columns.py": "",
    "app/discover.py": "import pkgutil\n",
    "app/views.py": "",
    "src/shop/tables.py": "",
    "sql/views.sql": "",
    "migrations/versions/tools.py": "",
}


@pytest.mark.parametrize("place", ["migrations/env.py", "migrations/versions/0001_first.py"])
@pytest.mark.parametrize("line", IMPORTED)
def test_what_a_revision_or_env_py_imports_changes_it(project: Path, line: str, place: str):
    write(project, {**PROJECT, place: line})
    before = of(project)
    write(project, {IMPORTED[line]: "changed = 1\n"})
    assert of(project) != before


READS = {
    "subscript": "import os\nX = os.environ['COLOUR']",
    "get": "import os\nX = os.environ.get('COLOUR', 'none')",
    "getenv": "from os import getenv\nX = getenv('COLOUR')",
    "a constant": "import os\nNAME = 'COLOUR'\nX = os.environ[NAME]",
    "membership": "import os\nX = 'COLOUR' in os.environ",
    "decouple": "from decouple import config\nX = config('COLOUR')",
    "environs": "from environs import Env\nX = Env().str('COLOUR')",
}


@pytest.mark.parametrize("place", ["migrations/versions/0001_first.py", "migrations/env.py", "app/colours.py"])
@pytest.mark.parametrize("way", READS)
def test_a_variable_that_the_code_reads_changes_it(project: Path, monkeypatch: pytest.MonkeyPatch, way, place):
    write(project, {"migrations/env.py": "from app import colours", "app/colours.py": "", place: READS[way]})
    if place != "migrations/env.py":
        write(project, {"migrations/env.py": "from app import colours"})
    monkeypatch.delenv("COLOUR", raising=False)
    unset = of(project)
    seen = {unset}
    for value in ("red", "blue", ""):
        monkeypatch.setenv("COLOUR", value)
        seen.add(of(project))
    assert len(seen) == 4
    monkeypatch.setenv("COLOUR", "red")
    assert of(project) in seen
    monkeypatch.delenv("COLOUR")
    write(project, {".env": "export COLOUR=red\n"})  # as load_dotenv() reads it
    assert of(project) != unset


@pytest.mark.parametrize("name", ["DATABASE_URL", "PGHOST", "POSTGRES_DB", "AWS_SESSION_TOKEN"])
def test_variables_that_name_the_database_do_not_change_it(project: Path, monkeypatch: pytest.MonkeyPatch, name):
    write(project, {"migrations/env.py": f"import os\nX = os.environ.get('{name}')"})
    monkeypatch.delenv(name, raising=False)
    before = of(project)
    monkeypatch.setenv(name, "another")
    assert of(project) == before


def test_what_a_text_and_a_variable_share_by_chance_does_not_change_it(project: Path, monkeypatch: pytest.MonkeyPatch):
    write(project, {"migrations/env.py": "import os\nROLE = 'USER'\n", "migrations/versions/2.py": "X = 'COLOUR'"})
    write(project, {"migrations/versions/3.py": "import os\nX = os.environ.get('SHAPE')"})
    before = of(project)
    for name in ("USER", "COLOUR", "OTHER"):
        monkeypatch.setenv(name, "another")
    assert of(project) == before


def test_what_is_imported_by_nobody_does_not_change_it(project: Path):
    write(project, {**PROJECT, "migrations/env.py": "from app.models import Base\nimport os, re, alembic.context\n"})
    write(project, {".venv/lib/site-packages/app/models.py": "", "tests/test_models.py": ""})
    before = of(project)
    write(project, dict.fromkeys(("app/views.py", "app/discover.py", "models.py", "src/shop/tables.py"), "x = 1"))
    write(project, {".venv/lib/site-packages/app/models.py": "x = 1", "tests/test_models.py": "x = 1"})
    assert of(project) == before


def test_a_module_that_appears_changes_it(project: Path):
    write(project, {"migrations/env.py": "try:\n    import local_models\nexcept ImportError:\n    pass\n"})
    before = of(project)
    write(project, {"local_models.py": "x = 1\n"})
    assert of(project) != before


def test_modules_that_import_each_other_and_code_of_no_encoding(project: Path):
    write(project, {"a.py": "import b, a\n", "b.py": b"import a\n# \xff\xfe\n", "migrations/env.py": "import a"})
    before = of(project)
    write(project, {"b.py": "import a\n"})
    assert of(project) != before


def test_what_was_imported_is_not_read_again(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hashing, "SETTLED", 0)
    write(project, {**PROJECT, "migrations/env.py": "from app.models import Base"})
    changed(project).state_dir.mkdir(parents=True)
    before = of(project)
    with monkeypatch.context() as patched:
        patched.setattr(hashing.Hashes, "_read", lambda _, path: pytest.fail(str(path)))
        assert of(project) == before
    stat = (project / "app/names.py").stat()
    write(project, {"app/names.py": ""})
    os.utime(project / "app/names.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert of(project) == before


def test_seeds_below_the_script_folder_do_not_change_it(project: Path):
    ini = "[alembic]\nscript_location = %(here)s\nprepend_sys_path = .\n"
    write(project, {"alembic.ini": ini, "env.py": "", "versions/1.py": "", "seeds/local/students.csv": "id\n"})
    write(project, {".venv/bin/activate": "", "node_modules/x.js": ""})
    before = of(project)
    write(project, {"seeds/local/students.csv": "id\n1\n", "seeds/profiles.toml": "[local]\nsets = ['local']\n"})
    write(project, {".venv/bin/activate": "1", "node_modules/x.js": "1"})
    assert of(project) == before
    write(project, {"versions/2.py": ""})
    assert of(project) != before


def test_an_alembic_ini_beside_env_py_is_read_in_its_own_folder_unless_flask_reads_it(project: Path):
    write(project, {"back/env.py": "from app import models", "back/app/models.py": "", "back/versions/1.py": ""})
    write(project, {"back/alembic.ini": "[alembic]\nscript_location = .\nprepend_sys_path = .\n"})
    settings = changed(project, alembic_ini=project / "back/alembic.ini")
    assert settings.alembic_folder == project / "back"
    before = schema_fingerprint(settings, FACTS)
    write(project, {"back/app/models.py": "x = 1"})
    assert schema_fingerprint(settings, FACTS) != before
    write(project, {"back/alembic.ini": "[alembic]\n# script_location is said by flask db\n"})
    assert settings.alembic_folder == project


def test_revisions_count_wherever_they_are_when_env_py_says_it_while_it_runs(project: Path):
    write(project, {"migrations/env.py": "context.script.version_locations = found()"})
    write(project, {"plugins/stars/steps/s1.py": "revision = 's1'\ndown_revision = None\n", "plugins/other.py": ""})
    before = of(project)
    write(project, {"plugins/other.py": "x = 1"})
    assert of(project) == before
    write(project, {"plugins/stars/steps/s1.py": "revision = 's1'\ndown_revision = None\n# changed\n"})
    assert of(project) != before


def test_the_named_section_counts(project: Path):
    ini = "[alembic]\nscript_location = nowhere\n[shop]\nscript_location = %(here)s/migrations\n"
    write(project, {"alembic.ini": ini})
    assert of(project, alembic_name="shop") != of(project, alembic_name="shop", alembic_database="one")
    with pytest.raises(MigrationError, match=r"\[stock\]") as raised:
        of(project, alembic_name="stock")
    assert "alembic_name" in raised.value.remedy


def test_the_order_of_the_servers_facts_does_not_matter(project: Path):
    assert of(project, dict(reversed(FACTS.items()))) == of(project)


def test_it_does_not_change_by_itself_from_process_to_process(project: Path):
    code = (
        "import sys, pathlib; from seedtool.settings import load; "
        "from seedtool.schema.schema_files import schema_fingerprint; "
        f"print(schema_fingerprint(load(pathlib.Path(sys.argv[1])), {FACTS!r})); "
        "print(*{'alembic', 'sqlalchemy', 'mako'} & {name.split('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    output = subprocess.run(
        [sys.executable, "-c", code, str(project)], check=True, capture_output=True, text=True, env=environment
    ).stdout
    assert output == f"{of(project)}\n\n"  # the second line would name what the warm path must not import


@pytest.mark.parametrize(
    ("separator", "listed"),
    [
        ("path_separator = os", os.pathsep.join(["%(here)s/migrations/versions", "more"])),
        ("path_separator = space", "migrations/versions more"),
        ("path_separator = newline", "\n  %(here)s/migrations/versions\n  more"),
        ("version_path_separator = ;", "migrations/versions; more"),
        ("", "migrations/versions, more"),
    ],
)
def test_version_locations_are_split_as_alembic_splits_them(project: Path, separator: str, listed: str):
    write(project, {"alembic.ini": f"{INI.replace('path_separator = os', separator)}version_locations = {listed}\n"})
    write(project, {"more/0002.py": "revision = '2'"})
    before = of(project)
    write(project, {"more/0002.py": "revision = '3'"})
    assert of(project) != before


def test_a_package_may_name_the_script_location(project: Path):
    write(project, {"alembic.ini": "[alembic]\nscript_location = app.db:migrations\nprepend_sys_path = src\n"})
    write(project, {"src/app/db/migrations/env.py": "1"})
    before = of(project)
    write(project, {"src/app/db/migrations/env.py": "2"})
    assert of(project) != before


def test_pyproject_alone_may_speak_of_alembic(project: Path):
    (project / "alembic.ini").unlink()
    write(project, {"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'})
    before = of(project)
    write(project, {"migrations/env.py": "2"})
    after = of(project)
    assert after != before
    write(project, {"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/migrations"\n[tool.other]\na = 1\n'})
    assert of(project) == after


def test_a_glob_that_matches_nothing_is_an_error(project: Path):
    with pytest.raises(SettingsError) as refused:
        of(project, fingerprint_paths=("app/*.py",))
    assert refused.value.place["setting"] == "fingerprint_paths"
    assert "app/*.py" in refused.value.message


@pytest.mark.parametrize(
    "pattern",
    [
        "..", "../**", "migrations/../..", "**models", "loop/self", "loop/pipe", "loop", "loop/**", "round",
        pytest.param("a" * 5000, id="too long"),
    ],
)  # fmt: skip
def test_a_glob_that_finds_too_much_or_nothing_is_told(project: Path, pattern: str, approved):
    (project / "loop").mkdir()
    (project / "loop" / "self").symlink_to("self")
    os.mkfifo(project / "loop" / "pipe")
    (project / "round" / "below").mkdir(parents=True)
    (project / "round" / "below" / "up").symlink_to("..")
    with pytest.raises(SettingsError) as refused:
        of(project, fingerprint_paths=(pattern,))
    approved(refused.value)


def test_a_link_to_a_folder_that_is_elsewhere_is_followed(project: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("models")
    (elsewhere / "shop.py").write_text("a = 1")
    (project / "models").symlink_to(elsewhere)
    before = of(project, fingerprint_paths=("models",))
    (elsewhere / "shop.py").write_text("a = 2")
    assert of(project, fingerprint_paths=("models",)) != before


@pytest.mark.parametrize("ini", [None, "[alembic]\n", "no section", "[alembic]\nscript_location = nowhere\n"])
def test_without_migrations_the_error_tells_what_is_missing(project: Path, ini: str | None, approved):
    settings = changed(project)
    (project / "alembic.ini").unlink()
    if ini is not None:
        write(project, {"alembic.ini": ini})
    with pytest.raises(MigrationError) as raised:
        schema_fingerprint(settings, FACTS)
    assert raised.value.place == {"file": "alembic.ini"}
    assert raised.value.remedy
    approved(raised.value)


def test_it_takes_a_few_milliseconds(tmp_path: Path):
    settings = load(Path(__file__).parents[2], environ={"SEEDTOOL_HOME": str(tmp_path)})
    settings.state_dir.mkdir(parents=True)  # what files import is remembered there

    def once() -> float:
        begin = time.process_time()  # other programs' work does not count
        schema_fingerprint(settings, FACTS)
        return time.process_time() - begin

    assert min(once() for _ in range(20)) < 0.01  # 3 ms without coverage, on a quiet machine


def test_the_hash_that_version_0_1_0_gave_is_still_given(project, monkeypatch):
    """Templates that it made are found by it."""
    monkeypatch.setattr("seedtool.schema.schema_files._version", lambda _: "1.0")
    found = of(project, {"version": "18.6", "locale": "C.UTF-8"}, alembic_x=("a=b",))
    assert found == "d5bfa8a947f79c04aa053b85f07402fbb7e2b6d2922ca2b86ae873d6a98a11c2"
