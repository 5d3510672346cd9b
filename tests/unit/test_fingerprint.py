import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedtool.errors import MigrationError, SettingsError
from seedtool.schema.fingerprint import schema_fingerprint
from seedtool.settings import Settings, load

FACTS = {"version": "18.6", "locale": "C.UTF-8", "encoding": "UTF8", "owner": "postgres"}
INI = "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"

names = st.from_regex(r"[a-z0-9_]{1,8}(\.py|\.sql|\.mako|)", fullmatch=True)
trees = st.dictionaries(names, st.binary(max_size=20), min_size=1, max_size=5)
slow_disk = hypothesis_settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


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


def test_the_order_of_the_servers_facts_does_not_matter(project: Path):
    assert of(project, dict(reversed(FACTS.items()))) == of(project)


def test_it_does_not_change_by_itself_from_process_to_process(project: Path):
    code = (
        "import sys, pathlib; from seedtool.settings import load; "
        "from seedtool.schema.fingerprint import schema_fingerprint; "
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


def test_it_takes_a_few_milliseconds():
    settings = load(Path(__file__).parents[2])

    def once() -> float:
        begin = time.perf_counter()
        schema_fingerprint(settings, FACTS)
        return time.perf_counter() - begin

    assert min(once() for _ in range(20)) < 0.005


def test_the_hash_that_version_0_1_0_gave_is_still_given(project, monkeypatch):
    """Templates that it made are found by it."""
    monkeypatch.setattr("seedtool.schema.fingerprint._version", lambda _: "1.0")
    found = of(project, {"version": "18.6", "locale": "C.UTF-8"}, alembic_x=("a=b",))
    assert found == "d5bfa8a947f79c04aa053b85f07402fbb7e2b6d2922ca2b86ae873d6a98a11c2"
