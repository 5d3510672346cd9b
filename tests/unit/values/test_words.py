"""What words make: values that fit, that agree with each other, and that do not depend on how they are asked for."""

import datetime as dt
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from seedtool.errors import SeedError
from seedtool.values import pools
from seedtool.values.cells import Cells
from seedtool.values.hashing import key_of, stream
from seedtool.values.kinds import WORDS, Context, agree, kind, line
from seedtool.values.permutation import permute

KEY = key_of(b"tests", "rows")


def of(word, count=1000, columns=None, folder=None, **parameters):
    rows = np.arange(count, dtype=np.int64)
    given = {name: Cells.of(values) for name, values in (columns or {}).items()}
    made = kind(word, folder=folder, **parameters).make(stream(KEY, rows), Context(rows, given))
    return [None if value is None else value.decode() for value in made.tolist()]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Each example of the guide as a kind, with the other columns that it needs."""
    path = Path(__file__).parents[3] / "docs" / "write_words.py"
    spec = importlib.util.spec_from_file_location("write_words", path)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    folder = writer.lay_out(tmp_path_factory.mktemp("project"))
    return {
        example: [(name, line(given, folder)) for name, given in tomllib.loads(example).items()]
        for examples in writer.EXAMPLES.values()
        for example in examples
    }


def test_no_value_depends_on_the_batch_or_on_other_rows(examples):
    def made(kinds, rows):
        columns = {}
        for name, one in kinds:
            columns[name] = one.make(stream(key_of(b"t", name), rows), Context(rows, columns))
        return columns[kinds[-1][0]].tolist()

    for example, kinds in examples.items():
        rows = np.arange(200, dtype=np.int64)
        whole = made(kinds, rows)
        parts = [made(kinds, rows[at : at + 7]) for at in range(0, 200, 7)]
        assert [value for part in parts for value in part] == whole, example
        assert made(kinds, rows[::-1]) == whole[::-1], example


def test_what_a_kind_says_of_itself_is_true(examples):
    for example, kinds in examples.items():
        made = kinds[-1][1]
        columns = {}
        rows = np.arange(500, dtype=np.int64)
        for name, one in kinds:
            columns[name] = one.make(stream(key_of(b"t", name), rows), Context(rows, columns))
        values = columns[kinds[-1][0]].tolist()
        assert all(value is None or len(value.decode()) <= made.longest for value in values), example
        assert made.nullable or None not in values, example
        assert not made.distinct or len(set(values)) == 500, example
        assert set(made.needs) == {name for name, _ in kinds[:-1]}, example
        if made.capacity is not None and made.nth is not None:
            numbers = permute(KEY, np.arange(min(made.capacity, 500), dtype=np.uint64), made.capacity)
            assert len(set(made.nth(numbers).tolist())) == len(numbers), example


def test_null_is_a_share():
    values = of("city", 20_000, nulls=0.25)
    assert 0.23 < values.count(None) / 20_000 < 0.27
    assert [value for value in of("city", 20_000) if value] != values
    assert of("city", 100, nulls=1) == [None] * 100
    there = [value for value in values if value is not None]
    assert set(there) <= set(of("city", 20_000))  # the rows that are not NULL keep their values
    assert all(value in {None, same} for value, same in zip(values, of("city", 20_000), strict=True))


# People ###############################################################################################################


def test_the_columns_of_a_person_agree():
    lines = agree(
        {
            "sex": ("sex", {"female": "F", "male": "M"}),
            "first": ("first_name", {"locale": "es_CL"}),
            "last": ("last_name", {"locale": "es_CL"}),
            "name": ("full_name", {}),
            "mail": ("email", {}),
        }
    )
    rows = np.arange(300, dtype=np.int64)
    columns = {}
    for name, (word, parameters) in lines.items():
        columns[name] = kind(word, **parameters).make(stream(key_of(b"t", name), rows), Context(rows, columns))
    people = zip(*(cells.tolist() for cells in columns.values()), strict=True)
    women, men = (
        {value.decode() for value in pools.pool(f"first_name_{sex}", "es_CL").cells.tolist()}
        for sex in ("female", "male")
    )
    for number, person in enumerate(people, 1):
        sex, first, last, name, mail = (value.decode() for value in person)
        assert first in (women if sex == "F" else men)
        assert name == f"{first} {last}"
        assert mail.partition("@")[0].endswith(f".{number}")
        assert mail[0] == plain(first[0].lower())
        assert re.fullmatch(r"[a-z.]+\.\d+@example\.(com|net|org)", mail)


def plain(letter):
    import unicodedata

    return unicodedata.normalize("NFD", letter)[0]


def test_words_that_stand_in_two_columns_are_left_alone():
    lines = {"a": ("first_name", {}), "b": ("first_name", {}), "c": ("last_name", {}), "mail": ("email", {})}
    assert agree(lines) == lines


def test_a_sex_of_other_words_is_understood():
    sexes = ["F", "mujer", "Female", "M", "hombre", None]
    names = of("first_name", 6, {"s": sexes}, sex_of="s", locale="es_CL")
    women = {value.decode() for value in pools.pool("first_name_female", "es_CL").cells.tolist()}
    assert [name in women for name in names[:3]] == [True] * 3
    told = of("first_name", 6, {"s": ["Dame"] * 6}, sex_of="s", female=["dame"])
    assert set(told) <= {value.decode() for value in pools.pool("first_name_female").cells.tolist()}


def test_names_become_plain_letters_in_an_address():
    names = ["Ñandú Øre", "JOSÉ  Łuk", "李", None, ""]
    assert of("email", 5, {"n": names}, of=["n"], domain="x.cl", numbered=False) == [
        "nandu.ore@x.cl", "jose..luk@x.cl", "user@x.cl", "user@x.cl", "user@x.cl",
    ]  # fmt: skip


def test_ruts_have_their_check_digits():
    for rut in of("rut"):
        number, digit = rut.replace(".", "").split("-")
        total = sum(int(figure) * (2 + place % 6) for place, figure in enumerate(reversed(number)))
        assert digit == "0123456789K0"[11 - total % 11]
        assert 5_000_000 <= int(number) <= 28_000_000
    assert of("rut", 1, format="dash", min=12_345_678, max=12_345_678) == ["12345678-5"]
    assert "K" in {rut[-1] for rut in of("rut")}


def test_frequent_names_are_frequent():
    names = of("first_name", 50_000, locale="es_CL", sex="female")
    share = names.count("María") / 50_000  # 6,180 of 65,536 in the pool
    assert 0.085 < share < 0.105


# Numbers and times ####################################################################################################


def test_numbers_around_a_mean():
    values = np.array([float(value) for value in of("normal", 50_000, mean=170, deviation=10, places=2)])
    assert abs(values.mean() - 170) < 0.2
    assert abs(values.std() - 10) < 0.2
    assert 0.67 < (abs(values - 170) < 10).mean() < 0.695
    assert set(of("normal", 5000, mean=5, deviation=4, min=1, max=7)) == {str(number) for number in range(1, 8)}


def test_small_numbers_are_frequent_in_a_skewed_column():
    values = np.array([int(value) for value in of("skewed", 50_000, min=10, max=1010, power=3)])
    assert values.min() == 10
    assert values.max() > 1000
    assert abs(np.median(values) - 135) < 10  # 10 + 1000 * 0.5**3


def test_decimals_and_whole_numbers_keep_their_bounds():
    values = of("decimal", 5000, min="-0.05", max=0.05)
    assert set(values) == {f"{number / 100:.2f}" for number in range(-5, 6)}
    assert set(of("integer", 5000, min=-3, max=3, step=3)) == {"-3", "0", "3"}
    assert max(int(value) for value in of("integer", 1000, min=2**61, max=2**62)) <= 2**62


def test_a_day_of_a_season():
    days = [
        dt.date.fromisoformat(day)
        for day in of(
            "date", 5000, min="2024-01-01", max="2026-12-31", months=[0, 0, 1] + [0] * 9, weekdays=[1, 0, 0, 0, 0, 0, 0]
        )
    ]
    assert {(day.month, day.weekday()) for day in days} == {(3, 0)}
    assert {day.year for day in days} == {2024, 2025, 2026}
    every = set(of("date", 20_000, min="2024-02-27", max=dt.date(2024, 3, 2)))
    assert every == {"2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"}


def test_working_hours():
    times = [
        dt.datetime.fromisoformat(time)
        for time in of("timestamp", 3000, min="2026-01-01", max="2026-06-30", pattern="working hours", zone="-03")
    ]
    assert {time.weekday() for time in times} == {0, 1, 2, 3, 4}
    assert {time.hour for time in times} == set(range(8, 18))
    assert {time.utcoffset() for time in times} == {dt.timedelta(hours=-3)}


def test_ages_are_those_of_the_day():
    day = dt.date(2026, 3, 1)
    ages = {
        (day.year - born.year) - ((day.month, day.day) < (born.month, born.day))
        for born in map(dt.date.fromisoformat, of("birth_date", 5000, on=day, youngest=6, oldest=8))
    }
    assert ages == {6, 7, 8}


def test_a_series_goes_on_in_time():
    times = of("series", 100, start="2026-12-31 23:00:00", every=900, jitter=300)
    assert times == sorted(times)
    assert times[4].startswith("2027-01-01 00:0")


# Made of others #######################################################################################################


def test_json_is_json_whatever_stands_in_it():
    fields = {
        "name": {"kind": "copy", "of": "n"},
        "n": {"kind": "integer", "max": 5},
        "ok": {"kind": "boolean", "nulls": 0.5},
        "one": {"kind": "choice", "values": ["a", 1, True, {"x": [1.5]}]},
        "tags": {"kind": "json_array", "of": "word", "max": 2},
        "in": {"kind": "json", "fields": {"z": "uuid"}},
    }
    names = ['q"uote', "back\\slash", "new\nline", "ñ", None]
    documents = [json.loads(text) for text in of("json", 5, {"n": names}, fields=fields)]
    assert [document["name"] for document in documents] == names
    assert {type(document["n"]) for document in documents} == {int}
    assert all(document["ok"] in {True, False, None} for document in documents)
    assert all(document["one"] in ("a", 1, True, {"x": [1.5]}) for document in documents)
    fewer = of("json", 5, {"n": names}, fields={"n": fields["n"]})
    assert [json.loads(text)["n"] for text in fewer] == [document["n"] for document in documents]


def test_arrays_are_read_by_postgresql(connection):
    made = of(
        "array", 300, {"n": ['a"b', "c\\d", "e,{f}", None, " "] * 60}, of={"kind": "copy", "of": "n"}, min=1, max=3
    )
    lengths = {
        len(row[0]) for row in connection.execute("SELECT value::text[] FROM unnest(%s::text[]) AS value", [made])
    }
    assert lengths == {1, 2, 3}
    first = connection.execute("SELECT (%s::text[])[1]", [made[0]]).fetchone()
    assert first == ('a"b',)


def test_ranges_of_different_rows_do_not_overlap(connection):
    for type_, word in (("int4range", "integer"), ("daterange", "date"), ("tsrange", "timestamp")):
        made = of("range", 50, type=word, start=0 if word == "integer" else "2026-01-01", length=7, gap=1)
        query = f"SELECT count(*) FROM unnest(%s::{type_}[]) a, unnest(%s::{type_}[]) b WHERE a && b"
        assert connection.execute(query, [made, made]).fetchone() == (50,)


def test_every_type_reads_what_a_word_makes(connection, examples):
    types = {
        "integer": "int8",
        "numeric": "numeric",
        "boolean": "bool",
        "date": "date",
        "timestamp": "timestamptz",
        "time": "time",
        "uuid": "uuid",
        "json": "jsonb",
        "inet": "inet",
        "macaddr": "macaddr",
        "bytea": "bytea",
    }
    rows = np.arange(50, dtype=np.int64)
    for example, kinds in examples.items():
        columns = {}
        for name, one in kinds:
            columns[name] = one.make(stream(key_of(b"t", name), rows), Context(rows, columns))
        values = [value and value.decode() for value in columns[kinds[-1][0]].tolist()]
        for family, type_ in types.items():
            if family in kinds[-1][1].types:
                connection.execute(f"SELECT value::{type_} FROM unnest(%s::text[]) AS value", [values]), example


def test_a_function_of_the_project(tmp_path):
    (tmp_path / "kinds.py").write_text(
        "import numpy as np\ndef one(bits, rows): return rows * 2\ndef two(bits, rows, a): return a\ndef bad(bits, rows): return [1]\ndef worse(bits, rows): return 1 / 0\n"
    )
    assert of("function", 3, name="kinds.py:one", folder=tmp_path) == ["0", "2", "4"]
    assert of("function", 2, {"a": ["x", None]}, name="kinds.py:two", of=["a"], folder=tmp_path) == ["x", None]
    for name, what in (
        ("kinds.py:bad", "1 values for 3 rows"),
        ("kinds.py:worse", "ZeroDivisionError"),
        ("kinds.py:none", "no function"),
        ("../kinds.py:one", "file of the project"),
        ("other.py:one", "cannot be read"),
    ):
        with pytest.raises(SeedError, match=what):
            of("function", 3, name=name, folder=tmp_path)


# Pools ################################################################################################################


def test_a_pool_of_the_projects_own(tmp_path):
    (tmp_path / "own.txt").write_text("Casa Ñuble\t3\nCasa Maule\t1\n")
    values = of("pool", 20_000, file="own.txt", folder=tmp_path)
    assert 0.73 < values.count("Casa Ñuble") / 20_000 < 0.77
    (tmp_path / "plain.txt").write_text("a\nb\n\nc\n")
    assert set(of("pool", 100, file="plain.txt", folder=tmp_path)) == {"a", "b", "c"}
    for text, what in (("", "no value"), ("a\tx\n", "line 1"), ("a\t1\nb\n", "line 2")):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(SeedError, match=what):
            of("pool", 1, file="bad.txt", folder=tmp_path)
    with pytest.raises(SeedError, match="project"):
        of("pool", 1, file="/etc/hostname", folder=tmp_path)


def test_every_locale_has_the_pools_that_words_take():
    for locale in pools.locales():
        for name in ("first_name_female", "first_name_male", "last_name", "street", "city", "company", "word", "job"):
            assert len(pools.pool(name, locale)) >= 20, (locale, name)


# Faults ###############################################################################################################


@pytest.mark.parametrize(
    ("word", "parameters", "said"),
    [
        ("frist_name", {}, "first_name"),
        ("integer", {"minn": 1}, "min"),
        ("integer", {"min": "one"}, "whole number"),
        ("integer", {"min": True}, "whole number"),
        ("integer", {"min": 5, "max": 1}, "below min"),
        ("template", {}, "format"),
        ("template", {"format": "{"}, "format"),
        ("template", {"format": "{n:x}"}, "{n:06}"),
        ("boolean", {"share": 1.5}, "share"),
        ("city", {"nulls": 2}, "share"),
        ("first_name", {"locale": "es_XX"}, "es_"),
        ("first_name", {"sex": "f"}, "female or male"),
        ("choice", {"values": []}, "list of values"),
        ("choice", {"values": [1, 2], "weights": [1]}, "2 whole numbers"),
        ("choice", {"values": [1], "weights": [-1]}, "whole numbers"),
        ("date", {"min": "soon"}, "date"),
        ("date", {"min": "2026-01-02", "max": "2026-01-01"}, "before min"),
        ("date", {"months": [1]}, "12 whole numbers"),
        ("date", {"min": "2026-01-05", "max": "2026-01-06", "weekdays": [0, 0, 1, 1, 1, 1, 1]}, "no day"),
        ("timestamp", {"pattern": "night"}, "working hours"),
        ("timestamp", {"zone": "CLT"}, "offset"),
        ("decimal", {"min": 0.125}, "2 decimals"),
        ("normal", {"deviation": -1}, "negative"),
        ("array", {"of": {"word": "x"}}, "kind"),
        ("array", {"of": "wrod"}, "word"),
        ("pattern", {"format": ""}, "texts"),
        ("pool", {}, "name"),
        ("pool", {"name": "last_nam"}, "last_name"),
    ],
)
def test_a_wrong_word_says_what_is_meant(word, parameters, said):
    with pytest.raises(SeedError) as raised:
        kind(word, **parameters)
    assert said in f"{raised.value} {raised.value.remedy}"
    assert "Traceback" not in str(raised.value)


def test_a_checksum_tells_other_values_apart():
    assert kind("city").checksum() == kind("city").checksum()
    assert kind("city").checksum() != kind("city", locale="es_CL").checksum()
    assert kind("email", of=["a"]).checksum() != kind("email").checksum()
    assert len({word.build for word in WORDS.values()}) == len(WORDS)


def test_an_address_from_a_pool_is_that_of_the_names_themselves():
    rows = np.arange(300, dtype=np.int64)
    first, last = kind("first_name", locale="es_CL"), kind("last_name", locale="es_CL")
    names = {
        "first": first.make(stream(b"a" * 16, rows), Context(rows)).where(rows % 3 > 0),
        "middle": Cells.of("" if row % 2 else None for row in rows.tolist()),
        "last": last.make(stream(b"b" * 16, rows), Context(rows)).where(rows % 7 > 0),
    }
    assert names["first"].picked
    plain = {name: Cells(each.matrix, each.lengths) for name, each in names.items()}
    for word in ("email", "username"):
        made = kind(word, of=["first", "middle", "last"])
        bits = stream(b"c" * 16, rows)
        assert made.make(bits, Context(rows, names)).tolist() == made.make(bits, Context(rows, plain)).tolist()
