"""The emulator as a background process: start it when it is needed, find it, stop it.

A running emulator holds an exclusive lock on `emulator.lock` in its state directory. The kernel releases the lock
however the process ends, so the lock says whether an emulator runs; a process id could belong to another program by
now. Once the emulator listens, it writes its address and process id into `emulator.json`.

Every command imports this module, so it imports only light parts of the standard library.
"""

from __future__ import annotations

import contextlib
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

from seedtool import locks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_POLL = 0.01  # seconds between two checks of a lock or file that another process changes
_PACKAGE = Path(__file__).resolve().parent
#: What the variables begin with that give `rekognition-standin` its options.
VARIABLES = "REKOGNITION_STANDIN"


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
    """What a running emulator writes into `emulator.json`. `code` identifies its source code and its album."""

    endpoint: str
    pid: int
    code: str


class Key(NamedTuple):
    """An access key that requests are signed with."""

    access_key_id: str
    secret: str


def ensure(
    state_dir: Path,
    *,
    timeout: float = 30.0,
    verify: bool = False,
    album: Path | None = None,
    vision: str | None = None,
    arguments: Sequence[str] = (),
) -> str:
    """Return the endpoint of the emulator of a state directory. Start the emulator when it does not run.

    An emulator that runs other code than this, or has another album or vision, is replaced; its faces stay. When
    several processes call this at the same time, one starts the emulator and the others use it.

    Args:
        state_dir: where the emulator keeps its faces. It is created when it is missing.
        timeout: seconds to wait until the emulator listens.
        verify: accept only requests that `key(state_dir)` signed, so that other users of this machine are refused.
            Like `arguments` it is used only when the emulator has to be started.
        album: the folder of labelled pictures that it learns.
        vision: what finds the faces of real people in pictures without names: `dlib`, or None for nothing.
        arguments: more flags of `python -m seedtool.emulator`, used only when the emulator has to be started.

    Returns:
        A URL such as `http://127.0.0.1:41234`.

    Raises:
        EmulatorError: the emulator ended, or did not listen in time. The remedy names its log.
    """
    code = code_version(album, vision)
    running = _running(state_dir)
    if running is not None and running.code == code:
        return running.endpoint
    make_state_dir(state_dir)
    deadline = time.monotonic() + timeout
    with _only_starter(state_dir, deadline):
        running = _settled(state_dir, deadline)
        if running is not None and running.code != code:
            stop(state_dir, timeout=max(1.0, deadline - time.monotonic()))
            running = None
        if running is None:
            flags = [
                *(["--state-key"] if verify else []),
                *(["--album", str(album.resolve())] if album else []),
                *(["--vision", vision] if vision else []),
            ]
            running = _start(state_dir, deadline, [*arguments, *flags])
    return running.endpoint


def find(state_dir: Path) -> str | None:
    """Return the endpoint of the emulator of a state directory, or None when it does not run.

    Raises:
        EmulatorError: another user owns the directory.
    """
    running = _running(state_dir)
    return running.endpoint if running else None


def stop(state_dir: Path, *, timeout: float = 10.0) -> bool:
    """Stop the emulator of a state directory and wait until it has ended. Its faces stay.

    Args:
        state_dir: the emulator's state directory.
        timeout: seconds to wait until it has ended.

    Returns:
        True if it was running, else False.

    Raises:
        EmulatorError: it had not ended in time, or another user owns it.
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
        pass  # it has just ended by itself
    except PermissionError:
        raise _foreign(state_dir) from None
    while _lock_is_held(state_dir):
        if time.monotonic() > deadline:
            raise EmulatorError(
                f"The emulator (process {running.pid}) has not ended within {timeout:g} s.",
                f"End it with `kill -9 {running.pid}`. Its faces stay in {state_dir}.",
            )
        time.sleep(_POLL)
    return True


def make_state_dir(state_dir: Path) -> None:
    """Create a state directory that only its owner can read.

    Args:
        state_dir: the directory. One that exists is not changed.

    Raises:
        EmulatorError: the directory cannot be created or written.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmulatorError(
            f"The emulator's state directory {state_dir} cannot be created: {error.strerror}.",
            "Choose a directory that you can write to.",
        ) from error
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise _foreign(state_dir)


def key(state_dir: Path) -> Key:
    """Return the key of a state directory. It is made when it is missing. Only its owner can read it.

    Args:
        state_dir: the emulator's state directory. It is created when it is missing.

    Raises:
        EmulatorError: another user owns the directory, or the file of the key is damaged.
    """
    path = key_path(state_dir)
    if not path.exists():
        make_state_dir(state_dir)
        _write_key(path)
    try:
        access_key_id, secret = path.read_text(encoding="ascii").split()
    except PermissionError:
        raise _foreign(state_dir) from None
    except ValueError:
        raise EmulatorError(
            f"{path} does not have an access key and a secret.", "Stop the emulator, then delete the file."
        ) from None
    return Key(access_key_id, secret)


