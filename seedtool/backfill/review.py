"""Faces that wait for a person: listed with suggestions, decided by somebody, and searched again afterwards.

A backfill decides each face by earlier photos only, so that its outcome does not depend on the order of its calls. Once
somebody has named a face, faces on all other photos count: `search_again` calls SearchFaces for the faces that still
wait, and indexes nothing. It can be repeated: a face that is linked is not searched again.
"""

import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Literal, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from seedtool.backfill import journal, library
from seedtool.backfill.calls import Meter
from seedtool.backfill.decisions import Candidate, Decision, decide
from seedtool.backfill.queries import LibraryConnection, query
from seedtool.errors import ResourceNotFound, UsageError
from seedtool.faces.interrupts import held
from seedtool.faces.port import Box, FaceCollection, FaceService
from seedtool.listener import SILENT, Listener
from seedtool.settings import Backfill

# Rows that a server-side cursor fetches at once.
_FETCH = 500

# The fewest digits of an id that may be given for it. Fewer would match by chance too often.
_FEWEST_DIGITS = 4

# The most characters of a person's name.
_LONGEST_NAME = 200

# Characters that show nothing although Unicode has them among letters, marks or symbols: fillers, joiners, selectors of
# a variant (source: Default_Ignorable_Code_Point in DerivedCoreProperties.txt), and the empty Braille pattern.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(each) for each in range(0xFE00, 0xFE10)}

# Searches at the same time. At 0.2 to 0.3 s each they use the quota of 50 per second.
_SEARCHES = 16

# Faces that `page_of` looks at first. Most stand for themselves, so a page is among few.
_FEWEST_AMONG = 64

# Faces that are searched, decided and committed together.
_BATCH = 200


# The list


