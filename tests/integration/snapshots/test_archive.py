"""Snapshots in files: what travels with them, what other programs make of them, and what broken ones leave behind."""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from seedtool.errors import SnapshotError, UsageError
from seedtool.listener import Listener
from seedtool.postgres import programs, server
from seedtool.postgres.programs import Programs
from seedtool.postgres.server import Target
from seedtool.resetting.guard import Consent
from seedtool.snapshots import registry


def dump(shop, tools, file, *arguments):
    program = tools.newest.folder / "pg_dump"
    subprocess.run([program, "-d", shop.target.conninfo, "-f", file, *arguments], check=True)
    shop.alone()


def test_it_comes_back_with_all_that_it_remembered(shop, tmp_path):
    saved = shop.save("año 1", note='it\'s "done" \\ 漢字').snapshot
    report = shop.export(tmp_path / "a.dump", "año 1")
    assert report.bytes == (tmp_path / "a.dump").stat().st_size
    registry.delete(shop.target, ["año 1"])
    shop.fill("new")
    found = shop.import_file(tmp_path / "a.dump").snapshot
    assert shop.value() == "new"
    for key in ("name", "created", "revisions", "branch", "commit", "note", "target", "owner", "database"):
        assert getattr(found, key) == getattr(saved, key), key
    shop.restore("año 1")
    assert shop.value() == "old"
    with server.connect(shop.target) as connection:
        assert connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'takings'").fetchone() == (1,)


def test_a_listener_hears_how_much_is_written_and_read(shop, tmp_path, monkeypatch):
    class Bytes(Listener):
        def __init__(self):
            self.heard = []

        def progress(self, what, done, total=None):
            self.heard.append((what, done, total))

    monkeypatch.setattr(programs, "_OFTEN", 0.001)
    size = shop.save().snapshot.size
    writing, reading = Bytes(), Bytes()
    report = shop.export(tmp_path / "a.dump", listener=writing)
    assert {(what, total) for what, _, total in writing.heard} == {("bytes", None)}
    assert all(done <= report.bytes for _, done, _ in writing.heard)
    shop.import_file(tmp_path / "a.dump", "second", listener=reading)
    assert {(what, total) for what, _, total in reading.heard} == {("bytes", size)}
    assert [done for _, done, _ in reading.heard] == sorted(done for _, done, _ in reading.heard)


def test_it_becomes_the_snapshot_of_whoever_imports_it(shop, tmp_path):
    shop.save()
    shop.export(tmp_path / "a.dump")
    other = shop.also(f"{shop.target.name}_2")
    assert other.import_file(tmp_path / "a.dump").snapshot.target == other.target.name
    assert (other.names(), shop.names()) == (["first"], ["first"])
    try:
        other.restore(consent=Consent.NONE)  # there was no such database
        assert other.value() == "old"
    finally:
        shop.execute(f"DROP DATABASE {other.target.name} WITH (FORCE)")


def test_pg_restore_reads_it_as_it_is(shop, tmp_path, tools):
    shop.save()
    shop.export(tmp_path / "a.dump")
    shop.fill("new")
    with server.connect(shop.target, autocommit=True) as connection:
        connection.execute("DROP TABLE takings, alembic_version")
    command = [tools.newest.folder / "pg_restore", "-e", "-d", shop.target.conninfo, tmp_path / "a.dump"]
    subprocess.run(command, check=True)
    assert shop.value() == "old"


@pytest.mark.parametrize("form", ["custom", "directory", "tar"])
def test_any_dump_of_pg_dump_can_be_imported(shop, tmp_path, tools, form):
    dump(shop, tools, tmp_path / "nightly.dump", f"--format={form}")
    shop.fill("new")
    found = shop.import_file(tmp_path / "nightly.dump", keys=None).snapshot
    assert (found.name, found.revisions, found.note) == ("nightly", ["0007"], None)
    shop.restore("nightly")
    assert shop.value() == "old"


def test_a_taken_name_is_refused_before_anything_is_loaded(shop, tmp_path, listening):
    shop.save()
    shop.export(tmp_path / "a.dump")
    shop.fill("new")
    shop.save(replace=True)
    steps = []
    with pytest.raises(UsageError) as refusal:
        shop.import_file(tmp_path / "a.dump", listener=listening(steps.append))
    assert "load" not in steps
    assert refusal.value.place == {"snapshot": "first"}
    assert "--replace" in refusal.value.remedy
    shop.import_file(tmp_path / "a.dump", "second")
    shop.import_file(tmp_path / "a.dump", replace=True)
    assert shop.names() == ["first", "second"]
    shop.restore("first")
    assert shop.value() == "old"