def key_of_environment() -> Key:
    """Return the key that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY give.

    Raises:
        EmulatorError: one of them is not set.
    """
    found = {name: os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name, value in found.items():
        if not value:
            raise EmulatorError(
                f"{name} is not set, so signatures cannot be verified.",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or omit --require-signature.",
            )
    return Key(*found.values())


def key_path(state_dir: Path) -> Path:
    """Return the file of a state directory's key."""
    return state_dir / "emulator.key"


def lock_path(state_dir: Path) -> Path:
    """Return the file that a running emulator keeps locked."""
    return state_dir / "emulator.lock"


def record_path(state_dir: Path) -> Path:
    """Return the file into which a running emulator writes its address."""
    return state_dir / "emulator.json"


def code_version(album: Path | None = None, vision: str | None = None) -> str:
    """Hash the emulator's code, the album's folder and the vision. A running emulator of another hash is replaced."""
    digest = hashlib.sha256(f"{album.resolve() if album else ''}\0{vision or ''}".encode())
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
        return None  # it holds the lock and does not listen yet
    try:
        # A new emulator holds the lock for a moment before it removes the record of one that was killed.
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return None
    return running


def _write_key(path: Path) -> None:
    """Write a new key. When two processes do so at once, both use the one that was first."""
    fresh = path.with_suffix(f".key-{os.getpid()}-{threading.get_ident()}")
    with open(fresh, "x", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(f"seedtool-{os.urandom(6).hex()}\n{os.urandom(24).hex()}\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # unlike a rename it never replaces
    finally:
        fresh.unlink()


def _lock_is_held(state_dir: Path) -> bool:
    try:
        descriptor = os.open(lock_path(state_dir), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise _foreign(state_dir) from None
    try:
        return not locks.try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _foreign(state_dir: Path) -> EmulatorError:
    return EmulatorError(
        f"Another user owns the emulator's state directory {state_dir}.",
        "Run as that user, or choose another state directory.",
    )


def _settled(state_dir: Path, deadline: float) -> Running | None:
    """Wait for an emulator that is starting or stopping. Return it once it listens, or None when there is none."""
    while True:
        running = _running(state_dir)
        if running is not None or not _lock_is_held(state_dir):
            return running
        if time.monotonic() > deadline:
            raise EmulatorError(
                f"A process holds {lock_path(state_dir)}, and no emulator answers.",
                f"Read {state_dir / 'emulator.log'}. End the process that holds the lock, then try again.",
            )
        time.sleep(_POLL)


@contextlib.contextmanager
def _only_starter(state_dir: Path, deadline: float) -> Iterator[None]:
    """Let one caller at a time start an emulator on this directory."""
    with (state_dir / "emulator.starting").open("ab") as handle:
        while not locks.try_lock(handle.fileno()):
            if time.monotonic() > deadline:
                raise EmulatorError(
                    "Another process is starting the emulator and has not finished in time.",
                    f"Read {state_dir / 'emulator.log'}, then try again.",
                )
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
        # The child inherits none of our files: with our pipe open in it, `make demo | tee` would not end.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=state_dir,
            env=_environment(),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            umask=0o077,
        )
    while time.monotonic() < deadline:
        running = _running(state_dir)
        if running is not None:
            # The child may outlive us. While we live, a thread waits for it, so that it leaves no zombie.
            threading.Thread(target=child.wait, name="emulator-reaper", daemon=True).start()
            return running
        if child.poll() is not None:
            raise EmulatorError(
                f"The emulator ended with exit code {child.returncode} while it started: {_last_words(log_path)}",
                f"Read its log: {log_path}.",
            )
        time.sleep(_POLL)
    child.terminate()
    child.wait()
    raise EmulatorError("The emulator did not start in time.", f"Read its log: {log_path}.")


def _environment() -> dict[str, str]:
    """Return our environment, with a path to this package when it runs from a source tree."""
    root = _PACKAGE.parents[__name__.count(".") - 1]
    # the variables are for a stand-in that somebody starts, not for this one
    environment = {name: value for name, value in os.environ.items() if not name.startswith(f"{VARIABLES}_")}
    if root.name not in {"site-packages", "dist-packages"}:
        rest = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{rest}" if rest else str(root)
    return environment


def _last_words(log_path: Path) -> str:
    """Return what went wrong and what to do, as `python -m seedtool.emulator` says it; of a traceback the last line."""
    lines = log_path.read_text(errors="replace").strip().splitlines()
    return " ".join(each for each in lines[-2:] if not each.startswith(" ")) or "its log is empty"
