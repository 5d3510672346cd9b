"""What `init` writes: into a file as it is, without a database, and for tables with other names."""

import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from seedtool.errors import MigrationError, UsageError
from seedtool.postgres import server
from seedtool.schema import command
from seedtool.settings import FaceBinding, load
from seedtool.workflows.adopt import _collection, adopt
from seedtool.workflows.doctor import examine
from seedtool.workflows.project import refuse_outside_a_project
from seedtool.workflows.reset import migrate

PROJECTS = Path(__file__).resolve().parents[1] / "projects"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def project(tmp_path, database):
    """Copy a project of tests/projects and return a function that loads its settings."""

    def settings(name="library", url=database.url):
        root = tmp_path / name
        if not root.exists():
            shutil.copytree(PROJECTS / name, root, ignore=shutil.ignore_patterns("__pycache__"))
        return load(root, environ={"HOME": str(tmp_path), "DATABASE_URL": url})

    return settings


@pytest.mark.parametrize(
    ("before", "end"),
    [
        (b"[project]\r\nname = 'x'\r\n", b"\r\n"),
        (b"[project]\r\nname = 'x'", b"\r\n"),
        (b"[project]\r\nname = 'x'\r\n# one line of another editor\n", b"\r\n"),
        (b"[project]\nname = 'x'\n", b"\n"),
        (b"[project]\nname = 'x'\n# one line of another editor\r\n", b"\n"),
        (b"[project]\nname = 'x'", b"\n"),
    ],
)
def test_a_file_keeps_its_line_ends(project, before, end):
    settings = project()
    path = settings.root / "pyproject.toml"
    path.write_bytes(before)
    adopt(settings=settings)
    after = path.read_bytes()
    assert after.startswith(before)
    assert tomllib.loads(after.decode())["tool"]["seedtool"] == {"aws": "embedded"}
    added = after[len(before) :]
    assert added.count(end) == added.count(b"\n") > 2
    assert added.count(b"\r\n") == (added.count(b"\n") if end == b"\r\n" else 0)


@pytest.mark.parametrize("fault", ["server", "revision"])
def test_what_needs_no_table_is_written_when_the_migrations_fail(project, fault):
    settings = project(url=NOWHERE)
    if fault == "revision":
        settings = project()
        (settings.root / "alembic/versions/3c.py").write_text("def upgrade(:\n")
    report = adopt(settings=settings)
    assert report.written == ["[tool.seedtool] in pyproject.toml", "seeds/profiles.toml"]
    assert report.tables == []
    assert {"server": "cannot connect to nothing", "revision": "alembic/versions/3c.py:1: SyntaxError"}[
        fault
    ] in report.failed
    assert report.cure