def test_a_broken_or_truncated_file_leaves_nothing(shop, tmp_path):
    with server.connect(shop.target) as connection:
        connection.execute("CREATE TABLE noise AS SELECT md5(g::text) FROM generate_series(1, 3000) g")
    shop.alone()
    shop.save()
    shop.export(tmp_path / "whole.dump")
    whole, broken = (tmp_path / "whole.dump").read_bytes().rpartition(b'{"kind"')[0], tmp_path / "broken.dump"
    cuts = [whole[: len(whole) * part // 5] for part in range(5)]
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 64]) + whole[middle + 64 :]
    for content in (*cuts, whole[:-1], flipped, b"SELECT 1;\n" * 100, b"\0" * 1000):
        broken.write_bytes(content)
        with pytest.raises(SnapshotError) as refusal:
            shop.import_file(broken, "broken", keys=None)
        assert refusal.value.place == {"file": str(broken)}
        assert refusal.value.remedy
        assert (shop.names(), shop.passing()) == (["first"], [])


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        (
            'pg_restore: error: COPY failed for table "people": ERROR:  invalid input syntax for type date: "ana@example.org"\nCONTEXT:  COPY people, line 1, column born: "ana@example.org"\n',
            '"people": ERROR:  invalid input syntax for type date',
        ),
        (
            'pg_restore: while PROCESSING TOC:\npg_restore: error: could not execute query: ERROR:  could not create unique index "x"\nDETAIL:  Key (mail)=(ana@example.org) is duplicated.\nCommand was: ALTER TABLE\n',
            'ERROR:  could not create unique index "x"',
        ),
        ("", "no message"),
    ],
)
def test_an_error_tells_no_value_of_a_row(errors, told):
    assert programs.fault(errors) == told


def test_a_file_that_is_there_is_not_overwritten_unless_told(shop, tmp_path):
    shop.save()
    file = tmp_path / "a.dump"
    file.write_text("precious")
    with pytest.raises(UsageError) as refusal:
        shop.export(file)
    assert refusal.value.place == {"file": str(file)}
    assert "--force" in refusal.value.remedy
    assert file.read_text() == "precious"
    shop.export(file, force=True)
    assert file.read_bytes()[:5] == b"PGDMP"
    assert file.stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")  # as /dev/stdout may be, and /dev/null is no file either
    for other in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError) as refusal:
            shop.export(other, force=True)
        assert refusal.value.place == {"file": str(other)}
        assert "--force" not in refusal.value.remedy
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.glob("*dump*")] == ["a.dump"]


def test_what_an_export_needs_is_told(shop, tmp_path):
    with pytest.raises(UsageError) as refusal:
        shop.export(tmp_path / "a.dump")
    assert refusal.value.place == {"snapshot": "first"}
    shop.save()
    with pytest.raises(SnapshotError) as failure:
        shop.export(tmp_path / "nowhere" / "a.dump")
    assert failure.value.place == {"file": str(tmp_path / "nowhere" / "a.dump")}
    assert os.strerror(errno.ENOENT) in failure.value.message
    assert list(tmp_path.glob("*.dump*")) == []


def test_tables_that_may_not_be_read_are_named(shop, weak, tmp_path):
    shop.execute("CREATE TABLE secrets ()", database=shop.target.name)
    shop.alone()
    weak.save()
    with pytest.raises(SnapshotError, match="secrets"):
        weak.export(tmp_path / "a.dump")
    assert list(tmp_path.glob("*.dump*")) == []


def test_a_table_of_which_rows_are_hidden_is_named(shop, weak, tmp_path):
    hide = "ALTER TABLE takings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    shop.execute(hide, database=shop.target.name)
    shop.alone()
    weak.save()
    with pytest.raises(SnapshotError, match="takings") as refusal:
        weak.export(tmp_path / "a.dump")
    assert "BYPASSRLS" in refusal.value.remedy
    assert list(tmp_path.glob("*.dump*")) == []


def test_what_is_imported_belongs_to_the_targets_owner(shop, weak, tmp_path, tools):
    dump(shop, tools, tmp_path / "a.dump", "-Fc")
    for user in (shop, weak):
        user.import_file(tmp_path / "a.dump", f"by {user is weak}", keys=None)
        user.restore(f"by {user is weak}")
        with server.connect(weak.target) as connection:
            assert connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'takings'").fetchone() == (
                "weak",
            )


