"""The errors that users meet most, each with its exit code, its place, and its words in tests/cli/messages.txt.

A case changes a seeded project a little and runs a command there, in this process. What a file holds beyond that is
tested where it is read: those tests hand their errors to the same fixture.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from seedtool import cli
from seedtool.postgres import server
from tests import messages
from tests.cli.conftest import Project, copy_of_this_project


@dataclass(frozen=True)
class Case:
    """A command that fails.

    Args:
        command: what is typed after `seedtool`.
        files: what stands in files of the project meanwhile; None for a file that is missing.
        env: further variables of the environment.
        sql: what happens in the database before.
        undo: what puts the database back.
    """

    command: str
    files: dict[str, str | None] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    sql: str = ""
    undo: str = ""


def url(text: str) -> Case:
    return Case("db-reset --yes", env={"DATABASE_URL": text})


def table(text: str) -> Case:
    return Case("config", files={"pyproject.toml": f"[tool.seedtool]\n{text}\n"})


def changed(command: str, text: str) -> Case:
    head = '[project]\nname = "seedtool"\n[tool.seedtool]\naws = "embedded"\n'
    return Case(command, files={"pyproject.toml": f"{head}{text}\n"})


def binding(text: str) -> Case:
    return changed("sync-faces", text)


def seed(file: str, text: str, profile: str = "extra") -> Case:
    profiles = f'[{profile}]\nsets = ["extra"]\n'
    return Case(f"seed {profile}", files={f"seeds/extra/{file}": text, "seeds/profiles.toml": profiles})


def profile(text: str) -> Case:
    return Case("seed extra", files={"seeds/profiles.toml": text})


def revision(body: str, *, down: str = "0004") -> Case:
    text = f'revision = "0005"\ndown_revision = "{down}"\n\nfrom alembic import op\n\n\ndef upgrade():\n    {body}\n'
    return Case("db-reset --yes", files={"migrations/versions/0005_step.py": text})


def env_py(text: str) -> Case:
    return Case("db-reset --yes", files={"migrations/env.py": text})


def live(command: str, **env: str) -> Case:
    return Case(command, env={"SEEDTOOL_AWS": "live", "HOME": "/nowhere", **env})


KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
GRADE = "grade-7b"

CASES = {
    # the command line
    "a command that there is not": Case("nonsense"),
    "a command that is misspelt": Case("db-rest"),
    "a flag that there is not": Case("db-reset --nonsense"),
    "a port that is no port": Case("server start --port 0"),
    "a folder that is no project": Case("db-reset", files={"pyproject.toml": None, "alembic.ini": None}),
    # settings
    "a setting that is misspelt": table('colection = "x"'),
    "a secret in pyproject.toml": table('backfill_token = "x"'),
    "a table of settings that is none": Case("config", files={"pyproject.toml": "[tool]\nseedtool = 1\n"}),
    "a mode of aws that there is not": table('aws = "moto"'),
    "a number that is none": Case("config", env={"SEEDTOOL_SPARES": "many"}),
    "a list that is none": table('owned_collections = "one"'),
    "a name of a database that is too long": table(f'database = "{"x" * 64}"'),
    # the address of the database
    "an address that is none": url("nonsense"),
    "an address of another database system": url("mysql://host/db"),
    "an address in quotes": url('"postgresql://host/db"'),
    "an address without a database": url("postgresql://host/"),
    "an address of the maintenance database": url("postgresql://host/postgres"),
    "an address of a template of PostgreSQL": url("postgresql://host/template1"),
    "an address of a database of seedtool": url("postgresql://host/seedtool_template_0123456789abcdef0123"),
    "an address with a parameter that libpq has not": url("postgresql://host/db?pgbouncer=true"),
    "an address with Prisma's schema": url("postgresql://host/db?schema=app"),
    "an address whose password is not encoded": url("postgresql://u:a@b/c@host/db"),
    "an address where nothing listens": url("postgresql://u:p@127.0.0.1:1/db"),
    "an external server that is to be started": Case("server start", env={"DATABASE_URL": "postgresql://h/db"}),
    # the guard
    "a reset that nobody confirmed": Case("db-reset"),
    "a reset of another name": Case("db-reset --yes --confirm other"),
    "a reset of a protected database": Case("db-reset --yes", sql="PROTECT"),
    "a seed of a protected database": Case("seed local", sql="PROTECT"),
    "a restore over a protected database": Case("snapshot restore kept --yes", sql="PROTECT"),
    "an end of protection that nobody confirmed": Case("guard unprotect", sql="PROTECT"),
    "an end of protection of another name": Case("guard unprotect --confirm other", sql="PROTECT"),
    "a database that others made": Case("db-reset --yes", env={"SEEDTOOL_DATABASE": "theirs"}),
    "a database that there is not": Case("guard protect", env={"SEEDTOOL_DATABASE": "nowhere"}),
    # profiles
    "no profile": Case("seed"),
    "a profile that is misspelt": Case("seed fulll"),
    "a profile that there is not": Case("seed zzz"),
    "a profile that may be a command": Case("seed lod"),
    "no file of profiles": Case("seed local", files={"seeds/profiles.toml": None}),
    "a profile without sets": profile("[extra]\n"),
    "a profile with a misspelt key": profile('[extra]\nset = ["local"]\n'),
    "a profile with a set that is misspelt": profile('[extra]\nsets = ["loca"]\n'),
    "a profile with a set outside": profile('[extra]\nsets = ["../local"]\n'),
    "a profile with photos for no sync": profile('[extra]\nsets = ["local"]\nindexed = "a.csv"\n'),
    # seed files
    "a file of a table that is misspelt": seed("student.csv", "id\nx\n"),
    "a file of no form that is known": seed("students.cvs", "id\nx\n"),
    "a column that is misspelt": seed("teachers.csv", "id,frist_name\nx,Ana\n"),
    "a value that must be there": seed("teachers.csv", "id,first_name,last_name,email\nx,,Ayala,a@x.example\n"),
    "a column that must be there": seed("grades.csv", "id,name\nx,Kinder\n"),
    "a value of a wrong type": seed("classrooms.csv", "id,name,building,floor,capacity\nx,A,B,one,3\n"),
    "a date of another country": seed(
        "students.csv", f"id,first_name,last_name,grade_id,enrollment_date\nx,A,B,{GRADE},31/03/2026\n"
    ),
    "a reference to no row": seed("grades.csv", "id,name,display_name,stage_id,order\nx,A,A,nowhere,1\n"),
    "a key that stands twice": seed("teachers.csv", "id,first_name\nx,A\nx,B\n"),
    "a row of too many cells": seed("teachers.csv", "id,first_name\nx,A,B\n"),
    "a quote that is not closed": seed("teachers.csv", 'id,first_name\nx,"A\n'),
    "yaml that is none": seed("teachers.yaml", "- id: [x\n- id: y\n"),
    "yaml that is no list": seed("teachers.yaml", "id: x\n"),
    "python without rows": seed("teachers.py", "ROWS = []\n"),
    "python that raises": seed("teachers.py", "def rows():\n    1 / 0\n"),
    "a script that fails": Case(
        "seed extra",
        files={
            "seeds/profiles.toml": '[extra]\nsets = ["local"]\nafter = ["after.sql"]\n',
            "seeds/after.sql": "SELECT 1;\n\nSELECT nonsense;\n",
        },
    ),
    # a dump
    "a dump of a table that there is not": Case("seed-dump --table nowhere"),
    "a dump of a table of Alembic": Case("seed-dump --table alembic_version"),
    "a dump into a folder outside": Case("seed-dump --set ../elsewhere --table stages"),
    "a dump of a table whose rows are yaml": Case("seed-dump --set local --table stages"),
    # migrations
    "no alembic.ini": Case("migrate", files={"alembic.ini": None}),
    "an alembic.ini of no folder": Case(
        "db-reset --yes", files={"alembic.ini": "[alembic]\nscript_location = nowhere\n"}
    ),
    "an alembic.ini that cannot be read": Case("db-reset --yes", files={"alembic.ini": "nonsense"}),
    "a revision whose statement fails": revision('op.execute("SELECT nonsense")'),
    "a revision that ends the program": revision("raise SystemExit(3)"),
    "a revision that raises": revision('raise ValueError("no")'),
    "a revision that follows none that there is": revision("pass", down="9999"),
    "a revision that is no Python": Case("db-reset --yes", files={"migrations/versions/0005_step.py": "def (\n"}),
    "an env.py that is no Python": env_py("def (\n"),
    "an env.py that needs what is not installed": env_py("import pg8000\n"),
    "an env.py that does nothing": env_py("pass\n"),
    "an env.py that wants a variable": env_py('import os\nos.environ["APP_DATABASE_URL"]\n'),
    "a glob that matches nothing": changed("db-reset --yes", 'fingerprint_paths = ["models/*.py"]'),
    # snapshots
    "a snapshot that there is not": Case("snapshot restore kep --yes"),
    "a snapshot of a name that is taken": Case("snapshot save kept"),
    "a snapshot of a name that cannot be": Case("snapshot save ' x'"),
    "a snapshot with a note of two lines": Case("snapshot save new --note 'a\nb'"),
    "a snapshot that is renamed to one that there is": Case("snapshot rename kept kept"),
    "a snapshot that is deleted and not there": Case("snapshot delete nowhere --yes"),
    "a snapshot that is exported into a file that there is": Case("snapshot export kept alembic.ini"),
    "a snapshot that is exported to nowhere": Case("snapshot export kept nowhere/kept.dump"),
    "a file that is no dump": Case("snapshot import alembic.ini --name new"),
    "a file that there is not": Case("snapshot import nowhere.dump"),
    "a restore that nobody confirmed": Case("snapshot restore kept"),
    # faces
    "a student without photos": Case("enroll student-001"),
    "a student and all": Case("enroll --all student-001"),
    "a photo that there is not": Case("enroll student-001 nowhere.jpg"),
    "a student that there is not": Case("enroll nobody alembic.ini"),
    "a student that is misspelt": Case("enroll student-01 alembic.ini"),
    "a picture that is none": Case("recognize alembic.ini"),
    "a manifest with another header": Case("enroll --manifest list.csv", files={"list.csv": "a,b\n1,2\n"}),
    "a manifest of somebody that there is not": Case(
        "enroll --manifest list.csv", files={"list.csv": "student_id,photo\nnobody,alembic.ini\n"}
    ),
    "a collection that cannot be": Case("sync-faces --collection b@d"),
    "a collection that there is not": Case("sync-faces --collection nowhere"),
    "no binding": binding(""),
    "a binding of a table that there is not": binding(
        '[[tool.seedtool.faces]]\ntable = "student_face"\ncollection = "a"'
    ),
    "a binding of a column that is misspelt": binding(
        '[[tool.seedtool.faces]]\ntable = "student_faces"\nface_id = "faceid"\ncollection = "a"'
    ),
    "a binding without a collection": binding('[[tool.seedtool.faces]]\ntable = "student_faces"'),
    "a binding with two collections": binding(
        '[[tool.seedtool.faces]]\ntable = "student_faces"\ncollection = "a"\ncollection_column = "b"'
    ),
    "a binding with a key that there is not": binding('[[tool.seedtool.faces]]\ntable = "f"\nboxes = "b"'),
    "a binding with a condition that fails": binding(
        '[[tool.seedtool.faces]]\ntable = "student_faces"\ncollection = "a"\nwhere = "nonsense"'
    ),
    "a reference that is misspelt": changed(
        "faces dedupe --dry-run",
        'face_references = ["attendance.faceid"]\n[[tool.seedtool.faces]]\ntable = "student_faces"\ncollection = "a"',
    ),
    "no region": live("sync-faces"),
    "no credentials": live("sync-faces", AWS_REGION="us-east-1"),
    "a profile of AWS that there is not": live("sync-faces", AWS_REGION="us-east-1", AWS_PROFILE="nobody"),
    "an endpoint that is no address": live("sync-faces", **KEYS, AWS_ENDPOINT_URL_REKOGNITION="nonsense"),
    "no photo store": live("enroll --all", **KEYS),
    "a photo store that is none": Case("enroll --all", env={"PHOTOS_URL": "ftp://host/photos"}),
    # the backfill
    "a backfill of nobody": Case("backfill --user-id ana --yes"),
    "a backfill of a user that there is not": Case("backfill --user-id 00000000-0000-4000-8000-000000000000 --yes"),
    "a backfill of nothing": Case("backfill --limit 0 --yes"),
    "a backfill in batches of nothing": Case("backfill --batch-size 0 --yes"),
    "a backfill of less than no money": Case("backfill --max-cost -1 --yes"),
    "a backfill that asks, with flags": Case("backfill --interactive --limit 3"),
    "a backfill that asks, without a terminal": Case("backfill --interactive"),
    "a dry run of a backfill with a page": Case("backfill --dry-run --html page.html"),
    "a backfill whose page has no folder": Case("backfill --yes --html nowhere/page.html"),
    "a backfill by an application, at a cost": Case("backfill --endpoint https://h/x --max-cost 3 --yes"),
    "a backfill by an application at no address": Case("backfill --endpoint ftp://h/x --yes"),
    "a backfill by an application without a token": Case("backfill --endpoint https://h/x --yes"),
    "a backfill by an application over plain http": Case(
        "backfill --endpoint http://h/x --yes", env={"SEEDTOOL_BACKFILL_TOKEN": "word"}
    ),
    "a backfill without its tables": Case(
        "backfill --yes", sql="ALTER TABLE assets RENAME TO pictures", undo="ALTER TABLE pictures RENAME TO assets"
    ),
    "a review of a face that there is not": Case("faces review --skip 00000000-0000-4000-8000-000000000000"),
    "a review of a face that is none": Case("faces review --skip abc"),
    "a review of a list of faces with a decision": Case("faces review --limit 3 --skip 00000000"),
    # the emulator
    "an emulator with photos nowhere": Case("emulator --photos nowhere"),
    "an emulator with an empty token": Case("emulator --admin-token ''"),
    "an emulator with a host name that is none": Case("emulator --host-name a:1"),
    "an emulator for a page that is none": Case("emulator --cors localhost"),
    "an emulator with faults that are none": Case("emulator --faults {"),
    "an emulator with a fault that there is not": Case('emulator --faults \'{"rules": [{"fault": "none"}]}\''),
    "an emulator that asks for signatures without a key": Case("emulator --require-signature"),
}


@pytest.fixture(scope="module")
def seeded(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with rows and a snapshot, for all cases."""
    project = copy_of_this_project(tmp_path_factory.mktemp("project"), photos=False)
    try:
        project.ok("db-reset --yes --seed local")
        project.ok("snapshot save kept")
        with server.connect(server.find(project.settings), "postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE theirs")
        theirs = {"SEEDTOOL_DATABASE": "theirs"}
        with server.connect(server.find(project.settings), "theirs") as connection:
            connection.execute("CREATE TABLE takings ()")
        assert project.run("guard status", env=theirs).code == 0
        yield project
    finally:
        project.stop()


