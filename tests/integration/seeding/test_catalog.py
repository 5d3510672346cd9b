"""What seeding makes of the rarer things a schema may hold."""

import pytest

from seedtool.errors import DatabaseError, FixtureError, SchemaError, SeedError
from seedtool.postgres.catalog import read_catalog


@pytest.fixture
def refused(project, approved):
    def check(file: str, line: int, column: str | None, *names: str) -> None:
        before = project.everything()
        with pytest.raises(FixtureError) as caught:
            project.seed()
        assert (caught.value.file, caught.value.line, caught.value.column) == (f"seeds/local/{file}", line, column)
        for name in names:
            assert name in caught.value.message
        assert caught.value.remedy
        approved(caught.value)
        assert project.everything() == before

    return check


def test_partial_and_expression_indexes_and_equal_nulls(project, refused):
    project.run("""
        CREATE TABLE desks (id int PRIMARY KEY, code text, deleted bool NOT NULL DEFAULT false, spare int);
        CREATE UNIQUE INDEX live ON desks (lower(code)) WHERE NOT deleted;
        CREATE UNIQUE INDEX one_null ON desks (spare) NULLS NOT DISTINCT""")
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,1\n2,a,true,2\n3,B,false,3\n4,,false,4\n5,,false,5\n")
    project.seed()
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,1\n2,a,false,2\n")
    refused("desks.csv", 3, None, "seeds/local/desks.csv:2", "live")
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,\n3,B,false,\n")
    refused("desks.csv", 3, "spare", "one_null")
    project.write("desks.csv", "id,code,deleted,spare\n1,b,false,1\n3,a,false,3\n")
    refused("desks.csv", 2, "code", "seeds/local/desks.csv:3")


def test_references_to_a_unique_column_follow_what_the_files_make_of_it(project, refused):
    project.run("""
        CREATE TABLE towns (id int PRIMARY KEY, code text UNIQUE);
        CREATE TABLE streets (id int PRIMARY KEY, town text NOT NULL REFERENCES towns (code))""")
    project.write("towns.csv", "id,code\n1,A\n2,B\n")
    project.write("streets.csv", "id,town\n1,A\n2,B\n")
    project.seed()
    project.write("towns.csv", "id,code\n1,C\n2,B\n")
    project.write("streets.csv", "id,town\n1,C\n2,B\n3,C\n")
    project.seed()
    assert project.rows("SELECT town FROM streets ORDER BY id") == [("C",), ("B",), ("C",)]
    project.write("towns.csv", "id,code\n1,A\n2,B\n")
    project.write("streets.csv", "id,town\n1,A\n2,B\n3,C\n4,C\n")
    refused("streets.csv", 5, "town", "towns", "code = C")


def test_domains_are_checked_cell_by_cell(project, refused):
    project.run("""
        CREATE DOMAIN code AS varchar(3) CHECK (VALUE ~ '^[a-z]+$');
        CREATE TABLE coded (id int PRIMARY KEY, code code)""")
    project.write("coded.csv", "id,code\n1,abc\n")
    project.seed()
    project.write("coded.csv", "id,code\n1,abc\n2,ABC\n")
    refused("coded.csv", 3, "code", "type code")
    project.write("coded.csv", "id,code\n1,abc\n2,abcd\n")
    refused("coded.csv", 3, "code")


def test_exclusion_constraints_are_traced_to_their_line(project, refused):
    project.run("CREATE TABLE stays (id int PRIMARY KEY, days int4range, EXCLUDE USING gist (days WITH &&))")
    project.write("stays.csv", 'id,days\n1,"[1,5)"\n2,"[5,6)"\n3,"[4,7)"\n')
    refused("stays.csv", 4, None, "stays_days_excl")


def test_types_without_equality_are_compared_by_their_text(project):
    project.run("CREATE TABLE points (id int PRIMARY KEY, at point, raw json, line lseg[])")
    project.write("points.csv", 'id,at,raw,line\n1,"(1,2)","{""a"":1}","{""[(1,1),(2,2)]""}"\n')
    project.seed()
    assert project.counts(project.seed()) == {"points": (0, 0, 1, 0)}
    project.write("points.csv", 'id,at,raw,line\n1,"(1,3)","{""a"":2}","{""[(1,1),(2,3)]""}"\n')
    assert project.counts(project.seed()) == {"points": (0, 1, 0, 0)}


