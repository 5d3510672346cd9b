"""What earlier releases left on servers and disks is still understood.

Below this folder stands, by version, what write.py wrote with each release. A restored database has another oid and
another system identifier, and marks name both; so the marks are written anew in the release's own format, which is
first shown to be the one that its facts have.
"""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from seedtool.emulator import objects
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.store import Store
from seedtool.postgres import programs, server
from seedtool.settings import Settings
from tests.cli.conftest import Project

HERE = Path(__file__).parent
RELEASES = sorted(path.parent.name for path in HERE.glob("*/facts.json"))
UNSIGNED = {"0.1.0"}  # their archives are not signed
STUDENTS = "eduguard-school-default"
ELENA = "00000000-0000-4000-8000-000100010000"


@dataclass(frozen=True)
class Release:
    """A release's project with its state restored.

    Args:
        project: the project; its commands are those of the present code.
        folder: what the release wrote.
        said: what the release's own commands said of the state.
    """

    project: Project
    folder: Path
    said: dict[str, Any]

    def ok(self, *command: str | Path, database: str = "seedtool") -> Any:
        return self.project.ok(*command, "--json", env={"SEEDTOOL_DATABASE": database}).json

    def query(self, statement: str, database: str = "seedtool") -> list[tuple[Any, ...]]:
        target = server.find(self.project.settings)
        with server.connect(target, database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def as_app(self, database: str) -> dict[str, str]:
        found = server.find(self.project.settings)
        assert found.embedded is not None
        return {"DATABASE_URL": f"postgresql://app@/{database}?host={found.embedded.socket_dir}"}


@pytest.fixture(scope="module", params=RELEASES)
def release(request, home, tmp_path_factory):
    """The state of a release, restored on a server of its own."""
    folder = HERE / request.param
    root = tmp_path_factory.mktemp(f"release-{request.param}")
    with tarfile.open(folder / "project.tar.gz") as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # Python before 3.11.4
        packed.extractall(root)  # noqa: S202 - we packed it ourselves
    project = Project(root / "school")
    recorded = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    shutil.copytree(folder / "emulator", project.settings.state_dir / "emulator")
    try:
        restore(project.settings, folder, recorded)
        yield Release(project, folder, recorded["said"])
    finally:
        project.stop()


def restore(settings: Settings, folder: Path, recorded: dict[str, Any]) -> None:
    """Put a release's databases on an empty server: contents from dumps, the rest as a superuser writes it."""
    target = server.find(settings)
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE ROLE app LOGIN CREATEDB")
        (system,) = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
        tools = programs.fitting(connection.info.server_version)[-1]
        contents: dict[tuple[str, str], str] = {}
        for facts in recorded["databases"]:
            name, owner = sql.Identifier(facts["name"]), sql.Identifier(facts["owner"])
            same = contents.setdefault((facts["dump"], facts["owner"]), facts["name"])
            template = sql.Identifier(same if same != facts["name"] else "template0")
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(name, owner, template))
            if same == facts["name"]:
                options = ["--no-owner", "--exit-on-error", f"--role={facts['owner']}"]
                done = programs.run(
                    tools, "pg_restore", *options, folder / facts["dump"], target=target, database=facts["name"]
                )
                assert done.code == 0, done.errors
        new = dict(connection.execute("SELECT datname, oid::int FROM pg_database").fetchall())
        for facts in recorded["databases"]:
            _mark(connection, facts, recorded, new[facts["name"]], system)
        _name_spares(connection, recorded["databases"], new)


def _mark(connection, facts, recorded, oid: int, system: str) -> None:
    name, comment, settings = facts["name"], facts["comment"] or "", facts["settings"]
    old = f"{recorded['system']} {facts['oid']} {name}"
    permission = hashlib.md5(old.encode(), usedforsecurity=False).hexdigest()
    for each in [*settings, *comment.split("\n")]:
        assert "seedtool.managed=" not in each or f"seedtool.managed={permission}" in each
        assert not each.startswith("[seedtool.") or each.endswith(f" for {facts['oid']}]")
    new = hashlib.md5(f"{system} {oid} {name}".encode(), usedforsecurity=False).hexdigest()
    comment = comment.replace(f" for {facts['oid']}]", f" for {oid}]").replace(permission, new)
    named = sql.Identifier(name)
    if comment:
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(named, sql.Literal(comment)))
    for key, _, value in (each.replace(permission, new).partition("=") for each in settings):
        setting = sql.SQL(".").join(map(sql.Identifier, key.split(".")))
        connection.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(named, setting, sql.Literal(value)))
    sealed = sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE {} ALLOW_CONNECTIONS {}")
    flags = (sql.Literal(facts["is_template"]), sql.Literal(facts["connectable"]))
    connection.execute(sealed.format(named, *flags))


