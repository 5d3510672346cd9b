"""What a recipe leaves out is inferred; what cannot be is an error that proposes the line."""

import tomllib

import pytest

from seedtool.errors import RecipeError

PEOPLE = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE people (
    id text PRIMARY KEY,
    key uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    sex text NOT NULL,
    first_name text NOT NULL,
    last_name varchar(60) NOT NULL,
    email text NOT NULL UNIQUE,
    identification_number text NOT NULL UNIQUE,
    phone text,
    mood mood NOT NULL,
    period int NOT NULL CHECK (period BETWEEN 1 AND 8),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'in''active')),
    state text NOT NULL CHECK (state IN ('open', 'in''active')),
    kind varchar(10) NOT NULL CHECK (kind = ANY (ARRAY['a'::text, 'b'::text])),
    deleted boolean NOT NULL DEFAULT false,
    active boolean NOT NULL,
    extra jsonb,
    country_code char(2)
);
"""


@pytest.fixture
def people(school):
    school.execute(PEOPLE)
    school.write("[rows]\npeople = 200\n")
    return school


def test_checks_enums_names_types_and_keys_say_what_stands_in_a_column(people):
    people.load()
    ids = people.query("SELECT min(id), max(id) FROM people")
    assert ids == [("district-people-000001", "district-people-000200")]
    assert people.query("SELECT DISTINCT mood::text FROM people ORDER BY 1") == [("glad",), ("sad",)]
    assert people.query("SELECT DISTINCT period FROM people ORDER BY 1") == [(each,) for each in range(1, 9)]
    assert people.query("SELECT DISTINCT status FROM people") == [("active",)]  # its default
    assert people.query("SELECT DISTINCT state FROM people ORDER BY 1") == [("in'active",), ("open",)]
    assert people.query("SELECT DISTINCT kind FROM people ORDER BY 1") == [("a",), ("b",)]
    assert people.query("SELECT DISTINCT deleted FROM people") == [(False,)]  # its default
    assert people.query("SELECT DISTINCT active FROM people ORDER BY 1") == [(False,), (True,)]
    assert people.query("SELECT DISTINCT extra FROM people") == [(None,)]
    assert people.value("SELECT count(*) FROM people WHERE identification_number ~ '^[0-9.]+-[0-9K]$'") == 200
    assert people.value("SELECT count(DISTINCT substr(key::text, 15, 1)) FROM people") == 1  # version 4


def test_the_columns_of_a_person_agree(people):
    people.load()
    assert people.value(
        "SELECT count(*) FROM people WHERE email ~ ('^' || translate(lower(split_part(first_name, ' ', 1)),"
        " 'áéíóúñü', 'aeiounu'))"
    ) == 200  # fmt: skip
    both = "SELECT count(*) FROM (SELECT first_name FROM people GROUP BY 1 HAVING count(DISTINCT sex) > 1) AS shared"
    assert people.value(both) <= 5  # names that women and men have


@pytest.mark.parametrize(
    ("column", "proposed"),
    [
        ("credits int NOT NULL", "{ kind = 'integer', min = 1, max = 100 }"),
        ("price numeric NOT NULL", "{ kind = 'integer', min = 1, max = 100 }"),
        ("display_name text NOT NULL", "'Course {n}'"),
        ("extra jsonb NOT NULL", "{ kind = 'constant', value = '{}' }"),
        ("tags text[] NOT NULL", "{ kind = 'choice', values = ['{}'] }"),
        ("starts time NOT NULL", "{ kind = 'choice', values = ['08:00', '09:45'] }"),
        ("takes interval NOT NULL", "{ kind = 'choice', values = ['1 hour', '1 day'] }"),
        ("thing text NOT NULL", "'word'"),
    ],
)
def test_what_cannot_be_inferred_is_an_error_that_proposes_the_line(school, column, proposed):
    school.execute(f"CREATE TABLE courses ({column})")
    school.write("[rows]\ncourses = 10\n")
    with pytest.raises(RecipeError) as raised:
        school.load()
    name = column.split()[0]
    assert (raised.value.place["table"], raised.value.place["column"]) == ("courses", name)
    _, _, line = raised.value.remedy.partition(": ")
    assert tomllib.loads(line) == tomllib.loads(f"{name} = {proposed}")
    school.write(f"[rows]\ncourses = 10\n[tables.courses]\n{line}")
    assert school.load().rows == 10


def test_rows_that_are_given_are_referred_to_and_left_alone(school):
    school.execute("INSERT INTO families VALUES ('x', 'X'), ('a', 'A')")
    school.write(
        "[rows]\nfamilies = 'given'\npupils = '2 per families'\n[tables.pupils]\nid = '{family_id}/{k}'\n"
        "status = '{family_id.name}'"
    )
    school.load()
    assert school.query("SELECT id, family_id, status FROM pupils ORDER BY id") == [
        ("a/1", "a", "A"), ("a/2", "a", "A"), ("x/1", "x", "X"), ("x/2", "x", "X"),
    ]  # fmt: skip
    assert school.value("SELECT count(*) FROM families") == 2


def test_rows_that_should_be_given_and_are_not_are_missed(school):
    school.write("[rows]\nfamilies = 'given'\npupils = '2 per families'\n[tables.pupils]\nstatus = 'word'")
    with pytest.raises(RecipeError) as raised:
        school.load()
    assert raised.value.place["line"] == 2
    assert "14 in all" in raised.value.remedy


def test_a_parent_that_no_recipe_and_no_null_can_do_without_is_proposed(school):
    school.write("[rows]\npupils = 5\n[tables.pupils]\nstatus = 'word'")
    with pytest.raises(RecipeError) as raised:
        school.load()
    assert raised.value.place["column"] == "family_id"
    assert 'families = "given"' in raised.value.remedy


SCHEMA = """
CREATE DOMAIN percent AS int NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN grade AS percent CHECK (VALUE <= 7);
CREATE DOMAIN size AS text CHECK (VALUE IN ('S', 'M'));
CREATE DOMAIN code AS varchar(7);
CREATE TABLE things (id int PRIMARY KEY, "Done So" percent, grade grade, size size NOT NULL, code code UNIQUE NOT NULL,
    short text UNIQUE NOT NULL CHECK (char_length(short) <= 4));