def test_a_delete_that_the_database_refuses_names_its_constraint(small_school):
    small_school.run("""
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'kept'; END $$;
        CREATE TRIGGER keep BEFORE DELETE ON pupils FOR EACH ROW EXECUTE FUNCTION keep()""")
    before = small_school.everything()
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    with pytest.raises(SeedError) as caught:
        small_school.seed()
    assert caught.value.place == {"code": "P0001"}
    assert small_school.everything() == before


def test_generated_and_default_columns_do_not_disturb_the_checks(project, refused):
    project.run("""
        CREATE TABLE parts (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED UNIQUE,
                            code uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), serial serial UNIQUE)""")
    project.write("parts.csv", "id,n\n1,1\n2,2\n")
    project.seed()
    assert project.counts(project.seed()) == {"parts": (0, 0, 2, 0)}
    project.write("parts.csv", "id,n\n1,1\n2,1\n")
    refused("parts.csv", 3, None, "parts_twice_key")


def test_tables_are_found_by_the_search_path_and_ordered_by_their_references(project):
    project.run("CREATE SCHEMA other; CREATE TABLE other.pupils (id int PRIMARY KEY)")
    catalog = read_catalog(project.connection)
    assert catalog.find("pupils").schema == "public"
    assert catalog.find("other.pupils").schema == "other"
    assert str(catalog.find("other.pupils")) == "other.pupils"
    ordered = catalog.parents_first([catalog.find(name) for name in ("marks", "pupils", "guardians")])
    assert [table.name for table in ordered] == ["guardians", "pupils", "marks"]
    assert {key.name for key in catalog.referencing(catalog.find("guardians"))} == {"pupils_guardian_id_fkey"}
    with pytest.raises(SchemaError) as caught:
        catalog.find("other.pupil")
    assert caught.value.place == {"table": "other.pupil"}
    assert "other.pupils" in caught.value.remedy
    pupils = catalog.find("pupils")
    assert pupils.columns["loud"].generated
    assert pupils.columns["mood"].labels == ("glad", "sad")
    assert pupils.columns["tags"].value.kind == "array"
    assert catalog.find("notes").columns["id"].sequence == "public.notes_id_seq"


# the same value, from file to table ------------------------------------------------------------------------------------


def test_yaml_mappings_keep_their_content_in_every_kind_of_array_and_record(project):
    project.run("""
        CREATE DOMAIN docs AS jsonb[];
        CREATE DOMAIN tags AS text[];
        CREATE TYPE pair AS (name text, detail jsonb, tags text[]);
        CREATE TABLE trees (id int PRIMARY KEY, b jsonb[], j json[], d docs, c pair, cs pair[], ts tags[], t text[])""")
    project.write(
        "trees.yaml",
        """
- id: 1
  b: [{a: 1, b: [yes, true, ~]}, ~, 5]
  j: [{a: "x"}]
  d: [{k: v}]
  c: {name: no, detail: {on: [1.50]}, tags: [a, 'b "c"', ~]}
  cs: [{name: 'O\\Brien, "x"'}, {detail: {}}]
  ts: [[a, b], [c]]
  t: [[a, b], [c, d]]
""",
    )
    project.seed()
    assert project.rows("SELECT b::text, j::text, d::text, c::text, cs::text, ts::text, t::text FROM trees") == [
        (
            '{"{\\"a\\": 1, \\"b\\": [\\"yes\\", true, null]}",NULL,5}',
            '{"{\\"a\\":\\"x\\"}"}',
            '{"{\\"k\\": \\"v\\"}"}',
            '(no,"{""on"": [1.50]}","{a,""b \\\\""c\\\\"""",NULL}")',
            '{"(\\"O\\\\\\\\Brien, \\"\\"x\\"\\"\\",,)","(,{},)"}',
            '{"{a,b}","{c}"}',
            "{{a,b},{c,d}}",
        )
    ]
    assert project.counts(project.seed()) == {"trees": (0, 0, 1, 0)}


