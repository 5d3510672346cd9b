"""A migration gives a table another key: the ledger still knows which rows the seeds put there."""

import pytest

LEDGER = "SELECT key FROM seedtool.ledger WHERE seed_set <> '' ORDER BY key::text"


def lines(project, header, *rows):
    project.write("notes_of.csv", "\n".join([header, *rows, ""]))


def rows(project):
    return project.rows("SELECT * FROM notes_of AS t ORDER BY t::text")


@pytest.mark.parametrize("default", ["", " DEFAULT 'low'"])
def test_a_new_column_of_a_table_without_a_key_doubles_no_row(project, default):
    project.run("CREATE TABLE notes_of (body text)")
    lines(project, "body", "a", "b", "b")
    project.seed()
    project.run(f"ALTER TABLE notes_of ADD level text{default}; INSERT INTO notes_of VALUES ('b', 'mine')")
    lines(project, "body,level", "a,x", "b,x", "b,x")
    assert project.counts(project.seed()) == {"notes_of": (3, 0, 0, 3)}
    assert rows(project) == [("a", "x"), ("b", "mine"), ("b", "x"), ("b", "x")]


def test_a_row_whose_new_column_somebody_filled_in_is_kept(project):
    project.run("CREATE TABLE notes_of (body text)")
    lines(project, "body", "a", "b")
    project.seed()
    project.run("ALTER TABLE notes_of ADD level text; UPDATE notes_of SET level = 'mine' WHERE body = 'b'")
    lines(project, "body,level", "a,x")
    report = project.seed()
    assert (project.counts(report), report.tables[0].kept) == ({"notes_of": (1, 0, 0, 1)}, 1)
    assert rows(project) == [("a", "x"), ("b", "mine")]


def test_a_column_that_goes_leaves_the_rows_the_seeds(project):
    project.run("CREATE TABLE notes_of (body text, level text)")
    lines(project, "body,level", "a,x", "b,x", "b,x", "b,y")
    project.seed()
    project.run("ALTER TABLE notes_of DROP level")
    lines(project, "body", "a", "b", "b", "b")
    assert project.counts(project.seed()) == {"notes_of": (0, 0, 4, 0)}
    lines(project, "body", "a", "b")
    assert project.counts(project.seed()) == {"notes_of": (0, 0, 2, 2)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "ADD PRIMARY KEY (id)"),
        (", PRIMARY KEY (id)", "DROP CONSTRAINT notes_of_pkey"),
        (", PRIMARY KEY (id)", "DROP CONSTRAINT notes_of_pkey, ADD PRIMARY KEY (id, body)"),
        (", PRIMARY KEY (id, body)", "DROP CONSTRAINT notes_of_pkey, ADD PRIMARY KEY (body)"),
        (", PRIMARY KEY (id)", "ALTER id TYPE text"),
    ],
)
def test_another_key_leaves_the_rows_the_seeds(project, before, after):
    project.run(f"CREATE TABLE notes_of (id int, body text, level text{before})")
    lines(project, "id,body,level", "1,a,", "2,b,x", "3,c,y")
    project.seed()
    project.run(f"ALTER TABLE notes_of {after}; INSERT INTO notes_of VALUES ('9', 'mine')")
    lines(project, "id,body,level", "1,a,", "3,c,y")
    assert project.counts(project.seed(dry_run=True)) == {"notes_of": (0, 0, 2, 1)}
    assert project.counts(project.seed()) == {"notes_of": (0, 0, 2, 1)}
    project.remove("notes_of.csv")
    project.write("guardians.csv", "id\n")
    assert project.counts(project.seed())["notes_of"] == (0, 0, 0, 2)
    assert [body for _, body, _ in rows(project)] == ["mine"]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE notes_of ALTER id TYPE int USING substr(id, 2)::int",
        "CREATE DOMAIN code AS text CHECK (VALUE < 'a'); ALTER TABLE notes_of ALTER id TYPE code USING substr(id, 2)",
        "DROP TABLE notes_of; CREATE TABLE notes_of (id int PRIMARY KEY, body text); INSERT INTO notes_of VALUES (1)",
        "DROP TABLE notes_of; CREATE TABLE notes_of (number int PRIMARY KEY, id text); INSERT INTO notes_of VALUES (1)",
    ],
)
@pytest.mark.parametrize("file", [True, False])
def test_a_key_of_which_the_ledger_knows_no_value_deletes_no_row(project, change, file):
    project.run("CREATE TABLE notes_of (id text PRIMARY KEY, body text)")
    project.write("guardians.csv", "id\n")
    lines(project, "id,body", "g1,a", "g7,b")
    project.seed()
    project.run(change)
    before = len(rows(project))
    if file:
        lines(project, "number" if "number" in change else "id", "5")
    else:
        project.remove("notes_of.csv")
    report = project.counts(project.seed())
    assert report.get("notes_of", (0, 0, 0, 0))[3] == 0
    assert len(rows(project)) == before + file


def test_a_label_that_was_renamed_stops_no_seed(project):
    project.run("CREATE TABLE notes_of (id mood PRIMARY KEY, body text)")
    lines(project, "id,body", "glad,a", "sad,b")
    project.seed()
    project.run("ALTER TYPE mood RENAME VALUE 'glad' TO 'happy'")
    lines(project, "id,body", "happy,c")
    assert project.counts(project.seed()) == {"notes_of": (0, 1, 0, 1)}
    assert project.rows(LEDGER) == []
