"""One limiter for Rekognition: a token bucket per operation, under the quota that AWS publishes."""

import threading
import time

from seedtool.faces.aws.translation import Vendor

#: Regions with the high quotas (source: Amazon Rekognition endpoints and quotas, read 2026).
LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})

#: operation → calls a second in a large region, elsewhere (the same source).
QUOTAS: dict[str, tuple[float, float]] = {
    "IndexFaces": (50, 5),
    "ListFaces": (50, 5),
    "SearchFaces": (50, 5),
    "SearchFacesByImage": (50, 5),
    "DetectFaces": (100, 25),
}

#: Collection operations, DeleteFaces and all else, in every region.
OTHER_QUOTA = 5.0

#: The share of the quota that we use: our clock and theirs cut the seconds at different instants.
SHARE = 0.98

#: How much of a second's quota may be sent at once after a pause.
BURST = 0.2

#: Error codes of an answer that we are over the quota.
THROTTLED = frozenset(
    {"ThrottlingException", "ProvisionedThroughputExceededException", "Throttling", "TooManyRequestsException"}
)


class Bucket:
    """Hands out the right to call, at most `rate` times a second; safe for threads.

    Kept as the instant at which the bucket would be full again, so that no thread has to fill it.

    Args:
        rate: calls a second.
        burst: calls that may be made at once after a pause.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._full_rate = self._rate = rate
        self._burst = max(1.0, burst)
        self._full_at = 0.0
        self._slowed_at = 0.0
        self._lock = threading.Lock()

    @property
    def rate(self) -> float:
        """Calls a second at this moment."""
        return self._rate

    def reserve(self, now: float) -> float:
        """Take a token and return how many seconds to wait before using it."""
        with self._lock:
            # after a throttling answer the rate creeps back: a tenth of the full one each second
            grown = self._rate + self._full_rate * 0.1 * max(0.0, now - self._slowed_at)
            if self._rate < self._full_rate:
                self._rate, self._slowed_at = min(self._full_rate, grown), max(now, self._slowed_at)
            self._full_at = max(self._full_at, now) + 1.0 / self._rate
            return max(0.0, self._full_at - now - self._burst / self._rate)

    def slow_down(self, now: float) -> None:
        """Take a throttling answer to heart: 0.7 of the rate, once a quarter of a second, never under 1 a second."""
        with self._lock:
            if now - self._slowed_at >= 0.25 or self._rate == self._full_rate:
                self._rate = max(min(1.0, self._full_rate), self._rate * 0.7)
                self._slowed_at = now


class Limiter:
    """The buckets of one client.

    It hangs on botocore's own events, so that every attempt passes it, the retries too, whichever way the call
    was made.

    Args:
        region: the region, which decides the quotas.
    """

    def __init__(self, region: str) -> None:
        self._column = 0 if region in LARGE_REGIONS else 1
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()

    def bucket(self, operation: str) -> Bucket:
        """Return the bucket of an operation."""
        with self._lock:
            if operation not in self._buckets:
                quota = QUOTAS.get(operation, (OTHER_QUOTA, OTHER_QUOTA))[self._column]
                self._buckets[operation] = Bucket(quota * SHARE, quota * BURST)
            return self._buckets[operation]

    def attach(self, client: Vendor) -> None:
        """Make every attempt of this client wait for its token."""
        # before signing, so that no signature grows old while its request waits
        client.meta.events.register("before-sign.rekognition.*", self._wait)
        client.meta.events.register("response-received.rekognition.*", self._heed)

    def _wait(self, operation_name: str, **_: object) -> None:
        pause = self.bucket(operation_name).reserve(time.monotonic())
        if pause > 0:
            time.sleep(pause)

    def _heed(self, event_name: str, parsed_response: Vendor = None, **_: object) -> None:
        code = ((parsed_response or {}).get("Error") or {}).get("Code")
        if code in THROTTLED:
            self.bucket(event_name.rsplit(".", 1)[-1]).slow_down(time.monotonic())