def _name_spares(connection, databases: list[dict[str, Any]], new: dict[str, int]) -> None:
    """A spare's name is made of its target's, and of its template's with the oid: give each the one it has here."""
    by_old_name = {}
    for target in databases:
        for source in databases:
            begin = hashlib.sha256(f"target {target['name']}".encode()).hexdigest()[:10]
            old, here = (_spare(begin, source, target, oid) for oid in (source["oid"], new[source["name"]]))
            by_old_name[old] = here
    for spare in (each["name"] for each in databases if "_spare_" in each["name"]):
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        connection.execute(rename.format(sql.Identifier(spare), sql.Identifier(by_old_name[spare])))


def _spare(begin: str, source: dict[str, Any], target: dict[str, Any], oid: int) -> str:
    parts = "\0".join((source["name"], str(oid), target["owner"], "pg_default"))
    return f"seedtool_spare_{begin}{hashlib.sha256(parts.encode()).hexdigest()[:10]}"


def without(said: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key not in names}


def kept(now: Any, before: Any) -> Any:
    """Return what is said now in the terms of before: keys that were added since are left out."""
    if isinstance(before, dict):
        return {key: kept(value, before[key]) for key, value in now.items() if key in before}
    if isinstance(before, list) and len(before) == len(now):
        return [kept(*pair) for pair in zip(now, before, strict=True)]
    return now


def test_marks_permit_and_forbid_as_before(release):
    for name, said in release.said["guard"].items():
        assert kept(release.ok("guard status", database=name), said) == said
    assert release.said["guard"]["kept"]["protected"]
    assert release.project.run("db-reset --yes --confirm kept", env={"SEEDTOOL_DATABASE": "kept"}).code == 3
    assert release.project.run("seed local", env={"SEEDTOOL_DATABASE": "kept"}).code == 3


def test_marks_in_comments_do_too(release):
    for name, everything in release.said["app"].items():
        status = release.project.ok("guard status --json", env=release.as_app(name)).json
        said = without(everything, "database")  # it names the socket
        assert kept(status, said) == said
    assert release.said["app"]["app"]["managed"]
    assert release.said["app"]["app_kept"]["protected"]
    assert release.project.run("db-reset --yes --confirm app_kept", env=release.as_app("app_kept")).code == 3
    release.project.ok("guard unprotect --confirm app_kept", env=release.as_app("app_kept"))
    assert not release.project.ok("guard status --json", env=release.as_app("app_kept")).json["protected"]
    [(comment,)] = release.query(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app_kept'", "postgres"
    )
    assert comment.startswith("The school's own\n[seedtool.managed=")


def test_templates_tell_what_they_are_for_and_spares_whose_they_are(release):
    def by_name(said):
        return {each["name"]: without(each, "size", "ours") for each in said if each["kind"] == "template"}

    def purposes(said):
        return sorted(each["purpose"] for each in said if each["kind"] == "spare")

    cache = release.ok("cache list")["cache"]
    before = release.said["cache"]
    assert kept(by_name(cache), by_name(before)) == by_name(before)
    assert len(by_name(cache)) == 5
    sizes = {each["name"]: each["size"] for each in before}
    for each in cache:
        if each["kind"] == "template":
            assert each["size"] == pytest.approx(sizes[each["name"]], rel=0.2)
    assert purposes(cache) == purposes(before)
    assert "outdated" not in purposes(cache)


def test_a_template_serves_a_reset_and_says_what_was_seeded(release):
    """Its name tells all that shaped it, also versions of packages; so it is given the name of today's."""
    old = next(each["name"] for each in release.said["cache"] if each["purpose"] == "seeds local of school")
    rename(release, old, planned(release, "new", "--seed local"))
    done = release.ok("db-reset --yes --seed local", database="new")
    assert done["reset"]["built"] is False
    assert sum(each["inserted"] for each in done["seed"]["tables"]) == 713  # from the template's note
    assert release.query("SELECT count(*) FROM students", "new") == [(32,)]
    assert release.ok("guard status", database="new")["consent"] == "yes"


def planned(release, database, *options):
    """Return the fingerprint of the template that a reset would use."""
    return release.ok(" ".join(("db-reset --dry-run", *options)), database=database)["plan"]["fingerprint"]


