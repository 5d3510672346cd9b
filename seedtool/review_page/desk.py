"""What is done on the page: decisions, undo, and the search after a decision, which runs in the background.

A decision is committed before the page hears of it. Then the user's other waiting faces are searched, as after `faces
review --assign`. Decisions that are made during a search wait for one search together, so that fast fingers do not pay
for a search each.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import psycopg

from seedtool.backfill import corrections, review
from seedtool.backfill.formatting import dollars
from seedtool.backfill.review import Choice
from seedtool.errors import DatabaseError, SeedtoolError, UsageError
from seedtool.faces.port import FaceService
from seedtool.postgres import server
from seedtool.postgres.psycopg_errors import translate
from seedtool.postgres.server import Target
from seedtool.printable import count
from seedtool.settings import Settings
from seedtool.workflows import backfill

# Decisions of one browser that can be undone, and messages that are kept for browsers that ask late.
_MOST_UNDONE = 200
_MOST_NEWS = 100


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision or of its undoing: words for whoever decided, and the faces that it was about."""

    message: str
    faces: tuple[str, ...]


class _Undoable(NamedTuple):
    """Something that can be undone: what it was, in words, and what undoes it and returns the faces concerned."""

    words: str
    undo: Callable[[psycopg.Connection], tuple[str, ...]]


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
        self._undo: defaultdict[str, deque[_Undoable]] = defaultdict(lambda: deque(maxlen=_MOST_UNDONE))
        self._linked: defaultdict[str, list[str]] = defaultdict(list)  # by person, the faces that searches linked
        self._news: deque[News] = deque(maxlen=_MOST_NEWS)
        self._to_search: dict[str, None] = {}
        self._wake = threading.Condition()
        self._searching = threading.Lock()  # an undo waits for the search, else it would miss what the search links
        self._ended = False
        self._thread: threading.Thread | None = None
        self._number = 0

    def decide(self, browser: str, user_id: str, faces: Sequence[str], what: str, who: str = "") -> Done:
        """Decide about faces of a user, all alike, and commit.

        Args:
            browser: who decides.
            user_id: the user.
            faces: the faces.
            what: `assign`, `skip`, or `name`: the user's person of this name, or a new person when there is none.
            who: the person's id or name.

        Raises:
            UsageError: the decision cannot be made, or somebody has made another one.
        """
        with server.connect(self.target) as connection:
            known = corrections.persons(connection, user_id)
            suggestions = corrections.matches(connection, faces)
        if what == "name":
            if not who.strip():
                raise UsageError("the name is empty", remedy="Type a name.")
            wanted = review.folded(who)
            same = [each.id for each in known if wanted in map(review.folded, each.names)]
            what, who = ("assign", same[0] if len(same) == 1 else who) if same else ("new", " ".join(who.split()))
        if what not in {"assign", "new", "skip"}:
            raise UsageError(f"{what!r} is no decision", remedy="Reload the page.")
        choices = [Choice(what=what, face=each, person=who) for each in faces]  # type: ignore[arg-type] # checked above
        linked_before = {person: len(found) for person, found in list(self._linked.items())}
        decided = backfill.decide_faces(
            choices,
            user_id=user_id,
            search=False,
            decided_before=False,
            settings=self.settings,
            target=self.target,
            aws=self.aws,
        )
        person_id = decided.assigned[0].person_id
        which = count(len(faces), "face")
        if what == "skip":
            words = f"{which} skipped"
        elif what == "new":
            words = f"{which} linked to the new person {who}"
        else:
            name = next((each.name for each in known if each.id == person_id), who)
            words = f"{which} linked to {name}"
        since = linked_before.get(person_id or "", 0)

        def take_back(connection: psycopg.Connection) -> tuple[str, ...]:
            followed = self._linked[person_id][since:] if person_id else []
            return corrections.take_back(connection, decided.assigned, followed=followed, suggestions=suggestions)

        self._undo[browser].append(_Undoable(words, take_back))
        if self._search and what != "skip":
            self._ask_to_search(user_id)
        return Done(message=f"{words}.", faces=tuple(faces))

    def undo(self, browser: str) -> Done:
        """Undo the last thing that the browser did; after a link, also what searches linked to its person since.

        Raises:
            UsageError: there is none, or somebody has changed since what it was about.
        """
        try:
            last = self._undo[browser].pop()
        except IndexError:
            raise UsageError("there is nothing to undo", remedy="Decide about a face first.") from None
        try:
            with self._searching, server.connect(self.target) as connection:
                about = last.undo(connection)
        except (DatabaseError, psycopg.Error):
            self._undo[browser].append(last)  # the next try may succeed
            raise
        return Done(message=f"Undone: {last.words}. {count(len(about), 'face')} changed back.", faces=about)

    def take_away(self, browser: str, face_id: str, person_id: str) -> Done:
        """Take a face away from a person; raises UsageError when it is not linked to the person any more."""
        with server.connect(self.target) as connection:
            link = corrections.take_away(connection, face_id, person_id)
        words = "1 face taken away; it waits for a person again"
        self._undo[browser].append(
            _Undoable(words, lambda connection: corrections.give_back(connection, face_id, person_id, link))
        )
        return Done(message=f"{words}.", faces=(face_id,))

    def rename(self, browser: str, person_id: str, was: str, name: str) -> Done:
        """Rename a person; raises UsageError as `corrections.rename` does."""
        with server.connect(self.target) as connection:
            written = corrections.rename(connection, person_id, was, name)

        def back(connection: psycopg.Connection) -> tuple[str, ...]:
            corrections.rename(connection, person_id, written, was)
            return ()

        words = f"{was} renamed to {written}"
        self._undo[browser].append(_Undoable(words, back))
        return Done(message=f"{words}.", faces=())

    def merge(self, browser: str, person_id: str, into: str) -> Done:
        """Merge a person into another one; raises UsageError as `corrections.merge` does."""
        with server.connect(self.target) as connection:
            names = [(corrections.person(connection, each) or ("", each))[1] for each in (person_id, into)]
            moved = corrections.merge(connection, person_id, into)
        words = f"{names[0]} merged into {names[1]}"
        self._undo[browser].append(
            _Undoable(words, lambda connection: corrections.unmerge(connection, person_id, into, moved))
        )
        return Done(message=f"{words}, with {count(len(moved), 'face')}.", faces=moved)

    def can_undo(self, browser: str) -> bool:
        """Tell whether a browser has a decision to undo."""
        return bool(self._undo[browser])

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
        for each in found.linked:
            self._linked[each.person_id].append(each.face_id)
        with server.connect(self.target) as connection:
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
