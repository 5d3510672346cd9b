"""A file is written whole or not at all, and what a killed writer left goes when the file is written next."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from seedtool import locks
from seedtool.files.writing import PRIVATE, NewFile, write_whole
from tests import processes


@pytest.fixture
def file(tmp_path):
    return tmp_path / "rows.csv"


def test_a_file_is_written_and_nothing_else_stays(file):
    write_whole(file, b"id\n1\n")
    assert file.read_bytes() == b"id\n1\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_is_replaced(file):
    file.write_bytes(b"old")
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("replace", [True, False])
def test_the_disk_has_the_content_before_the_name_and_then_the_name(file, monkeypatch, replace):
    done, fsync = [], os.fsync

    def watched(handle):
        fsync(handle)
        done.append((stat.S_ISDIR(os.fstat(handle).st_mode), file.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(file, b"new", replace=replace)
    assert done == [(False, False), (True, True)]


@pytest.mark.parametrize("name", ["ñ" * 127, "名" * 85, "a" * 255, "é" * 100 + ".csv"])
def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path, name):
    write_whole(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(file):
    file.write_bytes(b"old")
    with pytest.raises(UnicodeEncodeError), NewFile(file) as new:
        new.path.write_text("half of the new \ud800", encoding="utf-8")
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_what_is_not_put_in_place_goes(file):
    with NewFile(file) as new:
        new.path.write_bytes(b"new")
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_is_as_open_as_the_umask_lets_it_be(file, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(file, b"new")
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == mode


def test_a_replaced_file_keeps_its_mode(file):
    file.write_bytes(b"old")
    file.chmod(0o664)
    before = os.umask(0o077)
    try:
        write_whole(file, b"new")
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o664


def test_a_private_file_is_private_from_its_first_byte(file):
    file.write_bytes(b"old")
    file.chmod(0o644)
    with NewFile(file, mode=PRIVATE) as new:
        assert new.path.stat().st_mode & 0o777 == 0o600
        new.put_in_place()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_kept_where_it_is_not_to_be_replaced(file):
    file.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_whole(file, b"new", replace=False)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_link_to_nowhere_counts_as_a_file(file):
    file.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_whole(file, b"new", replace=False)


@pytest.mark.parametrize("there", [False, True])
def test_a_file_system_without_links_is_written_to(file, monkeypatch, there):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    if there:
        file.write_bytes(b"old")
        with pytest.raises(FileExistsError):
            write_whole(file, b"new", replace=False)
    else:
        write_whole(file, b"new", replace=False)
    assert file.read_bytes() == (b"old" if there else b"new")


def test_a_missing_folder_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "rows.csv", b"new")


def test_what_a_killed_writer_left_is_removed_by_the_next_one(file):
    code = textwrap.dedent(
        """
        import os, pathlib, signal, sys
        from seedtool.files.writing import NewFile
        with NewFile(pathlib.Path(sys.argv[1])) as new:
            new.path.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", code, file], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(file.parent.iterdir())) == 1
    (file.parent / "rows.csv.abcd1234.part").write_bytes(b"half, of an earlier version")
    (file.parent / "other.csv.abcd1234.part").write_bytes(b"of another file")
    write_whole(file, b"new")
    assert sorted(path.name for path in file.parent.iterdir()) == ["other.csv.abcd1234.part", "rows.csv"]


def test_a_file_that_is_being_written_is_left_to_its_writer(file):
    with NewFile(file) as first:
        first.path.write_bytes(b"first")
        write_whole(file, b"second")
        assert first.path.read_bytes() == b"first"
        first.put_in_place()
    assert file.read_bytes() == b"first"


def test_a_pipe_or_a_link_of_another_user_is_not_touched(file):
    pipe, link = file.with_name(".rows.csv.aaaaaaaa.part"), file.with_name(".rows.csv.bbbbbbbb.part")
    os.mkfifo(pipe)
    link.symlink_to("/etc/passwd")
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_writers_at_once_do_not_lose_their_files(file):
    failed = []

    def write(content):
        try:
            for _ in range(40):
                write_whole(file, content, durable=False)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content * 1000,)) for content in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(file.read_bytes())) == 1
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_was_swept_before_it_was_locked_is_made_again(file, monkeypatch):
    lock, swept = locks.lock, []

    def sweep_first(handle):
        if not swept:
            swept.extend(file.parent.iterdir())
            swept[0].unlink()
        lock(handle)

    monkeypatch.setattr(locks, "lock", sweep_first)
    write_whole(file, b"new")
    assert swept
    assert file.read_bytes() == b"new"


DROP_BOX = """
import os, sys
from pathlib import Path
from seedtool.files.writing import write_whole

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
folder = Path(sys.argv[1])
write_whole(folder / "a.dump", b"whole", mode=0o600)
print(oct((folder / "a.dump").stat().st_mode & 0o777))
"""


def test_a_folder_that_may_be_written_to_and_not_be_read_is_written_to():
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o333)
        assert processes.run(str(folder), code=DROP_BOX).stdout == "0o600\n"
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)
