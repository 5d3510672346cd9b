"""What becomes of a face: it is linked to a person, it is kept for review with suggestions, or it is new.

The rule looks at the matches of a face among faces on earlier assets of the same user, the most similar first. Of equal
matches the one on the earlier asset comes first, and on one asset the one further left.

- The first match with a similarity of `assign` or more *that has a person* decides: the face is linked to that person.
  A match without a person is passed over, because the next one may have a person.
- Otherwise, if there is a match at `review` or more, the face waits for a person, and its matches are suggestions.
- Otherwise the face is new. It waits for a person without suggestions.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from seedtool.backfill.journal import Asset
from seedtool.backfill.library import AssetDecision, FaceRow, KnownFace, Suggestion
from seedtool.backfill.report import Outcome
from seedtool.faces import boxes
from seedtool.faces.port import Box, Face
from seedtool.settings import Backfill

#: The most suggestions that are kept for a face.
MOST_SUGGESTIONS = 10

#: The matches of each face, by FaceId: the FaceId of the other face, and the similarity (0 to 100).
Matches = dict[str, Sequence[tuple[str, float]]]


class Candidate(msgspec.Struct, frozen=True):
    """A face that another one is like: its row, its person if it has one, and the similarity (0 to 100)."""

    row: str
    person_id: str | None
    similarity: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a face. `similarity` is that of the match that decided, otherwise that of the best match."""

    outcome: Literal["assigned", "review", "new"]
    person_id: str | None = None
    similarity: float | None = None
    suggestions: tuple[Candidate, ...] = ()


def decide(candidates: Sequence[Candidate], rules: Backfill) -> Decision:
    """Decide about one face.

    Args:
        candidates: the faces that it is like, those on earlier assets first.
        rules: the two thresholds.
    """
    ranked = sorted((each for each in candidates if each.similarity >= rules.review), key=lambda each: -each.similarity)
    best = next((each for each in ranked if each.similarity >= rules.assign and each.person_id is not None), None)
    if best is not None:
        return Decision(outcome="assigned", person_id=best.person_id, similarity=best.similarity)
    if not ranked:
        return Decision(outcome="new")
    suggestions: dict[str, Candidate] = {}  # each person is suggested once, by the most similar face
    for each in ranked:
        suggestions.setdefault(each.person_id or each.row, each)
    return Decision(
        outcome="review",
        similarity=ranked[0].similarity,
        suggestions=tuple(list(suggestions.values())[:MOST_SUGGESTIONS]),
    )


def is_small(box: Box, rules: Backfill) -> bool:
    """Tell whether a face is too small to keep: both its width and its height are below the setting."""
    return box.width < rules.smallest_face and box.height < rules.smallest_face


