"""What face bindings may say, and which of them a command works on."""

from pathlib import Path

import msgspec
import pytest

from seedtool.errors import SettingsError
from seedtool.faces.bindings import chosen
from seedtool.settings import FaceBinding, Settings, load

CONSTANT = FaceBinding(table="constant", collection="one")
PLAIN = FaceBinding(table="plain")
BY_COLUMN = FaceBinding(table="column", collection_column="aws_collection_id")
BY_QUERY = FaceBinding(table="query", collection_query="SELECT id, c FROM query")


def settings(*faces, collection=None):
    where = Path("/nowhere")
    return Settings(root=where, home=where, seeds=where, alembic_ini=where, faces=faces, collection=collection)


@pytest.mark.parametrize(
    ("given", "fault", "cure"),
    [
        ({"collection": "a", "collection_column": "b"}, "collection and collection_column both", "Keep the one"),
        (
            {"collection_column": "b", "collection_query": "c"},
            "collection_column and collection_query both",
            "Keep the",
        ),
        ({"collection": "has space"}, "'has space' cannot be a collection id", "letters"),
        ({"where": " "}, "where is empty", "leave it out"),
        ({"key": ()}, "key names no column", "key ="),
    ],
)
def test_what_contradicts_itself_is_told_with_the_cure(given, fault, cure):
    with pytest.raises(SettingsError, match=fault) as caught:
        FaceBinding(table="student_faces", **given)
    assert "setting faces: student_faces: " in caught.value.message
    assert cure in caught.value.remedy


def test_pyproject_is_told_the_same(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.seedtool.faces]]\ntable = "t"\ncollection = "a"\ncollection_column = "b"\n'
    )
    with pytest.raises(SettingsError, match="setting faces: t: collection and collection_column"):
        load(tmp_path, environ={"HOME": str(tmp_path)})
    (tmp_path / "pyproject.toml").write_text('[[tool.seedtool.faces]]\ntable = "t"\nboxes = "b"\n')
    with pytest.raises(SettingsError, match="unknown field `boxes`"):
        load(tmp_path, environ={"HOME": str(tmp_path)})


def tables(found):
    return [(binding.table, collection) for binding, collection in found]


def test_without_a_collection_given_each_has_its_own_or_the_setting():
    found = chosen(settings(CONSTANT, PLAIN, BY_COLUMN, BY_QUERY, collection="set"))
    assert tables(found) == [("constant", "one"), ("plain", "set"), ("column", "set"), ("query", "set")]
    assert tables(chosen(settings(CONSTANT, BY_COLUMN))) == [("constant", "one"), ("column", None)]
    with pytest.raises(SettingsError, match="the faces of plain are in no collection"):
        chosen(settings(CONSTANT, PLAIN))


def test_a_collection_given_selects_constants_that_name_it_and_rows_of_the_others():
    assert tables(chosen(settings(CONSTANT, PLAIN, BY_COLUMN), "one")) == [("constant", "one"), ("column", "one")]
    assert tables(chosen(settings(CONSTANT, BY_QUERY), "two")) == [("query", "two")]
    assert tables(chosen(settings(CONSTANT), "two")) == [("constant", "two")]
    with pytest.raises(SettingsError, match="no face binding names the collection two"):
        chosen(settings(CONSTANT, PLAIN, collection="x"), "two")


def test_the_shipped_bindings_are_the_school_and_the_photo_library():
    root = Path(__file__).resolve().parents[3]
    shipped = load(root, environ={"HOME": str(root)}).faces
    assert [each.table for each in shipped] == ["student_faces", "faces"]
    assert shipped[0].collection_column == "students.aws_collection_id"
    assert (shipped[1].where, shipped[1].box) == ("NOT deleted", "bounding_box")
    assert msgspec.convert(msgspec.to_builtins(shipped), tuple[FaceBinding, ...]) == shipped
