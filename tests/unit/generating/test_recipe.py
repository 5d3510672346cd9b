"""Recipes are read strictly: each mistake is told with its line and character, and with what to write."""

import textwrap

import pytest

from seedtool.errors import RecipeError, UsageError
from seedtool.generating import recipe as recipes

GOOD = """\
description = "A district"
units = 4

[rows]
grades = "14 in all"
schools = "given"
families = 1000
pupils = "1..3 per families"
photos = { per = "pupils", weights = { 0 = 20, 1 = 60, 2 = 20 } }
rooms = { per = "schools", sizes = [30, 10] }

[tables.pupils]
id = "pupil-{n:06}"
sex = ["F", "M"]
grade = { kind = "integer", least = 1, most = 12, nulls = 0.25 }
active = true
"""


def read(text):
    return recipes.read(textwrap.dedent(text).encode(), "district", "seeds/district.toml")


def test_a_recipe_says_how_many_rows_there_are_and_what_stands_in_them():
    recipe = read(GOOD)
    rows = recipe.rows
    assert (rows["grades"].rows, rows["grades"].scaled) == (14, False)
    assert rows["schools"].given
    assert rows["pupils"].deck == (1, 2, 3)
    assert sorted(rows["photos"].deck) == [0, 1, 1, 1, 2]
    assert (rows["rooms"].deck, rows["rooms"].shuffled) == ((30, 10), False)
    pupils = recipe.tables["pupils"]
    assert (pupils["id"].kind, pupils["id"].parameters) == ("template", {"format": "pupil-{n:06}"})
    assert pupils["sex"].parameters == {"values": ["F", "M"]}
    assert (pupils["grade"].nulls, pupils["grade"].parameters) == (250_000, {"least": 1, "most": 12})
    assert pupils["active"].parameters == {"value": True}


def test_its_hash_is_of_what_it_says():
    recipe = read(GOOD)
    assert read("# a comment\n\n" + GOOD).hash == recipe.hash
    assert read(GOOD.replace("1..3", "1..4")).hash != recipe.hash


@pytest.mark.parametrize(
    ("text", "line", "character", "cure"),
    [
        ("rows = 3", 1, 1, "[rows]"),
        ("[rows]\na = 100000000000000000000000", 2, 1, "999,999,999,999"),
        ("[rows]\na = '100000000000000000000000 in all'", 2, 1, "in all"),
        ("[rows]\na = '" + "9" * 5000 + " in all'", 2, 1, "in all"),
        ("[rows]\na = 1\nb = '" + "9" * 5000 + " per a'", 3, 1, "20..35"),
        ("[row]\na = 1", 1, 2, "rows"),
        ("[rows]\na = -1", 2, 1, "1 or more"),
        ("[rows]\na = 'many'", 2, 1, '"2 per PARENT"'),
        ("[rows]\na = 1.5", 2, 1, '"2 per PARENT"'),
        ("[rows]\na = '3..1 per b'\nb = 1", 2, 1, "smaller number first"),
        ("[rows]\na = '0 per b'\nb = 1", 2, 1, "above 0"),
        ("[rows]\na = '2 per bs'\nb = 1", 2, 1, "Did you mean b?"),
        ("[rows]\na = '2 per b'\nb = '2 per a'", 2, 1, "a = 1000"),
        ("[rows]\na = { per = 'b' }\nb = 1", 2, 1, "weights = { 1 = 60"),
        ("[rows]\na = { per = 'b', weight = 3 }\nb = 1", 2, 18, "Did you mean weights?"),
        ("[rows]\na = { per = 'b', weights = { x = 3 } }\nb = 1", 2, 30, "weights = { 1 = 60"),
        ("[rows]\na = { per = 'b', sizes = [] }\nb = 1", 2, 18, "sizes = [1200, 800, 300]"),
        ("[rows]\na = { per = 'b', sizes = [0] }\nb = 1", 2, 1, "above 0"),
        ("[rows]\na = { per = 'b', weights = { 1 = 20001, 2 = 10000 } }\nb = 1", 2, 18, "smaller weights"),
        ("units = 0\n[rows]\na = 1", 1, 1, "units = 40"),
        ("units = 3\n[rows]\na = 10", 3, 1, '9 or 12, or "10 in all"'),
        ("[rows]\na = 1\n[tables.b]\nx = 'y'", 3, 9, "b = 1000"),
        ("[rows]\na = 1\n[tables]\na = 5", 4, 1, "[tables.a]"),
        ("[rows]\na = 1\n[a]\nx = 'y'", 3, 2, "[tables.a]"),
        ("[rows]\na = 1\n[tables.a]\nx = { kind = 3 }", 4, 1, 'kind = "first_name"'),
        ("[rows]\na = 1\n[tables.a]\nx = { kind = 'text', nulls = 2 }", 4, 22, "nulls = 0.2"),
        ("[rows]\na = 1\na = 2", 3, None, "twice"),
        ("[rows\na = 1", 1, None, "Correct the line"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_cure(text, line, character, cure):
    with pytest.raises(RecipeError) as raised:
        read(text)
    error = raised.value
    assert error.place["file"] == "seeds/district.toml"
    assert error.place["line"] == line
    assert character is None or error.place["character"] == character
    assert cure in error.remedy


def test_a_recipe_that_there_is_not_is_told_with_those_there_are(tmp_path):
    (tmp_path / "district.toml").write_text(GOOD)
    (tmp_path / "profiles.toml").write_text("")
    with pytest.raises(UsageError) as raised:
        recipes.find(tmp_path, "distric", tmp_path)
    assert raised.value.remedy == "Did you mean district? The recipes are: district."
    assert recipes.find(tmp_path, "district", tmp_path).file == "district.toml"
    assert recipes.find(tmp_path, str(tmp_path / "district.toml"), tmp_path).name == "district"


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e30, -1.0, 0.0, 0.5])
def test_a_scale_that_counts_no_rows_is_refused(scale):
    recipe = recipes.read(b"[rows]\na = 10\n", "x", "x.toml")
    with pytest.raises(UsageError) as raised:
        recipes.units_of(recipe, scale)
    assert raised.value.place["option"] == "--scale"
    assert "Write" in raised.value.remedy
