"""What a snapshot remembers survives being written into a comment, whatever it is."""

from datetime import UTC

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedtool.errors import UsageError
from seedtool.printable import is_printable
from seedtool.snapshots.registry import Description, checked_name, checked_note, read, written

SHOWN = st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=100)
DESCRIPTIONS = st.builds(
    Description,
    name=SHOWN,
    target=st.text(min_size=1),
    created=st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat()),
    revisions=st.lists(SHOWN),
    branch=st.none() | SHOWN,
    commit=st.none() | SHOWN,
    note=st.none() | SHOWN,
    size=st.integers(0, 2**50),
)
FIRST = Description(name="first", target="app", created="2026-11-20T12:00:00+00:00", revisions=["0007"])


@settings(max_examples=50)
@given(DESCRIPTIONS, st.integers(1, 2**32 - 1))
def test_what_is_written_is_read(description, oid):
    comment = written(description, oid)
    assert comment.isascii()
    assert "\n" not in comment
    assert read(comment, oid) == description
    assert read(comment) == description
    assert read(comment, oid + 1) is None


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "the database of Ana",
        "[seedtool.managed=abc for 7]",
        "[seedtool.snapshot={} for 7]",
        "[seedtool.snapshot={nonsense} for 7]",
        written(FIRST, 7).replace("first", "\\u001b[31mfirst"),
        written(FIRST, 7).replace("first", "\\ud800"),
        written(FIRST, 7).replace("0007", "\\n"),
        written(FIRST, 7).replace("+00:00", ""),
        written(FIRST, 7).replace("2026-11-20", "yesterday"),
        written(FIRST, 7).replace('"first"', "7"),
    ],
)
def test_what_is_no_description_is_none(comment):
    assert read(comment, 7) is None


def test_a_description_that_cannot_be_shown_cannot_be_made():
    with pytest.raises(ValueError) as caught:
        msgspec.structs.replace(FIRST, branch="\x1b[31m")
    assert type(caught.value) is ValueError


@settings(max_examples=50)
@given(st.text(max_size=120))
def test_a_checked_name_is_stable_and_shown_as_it_is(name):
    try:
        checked = checked_name(name)
    except UsageError:
        return
    assert checked_name(checked) == checked
    assert is_printable(checked)
    assert msgspec.structs.replace(FIRST, name=checked).name == checked


def test_a_note_loses_the_spaces_around_it():
    assert checked_note("  with spaces  ") == "with spaces"
