"""The names under which photos are indexed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.faces.external_id import PATTERN, for_photo, is_temporary


def test_a_photo_has_its_name_and_a_class_photo_another():
    assert for_photo("student-001", 1) == "student-001-photo-1"
    assert is_temporary("temp_attendance_s1_photo1")
    assert not is_temporary("student-001-photo-1")


@given(st.text())
def test_a_name_is_in_rekognitions_alphabet_or_refused(student_id):
    try:
        name = for_photo(student_id, 1)
    except ValueError:
        return
    assert PATTERN.fullmatch(name)


@pytest.mark.parametrize("student_id", ["a b", "a/b", "ñ", "x" * 250, "a\n"])
def test_what_rekognition_would_refuse(student_id):
    with pytest.raises(ValueError, match="ExternalImageId"):
        for_photo(student_id, 1)
