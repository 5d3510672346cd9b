"""Folders for servers of tests: initdb runs once a worker, and a copy of what it made takes a fifth of its time.

A run that was killed cannot stop its servers. They and their folders, up to a gigabyte of memory each, are ended by
the next run.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from seedtool.postgres.embedded import EmbeddedServer

_PREFIX = "seedtool-test-"
_IN_USE = "in-use"


def folder(parent: Path) -> Path:
    """Return a new folder for the servers of this process, after ending what killed processes left beside it."""
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (left / _IN_USE).open("r+") as lock:
            # of a process, and not of an open file: what a test has forked does not hold it
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end(left)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    fcntl.lockf(os.open(made / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)  # until this process ends
    return made


def _end(left: Path) -> None:
    """End the servers and commands that work in a folder, and remove it."""
    for signal_number in (signal.SIGQUIT, signal.SIGKILL):  # the first lets PostgreSQL remove its shared memory
        until = time.monotonic() + 5
        while (pids := _working_in(left)) and time.monotonic() < until:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
            time.sleep(0.1)
    shutil.rmtree(left, ignore_errors=True)


def _working_in(left: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if os.fsencode(left) in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def prepare(state_dir: Path) -> None:
    """Put a data folder where the server of a project looks for its own; it starts as one that was made before."""
    made = _made(state_dir.parent / "made")
    state_dir.mkdir(parents=True, exist_ok=True)
    state_dir.chmod(0o711)  # as the server does it: its user passes through
    subprocess.run(["cp", "-a", made / "postgres", made / "password", state_dir], check=True)


@functools.cache
def _made(state_dir: Path) -> Path:
    server = EmbeddedServer(state_dir)
    server.start()
    server.stop()
    server.log.unlink()
    return state_dir
