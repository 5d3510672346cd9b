"""What the database would refuse is told before a row is made: with table, column and cure."""

import pytest

from seedtool.errors import RecipeError
from seedtool.listener import Listener

#: For each table: its columns, its rows, the lines of the recipe, the column that is named, and what message and cure
#: say.
REFUSED = {
    "long_key": ("code char(3) PRIMARY KEY", 1200, "code = '{n}'", "code", '"1000"', "it is a character(3)"),
    "long_text": ("code varchar(8)", 9, "code = 'customer-{n}'", "code", '"customer-1"', "widen the column"),
    "small": ("id smallint PRIMARY KEY", 40_000, "id = '{n}'", "id", "out of range", "make fewer rows"),
    "smallserials": ("id smallserial PRIMARY KEY", 40_000, "", "id", "ends at 32,767", "or widen both"),
    "decimals": ("x int, price numeric(3,2)", 300, "price = { kind = 'integer', max = 20 }", "price", "overflow",
                 "numeric(3,2)"),
    "dates": ("born date", 3, "born = 'first_name'", "born", "invalid input syntax for type date", "type date: born ="),
    "domains": ("zip zip NOT NULL", 3, "zip = '{n}'", "zip", "CHECK (zip ~ '^\\d{5}$'", "Write a line for zip"),
    "sums": ("a int, b int, CHECK (a + b = 10)", 90, "a = { kind = 'integer' }\nb = 1", "a", "CHECK ((a + b) = 10)",
             "lines for a and b"),
    "labels": ("label citext UNIQUE", 4, "label = ['a', 'A', 'b', 'c']", "label", "takes no two such rows", "more values"),
    "chosen": ("id serial, x int, main bool NOT NULL", 99, "x = { kind = 'integer', max = 3 }\nmain = true", "x",
               "takes no two such rows where main. Key (x)=", "cycle"),
    "rooms": ("room int, during int4range, EXCLUDE USING gist (during WITH &&)", 3, "during = ['[1,5)', '[2,9)']",
              "during", "conflicts with existing key", 'kind = "range"'),
    "years": ("at date NOT NULL", 3, "at = ['2026-05-05', '2031-01-01']", "at", "no partition takes it",
              "FROM ('2026-01-01') TO ('2027-01-01')"),
    "codes": ("code text NOT NULL REFERENCES parents (code)", 90, "", "code", "null value", "it is NULL in some"),
}  # fmt: skip


@pytest.fixture
def refusing(school):
    school.execute(
        "CREATE EXTENSION citext; CREATE DOMAIN zip AS text CHECK (VALUE ~ '^\\d{5}$');"
        "CREATE TABLE parents (code text UNIQUE);"
    )
    for name, (columns, *_) in REFUSED.items():
        school.execute(f"CREATE TABLE {name} ({columns}) {'PARTITION BY RANGE (at)' if name == 'years' else ''}")
    school.execute(
        "CREATE UNIQUE INDEX the_one ON chosen (x) WHERE main;"
        "CREATE TABLE years_1 PARTITION OF years FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )
    return school


def test_what_the_database_would_refuse_is_told_before_a_row_is_made(refusing):
    told = {}
    for name, (_, rows, lines, *_) in REFUSED.items():
        parents = "parents = 20\n" if name == "codes" else ""
        nulls = "[tables.parents]\ncode = { kind = 'template', format = 'c{n}', nulls = 0.5 }\n" if parents else ""
        refusing.write(f"[rows]\n{parents}{name} = {rows}\n{nulls}[tables.{name}]\n{lines}\n", name)
        steps: list[str] = []
        listener = Listener()
        listener.step = steps.append
        with pytest.raises(RecipeError) as raised:
            refusing.load(name, listener=listener)
        error = raised.value
        assert steps == ["plan"], error
        told[name] = error
        assert refusing.value("SELECT to_regclass('seedtool.loads')") is None
    for name, (*_, column, message, remedy) in REFUSED.items():
        error = told[name]
        assert (error.place["table"], error.place["column"], message in error.message, remedy in error.remedy) == (
            name, column, True, True,
        ), f"{error.message} -> {error.remedy}"  # fmt: skip
        assert error.place["line"]


def test_a_dry_run_tells_the_same(refusing):
    from seedtool.workflows.load import preview

    refusing.write("[rows]\nlong_text = 9\n[tables.long_text]\ncode = 'customer-{n}'", "long")
    with pytest.raises(RecipeError, match="value too long"):
        preview("long", settings=refusing.settings, target=refusing.target)


def test_a_rehearsal_moves_no_sequence_and_leaves_no_table(school):
    school.execute(
        "CREATE SEQUENCE drawn; CREATE TABLE a (id int PRIMARY KEY, no text DEFAULT 'x' || nextval('drawn'))"
    )
    school.write("[rows]\na = 5\n[tables.a]\nid = '{n}'")
    school.load()
    assert school.query("SELECT no FROM a ORDER BY id") == [(f"x{number}",) for number in range(1, 6)]
    assert school.value("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == 0


def test_what_a_trigger_refuses_names_the_table_and_is_taken_away_again(school):
    school.execute(
        "CREATE TABLE a (x int NOT NULL); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not today'; END $$;"
        "CREATE TRIGGER g BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()"
    )
    school.write("[rows]\na = 5\n[tables.a]\nx = 1")
    with pytest.raises(RecipeError, match="of a: not today") as raised:
        school.load()
    assert raised.value.place["table"] == "a"
    assert "taken away again" in raised.value.remedy
