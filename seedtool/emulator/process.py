"""The stand-in as a background process: started on demand, found again, stopped.

An emulator holds an exclusive lock on `emulator.lock` in its state directory for its whole life; the kernel
drops it however the process ends. So "is one running?" is a question to the kernel and never a guess about
a pid. Port and pid stand in `emulator.json`, written once the emulator listens.

This module is on the warm path of every command: it imports the standard library's light parts only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_POLL = 0.01  # seconds between looks at a lock or a file that another process is about to change
_PACKAGE = Path(__file__).resolve().parent


class EmulatorError(Exception):
    """The emulator could not be started, reached or stopped.

    Args:
        message: what happened.
        remedy: what the reader can do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Running(NamedTuple):
    """What a live emulator says about itself in `emulator.json`."""

    endpoint: str
    pid: int
    code: str


def ensure(state_dir: Path, *, timeout: float = 30.0, arguments: Sequence[str] = ()) -> str:
    """The endpoint of the emulator over `state_dir`, started first if none runs there.

    A running emulator of other code than this is replaced; its faces stay. Several processes may call this
    at once: one of them starts the emulator and the others attach to it.

    Args:
        state_dir: where the emulator keeps its faces; created when missing.
        timeout: seconds to wait for it to listen.
        arguments: more of `python -m seedtool.emulator`'s flags, for the case that it has to be started.

    Returns:
        An URL such as `http://127.0.0.1:41234`.

    Raises:
        EmulatorError: it did not come up in time, or ended at once; the remedy names its log.
    """
    running = _running(state_dir)
    if running is not None and running.code == code_version():
        return running.endpoint
    make_state_dir(state_dir)
    deadline = time.monotonic() + timeout
    with _only_starter(state_dir, deadline):
        running = _settled(state_dir, deadline)
        if running is not None and running.code != code_version():
            stop(state_dir, timeout=max(1.0, deadline - time.monotonic()))
            running = None
        if running is None:
            running = _start(state_dir, deadline, arguments)
    return running.endpoint


def find(state_dir: Path) -> str | None:
    """The endpoint of the emulator that runs over `state_dir`, or None. Starts nothing.

    Raises:
        EmulatorError: the directory belongs to another user.
    """
    running = _running(state_dir)
    return running.endpoint if running else None


def stop(state_dir: Path, *, timeout: float = 10.0) -> bool:
    """End the emulator over `state_dir` and wait until it is gone. Its faces stay.

    Args:
        state_dir: the emulator's state directory.
        timeout: seconds to wait for a graceful end.

    Returns:
        True if one was running, False if there was nothing to stop.

    Raises:
        EmulatorError: it was still there after `timeout`, or belongs to another user.
    """
    deadline = time.monotonic() + timeout
    if not _lock_is_held(state_dir):
        return False
    running = _settled(state_dir, deadline)
    if running is None:
        return False
    try:
        os.kill(running.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now
    except PermissionError:
        raise _foreign(state_dir) from None
    while _lock_is_held(state_dir):
        if time.monotonic() > deadline:
            raise EmulatorError(
                f"The emulator (process {running.pid}) has not ended within {timeout:g} s.",
                f"End it yourself: kill -9 {running.pid}; its faces are safe in {state_dir}.",
            )
        time.sleep(_POLL)
    return True


def make_state_dir(state_dir: Path) -> None:
    """Create a state directory that only its owner can enter.

    Args:
        state_dir: the directory; an existing one is left as it is.

    Raises:
        EmulatorError: it cannot be created or written.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmulatorError(
            f"The emulator's state directory {state_dir} cannot be made: {error.strerror}.",
            "Choose a directory that you may write.",
        ) from error
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise _foreign(state_dir)


def lock_path(state_dir: Path) -> Path:
    """The file that a live emulator keeps locked."""
    return state_dir / "emulator.lock"


def record_path(state_dir: Path) -> Path:
    """The file in which a live emulator says where it listens."""
    return state_dir / "emulator.json"


def code_version() -> str:
    """A hash of the emulator's source, so that an upgrade (or an edit) replaces a running one."""
    digest = hashlib.sha256()
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _running(state_dir: Path) -> Running | None:
    if not _lock_is_held(state_dir):
        return None
    try:
        record = json.loads(record_path(state_dir).read_bytes())
        running = Running(record["endpoint"], int(record["pid"]), record["code"])
        host, port = record["host"], int(record["port"])
    except (OSError, ValueError, KeyError):
        return None  # it holds the lock but does not listen yet
    try:
        # For an instant a new emulator holds the lock while the record of a killed one still lies there.
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return None
    return running


def _lock_is_held(state_dir: Path) -> bool:
    try:
        descriptor = os.open(lock_path(state_dir), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise _foreign(state_dir) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _foreign(state_dir: Path) -> EmulatorError:
    return EmulatorError(
        f"The emulator's state directory {state_dir} belongs to another user.",
        "Run as that user, or choose another state directory.",
    )


def _settled(state_dir: Path, deadline: float) -> Running | None:
    """The emulator once it listens, None when there is none; waits for one that is just coming or going."""
    while True:
        running = _running(state_dir)
        if running is not None or not _lock_is_held(state_dir):
            return running
        if time.monotonic() > deadline:
            raise EmulatorError(
                f"An emulator holds {lock_path(state_dir)} but does not answer.",
                f"See {state_dir / 'emulator.log'}; end the process that holds the lock, then try again.",
            )
        time.sleep(_POLL)


@contextlib.contextmanager
def _only_starter(state_dir: Path, deadline: float) -> Iterator[None]:
    """Hold the right to start an emulator here, so that two callers at once start one."""
    with (state_dir / "emulator.starting").open("ab") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmulatorError(
                        "Another process has been starting the emulator for too long.",
                        f"See {state_dir / 'emulator.log'}, then try again.",
                    ) from None
                time.sleep(_POLL)
        yield


def _start(state_dir: Path, deadline: float, arguments: Sequence[str]) -> Running:
    log_path = state_dir / "emulator.log"
    command = [
        sys.executable,
        "-m",
        "seedtool.emulator",
        "--state-dir",
        str(state_dir.resolve()),
        "--port",
        "0",
        *arguments,
    ]
    with log_path.open("ab") as log:
        # Nothing of the caller's may be inherited: a held pipe would keep `make demo | tee` from ending.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=state_dir,
            env=_environment(),
            start_new_session=True,
            umask=0o077,
        )
    while time.monotonic() < deadline:
        running = _running(state_dir)
        if running is not None:
            # The child may outlive us; while we live, somebody has to take note when it ends.
            threading.Thread(target=child.wait, name="emulator-reaper", daemon=True).start()
            return running
        if child.poll() is not None:
            raise EmulatorError(
                f"The emulator ended at once with exit code {child.returncode}: {_last_line(log_path)}",
                f"Its log is {log_path}.",
            )
        time.sleep(_POLL)
    child.terminate()
    child.wait()
    raise EmulatorError("The emulator did not come up in time.", f"Its log is {log_path}.")


def _environment() -> dict[str, str]:
    """The child's environment: ours, and a way to this package when it runs from a source tree."""
    root = _PACKAGE.parent.parent
    environment = dict(os.environ)
    if root.name not in {"site-packages", "dist-packages"}:
        rest = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{rest}" if rest else str(root)
    return environment


def _last_line(log_path: Path) -> str:
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
