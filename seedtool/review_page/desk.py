"""What is done on the page: decisions, undo, and the search after a decision, which runs in the background.

A decision is committed before the page hears of it. Then the user's other waiting faces are searched, as after `faces
review --assign`. Decisions that are made during a search wait for one search together, so that fast fingers do not pay
for a search each.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import psycopg

from seedtool.backfill import LibraryConnection, actions, connect, corrections, journal, library, review
from seedtool.backfill.actions import Decided, Merged, Renamed, TakenAway, What
from seedtool.backfill.corrections import User
from seedtool.backfill.formatting import dollars
from seedtool.backfill.review import Choice, Waiting
from seedtool.errors import DatabaseError, SeedtoolError, UsageError
from seedtool.faces.port import FaceService
from seedtool.postgres.psycopg_errors import translate
from seedtool.postgres.server import Target
from seedtool.printable import count
from seedtool.review_page.kept import Kept
from seedtool.settings import Settings
from seedtool.workflows import backfill

if TYPE_CHECKING:
    from seedtool.backfill.shape import Shape

# Messages that are kept for browsers that ask late.
_MOST_NEWS = 100

# Faces or assets, and users, from which on they are counted and put in order only every few seconds.
_MANY, _MANY_USERS = 5_000, 500

# A page of waiting faces that takes more seconds to find asks for their order.
_LONG = 0.05

# How long the library's shape serves those who connect.
_SECONDS_OF_SHAPE = 10.0


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision or of its undoing: words for whoever decided, and the faces that it was about."""

    message: str
    faces: tuple[str, ...]


class News(msgspec.Struct, frozen=True, kw_only=True):
    """A message about a search. `number` counts them."""

    number: int
    message: str


