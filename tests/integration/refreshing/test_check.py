"""What a check of a policy finds, on a real catalog: each schema is made in a transaction that is rolled back."""

import pytest

from seedtool.errors import SeedError
from seedtool.postgres import server
from seedtool.postgres.catalog import read_catalog
from seedtool.refreshing import check
from seedtool.refreshing.masks import Mask, mask
from seedtool.refreshing.policy import parse_policy
from seedtool.refreshing.source import _read_relations


@pytest.fixture(scope="module")
def emptied(target):
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute("DROP DATABASE IF EXISTS check_of_a_policy")
        maintenance.execute("CREATE DATABASE check_of_a_policy TEMPLATE template0 STRATEGY file_copy")
    with server.connect(target.at("check_of_a_policy")) as connection:
        yield connection
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute("DROP DATABASE check_of_a_policy WITH (FORCE)")


@pytest.fixture
def found(emptied, tmp_path):
    """Return what a check finds, as (kind, table, column, line), of a schema and a policy."""

    def made(line, column):
        if line.mask == "wrong":
            raise SeedError("the mask wrong does not fit", remedy="Take another one.")
        return Mask(
            word=line.mask,
            change=None,
            uniqueness=line.parameters.get("is", "bijective"),
            families=frozenset({"any"}),
            makes_null=line.mask == "null",
        )

    def findings(ddl, policy):
        emptied.execute(ddl)
        catalog = read_catalog(emptied)
        shape = check.read_shape(emptied, catalog, _read_relations(emptied))
        read = parse_policy(policy.encode(), "policy.toml", tmp_path)
        result = check.check(shape, read, made)
        assert all(each.remedy and each.what for each in result.findings)
        if result.findings:
            error = check.refusal(result.findings, read)
            assert error.exit_code == 1
            assert len(error.findings) == len(result.findings)
        return [(each.kind, each.table, each.column, each.line) for each in result.findings]

    yield findings
    emptied.rollback()


PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text)"
LINES = '[tables.people]\nid = "keep"\nname = "first_name"\nemail = "email"\n'


def test_a_policy_that_fits_finds_nothing(found):
    assert found(PEOPLE, LINES) == []


def test_a_new_column_without_a_line_stops_whatever_its_type(found):  # GreenmaskIO/greenmask 321
    ddl = f"""{PEOPLE}; ALTER TABLE people ADD born date, ADD photo bytea, ADD tags text[], ADD box int4range,
        ADD loud text GENERATED ALWAYS AS (upper(name)) STORED, ADD active bool DEFAULT true, ADD at xid8"""
    names = ("born", "photo", "tags", "box", "loud", "active", "at")
    assert sorted(found(ddl, LINES)) == sorted(("no line", "people", name, 1) for name in names)


def test_tables_of_every_kind_need_lines_and_only_those_that_hold_rows_may_have_some(found):
    ddl = f"""{PEOPLE};
        CREATE TABLE log (at date, what text) PARTITION BY RANGE (at);
        CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE TABLE pupils (grade int) INHERITS (people);
        CREATE UNLOGGED TABLE quick (a int);
        CREATE VIEW v AS SELECT * FROM people;
        CREATE MATERIALIZED VIEW m AS SELECT * FROM people;
        CREATE SCHEMA seedtool; CREATE TABLE seedtool.ledger (a int);
        CREATE SCHEMA other; CREATE TABLE other."Odd name" (a int)"""
    lines = (
        f'{LINES}[tables.v]\nid = "keep"\n[tables.m]\n[tables.log_2026]\n[tables."seedtool.ledger"]\n[tables.gone]\n'
    )
    assert sorted(found(ddl, lines)) == sorted(
        [
            ("no line", "log", None, None),
            ("no line", "pupils", None, None),
            ("no line", "quick", None, None),
            ("no line", "other.Odd name", None, None),
            ("no rows of its own", "v", None, 5),
            ("no rows of its own", "m", None, 7),
            ("no rows of its own", "log_2026", None, 8),
            ("no rows of its own", "seedtool.ledger", None, 9),
            ("vanished", "gone", None, 10),
        ]
    )


def test_a_foreign_table_is_decided_about_and_never_copied(found):
    ddl = """CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE FOREIGN TABLE remote (a int) SERVER s; CREATE FOREIGN TABLE other (a int) SERVER s;
        CREATE FOREIGN TABLE third (a int) SERVER s;
        CREATE TABLE years (a int) PARTITION BY LIST (a); CREATE TABLE now PARTITION OF years DEFAULT;
        CREATE FOREIGN TABLE archive PARTITION OF years FOR VALUES IN (1) SERVER s"""
    lines = '[tables]\nthird = "no rows"\n[tables.remote]\na = "keep"\n[tables.years]\na = "keep"\n'
    assert found(ddl, lines) == [
        ("no line", "other", None, None),
        ("foreign table", "remote", None, 3),
        ("foreign table", "years", None, 5),
    ]


