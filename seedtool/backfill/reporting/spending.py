"""What is spent: each attempt at a call is counted as it leaves, and the one too many does not leave."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from seedtool.faces.rekognition.limiter import THROTTLED
from seedtool.faces.rekognition.translation import Vendor

#: Sums of prices are compared with this much patience, in dollars: they are sums of tenths of cents.
_HAIR = 1e-9


class OverBudget(Exception):
    """The next call would cost more than is left; it was not made."""


class Meter:
    """Counts attempts by operation, and what they cost. Safe for threads.

    Args:
        prices: dollars a call by operation; others are free.
        most: dollars that may be spent; None for any sum.

    Attributes:
        calls: attempts by operation, retries and those in flight included.
        throttled: answers that we are over the quota, by operation.
    """

    def __init__(self, prices: Mapping[str, float], most: float | None) -> None:
        self._prices = prices
        self._most = most
        self._lock = threading.Lock()
        self._thread = threading.local()
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()

    def price(self, operation: str) -> float:
        """Dollars for one call."""
        return self._prices.get(operation, 0.0)

    def cost(self, calls: Mapping[str, int] | None = None) -> float:
        """Dollars for these calls; for all so far when None."""
        if calls is None:
            with self._lock:
                calls = dict(self.calls)
        return round(sum(count * self.price(operation) for operation, count in calls.items()), 6)

    def affords(self, dollars: float) -> bool:
        """Tell whether so much more may be spent."""
        return self._most is None or self.cost() + dollars <= self._most + _HAIR

    def take(self) -> dict[str, int]:
        """Return the attempts that the calling thread made since it last asked."""
        mine: dict[str, int] = getattr(self._thread, "calls", {})
        self._thread.calls = {}
        return mine

    def leave(self, event_name: str, **_: object) -> None:
        """Count an attempt that is about to leave.

        Raises:
            OverBudget: it would cost more than is left.
        """
        operation = event_name.rsplit(".", 1)[-1]
        with self._lock:
            price = self.price(operation)
            if self._most is not None and price:
                spent = sum(count * self.price(each) for each, count in self.calls.items())
                if spent + price > self._most + _HAIR:
                    raise OverBudget
            self.calls[operation] += 1
        mine: dict[str, int] = getattr(self._thread, "calls", {})
        self._thread.calls = {**mine, operation: mine.get(operation, 0) + 1}

    def heed(self, event_name: str, parsed_response: Vendor = None, **_: object) -> None:
        """Look whether an answer says that we are over the quota."""
        if ((parsed_response or {}).get("Error") or {}).get("Code") in THROTTLED:
            self.over(event_name.rsplit(".", 1)[-1])

    def over(self, operation: str) -> None:
        """Count an answer that we are over the quota."""
        with self._lock:
            self.throttled[operation] += 1


@contextmanager
def metered(client: Vendor, prices: Mapping[str, float], most: float | None) -> Iterator[Meter]:
    """Count what a Rekognition client calls inside.

    Args:
        client: the client.
        prices: dollars a call by operation.
        most: dollars that may be spent; None for any sum.
    """
    meter = Meter(prices, most)
    hooks = {"before-send.rekognition.*": meter.leave, "response-received.rekognition.*": meter.heed}
    for event, hook in hooks.items():
        client.meta.events.register(event, hook)
    try:
        yield meter
    finally:
        for event, hook in hooks.items():
            client.meta.events.unregister(event, hook)