class Suggested(msgspec.Struct, frozen=True, kw_only=True):
    """A face that a waiting face is like, and the person that it has now.

    Args:
        face_id: its row in `faces`.
        similarity: 0 to 100.
        person_id: its person; None when it has none.
        name: the person's name, for whoever decides. Logs must not contain it.
    """

    face_id: str
    similarity: float
    person_id: str | None = None
    name: str | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A face that waits for a person.

    Args:
        face_id: its row in `faces`.
        user_id: the user of its photo.
        asset_id: its photo.
        file_name: the photo's name.
        box: where the face is on the photo.
        confidence: that it is a face, 0 to 1.
        suggestions: faces that it is like, each person once, the most similar first.
    """

    face_id: str
    user_id: str
    asset_id: str
    file_name: str
    box: Box
    confidence: float
    suggestions: tuple[Suggested, ...]


class Alike(NamedTuple):
    """A waiting face that is like another one, on another photo."""

    face_id: str
    asset_id: str
    file_name: str


def waiting(
    connection: LibraryConnection,
    *,
    user_id: str | None = None,
    after: str | None = None,
    limit: int | None = None,
    alike: float | None = None,
    among: Sequence[str] | None = None,
) -> Iterator[Waiting]:
    """Yield the faces that wait for a person, user by user, in the order of their photos.

    Memory does not grow with their number.

    Args:
        connection: to the target.
        user_id: faces of this user only.
        after: faces that follow this one in the order; it need not wait any more.
        limit: at most so many.
        alike: of faces with this similarity (0 to 100) only one or a few that stand for the others, which `groups`
            returns.
        among: only these faces.

    Raises:
        SchemaError: a table of the photo library is missing.
        UsageError: the user does not exist or is deleted.
    """
    _check(connection, user_id)
    statement = query(connection, "waiting", has_journal=journal.exists(connection), heads=alike is not None)
    with connection.transaction(), connection.cursor(name="seedtool_waiting") as cursor:
        cursor.itersize = _FETCH
        parameters = {"user": user_id, "after": after, "limit": limit, "alike": alike, "among": among}
        cursor.execute(statement, parameters)
        for face, user, asset, file_name, box, confidence, suggestions in cursor:
            yield Waiting(
                face_id=face,
                user_id=user,
                asset_id=asset,
                file_name=file_name,
                box=msgspec.convert(box, Box),
                confidence=confidence,
                suggestions=_each_person_once(Suggested(**each) for each in suggestions),
            )


def order(connection: LibraryConnection, user_id: str) -> list[str]:
    """Return the faces of a user that wait for a person, in the order of `waiting`."""
    return [id_ for (id_,) in connection.run("order_of_waiting", [user_id])]


def page_of(
    connection: LibraryConnection, known: Sequence[str], *, user_id: str, after: str | None, limit: int, alike: float
) -> list[Waiting]:
    """Return what `waiting` does, from an order that is known. It costs as much as the faces that it looks at.

    Args:
        connection: to the target.
        known: what `order` has returned before. Faces of it need not wait any more.
        user_id: the user.
        after: as for `waiting`.
        limit: as for `waiting`.
        alike: as for `waiting`.
    """
    found: list[Waiting] = []
    try:
        start = known.index(after) + 1 if after is not None else 0
    except ValueError:
        start = len(known)  # the face began to wait later
    size = _FEWEST_AMONG
    while len(found) < limit and start < len(known):
        among = known[start : start + size]
        found += waiting(connection, user_id=user_id, limit=limit - len(found), alike=alike, among=among)
        start, size = start + size, size * 4
    if len(found) < limit:  # at the end there may be faces that began to wait later
        found = list(waiting(connection, user_id=user_id, after=after, limit=limit, alike=alike))
    return found


def groups(
    connection: LibraryConnection, shown: Sequence[Waiting], *, alike: float, most: int
) -> list[tuple[Waiting, list[Alike]]]:
    """Return waiting faces, each with the waiting faces that are as alike, or as alike to one that is.

    Nobody is twice on a photo: of two faces of one photo a group has the first. Each face is in one group.

    Args:
        connection: to the target.
        shown: the faces that stand for the groups, from `waiting`. One that is in the group of another is left out.
        alike: the least similarity (0 to 100).
        most: at most so many faces in a group beside its first.
    """
    # one more than is shown, and the face itself; some may be on one photo
    parameters = {"faces": [each.face_id for each in shown], "alike": alike, "limit": most + 2}
    statement = query(connection, "alike", has_journal=journal.exists(connection))
    found: dict[str, list[Alike]] = {}
    for head, *columns in connection.execute(statement, parameters):
        found.setdefault(head, []).append(Alike(*columns))
    taken: set[str] = set()
    grouped: list[tuple[Waiting, list[Alike]]] = []
    for each in shown:
        if each.face_id in taken:
            continue
        photos = {each.asset_id}
        group: list[Alike] = []
        for other in found.get(each.face_id, ()):
            if other.asset_id not in photos and other.face_id not in taken:
                photos.add(other.asset_id)
                group.append(other)
        del group[most:]
        taken |= {each.face_id, *(other.face_id for other in group)}
        grouped.append((each, group))
    return grouped


def count(connection: LibraryConnection, user_id: str | None = None) -> int:
    """Return how many faces wait for a person; raises as `waiting` does."""
    _check(connection, user_id)
    row = connection.run("count_waiting", {"user": user_id}).fetchone()
    return int(row[0]) if row else 0


def users_waiting(connection: LibraryConnection, user_id: str | None = None) -> tuple[str, ...]:
    """Return the users with faces that wait for a person; raises as `waiting` does."""
    _check(connection, user_id)
    return tuple(id_ for (id_,) in connection.run("users_waiting", {"user": user_id}))


def _check(connection: LibraryConnection, user_id: str | None) -> None:
    library.check_tables(connection)
    if user_id is not None:
        library.check_user(connection, user_id)


def _each_person_once(suggestions: Iterator[Suggested]) -> tuple[Suggested, ...]:
    kept: dict[str, Suggested] = {}
    for each in suggestions:
        kept.setdefault(each.person_id or each.face_id, each)
    return tuple(kept.values())


# The decision


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody decided about one face.

    Args:
        what: `assign`: link it to a person that exists. `new`: link it to a new person. `skip`: it needs no person.
        face: its id, or the beginning of its id if no other face's id begins like that.
        person: `assign`: the person's id, the beginning of it, or the name. `new`: the name.
    """

    what: Literal["assign", "new", "skip"]
    face: str
    person: str = ""


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """A choice that was written down; `person_id` is None for a face that needs no person."""

    face_id: str
    user_id: str
    person_id: str | None
    new_person: bool = False


