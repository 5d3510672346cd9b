"""What is to become of a face, as a rule over its matches."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedtool.backfill.decisions import MOST_SUGGESTIONS, Candidate, decide, decide_asset, is_small
from seedtool.backfill.journal import Asset
from seedtool.backfill.library import KnownFace
from seedtool.faces.port import Box, Face
from seedtool.settings import Backfill

RULES = Backfill()

ASSET = Asset(
    id="asset", user_id="user", storage_url="1.jpg", file_name="1.jpg", attempts=1, reindex=False, face_ids=()
)  # fmt: skip

candidates = st.lists(
    st.builds(
        Candidate,
        st.uuids().map(str),
        st.one_of(st.none(), st.sampled_from(["ana", "ben", "caro"])),
        st.sampled_from([0.0, 79.9999, 80.0, 88.0, 94.9999, 95.0, 97.5, 100.0]),
    ),
    max_size=30,
)


@given(candidates)
@example([Candidate("row", "ana", 95.0)])
@example([Candidate("row", "ana", 80.0)])
@example([Candidate("row", "ana", 88.0), Candidate("other", "ana", 80.0)])
def test_the_rule_holds_for_any_matches(found):
    decision = decide(found, RULES)
    sure = [each.similarity for each in found if each.person_id and each.similarity >= 95]
    near = [each for each in found if each.similarity >= 80]
    if sure:
        assert decision.outcome == "assigned"
        assert decision.similarity == max(sure)
        best = [each.person_id for each in found if each.person_id and each.similarity == max(sure)]
        assert decision.person_id == best[0]  # of equals the earlier one
        assert decision.suggestions == ()
    elif near:
        assert decision.outcome == "review"
        assert decision.person_id is None
        told = [each.similarity for each in decision.suggestions]
        assert told == sorted(told, reverse=True)
        assert told[0] == decision.similarity == max(each.similarity for each in near)
        persons = [each.person_id for each in decision.suggestions if each.person_id]
        assert len(persons) == len(set(persons))
        assert len(told) <= MOST_SUGGESTIONS
        if len(told) < MOST_SUGGESTIONS:
            assert set(persons) == {each.person_id for each in near if each.person_id}
    else:
        assert decision.outcome == "new"
        assert decision.suggestions == ()


@pytest.mark.parametrize(
    ("width", "height", "small"),
    [(0.029, 0.029, True), (0.03, 0.029, False), (0.029, 0.03, False), (0.03, 0.03, False), (0.5, 0.01, False)],
)
def test_a_face_is_small_only_when_it_is_so_both_ways(width, height, small):
    assert is_small(Box(0, 0, width, height), RULES) is small


def face(name, left):
    return Face(face_id=name, confidence=99.98765, box=Box(left, 0.1, 0.2, 0.2))


def known(row, face_id, left, person=None, **more):
    box = Box(left, 0.1, 0.2, 0.2)
    return KnownFace(id=row, face_id=face_id, box=box, person_id=person, **{"own": False, "skipped": False} | more)


def test_matches_that_are_no_faces_of_earlier_assets_do_not_count():
    matches = {"new": [("later", 100.0), ("early", 96.0), ("unknown", 99.0)]}
    decided, outcome = decide_asset(
        [face("new", 0.1)], [], [known("row", "early", 0.5, "ana")], matches, RULES, asset=ASSET
    )
    assert decided.faces[0].person_id == "ana"
    assert decided.faces[0].similarity == 0.96
    assert decided.faces[0].confidence == 0.9999
    assert (outcome.faces, outcome.auto_assigned, outcome.similarities) == (1, 1, (96.0,))


def test_of_equally_alike_faces_the_earlier_one_decides_whatever_the_order_of_the_answer():
    earlier = [known("one", "b", 0.1, "ana"), known("two", "a", 0.5, "ben")]
    for answer in ([("a", 97.0), ("b", 97.0)], [("b", 97.0), ("a", 97.0)]):
        decided, _ = decide_asset([face("new", 0.1)], [], earlier, {"new": answer}, RULES, asset=ASSET)
        assert decided.faces[0].person_id == "ana"


def test_rows_that_are_there_are_kept_by_their_boxes():
    own = [
        known("named", "old-1", 0.0, "ana", own=True),
        known("left-alone", "old-2", 0.3, own=True, skipped=True),
        known("waiting", "old-3", 0.6, own=True),
        known("vanished", "old-4", 0.95, own=True),
    ]
    faces = [face("new-1", 0.01), face("new-2", 0.31), face("new-3", 0.61)]
    matches = {name: [("early", 99.0)] for name in ("new-1", "new-2", "new-3")}
    early = known("early", "early", 0.5, "ben")
    for reindex in (True, False):
        decided, _ = decide_asset(
            faces, [], [early, *own], matches, RULES, asset=msgspec.structs.replace(ASSET, reindex=reindex)
        )
        told = {row.id: (row.stored, row.keep, row.person_id, row.face_id) for row in decided.faces}
        assert told == {
            "named": (True, True, None, "new-1"),
            "left-alone": (True, True, None, "new-2"),
            "waiting": (True, False, "ben", "new-3"),
        }
        assert decided.gone == (("vanished",) if reindex else ())


def test_deciding_again_changes_the_systems_links_and_no_decision_of_a_user():
    own = [
        known("by-system", "1", 0.0, "ana", own=True),
        known("by-user", "2", 0.2, "ana", own=True, by_user=True),
        known("skipped", "3", 0.4, own=True, skipped=True),
        known("waiting", "4", 0.6, own=True),
        known("unlike", "5", 0.8, "ana", own=True),
    ]
    faces = [face(each.face_id, each.box.left) for each in own]
    matches = {face_id: [("early", 99.0), (f"later-{face_id}", 96.0)] for face_id in "1234"}
    again = msgspec.structs.replace(ASSET, again=True)
    decided, _ = decide_asset(faces, [], [known("early", "early", 0.5, "ben"), *own], matches, RULES, asset=again)
    told = {row.id: (row.keep, row.relink, row.person_id) for row in decided.faces}
    assert told == {
        "by-system": (False, True, "ben"),
        "by-user": (True, False, None),
        "skipped": (True, False, None),
        "waiting": (False, False, "ben"),
        "unlike": (True, False, None),
    }
    assert decided.look_again == ("early", "later-1", "later-4")


def test_only_an_asset_that_was_started_before_may_change_what_was_decided_later():
    own = known("row", "old", 0.1, own=True)
    for attempts, reindex, rows, expected in (
        (1, False, [], ()),
        (2, False, [], ("later",)),
        (2, True, [], ("later",)),
        (2, True, [own], ()),
    ):
        asset = msgspec.structs.replace(ASSET, attempts=attempts, reindex=reindex)
        decided, _ = decide_asset([face("new", 0.1)], [], rows, {"new": [("later", 90.0)]}, RULES, asset=asset)
        assert decided.look_again == expected
