"""The names under which photos are indexed, kept and written into rows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.faces.external_id import external_id_of, is_temporary, number_of_id, number_of_photo, person_pattern
from seedtool.settings import FaceBinding
from seedtool.settings.faces import EXTERNAL_ID

TEMPLATE = FaceBinding(table="t").id_template


def test_a_photo_has_its_name_and_a_class_photo_another():
    assert external_id_of(TEMPLATE, "student-001", 1) == "student-001-photo-1"
    assert is_temporary("temp_attendance_s1_photo1")
    assert not is_temporary("student-001-photo-1")


@given(st.text())
def test_a_name_is_in_rekognitions_alphabet_or_refused(person):
    try:
        name = external_id_of(TEMPLATE, person, 1)
    except ValueError:
        return
    assert EXTERNAL_ID.fullmatch(name)


@pytest.mark.parametrize("person", ["a b", "a/b", "ñ", "x" * 250, "a\n"])
def test_what_rekognition_would_refuse(person):
    with pytest.raises(ValueError, match="ExternalImageId"):
        external_id_of(TEMPLATE, person, 1)


@given(
    st.sampled_from([TEMPLATE, "{n}:{person}", "p.{person}_{n}", "{person}.{n}.jpg", "photo-{n}-{person}"]),
    st.from_regex(r"[a-zA-Z0-9_.\-:]{1,40}", fullmatch=True),
    st.integers(1, 10**9 - 1),
)
def test_person_and_number_come_back_from_a_name(template, person, number):
    name = external_id_of(template, person, number)
    assert number_of_id(template, name) == number
    assert re.search(person_pattern(template), name)[1] == person


@pytest.mark.parametrize(
    ("template", "key", "number"),
    [
        ("students/{person}/photo-{n}.jpg", "students/student-001/photo-7.jpg", 7),
        ("students/{person}/photo-{n}.jpg", "elsewhere/photo-7.png", 7),
        ("students/{person}/photo-{n}.jpg", "photo-7", 7),
        ("students/{person}/photo-{n}.jpg", "students/student-001/portrait-7.jpg", None),
        ("students/{person}/photo-{n}.jpg", "", None),
        ("{person}_{n}.jpg", "ana_12.jpg", 12),
        ("{n}/{person}.jpg", "12/ana.jpg", 12),
        ("a+b/{person}+{n}.jpg", "a+b/ana+3.jpg", 3),
    ],
)
def test_the_number_of_a_kept_photo(template, key, number):
    assert number_of_photo(template, key) == number
