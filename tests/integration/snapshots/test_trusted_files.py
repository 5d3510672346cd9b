"""What is in a dump runs on the server. So only a file that a key of ours signed is read, or one that the user trusts."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from seedtool.errors import NotTrusted, SettingsError, SnapshotError
from seedtool.files.signing import Keys
from seedtool.postgres import programs

#: The statement with which each dump of pg_dump begins; in a file of the custom format it stands as it is.
FIRST = b"SELECT pg_catalog.set_config('search_path', '', false);"


@pytest.fixture
def canary():
    """A database that a poisoned file drops."""
    return "canary_of_archives"


@pytest.fixture
def alive(shop, canary):
    shop.execute(f"DROP DATABASE IF EXISTS {canary}", f"CREATE DATABASE {canary}")
    yield lambda: shop.execute(f"SELECT count(*) FROM pg_database WHERE datname = '{canary}'") == [(1,)]
    shop.execute(f"DROP DATABASE IF EXISTS {canary}")


def poisoned(content: bytes, statement: str) -> bytes:
    assert FIRST in content
    return content.replace(FIRST, statement.encode().ljust(len(FIRST)))


def refused(shop, file, **options):
    """Try to read a file, and return the refusal. Nothing may be left of it, and the target stays as it is."""
    before = shop.names()
    with pytest.raises(NotTrusted) as refusal:
        shop.import_file(file, "stranger", **options)
    assert refusal.value.exit_code == 3
    assert "--trust-file" in refusal.value.remedy
    assert "SEEDTOOL_ARCHIVE_KEY" in refusal.value.remedy
    assert (shop.names(), shop.passing()) == (before, [])
    return refusal.value.message


def test_a_file_that_was_edited_after_it_was_signed(shop, tmp_path, canary, alive):
    shop.save()
    shop.export(tmp_path / "a.dump")
    content = (tmp_path / "a.dump").read_bytes()
    (tmp_path / "b.dump").write_bytes(poisoned(content, f"DROP DATABASE {canary}"))
    assert "was changed after it was signed" in refused(shop, tmp_path / "b.dump")
    assert alive()
    # that the file would have done it
    shop.import_file(tmp_path / "b.dump", "trusted", keys=None)
    assert not alive()


#: What runs while it is restored, or later at somebody's next statement.
PLANTED = """
CREATE FUNCTION run() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN COPY (SELECT 1) TO PROGRAM 'true'; RETURN new; END $$;
CREATE TRIGGER run BEFORE INSERT ON takings FOR EACH ROW EXECUTE FUNCTION run();
CREATE FUNCTION ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER ddl ON sql_drop EXECUTE FUNCTION ddl();
CREATE FUNCTION d() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER TABLE takings ADD d int DEFAULT d();
CREATE FUNCTION i(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE INDEX ON takings (i(value));
CREATE VIEW v AS SELECT pg_read_file('/etc/hostname');
CREATE MATERIALIZED VIEW m AS SELECT current_setting('data_directory');
"""


def test_what_pg_dump_wrote_is_not_read_unless_it_is_trusted(shop, tmp_path, tools):
    shop.execute(PLANTED, database=shop.target.name)
    shop.alone()
    command = [tools.newest.folder / "pg_dump", "-Fc", "-d", shop.target.conninfo, "-f", tmp_path / "a.dump"]
    subprocess.run(command, check=True)
    shop.alone()
    assert "is not signed" in refused(shop, tmp_path / "a.dump")


@pytest.mark.parametrize("form", ["directory", "tar"])
def test_neither_a_folder_nor_a_tar_file_is_signed(shop, tmp_path, tools, form):
    command = [tools.newest.folder / "pg_dump", f"-F{form}", "-d", shop.target.conninfo, "-f", tmp_path / "a"]
    subprocess.run(command, check=True)
    shop.alone()
    assert "sign" in refused(shop, tmp_path / "a")


def test_a_pipe_is_not_waited_for(shop, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no ordinary file" in refused(shop, tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in (tmp_path / "pipe", tmp_path / "loop", Path("/dev/zero")):
        with pytest.raises(SnapshotError, match="no ordinary file") as told:  # nor where its writer is trusted
            shop.import_file(name, "stranger", keys=None)
        assert told.value.place == {"file": str(name)}


def test_parts_of_signed_files_are_not_signed(shop, tmp_path):
    shop.save()
    shop.export(tmp_path / "a.dump")
    shop.fill("new")
    shop.save("second")
    shop.export(tmp_path / "b.dump", "second")
    one, two = ((tmp_path / name).read_bytes() for name in ("a.dump", "b.dump"))
    start = one.rindex(b'{"kind"')
    long = one[:-75] + b"ffffffff" + one[-67:]
    for content in (
        one[:-1], one[:start], one + b"\n", one + one, one[5:], b"PGDMP" + one, long,
        two[: two.rindex(b'{"kind"')] + one[start:], one[: len(one) // 2] + one[start:],
        one.replace(b'"snapshot"', b'"template"'),
    ):  # fmt: skip
        (tmp_path / "c.dump").write_bytes(content)
        refused(shop, tmp_path / "c.dump")
    assert shop.import_file(tmp_path / "a.dump", "whole").snapshot.name == "whole"


def test_keys_of_others(shop, tmp_path):
    """A key of another project, one that both sides set, one that only one side has, and one that was lost."""
    shop.save()
    shop.export(tmp_path / "a.dump")
    elsewhere = Keys(None, tmp_path / "elsewhere")
    assert "a key that this project does not hold" in refused(shop, tmp_path / "a.dump", keys=elsewhere)
    assert not elsewhere.folder.exists()

    here, there = shop.keys, "k" * 32
    shop.keys = Keys(there, here.folder)
    shop.import_file(tmp_path / "a.dump", "own", keys=shop.keys)  # what our own key signed before is still ours
    shop.export(tmp_path / "shared.dump")
    shop.import_file(tmp_path / "shared.dump", "shared", keys=Keys(there, elsewhere.folder))
    for keys in (here, elsewhere, Keys("K" * 32, here.folder)):
        assert "a key that this project does not hold" in refused(shop, tmp_path / "shared.dump", keys=keys)

    (here.folder / "archive.key").unlink()
    refused(shop, tmp_path / "a.dump", keys=here)


def test_a_key_that_others_can_read_is_none(shop, tmp_path):
    shop.save()
    shop.export(tmp_path / "a.dump")
    key = shop.keys.folder / "archive.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    for use in (lambda: shop.import_file(tmp_path / "a.dump", "b"), lambda: shop.export(tmp_path / "b.dump")):
        with pytest.raises(SettingsError) as refusal:
            use()
        assert refusal.value.place == {"file": str(key)}
    assert not (tmp_path / "b.dump").exists()
    key.chmod(0o600)
    key.write_text("")
    with pytest.raises(SettingsError) as refusal:
        shop.export(tmp_path / "b.dump")
    assert refusal.value.place == {"file": str(key)}


@pytest.mark.parametrize("swap", ["link", "rename", "write"])
def test_what_was_verified_is_what_is_read(shop, tmp_path, listening, canary, alive, swap):
    """Whoever can write to the folder changes the file once it was verified, at each step."""
    shop.save()
    shop.export(tmp_path / "good.dump")
    good = (tmp_path / "good.dump").read_bytes()
    (tmp_path / "bad.dump").write_bytes(poisoned(good, f"DROP DATABASE {canary}"))
    file = tmp_path / "a.dump"
    if swap == "link":
        file.symlink_to(tmp_path / "good.dump")
    else:
        file.write_bytes(good)

    def change(step):
        if swap == "write":
            file.write_bytes((tmp_path / "bad.dump").read_bytes())
            return
        aside = tmp_path / "aside"
        aside.symlink_to(tmp_path / "bad.dump") if swap == "link" else shutil.copy(tmp_path / "bad.dump", aside)
        aside.replace(file)

    shop.import_file(file, "verified", listener=listening(change))
    assert alive()
    shop.restore("verified")
    assert shop.value() == "old"


def test_where_there_is_no_room_for_the_copy(shop, tmp_path, monkeypatch):
    shop.save()
    shop.export(tmp_path / "a.dump")
    full = Path("/dev/full").open("w+b", buffering=0)  # noqa: SIM115 - it is closed as a temporary file is
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: full)
    with pytest.raises(SnapshotError) as refusal:
        shop.import_file(tmp_path / "a.dump", "b")
    assert os.strerror(errno.ENOSPC) in refusal.value.message
    assert "TMPDIR" in refusal.value.remedy


def test_pg_restore_reads_a_signed_file_from_a_pipe_too(shop, tmp_path):
    shop.save()
    shop.export(tmp_path / "a.dump")
    for tools in programs.fitting(180000):
        command = [tools.folder / "pg_restore", "--file=-"]
        content = (tmp_path / "a.dump").read_bytes()
        done = subprocess.run(command, input=content, capture_output=True, check=True)
        assert b"CREATE TABLE public.takings" in done.stdout
        assert done.stderr == b""
