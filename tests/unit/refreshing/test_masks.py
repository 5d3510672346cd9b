"""Masks: the same original becomes the same value, into a range that production cannot hold."""

import datetime as dt
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedtool.errors import PolicyError
from seedtool.postgres.catalog import Column, UniqueKey, ValueType
from seedtool.refreshing import masks, reindexing
from seedtool.refreshing.policy import TableName

SECRET = b"a secret for the tests of masks, long enough"


def column(type_="text", name=None, *, kind="scalar", part=None, labels=(), not_null=False):
    names = {"integer": "int4", "smallint": "int2", "bigint": "int8", "timestamp with time zone": "timestamptz"}
    base = name or names.get(type_) or ("varchar" if "varying" in type_ else re.sub(r"\(.*", "", type_))
    return Column(
        name="c",
        type=type_,
        not_null=not_null,
        value=ValueType(kind=kind, name=base, part=part),
        default=None,
        default_has_effects=False,
        generated=False,
        identity="",
        is_text=base == "text",
        sequence=None,
        labels=labels,
    )


def masked(line, values, type_="text", subjects=None, secret=SECRET, **more):
    return masks.mask(line, column(type_, **more), secret).of(values, subjects)


# Every mask ###########################################################################################################

#: Masks with columns of their own and originals.
LINES = [
    ({"mask": "shift", "subject": "id"}, "date", ["2012-05-11", "1999-12-31"]),
    ("noise", "numeric", ["12.50", "-3"]),
    ("bijective", "integer", ["1", "77"]),
    ("rut", "text", ["12.345.678-5", "7654321-6"]),
    ("phone", "text", ["+56 9 1234 5678", "none"]),
    ("ip", "inet", ["10.0.0.1", "2001:470::1"]),
    ("uuid", "uuid", ["7b0f6a3e-4c5d-4e6f-8a9b-0c1d2e3f4a5b", "00000000-0000-4000-8000-000000000000"]),
    ({"mask": "json", "paths": {"a": "email"}}, "jsonb", ['{"a": "x@y.cl", "b": "z"}', "[]"]),
    ({"mask": "template", "format": "s-{token}"}, "text", ["a", "b"]),
    ({"mask": "external_image_id", "subject": "digits"}, "text", ["student-001-photo-1", "x"]),
    ({"mask": "photo_key", "subject": "digits"}, "text", ["students/student-001/photo-1.jpg", "x"]),
    ({"mask": "face_placeholder", "subject": "e"}, "text", ["f-1", "f-2"]),
    ({"mask": "full_name", "locale": "es_CL", "surnames": 2}, "text", ["Ana", "Beto"]),
    *((word, "text", ["Ana", "Beto"]) for word in ("email", "token", "digits", "text", "url", "first_name", "company")),
    *((word, "text", ["Ana", "Beto"]) for word in ("address", "last_name", "city", "street", "job", "word")),
]


@pytest.mark.parametrize(("line", "type_", "values"), LINES, ids=lambda value: str(value)[:40])
def test_a_mask_depends_on_the_original_and_the_key_alone(line, type_, values):
    many = [values[0], None, "", values[1], values[0]]
    subjects = ["s", "t", "u", "v", "s"]
    first = masked(line, many, type_, subjects)
    assert first[1] is None
    assert first[2] == ""
    assert first[0] == first[4]
    alone = [masked(line, [value], type_, [subject])[0] for value, subject in zip(many, subjects, strict=True)]
    assert alone == first
    assert masked(line, many[::-1], type_, subjects[::-1]) == first[::-1]
    other = masked(line, values * 20, type_, [f"s{n}" for n in range(40)], b"another secret that is long enough, too")
    assert other != masked(line, values * 20, type_, [f"s{n}" for n in range(40)]) or line == "digits"  # letters stay


def test_the_same_person_is_the_same_in_every_table():
    students = masks.mask("email", column("text"), SECRET).of(["Ana@Colegio.cl"])
    guardians = masks.mask({"mask": "email"}, column("character varying(200)"), SECRET).of(["ana@colegio.cl"])
    assert students == guardians


