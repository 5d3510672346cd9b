"""The doctor: each thing broken in turn is found, with its cure."""

import contextlib

import msgspec
import pytest

import seedtool
from seedtool.settings.faces import FaceBinding


@contextlib.contextmanager
def replaced(path, old, new):
    """Write something else into a file, and put it back."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def wrong(done):
    """The checks that are wrong, each with what is told of it."""
    assert done.code == 1
    report = done.json
    assert report["ok"] is False
    found = {check["name"]: check for check in report["checks"] if check["state"] == "wrong"}
    assert all(check["cure"] for check in found.values())
    return {name: f"{check['detail']} {check['cure']}" for name, check in found.items()}


def test_nothing_is_wrong_with_a_healthy_project(seeded):
    report = seeded.ok("doctor --json").json
    assert report["ok"] is True
    names = [check["name"] for check in report["checks"]]
    assert names == ["settings", "migrations", "seeds", "server", "database", "photos", "aws", "faces"]
    assert {check["state"] for check in report["checks"]} == {"ok"}


def test_a_missing_database(seeded):
    found = wrong(seeded.run("doctor --json", env={"SEEDTOOL_DATABASE": "nowhere"}))
    assert found.keys() == {"database", "faces"}
    assert "nowhere on the embedded server does not exist Run seedtool db-reset" in found["database"]


def test_a_database_at_another_revision(seeded):
    [(newest,)] = seeded.query("SELECT version_num FROM alembic_version")
    seeded.query("UPDATE alembic_version SET version_num = '0001'")
    found = wrong(seeded.run("doctor --json"))
    assert list(found) == ["database"]
    assert f"at revision 0001, the newest is {newest}" in found["database"]
    assert "Run seedtool migrate" in found["database"]


def test_placeholders_that_are_left(seeded):
    seeded.query("UPDATE student_faces SET face_id = 'placeholder:' || external_image_id")
    assert "Run seedtool sync-faces" in wrong(seeded.run("doctor --json"))["faces"]


def test_face_ids_of_another_collection_in_any_binding(seeded):
    settings = seeded.settings
    visitors = FaceBinding(table="visitors", collection=settings.collection)
    settings = msgspec.structs.replace(settings, faces=(*settings.faces, visitors))
    seeded.query("CREATE TABLE visitors (id int PRIMARY KEY, face_id text, external_image_id text)")
    try:
        seeded.query("INSERT INTO visitors SELECT n, gen_random_uuid(), 'visitor-' || n FROM generate_series(1, 2) n")
        (check,) = (each for each in seedtool.examine(settings=settings) if each.name == "faces")
    finally:
        seeded.query("DROP TABLE visitors")
    assert check.state == "wrong"
    assert check.detail == f"0 of 2 rows of visitors hold FaceIds that are in {settings.collection}"
    assert "seedtool sync-faces" in check.cure


def test_missing_and_broken_profiles(seeded):
    profiles = seeded.root / "seeds" / "profiles.toml"
    aside = profiles.rename(profiles.with_suffix(".aside"))
    try:
        assert "seedtool init" in wrong(seeded.run("doctor --json"))["seeds"]
        text = seeded.run("doctor").out
        assert text.endswith("wrong: seeds\n")
    finally:
        aside.rename(profiles)
    with replaced(profiles, 'sets = ["local"]', 'sets = ["lokal"]'):
        checks = seeded.run("doctor --json").json["checks"]
        (check,) = [each for each in checks if each["name"] == "seeds"]
        assert (check["state"], "lokal" in check["detail"], "local" in check["cure"]) == ("wrong", True, True)


def test_a_revision_that_cannot_be_loaded(seeded):
    with replaced(seeded.root / "alembic.ini", "/migrations", "/nowhere"):
        found = wrong(seeded.run("doctor --json"))
        assert "migrations" in found


def test_a_missing_collection(seeded):
    found = wrong(seeded.run("doctor --json", env={"AWS_REKOGNITION_COLLECTION": "nowhere"}))
    assert list(found) == ["aws"]
    assert "seedtool enroll --all makes it" in found["aws"]


def test_a_server_that_does_not_answer(seeded):
    done = seeded.run("doctor --json", env={"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/db"})
    assert list(wrong(done)) == ["server"]
    assert {check["name"] for check in done.json["checks"] if check["state"] == "skipped"} == {"database", "faces"}
    assert "hidden" not in done.out


@pytest.mark.parametrize(
    ("environ", "said"),
    [({}, "AWS_REGION"), ({"AWS_REGION": "us-east-1"}, "AWS_ACCESS_KEY_ID")],
)
def test_live_without_region_or_credentials(seeded, tmp_path, environ, said):
    environ = {"SEEDTOOL_AWS": "live", "HOME": str(tmp_path), "PHOTOS_URL": str(tmp_path), **environ}
    done = seeded.run("doctor --json", env=environ)
    assert said in wrong(done)["aws"]


def test_quiet_tells_what_is_wrong_alone(seeded):
    done = seeded.run("doctor -q", env={"AWS_REKOGNITION_COLLECTION": "nowhere"})
    assert done.code == 1
    first, second = done.out.splitlines()
    assert first.startswith("wrong    aws ")
    assert second.strip().startswith("cure: ")


def test_an_env_py_that_lets_autogenerate_drop_our_schema(seeded):
    env = seeded.root / "migrations" / "env.py"
    with replaced(env, '"target_metadata"', '"include_schemas": True, "target_metadata"'):
        (check,) = [each for each in seeded.ok("doctor --json").json["checks"] if each["name"] == "migrations"]
        assert check["state"] == "note"
        assert "migrations/env.py" in check["detail"]
        assert "include_name" in check["cure"]


def test_an_extension_that_the_embedded_server_lacks(seeded):
    revision = seeded.root / "migrations" / "versions" / "0001_lacking.sql"
    revision.write_text('CREATE EXTENSION IF NOT EXISTS "uuid-ossp";\n')
    try:
        found = wrong(seeded.run("doctor --json"))["server"]
    finally:
        revision.unlink()
    assert "the embedded server has no extension uuid-ossp, which the migrations create" in found
    assert "gen_random_uuid()" in found
