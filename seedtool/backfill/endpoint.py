"""An application does the work: each photo's address is posted to it, and it answers with counts.

    POST URL
    Authorization: Bearer TOKEN
    X-User-Id: the user
    {"imageUrl": "...", "assetId": "...", "reprocessOptions": {"faces": true}}

    200 {"facesDetected": 2, "autoAssigned": 1, "needsUserInput": 1}

It writes its own rows; here only the journal is kept. What was posted when a run was killed is posted again: the
application has to take a photo twice.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import psycopg
import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError
from urllib3.util import Timeout

from seedtool.backfill import journal
from seedtool.backfill.journal import Asset
from seedtool.backfill.matching import Matches
from seedtool.backfill.reporting.report import Outcome
from seedtool.backfill.reporting.spending import Meter
from seedtool.backfill.ways import Found, Opened, Paused
from seedtool.errors import (
    AccessDenied,
    CredentialsError,
    InvalidRequest,
    PhotoError,
    ServiceUnavailable,
    SettingsError,
    Throttled,
)
from seedtool.faces.photos.addresses import is_address
from seedtool.faces.rekognition.answers import Face
from seedtool.version import VERSION

#: Attempts at one photo, until it fails; 429 is tried on by the run.
ATTEMPTS = 5

#: What a report calls it.
OPERATION = "POST"

# Seconds: an application looks at every face of a photo before it answers.
_TIMEOUT = Timeout(connect=5.0, read=120.0)

# Seconds before the second attempt, doubled for each further one; and the longest that an endpoint may have us wait.
_WAIT = 0.5
_LONGEST_WAIT = 300.0

# Bytes of an answer that are read; characters of its message that are repeated.
_MOST = 65_536
_MESSAGE = 200

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The application's counts."""

    faces_detected: _Count
    auto_assigned: _Count
    needs_user_input: _Count


