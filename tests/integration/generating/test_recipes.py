"""The recipes of this repository, upon the rows of `local`."""

import pytest

from seedtool.postgres import server
from seedtool.workflows import load as workflow

pytestmark = pytest.mark.seed("local")


@pytest.mark.parametrize(("recipe", "scale", "students"), [("demo", 1.0, 391), ("district", 0.025, 849)])
def test_a_recipe_of_this_repository_is_loaded_and_taken_away(schooled, seedtool_settings, recipe, scale, students):
    options = {"settings": seedtool_settings, "target": schooled, "confirm": schooled.name}
    report = workflow.load(recipe, scale=scale, **options)
    rows = {each.table: each.rows for each in report.tables}
    assert rows["students"] == students
    assert rows["student_faces"] == 2 * students
    with server.connect(schooled) as connection:
        query = "SELECT count(*) FROM students s JOIN grade_sections g ON g.id = s.grade_section_id WHERE {}"
        assert connection.execute(query.format("g.grade_id <> s.grade_id").encode()).fetchone() == (0,)
        assert connection.execute(query.format(f"s.id LIKE '{recipe}%'").encode()).fetchone() == (students,)
    again = workflow.unload(recipe, **options)
    assert sum(each.removed for each in again.tables) == report.rows
