"""Calls in the air: made in threads, and handed to the caller's thread when they come back."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Literal

import msgspec

#: What is in the air: a user being prepared, small faces being deleted, a photo being indexed, faces being searched.
What = Literal["open", "drop", "index", "match"]

# Threads for what is not an asset.
_CHORES = 8


class Landed(msgspec.Struct, frozen=True):
    """What came back: of what, with what, or with which error; the calls it took, and when it was."""

    what: What
    subject: Any
    result: Any
    error: Exception | None
    calls: dict[str, int]
    at: float


class Flight:
    """Two sets of threads, one for assets, so that these are never more than were asked for.

    Args:
        size: assets in the air at once.
        count: returns the calls that the thread has made since it last asked.
    """

    def __init__(self, size: int, count: Callable[[], dict[str, int]]) -> None:
        self._size = size
        self._count = count
        self._assets = ThreadPoolExecutor(size, thread_name_prefix="backfill")
        self._chores = ThreadPoolExecutor(_CHORES, thread_name_prefix="backfill-chore")
        self._landed: SimpleQueue[Landed] = SimpleQueue()
        self._flying: Counter[What] = Counter()

    @property
    def free(self) -> int:
        """How many more assets may go."""
        return self._size - self._flying["index"] - self._flying["match"]

    @property
    def empty(self) -> bool:
        """Whether nothing is in the air."""
        return not self._flying.total()

    def indexing(self) -> int:
        """Return how many photos are being indexed."""
        return self._flying["index"]

    def send(self, what: What, subject: object, call: Callable[[], object]) -> None:
        """Make a call in a thread."""

        def job() -> None:
            self._count()
            result, error = None, None
            try:
                result = call()
            except Exception as caught:  # noqa: BLE001 - the run decides whom it concerns
                error = caught
            self._landed.put(Landed(what, subject, result, error, self._count(), time.monotonic()))

        self._flying[what] += 1
        pool = self._assets if what in {"index", "match"} else self._chores
        pool.submit(job)

    def land(self, seconds: float) -> Iterator[Landed]:
        """Wait for something to come back, so long at most, and yield all that has."""
        if self.empty:
            time.sleep(seconds)
        wait = not self.empty
        while True:
            try:
                landed = self._landed.get(timeout=seconds) if wait else self._landed.get_nowait()
            except Empty:
                return
            wait = False
            self._flying[landed.what] -= 1
            yield landed

    def close(self) -> None:
        """Send nothing more; what is in the air is not waited for."""
        for pool in (self._assets, self._chores):
            pool.shutdown(wait=False, cancel_futures=True)
