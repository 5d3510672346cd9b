"""The calls of a run: sent in threads, counted, and kept within a budget.

Two numbers are counted for each operation: calls that were sent, and calls that AWS bills. We take it that AWS bills a
call that it answers with success, and not one that it answers with an error (docs/decisions.md). A call whose answer
was lost counts as billed, because it may have been processed; so does a call that has no answer yet.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Literal

import msgspec

#: What a call does: prepare a user, delete small faces, index a photo, search the faces of a photo.
Kind = Literal["open", "delete", "index", "match"]

# Threads for calls that do not belong to an asset.
_OTHER_THREADS = 8

#: Dollars by which two sums of prices may differ and still count as equal: they are sums of floating-point numbers.
_TOLERANCE = 1e-9


class Finished(msgspec.Struct, frozen=True):
    """A call that has ended.

    Args:
        kind: what it did.
        subject: the user or asset.
        result: what it returned; None after an error.
        error: what it raised; None otherwise.
        calls: the billed AWS calls that it took, by operation.
        at: when it ended, by the monotonic clock.
    """

    kind: Kind
    subject: Any
    result: Any
    error: Exception | None
    calls: dict[str, int]
    at: float


class Calls:
    """Calls in progress. Assets have threads of their own, so that never more assets are in progress than asked for.

    Args:
        size: assets in progress at the same time.
        take_billed_of_thread: returns the billed calls that the thread has sent since it last asked.
    """

    def __init__(self, size: int, take_billed_of_thread: Callable[[], dict[str, int]]) -> None:
        self._size = size
        self._take_billed_of_thread = take_billed_of_thread
        self._assets = ThreadPoolExecutor(size, thread_name_prefix="backfill")
        self._others = ThreadPoolExecutor(_OTHER_THREADS, thread_name_prefix="backfill-other")
        self._finished: SimpleQueue[Finished] = SimpleQueue()
        self._in_progress: Counter[Kind] = Counter()

    @property
    def free(self) -> int:
        """Return how many more assets may be in progress."""
        return self._size - self._in_progress["index"] - self._in_progress["match"]

    @property
    def indexing(self) -> int:
        """Return how many photos are being indexed."""
        return self._in_progress["index"]

    @property
    def empty(self) -> bool:
        """Tell whether no call is in progress."""
        return not self._in_progress.total()

    def send(self, kind: Kind, subject: object, call: Callable[[], object]) -> None:
        """Make a call in a thread.

        Args:
            kind: what it does.
            subject: the user or asset.
            call: makes the call.
        """

        def job() -> None:
            self._take_billed_of_thread()
            result, error = None, None
            try:
                result = call()
            except Exception as caught:  # noqa: BLE001 - the run decides what the error concerns
                error = caught
            calls = self._take_billed_of_thread()
            self._finished.put(Finished(kind, subject, result, error, calls, time.monotonic()))

        self._in_progress[kind] += 1
        pool = self._assets if kind in {"index", "match"} else self._others
        pool.submit(job)

    def finished(self, seconds: float) -> Iterator[Finished]:
        """Wait until a call ends, but not longer than so many seconds, and yield all calls that have ended."""
        if self.empty:
            time.sleep(seconds)
        wait = not self.empty
        while True:
            try:
                finished = self._finished.get(timeout=seconds) if wait else self._finished.get_nowait()
            except Empty:
                return
            wait = False
            self._in_progress[finished.kind] -= 1
            yield finished

    def close(self) -> None:
        """Send nothing more, and do not wait for calls in progress."""
        for pool in (self._assets, self._others):
            pool.shutdown(wait=False, cancel_futures=True)


class OverBudget(Exception):
    """The next call would cost more than is left of the budget. It was not sent."""


class Meter:
    """Counts calls by operation and adds up their prices. It can be used from several threads.

    Args:
        prices: dollars for one call, by operation. An operation without a price is free.
        max_cost: the budget in dollars. None for no limit.

    Attributes:
        calls: calls sent so far, by operation. Retries count.
        throttled: answers that said "too many requests", by operation.
    """

    def __init__(self, prices: Mapping[str, float], max_cost: float | None) -> None:
        self._prices = prices
        self._max_cost = max_cost
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._not_billed: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()

    @property
    def billed(self) -> dict[str, int]:
        """Return the calls that AWS bills, by operation. Operations without a price are left out."""
        with self._lock:
            return {name: self.calls[name] - self._not_billed[name] for name in self.calls if self.price(name)}

    def price(self, operation: str) -> float:
        """Return the dollars for one call."""
        return self._prices.get(operation, 0.0)

    def cost(self, calls: Mapping[str, int] | None = None) -> float:
        """Return the dollars for these calls, or for all that are billed so far."""
        calls = self.billed if calls is None else calls
        return round(sum(count * self.price(operation) for operation, count in calls.items()), 6)

    def affords(self, dollars: float) -> bool:
        """Tell whether the budget allows so many more dollars."""
        return self._max_cost is None or self.cost() + dollars <= self._max_cost + _TOLERANCE

    def take_billed_of_thread(self) -> dict[str, int]:
        """Return the calls that this thread has sent since it last asked, without those that are not billed."""
        calls: Counter[str] = self._of_thread()
        self._thread.calls = Counter()
        return dict(+calls)

    def count(self, operation: str) -> None:
        """Count a call that is about to be sent.

        Raises:
            OverBudget: the call would cost more than is left.
        """
        with self._lock:
            price = self.price(operation)
            if self._max_cost is not None and price:
                spent = sum((count - self._not_billed[each]) * self.price(each) for each, count in self.calls.items())
                if spent + price > self._max_cost + _TOLERANCE:
                    raise OverBudget
            self.calls[operation] += 1
        self._of_thread()[operation] += 1

    def count_not_billed(self, operation: str) -> None:
        """Count that a call which this thread has sent is not billed."""
        with self._lock:
            self._not_billed[operation] += 1
        self._of_thread()[operation] -= 1

    def count_throttled(self, operation: str) -> None:
        """Count an answer that said "too many requests"."""
        with self._lock:
            self.throttled[operation] += 1

    def _of_thread(self) -> Counter[str]:
        if not hasattr(self._thread, "calls"):
            self._thread.calls = Counter()
        calls: Counter[str] = self._thread.calls
        return calls