# Reserved ranges ######################################################################################################


@given(st.lists(st.integers(1_000_000, 199_999_999), min_size=1, max_size=30, unique=True))
def test_ruts_become_ruts_that_nobody_has_and_stay_different(numbers):
    out = masked("rut", [f"{number}-{check(number)}" for number in numbers])
    assert len(set(out)) == len(numbers)
    for rut in out:
        number, digit = rut.split("-")
        assert 200_000_000 <= int(number) <= 999_999_999
        assert check(int(number)) == digit


def check(number):
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(str(number))))
    return "0123456789K0"[(11 - total % 11) % 11]


def test_a_rut_keeps_how_it_is_written():
    forms = masked("rut", ["12.345.678-5", "12345678-5", "123456785", "12345678"])
    assert [re.sub(r"\d", "9", form.replace("K", "9")) for form in forms] == [
        "999.999.999-9",
        "999999999-9",
        "9999999999",
        "999999999",
    ]
    assert len({re.sub(r"\D", "", form)[:9] for form in forms}) == 1
    short = masked({"mask": "rut", "digits": 8}, ["12.345.678-5"])[0]
    assert 37_000_000 <= int(short.split("-")[0].replace(".", "")) <= 44_999_999


@given(st.lists(st.from_regex(r"\+?[0-9 ()-]{1,14}", fullmatch=True), min_size=1, max_size=20))
def test_phones_of_different_digits_stay_different(numbers):  # xataio/pgstream 1136
    out = dict(zip(numbers, masked("phone", numbers), strict=True))
    assert all(re.fullmatch(r"\+999\d{12}", value) for value in out.values())
    digits = {number: re.sub(r"\D", "", number) for number in numbers}
    short = {number: figures for number, figures in digits.items() if 0 < len(figures) < 12}
    assert len({out[number] for number in short}) == len(set(short.values()))


def test_mail_goes_to_a_domain_that_never_exists_and_fits_a_short_column():
    assert re.fullmatch(r"[a-z.]+\.\w{12}@masked\.invalid", masked("email", ["Ana@x.cl"])[0])
    assert re.fullmatch(r"\w{12}@masked\.invalid", masked("email", ["Ana@x.cl"], "character varying(30)")[0])


def test_each_reserved_range_knows_its_values():
    """The condition in SQL stands in the database's test; here each range has words."""
    for word in ("email", "phone", "rut", "ip", "url"):
        assert masks.mask(word, column(), SECRET).reserved.what


# Numbers and dates ####################################################################################################


@given(st.lists(st.integers(-32_767, 32_767), min_size=1, max_size=40, unique=True), st.integers(1, 32_767))
def test_whole_numbers_are_exchanged(numbers, most):
    out = masked({"mask": "bijective", "max": most}, [str(number) for number in numbers], "smallint")
    assert len(set(out)) == len(numbers)
    assert all(abs(int(new)) <= most for new, old in zip(out, numbers, strict=True) if abs(old) <= most)


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=40, unique=True), st.integers(1, 10**18 - 1))
def test_numbers_of_64_bits_are_exchanged(numbers, most):
    given_numbers = [*numbers, 10**18 - 1, 10**18, 2**63 - 1]
    out = masked({"mask": "bijective", "max": most}, [str(number) for number in given_numbers], "bigint")
    assert len(set(out)) == len(set(given_numbers))
    assert all((abs(int(new)) < 10**18) == (abs(old) < 10**18) for new, old in zip(out, given_numbers, strict=True))


@pytest.mark.parametrize(
    ("value", "type_"),
    [("9223372036854775808", "numeric"), ("-9223372036854775808", "bigint"), ("A12", "text"), ("1.5", "numeric"),
     ("40000", "smallint")],
)  # fmt: skip
def test_what_bijective_cannot_read_is_refused_without_the_value(value, type_):
    with pytest.raises(PolicyError) as refused:
        masked("bijective", ["7", value], type_)
    assert value not in refused.value.message
    assert '"token"' in refused.value.remedy


