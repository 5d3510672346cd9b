"""The emulator as a program: HTTP on loopback, one state directory, until a signal ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn

from seedtool.emulator import objects, process
from seedtool.emulator.front import Faults, Key, Transportable, application
from seedtool.emulator.operations import Operations
from seedtool.emulator.state import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.applications import Starlette


def run(
    state_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    photos: Path | None = None,
    s3_endpoint: str | None = None,
    faults: str = "",
    required_key: Key | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the state directory until SIGTERM or SIGINT.

    Args:
        state_dir: where faces are kept; created when missing.
        host: the address to listen on.
        port: the port; 0 picks a free one.
        photos: a folder in which S3Objects are found, one folder a bucket.
        s3_endpoint: the URL of an S3 endpoint from which S3Objects are read otherwise.
        faults: settings of `seedtool.emulator.front.faults` as JSON.
        required_key: the access key that requests have to be signed with; None accepts all.
        announce: told the endpoint once it listens; None prints how to point clients at it.

    Raises:
        EmulatorError: another emulator serves this directory, the port is taken or none, the state is unreadable, the
            faults cannot be set or there is no folder of photos.
    """
    if photos is not None and not photos.is_dir():
        raise process.EmulatorError(f"There is no folder {photos}.", "Let --photos name the folder of the buckets.")
    process.make_state_dir(state_dir)
    misfortunes = Faults(faults)
    with _sole_server(state_dir), _listen(host, port) as listener:
        store = Store(state_dir / "faces.sqlite3")
        operations = Operations(store, objects.reader(photos, s3_endpoint), misfortunes.lag, misfortunes.most_faces)
        try:
            app = application(operations, misfortunes, state_dir, required_key)
            _serve(state_dir, app, listener, announce or _print_announcement)
        finally:
            process.record_path(state_dir).unlink(missing_ok=True)
            store.close()


@contextlib.contextmanager
def _sole_server(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock for the life of the server."""
    with process.lock_path(state_dir).open("ab") as handle:
        # Whoever asks whether a server runs takes the lock for an instant, so one failure proves nothing.
        for _ in range(50):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
        else:
            raise process.EmulatorError(
                f"Another emulator serves {state_dir}.",
                f"Use its address, which {process.record_path(state_dir)} tells, or another state directory.",
            )
        process.record_path(state_dir).unlink(missing_ok=True)
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:  # the latter for a port beyond 65,535
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise process.EmulatorError(
            f"Cannot listen on {host}:{port}: {reason}.", "Choose another --port, or 0 for any free one."
        ) from error
    return listener


def _serve(state_dir: Path, app: Starlette, listener: socket.socket, announce: Callable[[str], None]) -> None:
    host, port = listener.getsockname()[:2]
    endpoint = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    record = {
        "endpoint": endpoint,
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "code": process.code_version(),
    }
    config = uvicorn.Config(
        app,
        http=Transportable,
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
        headers=[("Server", "seedtool-emulator")],  # whoever takes it for AWS can tell
        timeout_keep_alive=75,  # clients keep connections for longer than uvicorn's 5 s
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        server.should_exit = True

    # uvicorn repeats the signal that ended it, and what follows (the record, the store) has to be done still.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    # The socket listens already: whoever connects from now on is answered as soon as the loop runs.
    fresh = process.record_path(state_dir).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(record))
    fresh.replace(process.record_path(state_dir))
    announce(endpoint)
    server.run(sockets=[listener])


def _print_announcement(endpoint: str) -> None:
    sys.stdout.write("\n".join(announcement(endpoint)) + "\n")
    sys.stdout.flush()


def announcement(endpoint: str) -> list[str]:
    """Return the lines that tell a person how to point clients at the emulator."""
    return [
        f"Rekognition stand-in on {endpoint}.",
        f"Point clients at it with AWS_ENDPOINT_URL_REKOGNITION={endpoint}, or --endpoint-url {endpoint}.",
        "It knows people by the names written into pictures; it does not recognise faces.",
    ]
