"""Runs the emulator in this process: HTTP for one state directory, until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn

from seedtool import locks
from seedtool.emulator import objects, process
from seedtool.emulator.access import access as make_access
from seedtool.emulator.access import is_loopback, is_wildcard
from seedtool.emulator.album import Album
from seedtool.emulator.application import TransportProtocol, application
from seedtool.emulator.faults import Faults
from seedtool.emulator.liveness import Liveness
from seedtool.emulator.operations import Operations
from seedtool.emulator.store import FILE, Store
from seedtool.emulator.vision import open_vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.applications import Starlette

    from seedtool.emulator.access import Access


def run(
    state_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    photos: Path | None = None,
    s3_endpoint: str | None = None,
    faults: str = "",
    album: Path | None = None,
    vision: str | None = None,
    access: Access | None = None,
    announce: Callable[[str, list[str]], None] | None = None,
) -> None:
    """Serve a state directory until SIGTERM or SIGINT.

    Args:
        state_dir: where faces are kept. It is created when it is missing.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        photos: the folder that S3Objects are read from. It has one folder for each bucket.
        s3_endpoint: the URL of the S3 endpoint that S3Objects are read from when there is no `photos`.
        faults: settings of `seedtool.emulator.faults` as JSON.
        album: the folder of labelled pictures that it learns before it listens.
        vision: what finds the faces of real people, one of `vision.KINDS`; None for nothing.
        access: who may use it; None for every program on this machine, and no web page.
        announce: called once the emulator listens, with its endpoint and with lines that explain how to use it; None
            prints these.

    Raises:
        EmulatorError: another emulator serves this directory, the port cannot be used, the state cannot be read, the
            faults are not valid, the folder of photos or of the album does not exist, the album has a wrong row, or
            the packages of `vision` are not installed.
    """
    if photos is not None and not photos.is_dir():
        raise process.EmulatorError(
            f"The folder {photos} does not exist.", "Name the folder that holds the buckets: --photos FOLDER."
        )
    process.make_state_dir(state_dir)
    in_force = Faults(faults)
    seeing = open_vision(vision)
    learnt = Album.read(album) if album is not None else None
    if learnt is not None:
        sys.stderr.write(f"Learnt {learnt.pictures:,} labelled pictures with {learnt.faces:,} faces from {album}.\n")
    with _sole_server(state_dir) as lock, _listen(host, port) as listener:
        store = Store(state_dir / FILE)
        operations = Operations(
            store,
            objects.reader(photos, s3_endpoint),
            in_force.lag,
            in_force.most_faces,
            learnt,
            Liveness(in_force.liveness),
            seeing,
        )
        try:
            rules = access or make_access(state_dir, host=host)
            app = application(operations, in_force, state_dir, rules)

            def announce_it(endpoint: str) -> None:
                lines = announcement(endpoint, host, rules, s3_objects=bool(photos or s3_endpoint), vision=vision)
                (announce or _print_announcement)(endpoint, lines)

            _serve(state_dir, app, listener, lock, process.code_version(album, vision), announce_it)
        finally:
            if _is_there(process.lock_path(state_dir), lock):  # else the record is that of another one
                process.record_path(state_dir).unlink(missing_ok=True)
            store.close()


@contextlib.contextmanager
def _sole_server(state_dir: Path) -> Iterator[int]:
    """Hold the state directory's lock while the server runs; yields the descriptor of the lock's file."""
    with process.lock_path(state_dir).open("ab") as handle:
        # A process that asks whether an emulator runs holds the lock for a moment. So we try several times.
        for _ in range(50):
            if locks.try_lock(handle.fileno()):
                break
            time.sleep(0.01)
        else:
            raise process.EmulatorError(
                f"Another emulator serves {state_dir}.",
                f"Use that emulator (its address is in {process.record_path(state_dir)}), or another state directory.",
            )
        process.record_path(state_dir).unlink(missing_ok=True)
        yield handle.fileno()


def _is_there(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError:  # a disk that does not answer for a moment
        return True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only when the socket names its protocol. With it each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # on Windows SO_REUSEADDR would let two programs listen on one port
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR), 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:  # of a port above 65,535, and of a name such as a..b
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        elsewhere = (
            isinstance(error, socket.gaierror | UnicodeError) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        )
        raise process.EmulatorError(
            f"Cannot listen on {host}:{port}: {reason}.",
            "Give --host an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all."
            if elsewhere
            else "Choose another --port, or 0 for a free one.",
        ) from error
    return listener


def _serve(
    state_dir: Path,
    app: Starlette,
    listener: socket.socket,
    lock: int,
    code: str,
    announce: Callable[[str], None],
) -> None:
    host, port = listener.getsockname()[:2]
    if is_wildcard(host):  # all addresses of this machine: clients here use the loopback one
        host = "::1" if ":" in host else "127.0.0.1"
    endpoint = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    record = {
        "endpoint": endpoint,
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "code": code,
    }

    async def end_with_the_folder() -> None:
        # nobody finds an emulator without its folder, and the next one would not know of it
        if not _is_there(process.lock_path(state_dir), lock):
            sys.stderr.write(f"The state directory {state_dir} is gone, and so this emulator ends.\n")
            server.should_exit = True

    config = uvicorn.Config(
        app,
        callback_notify=end_with_the_folder,
        timeout_notify=1,
        http=TransportProtocol,
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # else a client could claim to be on another machine
        headers=[("Server", "seedtool-emulator")],  # so that a client can see that this is not AWS
        timeout_keep_alive=75,  # clients keep connections open for longer than uvicorn's 5 s
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    # uvicorn's own handler would raise the signal again and end us before the record and the store are cleaned up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    # The socket listens already. A client that connects now is answered as soon as the loop runs.
    fresh = process.record_path(state_dir).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(record))
    fresh.replace(process.record_path(state_dir))
    announce(endpoint)
    server.run(sockets=[listener])


def _print_announcement(_endpoint: str, lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def announcement(endpoint: str, host: str, access: Access, *, s3_objects: bool, vision: str | None = None) -> list[str]:
    """Return the lines that explain how to use the emulator.

    Args:
        endpoint: its address for programs on this machine.
        host: the address that it was told to listen on.
        access: who may use it.
        s3_objects: whether it can read S3Objects.
        vision: what finds the faces of real people; None for nothing.
    """
    rest = f"Elsewhere {vision} finds and compares the faces." if vision else "It does not recognise faces."
    return [
        f"Rekognition stand-in on {endpoint}.",
        f"Point clients at it with AWS_ENDPOINT_URL_REKOGNITION={endpoint}, or --endpoint-url {endpoint}.",
        *_for_other_machines(endpoint, host, access),
        f"It knows people by the names in the metadata of pictures. {rest}",
        *([] if s3_objects else [objects.NO_SOURCE]),
    ]


def _for_other_machines(endpoint: str, host: str, access: Access) -> list[str]:
    """Return what clients on other machines have to know; nothing where they cannot reach us."""
    if host == "localhost" or is_loopback(host):
        return []
    port = endpoint.rpartition(":")[2]
    names = sorted(f"[{name}]" if ":" in name else name for name in access.host_names)
    key = access.key
    return [
        f"Programs on other machines use {' or '.join(f'http://{name}:{port}' for name in names)}."
        if names
        else "Give it --host-name NAME when programs on other machines call it by another name than localhost.",
        f"They sign with the key {key.access_key_id}." if key else "They may use any credentials.",
    ]