def decide_asset(
    faces: Sequence[Face],
    small: Sequence[Face],
    known: Sequence[KnownFace],
    matches: Matches,
    rules: Backfill,
    *,
    asset: Asset,
    new_ids: Iterator[str] | None = None,
) -> tuple[AssetDecision, Outcome]:
    """Decide about all faces of an asset.

    The asset may have rows already. A row stays where its box is found again. It keeps its person, or stays skipped;
    otherwise its face is decided about again. A row whose box is not found again is deleted, but only with `reindex`.

    Args:
        faces: the asset's faces in the collection, without the small ones.
        small: the faces that are too small.
        known: the asset's own rows, and the rows on earlier assets that matched.
        matches: what the searches found.
        rules: the settings.
        asset: the asset. It may have been indexed again, or only be decided about again.
        new_ids: keys for new rows; random uuids when None.

    Returns:
        what is to be written, and what a report says about it.
    """
    own = {each.id: each for each in known if each.own}
    earlier = {each.face_id: each for each in known if not each.own}
    ranks = {each.face_id: rank for rank, each in enumerate(known)}
    row_of_face = {
        face_id: row
        for row, face_id in boxes.match(
            [boxes.Row(each.id, each.face_id, each.box) for each in own.values()],
            [boxes.Candidate(face.face_id, face.box) for face in faces],
        ).items()
    }
    rows: list[FaceRow] = []
    changed: list[str] = []  # FaceIds of faces that are new, or have another person now
    suggestions: list[Suggestion] = []
    summary: list[dict[str, object]] = []
    similarities: list[float] = []
    for face in sorted(faces, key=lambda each: (each.box.left, each.box.top, each.face_id)):
        in_order = sorted(matches.get(face.face_id, ()), key=lambda match: ranks.get(match[0], len(ranks)))
        candidates = [
            Candidate(earlier[face_id].id, earlier[face_id].person_id, similarity)
            for face_id, similarity in in_order
            if face_id in earlier
        ]
        similarities += [each.similarity for each in candidates]
        stored = own.get(row_of_face.get(face.face_id, ""))
        if stored is not None and stored.exclusions:
            candidates = [each for each in candidates if each.person_id not in stored.exclusions]
        decision = decide(candidates, rules)
        new_id = stored.id if stored else str(uuid.uuid4()) if new_ids is None else next(new_ids)
        row = _row(new_id, face, stored, decision, again=asset.again)
        rows.append(row)
        if stored is None or not (asset.again or asset.reindex) or row.person_id not in {None, stored.person_id}:
            changed.append(face.face_id)
        if not row.keep:
            suggestions += [
                Suggestion(face_id=row.id, matched_face_id=each.row, similarity=round(each.similarity, 4))
                for each in decision.suggestions
            ]
        summary.append(_summary(row, stored, decision))
    found = {row.id for row in rows}
    return (
        AssetDecision(
            faces=tuple(rows),
            gone=tuple(row for row in own if asset.reindex and row not in found),
            suggestions=tuple(suggestions),
            faces_to_delete=tuple(sorted(face.face_id for face in small)),
            summary={"faces": summary, "dropped": len(small)},
            look_again=_look_again(asset, changed, matches),
        ),
        _outcome(rows, suggestions, len(small), similarities),
    )


def _look_again(asset: Asset, changed: Sequence[str], matches: Matches) -> tuple[str, ...]:
    """Return the FaceIds that match faces which were not there, or had another person, when later assets were decided.

    An asset that is done in its turn has no later ones that are done. It is another matter where it had failed.
    """
    if asset.attempts == 1 and not asset.again:
        return ()
    return tuple(sorted({other for face_id in changed for other, _ in matches.get(face_id, ())}))


def _row(id_: str, face: Face, stored: KnownFace | None, decision: Decision, *, again: bool) -> FaceRow:
    linked = stored is not None and stored.person_id is not None
    keep = stored is not None and (linked or stored.skipped)
    # Of several links that it could make the system makes the same as if all assets had been done in their order.
    relink = again and linked and stored is not None and not stored.by_user and decision.outcome == "assigned"
    keep = keep and not relink
    return FaceRow(
        id=id_,
        stored=stored is not None,
        keep=keep,
        face_id=face.face_id,
        box=face.box,
        confidence=round(face.confidence / 100, 4),
        needs_person=decision.outcome != "assigned",
        person_id=None if keep else decision.person_id,
        similarity=None if keep or decision.similarity is None else round(decision.similarity / 100, 4),
        relink=relink,
    )


def _summary(row: FaceRow, stored: KnownFace | None, decision: Decision) -> dict[str, object]:
    """Return what assets.face_detection_data says about a face."""
    if row.keep and stored is not None:
        summary: dict[str, object] = {"face_id": row.id, "outcome": "kept"}
        return summary | ({"person_group_id": stored.person_id} if stored.person_id else {})
    summary = {"face_id": row.id, "outcome": decision.outcome}
    if decision.person_id is not None:
        summary["person_group_id"] = decision.person_id
    if decision.similarity is not None:
        summary["similarity"] = round(decision.similarity, 4)
    if decision.suggestions:
        summary["suggestions"] = [
            {"face_id": each.row, "person_group_id": each.person_id, "similarity": round(each.similarity, 4)}
            for each in decision.suggestions
        ]
    return summary


def _outcome(
    rows: Sequence[FaceRow], suggestions: Sequence[Suggestion], small: int, similarities: Sequence[float]
) -> Outcome:
    waiting = [row.id for row in rows if not row.keep and row.needs_person]
    suggested = {each.face_id for each in suggestions}
    return Outcome(
        faces=len(rows),
        dropped=small,
        auto_assigned=sum(row.person_id is not None for row in rows),
        needs_person=len(waiting),
        suggested=len(suggested.intersection(waiting)),
        similarities=tuple(similarities),
    )