def test_a_table_without_rows_needs_no_lines_and_an_emptied_one_neither(found):
    ddl = f"{PEOPLE}; CREATE TABLE audit (a int, b text); CREATE TABLE outbox (mail text)"
    assert found(ddl, f'empty = "outbox"\n{LINES}[tables]\naudit = "no rows"') == []


def test_what_has_vanished_is_named_with_its_line(found):
    ddl = f"{PEOPLE}; ALTER TABLE people DROP email"
    assert found(ddl, LINES) == [("vanished", "people", "email", 4)]
    more = (
        'empty = ["mail", "people"]\nsubset = "childs WHERE true"\n[[virtual_keys]]\nfrom = "people (owner)"\n'
        'to = "people (id)"\n'
    )
    assert [each[:3] for each in found("SELECT 1", more + LINES)] == [
        ("vanished", "childs", None),
        ("vanished", "mail", None),
        ("vanished", "people", "owner"),
        ("vanished", "people", "email"),
    ]


def test_a_mask_that_does_not_fit_is_named_with_all_others(found):  # antifailure 135: all at once
    lines = '[tables.people]\nid = { mask = "x", is = "lossy" }\nname = "null"\nemail = "wrong"\n'
    assert found(PEOPLE, lines) == [
        ("unique", "people", "id", 2),
        ("mask", "people", "name", 3),
        ("mask", "people", "email", 4),
    ]


@pytest.mark.parametrize(
    ("constraint", "uniqueness", "wrong"),
    [
        ("UNIQUE (email)", "lossy", True),  # xataio/pgstream 1136
        ("UNIQUE (email)", "probable", False),
        ("UNIQUE (email)", "bijective", False),
        ("UNIQUE (name, email)", "lossy", True),
        ("EXCLUDE (email WITH =)", "probable", True),
        ("EXCLUDE (email WITH =)", "bijective", False),
    ],
)
def test_a_mask_must_not_break_what_is_unique(found, constraint, uniqueness, wrong):
    ddl = f"CREATE TABLE people (id int PRIMARY KEY, name text, email text, {constraint})"
    lines = f'[tables.people]\nid = "keep"\nname = "keep"\nemail = {{ mask = "x", is = "{uniqueness}" }}'
    assert found(ddl, lines) == ([("unique", "people", "email", 4)] if wrong else [])


@pytest.mark.parametrize(
    ("index", "wrong"),
    [
        ("UNIQUE INDEX ON people (lower(email))", True),
        ("UNIQUE INDEX ON people (id, (name || lower(email)))", True),
        ("UNIQUE INDEX ON people (id) WHERE email IS NOT NULL", False),
        ("INDEX ON people (lower(email))", False),
    ],
)
def test_an_expression_that_is_unique_wants_more_of_a_mask(found, index, wrong):
    lines = '[tables.people]\nid = "keep"\nname = "keep"\nemail = { mask = "x", is = "probable" }'
    expected = [("unique", "people", "email", 4)] if wrong else []
    assert found(f"CREATE TABLE people (id int PRIMARY KEY, name text, email text); CREATE {index}", lines) == expected


def test_what_is_unique_in_a_partition_alone_counts_too(found):
    ddl = """CREATE TABLE log (at date, who text) PARTITION BY RANGE (at);
        CREATE TABLE log_1 PARTITION OF log DEFAULT; CREATE UNIQUE INDEX ON log_1 (who)"""
    assert found(ddl, '[tables.log]\nat = "keep"\nwho = { mask = "x", is = "lossy" }') == [("unique", "log", "who", 3)]


TWO = """CREATE TABLE people (id text PRIMARY KEY, boss text REFERENCES people);
    CREATE TABLE notes (who text REFERENCES people, what int)"""


@pytest.mark.parametrize(
    ("ident", "boss", "who", "wrong"),
    [
        ('"token"', '"token"', '"token"', []),
        ('"keep"', '"keep"', '"token"', [("reference", "notes", "who", 5)]),
        ('"token"', '"keep"', '"token"', [("reference", "people", "boss", 3)]),
        ('"token"', '"null"', '"null"', []),
        (
            '"token"',
            '{ mask = "token", length = 9 }',
            '{ mask = "token", length = 9 }',
            [("reference", "notes", "who", 5), ("reference", "people", "boss", 3)],
        ),
    ],
)
def test_both_ends_of_a_reference_are_masked_alike(found, ident, boss, who, wrong):
    lines = f'[tables.people]\nid = {ident}\nboss = {boss}\n[tables.notes]\nwho = {who}\nwhat = "keep"\n'
    assert found(TWO, lines) == wrong