class LockedFace(msgspec.Struct, frozen=True):
    """A face that nobody else can decide about meanwhile."""

    id: str
    user_id: str
    person_id: str | None
    waits: bool
    skipped: bool


def choose(
    connection: LibraryConnection,
    choices: Sequence[Choice],
    *,
    user_id: str | None = None,
    decided_before: bool = True,
) -> tuple[Assigned, ...]:
    """Write choices down, all of them or none, and commit.

    Args:
        connection: to the target.
        choices: each about another face. A new name that is given twice for faces of one user makes one person.
        user_id: check that the faces belong to this user.
        decided_before: a face may be decided that somebody has skipped.

    Returns:
        what was written, in the order of the choices.

    Raises:
        UsageError: a face or person does not exist, is ambiguous, belongs to another user, or has been decided already.
        SchemaError: a table of the photo library is missing.
    """
    _check(connection, user_id)
    connection.commit()
    with connection.transaction():
        if any(each.what == "skip" for each in choices) and "faces.skipped" not in connection.shape.has:
            journal.ensure(connection)
        wanted = [_find_face(connection, each.face) for each in choices]
        found = lock(connection, wanted)
        faces = [found[id_] for id_ in wanted]
        foreign = next((each for each in faces if user_id not in {None, each.user_id}), None)
        if foreign is not None:
            raise UsageError(
                f"the face {foreign.id} belongs to the user {foreign.user_id}",
                remedy="Leave --user-id out, or give that user.",
                option="--user-id",
            )
        twice = {each.id for each in faces if [other.id for other in faces].count(each.id) > 1}
        if twice:
            raise UsageError(f"the face {min(twice)} is given twice", remedy="Give each face once.", option="FACE")
        skipped = next((each for each in faces if each.skipped and not decided_before), None)
        if skipped is not None:
            raise UsageError(
                f"the face {skipped.id} does not wait for a person: somebody has skipped it",
                remedy="Look at the faces that still wait.",
                option="FACE",
            )
        new_persons: dict[tuple[str, str], str] = {}
        written = [_write(connection, choice, face, new_persons) for choice, face in zip(choices, faces, strict=True)]
        if journal.exists(connection):
            linked = [each.face_id for each in written if each.person_id is not None]
            connection.run("delete_suggestions", [linked])
    return tuple(written)


def users_of(assigned: Iterable[Assigned]) -> tuple[str, ...]:
    """Return the users whose faces were linked to a person, each once."""
    return tuple(dict.fromkeys(each.user_id for each in assigned if each.person_id is not None))


def _write(
    connection: LibraryConnection, choice: Choice, face: LockedFace, new_persons: dict[tuple[str, str], str]
) -> Assigned:
    if face.person_id is not None or not face.waits:
        whose = f" (person {face.person_id})" if face.person_id else ""
        raise UsageError(
            f"the face {face.id} does not wait for a person: it has been decided already{whose}",
            remedy="List the faces that wait with seedtool faces review. Change others in the application.",
        )
    if choice.what == "skip":
        connection.run("skip_face", {"face": face.id})
        return Assigned(face_id=face.id, user_id=face.user_id, person_id=None)
    is_new = False
    if choice.what == "assign":
        person_id = _find_person(connection, face, choice.person)
    else:
        name = written(choice.person)
        key = (face.user_id, folded(name))
        is_new = key not in new_persons
        if is_new:
            new_persons[key] = _insert_person(connection, face, name)
        person_id = new_persons[key]
    connection.run("link_by_user", {"face": face.id, "person": person_id})
    connection.run("set_waiting", {"faces": [face.id], "waits": False, "by_system": False})
    return Assigned(face_id=face.id, user_id=face.user_id, person_id=person_id, new_person=is_new)