INSERT INTO things VALUES (7, 1, 1, 'S', 'x', 'x');
CREATE TABLE regions (id bigserial, region text NOT NULL, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE regions_1 PARTITION OF regions FOR VALUES IN ('eu', 'o''us');
CREATE TABLE regions_2 PARTITION OF regions FOR VALUES IN ('asia');
CREATE TABLE days (at timestamptz NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE numbers (at int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE numbers_1 PARTITION OF numbers FOR VALUES FROM (5) TO (90);
CREATE TABLE numbers_2 PARTITION OF numbers FOR VALUES FROM (90) TO (100);
CREATE TABLE open (at int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE open_1 PARTITION OF open FOR VALUES FROM (5) TO (MAXVALUE);
"""


def test_domains_partitions_and_lengths_say_what_stands_in_a_column(school):
    school.execute(SCHEMA)
    school.write("[rows]\nthings = 90\nregions = 90\ndays = 90\nnumbers = 90\n")
    school.load()
    ours = "FROM things WHERE id > 7"
    assert school.query(f'SELECT min(id), max(id), max("Done So") > 7, max(grade) {ours}') == [(8, 97, True, 7)]
    assert school.query(f"SELECT DISTINCT size::text {ours} ORDER BY 1") == [("M",), ("S",)]
    assert school.query(f"SELECT max(length(code)), max(length(short)) {ours}") == [(6, 2)]
    assert school.query("SELECT DISTINCT region FROM regions ORDER BY 1") == [("asia",), ("eu",), ("o'us",)]
    assert school.query("SELECT count(*) > 9 FROM days_1 UNION ALL SELECT count(*) > 9 FROM days_2") == [(True,)] * 2
    assert school.query("SELECT min(at) < 9, max(at) > 90 FROM numbers") == [(True, True)]
    school.load(scale=2)
    school.unload()
    assert school.query("SELECT id FROM things") == [(7,)]
    school.write("[rows]\nopen = 9\n")
    with pytest.raises(RecipeError, match=r"nothing says what stands in open\.at"):
        school.load()


def test_proposals_load_whatever_the_type(school):
    types = (
        "numeric(3,2)", "bytea", "bit(3)", "macaddr", "point", "tsvector", "oid", "int4range", "tstzrange",
        "daterange", "smallint", "money",
    )  # fmt: skip
    columns = ", ".join(f'"c {number}" {type_} NOT NULL' for number, type_ in enumerate(types))
    school.execute(f"CREATE TABLE a ({columns}); CREATE SCHEMA other; CREATE TABLE other.b (); CREATE SCHEMA b;"
                   "CREATE TABLE b.b (); CREATE TABLE c (x json)")  # fmt: skip
    lines = "[rows]\na = 5\n[tables.a]\n"
    for _ in types:
        school.write(lines)
        with pytest.raises(RecipeError) as raised:
            school.load()
        lines += raised.value.remedy.partition(": ")[2] + "\n"
    school.write(lines)
    assert school.load().rows == 5
    school.write("[rows]\nc = 5\n[tables.c]\nx = '{\"v\": 1}'", "texts")
    with pytest.raises(RecipeError, match="the brace at") as raised:
        school.load("texts")
    assert 'kind = "constant"' in raised.value.remedy
    school.write("[rows]\nb = 5", "several")
    with pytest.raises(RecipeError, match="several tables b") as raised:
        school.load("several")
    assert "b.b or other.b" in raised.value.remedy