@pytest.mark.parametrize("type_", ["text", "numeric(12,0)", "bigint", "character varying(9)"])
def test_bijective_is_tried_with_whole_numbers_whatever_the_type(type_):
    made = masks.mask({"mask": "bijective", "max": 999}, column(type_), SECRET)
    assert len({*masks.samples(made, column(type_))}) == 50


def test_an_id_of_a_photo_that_its_mask_refuses_is_told_with_its_column():
    table = TableName("public", "faces")
    refusing = {(table, "image"): masks.mask("bijective", column(), SECRET)}
    with pytest.raises(PolicyError) as refused:
        reindexing._masked(refusing, table, "image", ["pupil-7"])
    assert refused.value.place == {"table": "faces", "column": "image"}
    assert reindexing._masked({}, table, "image", ["pupil-7"]) == ["pupil-7"]


def test_digits_of_one_length_are_exchanged_and_letters_stay():
    ids = [f"student-{number:03}" for number in range(1000)]
    out = masked("digits", ids)
    assert sorted(out) == ids
    assert out != ids


@given(st.lists(st.dates(), min_size=2, max_size=2), st.text(min_size=1, max_size=5))
def test_the_dates_of_a_subject_keep_their_distance(dates, subject):
    dates = [min(max(day, dt.date(2, 1, 1)), dt.date(9990, 1, 1)) for day in dates]
    out = masked({"mask": "shift", "subject": "id", "days": 30}, [str(day) for day in dates], "date", [subject] * 2)
    new = [dt.date.fromisoformat(day) for day in out]
    assert new[1] - new[0] == dates[1] - dates[0]
    assert 1 <= abs((new[0] - dates[0]).days) <= 30


def test_times_and_dates_out_of_the_ordinary():  # xataio/pgstream 451
    line = {"mask": "shift", "subject": "id"}
    values = ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "2024-02-29 10:11:12.5+00"]
    out = masked(line, values, "timestamp with time zone", ["a"] * 5)
    assert out[:2] == values[:2]
    assert re.fullmatch(r"004[345]-\d\d-\d\d BC", out[2])
    assert out[4].endswith(" 10:11:12.5+00")
    assert len({*out, *values}) == 8


def test_noise_stays_within_bounds_and_keeps_the_decimals():
    values = ["100", "100.50", "-3", "0", "NaN", "Infinity", "99999.99"]
    out = masked("noise", values, "numeric(7,2)", name="numeric")
    assert out[4:6] == ["NaN", "Infinity"]
    assert [len(new.partition(".")[2]) for new in out] == [0, 2, 0, 0, 0, 0, 2]
    assert all(
        abs(float(new) - float(old)) <= max(abs(float(old)) * 0.1, 1)
        for new, old in zip(out, values, strict=True)
        if old[0] not in "NI"
    )
    assert float(out[6]) <= 99999.99
    bound = masked(
        {"mask": "noise", "percent": 100, "min": 95, "max": 105}, [str(n) for n in range(90, 110)], "integer"
    )
    assert all(95 <= int(new) <= 105 for new in bound)


# JSON and arrays ######################################################################################################


def test_json_is_masked_by_paths_and_what_no_path_names_is_masked_too():  # xataio/pgstream 545
    document = {
        "name": "Ana",
        "contacts": [{"mail": "a@b.cl", "p": None}, {"mail": "c@d.cl"}],
        "secret": "x",
        "n": 7,
        "ok": True,
    }
    line = {"mask": "json", "paths": {"name": "first_name", "contacts[].mail": "email"}}
    (text,) = masked(line, [json.dumps(document)], "jsonb")
    new = json.loads(text)
    assert "a@b.cl" not in text
    assert new["contacts"][0]["mail"] == masked("email", ["a@b.cl"])[0]
    assert new["contacts"][0]["p"] is None
    assert (new["n"], new["ok"]) == (0, True)
    assert new["secret"] != "x"
    assert list(new) == list(document)


