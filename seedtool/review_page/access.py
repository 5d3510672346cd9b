"""Who may see the page: the browser that was given the address with its key, and no other page.

The page shows people's faces. The first request has the key in its URL and gets a cookie instead, so that the key does
not stay in the address bar. Three rules keep other pages out, those on other ports of this machine too, which share
cookies with us. The Host header has to be our own address: a page that points its own name at 127.0.0.1 (DNS rebinding)
sends that name. An Origin header has to be our own. And the answers may not be embedded anywhere.
"""

from __future__ import annotations

import hmac
import re
import secrets
from http import cookies
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

_POLICY_HEADER = "Content-Security-Policy"

#: What the report of a run needs: its own style, and nothing else. It has no script.
REPORT_POLICY = {
    _POLICY_HEADER: "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
}

_HEADERS = {
    _POLICY_HEADER: _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, a form that is sent without the script says `Origin: null`
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",  # no faces in the browser's cache on disk
}

# Browsers that are known at a time. The oldest has to open the address with the key again.
_MOST_BROWSERS = 100

# The cookie that tells people apart, so that each undoes what is his own, also after the page was started again. It
# lets nobody in. Cookies do not tell ports apart, which is as it should be here.
_REVIEWER = "seedtool_reviewer"
_REVIEWER_SECONDS = 365 * 24 * 3600
_REVIEWER_FORM = re.compile(r"[A-Za-z0-9_-]{22}")


class Access:
    """The key of a page, and the browsers that have shown it.

    Args:
        port: where the page is served, on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self.key = secrets.token_urlsafe(32)
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"seedtool_review_{port}"  # cookies do not tell ports apart
        self._browsers: dict[str, None] = {}

    @property
    def url(self) -> str:
        """The address that opens the page."""
        return f"http://{self.hosts[0]}/?key={self.key}"

    def admit(self) -> str:
        """Return the cookie's value for another browser."""
        token = secrets.token_urlsafe(32)
        self._browsers[token] = None
        while len(self._browsers) > _MOST_BROWSERS:
            del self._browsers[next(iter(self._browsers))]
        return token

    def browser(self, headers: Headers) -> str | None:
        """Return the browser that a request comes from; None when it has not shown the key."""
        token = _cookie(headers, self.cookie)
        return token if token in self._browsers else None


class AccessMiddleware:
    """Lets in what may come in, and adds the headers that keep the page apart.

    Args:
        app: the application behind it. It finds the browser in `request.state.browser`, and whoever sits before it in
            `request.state.reviewer`.
        access: who may come in.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                policy = answer.get(_POLICY_HEADER, _HEADERS[_POLICY_HEADER])
                answer.update({**_HEADERS, _POLICY_HEADER: policy})
            await send(message)

        await self._choose(scope)(scope, receive, sending)

    def _choose(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        host, origin = headers.getlist("host"), headers.getlist("origin")
        if len(host) != 1 or host[0].lower() not in self._access.hosts:
            return _refusal("This address is not the page's own. Open the address that seedtool has printed.")
        if origin and origin != [f"http://{host[0].lower()}"]:
            return _refusal("Other pages may not use this one.")
        key = QueryParams(scope["query_string"]).get("key")
        if key is not None and scope["path"] == "/":
            if not hmac.compare_digest(key.encode(), self._access.key.encode()):
                return _refusal("The key is not that of this page. Open the address that seedtool has printed.")
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self._access.cookie, self._access.admit(), httponly=True, samesite="strict")
            if not _REVIEWER_FORM.fullmatch(_cookie(headers, _REVIEWER)):
                reviewer = secrets.token_urlsafe(16)
                answer.set_cookie(_REVIEWER, reviewer, _REVIEWER_SECONDS, httponly=True, samesite="strict")
            return answer
        browser = self._access.browser(headers)
        if browser is None:
            return _refusal("This browser has not shown the page's key. Open the address that seedtool has printed.")
        reviewer = _cookie(headers, _REVIEWER)
        state = scope.setdefault("state", {})
        state["browser"] = browser
        state["reviewer"] = reviewer if _REVIEWER_FORM.fullmatch(reviewer) else browser
        return self._app


def _cookie(headers: Headers, name: str) -> str:
    sent: cookies.SimpleCookie = cookies.SimpleCookie()
    try:
        sent.load(headers.get("cookie", ""))
    except cookies.CookieError:
        return ""
    return sent[name].value if name in sent else ""


def _refusal(message: str) -> PlainTextResponse:
    return PlainTextResponse(f"{message}\n", 403)