def test_where_nothing_is_said_of_migrations_nothing_is_written(project):
    settings = project()
    settings.alembic_ini.unlink()
    before = {path: path.read_bytes() for path in settings.root.rglob("*.*") if path.is_file()}
    with pytest.raises(MigrationError) as refused:
        adopt(settings=settings)
    assert refused.value.place == {"file": settings.shown(settings.alembic_ini)}
    assert {path: path.read_bytes() for path in settings.root.rglob("*.*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["backend", "services/api"])
def test_a_monorepos_root_is_told_where_the_migrations_are(tmp_path, place):
    shutil.copytree(PROJECTS / "library", tmp_path / place)
    for name in (".venv", "node_modules"):  # what is installed is nobody's backend
        shutil.copytree(PROJECTS / "library", tmp_path / name)
    settings = load(tmp_path, environ={"HOME": str(tmp_path)})
    with pytest.raises(UsageError) as raised:
        refuse_outside_a_project(settings)
    assert f"{place}/alembic.ini" in raised.value.remedy
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'whole'\n")
    with pytest.raises(MigrationError) as refused:
        adopt(settings=load(tmp_path, environ={"HOME": str(tmp_path)}))
    assert f'alembic_ini = "{place}/alembic.ini"' in refused.value.remedy


PUPILS = """
CREATE TABLE pupils (id uuid PRIMARY KEY, display_name text NOT NULL);
CREATE TABLE pupil_photos (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pupil_id uuid NOT NULL REFERENCES pupils, aws_face_id text, external_id text UNIQUE,
    photo_key text NOT NULL)
"""
MEMBERS = """
CREATE TABLE members (no int PRIMARY KEY, name text);
CREATE TABLE portraits (
    code text PRIMARY KEY, member int REFERENCES members, rekognition_face_id uuid, external_image_id text,
    image_url text)
"""


@pytest.mark.parametrize(
    ("tables", "binding"),
    [
        (
            PUPILS,
            FaceBinding(
                table="pupil_photos", face_id="aws_face_id", external_image_id="external_id", person="pupil_id",
                label=("display_name",), photo="photo_key",
            ),
        ),
        (
            MEMBERS,
            FaceBinding(
                table="portraits", face_id="rekognition_face_id", key=("code",), person="member", photo="image_url"
            ),
        ),
        ("CREATE TABLE devices (id int PRIMARY KEY, face_id int, external_image_id int)", None),
    ],
    ids=["pupils", "members", "no text"],
)  # fmt: skip
def test_tables_with_faces_are_bound_whatever_their_columns_are_called(project, database, tables, binding):
    with server.connect(database) as connection:
        connection.execute(tables)
    settings = project()
    report = adopt(settings=settings)
    assert list(load(settings.root, environ={"HOME": "/"}).faces) == ([binding] if binding else [])
    assert report.face_tables == ([binding.table] if binding else [])


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Mi proyecto ñandú", "Mi-proyecto-nandu-faces"), ("学校", "app-faces"), ("a.b_c", "a.b_c-faces")],
)
def test_a_collection_is_named_after_the_folder_whatever_that_is_called(folder, name):
    assert _collection(folder) == name


def test_where_settings_are_there_already_the_binding_is_advised(project, database):
    with server.connect(database) as connection:
        connection.execute(PUPILS)
    settings = project(url=NOWHERE)
    adopt(settings=settings)  # without a database it cannot know the tables
    report = adopt(settings=project())
    (advice,) = report.advice
    path = settings.root / "pyproject.toml"
    path.write_text(f"{path.read_text()}\n{advice.partition(chr(10))[2]}\n")
    assert [each.table for each in project().faces] == ["pupil_photos"]
    assert adopt(settings=project()).advice == []
    assert msgspec.json.encode(report)


@pytest.mark.parametrize(("photo", "state"), [("photo_key", "ok"), (None, "note")])
def test_doctor_says_which_command_a_binding_is_too_little_for(project, database, photo, state):
    with server.connect(database) as connection:
        connection.execute(PUPILS)
    binding = FaceBinding(
        table="pupil_photos", face_id="aws_face_id", external_image_id="external_id", person="pupil_id",
        **({"photo": photo} if photo else {}),
    )  # fmt: skip
    settings = msgspec.structs.replace(project(), faces=(binding,), collection="c")
    check = {each.name: each for each in examine(settings=settings)}["faces"]
    assert check.state == state
    assert ("which enroll needs" in check.detail, "photo = " in check.cure) == (photo is None, photo is None)


MANAGE = """\
import psycopg
with psycopg.connect("") as connection:
    connection.execute("CREATE TABLE orders_cake (id int PRIMARY KEY, name text NOT NULL)")
    connection.execute("CREATE TABLE django_migrations (id int PRIMARY KEY)")
"""


@pytest.mark.parametrize("known", [False, True])
def test_django_builds_the_schema_by_its_own_command(project, tmp_path, known):
    root = tmp_path / "bakery"
    for name, text in (("manage.py", MANAGE), ("orders/migrations/0001.py", ""), ("uv.lock", "")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    if known:
        (root / "pyproject.toml").write_text('[tool.seedtool]\naws = "embedded"\n', encoding="utf-8")
    settings = project("bakery")
    refuse_outside_a_project(settings)
    with pytest.raises(MigrationError) as refused:
        migrate(settings=settings)
    assert "`seedtool init` writes build_command" in refused.value.remedy
    target = server.find(settings)
    command.run(target, msgspec.structs.replace(settings, build_command="python manage.py migrate"))
    report = adopt(settings=settings)
    lines = 'build_command = "python manage.py migrate"\nfingerprint_paths = ["*/migrations/**", "uv.lock"]'
    assert report.tables == ["orders_cake"]
    assert report.advice == [f"add to [tool.seedtool] in pyproject.toml:\n{lines}"] * known
    assert (lines in (root / "pyproject.toml").read_text(encoding="utf-8")) == (not known)
    assert (root / "seeds/local/orders_cake.csv").read_text(encoding="utf-8") == "id,name\n"