def test_json_keeps_what_is_kept_as_it_was_written():
    line = {"mask": "json", "paths": {"a": "keep", "by.~": "token", "deep": "token", '"a.b"': "null"}, "others": "keep"}
    (text,) = masked(
        line, ['{"a": 1.500, "by": {"Ana": 1e400}, "deep": [["q"]], "a.b": "z", "n": 12345678901234567890123}'], "json"
    )
    assert '"a": 1.500' in text
    assert '"n": 12345678901234567890123' in text
    new = json.loads(text)
    assert "Ana" not in text
    assert new["a.b"] is None
    assert new["deep"][0][0] == masked("token", ["q"])[0]


def test_elements_of_arrays():  # GreenmaskIO/greenmask 324
    text = ValueType(kind="scalar", name="text")
    values = ['{Ana,"B ñ",NULL,"NULL"}', "{{a,b},{c,d}}", "[0:1]={Ana,b}", "{}", None]
    out = masked("first_name", values, "text[]", name="_text", kind="array", part=text)
    ana, null = masked("first_name", ["Ana", "NULL"])
    assert out[0].startswith(f'{{"{ana}",')
    assert out[0].endswith(f',NULL,"{null}"}}')
    assert out[1].count("{") == 3
    assert out[2].startswith(f'{{"{ana}"')
    assert out[3:] == ["{}", None]


def test_the_dates_of_an_array_are_shifted_as_their_subjects_others_are():
    date = ValueType(kind="scalar", name="date")
    line = {"mask": "shift", "subject": "id"}
    made = masks.mask(line, column("date[]", name="_date", kind="array", part=date), SECRET)
    alone = masks.mask(line, column("date"), SECRET)
    assert made.subject == "id"
    first, second = alone.of(["2012-05-11", "infinity"], ["7", "7"])
    assert made.of(["{2012-05-11,NULL,infinity}", None], ["7", "8"]) == [f'{{"{first}",NULL,"{second}"}}', None]


@pytest.mark.parametrize(
    "value", ["Ana Soto, no JSON", '{"name": ', "[" * 5000 + "]" * 5000, r'{"name": "Ana \ud800 Soto", "Ana \ud800": 1}'],
    ids=["a text", "half a value", "a deep value", "half a pair"],
)  # fmt: skip
def test_what_is_no_proper_json_is_masked_as_a_whole(value):
    line = {"mask": "json", "paths": {"name": "first_name"}, "others": "keep"}
    for kind in ("json", "text"):
        (out,) = masks.mask(line, column(kind), SECRET).of([value])
        assert "Soto" not in out
        assert len(out) < 90
        json.loads(out)
    masks.samples(masks.mask(line, column("text"), SECRET), column("text"))


# Faces ################################################################################################################


def test_ids_within_ids_are_masked_with_their_subject():
    (subject,) = masked("digits", ["student-001"])
    line = {"mask": "external_image_id", "subject": "digits"}
    assert masked(line, ["student-001-photo-2"]) == [f"{subject}-photo-2"]
    assert masked({"mask": "photo_key", "subject": "digits"}, ["students/student-001/photo-2.jpg"]) == [
        f"students/{subject}/photo-2.jpg"
    ]
    (unknown,) = masked(line, ["juan-perez.jpg"])
    assert "juan" not in unknown
    kept = masked({"mask": "external_image_id", "subject": "keep"}, ["student-001-photo-2", "juan"])
    assert kept[0] == "student-001-photo-2"
    assert "juan" not in kept[1]


def test_a_face_becomes_the_placeholder_of_the_copys_own_id():
    line = {"mask": "face_placeholder", "subject": "external_image_id", "subject_mask": "digits"}
    faces = masked(line, ["f-1", "f-2", None], subjects=["student-001-photo-1", None, "student-002-photo-1"])
    (image,) = masked({"mask": "external_image_id", "subject": "digits"}, ["student-001-photo-1"])
    assert faces[0] == f"placeholder:{image}"
    assert re.fullmatch(r"placeholder:\w{12}", faces[1])
    assert faces[2] is None


# Blocks ###############################################################################################################


