"""An application processes the photos: the address of each is posted to it, and it answers with counts.

    POST URL
    Authorization: Bearer TOKEN
    X-User-Id: the user
    {"imageUrl": "...", "assetId": "...", "reprocessOptions": {"faces": true}}

    200 {"facesDetected": 2, "autoAssigned": 1, "needsUserInput": 1}

The application writes its own rows; seedtool only keeps the journal. When a run is killed, the next run posts the
photos again that were on their way: the application must accept a photo twice.
"""

import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError
from urllib3.util import Timeout

from seedtool.backfill import journal
from seedtool.backfill.calls import Meter
from seedtool.backfill.decisions import Matches
from seedtool.backfill.journal import Asset
from seedtool.backfill.library import CollectionOfUser
from seedtool.backfill.processing import Found, Opened, Paused
from seedtool.backfill.queries import LibraryConnection
from seedtool.backfill.report import Outcome
from seedtool.errors import (
    AccessDenied,
    CredentialsError,
    InvalidRequest,
    PhotoError,
    ServiceUnavailable,
    SettingsError,
    Throttled,
)
from seedtool.faces.photos import is_address
from seedtool.faces.port import Face
from seedtool.version import VERSION

#: Attempts at one photo. After them the photo fails; after a 429 the run tries it again later.
ATTEMPTS = 5

#: The name of the call in a report.
OPERATION = "POST"

# Seconds: an application looks at every face of a photo before it answers.
_TIMEOUT = Timeout(connect=5.0, read=120.0)

# Seconds before the second attempt, doubled before each further one; and the longest Retry-After that is obeyed.
_WAIT = 0.5
_LONGEST_WAIT = 300.0

# Bytes of an answer that are read, and characters of its message that are quoted.
_MOST_BYTES = 1_048_576
_MOST_CHARACTERS = 200

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The application's counts."""

    faces_detected: _Count
    auto_assigned: _Count
    needs_user_input: _Count