def test_an_attribute_that_a_composite_type_lacks_is_named(project, refused):
    project.run("CREATE TYPE pair AS (name text); CREATE TABLE trees (id int PRIMARY KEY, c pair)")
    project.write("trees.yaml", "- id: 1\n  c: {nmae: x}\n")
    refused("trees.yaml", 2, "c", "nmae")


#: type → a value, one that counts as equal (or None), one that does not
COMPARED = {
    "interval": ("30 days", "30 days 00:00:00", "1 mon"),
    "interval day to second": ("1 day", "1 day 0:00", "24:00"),
    "interval[]": ("{30 days}", '{"30 days"}', "{1 mon}"),
    "spans": ("1 day", "1 day 0:00", "24:00"),
    "span": ("(1 day)", '("1 day")', "(24:00)"),
    "spanrange": ("[1 day,2 days)", '["1 day","2 days")', "[24:00,2 days)"),
    "span[]": ("{(1 day)}", '{"(\\"1 day\\")"}', "{(24:00)}"),
    "numeric": ("1.0", "1.00", "1.01"),
    "float8": ("0", "-0", "0.1"),
    "char(3)": ("a", "a  ", "b"),
    "timetz": ("12:00+00", "12:00Z", "13:00+01"),
    "tsvector": ("a:1 b:2", "b:2 a:1", "a:1,3 b:2"),
    "jsonb": ('{"a": 1}', '{"a": 1.0}', '{"a": 2}'),
    "json": ('{"a": 1}', '{ "a":1 }', '{"a": 2}'),
    "json ": ('{"a": "\\u0000"}', None, '{"a": "\\u0000\\u0000"}'),
    "json  ": ('"\\ud800"', None, '"\\ud801"'),
    "json   ": ("1e999999", None, "1e999998"),
    "jsonpath": ("$.a", '$."a"', "$.b"),
    "refcursor": ("a", None, "b"),
    "pg_snapshot": ("10:20:10,14", None, "10:20:10"),
    "holder": ('("{}","(1,2)")', None, '("{}","(1,3)")'),
    "jsonpath[]": ("{$.a}", None, "{$.b}"),
    "point": ("(1,2)", "1,2", "(1,3)"),
    "box": ("(1,1),(0,0)", "(1,0),(0,1)", "(2,0.5),(0,0)"),
    "circle": ("<(0,0),1>", None, "<(1,0),1>"),
    "money": ("1", "$1.00", "2"),
    "varchar(9)": ("a", None, "A"),
    "cidr": ("10.0.0.0/8", None, "10.0.0.0/9"),
    "int4multirange": ("{[1,3),[3,5)}", "{[1,5)}", "{[1,4)}"),
    '"char"': ("a", None, "b"),
    "regclass": ("pupils", "public.pupils", "marks"),
    "mood": ("glad", None, "sad"),
}


@pytest.mark.parametrize("kind", COMPARED)
def test_values_are_compared_by_their_effect(project, kind):
    value, equal, other = COMPARED[kind]
    project.run(f"""
        CREATE DOMAIN spans AS interval; CREATE TYPE span AS (s interval);
        CREATE TYPE spanrange AS RANGE (subtype = interval);
        CREATE TYPE holder AS (j json, p point);
        CREATE TABLE compared (id int PRIMARY KEY, v {kind})""")

    def seeded(text: str) -> tuple[int, int, int, int]:
        quoted = text.replace('"', '""')
        project.write("compared.csv", f'id,v\n1,"{quoted}"\n')
        return project.counts(project.seed())["compared"]

    assert seeded(value) == (1, 0, 0, 0)
    assert seeded(value) == (0, 0, 1, 0)
    if equal is not None:
        assert seeded(equal) == (0, 0, 1, 0)
    assert seeded(other) == (0, 1, 0, 0)
    assert project.rows(f"SELECT v::text = $x${other}$x$::{kind}::text FROM compared") == [(True,)]