class TestPrograms:
    def test_a_server_newer_than_all_of_them_is_told_with_the_cure(self):
        with pytest.raises(SnapshotError, match=r"PostgreSQL 99\b.*\b18 in ") as refusal:
            programs.fitting(990000)
        assert "postgresql-client-99" in refusal.value.remedy

    def test_the_nearest_version_is_taken_first(self):
        majors = [found.major for found in programs.fitting(150000)]
        assert majors == sorted(set(majors))
        assert programs.fitting(180000)[0].major == 18

    def test_without_any_nothing_is_listed(self, monkeypatch):
        monkeypatch.setattr(programs.wheel, "programs", lambda: None)
        monkeypatch.setattr(programs, "DEBIAN", Path("/nowhere"))
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(SnapshotError) as refusal:
            programs.fitting(150000)
        assert "postgresql-client-15" in refusal.value.remedy
        assert "/nowhere" not in refusal.value.message

    def test_no_password_is_on_a_command_line(self, tmp_path):
        program = tmp_path / "pg_dump"
        program.write_text('#!/bin/sh\necho "arguments: $*"\necho "password: $PGPASSWORD"\n')
        program.chmod(0o755)
        target = Target(
            conninfo="host=h user=u password='s3 cret' sslpassword=s3 sslmode=require dbname=x",
            name="x",
            maintenance="postgres",
        )
        done = programs.run(Programs(18, tmp_path), "pg_dump", "--quiet", target=target, database="y")
        arguments, password = done.out.splitlines()
        assert "s3" not in arguments
        assert "dbname=y" in arguments
        assert "sslmode=require" in arguments
        assert password == "password: s3 cret"


DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def fifteen(home):
    """Debian's PostgreSQL 15 on a port, behind a password, with a role that may create databases."""
    if not (DEBIAN / "initdb").exists():
        pytest.skip("Debian's postgresql-15 is not installed (.ci/run installs it)")
    folder = Path(tempfile.mkdtemp(prefix="fifteen-", dir=home))  # the fixture may be made again in this worker
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    as_postgres = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def run(*command):
        with (folder / "out").open("ab") as out:
            subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, **as_postgres
            )

    run(
        DEBIAN / "initdb",
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "-A",
        "trust",
    )
    (folder / "data" / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    options = f"-c listen_addresses= -c fsync=off -k {folder}"
    run(DEBIAN / "pg_ctl", "start", "-w", "-s", "-D", folder / "data", "-l", folder / "log", "-o", options)
    try:
        with psycopg.connect(f"host={folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE ROLE dev LOGIN CREATEDB PASSWORD 's3 cret'")
            connection.execute("CREATE DATABASE app OWNER dev")
        conninfo = psycopg.conninfo.make_conninfo(host=str(folder), user="dev", password="s3 cret", dbname="app")
        yield Target(conninfo=conninfo, name="app", maintenance="postgres")
    finally:
        run(DEBIAN / "pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", folder / "data")


@pytest.mark.parametrize("installed", ["all", "the wheel's"])
def test_on_an_older_server_behind_a_password(fifteen, shop, tmp_path, monkeypatch, tools, installed):
    if installed == "the wheel's":  # as on a machine without PostgreSQL; its pg_restore sets what 15 does not know
        monkeypatch.setattr(programs, "_installed", lambda **_: {tools.newest})
    old = type(shop)(shop.settings, fifteen)
    old.fill("old")
    with server.connect(fifteen) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS more (id int PRIMARY KEY)")
    old.alone()
    old.save("first", note="it's 15", replace=True)
    old.export(tmp_path / "a.dump")
    old.fill("new")
    old.import_file(tmp_path / "a.dump", "second", replace=True)
    old.restore("second")
    assert old.value() == "old"
    assert {snapshot.note for snapshot in registry.snapshots(fifteen)} == {"it's 15"}
    # up to the newest server, and what is broken stays an error where one complaint is overlooked
    shop.import_file(tmp_path / "a.dump")
    shop.restore("first")
    whole = (tmp_path / "a.dump").read_bytes()
    (tmp_path / "b.dump").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(SnapshotError):
        old.import_file(tmp_path / "b.dump", "third", keys=None)
    assert old.names() == ["first", "second"]
    assert old.passing() == []


def test_a_dump_of_a_newer_server_on_an_older_one(fifteen, shop, tmp_path):
    shop.save()
    shop.export(tmp_path / "a.dump")
    old = type(shop)(shop.settings, fifteen)
    old.import_file(tmp_path / "a.dump", "from 18", replace=True)
    old.restore("from 18")
    assert old.value() == "old"
