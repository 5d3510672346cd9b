"""Row numbers: closed forms against counting one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedtool.generating.numbering import Numbering
from seedtool.generating.recipe import Count, Place

NOWHERE = Place(1, 1)
decks = st.lists(st.integers(0, 5), min_size=1, max_size=7).filter(any).map(tuple)


def absolute(table, rows, *, scaled=True, units=1):
    return Numbering(table, Count(rows=rows, scaled=scaled, place=NOWHERE), units, None, seed=b"1")


def per(parent, table, deck, *, shuffled=True):
    count = Count(per=parent.table, deck=deck, shuffled=shuffled, place=NOWHERE)
    return Numbering(table, count, 1, parent, seed=b"1")


@given(decks, st.integers(1, 40), st.booleans())
def test_children_are_numbered_parent_by_parent(deck, parents, shuffled):
    above = absolute("parents", parents)
    below = per(above, "children", deck, shuffled=shuffled)
    firsts = below.first_children(np.arange(parents + 1))
    counts = np.diff(firsts)
    assert firsts[0] == 0
    assert below.total(1) == firsts[-1]
    for deal in range(parents // len(deck)):
        dealt = counts[deal * len(deck) : (deal + 1) * len(deck)].tolist()
        assert sorted(dealt) == sorted(deck)
        assert shuffled or dealt == list(deck)
    found, ordinals = below.parents(np.arange(below.total(1)))
    assert found.tolist() == np.repeat(np.arange(parents), counts).tolist()
    assert ordinals.tolist() == [number for count in counts for number in range(count)]


@given(decks, st.integers(1, 40), st.integers(1, 4), st.randoms())
def test_a_row_has_the_same_parent_at_each_scale_alone_and_among_others(deck, parents, scale, random):
    above = absolute("parents", parents)
    below = per(above, "children", deck)
    small, large = below.total(1), below.total(scale)
    assert small <= large
    rows = np.arange(large)
    found, _ = below.parents(rows)
    chosen = np.array(random.choices(range(large), k=5)) if large else rows
    assert below.parents(chosen)[0].tolist() == found[chosen].tolist()
    assert (found[:small] < parents).all()
    assert (found[small:] >= parents).all()


def test_a_reference_stays_within_the_nearest_common_ancestor():
    schools = absolute("schools", 3)
    teachers = per(schools, "teachers", (4, 6))
    classes = per(schools, "classes", (2,))
    sessions = per(classes, "sessions", (1, 3))
    rows = np.arange(sessions.total(1))
    span = sessions.span(rows, teachers)
    school = sessions.up(rows, schools)
    for place, row in enumerate(rows):
        meant = np.arange(span.first[place], span.last[place])
        assert len(meant) in {4, 6}
        assert set(teachers.up(meant, schools)) == {school[row]}


def test_without_a_common_ancestor_it_stays_within_the_unit():
    pupils, books = absolute("pupils", 10, units=2), absolute("books", 4, units=2)
    span = pupils.span(np.arange(20), books)
    assert span.first.tolist() == [0] * 5 + [2] * 5 + [4] * 5 + [6] * 5
    assert (span.last - span.first).tolist() == [2] * 20


def test_rows_that_no_scale_multiplies_are_for_all_units():
    pupils, grades = absolute("pupils", 10), absolute("grades", 14, scaled=False)
    span = pupils.span(np.arange(20), grades)
    assert set(zip(span.first.tolist(), span.last.tolist(), strict=True)) == {(0, 14)}
    assert grades.total(9) == 14