def test_both_ends_of_a_virtual_key_are_masked_alike(found):
    ddl = "CREATE TABLE a (id int); CREATE TABLE b (a_id int)"
    lines = '[tables.a]\nid = "token"\n[tables.b]\na_id = "keep"\n[[virtual_keys]]\nfrom = "b (a_id)"\nto = "a (id)"'
    assert found(ddl, lines) == [("reference", "b", "a_id", 4)]


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ('[tables]\npeople = "no rows"\n[tables.notes]\nwho = "keep"\nwhat = "keep"', True),
        (
            '[rows]\npeople = "sample 1%"\n[tables.people]\nid = "keep"\nboss = "keep"\n[tables.notes]\nwho = "keep"\nwhat = "keep"',
            False,
        ),
        ('empty = "people"\n[tables.notes]\nwho = "keep"\nwhat = "keep"', True),
        ('[tables]\npeople = "no rows"\n[tables.notes]\nwho = "null"\nwhat = "keep"', False),
        ('[tables]\npeople = "no rows"\nnotes = "no rows"', False),
        (
            'subset = "notes WHERE true"\n[rows]\npeople = "sample 1%"\n[tables.people]\nid = "keep"\nboss = "keep"\n[tables.notes]\nwho = "keep"\nwhat = "keep"',
            False,
        ),
    ],
)
def test_rows_that_refer_to_rows_which_do_not_come_are_found_before_they_are_read(found, lines, wrong):
    assert [each[:3] for each in found(TWO, lines)] == ([("reference", "notes", "who")] if wrong else [])


def test_a_masked_partition_key_is_found(found):  # pg_anonymize 3
    ddl = """CREATE TABLE log (at date, who text, what text) PARTITION BY RANGE (at);
        CREATE TABLE log_1 PARTITION OF log DEFAULT PARTITION BY HASH (lower(who));
        CREATE TABLE log_1a PARTITION OF log_1 FOR VALUES WITH (modulus 1, remainder 0)"""
    lines = '[tables.log]\nat = "date"\nwho = "first_name"\nwhat = "text"'
    assert found(ddl, lines) == [("partition key", "log", "at", 2), ("partition key", "log", "who", 3)]


def test_computed_columns_and_words_are_not_kept_as_they_are(found):
    ddl = """CREATE TABLE pages (id int, body text, words tsvector,
        found tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED)"""
    lines = '[tables.pages]\nid = "keep"\nbody = "text"\nwords = "keep"\nfound = "keep"'
    assert found(ddl, lines) == [("words", "pages", "words", 4)]
    assert found(
        "SELECT 1", lines.replace('found = "keep"', 'found = "text"').replace('words = "keep"', 'words = "tsvector"')
    ) == [("generated", "pages", "found", 5)]


@pytest.fixture
def tried(emptied, tmp_path):
    """Return what a check finds when it tries the real masks on the server: column and what is wrong."""

    def findings(ddl, policy):
        emptied.execute(ddl)
        shape = check.read_shape(emptied, read_catalog(emptied), _read_relations(emptied))
        read = parse_policy(policy.encode(), "policy.toml", tmp_path)
        result = check.check(shape, read, lambda line, column: mask(line, column, b"k" * 32), emptied)
        return {each.column: each.what for each in result.findings}

    yield findings
    emptied.rollback()


def test_masks_are_tried_against_types_domains_enums_and_checks(tried):
    ddl = """CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]{3}$');
        CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE t (
            short varchar(5), code code, mail mail, mood mood, other_mood mood, amount numeric(3,1), whole int,
            phone text CHECK (phone LIKE '+56%'), free text CHECK (free LIKE '%'), day date, at timestamptz,
            tags varchar(4)[], ip inet, data jsonb, flag bool)"""
    lines = """[tables.t]
short = "first_name"
code = "token"
mail = "email"
mood = "first_name"
other_mood = { mask = "constant", value = "bad" }
amount = { mask = "constant", value = 1000 }
whole = { mask = "constant", value = "many" }
phone = "phone"
free = "text"
day = "email"
at = { mask = "shift", subject = "nobody" }
tags = "full_name"
ip = "ip"
data = { mask = "json", paths = {} }
flag = "phone"
"""
    found = tried(ddl, lines)
    assert set(found) == {"short", "code", "mood", "amount", "whole", "phone", "day", "at", "tags", "flag"}, found
    assert "5" in found["short"]
    assert "t_phone_check" in found["phone"]
    assert "nobody" in found["at"]


@pytest.mark.parametrize("word", ["frist_name", "emial", "keeep"])
def test_an_unknown_mask_is_named_with_close_ones(tried, word):
    found = tried("CREATE TABLE t (a text)", f'[tables.t]\na = "{word}"')
    assert word in found["a"]