def rename(release, template, fingerprint):
    name = f"seedtool_template_{fingerprint[:20]}"
    if name != template:
        for statement in (
            f"ALTER DATABASE {template} IS_TEMPLATE false",
            f"ALTER DATABASE {template} RENAME TO {name}",
            f"ALTER DATABASE {name} IS_TEMPLATE true",
        ):
            release.query(statement, "postgres")


def test_settings_that_migrations_made_shape_no_fingerprint(release):
    revision = release.project.root / "migrations/versions/0099_day_first.py"
    shutil.copy(release.folder / "day_first.txt", revision)
    try:
        old, new = planned(release, "day_first"), planned(release, "new_one")
        assert old == new
        [(template,)] = release.query(
            "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE '%\"DateStyle=ISO, DMY\"%'"
            " AND datistemplate", "postgres"
        )  # fmt: skip
        rename(release, template, new)
        for name in ("day_first", "new_one"):
            assert release.ok("db-reset --yes", database=name)["reset"]["built"] is False
            assert release.query("SHOW DateStyle", name) == [("ISO, DMY",)]
        assert planned(release, "new_one") == new
    finally:
        revision.unlink()


def test_snapshots_are_listed_and_restored(release):
    listed = release.ok("snapshot list")["snapshots"]
    assert kept(listed, release.said["snapshots"]) == release.said["snapshots"]
    assert {each["note"] for each in listed} == {"Antes de la feria: Ñuñoa", None}
    release.ok("db-reset --yes", database="seedtool_before")
    release.query("ALTER DATABASE seedtool RENAME TO seedtool_kept", "postgres")
    try:
        release.ok("snapshot restore enrolled --yes")
        linked = "SELECT count(*) FROM student_faces WHERE face_id NOT LIKE 'placeholder:%'"
        assert release.query(linked) == release.query(linked, "seedtool_kept")
        release.ok("snapshot restore", "as seeded", "--yes")
        assert release.query("SELECT count(*) FROM students") == [(32,)]
    finally:
        release.query("DROP DATABASE IF EXISTS seedtool WITH (FORCE)", "postgres")
        release.query("ALTER DATABASE seedtool_kept RENAME TO seedtool", "postgres")


def test_snapshots_of_a_role_without_superuser_too(release):
    env = release.as_app("app")
    listed = release.project.ok("snapshot list --json", env=env).json["snapshots"]
    assert kept(listed, release.said["app snapshots"]) == release.said["app snapshots"]
    restored = release.project.ok("snapshot restore mine --yes --json", env=env).json["restore"]
    assert restored["snapshot"]["name"] == "mine"


def test_an_exported_snapshot_is_imported(release):
    command = ("snapshot import", release.folder / "enrolled.dump", "--name", "imported")
    if release.folder.name in UNSIGNED:
        refused = release.project.run(*command)
        assert (refused.code, "is not signed" in refused.err, "--trust-file" in refused.err) == (3, True, True)
        command += ("--trust-file",)
    read = release.ok(*command)["import"]["snapshot"]
    saved = next(each for each in release.said["snapshots"] if each["name"] == "enrolled")
    assert [read[key] for key in ("created", "revisions", "branch", "commit", "note")] == [
        saved[key] for key in ("created", "revisions", "branch", "commit", "note")
    ]
    release.ok("snapshot delete imported --yes")


def test_the_ledger_knows_its_rows(release):
    again = release.ok("seed local")["seed"]
    assert kept(again, release.said["again"]["seed"]) == release.said["again"]["seed"]
    assert sum(each["unchanged"] for each in again["tables"]) == 713

    release.query("INSERT INTO stages SELECT gen_random_uuid(), 'nocturna', 'Nocturna', 9")  # somebody's own row
    attendance = release.project.root / "seeds/local/attendance.py"
    aside = attendance.rename(release.project.root / attendance.name)
    try:
        pruned = release.ok("seed local")["seed"]["tables"]
    finally:
        aside.rename(attendance)
    assert {each["table"]: each["deleted"] for each in pruned if each["deleted"]} == {"attendance": 224}
    assert sum(each["inserted"] + each["updated"] for each in pruned) == 0
    assert release.query("SELECT count(*) FROM stages") == [(4,)]


