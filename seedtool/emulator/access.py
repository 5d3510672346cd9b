"""Who may use the emulator: the names that it answers to, web pages, administrators, and who has to sign.

A web page can send requests to programs on its reader's machine. Three rules keep the pages of strangers out. The Host
header has to be this machine's loopback address or a name that was given: a page that points its own name at 127.0.0.1
(DNS rebinding) sends that name. An Origin header, which browsers add to a page's requests, has to be one that was
given. And the emulator's own endpoints take only JSON, which a page cannot send without asking first (CORS).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from seedtool.emulator import process
from seedtool.emulator.process import EmulatorError, Key
from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s\[\]:/@?#]+))(?::\d{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s/?#@]+", re.IGNORECASE)
#: The address that says whether the emulator answers. Probes of containers ask it, by whatever name they have for it.
HEALTH = "/health"
_PREFLIGHT_SECONDS = "600"  # how long a browser may keep the answer to its question


@dataclass(frozen=True)
class Access:
    """The rules.

    Attributes:
        host_names: names in Host headers that are answered, besides loopback addresses and `localhost`.
        origins: web pages' origins that may send requests.
        admin_token: what clients on other machines have to send to the emulator's own endpoints; None refuses them.
        key: the key that requests have to be signed with; None accepts every request.
        everybody_signs: whether clients on this machine have to sign as well.
    """

    host_names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    admin_token: str | None = None
    key: Key | None = None
    everybody_signs: bool = True

    def answers(self, headers: Headers) -> bool:
        """Return whether a request's Host header has one name, and it is one of ours."""
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        name = (match["address"] or match["name"]).lower().removesuffix(".")
        return name == "localhost" or name in self.host_names or is_loopback(name)

    def key_for(self, request: Request) -> Key | None:
        """Return the key that a request has to be signed with, or None."""
        return None if self.key and not self.everybody_signs and _is_local(request) else self.key

    def administers(self, request: Request) -> bool:
        """Return whether a request to the emulator's own endpoints comes from this machine, or has the token."""
        if _is_local(request):
            return True
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return (
            self.admin_token is not None
            and kind.lower() == "bearer"
            and hmac.compare_digest(token.strip().encode(), self.admin_token.encode())
        )


def access(
    state_dir: Path,
    *,
    host: str = "127.0.0.1",
    host_names: Sequence[str] = (),
    origins: Sequence[str] = (),
    admin_token: str | None = None,
    key: Key | None = None,
    any_credentials: bool = False,
) -> Access:
    """Make the rules of one emulator.

    Args:
        state_dir: its state directory.
        host: the address that it listens on. Clients may use it as a name, unless it means all addresses.
        host_names: more names that clients may use, without a port.
        origins: the origins of web pages that may send requests, such as `http://localhost:5173`.
        admin_token: see `Access`.
        key: the key that every request has to be signed with. With None clients on this machine need not sign, and
            clients on other machines sign with the key of the state directory.
        any_credentials: let clients on other machines do without that key, too. Their Host and Origin headers still
            have to be right.

    Raises:
        EmulatorError: a name or an origin is not valid, the token is empty, the key cannot be read, or there is a key
            although any credentials do.
    """
    if any_credentials and key is not None:
        raise EmulatorError(
            "Requests cannot be accepted with any credentials and be signed with one key.",
            "Omit --any-credentials, or --require-signature and --state-key.",
        )
    if admin_token is not None and not admin_token.strip():
        raise EmulatorError("The admin token is empty.", "Give --admin-token a word that nobody can guess.")
    names = {_checked_name(name) for name in (*host_names, host)}
    beyond = host != "localhost" and not is_loopback(host)
    return Access(
        host_names=frozenset(name for name in names if not is_wildcard(name)),
        origins=frozenset(_checked_origin(origin) for origin in origins),
        admin_token=admin_token.strip() if admin_token else None,
        key=process.key(state_dir) if key is None and beyond and not any_credentials else key,
        everybody_signs=key is not None,
    )


class AccessMiddleware:
    """Refuses requests by their Host and Origin headers, and answers the questions of browsers (CORS).

    Args:
        app: the application behind it.
        rules: who may use it.
    """

    def __init__(self, app: ASGIApp, rules: Access) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == HEALTH:  # says nothing that a stranger could use, and probes have names of their own
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if not self._rules.answers(headers):
            host = headers.get("host", "")
            response = _refusal(f"The emulator does not answer to the host name {host!r}. Give it --host-name NAME.")
        elif origin is None:
            await self._app(scope, receive, send)
            return
        elif origin.lower() not in self._rules.origins or len(headers.getlist("origin")) != 1:
            response = _refusal(f"The emulator does not answer web pages of {origin!r}. Give it --cors ORIGIN.")
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response = _preflight(headers, origin)
        else:
            await self._app(scope, receive, _with_cors(send, origin))
            return
        await response(scope, receive, send)


def is_loopback(address: str) -> bool:
    """Return whether a text is a literal address of this machine's loopback interface."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def is_wildcard(address: str) -> bool:
    """Return whether a text is the address that means all addresses of a machine."""
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _is_local(request: Request) -> bool:
    return request.client is not None and is_loopback(request.client.host)


def _checked_name(name: str) -> str:
    bare = name.strip().removeprefix("[").removesuffix("]").lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        if re.fullmatch(r"[a-z0-9_]([a-z0-9_.\-]*[a-z0-9_])?", bare):
            return bare
    raise EmulatorError(
        f"{name!r} is not a host name.", "Give --host-name a name or an address without a port, such as emulator."
    )


def _checked_origin(origin: str) -> str:
    bare = origin.strip().removesuffix("/").lower()
    if not _ORIGIN.fullmatch(bare):
        raise EmulatorError(
            f"{origin!r} is not the origin of a web page.",
            "Give --cors a scheme, a name and a port, such as http://localhost:5173.",
        )
    return bare


def _refusal(message: str) -> Response:
    error = ServiceError("AccessDeniedException", message, 403)
    return Response(error.body(), error.status, {"x-amzn-ErrorType": error.code}, "application/x-amz-json-1.1")


def _preflight(headers: Headers, origin: str) -> Response:
    answer = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
        "Vary": "Origin",
    }
    if headers.get("access-control-request-private-network") == "true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=answer)


def _with_cors(send: Send, origin: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "x-amzn-RequestId, x-amzn-ErrorType"
            headers.add_vary_header("Origin")
        await send(message)

    return sending