class Endpoint:
    """Photos are processed by an application; a `Way`. Safe for threads.

    Args:
        url: https, or http on this machine.
        token: shown to the application.
        connections: requests at once.

    Raises:
        SettingsError: the address is none, or would show the token to the network; or there is no token.
    """

    mode = "endpoint"
    region = ""
    visibility = 0.0

    def __init__(self, url: str, token: str | None, connections: int) -> None:
        self.url = _checked(url)
        self.where = urlsplit(url)._replace(query="", fragment="").geturl()
        self.indexes = {OPERATION: 1}
        self.searches: dict[str, int] = {}
        if not token:
            raise SettingsError(
                "there is no token for the endpoint", remedy="Put SEEDTOOL_BACKFILL_TOKEN into the environment or .env."
            )
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"seedtool/{VERSION}",
        }
        # neither redirects, which would carry the token elsewhere, nor its own attempts
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, timeout=_TIMEOUT)
        self._meter = Meter({}, None)
        self._pause: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._answered = False

    @contextmanager
    def metered(self, prices: Mapping[str, float], most: float | None) -> Iterator[Meter]:  # noqa: ARG002 - the seam's
        """Count requests; what they cost is the application's affair."""
        self._meter = Meter({}, None)
        try:
            yield self._meter
        finally:
            self._pool.clear()

    def open(
        self, collection_id: str, unfinished: Sequence[str], pause: Callable[[float], None], *, remembered: bool
    ) -> Opened:
        """Keep how to wait: there is nothing to prepare."""
        del collection_id, unfinished, remembered
        self._pause = pause
        return Opened()

    def index(self, collection_id: str, asset: Asset, there: list[Face]) -> Found:
        """Post the photo.

        Raises:
            PhotoError: no application elsewhere can read it.
            CredentialsError: the token is refused: that concerns every photo; likewise AccessDenied, SettingsError.
            InvalidRequest: the application refuses this photo, or its answer is none.
            Throttled: too many requests, after all attempts.
            ServiceUnavailable: no answer, or a fault of the application, after all attempts.
        """
        del collection_id, there
        if not is_address(asset.storage_url):
            raise PhotoError(
                "the storage_url is a path, which an application elsewhere cannot read",
                remedy="Write an https:// or s3:// address into it, or run without --endpoint.",
            )
        body = msgspec.json.encode(
            {"imageUrl": asset.storage_url, "assetId": asset.id, "reprocessOptions": {"faces": True}}
        )
        status, answer = self._post(body, asset.user_id)
        return Found(outcome=self._outcome(status, answer))

    def match(self, collection_id: str, asset: Asset, found: Found) -> Matches:
        """Nothing: the application has done it."""
        del collection_id, asset, found
        return {}

    def record(
        self,
        connection: psycopg.Connection,
        run: str,
        asset: Asset,
        found: Found,
        matches: Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Write the journal's line; the rows are the application's."""
        del matches
        outcome = found.outcome
        if outcome is None or not journal.finish(connection, run, asset.id, outcome.faces, calls):
            return None
        return outcome

    def drop(self, collection_id: str, face_ids: list[str]) -> None:
        """Nothing: no face was indexed here."""

    def _post(self, body: bytes, user_id: str) -> tuple[int, bytes]:
        """Return status and body of the first answer that is not to be tried again, or of the last one."""
        for attempt in range(1, ATTEMPTS + 1):
            self._wait_for_all()
            self._meter.leave(OPERATION)
            try:
                status, answer, retry_after = self._once(body, user_id)
            except SSLError as error:
                raise SettingsError(
                    f"{self.where}: the connection cannot be trusted: {_reason(error)}",
                    remedy="Mend the certificate, or name the address that it is for.",
                ) from error
            except HTTPError as error:
                self._give_up(attempt, error)
                self._wait(_backoff(attempt))
                continue
            self._answered = True
            if status == 429:
                self._meter.over(OPERATION)
            if status not in _TRY_AGAIN or attempt == ATTEMPTS:
                return status, answer
            if retry_after is not None:
                with self._lock:  # of all requests alike: each would be told the same
                    self._not_before = max(self._not_before, time.monotonic() + min(retry_after, _LONGEST_WAIT))
            else:
                self._wait(_backoff(attempt))
        raise AssertionError  # the last attempt has returned or raised

    def _once(self, body: bytes, user_id: str) -> tuple[int, bytes, float | None]:
        response = self._pool.request(
            "POST",
            self.url,
            body=body,
            headers={**self._headers, "X-User-Id": user_id},
            preload_content=False,
            redirect=False,
        )
        try:
            return response.status, response.read(_MOST), _seconds(response.headers.get("Retry-After"))
        finally:
            response.close()  # read to its end, its connection went back to the pool already

    def _give_up(self, attempt: int, error: HTTPError) -> None:
        if attempt < ATTEMPTS:
            return
        if not self._answered:  # as much is wrong for the next photo
            raise SettingsError(
                f"{self.where} has never answered: {_reason(error)}",
                remedy="See that the application runs and that the address is right; the same command goes on.",
            ) from error
        raise ServiceUnavailable(
            f"{self.where}: no answer after {ATTEMPTS} attempts: {_reason(error)}",
            remedy="Run with --retry-failed once the application is well.",
        ) from error

    def _outcome(self, status: int, body: bytes) -> Outcome:
        if 200 <= status < 300:
            try:
                answer = msgspec.json.decode(body, type=_Answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidRequest(
                    f"{self.where}: the answer is not {{facesDetected, autoAssigned, needsUserInput}}: {error}",
                    remedy="See that the address is the application's reprocessing, then run with --retry-failed.",
                ) from error
            return Outcome(
                faces=answer.faces_detected, auto_assigned=answer.auto_assigned, needs_person=answer.needs_user_input
            )
        told = f"{self.where} answered {status}{_message(body)}"
        if status == 401:
            raise CredentialsError(
                told,
                remedy="Put a valid SEEDTOOL_BACKFILL_TOKEN into the environment or .env; the same command goes on.",
            )
        if status == 403:
            raise AccessDenied(told, remedy="Let the token do this in the application; the same command goes on.")
        if 300 <= status < 400:
            raise SettingsError(told, remedy="Name the address that it leads to: a redirect would show it the token.")
        if status == 429:
            raise Throttled(told, remedy="Give a smaller --batch-size, then run with --retry-failed.")
        if status >= 500 or status in _TRY_AGAIN:
            raise ServiceUnavailable(told, remedy="Look into the application's log, then run with --retry-failed.")
        raise InvalidRequest(told, remedy="Mend the asset or the application, then run with --retry-failed.")

    def _wait_for_all(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Wait; when the run is to end meanwhile, this photo is the next run's."""
        until = time.monotonic() + seconds
        self._pause(seconds)
        if time.monotonic() < until - 0.01:
            raise Paused


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        urllib3.util.parse_url(url)
    except (ValueError, LocationValueError):
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host:
        raise SettingsError(
            "the endpoint is no http(s) address",
            remedy="Write https://app.example.com/api/assets/reprocess or the like.",
        )
    if parts.username is not None:
        raise SettingsError(
            f"the endpoint's address at {host} holds credentials",
            remedy="Leave them out: SEEDTOOL_BACKFILL_TOKEN is what is shown to it.",
        )
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise SettingsError(
            f"the endpoint at {host} is plain http, which shows the token to the network",
            remedy="Use https, or a tunnel to this machine (ssh -L 8000:localhost:8000 ...) and http://localhost:8000.",
        )
    return url


def _backoff(attempt: int) -> float:
    longest: float = _WAIT * 2 ** (attempt - 1)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - apart from one another, not secret


def _seconds(retry_after: str | None) -> float | None:
    """Return what a Retry-After says, in seconds: it is a number of them or a date."""
    if not retry_after:
        return None
    if re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _message(body: bytes) -> str:
    """Return what an answer says is wrong, in short: a member of its JSON, or nothing; pages are not quoted."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    while isinstance(found, dict):
        found = next((found[name] for name in ("message", "error", "detail", "title") if found.get(name)), None)
    if not isinstance(found, str):
        return ""
    text = " ".join("".join(each if each.isprintable() else " " for each in found).split())
    return f": {text[:_MESSAGE]}{'...' * (len(text) > _MESSAGE)}" if text else ""


def _reason(error: HTTPError) -> str:
    """Return what was wrong with a connection; the error's own text quotes addresses and objects."""
    kind = type(error).__name__
    if isinstance(error, SSLError):
        return getattr(error.args[0] if error.args else None, "verify_message", "") or "TLS failed"
    return _REASONS.get(kind, kind)


_REASONS = {
    "NewConnectionError": "nothing listens there",
    "NameResolutionError": "its name is unknown",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "nothing was said in time",
    "ProtocolError": "the connection broke off",
}