class Endpoint:
    """A `Processor` that posts photos to an application. Safe for threads.

    Args:
        url: the application's address: https, or http on this machine.
        token: the application's bearer token.
        connections: requests at the same time.

    Raises:
        SettingsError: the address is wrong or would send the token unencrypted, or there is no token.
    """

    mode = "endpoint"
    region = ""
    visibility = 0.0

    def __init__(self, url: str, token: str | None, connections: int) -> None:
        self.url = _checked(url)
        self.where = urlsplit(url)._replace(query="", fragment="").geturl()
        self.index_calls = {OPERATION: 1}
        self.match_calls: dict[str, int] = {}
        if not token:
            raise SettingsError(
                "the token for the endpoint is missing",
                remedy="Set SEEDTOOL_BACKFILL_TOKEN in the environment or in .env.",
                setting="backfill_token",
            )
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"seedtool/{VERSION}",
        }
        # no retries of urllib3's own, and no redirects: they would send the token elsewhere
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False, timeout=_TIMEOUT)
        self._meter = Meter({}, None)
        self._pause: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._answered = False
        self.proven = False

    @contextmanager
    def metered(
        self,
        prices: Mapping[str, float],  # noqa: ARG002 - the protocol's
        max_cost: float | None,  # noqa: ARG002 - the protocol's
    ) -> Iterator[Meter]:
        """Count the requests. They have no price here: the application pays AWS."""
        self._meter = Meter({}, None)
        try:
            yield self._meter
        finally:
            self._pool.clear()

    def open(
        self,
        collection_id: str,
        unfinished: Collection[str],
        to_look_for: Collection[str],
        pause: Callable[[float], None],
        *,
        remembered: bool,
    ) -> Opened:
        """Remember how to wait; there is nothing else to prepare."""
        del collection_id, unfinished, to_look_for, remembered
        self._pause = pause
        return Opened()

    def gone(self, collections: Sequence[CollectionOfUser]) -> dict[str, str]:
        """Return nothing: the application knows its collections."""
        del collections
        return {}

    def there(self, collection_id: str, face_ids: Sequence[str]) -> set[str]:
        """Return all of them, as nothing is known of them."""
        del collection_id
        return set(face_ids)

    def answers(self) -> bool:
        """Tell whether the application has accepted a photo: there is no call that does nothing."""
        return self.proven

    def probe(self) -> None:
        """Do nothing: an application says by itself when to wait."""

    def index(self, collection_id: str, asset: Asset, left_behind: list[Face]) -> Found:
        """Post the photo.

        Raises:
            PhotoError: the storage_url is a path, which the application cannot read.
            CredentialsError: the application refuses the token. This, AccessDenied and SettingsError stop the run.
            AccessDenied: the application forbids this to the token.
            SettingsError: the endpoint's address or certificate is wrong.
            InvalidRequest: the application refuses this photo, or its answer cannot be read.
            Throttled: too many requests, after all attempts.
            ServiceUnavailable: no answer, or an error of the application, after all attempts.
        """
        del collection_id, left_behind
        if not is_address(asset.storage_url):
            raise PhotoError(
                "the storage_url is a path, which the application cannot read",
                remedy="Write an https:// or s3:// address into it, or run without --endpoint.",
            )
        body = msgspec.json.encode(
            {"imageUrl": asset.storage_url, "assetId": asset.id, "reprocessOptions": {"faces": True}}
        )
        status, answer = self._post(body, asset.user_id)
        return Found(outcome=self._outcome(status, answer))

    def match(self, collection_id: str, asset: Asset, found: Found, matches: Matches) -> Matches:
        """Do nothing: the application has compared the faces."""
        del collection_id, asset, found
        return matches

    def record(
        self,
        connection: LibraryConnection,
        run_id: str,
        asset: Asset,
        found: Found,
        matches: Matches,
        calls: dict[str, int],
    ) -> Outcome | None:
        """Write the journal's line. The application has written the rows."""
        del matches
        outcome = found.outcome
        if outcome is None or not journal.finish(connection, run_id, asset, outcome.faces, calls):
            return None
        return outcome

    def delete(self, collection_id: str, face_ids: list[str]) -> None:
        """Do nothing: this run has indexed no face."""

    def _post(self, body: bytes, user_id: str) -> tuple[int, bytes]:
        """Return status and body of the first answer that is final, or of the last attempt."""
        for attempt in range(1, ATTEMPTS + 1):
            self._wait_for_all()
            self._meter.count(OPERATION)
            try:
                status, answer, retry_after = self._once(body, user_id)
            except SSLError as error:
                if self._answered:
                    self._give_up(attempt, error)
                    self._wait(_backoff(attempt))
                    continue
                raise SettingsError(
                    f"{self.where}: the server's certificate cannot be trusted: {_reason(error)}",
                    remedy="Correct the certificate, or give the address that the certificate is for.",
                    option="--endpoint",
                ) from error
            except HTTPError as error:
                self._give_up(attempt, error)
                self._wait(_backoff(attempt))
                continue
            self._answered = True
            if status == 429:
                self._meter.count_throttled(OPERATION)
            if status not in _TRY_AGAIN or attempt == ATTEMPTS:
                return status, answer
            if retry_after is not None:
                with self._lock:  # it holds for all requests: each would get the same answer
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
            return response.status, response.read(_MOST_BYTES), _seconds(response.headers.get("Retry-After"))
        finally:
            response.close()  # a response that was read to its end has returned its connection to the pool already

    def _give_up(self, attempt: int, error: HTTPError) -> None:
        if attempt < ATTEMPTS:
            return
        if not self._answered:  # so the next photo would fail, too
            raise SettingsError(
                f"{self.where} has never answered: {_reason(error)}",
                remedy="Check the address and that the application runs, then run the same command again.",
                option="--endpoint",
            ) from error
        raise ServiceUnavailable(
            f"{self.where}: no answer after {ATTEMPTS} attempts: {_reason(error)}",
            remedy="Run with --retry-failed once the application works.",
        ) from error

    def _outcome(self, status: int, body: bytes) -> Outcome:
        if 200 <= status < 300:
            try:
                answer = msgspec.json.decode(body, type=_Answer)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidRequest(
                    f"{self.where}: the answer is not {{facesDetected, autoAssigned, needsUserInput}}: {error}",
                    remedy="Check that the address is that of the application's reprocessing, "
                    "then run with --retry-failed.",
                ) from error
            self.proven = True
            return Outcome(
                faces=answer.faces_detected, auto_assigned=answer.auto_assigned, needs_person=answer.needs_user_input
            )
        answered = f"{self.where} answered {status}{_message(body)}"
        if status == 401:
            raise CredentialsError(
                answered,
                remedy="Set a valid SEEDTOOL_BACKFILL_TOKEN in the environment or in .env, then run the same command "
                "again.",
            )
        if status == 403:
            raise AccessDenied(
                answered, remedy="Allow this to the token in the application, then run the same command again."
            )
        if 300 <= status < 400:
            raise SettingsError(
                answered,
                remedy="Give the address that it redirects to. Redirects are not followed: they would get the token.",
                option="--endpoint",
            )
        if status == 429:
            raise Throttled(answered, remedy="Give a smaller --batch-size, then run with --retry-failed.")
        if status >= 500 or status in _TRY_AGAIN:
            raise ServiceUnavailable(answered, remedy="Read the application's log, then run with --retry-failed.")
        raise InvalidRequest(answered, remedy="Correct the asset or the application, then run with --retry-failed.")

    def _wait_for_all(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            Paused: the run ends meanwhile.
        """
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
            "the endpoint is not an http or https address",
            remedy="Give an address like https://app.example.com/api/assets/reprocess.",
            option="--endpoint",
        )
    if parts.username is not None:
        raise SettingsError(
            f"the endpoint's address at {host} contains credentials",
            remedy="Leave them out and set SEEDTOOL_BACKFILL_TOKEN.",
            option="--endpoint",
        )
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise SettingsError(
            f"the endpoint at {host} is plain http: the token would be sent unencrypted",
            remedy="Use https, or a tunnel to this machine (ssh -L 8000:localhost:8000 ...) and http://localhost:8000.",
            option="--endpoint",
        )
    return url


def _backoff(attempt: int) -> float:
    longest: float = _WAIT * 2 ** (attempt - 1)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - it spreads the requests, and keeps no secret


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds that a Retry-After header names, as a number or as a date; None when it names none."""
    if not retry_after:
        return None
    if re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _message(body: bytes) -> str:
    """Return the beginning of the message in a JSON answer; empty when there is none. HTML pages are not quoted."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    while isinstance(found, dict):
        found = next((found[name] for name in ("message", "error", "detail", "title") if found.get(name)), None)
    if not isinstance(found, str):
        return ""
    text = " ".join("".join(each if each.isprintable() else " " for each in found).split())
    return f": {text[:_MOST_CHARACTERS]}{'...' * (len(text) > _MOST_CHARACTERS)}" if text else ""


def _reason(error: HTTPError) -> str:
    """Return why a connection failed. The text of urllib3's error is not fit for users: it quotes Python objects."""
    kind = type(error).__name__
    if isinstance(error, SSLError):
        return getattr(error.args[0] if error.args else None, "verify_message", "") or "TLS failed"
    return _REASONS.get(kind, kind)


_REASONS = {
    "NewConnectionError": "nothing listens there",
    "NameResolutionError": "its name cannot be resolved",
    "ConnectTimeoutError": "it did not accept a connection in time",
    "ReadTimeoutError": "it did not answer in time",
    "ProtocolError": "the connection broke off",
}
