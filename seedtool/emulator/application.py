"""The ASGI application: Rekognition at `/`, the emulator's own endpoints below `/_seedtool`."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import traceback
import uuid
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from seedtool.emulator.access import HEALTH, Access, AccessMiddleware
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.process import EmulatorError, code_version
from seedtool.emulator.protocol import OPERATIONS, ServiceError, ServiceModel
from seedtool.emulator.signature import credential, verify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from starlette.requests import Request
    from starlette.types import Receive, Send
    from starlette.types import Scope as Connection

    from seedtool.emulator.faults import Faults

    Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

ACCOUNT = "123456789012"  # the account number in AWS's examples
REGION = "us-east-1"  # of requests that are not signed
_MOST_BODY = 16 * 1024 * 1024  # bytes of a request; a picture of 5 MiB has 7 MiB in base64
_MEDIA_TYPE = "application/x-amz-json-1.1"


def application(operations: Operations, faults: Faults, state_dir: Path, access: Access | None = None) -> Starlette:
    """Make the application.

    Args:
        operations: carries out requests.
        faults: decides which requests fail.
        state_dir: the state directory, which the status endpoint reports.
        access: who may use it; None for every program on this machine, and no web page.

    Returns:
        An ASGI application. To break connections it needs uvicorn with the protocol `TransportProtocol`.
    """
    rules = access or Access()
    front = _Front(operations, faults, state_dir, rules)
    return Starlette(
        routes=[
            Route("/", front.operation, methods=["POST"]),
            Route(HEALTH, front.health, methods=["GET"]),
            Route("/_seedtool/status", front.administrators(front.status), methods=["GET"]),
            Route("/_seedtool/reset-counters", front.administrators(front.reset_counters), methods=["POST"]),
            Route("/_seedtool/faults", front.administrators(front.show_faults), methods=["GET"]),
            Route("/_seedtool/faults", front.administrators(front.set_faults), methods=["POST"]),
        ],
        middleware=[Middleware(AccessMiddleware, rules=rules)],
        exception_handlers={HTTPException: _unknown_address},
    )


class TransportProtocol(H11Protocol):
    """uvicorn's HTTP protocol. It gives requests their transport, so that the application can close a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Store the transport as `request.state.transport`."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Front:
    """Turns HTTP requests into operations."""

    def __init__(self, operations: Operations, faults: Faults, state_dir: Path, access: Access) -> None:
        self._operations = operations
        self._faults = faults
        self._state_dir = state_dir
        self._access = access
        self._model = ServiceModel()
        self._counters = dict.fromkeys(OPERATIONS, 0)
        self._counting = threading.Lock()

    async def operation(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        broken = None
        try:
            body = await _body(request)
            key = self._access.key_for(request)
            if key is not None:
                verify(request, body, key)
            operation = self._model.operation(request.headers.get("x-amz-target", ""))
            with self._counting:
                self._counters[operation] += 1
            scope = _scope(request)
            await asyncio.sleep(self._faults.latency(operation))
            broken = self._faults.count(operation, *scope)
            if broken == "dropped":
                return _Broken(request, b"")
            content = await run_in_threadpool(self._answer, operation, scope, body)
            status, headers = 200, {}
        except ServiceError as error:
            status, headers, content = error.status, {"x-amzn-ErrorType": error.code}, error.body()
        headers["x-amzn-RequestId"] = request_id
        if broken:
            return _Broken(request, content, status, headers, _MEDIA_TYPE)
        return Response(content, status, headers, _MEDIA_TYPE)

    def administrators(self, handler: Handler) -> Handler:
        """Answer an endpoint of the emulator's own only to those who may administer it, and a POST only with JSON."""

        async def guarded(request: Request) -> Response:
            if not self._access.administers(request):
                message = "Only clients on the emulator's own machine, or with its --admin-token, may ask this."
                return JSONResponse({"error": message, "remedy": "Send the header Authorization: Bearer TOKEN."}, 403)
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if request.method == "POST" and kind != "application/json":
                message = f"The body has the type {kind!r}, not application/json."
                return JSONResponse(
                    {"error": message, "remedy": "Send the header Content-Type: application/json."}, 415
                )
            return await handler(request)

        return guarded

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "running"})

    async def status(self, _request: Request) -> Response:
        with self._counting:
            counters = dict(self._counters)
        return JSONResponse({"counters": counters, "state": str(self._state_dir), "version": code_version()})

    async def reset_counters(self, _request: Request) -> Response:
        with self._counting:
            self._counters = dict.fromkeys(OPERATIONS, 0)
        return JSONResponse({})

    async def show_faults(self, _request: Request) -> Response:
        return Response(msgspec.json.encode(self._faults.get()), media_type="application/json")

    async def set_faults(self, request: Request) -> Response:
        try:
            self._faults.set(await _body(request))
        except EmulatorError as error:
            return JSONResponse({"error": error.message, "remedy": error.remedy}, 400)
        return await self.show_faults(request)

    def _answer(self, operation: str, scope: Scope, body: bytes) -> bytes:
        try:
            return self._operations.perform(operation, scope, self._model.request(operation, body))
        except ServiceError:
            raise
        except Exception:  # noqa: BLE001 - the client gets a 500, as from AWS, and the server lives on
            # The log has the place of the error and no values: they may be pictures or names.
            frames = "".join(traceback.format_tb(sys.exc_info()[2]))
            sys.stderr.write(f"{operation} failed: {sys.exc_info()[0]}\n{frames}")
            raise ServiceError("InternalServerError", "The emulator failed. Read its log.", 500) from None


class _Broken(Response):
    """An answer whose connection closes in the middle of it, or before it when it has no content."""

    def __init__(
        self,
        request: Request,
        content: bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(content, status, headers, media_type)
        self._transport: asyncio.Transport = request.state.transport

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        if self.body:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            half = bytes(self.body)[: len(self.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        self._transport.close()  # what was sent before still reaches the client
        # uvicorn answers a request without an answer with 500, unless it knows that the client is gone.
        while (await receive())["type"] != "http.disconnect":
            pass


async def _unknown_address(request: Request, error: Exception) -> Response:
    """Answer another path or method with an error in Rekognition's form, so that a client can show it."""
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    answer = ServiceError(
        "UnknownOperationException",
        f"The emulator has no {request.method} {request.url.path}. Rekognition's operations are POST /.",
        status,
    )
    named = {"x-amzn-ErrorType": answer.code, "x-amzn-RequestId": str(uuid.uuid4())}
    return Response(answer.body(), answer.status, {**(headers or {}), **named}, _MEDIA_TYPE)


def _scope(request: Request) -> Scope:
    """Return the account and the region of a request, from the credential scope of its signature.

    All access keys share one account, so that faces do not vanish when somebody uses other made-up credentials. Only
    an access key of twelve digits is an account number itself.
    """
    found = credential(request)
    if found is None:
        return Scope(ACCOUNT, REGION)
    own = re.fullmatch(r"\d{12}", found.access_key_id)
    return Scope(found.access_key_id if own else ACCOUNT, found.region)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MOST_BODY:
            raise ServiceError("RequestEntityTooLargeException", "Request exceeds the size limit", 413)
        chunks.append(chunk)
    return b"".join(chunks)
