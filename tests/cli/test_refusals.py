"""What is refused, and what is told about a place, a server or an account that is not as it should be."""

import errno
import os
import shlex

import pytest
from psycopg import sql

from seedtool.emulator import process
from seedtool.postgres import server


def test_what_is_refused_before_the_reset_costs_nothing(seeded):
    students = seeded.settings.seeds / "local" / "students.csv"
    seeded.query("CREATE TABLE canary ()")
    assert seeded.run("db-reset --yes --seed fulll").code == 2
    before = students.read_bytes()
    try:
        students.write_bytes(before + b"\xff\n")
        broken = seeded.run("db-reset --yes --seed local")
    finally:
        students.write_bytes(before)
    assert broken.code == 1
    assert "seeds/local/students.csv:" in broken.err
    live = {"SEEDTOOL_AWS": "live", "AWS_REGION": "us-east-1", "HOME": str(seeded.root)}
    lost = seeded.run("db-reset --yes --seed full", env=live)
    assert lost.code == 1
    assert "credentials" in lost.err
    assert seeded.query("SELECT to_regclass('canary') IS NOT NULL") == [(True,)]


@pytest.mark.parametrize("command", ["sync-faces", "enroll --all", "faces status"])
def test_the_emulator_is_not_taken_for_aws(bare, command):
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "HOME": str(bare.root)}
    live = {**keys, "SEEDTOOL_AWS": "live", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_REKOGNITION": bare.emulator}
    refused = bare.run(command, env=live)
    assert refused.code == 2
    assert bare.emulator in refused.err
    assert "unset AWS_ENDPOINT_URL_REKOGNITION" in refused.err


def test_account_region_endpoint_and_collection_are_told_before_writing(seeded, tmp_path):
    elsewhere = process.ensure(tmp_path / "emulator")
    photo = "seeds/photos/students/student-009/photo-1.jpg"
    env = {
        "SEEDTOOL_AWS": "live",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": elsewhere,
        "PHOTOS_URL": str(tmp_path / "photos"),
        "HOME": str(tmp_path),
    }
    try:
        enrolled = seeded.ok("enroll student-009 --collection eduguard-school-default", photo, env=env)
        synced = seeded.ok("sync-faces", env=env)
        status = seeded.ok("faces status", env=env)
    finally:
        process.stop(tmp_path / "emulator")
    who = f"a seedtool emulator at {elsewhere} (us-east-1), not AWS"
    assert f"enrolling into {who}, collection eduguard-school-default; " in enrolled.err
    assert f"; into eduguard-school-default, {who}\n" in enrolled.out
    assert f"{who}, collection eduguard-school-default; " in synced.err
    assert f", {who})" in synced.out
    assert f"eduguard-school-default ({who}):" in status.out


def test_a_protected_database_is_refused_whatever_is_given(seeded):
    name = seeded.settings.database
    seeded.ok("guard protect")
    try:
        for command in ("db-reset --yes", f"db-reset --yes --confirm {name} --fresh", "seed local", "seed full"):
            done = seeded.run(command)
            assert done.code == 3, done.err
            assert "seedtool guard unprotect" in done.err
        assert "it is never replaced" in seeded.ok("guard status").out
        seeded.ok("sync-faces")
    finally:
        seeded.ok("guard unprotect --confirm", name)
    seeded.ok("db-reset --yes")


def test_a_database_that_others_made_wants_its_name(school):
    env = {"SEEDTOOL_DATABASE": "somebody's shop"}
    name = sql.Identifier(env["SEEDTOOL_DATABASE"])
    target = server.find(school.settings)
    with server.connect(target, "postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
    with server.connect(target, env["SEEDTOOL_DATABASE"], autocommit=True) as connection:
        connection.execute("CREATE TABLE takings ()")
    try:
        assert "a reset needs its name" in school.ok("guard status", env=env).out
        refused = school.run("db-reset --yes", env=env)
        assert refused.code == 3
        assert f"--confirm {shlex.quote(env['SEEDTOOL_DATABASE'])}" in refused.err
        assert "needs its name" in school.ok("db-reset --dry-run", env=env).out
        school.ok("db-reset --confirm", env["SEEDTOOL_DATABASE"], env=env)
        assert "made by seedtool" in school.ok("guard status", env=env).out
    finally:
        with server.connect(target, "postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_live_without_credentials_fails_fast_with_the_cure(school, tmp_path):
    env = {"SEEDTOOL_AWS": "live", "HOME": str(tmp_path)}
    nowhere = school.run("sync-faces", env=env)
    assert (nowhere.code, "AWS_REGION" in nowhere.err) == (2, True)
    # no waiting for the metadata service of EC2 either
    env |= {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "", "PHOTOS_URL": str(tmp_path)}
    for command in ("sync-faces", "seed full", "recognize seeds/photos/classes/7-basico-a.jpg"):
        done = school.run(command, env=env)
        assert done.code == 1
        assert "AWS_ACCESS_KEY_ID" in done.err
        assert done.seconds < 10  # 0.5 s alone; two shared cores can be very slow


def test_where_there_is_no_project_nothing_is_started(bare, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for command in ("db-reset", "migrate", "seed local", "server start", "guard protect", "doctor", "init"):
        done = bare.program("seedtool", *command.split(), "--json", cwd=elsewhere)
        assert done.code == 2
        assert done.json["error"]["place"] == {"file": str(elsewhere)}
    assert bare.program("seedtool", "config", cwd=elsewhere).code == 0
    assert list(elsewhere.iterdir()) == []


def test_a_state_folder_that_cannot_be_used_is_told(bare):
    for home, commands in (("/proc/nowhere", ("db-reset --yes", "doctor")), ("/dev/null/x", ("server start", "env"))):
        for command in commands:
            done = bare.run(command, env={"SEEDTOOL_HOME": home})
            assert done.code == 1, command
            assert "SEEDTOOL_HOME" in done.err + done.out, command
            assert "not your fault" not in done.err


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nonsense", 2),
        ("mysql://host/db", 2),
        ("postgresql://host/", 2),
        ("postgresql://host/postgres", 2),
        ("postgresql+asyncpg://u:hidden@127.0.0.1:1/db", 1),
        ("host=127.0.0.1 port=1 dbname=db password=hidden", 1),
    ],
)
def test_a_wrong_database_url_is_told_without_its_password(bare, url, code, approved):
    done = bare.run("db-reset --yes --json", env={"DATABASE_URL": url})
    assert done.code == code
    approved(done.json["error"], code)
    if "hidden" in url:
        looked = bare.run("doctor", env={"DATABASE_URL": url})
        assert os.strerror(errno.ECONNREFUSED) in looked.out
        shown = bare.ok("config", env={"DATABASE_URL": url})
        assert "***" in shown.out
        assert "hidden" not in done.err + looked.out + looked.err + shown.out


def test_an_external_server_is_not_ours_to_start_or_stop(bare):
    env = {"DATABASE_URL": "postgresql+psycopg://u:p%40ss@127.0.0.1:1/db?application_name=x"}
    refused = bare.run("server start --json", env=env)
    assert refused.code == 2
    assert refused.json["error"]["place"]["origin"] == "environment variable DATABASE_URL"
    assert "external" in bare.ok("server status", env=env).out
    exported = bare.ok("env --json", env=env).json
    assert exported["DATABASE_URL"] == "postgresql://u:p%40ss@127.0.0.1:1/db?application_name=x"
    assert bare.ok("server stop", env=env).out == "stopped: emulator\n"