def _find_face(connection: LibraryConnection, given: str) -> str:
    """Return the id of the face that is meant. If several ids begin like this, it is the only one that waits."""
    first, last = _range_of_ids(given) if "faces.uuid" in connection.shape.has else (None, None)
    parameters = {"first": first, "last": last, "given": given}
    found = connection.run("faces_by_id", parameters).fetchall()
    if not found:
        raise UsageError(
            f"there is no face {given}", remedy="List the faces that wait for a person with seedtool faces review."
        )
    meant = [id_ for id_, waits in found if waits] or [id_ for id_, _ in found]
    if len(meant) > 1:
        raise UsageError(
            f"the ids of several faces begin with {given}: {', '.join(meant[:3])}{', ...' * (len(meant) > 3)}",
            remedy="Give more digits of the id.",
        )
    return str(meant[0])


def lock(connection: LibraryConnection, face_ids: Sequence[str]) -> dict[str, LockedFace]:
    """Lock the faces in the order of their ids, so that nobody else decides about them meanwhile."""
    connection.run("lock_faces", [list(face_ids)])
    rows = connection.run("locked_faces", [list(face_ids)])
    return {id_: LockedFace(id_, *row) for id_, *row in rows}


def _find_person(connection: LibraryConnection, face: LockedFace, given: str) -> str:
    """Return the person that is meant, by id, by name, or by the beginning of the id.

    An error does not quote `given`: it may be a person's name.
    """
    persons: list[tuple[str, str, str | None]] = connection.run("persons", [face.user_id]).fetchall()
    by_digits = connection.shape.type_of("persons", "key") == "uuid"
    digits = given.lower().replace("-", "") if by_digits else given
    exact = [id_ for id_, *_ in persons if (id_.replace("-", "") if by_digits else id_) == digits]
    wanted = folded(given)
    by_name = [id_ for id_, *names in persons if wanted and wanted in map(folded, names)]
    by_beginning = [
        id_
        for id_, *_ in persons
        if by_digits and len(digits) >= _FEWEST_DIGITS and id_.replace("-", "").startswith(digits)
    ]
    meant = exact or by_name or by_beginning
    if len(meant) == 1 and connection.run("lock_person", meant).fetchone() is not None:
        return meant[0]  # locked, so that nobody deletes the person meanwhile
    if len(meant) > 1:
        raise UsageError(
            f"the face {face.id}: several persons match: {', '.join(meant[:3])}{', ...' * (len(meant) > 3)}",
            remedy="Give the person's id.",
        )
    other = library.as_key(connection.shape, "persons", given)
    if other is not None and connection.run("person_exists", [other]).fetchone() is not None:
        raise UsageError(
            f"the face {face.id}: the person {other} belongs to another user, or is deleted",
            remedy="Give a person of the face's own user.",
        )
    raise UsageError(
        f"the face {face.id}: its user {face.user_id} has no such person",
        remedy="Create the person with --new-person FACE NAME. "
        f"The table {connection.shape.bound['persons'].table} has those that exist.",
    )


def _insert_person(connection: LibraryConnection, face: LockedFace, name: str) -> str:
    if not name:
        raise UsageError(f"the face {face.id}: the new person's name is empty", remedy="Give --new-person FACE NAME.")
    connection.run("lock_owner", [face.user_id])  # so that nobody else adds the same name meanwhile
    persons = connection.run("persons", [face.user_id])
    same = next((id_ for id_, *names in persons if folded(name) in map(folded, names)), None)
    if same is not None:
        raise UsageError(
            f"the face {face.id}: its user already has a person of this name: {same}",
            remedy=f"Give --assign {face.id} {same} if it is the same person, otherwise another name.",
        )
    parameters = {"user": face.user_id, "name": name, "face": face.id}
    row = connection.run("insert_person", parameters).fetchone()
    return str(row[0]) if row else ""