class Desk:
    """Carries out what browsers ask for. Safe for threads.

    Args:
        settings: the project's.
        target: the database.
        aws: where faces are searched.
        search: search after a decision.
    """

    def __init__(self, settings: Settings, target: Target, aws: FaceService, *, search: bool = True) -> None:
        self.settings, self.target, self.aws = settings, target, aws
        self._search = search
        self._news: deque[News] = deque(maxlen=_MOST_NEWS)
        self._to_search: dict[str, None] = {}
        self._wake = threading.Condition()
        self._searching = threading.Lock()  # an undo waits for the search, else it would miss what the search links
        self._ended = False
        self._thread: threading.Thread | None = None
        self._number = 0
        self._users = Kept(lambda found: sum(each.waiting for each in found[0]) > _MANY or found[1] > _MANY_USERS)
        self._orders = Kept(lambda order: len(order) > _MANY)
        self._census = Kept(lambda census: census.assets + census.skipped > _MANY)
        self._shape: tuple[Shape, float] | None = None
        self._keys: Shape | None = None  # for the types of keys, which do not change

    def connect(self) -> LibraryConnection:
        """Connect to the library. Its shape is looked up once in a while only: each picture of a page connects."""
        shape, looked_up = self._shape or (None, 0.0)
        if time.monotonic() - looked_up < _SECONDS_OF_SHAPE:
            return connect(self.settings.backfill, self.target, shape=shape)
        connection = connect(self.settings.backfill, self.target)
        try:
            self._shape = (connection.shape, time.monotonic())
        except BaseException:
            connection.close()
            raise
        return connection

    def users(self, begins: str, first: int, most: int, *, persons: bool) -> tuple[list[User], int]:
        """Return users to choose from, and how many there are, as of a few seconds ago where they take long to count.

        Args:
            begins: those whose e-mail address begins like this.
            first: without the first ones.
            most: at most so many.
            persons: those that have persons; otherwise those with faces that wait.
        """
        find = corrections.users_with_persons if persons else corrections.users

        def ask() -> tuple[list[User], int]:
            with self.connect() as connection:
                library.check_tables(connection)
                return find(connection, most, first, begins)

        return self._users.get((begins, first, most, persons), ask)

    def waiting(self, connection: LibraryConnection, user_id: str, after: str | None, limit: int) -> list[Waiting]:
        """Return faces of a user that wait and stand for those that are alike, from one face on.

        Where there are so many that a page takes long to find, their order is kept for a while: other people's answers
        are seen at once, and faces that begin to wait meanwhile are seen a little later.

        Args:
            connection: to the library.
            user_id: the user.
            after: faces that follow this one.
            limit: at most so many.
        """
        alike = self.settings.backfill.assign

        def ask() -> list[str]:
            with self.connect() as other:
                return review.order(other, user_id)

        known = self._orders.look(user_id, ask)
        if known is not None:
            return review.page_of(connection, known, user_id=user_id, after=after, limit=limit, alike=alike)
        began = time.monotonic()
        found = list(review.waiting(connection, user_id=user_id, after=after, limit=limit, alike=alike))
        if time.monotonic() - began > _LONG:
            self._orders.ask_aside(user_id, ask)
        return found

    def census(self) -> library.Census:
        """Return what there is to process, as of a few seconds ago where it takes long to count."""

        def ask() -> library.Census:
            with self.connect() as connection:
                return library.census(connection, library.Wanted(), has_journal=journal.exists(connection))

        return self._census.get("library", ask)

    def key(self, name: str, text: str | None) -> str | None:
        """Return the key of a row of `users`, `faces` or `persons`; None when a text can be none."""
        if self._keys is None:
            with self.connect() as connection:
                self._keys = connection.shape
        return library.as_key(self._keys, name, text or "")

    def decide(self, reviewer: str, user_id: str, faces: Sequence[str], what: str, who: str = "") -> Done:
        """Decide about faces of a user, all alike, and commit.

        Args:
            reviewer: who decides.
            user_id: the user.
            faces: the faces.
            what: `assign`, `skip`, or `name`: the user's person of this name, or a new person when there is none.
            who: the person's id or name.

        Raises:
            UsageError: the decision cannot be made, or somebody has made another one.
        """
        with self.connect() as connection:
            known = corrections.persons(connection, user_id)
            suggestions = corrections.matches(connection, faces)
        if what == "name":
            who = review.written(who)
            if not who:
                raise UsageError("the name is empty", remedy="Type a name.")
            wanted = review.folded(who)
            same = [each.id for each in known if wanted in map(review.folded, each.names)]
            what, who = ("assign", same[0] if len(same) == 1 else who) if same else ("new", who)
        if what not in {"assign", "new", "skip"}:
            raise UsageError(f"{what!r} is no decision", remedy="Reload the page.")
        choices = [Choice(what=what, face=each, person=who) for each in faces]  # type: ignore[arg-type] # checked above
        decided = backfill.decide_faces(
            choices,
            user_id=user_id,
            search=False,
            decided_before=False,
            settings=self.settings,
            target=self.target,
            aws=self.aws,
        )
        words = self._keep(reviewer, Decided(assigned=decided.assigned, suggestions=tuple(suggestions)))
        if self._search and what != "skip":
            self._ask_to_search(user_id)
        return Done(message=f"{words}.", faces=tuple(faces))

    def undo(self, reviewer: str, action: int | None = None) -> Done:
        """Undo an action; after a link, also what searches linked to its person since.

        Args:
            reviewer: who undoes it.
            action: the action; the reviewer's last one when None.

        Raises:
            UsageError: there is none, or somebody has changed since what it was about.
        """
        with self._searching, self.connect() as connection:
            chosen = actions.last(connection, reviewer) if action is None else action
            if chosen is None:
                raise UsageError("there is nothing to undo", remedy="Decide about a face first.")
            words, about = actions.undo(connection, chosen, pass_over=action is None)
        self._users.drop()
        self._orders.drop()
        return Done(message=f"Undone: {words}. {count(len(about), 'face')} changed back.", faces=about)

    def take_away(self, reviewer: str, face_id: str, person_id: str) -> Done:
        """Take a face away from a person; raises UsageError when it is not linked to the person any more."""
        with self.connect() as connection:
            link = corrections.take_away(connection, face_id, person_id)
        self._users.drop()
        self._orders.drop()
        words = self._keep(reviewer, TakenAway(face_id=face_id, person_id=person_id, link=link))
        return Done(message=f"{words}.", faces=(face_id,))

    def rename(self, reviewer: str, person_id: str, was: str, name: str) -> Done:
        """Rename a person; raises UsageError as `corrections.rename` does."""
        with self.connect() as connection:
            written = corrections.rename(connection, person_id, was, name)
        words = self._keep(reviewer, Renamed(person_id=person_id, was=was, name=written))
        return Done(message=f"{words}.", faces=())

    def merge(self, reviewer: str, person_id: str, into: str) -> Done:
        """Merge a person into another one; raises UsageError as `corrections.merge` does."""
        with self.connect() as connection:
            moved = corrections.merge(connection, person_id, into)
        words = self._keep(reviewer, Merged(person_id=person_id, into=into, faces=moved))
        return Done(message=f"{words}, with {count(len(moved), 'face')}.", faces=moved)

    def can_undo(self, reviewer: str) -> bool:
        """Tell whether somebody has done something that can be undone."""
        with self.connect() as connection:
            return actions.last(connection, reviewer) is not None

    def _keep(self, reviewer: str, what: What) -> str:
        """Keep what was done, and return it in words. A role that may not keep it can still decide."""
        self._shape = None  # the first decision makes tables
        with self.connect() as connection:
            with contextlib.suppress(DatabaseError):
                actions.keep(connection, reviewer, what)
            return actions.in_words(connection, what)

    def news(self, since: int) -> list[News]:
        """Return the messages after this number."""
        return [each for each in list(self._news) if each.number > since]

    @property
    def number(self) -> int:
        """The number of the last message."""
        return self._number

    @property
    def searching(self) -> bool:
        """Tell whether a search runs or waits."""
        return bool(self._to_search) or self._searching.locked()

    def end(self) -> None:
        """Begin no more searches."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    def _ask_to_search(self, user_id: str) -> None:
        with self._wake:
            self._to_search[user_id] = None
            if self._thread is None:
                # a daemon: the end of the program does not wait for calls whose answers nobody needs
                self._thread = threading.Thread(target=self._search_on, name="review-page", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _search_on(self) -> None:
        while True:
            with self._wake:
                while not self._to_search and not self._ended:
                    self._wake.wait()
                if self._ended:
                    return
                user_id = next(iter(self._to_search))
                self._searching.acquire()
                del self._to_search[user_id]
            try:
                self._search_user(user_id)
            finally:
                self._searching.release()

    def _search_user(self, user_id: str) -> None:
        try:
            found = backfill.decide_faces(
                user_id=user_id, search=True, settings=self.settings, target=self.target, aws=self.aws
            ).search
        except (SeedtoolError, psycopg.Error) as error:
            told = translate(error, "the database") if isinstance(error, psycopg.Error) else error
            self._tell(f"The search failed: {told.message}. {told.remedy}".strip())
            return
        if found is None:
            return
        with self.connect() as connection:
            for person_id in {each.person_id for each in found.linked}:
                followers = [each.face_id for each in found.linked if each.person_id == person_id]
                actions.add_followers(connection, person_id, followers)
            names = {each.id: each.name for each in corrections.persons(connection, user_id)}
        by_person: dict[str, int] = {}
        for each in found.linked:
            by_person[each.person_id] = by_person.get(each.person_id, 0) + 1
        linked = [f"{count(faces, 'more face')} linked to {names.get(id_, id_)}" for id_, faces in by_person.items()]
        self._tell(
            f"{'; '.join(linked) or 'No other face is sure'} "
            f"({count(found.searched, 'face')} searched again, {dollars(found.cost)})."
        )

    def _tell(self, message: str) -> None:
        self._number += 1
        self._news.append(News(number=self._number, message=message))