def test_one_long_cell_does_not_widen_the_rows_beside_it():
    from seedtool.refreshing.blocks import Rewriter

    line = masks.mask({"mask": "json", "paths": {"a": "token"}}, column("jsonb"), SECRET)
    rows = [b'1\t{"a": "x"}\n'] * 3000 + [b'2\t{"b": "' + b"y" * 1_000_000 + b'", "a": "x"}\n'] + [b"3\t\\N\n"] * 3000
    rewriter = Rewriter(2, {1: line}, arrow=False)
    out = bytes(rewriter.feed(b"".join(rows))).splitlines()  # as one matrix this would be 6 GB
    assert len(out) == 6001
    assert out[0] == out[2999]
    assert out[6000] == b"3\t\\N"
    assert len(out[3000]) < 100


# What does not fit ####################################################################################################


@pytest.mark.parametrize(
    ("line", "shape", "word"),
    [
        ("null", {"type_": "text", "not_null": True}, "NOT NULL"),  # GreenmaskIO/greenmask 465
        ("company", {"type_": "character varying(5)"}, "holds 5"),
        ("rut", {"type_": "character varying(12)"}, "holds 12"),
        ("email", {"type_": "integer"}, "integer"),
        ("email", {"type_": "tsvector"}, "tsvector"),
        ("first_name", {"type_": "mood", "labels": ("happy", "sad")}, "mood"),
        ("first_name", {"type_": "point"}, "point"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_the_reason(line, shape, word):
    with pytest.raises(PolicyError, match=word) as raised:
        masks.mask(line, column(**shape), SECRET)
    assert raised.value.place["column"] == "c"
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("emial", "email"),
        ({"mask": "rut", "digit": 8}, "digits"),
        ({"mask": "rut", "digits": "8"}, "whole number"),
        ({"mask": "rut", "digits": 7}, "8 or 9"),
        ("sequence", "There are"),
        ({"mask": "json", "paths": {"a": "emial"}}, "email"),
        ({"mask": "json", "paths": {"a[x": "email"}}, "path"),
        ({"mask": "shift"}, "subject"),
        ({"mask": "choice", "values": []}, "list of values"),
        ({"mask": "external_image_id", "form": "{x}"}, "subject"),
        ({"mask": "first_name", "sex_of": "sex"}, "sex"),
    ],
    ids=str,
)
def test_a_wrong_line_says_what_is_meant(line, word):
    with pytest.raises(PolicyError) as raised:
        masks.mask(line, column("jsonb" if "json" in str(line) else "text"), SECRET)
    assert word in f"{raised.value} {raised.value.remedy}"
    assert raised.value.remedy


def test_unique_keys_are_checked_before_a_row_is_read():
    def key(*columns, expressions=None):
        return UniqueKey(
            name="k",
            primary=False,
            columns=columns,
            expressions=expressions or columns,
            predicate=None,
            immediate=True,
            nulls_distinct=True,
        )

    name, mail = masks.mask("first_name", column(), SECRET), masks.mask("email", column(), SECRET)
    day = masks.mask({"mask": "shift", "subject": "student"}, column("date"), SECRET)
    assert masks.fits_key({"a": mail}, key("a")) == []
    assert len(masks.fits_key({"a": name}, key("a"))) == 1
    assert masks.fits_key({"student": None, "day": day}, key("student", "day")) == []
    assert len(masks.fits_key({"student": name, "day": day}, key("student", "day"))) == 2
    assert masks.fits_key({"a": mail}, key(expressions=("lower(a)",))) == []
    assert len(masks.fits_key({"a": mail}, key(expressions=("left(a, 3)",)))) == 1


@given(st.lists(st.text(max_size=600), min_size=1, max_size=6))
def test_a_text_is_never_longer_than_it_was_and_holds_no_word_of_it(texts):
    clean = [text.replace("\0", "") for text in texts]
    for old, new in zip(clean, masked({"mask": "text", "longest": 200}, clean), strict=True):
        assert len(new.encode()) <= max(min(len(old.encode()), 200), 0)
