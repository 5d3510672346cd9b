"""The emulator as a program: HTTP on loopback, one state directory, until a signal ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seedtool.emulator import process
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.protocol import OPERATIONS, ServiceError, ServiceModel
from seedtool.emulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

ACCOUNT = "123456789012"  # AWS's own account number for examples
REGION = "us-east-1"  # for requests that carry no credential scope
_MOST_BODY = 16 * 1024 * 1024  # bytes; 5 MiB of picture are 7 MiB of base64
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/[^/,\s]+/aws4_request")


def run(state_dir: Path, *, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve the state directory until SIGTERM or SIGINT.

    Args:
        state_dir: where faces are kept; created when missing.
        host: the address to listen on.
        port: the port; 0 picks a free one.

    Raises:
        EmulatorError: another emulator serves this directory, the port is taken, or the state is unreadable.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _sole_server(state_dir), _listen(host, port) as listener:
        store = Store(state_dir / "faces.sqlite3")
        try:
            _serve(state_dir, store, listener)
        finally:
            process.record_path(state_dir).unlink(missing_ok=True)
            store.close()


def application(store: Store, state_dir: Path) -> Starlette:
    """The ASGI application over a store: Rekognition at `/`, the admin's endpoints below `/_seedtool`.

    Args:
        store: the faces.
        state_dir: told by the status endpoint.

    Returns:
        An application for any ASGI server.
    """
    front = _Front(store, state_dir)
    return Starlette(
        routes=[
            Route("/", front.operation, methods=["POST"]),
            Route("/_seedtool/status", front.status, methods=["GET"]),
            Route("/_seedtool/reset-counters", front.reset_counters, methods=["POST"]),
        ],
    )


class _Front:
    """Turns HTTP requests into operations."""

    def __init__(self, store: Store, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._model = ServiceModel()
        self._operations = Operations(store, _no_objects)
        self._counters = dict.fromkeys(OPERATIONS, 0)
        self._counting = threading.Lock()

    async def operation(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        try:
            content = await _body(request)
            content = await run_in_threadpool(
                self._answer, request.headers.get("x-amz-target", ""), _scope(request), content
            )
            status, headers = 200, {}
        except ServiceError as error:
            status, headers, content = error.status, {"x-amzn-ErrorType": error.code}, error.body()
        headers["x-amzn-RequestId"] = request_id
        return Response(content, status, headers, media_type="application/x-amz-json-1.1")

    async def status(self, _request: Request) -> Response:
        with self._counting:
            counters = dict(self._counters)
        return JSONResponse({"counters": counters, "state": str(self._state_dir), "version": process.code_version()})

    async def reset_counters(self, _request: Request) -> Response:
        with self._counting:
            self._counters = dict.fromkeys(OPERATIONS, 0)
        return JSONResponse({})

    def _answer(self, target: str, scope: Scope, content: bytes) -> bytes:
        operation = self._model.operation(target)
        with self._counting:
            self._counters[operation] += 1
        request = self._model.request(operation, content)
        try:
            return self._operations.perform(operation, scope, request)
        except ServiceError:
            raise
        except Exception:  # noqa: BLE001 - the client gets a 500, as from AWS, and the server lives on
            # The log tells where, never what: values may be pictures or names.
            frames = "".join(traceback.format_tb(sys.exc_info()[2]))
            sys.stderr.write(f"{operation} failed: {sys.exc_info()[0]}\n{frames}")
            raise ServiceError("InternalServerError", "The emulator failed; see its log.", 500) from None


def _scope(request: Request) -> Scope:
    """Account and region from the request's SigV4 credential scope.

    All access keys share one account, so that faces do not vanish with a change of made-up credentials; an
    access key of twelve digits names another account.
    """
    match = _CREDENTIAL.search(request.headers.get("authorization", ""))
    if match is None:
        return Scope(ACCOUNT, REGION)
    access_key, region = match.groups()
    return Scope(access_key if re.fullmatch(r"\d{12}", access_key) else ACCOUNT, region)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MOST_BODY:
            raise ServiceError("RequestEntityTooLargeException", "Request exceeds the size limit", 413)
        chunks.append(chunk)
    return b"".join(chunks)


def _no_objects(_object: dict[str, str]) -> bytes:
    raise ServiceError(
        "InvalidS3ObjectException",
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
    )


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
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise process.EmulatorError(
            f"Cannot listen on {host}:{port}: {error.strerror}.", "Choose another --port, or 0 for any free one."
        ) from error
    return listener


def _serve(state_dir: Path, store: Store, listener: socket.socket) -> None:
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
        application(store, state_dir),
        access_log=False,
        log_level="warning",
        lifespan="off",
        server_header=False,
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
    sys.stdout.write(
        f"Rekognition stand-in on {endpoint} (faces in {state_dir}).\n"
        f"Point clients at it with AWS_ENDPOINT_URL_REKOGNITION={endpoint}, or --endpoint-url {endpoint}.\n"
        "It knows people by the names written into pictures; it does not recognise faces.\n"
    )
    sys.stdout.flush()
    server.run(sockets=[listener])
