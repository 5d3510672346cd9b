"""The recipes of this repository, upon the rows of `local`."""

import msgspec
import pytest

import seedtool
from seedtool.errors import UsageError
from seedtool.postgres import server
from seedtool.workflows import load as workflow
from seedtool.workflows.face_service import stop_emulator

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


def test_a_sync_is_rehearsed_by_two_commands(schooled, seedtool_settings, tmp_path):
    settings = msgspec.structs.replace(seedtool_settings, home=tmp_path, aws="embedded")
    options = {"settings": settings, "target": schooled}
    workflow.load("demo", plant=True, confirm=schooled.name, **options)
    try:
        synced = seedtool.sync(**options)
    finally:
        stop_emulator(settings)
    assert synced.synced == 782
    with server.connect(schooled) as connection:
        left = "SELECT count(*) FROM student_faces WHERE student_id LIKE 'demo%' AND face_id LIKE 'placeholder:%'"
        assert connection.execute(left.encode()).fetchone() == (0,)
    again = workflow.unload("demo", confirm=schooled.name, **options)  # what a sync wrote is no change of people
    assert sum(each.changed for each in again.tables) == 0


def test_faces_are_planted_in_the_embedded_rekognition_alone(schooled, seedtool_settings):
    settings = msgspec.structs.replace(seedtool_settings, aws="live")
    with pytest.raises(UsageError) as raised:
        workflow.load("demo", plant=True, confirm=schooled.name, settings=settings, target=schooled)
    assert raised.value.place["option"] == "--plant"
