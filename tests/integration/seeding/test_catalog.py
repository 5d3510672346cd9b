"""What seeding makes of the rarer things a schema may hold."""

import pytest

from seedtool.errors import FixtureError, SchemaError, SeedError
from seedtool.postgres.catalog import read_catalog


def refused(project, words):
    before = project.everything()
    with pytest.raises(FixtureError, match=words) as caught:
        project.seed()
    assert caught.value.remedy
    assert project.everything() == before


def test_partial_and_expression_indexes_and_equal_nulls(project):
    project.run("""
        CREATE TABLE desks (id int PRIMARY KEY, code text, deleted bool NOT NULL DEFAULT false, spare int);
        CREATE UNIQUE INDEX live ON desks (lower(code)) WHERE NOT deleted;
        CREATE UNIQUE INDEX one_null ON desks (spare) NULLS NOT DISTINCT""")
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,1\n2,a,true,2\n3,B,false,3\n4,,false,4\n5,,false,5\n")
    project.seed()
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,1\n2,a,false,2\n")
    refused(project, r"desks.csv:3.*desks.csv:2; live lets one row of desks")
    project.write("desks.csv", "id,code,deleted,spare\n1,A,false,\n3,B,false,\n")
    refused(project, r"desks.csv:3, column spare: .*one_null")
    project.write("desks.csv", "id,code,deleted,spare\n1,b,false,1\n3,a,false,3\n")
    refused(project, r"desks.csv:2.*exchanges a unique value with .*desks.csv:3")


def test_references_to_a_unique_column_follow_what_the_files_make_of_it(project):
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
    refused(project, r"streets.csv:5, column town: no row of towns has code = C")


def test_domains_are_checked_cell_by_cell(project):
    project.run("""
        CREATE DOMAIN code AS varchar(3) CHECK (VALUE ~ '^[a-z]+$');
        CREATE TABLE coded (id int PRIMARY KEY, code code)""")
    project.write("coded.csv", "id,code\n1,abc\n")
    project.seed()
    project.write("coded.csv", "id,code\n1,abc\n2,ABC\n")
    refused(project, r"coded.csv:3, column code: .*not allowed by the type code")
    project.write("coded.csv", "id,code\n1,abc\n2,abcd\n")
    refused(project, r"coded.csv:3, column code: .*too long")


def test_exclusion_constraints_are_traced_to_their_line(project):
    project.run("CREATE TABLE stays (id int PRIMARY KEY, days int4range, EXCLUDE USING gist (days WITH &&))")
    project.write("stays.csv", 'id,days\n1,"[1,5)"\n2,"[5,6)"\n3,"[4,7)"\n')
    refused(project, r"stays.csv:4.*stays refuses the row: its constraint stays_days_excl")


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
    with pytest.raises(SeedError, match=r"seeding failed: .*P0001"):
        small_school.seed()
    assert small_school.everything() == before


def test_generated_and_default_columns_do_not_disturb_the_checks(project):
    project.run("""
        CREATE TABLE parts (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED UNIQUE,
                            code uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), serial serial UNIQUE)""")
    project.write("parts.csv", "id,n\n1,1\n2,2\n")
    project.seed()
    assert project.counts(project.seed()) == {"parts": (0, 0, 2, 0)}
    project.write("parts.csv", "id,n\n1,1\n2,1\n")
    refused(project, r"parts.csv:3.*parts refuses the row: its constraint parts_twice_key")


def test_tables_are_found_by_the_search_path_and_ordered_by_their_references(project):
    project.run("CREATE SCHEMA other; CREATE TABLE other.pupils (id int PRIMARY KEY)")
    catalog = read_catalog(project.connection)
    assert catalog.find("pupils").schema == "public"
    assert catalog.find("other.pupils").schema == "other"
    assert str(catalog.find("other.pupils")) == "other.pupils"
    ordered = catalog.parents_first([catalog.find(name) for name in ("marks", "pupils", "guardians")])
    assert [table.name for table in ordered] == ["guardians", "pupils", "marks"]
    assert {key.name for key in catalog.referencing(catalog.find("guardians"))} == {"pupils_guardian_id_fkey"}
    with pytest.raises(SchemaError, match=r"no table other\.pupil") as caught:
        catalog.find("other.pupil")
    assert caught.value.remedy == "Did you mean other.pupils?"
    pupils = catalog.find("pupils")
    assert pupils.columns["loud"].generated
    assert pupils.columns["mood"].labels == ("glad", "sad")
    assert pupils.columns["tags"].is_array
    assert catalog.find("notes").columns["id"].sequence == "public.notes_id_seq"
