"""A user at work: assets in their order, each as far as it has come, and whose turn it is.

An asset is matched once all assets before it, and itself, are indexed and visible; it is recorded once all before it
are recorded. So how many are in flight, and which of them is fastest, changes nothing of the outcome.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

import msgspec

from seedtool.backfill import library
from seedtool.backfill.ways import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from seedtool.backfill.journal import Asset
    from seedtool.backfill.matching import Matches
    from seedtool.backfill.working.claims import Lot
    from seedtool.faces.rekognition.answers import Face

#: How far an asset has come. `paused`: nothing more is done about it in this run, and the next one takes it up.
Stage = Literal["begun", "indexed", "matching", "matched", "failed", "paused"]

#: Ids that are read ahead of a user's cursor.
_AHEAD = 200


class Work(msgspec.Struct, eq=False):
    """An asset that was begun and is not recorded."""

    user: User
    asset: Asset
    stage: Stage = "begun"
    found: Found = Found()
    indexed_at: float = 0.0  # by the monotonic clock; 0 for faces that were there already
    matches: Matches = {}
    calls: dict[str, int] = {}
    tries: int = 0

    def add(self, calls: dict[str, int]) -> None:
        """Count calls."""
        self.calls = {name: self.calls.get(name, 0) + calls.get(name, 0) for name in {*self.calls, *calls}}


class User:
    """A user at work.

    Args:
        id_: the user.
        lot: what holds the lock.
        collection_id: the user's collection.
        cursor: gives the ids of the assets, in their order.
        expected: how many there were when they were counted.
        unfinished: assets that were begun by an interrupted run, or failed.
        gone: such assets that do not qualify any more.
        small: faces that are to be deleted, by asset.

    Attributes:
        ready: its collection is there, and it is known what is in it.
        there: by asset, faces that interrupted attempts left in the collection.
        dropping: a call that deletes small faces is under way.
        tries: how often it could not be prepared for the quota.
        counted: the report knows of it.
        line: the assets that are begun and not recorded, in their order.
    """

    def __init__(
        self,
        id_: str,
        lot: Lot,
        collection_id: str,
        cursor: psycopg.ServerCursor[tuple[str]],
        expected: int,
        *,
        unfinished: list[str],
        gone: list[str],
        small: dict[str, list[str]],
    ) -> None:
        self.id = id_
        self.lot = lot
        self.collection_id = collection_id
        self.expected = expected
        self.unfinished = unfinished
        self.gone = gone
        self.small = small
        self.ready = False
        self.there: dict[str, list[Face]] = {}
        self.dropping = False
        self.tries = 0
        self.counted = False
        self.line: deque[Work] = deque()
        self._cursor = cursor
        self._ahead: deque[str] = deque()
        self._exhausted = False

    def next_ids(self, most: int) -> list[str]:
        """Return up to so many ids of assets that may begin, in their order."""
        self._read(most)
        ids = [self._ahead.popleft() for _ in range(min(most, len(self._ahead)))]
        self.expected = max(self.expected - len(ids), len(self._ahead), 0 if self._exhausted else 1)
        return ids

    @property
    def to_begin(self) -> bool:
        """Whether there is an asset that may begin."""
        self._read(1)
        return self.ready and bool(self._ahead)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        begun = self._exhausted and not self._ahead
        return self.ready and begun and not (self.line or self.small or self.dropping)

    def due(self, visibility: float) -> Iterator[tuple[Work, float]]:
        """Yield the assets that may be matched, in their order, each with the time from which on."""
        newest = 0.0
        for work in self.line:
            if work.stage in {"begun", "paused"}:
                return
            newest = max(newest, work.indexed_at)
            if work.stage == "indexed":
                yield work, newest + visibility if newest else 0.0

    def take_small(self, most: int) -> dict[str, list[str]]:
        """Take up to so many FaceIds that are to be deleted, by asset; an asset has 100 at most."""
        taken: dict[str, list[str]] = {}
        while self.small and sum(map(len, taken.values())) + 100 <= most:
            asset_id = next(iter(self.small))
            taken[asset_id] = self.small.pop(asset_id)
        return taken

    def _read(self, most: int) -> None:
        """See that so many ids are read ahead, if there are so many."""
        while len(self._ahead) < most and not self._exhausted:
            rows = self._cursor.fetchmany(max(_AHEAD, most))
            self._ahead.extend(id_ for (id_,) in rows)
            self._exhausted = not rows

    def close(self) -> None:
        """Give the cursor back."""
        library.give_back(self._cursor)
