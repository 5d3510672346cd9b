"""Faults on request: quotas, throttling, slow answers, faces that can be found late, broken connections, liveness.

They are set by `--faults JSON`, or by POSTing the same JSON to `/_seedtool/faults`. New settings replace all old ones.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Literal

import msgspec

from seedtool.emulator.liveness import Outcome
from seedtool.emulator.operations import MOST_FACES
from seedtool.emulator.process import EmulatorError
from seedtool.emulator.protocol import OPERATIONS, ServiceError

Kind = Literal["denied", "throttled", "throughput", "unavailable", "internal", "dropped", "truncated"]

# "Amazon Rekognition endpoints and quotas": calls a second of an account in a large and in another region.
_LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
_QUOTAS = {
    "IndexFaces": (50, 5),
    "ListFaces": (50, 5),
    "SearchFaces": (50, 5),
    "SearchFacesByImage": (50, 5),
    "DetectFaces": (100, 25),
}
_OTHER_QUOTA = (5, 5)
_MOST_WAIT = 60.0  # seconds; users report that AWS needs up to 2 until a face can be found

# Source of the messages: "Error handling" in the developer guide. The full stops are left out, as in its example.
_ERRORS = {
    "throttled": ("ThrottlingException", "Slow down; sudden increase in rate of requests", 400),
    "throughput": ("ProvisionedThroughputExceededException", "Provisioned rate exceeded", 400),
    "unavailable": ("ThrottlingException", "Service Unavailable", 500),
    "internal": ("InternalServerError", "Internal server error", 500),
}


class Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A fault of some calls of an operation. Calls are counted from 1, since the faults were set.

    Attributes:
        fault: `denied` (AccessDeniedException, 400), `throttled` (ThrottlingException, 400), `throughput`
            (ProvisionedThroughputExceededException, 400), `unavailable` (ThrottlingException, 500), `internal`
            (InternalServerError, 500), `dropped` (the connection closes without an answer, and the operation is not
            carried out), `truncated` (the operation is carried out, and the connection closes in the middle of the
            answer).
        operation: one of Rekognition's that the emulator has, or `*` for each of them.
        first: the first call that fails.
        times: how many calls fail; None for all.
        every: 1 if consecutive calls fail, 2 for every second call, and so on.
    """

    fault: Kind
    operation: str = "*"
    first: int = 1
    times: int | None = 1
    every: int = 1


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All faults in force.

    Attributes:
        tps: `published` for AWS's default quotas, calls a second by operation, or None for no quota.
        latency: seconds that each call waits: one number for all operations, or a number by operation.
        lag: seconds after IndexFaces until a face can be found.
        faces_per_collection: with more faces IndexFaces answers ServiceQuotaExceededException.
        liveness: how Face Liveness sessions end.
        rules: faults of some calls.
    """

    tps: Literal["published"] | dict[str, float] | None = None
    latency: float | dict[str, float] = 0.0
    lag: float = 0.0
    faces_per_collection: int = MOST_FACES
    liveness: Outcome = Outcome()
    rules: tuple[Rule, ...] = ()


class Faults:
    """Decides whether and how a call fails. Safe for concurrent threads.

    Args:
        text: the settings as JSON; empty for none.

    Raises:
        EmulatorError: the JSON does not fit `Settings`.
    """

    def __init__(self, text: str | bytes = "") -> None:
        self._lock = threading.Lock()
        self.set(text)

    def set(self, text: str | bytes) -> None:
        """Replace the settings, and count calls from 1 again.

        Args:
            text: the settings as JSON; empty for none.

        Raises:
            EmulatorError: the JSON does not fit `Settings`. The settings stay as they were.
        """
        try:
            settings = msgspec.json.decode(text or b"{}", type=Settings)
            _check(settings)
        except (msgspec.DecodeError, ValueError) as error:
            raise EmulatorError(
                f"These faults are not valid: {error}.",
                'Give a JSON object such as {"tps": "published", "latency": 0.1, "lag": 2, '
                '"rules": [{"fault": "internal", "operation": "ListFaces", "first": 3}]}.',
            ) from None
        with self._lock:
            self._settings = settings
            self._calls: Counter[str] = Counter()
            self._buckets: dict[tuple[str, ...], tuple[float, float]] = {}

    def get(self) -> Settings:
        """Return the settings."""
        return self._settings

    def lag(self) -> float:
        """Return the seconds after IndexFaces until a face can be found."""
        return self._settings.lag

    def most_faces(self) -> int:
        """Return how many faces a collection may have."""
        return self._settings.faces_per_collection

    def liveness(self) -> Outcome:
        """Return how Face Liveness sessions end."""
        return self._settings.liveness

    def latency(self, operation: str) -> float:
        """Return the seconds that a call of an operation waits."""
        latency = self._settings.latency
        return latency.get(operation, 0.0) if isinstance(latency, dict) else latency

    def count(self, operation: str, account: str, region: str) -> Literal["dropped", "truncated"] | None:
        """Count a call, and decide whether it fails.

        Args:
            operation: one of `OPERATIONS`.
            account: the account whose quota the call uses.
            region: the region whose quota it is.

        Returns:
            How the call's connection breaks, or None.

        Raises:
            ServiceError: the call is throttled, or fails.
        """
        with self._lock:
            self._calls[operation] += 1
            call = self._calls[operation]
            kind = next((rule.fault for rule in self._settings.rules if _applies(rule, operation, call)), None)
            if kind is None and not self._take(operation, account, region):
                kind = "throughput"
        if kind == "dropped" or kind == "truncated":
            return kind
        if kind == "denied":
            arn = f"arn:aws:iam::{account}:user/somebody"
            text = f"User: {arn} is not authorized to perform: rekognition:{operation}"
            raise ServiceError("AccessDeniedException", text)
        if kind is not None:
            raise ServiceError(*_ERRORS[kind])
        return None

    def _take(self, operation: str, account: str, region: str) -> bool:
        """Take a token from the bucket of this operation, account and region. False when the bucket is empty."""
        tps = self._settings.tps
        if tps is None:
            return True
        if tps == "published":
            rate = float(_QUOTAS.get(operation, _OTHER_QUOTA)[region not in _LARGE_REGIONS])
        elif operation in tps:
            rate = tps[operation]
        else:
            return True
        now = time.monotonic()
        size = max(rate, 1.0)
        tokens, since = self._buckets.get((operation, account, region), (size, now))
        tokens = min(size, tokens + (now - since) * rate)
        taken = tokens >= 1
        self._buckets[operation, account, region] = (tokens - taken, now)
        return taken


def _applies(rule: Rule, operation: str, call: int) -> bool:
    if rule.operation not in {"*", operation}:
        return False
    position = call - rule.first
    within = position >= 0 and (rule.times is None or position < rule.times * rule.every)
    return within and position % rule.every == 0


def _check(settings: Settings) -> None:
    named = {rule.operation for rule in settings.rules} - {"*"}
    for value in (settings.tps, settings.latency):
        if isinstance(value, dict):
            named |= set(value)
    unknown = sorted(named - set(OPERATIONS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not one of {', '.join(OPERATIONS)}")
    latencies = settings.latency.values() if isinstance(settings.latency, dict) else [settings.latency]
    rates = settings.tps.values() if isinstance(settings.tps, dict) else []
    if not 0 <= settings.lag <= _MOST_WAIT or any(not 0 <= each <= _MOST_WAIT for each in latencies):
        raise ValueError(f"lag and latency have to be 0 to {_MOST_WAIT:g} seconds")
    settings.liveness.check()
    if settings.faces_per_collection < 0:
        raise ValueError("faces_per_collection has to be 0 or more")
    if any(rate <= 0 for rate in rates):
        raise ValueError("a rate has to be above 0")
    if any(rule.first < 1 or rule.every < 1 or (rule.times is not None and rule.times < 1) for rule in settings.rules):
        raise ValueError("first, every and times have to be 1 or more")
