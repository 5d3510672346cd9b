"""The limiter of Rekognition: a token bucket for each operation, under the quota that AWS publishes."""

import math
import threading
import time
from collections import deque

from seedtool.faces.aws_errors import THROTTLED
from seedtool.faces.aws_session import Vendor

#: Regions with the high quotas (source: Amazon Rekognition endpoints and quotas, read 2026).
LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})

#: operation → calls a second in a large region, elsewhere (the same source).
QUOTAS: dict[str, tuple[float, float]] = {
    "IndexFaces": (50, 5),
    "ListFaces": (50, 5),
    "SearchFaces": (50, 5),
}

#: Collection operations, DeleteFaces and all else, in every region.
OTHER_QUOTA = 5.0

#: The share of the quota that we use: our clock and theirs cut the seconds at different instants.
SHARE = 0.998

#: How much of a second's quota may be sent at once after a pause.
BURST = 0.5

#: By how much the rate grows each second after a throttling answer, up to what was answered when it came. From there on
#: it grows slowly at first, so that it stays near a real quota that is lower than the published one, and after so many
#: seconds without a throttling answer twice as fast, then five times, ten times, up to the full rate.
_GROWTH = 1.06
_SLOW_GROWTH = 1.003
_PATIENCE = 10.0

#: The seconds over which answers are counted to know their rate, and how many answers are kept for that.
_LATELY = 3.0
_REMEMBERED = 512

#: Throttling answers within so many seconds count as one.
_ONCE = 0.25


def quota(operation: str, region: str) -> float:
    """Return how many calls of an operation AWS allows an account in a second."""
    return QUOTAS.get(operation, (OTHER_QUOTA, OTHER_QUOTA))[0 if region in LARGE_REGIONS else 1]


class Bucket:
    """Hands out the right to call, at most `rate` times a second; safe for threads.

    Tickets are served in their order. When the rate changes, the turns of all tickets move: a throttling answer slows
    down those who wait already, too.

    Args:
        rate: calls a second.
        burst: calls that may be made at once after a pause.

    Attributes:
        answers: how many calls were answered by something else than throttling.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._full_rate = self._rate = rate
        self._burst = max(1.0, burst)
        self._issued = 0
        self._served = self._burst  # up to this ticket it is their turn
        self._at = 0.0
        self._slowed_at = -_ONCE
        self._known: float | None = None  # calls a second that were answered when it was slowed down last
        self.answers = 0
        self._answered: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Calls a second at this moment."""
        return self._rate

    def take(self, now: float) -> int:
        """Take a ticket."""
        with self._lock:
            self._pass(now)
            self._issued += 1
            return self._issued

    def wait(self, ticket: int, now: float) -> float:
        """Return how many seconds it is to a ticket's turn, as it looks now."""
        with self._lock:
            self._pass(now)
            return max(0.0, (ticket - self._served) / self._rate)

    def answered(self, now: float) -> None:
        """Note an answer that was not a throttling one."""
        with self._lock:
            self.answers += 1
            self._answered.append(now)

    def slow_down(self, now: float) -> None:
        """Lower the rate after a throttling answer, at most once a quarter of a second.

        It becomes 0.7 of itself, but not less than the rate of answers: a throttling answer comes a second or two after
        the calls that caused it. It is never under 1 a second.
        """
        with self._lock:
            if now - self._slowed_at >= _ONCE:
                self._pass(now)
                lately = sum(now - at <= _LATELY for at in self._answered) / _LATELY
                self._rate = min(self._rate, max(min(1.0, self._full_rate), self._rate * 0.7, lately * 0.9))
                self._known = lately or None
                self._slowed_at = now

    def begin_at(self, rate: float, burst: float, now: float) -> None:
        """Take a rate that was learned from another operation for the real one, until time shows a higher one."""
        with self._lock:
            self._pass(now)
            self._rate = self._known = min(self._rate, rate)
            self._burst = max(1.0, burst)
            self._served = min(self._served, self._issued + self._burst)
            self._slowed_at = now

    def _pass(self, now: float) -> None:
        """Let time pass: turns come, and a rate that was lowered grows back."""
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        # a pause counts for no more than a burst
        self._served = min(self._served + passed * self._rate, self._issued + self._burst)
        if self._rate < self._full_rate:
            self._rate = min(self._full_rate, self._rate * math.exp(self._growth(min(passed, 100.0))))

    def _growth(self, passed: float) -> float:
        """Return the logarithm of the growth in the last seconds."""
        quick = passed
        if self._known is not None:
            quick = min(passed, max(0.0, math.log(self._known / self._rate) / math.log(_GROWTH)))
        until = max(0.0, self._at - self._slowed_at)
        begin = max(0.0, until - (passed - quick))
        # the integral of 1 + (t / patience)**2
        slow = (until - begin) + (until**3 - begin**3) / (3 * _PATIENCE**2)
        return math.log(_GROWTH) * quick + math.log(_SLOW_GROWTH) * slow


