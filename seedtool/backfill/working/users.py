"""The users of a run: taken one after the other, the oldest first, and let go when nothing is left to be done."""

from collections import deque
from collections.abc import Iterator

import psycopg

from seedtool.backfill import journal, library
from seedtool.backfill.library import Wanted
from seedtool.backfill.ways import Opened
from seedtool.backfill.working.claims import Claims
from seedtool.backfill.working.line import User

# Users read ahead.
_AHEAD = 1000


class Users:
    """Users at work, and those to come.

    Args:
        writer: the run's connection.
        claims: the users' locks.
        wanted: which assets are to be processed.
        prefix: what a new collection's id begins with.

    Attributes:
        elsewhere: users that another run is at work on, with how many assets were expected.
    """

    def __init__(self, writer: psycopg.Connection, claims: Claims, wanted: Wanted, prefix: str) -> None:
        self._writer = writer
        self._claims = claims
        self._wanted = wanted
        self._prefix = prefix
        self._cursor = library.users(writer, wanted)
        self._ahead: deque[tuple[str, int]] = deque()
        self._exhausted = self._asked_again = False
        self._open: dict[str, User] = {}
        self.elsewhere: list[tuple[str, int]] = []

    def __iter__(self) -> Iterator[User]:
        """Give the users at work, in the order in which they were taken."""
        return iter(tuple(self._open.values()))

    def __getitem__(self, user_id: str) -> User:
        """Give a user at work."""
        return self._open[user_id]

    @property
    def to_come(self) -> bool:
        """Whether there may be users that were not taken yet."""
        return bool(self._ahead) or not self._exhausted or bool(self.elsewhere and not self._asked_again)

    def take(self) -> tuple[User, bool] | None:
        """Take the next user that nobody else is at work on, and tell whether the collection is remembered.

        Returns:
            None when there is none left.
        """
        while (found := self._next()) is not None:
            id_, expected = found
            lot = self._claims.take(id_)
            if lot is None:
                self.elsewhere.append(found)
                continue
            remembered = library.collection_of(self._writer, id_)
            # what failed may have faces in the collection, too: an answer may have been lost
            again = self._wanted.retry_failed or self._wanted.reindex_since is not None
            unfinished = journal.unfinished(self._writer, id_, failed=again, eligible=library.ELIGIBLE)
            user = self._open[id_] = User(
                id_,
                lot,
                remembered[0] if remembered else self._prefix + id_,
                library.assets(lot.connection, f"seedtool_{id_}", id_, self._wanted),
                max(1, expected),
                unfinished=[each.asset_id for each in unfinished],
                gone=[each.asset_id for each in unfinished if not each.wanted],
                small=dict(journal.dropping(self._writer, id_)),
            )
            return user, remembered is not None and bool(remembered[1])
        return None

    @property
    def expected_elsewhere(self) -> int:
        """How many assets another run is expected to process."""
        return sum(expected for _, expected in self.elsewhere)

    def look(self) -> None:
        """See that the locks still stand.

        Raises:
            DatabaseError: they do not.
        """
        self._claims.look()

    def opened(self, user: User, opened: Opened) -> None:
        """Take up what was prepared for a user."""
        if opened.arn is not None:
            library.remember_collection(self._writer, user.id, user.collection_id, opened.arn)
        user.there = opened.faces
        if user.gone:
            left = {id_: [face.face_id for face in user.there.pop(id_, ())] for id_ in user.gone}
            journal.skip(self._writer, user.gone, left)
            user.small |= {id_: face_ids for id_, face_ids in left.items() if face_ids}
        user.ready = True

    def release(self, user: User) -> None:
        """Let a user go."""
        user.close()
        self._claims.release(user.lot, user.id)
        del self._open[user.id]

    def close(self) -> None:
        """Let all go."""
        for user in self:
            user.close()
        library.give_back(self._cursor)
        self._claims.close()

    def _next(self) -> tuple[str, int] | None:
        if not self._ahead and not self._exhausted:
            self._ahead.extend(self._cursor.fetchmany(_AHEAD))
            self._exhausted = not self._ahead
        if not self._ahead and not self._open and not self._asked_again:
            # those that were somebody else's: whoever it was may be gone
            self._asked_again = True
            self._ahead.extend(self.elsewhere)
            self.elsewhere.clear()
        return self._ahead.popleft() if self._ahead else None