def _range_of_ids(given: str) -> tuple[str, str]:
    """Return the first and the last uuid that begin like this, for a search by index."""
    digits = given.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits) or len(digits) < _FEWEST_DIGITS:
        raise UsageError(
            f"{given!r} is not the id of a face",
            remedy=f"Give a uuid, or at least the first {_FEWEST_DIGITS} digits of it.",
        )
    return str(uuid.UUID(digits.ljust(32, "0"))), str(uuid.UUID(digits.ljust(32, "f")))


def written(name: str) -> str:
    """Return a name as it is written down: blanks are one space; empty when nothing of it can be seen.

    Raises:
        UsageError: the name is too long, or is not Unicode.
    """
    name = " ".join(name.split())
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"the name has {len(name):,} characters, and {_LONGEST_NAME} are the most",
            remedy="Give a shorter name.",
            option="NAME",
        )
    if any(unicodedata.category(each) == "Cs" for each in name):  # bytes of the command line that are not UTF-8
        raise UsageError("the name is not text in UTF-8", remedy="Type it again.", option="NAME")
    return name if _seen(name).strip() else ""


def folded(name: str | None) -> str:
    """Return a name for comparison: without differences in case, blanks, Unicode composition and unseen characters."""
    return unicodedata.normalize("NFC", " ".join(_seen(name or "").split())).casefold()


def _seen(name: str) -> str:
    """Return a name without the characters that show nothing, blanks excepted."""
    return name if name.isascii() else "".join(each for each in name if each.isspace() or not _is_unseen(each))


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in {"Cf", "Cc"} or character in _UNSEEN


# The search afterwards


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """A face that was linked because it is like a face that has a person; similarity is 0 to 100."""

    face_id: str
    person_id: str
    similarity: float


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """What searching again did.

    Args:
        searched: faces that were searched.
        linked: the faces among them that were linked to a person.
        missing: faces that are not in their collection.
        left: faces that were not searched, because of an interruption.
        calls: calls sent, by operation; retries count.
        billed: calls that AWS bills, by operation; as in the report of a backfill.
        cost: dollars for `billed` at the prices of the settings.
        interrupted: a signal ended the search early. Searching again continues it.
    """

    searched: int
    linked: tuple[Linked, ...]
    missing: tuple[str, ...]
    left: int
    calls: dict[str, int]
    billed: dict[str, int]
    cost: float
    interrupted: bool


class _WaitingFace(msgspec.Struct, frozen=True):
    row: str
    asset_id: str
    face_id: str


class _FaceOfUser(msgspec.Struct, frozen=True):
    face_id: str
    row: str
    asset_id: str
    person_id: str | None


def search_again(
    connection: LibraryConnection,
    aws: FaceService,
    rules: Backfill,
    user_ids: Sequence[str],
    *,
    listener: Listener = SILENT,
) -> Searched:
    """Search the waiting faces of these users in their collections, and link those with a sure match.

    Args:
        connection: to the target, without an open transaction.
        aws: the AWS side.
        rules: the thresholds.
        user_ids: the users.
        listener: hears the progress in `faces`.

    Raises:
        AwsError: a search failed after all attempts. What was linked until then is committed.
    """
    journal.ensure(connection)
    connection.commit()
    meter = Meter(rules.prices, None)
    with held() as hold, aws.metered(meter):
        searches = [_Search(connection, aws, rules, user_id) for user_id in user_ids]
        total = sum(len(each.faces) for each in searches)
        done = 0
        for search in searches:
            while hold.pending is None and (searched := search.next_batch()):
                done += searched
                listener.progress("faces", done, total)
            search.link_indirectly()
        return Searched(
            searched=done,
            linked=tuple(each for search in searches for each in search.linked),
            missing=tuple(each for search in searches for each in search.missing),
            left=total - done,
            calls=dict(meter.calls),
            billed=meter.billed,
            cost=meter.cost(),
            interrupted=hold.take(),
        )


