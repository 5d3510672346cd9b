"""What is to become of a face: linked to a person, kept for review, or new.

The rule, for each face of an asset, by its matches among live faces of the user's earlier assets, the most similar
first (ties: the earlier asset first, within a photo from left to right):

- the first match at `assign` or more *that has a person* decides: the face is linked to that person. A match at
  `assign` or more without a person is passed over, for a name may stand behind the next one;
- else, with any match at `review` or more, the face awaits a person and the matches are its suggestions;
- else it is a new face, and awaits a person without suggestions.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from seedtool.backfill.library import Decided, FaceRow, Known, Suggestion
from seedtool.backfill.reporting.report import Outcome
from seedtool.faces import boxes
from seedtool.faces.rekognition.answers import Box, Face
from seedtool.faces.rekognition.collection import Collection
from seedtool.settings import Backfill

#: Suggestions that are kept for a face.
MOST_SUGGESTIONS = 10

#: FaceId → the faces like it, as (FaceId, similarity).
Matches = Mapping[str, Sequence[tuple[str, float]]]


class Candidate(msgspec.Struct, frozen=True):
    """A face of an earlier asset that a face is like: its row, its person if any, and the similarity (0 to 100)."""

    row: str
    person_id: str | None
    similarity: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a face. `similarity` is that of the match that decided, else of the best one."""

    outcome: Literal["assigned", "review", "new"]
    person_id: str | None = None
    similarity: float | None = None
    suggestions: tuple[Candidate, ...] = ()


def search(collection: Collection, faces: Iterable[Face], rules: Backfill) -> Matches:
    """Search each face among all of its collection.

    Args:
        collection: the user's.
        faces: faces of one asset.
        rules: the least similarity that is looked at.

    Raises:
        AwsError: a search failed after all attempts.
    """
    return {
        face.face_id: tuple(
            (match.face.face_id, match.similarity)
            for match in collection.search_faces(face.face_id, threshold=rules.review, just_indexed=True)
        )
        for face in faces
    }


def decide(candidates: Sequence[Candidate], rules: Backfill) -> Decision:
    """Decide about one face.

    Args:
        candidates: faces of earlier assets that it is like, earlier ones first.
        rules: the two thresholds.
    """
    ranked = sorted((each for each in candidates if each.similarity >= rules.review), key=lambda each: -each.similarity)
    sure = next((each for each in ranked if each.similarity >= rules.assign and each.person_id is not None), None)
    if sure is not None:
        return Decision(outcome="assigned", person_id=sure.person_id, similarity=sure.similarity)
    if not ranked:
        return Decision(outcome="new")
    suggestions: dict[str, Candidate] = {}  # a person is suggested once, by the face that is most like
    for each in ranked:
        suggestions.setdefault(each.person_id or each.row, each)
    return Decision(
        outcome="review",
        similarity=ranked[0].similarity,
        suggestions=tuple(list(suggestions.values())[:MOST_SUGGESTIONS]),
    )


def is_small(box: Box, rules: Backfill) -> bool:
    """Tell whether a face is too small to be kept: below the setting in width and in height."""
    return box.width < rules.smallest_face and box.height < rules.smallest_face


def settle(
    faces: Sequence[Face],
    small: Sequence[Face],
    known: Sequence[Known],
    matches: Matches,
    rules: Backfill,
    *,
    reindex: bool,
) -> tuple[Decided, tuple[float, ...]]:
    """Decide about all faces of an asset.

    A row that the asset has already is kept where its box is found again: with its person, or left alone, if that was
    decided; decided about anew if not. Rows that are not found again go, but only when all is indexed anew.

    Args:
        faces: the asset's faces in the collection, but for the small ones.
        small: the small ones.
        known: the asset's own rows, and those of earlier assets that matched.
        matches: what the searches found.
        rules: the settings.
        reindex: whether the asset was indexed anew.

    Returns:
        what is to be written, and the similarities of the matches that counted.
    """
    own = [each for each in known if each.own]
    earlier = {each.face_id: each for each in known if not each.own}
    ranks = {each.face_id: rank for rank, each in enumerate(known)}
    rows = {
        face_id: row
        for row, face_id in boxes.match(
            [boxes.Row(each.id, each.face_id, each.box) for each in own],
            [boxes.Candidate(face.face_id, face.box) for face in faces],
        ).items()
    }
    before = {each.id: each for each in own}
    written: list[FaceRow] = []
    suggestions: list[Suggestion] = []
    told: list[dict[str, object]] = []
    similarities: list[float] = []
    for face in sorted(faces, key=lambda each: (each.box.left, each.box.top, each.face_id)):
        candidates = [
            Candidate(earlier[face_id].id, earlier[face_id].person_id, similarity)
            for face_id, similarity in sorted(
                matches.get(face.face_id, ()), key=lambda match: ranks.get(match[0], len(ranks))
            )
            if face_id in earlier
        ]
        similarities += [each.similarity for each in candidates]
        row = before.get(rows.get(face.face_id, ""))
        keep = row is not None and (row.person_id is not None or row.skipped)
        decision = decide(candidates, rules)
        face_row = FaceRow(
            id=row.id if row else str(uuid.uuid4()),
            known=row is not None,
            keep=keep,
            face_id=face.face_id,
            box=face.box,
            confidence=round(face.confidence / 100, 4),
            needs=decision.outcome != "assigned",
            person_id=None if keep else decision.person_id,
            similarity=None if keep or decision.similarity is None else round(decision.similarity / 100, 4),
        )
        written.append(face_row)
        if not keep:
            suggestions += [
                Suggestion(face_id=face_row.id, matched_face_id=each.row, similarity=round(each.similarity, 4))
                for each in decision.suggestions
            ]
        told.append(_told(face_row, decision, kept=row if keep else None))
    kept = {row.id for row in written}
    return (
        Decided(
            faces=tuple(written),
            gone=tuple(each.id for each in own if reindex and each.id not in kept),
            suggestions=tuple(suggestions),
            dropping=tuple(sorted(face.face_id for face in small)),
            summary={"faces": told, "dropped": len(small)},
        ),
        tuple(similarities),
    )


def outcome_of(decided: Decided, similarities: tuple[float, ...], *, adopted: bool) -> Outcome:
    """Return what a report tells of a decision."""
    waiting = [face for face in decided.faces if not face.keep and face.needs]
    suggested = {each.face_id for each in decided.suggestions}
    return Outcome(
        faces=len(decided.faces),
        dropped=len(decided.dropping),
        auto_assigned=sum(face.person_id is not None for face in decided.faces),
        needs_person=len(waiting),
        suggested=sum(face.id in suggested for face in waiting),
        adopted=adopted,
        similarities=similarities,
    )


def _told(face: FaceRow, decision: Decision, kept: Known | None) -> dict[str, object]:
    """Return what assets.face_detection_data says of a face."""
    told: dict[str, object] = {"face_id": face.id, "outcome": "kept" if kept else decision.outcome}
    if kept is not None:
        return told | ({"person_group_id": kept.person_id} if kept.person_id else {})
    if decision.person_id is not None:
        told["person_group_id"] = decision.person_id
    if decision.similarity is not None:
        told["similarity"] = round(decision.similarity, 4)
    if decision.suggestions:
        told["suggestions"] = [
            {"face_id": each.row, "person_group_id": each.person_id, "similarity": round(each.similarity, 4)}
            for each in decision.suggestions
        ]
    return told
