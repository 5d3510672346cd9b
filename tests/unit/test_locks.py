"""Locks of open files, as they are here and as they are on Windows, which has no fcntl."""

import fcntl
import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from seedtool import locks


class Msvcrt(types.ModuleType):
    """What Windows has in the place of fcntl: it locks bytes from where the file is read next, and never waits."""

    LK_NBLCK = 2

    def __init__(self):
        super().__init__("msvcrt")
        self.places = set()

    def locking(self, descriptor, mode, count):
        assert (mode, count) == (self.LK_NBLCK, 1)
        self.places.add(os.lseek(descriptor, 0, os.SEEK_CUR))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error


@pytest.fixture(params=["here", "on Windows"])
def locking(request, monkeypatch):
    if request.param == "here":
        return locks
    monkeypatch.setitem(sys.modules, "fcntl", None)  # an import of it fails
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt())
    spec = importlib.util.spec_from_file_location("locks_on_windows", locks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def opened(tmp_path):
    """Opens the same file again and again."""
    path, handles = tmp_path / "lock", []
    path.write_bytes(b"content")

    def once_more():
        handles.append(os.open(path, os.O_RDWR))
        return handles[-1]

    yield once_more
    for handle in handles:
        os.close(handle)


def test_one_holds_the_lock_until_its_file_is_closed(locking, opened, tmp_path):
    first, second = opened(), opened()
    assert os.read(first, 3) == b"con"
    assert locking.try_lock(first)
    assert not locking.try_lock(second)
    assert not locking.try_lock(second, shared=True)
    assert os.read(first, 9) == b"tent"  # it is read on where it was
    waiting = threading.Thread(target=locking.lock, args=(second,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    fcntl.flock(first, fcntl.LOCK_UN)
    waiting.join(10)
    assert not waiting.is_alive()
    assert not locking.try_lock(first)
    if locking is not locks:
        (place,) = sys.modules["msvcrt"].places
        assert place > tmp_path.joinpath("lock").stat().st_size


def test_those_who_only_ask_share_the_lock(opened):
    first, second = opened(), opened()
    assert locks.try_lock(first, shared=True)
    assert locks.try_lock(second, shared=True)
    assert not locks.try_lock(opened())


def test_the_standin_starts_answers_and_stops_without_fcntl(tmp_path):
    program = """
        import asyncio, sys, threading, time  # asyncio's own use of fcntl is not ours
        import uvicorn
        from pathlib import Path
        from tests.unit.test_locks import Msvcrt

        sys.modules |= {"fcntl": None, "msvcrt": Msvcrt()}
        from seedtool.emulator import process
        from seedtool.emulator.__main__ import main

        folder = Path(sys.argv[1])
        assert process.find(folder) is None

        def stop():
            while (endpoint := process.find(folder)) is None:
                time.sleep(0.02)
            print(main(["health", endpoint]), flush=True)
            print(main(["--state-dir", str(folder)]), flush=True)  # another one is refused
            process.stop(folder)

        threading.Thread(target=stop).start()
        print(main(["--state-dir", str(folder)]))
        assert process.find(folder) is None
    """
    command = [sys.executable, "-c", textwrap.dedent(program), tmp_path / "state"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == ["0", "1", "0"]
    assert "Another emulator serves" in done.stderr
