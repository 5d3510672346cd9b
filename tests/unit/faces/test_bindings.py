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
    ("key", "given"),
    [
        ("collection", {"collection": "a", "collection_column": "b"}),
        ("collection_column", {"collection_column": "b", "collection_query": "c"}),
        ("collection", {"collection": "has space"}),
        ("where", {"where": " "}),
        ("key", {"key": ()}),
    ],
)
def test_what_contradicts_itself_is_told_with_the_cure(key, given, approved):
    with pytest.raises(SettingsError) as caught:
        FaceBinding(table="student_faces", **given)
    assert caught.value.place == {"setting": "faces", "table": "student_faces", "key": key}
    assert "student_faces" in caught.value.message
    approved(caught.value)


def test_pyproject_is_told_the_same(tmp_path, approved):
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.seedtool.faces]]\ntable = "t"\ncollection = "a"\ncollection_column = "b"\n'
    )
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, environ={"HOME": str(tmp_path)})
    assert caught.value.place == {"setting": "faces", "table": "t", "key": "collection"}
    (tmp_path / "pyproject.toml").write_text('[[tool.seedtool.faces]]\ntable = "t"\nboxes = "b"\n')
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, environ={"HOME": str(tmp_path)})
    assert (caught.value.place["setting"], caught.value.place["file"]) == ("faces", "pyproject.toml")
    assert "boxes" in caught.value.message
    approved(caught.value)


def tables(found):
    return [(binding.table, collection) for binding, collection in found]


def test_without_a_collection_given_each_has_its_own_or_the_setting():
    found = chosen(settings(CONSTANT, PLAIN, BY_COLUMN, BY_QUERY, collection="set"))
    assert tables(found) == [("constant", "one"), ("plain", "set"), ("column", "set"), ("query", "set")]
    assert tables(chosen(settings(CONSTANT, BY_COLUMN))) == [("constant", "one"), ("column", None)]
    with pytest.raises(SettingsError) as caught:
        chosen(settings(CONSTANT, PLAIN))
    assert caught.value.place == {"setting": "collection", "table": "plain"}
    assert "AWS_REKOGNITION_COLLECTION" in caught.value.remedy


def test_a_collection_given_selects_constants_that_name_it_and_rows_of_the_others():
    assert tables(chosen(settings(CONSTANT, PLAIN, BY_COLUMN), "one")) == [("constant", "one"), ("column", "one")]
    assert tables(chosen(settings(CONSTANT, BY_QUERY), "two")) == [("query", "two")]
    assert tables(chosen(settings(CONSTANT), "two")) == [("constant", "two")]
    with pytest.raises(SettingsError) as caught:
        chosen(settings(CONSTANT, PLAIN, collection="x"), "two")
    assert caught.value.place == {"setting": "faces", "option": "--collection"}
    assert "two" in caught.value.message


def test_the_shipped_bindings_are_the_school_and_the_photo_library():
    root = Path(__file__).resolve().parents[3]
    shipped = load(root, environ={"HOME": str(root)}).faces
    assert [each.table for each in shipped] == ["student_faces", "faces"]
    assert shipped[0].collection_column == "students.aws_collection_id"
    assert (shipped[1].where, shipped[1].box) == ("NOT deleted", "bounding_box")
    assert msgspec.convert(msgspec.to_builtins(shipped), tuple[FaceBinding, ...]) == shipped