@contextlib.contextmanager
def files(root: Path, changed: dict[str, str | None]) -> Iterator[None]:
    """Let files of the project hold something else meanwhile."""
    before = {name: (root / name).read_bytes() if (root / name).exists() else None for name in changed}
    try:
        for name, text in changed.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).unlink(missing_ok=True)
            if text is not None:
                (root / name).write_text(text, encoding="utf-8")
        yield
    finally:
        for name, content in before.items():
            (root / name).unlink(missing_ok=True)
            if content is not None:
                (root / name).write_bytes(content)


@contextlib.contextmanager
def statements(project: Project, first: str, last: str) -> Iterator[None]:
    """Change the database meanwhile."""
    protect = first == "PROTECT"
    if protect:
        project.ok("guard protect")
    elif first:
        project.query(first)
    try:
        yield
    finally:
        if protect:
            project.ok("guard unprotect --confirm", project.settings.database)
        elif last:
            project.query(last)


@pytest.mark.parametrize("name", CASES)
def test_a_message_says_what_happened_where_and_what_to_do(seeded, name, approved, monkeypatch, capsys):
    import shlex

    case = CASES[name]
    for variable, value in case.env.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("sys.argv", ["seedtool", *shlex.split(case.command), "--json"])
    with (
        statements(seeded, case.sql, case.undo),
        files(seeded.root, case.files),
        contextlib.chdir(seeded.root),
        pytest.raises(SystemExit) as ended,
    ):
        cli.run(cli.seedtool, "seedtool")
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert ended.value.code
    assert error["remedy"], "a message without a remedy"
    assert error["message"] in err
    assert "Traceback" not in err
    approved(error, int(str(ended.value.code)))


def test_every_approved_case_is_of_a_test():
    for name in messages.read():
        file, _, test = name.partition("::")
        function = test.split("[")[0].split(" ")[0].rpartition("::")[2]
        assert f"def {function}(" in (messages.ROOT / "tests" / file).read_text(encoding="utf-8"), name
