"""Which row is which face of a photo, by their boxes."""

from hypothesis import given
from hypothesis import strategies as st

from seedtool.faces.boxes import Candidate, Row, match, overlap
from seedtool.faces.port import Box


def test_overlap_is_intersection_over_union():
    assert overlap(Box(0, 0, 2, 2), Box(0, 0, 2, 2)) == 1
    assert overlap(Box(0, 0, 2, 2), Box(1, 0, 2, 2)) == 2 / 6
    assert overlap(Box(0, 0, 1, 1), Box(1, 0, 1, 1)) == 0
    assert overlap(Box(0, 0, 1, 1), Box(0, 0, 0, 0)) == 0


def test_half_is_the_same_face_and_less_is_another():
    row = Row("r", None, Box(0, 0, 0.2, 0.2))
    assert match([row], [Candidate("f", Box(0, 0, 0.2, 0.1))]) == {"r": "f"}
    assert match([row], [Candidate("f", Box(0, 0, 0.2, 0.099))]) == {}


def test_the_best_pair_comes_first_though_another_choice_would_match_more_rows():
    # b overlaps both faces; it is the better match of the first, so a gets none
    a, b = Row("a", None, Box(0, 0, 0.10, 0.1)), Row("b", None, Box(0.02, 0, 0.10, 0.1))
    first, second = Candidate("1", Box(0.02, 0, 0.10, 0.1)), Candidate("2", Box(0.05, 0, 0.10, 0.1))
    assert match([a, b], [first, second]) == {"b": "1"}


def test_ties_go_to_the_least_face_id():
    row = Row("r", None, Box(0, 0, 0.2, 0.2))
    twins = [Candidate(face_id, Box(0, 0, 0.2, 0.2)) for face_id in ("b", "a")]
    assert match([row], twins) == match([row], twins[::-1]) == {"r": "a"}


def test_a_row_keeps_the_face_it_has_though_its_box_no_longer_fits():
    rows = [Row("kept", "1", Box(0.8, 0.8, 0.1, 0.1)), Row("free", None, Box(0, 0, 0.1, 0.1))]
    assert match(rows, [Candidate("1", Box(0, 0, 0.1, 0.1)), Candidate("2", Box(0.5, 0, 0.1, 0.1))]) == {"kept": "1"}


def test_of_two_rows_with_the_same_face_one_keeps_it():
    box = Box(0, 0, 0.1, 0.1)
    rows = [Row("b", "1", box), Row("a", "1", box)]
    assert match(rows, [Candidate("1", box), Candidate("2", box)]) == {"a": "1", "b": "2"}


def test_a_row_without_a_box_is_matched_only_when_it_is_alone_with_one_face():
    box = Box(0, 0, 0.1, 0.1)
    assert match([Row("r", None, None)], [Candidate("1", box)]) == {"r": "1"}
    assert match([Row("r", None, None)], [Candidate("1", box), Candidate("2", box)]) == {}
    assert match([Row("r", None, None), Row("s", "1", box)], [Candidate("1", box), Candidate("2", box)]) == {"s": "1"}
    assert match([Row("r", None, None), Row("s", None, box)], [Candidate("1", box)]) == {"s": "1"}


def places(count):
    """So many boxes that do not overlap, in rows of five."""
    return [Box(0.02 + n % 5 * 0.19, 0.05 + n // 5 * 0.3, 0.12, 0.2) for n in range(count)]


any_boxes = st.lists(
    st.builds(
        Box,
        *[st.floats(-0.05, 0.9, allow_subnormal=False)] * 2,
        *[st.floats(0.02, 0.5, allow_subnormal=False)] * 2,
    ),
    min_size=2,
    max_size=15,
    unique=True,
)


@given(boxes=any_boxes, data=st.data())
def test_a_perfect_permutation_is_always_recovered(boxes, data):
    # of boxes so alike that their overlap rounds to 1, either is right
    boxes = [box for n, box in enumerate(boxes) if all(overlap(box, other) < 1 - 1e-9 for other in boxes[:n])]
    rows = [Row(f"row-{n}", None, box) for n, box in enumerate(boxes)]
    order = data.draw(st.permutations(range(len(boxes))))
    faces = [Candidate(f"face-{order[n]:02}", box) for n, box in enumerate(boxes)]
    expected = {f"row-{n}": f"face-{order[n]:02}" for n in range(len(boxes))}
    found = match(data.draw(st.permutations(rows)), data.draw(st.permutations(faces)))
    assert found == expected


@given(
    count=st.integers(2, 15),
    jitter=st.lists(st.tuples(*[st.floats(-0.01, 0.01)] * 4), min_size=15, max_size=15),
    missing=st.sets(st.integers(0, 14), max_size=4),
    extra=st.sets(st.integers(0, 14), max_size=4),
    data=st.data(),
)
def test_jittered_missing_and_further_faces(count, jitter, missing, extra, data):
    boxes = places(count)
    rows = [Row(f"row-{n}", None, box) for n, box in enumerate(boxes) if n not in extra]
    faces = [
        Candidate(
            f"face-{(n * 7) % 16:02}",
            Box(box.left + dl, box.top + dt, box.width + dw, box.height + dh),
        )
        for n, (box, (dl, dt, dw, dh)) in enumerate(zip(boxes, jitter, strict=False))
        if n not in missing
    ]
    expected = {f"row-{n}": f"face-{(n * 7) % 16:02}" for n in range(count) if n not in missing | extra}
    assert match(data.draw(st.permutations(rows)), data.draw(st.permutations(faces))) == expected


@given(
    rows=st.lists(st.builds(Row, st.text("rst", min_size=1, max_size=3), st.sampled_from([None, "1", "2", "x"]),
        st.none() | st.sampled_from(places(3))), unique_by=lambda row: row.key, max_size=6),
    faces=st.lists(st.builds(Candidate, st.sampled_from("123456"), st.sampled_from(places(4))),
        unique_by=lambda face: face.face_id, max_size=6),
    data=st.data(),
)  # fmt: skip
def test_each_row_and_face_once_whatever_the_order(rows, faces, data):
    found = match(rows, faces)
    assert found == match(data.draw(st.permutations(rows)), data.draw(st.permutations(faces)))
    assert len(set(found.values())) == len(found)
    by_id = {face.face_id: face for face in faces}
    for row in rows:
        if row.key in found and row.face_id != found[row.key] and row.box is not None:
            assert overlap(row.box, by_id[found[row.key]].box) >= 0.5
    again = [Row(row.key, found.get(row.key, row.face_id), row.box) for row in rows]
    assert found.items() <= match(again, faces).items()
