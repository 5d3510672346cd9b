"""Masks on a real server: their values are values of the columns, and reserved ranges are known in SQL."""

import psycopg
import pytest
from psycopg import sql

from seedtool.postgres.catalog import read_catalog
from seedtool.refreshing import masks, preflight

SECRET = b"a secret for the tests of masks, long enough"

TABLE = """
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE DOMAIN chilean_rut AS text CHECK (VALUE ~ '^\\d{1,3}(\\.\\d{3}){2}-[\\dK]$');
CREATE TABLE pupils (
    id int PRIMARY KEY, small smallint, big bigint, amount numeric(7, 2), ratio float8, born date, seen timestamptz,
    mail varchar(40) CHECK (mail LIKE '%@%'), rut chilean_rut, phone text, mood mood, tags text[], data jsonb,
    address inet, net cidr, token uuid, notes varchar(200), ok boolean, key text, website text,
    adult boolean CHECK (adult OR born IS NOT NULL), short varchar(3), words tsvector, raw bytea
)"""

LINES = {
    "id": "bijective",
    "small": {"mask": "bijective", "max": 1000},
    "big": "phone",
    "amount": "noise",
    "ratio": "noise",
    "born": {"mask": "shift", "subject": "id"},
    "seen": {"mask": "shift", "subject": "id"},
    "mail": "email",
    "rut": "rut",
    "phone": "phone",
    "mood": {"mask": "choice", "values": ["happy", "sad"]},
    "tags": "first_name",
    "data": {"mask": "json", "paths": {"a": "email"}},
    "address": "ip",
    "net": "ip",
    "token": "uuid",
    "notes": "text",
    "ok": "boolean",
    "key": {"mask": "external_image_id", "subject": "digits"},
    "website": "url",
    "adult": {"mask": "constant", "value": True},
    "words": {"mask": "tsvector", "from": ["notes", "mail"], "language": "spanish"},
}


@pytest.fixture
def pupils(connection):
    connection.execute(TABLE)
    catalog = read_catalog(connection)
    return next(table for table in catalog.tables.values() if table.name == "pupils")


def test_samples_of_each_mask_are_values_of_their_columns(connection, pupils):
    for name, line in LINES.items():
        column = pupils.columns[name]
        query, parameters = masks.trial(masks.mask(line, column, SECRET), column, pupils.checks)
        assert [row for row in connection.execute(query, parameters) if row[0]] == [], name


def test_a_trial_names_the_check_that_refuses_and_fails_on_a_domain(connection, pupils):
    mail = masks.mask("first_name", pupils.columns["mail"], SECRET)
    query, parameters = masks.trial(mail, pupils.columns["mail"], pupils.checks)
    assert [row[0] for row in connection.execute(query, parameters)] == ["pupils_mail_check"]
    rut = masks.mask("first_name", pupils.columns["rut"], SECRET)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(*masks.trial(rut, pupils.columns["rut"], pupils.checks))


@pytest.mark.parametrize(
    ("word", "free", "taken"),
    [
        ("email", ["Ana@x.cl", "masked.invalid@x.cl"], ["Ana@Masked.Invalid"]),
        ("phone", ["+56 9 9999 9999", "999"], ["+999 123 456 789 012", "999123456789012"]),
        ("rut", ["12.345.678-5", "99.999.999-9", "none", "", "100.200.300-4"], ["200.000.000-1", "999999999-9"]),
        ({"mask": "rut", "digits": 8}, ["12.345.678-5", "76.000.000-1"], ["37.000.000-1"]),
        ("ip", ["10.0.0.1", "239.1.1.1", "2001:470::1"], ["240.0.0.1/32", "255.1.1.1", "2001:db8::1"]),
        ("url", ["https://x.cl/masked.invalid"], ["https://masked.invalid/a"]),
    ],
    ids=str,
)
def test_the_condition_of_a_reserved_range_is_true_of_its_values_alone(connection, pupils, word, free, taken):
    mask = masks.unchecked(word, pupils.columns["phone"], SECRET)
    condition = mask.reserved.condition.format("value")
    query = f"SELECT value, {condition} FROM unnest(%s::text[]) AS value"
    assert dict(connection.execute(query, [free + taken])) == dict.fromkeys(free, False) | dict.fromkeys(
        taken, True
    ) | ({"none": None, "": None} if word == "rut" else {})
    new = mask.of([f"{number}2.345.678-5" for number in range(20)])
    assert all(inside for _, inside in connection.execute(query, [new]))


@pytest.mark.parametrize(
    ("type_", "line", "free", "taken"),
    [
        ("text[]", "phone", "{+56 9 1234 5678,NULL}", "{{12},{+999 123 456 789 012}}"),
        ("citext", "email", "ana@x.cl", "Ana@Masked.INVALID"),
        ("posts", "email", "ana@x.cl", "ana@masked.invalid"),
        ("json", {"mask": "json", "paths": {"who.rut": "rut"}}, '{"price": 200000001, "who": {"rut": "1-9"}}',
         '{"price": 3, "who": {"rut": ["1-9", "200.000.001-4"]}}'),
        ("jsonb", {"mask": "json", "paths": {"*[].who": "email"}}, '{"a": [{"who": "x@y.cl"}], "b": "x@masked.invalid"}',
         '{"a": [{"who": "x@masked.invalid"}]}'),
        ("text", {"mask": "json", "paths": {'"a b"': "email"}}, "no json", '{"a b": {"c": "x@masked.invalid"}}'),
        ("jsonb[]", {"mask": "json", "paths": {"p": "phone"}}, '{"{\\"p\\": 1}"}', '{"{\\"p\\": \\"999123456789012\\"}"}'),
    ],
    ids=str,
)  # fmt: skip
def test_a_reserved_range_is_looked_for_in_arrays_json_and_domains(connection, type_, line, free, taken):
    """A number beside the path is none of the range, and a text need be no JSON."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS citext; CREATE DOMAIN posts AS text")
    connection.execute(f"CREATE TABLE held (value {type_})")
    column = read_catalog(connection, ["held"]).find("held").columns["value"]
    ranges = list(preflight._held(column, masks.mask(line, column, SECRET), connection.info.server_version))
    assert len(ranges) == 1
    query = sql.SQL("SELECT coalesce(bool_or({}), false) FROM held").format(ranges[0][1])
    for value, held in ((free, False), (taken, True)):
        connection.execute("INSERT INTO held VALUES (%s)", [value])
        assert connection.execute(query).fetchone() == (held,)


def test_a_tsvector_is_computed_from_the_masked_columns(connection, pupils):
    words = masks.mask(LINES["words"], pupils.columns["words"], SECRET)
    connection.execute("INSERT INTO pupils (id, notes, words) VALUES (1, 'corriendo', NULL)")
    connection.execute(f"UPDATE pupils SET words = {words.computed}")
    assert connection.execute("SELECT words::text FROM pupils").fetchone() == ("'corr':1",)