class Limiter:
    """The buckets of one client.

    It uses botocore's own events, so every attempt passes it, retries too, however the call was made.

    Args:
        region: the region, which decides the quotas.
        published: AWS's quotas apply, or are imitated. Elsewhere, ListFaces does not wait until a throttling answer
            shows that there is a quota: it is free, and it sends one request at a time.
    """

    def __init__(self, region: str, *, published: bool = True) -> None:
        self._region = region
        self._holds = published
        self._is_low = False
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def bucket(self, operation: str) -> Bucket:
        """Return the bucket of an operation."""
        with self._lock:
            if operation not in self._buckets:
                allowed = quota(operation, self._region)
                self._buckets[operation] = Bucket(allowed * SHARE, allowed * BURST)
                if self._is_low and operation in QUOTAS:
                    self._buckets[operation].begin_at(QUOTAS[operation][1] * SHARE, 1.0, time.monotonic())
            return self._buckets[operation]

    def attach(self, client: Vendor) -> None:
        """Make every attempt of this client wait for its token."""
        # before signing, so that no signature grows old while its request waits
        client.meta.events.register("before-sign.rekognition.*", self._wait)
        client.meta.events.register("response-received.rekognition.*", self._heed)

    def _wait(self, operation_name: str, **_: object) -> None:
        if operation_name == "ListFaces" and not self._holds:
            return
        bucket = self.bucket(operation_name)
        ticket = bucket.take(time.monotonic())
        while (pause := bucket.wait(ticket, time.monotonic())) > 0:
            time.sleep(min(pause, _ONCE))  # it may have been slowed down meanwhile

    def _heed(self, event_name: str, parsed_response: Vendor = None, **_: object) -> None:
        code = ((parsed_response or {}).get("Error") or {}).get("Code")
        bucket, now = self.bucket(event_name.rsplit(".", 1)[-1]), time.monotonic()
        if code in THROTTLED:
            self._holds = True
            bucket.slow_down(now)
            self._compare(event_name.rsplit(".", 1)[-1], bucket, now)
        else:
            bucket.answered(now)

    def _compare(self, operation: str, throttled: Bucket, now: float) -> None:
        """Take the quotas of a small region for the real ones if the first calls are throttled already.

        AWS publishes one quota for these operations in a large region, and one elsewhere. Whoever has been given
        another one for one of them is likely to have it for all.
        """
        if self._is_low or operation not in QUOTAS or throttled.answers > 3 * QUOTAS[operation][1]:
            return
        self._is_low = True
        with self._lock:
            begun = [(name, bucket) for name, bucket in self._buckets.items() if name in QUOTAS]
        for name, bucket in begun:
            if bucket.answers <= 3 * QUOTAS[name][1]:
                bucket.begin_at(QUOTAS[name][1] * SHARE, 1.0, now)
