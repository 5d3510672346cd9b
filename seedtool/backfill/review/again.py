"""Faces that still wait are searched again once somebody has a name: SearchFaces alone, nothing is indexed.

A backfill decides each face by earlier photos alone, so that its outcome does not depend on the order of its calls.
Here somebody has spoken, and faces of any other photo count: who was named on a late photo is found on the early
ones. A face that is linked counts for the next one. It can be repeated: what is linked is not searched again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import LiteralString

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from seedtool.backfill import journal, library
from seedtool.backfill.matching import Candidate, Decision, decide
from seedtool.backfill.reporting.spending import metered
from seedtool.backfill.review.waiting import WAITS
from seedtool.errors import ResourceNotFound
from seedtool.faces.interrupts import held
from seedtool.faces.rekognition import Aws
from seedtool.faces.rekognition.collection import Collection
from seedtool.settings import Backfill

# Searches at once: at 0.2 to 0.3 s each they fill the quota of 50 a second.
_AT_ONCE = 16

# Faces that are searched, decided and committed together.
_LOT = 200

Progress = Callable[[int, int | None], None]


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    """A face that was linked because it is like one that has a person; similarity is 0 to 100."""

    face_id: str
    person_id: str
    similarity: float


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """What searching again found.

    Args:
        searched: faces that were searched.
        linked: those that have a person now.
        missing: faces that are not in their collection.
        left: faces that were not searched: it was interrupted.
        calls: attempts by operation, retries included.
        cost: dollars: `calls` at the prices of the settings.
        interrupted: by a signal; the same search goes on.
    """

    searched: int
    linked: tuple[Linked, ...]
    missing: tuple[str, ...]
    left: int
    calls: dict[str, int]
    cost: float
    interrupted: bool


class _Face(msgspec.Struct, frozen=True):
    row: str
    asset_id: str
    face_id: str


class _Known(msgspec.Struct, frozen=True):
    face_id: str
    row: str
    asset_id: str
    person_id: str | None


def search_again(
    connection: psycopg.Connection,
    aws: Aws,
    rules: Backfill,
    user_ids: Sequence[str],
    *,
    progress: Progress | None = None,
) -> Searched:
    """Search the waiting faces of these users among all of their collection, and link those that are sure.

    Args:
        connection: to the target; nothing is uncommitted on it.
        aws: the AWS side.
        rules: the thresholds.
        user_ids: the users.
        progress: told how many faces are done, and of how many.

    Raises:
        AwsError: a search failed after all attempts; what was linked until then is committed.
    """
    journal.ensure(connection)
    connection.commit()
    with held() as hold, metered(aws.rekognition(), rules.prices, None) as meter:
        searches = [_Search(connection, aws, rules, user_id) for user_id in user_ids]
        total = sum(len(each.faces) for each in searches)
        done = 0
        for search in searches:
            while hold.pending is None and (lot := search.lot()):
                done += lot
                if progress is not None:
                    progress(done, total)
            search.follow()
        return Searched(
            searched=done,
            linked=tuple(each for search in searches for each in search.linked),
            missing=tuple(each for search in searches for each in search.missing),
            left=total - done,
            calls=dict(meter.calls),
            cost=meter.cost(),
            interrupted=hold.take(),
        )


class _Search:
    """The waiting faces of one user, in the order of their photos."""

    def __init__(self, connection: psycopg.Connection, aws: Aws, rules: Backfill, user_id: str) -> None:
        self._connection = connection
        self._rules = rules
        self._user_id = user_id
        found = library.collection_of(connection, user_id)
        collection_id = found[0] if found else rules.collection_prefix + user_id
        self._collection = aws.collection(collection_id)
        rows = connection.execute(sql.SQL(_WAITING).format(waits=WAITS), [user_id]).fetchall()
        connection.commit()
        self.faces = [_Face(*row) for row in rows]
        self._next: Iterator[_Face] = iter(self.faces)
        self._sure: dict[str, list[Candidate]] = {}  # faces that still wait, and the rows that they are surely like
        self.linked: list[Linked] = []
        self.missing: list[str] = []

    def lot(self) -> int:
        """Search the next faces, decide and commit; returns how many they were."""
        faces = list(islice(self._next, _LOT))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="review") as pool:
            answers = list(pool.map(lambda face: _search(self._collection, face, self._rules), faces))
        self.missing += [face.row for face, answer in zip(faces, answers, strict=True) if answer is None]
        with self._connection.transaction():
            known = self._known({face_id for answer in answers for face_id, _ in answer or ()})
            for face, answer in zip(faces, answers, strict=True):
                if answer is not None:
                    self._decide(face, dict(answer), known)
        return len(faces)

    def follow(self) -> None:
        """Link what is surely like a face that was linked meanwhile, until nothing more follows; calls nothing."""
        persons = {each.face_id: each.person_id for each in self.linked}
        found = bool(persons)
        with self._connection.transaction():
            while found:
                found = False
                for row, sure in list(self._sure.items()):
                    likes = [msgspec.structs.replace(each, person_id=persons.get(each.row)) for each in sure]
                    decision = decide(likes, self._rules)
                    if decision.outcome == "assigned":
                        del self._sure[row]
                        if self._link(row, decision):
                            persons[row] = str(decision.person_id)
                            found = True

    def _decide(self, face: _Face, similarities: dict[str, float], known: Sequence[_Known]) -> None:
        """Decide as a backfill does, by the faces of all other photos."""
        persons = {each.face_id: each.person_id for each in self.linked[-_LOT:]}
        candidates = [
            Candidate(each.row, each.person_id or persons.get(each.row), similarities[each.face_id])
            for each in known
            if each.face_id in similarities and each.asset_id != face.asset_id
        ]
        decision = decide(candidates, self._rules)
        if decision.outcome == "assigned":
            self._link(face.row, decision)
            return
        self._sure[face.row] = [each for each in candidates if each.similarity >= self._rules.assign]
        suggestions = [
            {"matched_face_id": each.row, "similarity": round(each.similarity, 4)} for each in decision.suggestions
        ]
        self._connection.execute(_SUGGEST, {"face": face.row, "suggestions": Jsonb(suggestions)})

    def _link(self, row: str, decision: Decision) -> bool:
        similarity = decision.similarity or 0.0
        parameters = {"face": row, "person": decision.person_id, "confidence": round(similarity / 100, 4)}
        if self._connection.execute(sql.SQL(_LINK).format(waits=WAITS), parameters).fetchone() is None:
            return False  # somebody decided about it meanwhile
        self.linked.append(Linked(face_id=row, person_id=str(decision.person_id), similarity=similarity))
        return True

    def _known(self, face_ids: set[str]) -> list[_Known]:
        rows = self._connection.execute(_KNOWN, {"user": self._user_id, "faces": sorted(face_ids)}).fetchall()
        return [_Known(*row) for row in rows]


def _search(collection: Collection, face: _Face, rules: Backfill) -> list[tuple[str, float]] | None:
    """Return the faces that one is like; None when it is not in the collection."""
    try:
        found = collection.search_faces(face.face_id, threshold=rules.review)
    except ResourceNotFound:
        return None
    return [(match.face.face_id, match.similarity) for match in found]


_WAITING: LiteralString = """
SELECT f.id::text, f.asset_id::text, f.rekognition_face_id FROM faces f JOIN assets a ON a.id = f.asset_id
WHERE f.user_id = %s AND {waits} AND NOT a.deleted
ORDER BY a.created_at, a.id, (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id"""

_KNOWN = """
SELECT f.rekognition_face_id, f.id::text, f.asset_id::text, p.id::text
FROM faces f JOIN assets a ON a.id = f.asset_id
LEFT JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted
LEFT JOIN person_groups p ON p.id = l.person_group_id AND NOT p.deleted
WHERE f.user_id = %(user)s AND NOT f.deleted AND f.rekognition_face_id = ANY(%(faces)s)
ORDER BY a.created_at, a.id, (f.bounding_box ->> 'Left')::float8, (f.bounding_box ->> 'Top')::float8, f.id"""

# one statement: the link and the face's own columns, or neither
_LINK: LiteralString = """
WITH face AS (
    SELECT f.id FROM faces f WHERE f.id = %(face)s AND {waits} FOR UPDATE
),
link AS (
    INSERT INTO face_person_links (face_id, person_group_id, confidence, assigned_by)
    SELECT face.id, p.id, %(confidence)s, 'system' FROM face, person_groups p WHERE p.id = %(person)s AND NOT p.deleted
    ON CONFLICT (face_id) WHERE NOT deleted DO NOTHING RETURNING face_id
),
forgotten AS (
    DELETE FROM seedtool.face_matches m USING link WHERE m.face_id = link.face_id
)
UPDATE faces f SET needs_assignment = false, auto_assigned = true, updated_at = now()
FROM link WHERE f.id = link.face_id RETURNING f.id"""

_SUGGEST = """
WITH suggested AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(suggestions)s) AS s (matched_face_id uuid, similarity numeric)
),
forgotten AS (
    DELETE FROM seedtool.face_matches m WHERE m.face_id = %(face)s
        AND NOT EXISTS (SELECT FROM suggested s WHERE s.matched_face_id = m.matched_face_id)
)
INSERT INTO seedtool.face_matches (face_id, matched_face_id, similarity)
SELECT %(face)s, matched_face_id, similarity FROM suggested
ON CONFLICT (face_id, matched_face_id) DO UPDATE SET similarity = excluded.similarity"""