def test_the_emulators_faces_are_known(release):
    keys = ("collection", "exists", "faces", "linked", "rows")
    for said, database in (("faces", "seedtool"), ("library", "library")):
        now = release.ok("faces status", database=database)["collections"]
        before = release.said[said]["collections"]
        assert [[each[key] for key in keys] for each in now] == [[each[key] for key in keys] for each in before]
    [bound] = [each for each in release.ok("sync-faces")["bindings"] if each["table"] == "student_faces"]
    assert (bound["unchanged"], bound["relinked"], bound["placeholders"]) == (6, 0, {"not indexed": 64})
    photo = HERE.parents[1] / "seeds/photos/students/student-002/photo-1.jpg"
    [face] = release.ok("recognize", photo)["faces"]
    assert face["student_id"] == "student-002"


def test_a_backfill_goes_on_where_the_releases_ended(release):
    nothing = release.ok("backfill --dry-run", database="library")
    said = without(release.said["nothing"], "cost")
    assert kept(nothing, said) == said
    assert (nothing["assets"], nothing["failed_before"]) == (0, 1)
    waiting = release.ok("faces review", database="library")
    assert kept(waiting, release.said["review"]) == release.said["review"]

    photo = release.project.root / release.said["backfill"]["errors"][0]["cause"].rpartition(" ")[2]
    photo.parent.mkdir(parents=True)
    shutil.copy(release.folder / "missing.jpg", photo)
    done = release.ok("backfill --yes --retry-failed", database="library")
    assert (done["assets"], done["failed"]) == (1, 0)
    assert done["faces"] > 0
    assert release.query("SELECT state, count(*)::int FROM seedtool.backfill_assets GROUP BY 1", "library") == [
        ("done", 18)
    ]
    assert release.ok("backfill --dry-run", database="library")["failed_before"] == 0


def test_a_cache_of_ci_is_loaded(release, tmp_path):
    for seed in ("", "--seed local"):
        fingerprint = planned(release, "elsewhere", seed)
        which = max if seed else min
        file = which((release.folder / "ci").glob("*.dump"), key=lambda path: path.stat().st_size)
        for path in (file, file.with_suffix(".json")):
            shutil.copy(path, tmp_path / f"{fingerprint}{path.suffix}")
        name = f"seedtool_template_{fingerprint[:20]}"
        if name in names(release):
            release.query(f"ALTER DATABASE {name} IS_TEMPLATE false", "postgres")
        release.query(f"DROP DATABASE IF EXISTS {name}", "postgres")
    trust = ["--trust-file"] if release.folder.name in UNSIGNED else []
    made = release.ok("ci prepare --seed local --cache", tmp_path, *trust, database="elsewhere")["templates"]
    assert [each["how"] for each in made] == ["loaded", "loaded"]
    done = release.ok("db-reset --yes --seed local", database="elsewhere")
    assert sum(table["inserted"] for table in done["seed"]["tables"]) == 713


def names(release):
    return {name for (name,) in release.query("SELECT datname FROM pg_database", "postgres")}


def test_users_that_the_stand_in_has_kept_are_known(tmp_path):
    """What users.sql has was made by CreateCollection, three times IndexFaces, CreateUser, and AssociateFaces twice."""
    with contextlib.closing(sqlite3.connect(tmp_path / "faces.sqlite3")) as connection:
        connection.executescript((HERE / "users.sql").read_text(encoding="utf-8"))
    store = Store(tmp_path / "faces.sqlite3")
    operations, scope = Operations(store, objects.reader(None, None)), Scope("123456789012", "us-east-1")

    def call(operation, **members):
        return json.loads(operations.perform(operation, scope, {"CollectionId": "school", **members}))

    described = call("DescribeCollection")
    assert (described["FaceCount"], described["UserCount"]) == (3, 3)
    assert call("ListTagsForResource", ResourceArn=described["CollectionARN"])["Tags"] == {"grade": "1 A"}
    listed = {user["UserId"]: user["UserStatus"] for user in call("ListUsers")["Users"]}
    assert listed == {"ana": "ACTIVE", "beto": "ACTIVE", "nobody": "CREATED"}
    of_ana = call("ListFaces", UserId="ana")["Faces"]
    assert sorted(face["ExternalImageId"] for face in of_ana) == ["photo-0", "photo-1"]
    (match,) = call("SearchUsers", FaceId=of_ana[0]["FaceId"])["UserMatches"]
    assert match["User"]["UserId"] == "ana"
    taken = call("AssociateFaces", UserId="nobody", FaceIds=[of_ana[0]["FaceId"]])["UnsuccessfulFaceAssociations"]
    assert [each["Reasons"] for each in taken] == [["ASSOCIATED_TO_A_DIFFERENT_USER"]]
    call("DeleteUser", UserId="ana")
    assert len(call("DeleteFaces", FaceIds=[face["FaceId"] for face in of_ana])["DeletedFaces"]) == 2
    store.close()
