"""A draft of a recipe can be loaded as it is, and says nothing of a database's values."""

import json
import tomllib

import pytest

from seedtool.errors import SchemaError
from seedtool.postgres import server
from seedtool.workflows import load as workflow


@pytest.mark.seed("local")
def test_the_draft_of_a_whole_schema_can_be_loaded(schooled, seedtool_settings, tmp_path):
    text = workflow.draft_recipe(settings=seedtool_settings, target=schooled)
    assert "# check: " in text  # what JSON has to hold is not inferred, and told
    box = dict.fromkeys(("Left", "Top", "Width", "Height"), 0.25)
    line = next(each for each in text.splitlines() if each.startswith("bounding_box ="))
    text = text.replace(line, f"bounding_box = {{ kind = 'constant', value = '{json.dumps(box)}' }}")
    (tmp_path / "draft.toml").write_text(text)
    options = {"settings": seedtool_settings, "target": schooled, "confirm": schooled.name}
    report = workflow.load(str(tmp_path / "draft.toml"), **options)
    assert {each.table for each in report.tables} >= {"students", "attendance", "faces", "face_person_links"}
    assert all(each.rows for each in report.tables)


def test_numbers_come_from_statistics_and_values_do_not(school):
    school.execute(
        "INSERT INTO families SELECT 'secret-' || n, 'S' FROM generate_series(1, 500) n;"
        "INSERT INTO pupils SELECT n, 'secret-' || (n % 500 + 1), 'active', CASE WHEN n % 4 = 0 THEN 'note' END"
        " FROM generate_series(1, 750) n; ANALYZE"
    )
    like = school.target.conninfo
    text = workflow.draft_recipe(["families", "pupils"], like=like, settings=school.settings, target=school.target)
    assert "secret" not in text
    data = tomllib.loads(text)
    assert data["rows"]["families"] == 500
    assert data["rows"]["pupils"] == {"per": "families", "weights": {"1": 5, "2": 5}}
    assert data["tables"]["pupils"]["id"] == "draft-pupil-{n:06}"
    assert "note" not in data["tables"]["pupils"] or data["tables"]["pupils"]["note"]["nulls"] == 0.75


def test_a_parent_that_is_left_out_is_given(school):
    text = workflow.draft_recipe(["pupils"], settings=school.settings, target=school.target)
    assert tomllib.loads(text)["rows"] == {"families": "given", "pupils": 100}


def test_a_table_that_there_is_not_is_told(school):
    with pytest.raises(SchemaError) as raised:
        workflow.draft_recipe(["pupil"], settings=school.settings, target=school.target)
    assert "pupils" in raised.value.remedy
    with server.connect(school.target) as connection:
        assert connection.execute("SELECT to_regnamespace('seedtool')").fetchone() == (None,)


def test_a_draft_counts_lines_and_tells_of_a_key_that_is_too_narrow(school):
    school.execute(
        "CREATE TABLE orders (no char(2) PRIMARY KEY); CREATE TABLE lines (order_no char(2) NOT NULL REFERENCES orders,"
        " line_no smallint, PRIMARY KEY (order_no, line_no)); INSERT INTO orders SELECT substr(md5(n::text), 1, 2)"
        " FROM generate_series(1, 3000) n ON CONFLICT DO NOTHING; ANALYZE"
    )
    like = school.target.conninfo
    text = workflow.draft_recipe(["orders", "lines"], like=like, settings=school.settings, target=school.target)
    assert "# character(2) has room for 99 numbers, and 256 rows are there" in text
    assert tomllib.loads(text)["tables"]["lines"] == {"line_no": "{k}"}
    school.execute("TRUNCATE orders CASCADE")
    school.write(text.replace("orders = 256", "orders = 99"))
    assert school.load().tables[0].rows == 99
