"""Tables that refer to each other or to themselves, loaded into tables that have rows and keep their foreign keys."""

import pytest

from seedtool.errors import RecipeError
from seedtool.generating import loading

CIRCLE = (
    "CREATE TABLE a (id int PRIMARY KEY, b_id int); CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a);"
    "ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b; INSERT INTO a VALUES (1000); INSERT INTO b VALUES (1000)"
)
RECIPE = "[rows]\na = 20\nb = 20\n[tables.a]\nid = '{n}'\n[tables.b]\nid = '{n}'\n"


@pytest.fixture
def circle(school):
    school.execute(CIRCLE)
    school.write(RECIPE)
    return school


@pytest.mark.parametrize("workers", [1, 2])
def test_a_circle_is_closed_when_all_rows_are_there(circle, workers):
    circle.load(workers=workers)
    assert circle.value("SELECT count(b_id) FROM a") == circle.value("SELECT count(a_id) FROM b") == 20
    circle.execute("UPDATE a SET b_id = NULL WHERE id = 3")
    circle.load(scale=2)
    assert circle.query("SELECT id FROM a WHERE b_id IS NULL ORDER BY id") == [(3,), (1000,)]  # a person's edit stays
    gone = circle.unload()
    assert gone["a"].changed == 1
    assert gone["a"].removed + gone["a"].referred == 39
    assert circle.value("SELECT count(*) FROM a WHERE id = 1000") == 1


def test_at_once_and_by_and_by_the_rows_are_the_same(circle):
    circle.load()
    filled = circle.query("SELECT * FROM a WHERE id < 1000 ORDER BY 1")
    circle.unload()
    circle.execute("TRUNCATE a, b")
    circle.load()  # the foreign keys are put off
    assert circle.query("SELECT * FROM a ORDER BY 1") == filled


def test_a_load_that_was_killed_before_the_circle_was_closed_is_undone_or_resumed(circle, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for way in ("undo", "resume"):
        with monkeypatch.context() as patched:
            patched.setattr(loading._Loading, "_fill", interrupt)
            with pytest.raises(KeyboardInterrupt):
                circle.load()
        if way == "resume":
            circle.load(resume=True)
            assert circle.value("SELECT count(b_id) FROM a") == 20
        gone = circle.unload()
        assert gone["a"].removed == gone["b"].removed == 20


def test_a_circle_without_a_beginning_is_refused_before_a_row_is_written(school):
    school.execute(
        "CREATE TABLE a (id int PRIMARY KEY, b_id int NOT NULL); INSERT INTO a VALUES (1000, 1000);"
        "CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a); INSERT INTO b VALUES (1000, 1000);"
        "ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b"
    )
    school.write(RECIPE)
    with pytest.raises(RecipeError) as raised:
        school.load()
    assert raised.value.place["line"] == 6
    assert "take NULL" in raised.value.remedy
    assert school.value("SELECT count(*) FROM a") == 1
    assert school.value("SELECT to_regclass('seedtool.loads')") is None


def test_of_a_circle_that_one_not_null_is_in_the_other_table_begins(school):
    school.execute(
        "CREATE TABLE d (id serial PRIMARY KEY, head int); CREATE TABLE e (id serial PRIMARY KEY, d_id int NOT NULL"
        " REFERENCES d); ALTER TABLE d ADD FOREIGN KEY (head) REFERENCES e"
    )
    school.write("[rows]\nd = 10\ne = '5 per d'\n")
    school.load()
    before = school.query("SELECT * FROM d ORDER BY id")
    school.load(scale=2)
    assert school.query("SELECT * FROM d ORDER BY id LIMIT 10") == before
    assert school.value("SELECT count(*) FROM d JOIN e ON e.id = head AND d_id = d.id") == 20
    assert school.unload()["d"].removed == 20


def test_rows_of_one_table_come_in_their_order(school, monkeypatch):
    school.execute("CREATE TABLE a (id int PRIMARY KEY, up int REFERENCES a); INSERT INTO a VALUES (10000)")
    school.write("[rows]\na = 400\n[tables.a]\nid = '{n}'\n")
    monkeypatch.setattr(loading, "ROWS_A_SLICE", 16)
    school.load(workers=2)
    assert school.value("SELECT count(*) FROM a WHERE up >= id") == 0
    assert school.value("SELECT count(up) FROM a") == 399