@pytest.mark.parametrize(
    ("kind", "highest", "following"),
    [
        ("numeric", "41", "42"), ("numeric(12)", "41", "42"), ("numeric", "41.5", "42"), ("code", "41", "42"),
        ("deep", "41", "42"), ("smallint", "41", "42"), ("bigint", "9007199254740993", "9007199254740994"),
        ("numeric", "NaN", "1"), ("numeric", "9" * 30, "1"),
    ],
)  # fmt: skip
def test_sequences_are_moved_past_ids_of_every_numeric_type(project, kind, highest, following):
    project.run(f"""
        CREATE DOMAIN code AS bigint; CREATE DOMAIN deep AS code CHECK (VALUE > 0);
        CREATE SEQUENCE ids;
        CREATE TABLE numbered (id {kind} PRIMARY KEY DEFAULT nextval('ids'))""")
    project.write("numbered.csv", f"id\n{highest}\n")
    project.seed()
    assert project.rows("INSERT INTO numbered DEFAULT VALUES RETURNING id::text") == [(following,)]


@pytest.mark.parametrize(
    "default",
    [
        "next_number()", "'INV-' || next_number()", "nextval('invoices'::text)::text", "('x' || nextval('invoices'))",
        "stable_number()", "(1 +# 2)::text", "lower(next_number())",
    ],
)  # fmt: skip
def test_a_default_with_effects_is_evaluated_once_for_each_row(project, default):
    project.run(f"""
        CREATE SEQUENCE invoices;
        CREATE FUNCTION next_number() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT nextval('invoices')::text $$;
        CREATE FUNCTION stable_number() RETURNS text LANGUAGE sql STABLE AS $$ SELECT nextval('invoices')::text $$;
        CREATE FUNCTION add_one(int, int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT nextval('invoices')::int $$;
        CREATE OPERATOR +# (LEFTARG = int, RIGHTARG = int, FUNCTION = add_one);
        CREATE TABLE bills (id int PRIMARY KEY, number text NOT NULL UNIQUE DEFAULT {default})""")
    project.write("bills.csv", "id\n1\n2\n3\n")
    assert project.counts(project.seed()) == {"bills": (3, 0, 0, 0)}
    assert project.rows("SELECT last_value FROM invoices") == [(3,)]
    assert project.counts(project.seed()) == {"bills": (0, 0, 3, 0)}
    assert project.rows("SELECT last_value FROM invoices") == [(3,)]


def test_the_default_of_a_domain_fills_a_column_that_no_line_names(project):
    project.run("""
        CREATE DOMAIN state AS text DEFAULT 'open' NOT NULL;
        CREATE TABLE tickets (id int PRIMARY KEY, state state NOT NULL)""")
    project.write("tickets.csv", "id\n1\n")
    project.seed()
    assert project.rows("SELECT state FROM tickets") == [("open",)]


@pytest.fixture
def stays(project):
    """A table whose primary key is temporal, as PostgreSQL 18 has it."""
    if project.connection.info.server_version < 180000:
        pytest.skip("PostgreSQL 18 brings WITHOUT OVERLAPS")
    project.run("""
        CREATE TABLE stays (room int4range, during daterange, guest text UNIQUE,
                            PRIMARY KEY (room, during WITHOUT OVERLAPS))""")
    return project


def test_a_temporal_primary_key_names_a_row(stays, refused):
    rows = ['"[1,2)","[2026-01-01,2026-02-01)",Ana\n', '"[1,2)","[2026-02-01,2026-03-01)",Eva\n']
    stays.write("stays.csv", "room,during,guest\n" + "".join(rows))
    assert stays.counts(stays.seed()) == {"stays": (2, 0, 0, 0)}
    stays.write("stays.csv", "room,during,guest\n" + rows[0].replace("Ana", "Ada"))
    assert stays.counts(stays.seed()) == {"stays": (0, 1, 0, 1)}
    stays.write("stays.csv", "room,during,guest\n" + rows[0] + rows[1].replace("02-01", "01-15"))
    refused("stays.csv", 3, None, "stays_pkey")


def test_a_session_that_may_only_read_is_told_so(small_school):
    small_school.write("guardians.csv", "id,email,phone\ng1,new@x.example,\n")
    small_school.run("SET default_transaction_read_only = on")
    try:
        with pytest.raises(DatabaseError) as caught:
            small_school.seed()
    finally:
        small_school.connection.execute("SET default_transaction_read_only = off")
        small_school.connection.commit()
    assert "default_transaction_read_only" in caught.value.remedy