class _Search:
    """The search of one user's waiting faces, in the order of their photos."""

    def __init__(self, connection: LibraryConnection, aws: FaceService, rules: Backfill, user_id: str) -> None:
        self._connection = connection
        self._rules = rules
        self._user_id = user_id
        collection = library.collection_of(connection, user_id)
        self._collection = aws.collection(collection[0] if collection else rules.collection_prefix + user_id)
        self.faces = [_WaitingFace(*row) for row in connection.run("waiting_of_user", [user_id])]
        self._exclusions = {(row, person) for row, person in connection.run("exclusions", [user_id])}
        connection.commit()
        self._next: Iterator[_WaitingFace] = iter(self.faces)
        self._sure: dict[str, list[Candidate]] = {}  # faces that still wait, and the sure matches of each
        self.linked: list[Linked] = []
        self.missing: list[str] = []

    def next_batch(self) -> int:
        """Search the next faces, decide about them and commit; return how many they were."""
        faces = list(islice(self._next, _BATCH))
        with ThreadPoolExecutor(_SEARCHES, thread_name_prefix="review") as pool:
            answers = list(pool.map(lambda face: _search(self._collection, face, self._rules), faces))
        self.missing += [face.row for face, answer in zip(faces, answers, strict=True) if answer is None]
        with self._connection.transaction():
            matched = sorted({face_id for answer in answers for face_id, _ in answer or ()})
            rows = self._connection.run("faces_of_user", {"user": self._user_id, "faces": matched})
            others = [_FaceOfUser(*row) for row in rows]
            for face, answer in zip(faces, answers, strict=True):
                if answer is not None:
                    self._decide(face, dict(answer), others)
        return len(faces)

    def link_indirectly(self) -> None:
        """Link faces whose sure match was linked after them, until no more follow. It calls nothing."""
        persons = {each.face_id: each.person_id for each in self.linked}
        found = bool(persons)
        with self._connection.transaction():
            while found:
                found = False
                for row, sure in list(self._sure.items()):
                    candidates = [msgspec.structs.replace(each, person_id=persons.get(each.row)) for each in sure]
                    decision = decide(self._possible(row, candidates), self._rules)
                    if decision.outcome == "assigned":
                        del self._sure[row]
                        if self._link(row, decision):
                            persons[row] = str(decision.person_id)
                            found = True

    def _decide(self, face: _WaitingFace, similarities: dict[str, float], others: Sequence[_FaceOfUser]) -> None:
        """Decide by the same rule as a backfill, but by the faces on all other photos."""
        persons = {each.face_id: each.person_id for each in self.linked[-_BATCH:]}
        candidates = [
            Candidate(each.row, each.person_id or persons.get(each.row), similarities[each.face_id])
            for each in others
            if each.face_id in similarities and each.asset_id != face.asset_id
        ]
        candidates = self._possible(face.row, candidates)
        decision = decide(candidates, self._rules)
        if decision.outcome == "assigned":
            self._link(face.row, decision)
            return
        self._sure[face.row] = [each for each in candidates if each.similarity >= self._rules.assign]
        suggestions = [
            {"matched_face_id": each.row, "similarity": round(each.similarity, 4)} for each in decision.suggestions
        ]
        self._connection.run("suggest", {"face": face.row, "suggestions": Jsonb(suggestions)})

    def _possible(self, row: str, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates without the persons that somebody took this face away from."""
        return [each for each in candidates if (row, each.person_id) not in self._exclusions]

    def _link(self, row: str, decision: Decision) -> bool:
        """Link a face to a person; False when somebody has decided about it meanwhile."""
        similarity = decision.similarity or 0.0
        parameters = {"face": row, "person": decision.person_id, "confidence": round(similarity / 100, 4)}
        lock(self._connection, [row])
        if self._connection.run("link_by_system", parameters).fetchone() is None:
            return False
        self.linked.append(Linked(face_id=row, person_id=str(decision.person_id), similarity=similarity))
        return True


def _search(collection: FaceCollection, face: _WaitingFace, rules: Backfill) -> list[tuple[str, float]] | None:
    """Return the faces that one is like, with the similarities; None when it is not in the collection."""
    try:
        found = collection.search_faces(face.face_id, threshold=rules.review)
    except ResourceNotFound:
        return None
    return [(match.face.face_id, match.similarity) for match in found]
