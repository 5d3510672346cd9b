"""Where a binding says its rows' collections are, and what is told when that does not fit the schema."""

import msgspec
import pytest

from seedtool.errors import SchemaError
from seedtool.faces import bindings
from seedtool.settings import FaceBinding


@pytest.fixture
def places(school, mine):
    """Returns in which collections the rows of a binding are: places(binding, collection=None)."""

    def look(binding, collection=None, default="set"):
        settings = msgspec.structs.replace(mine, faces=(binding,), collection=default)
        (bound,) = bindings.bind(school, settings, collection)
        return bound.collections(school)

    return look


@pytest.fixture
def some_rows(school, face_rows):
    face_rows("student-001-photo-1", "student-001-photo-2", "student-002-photo-1", "student-003-photo-1")
    school.execute("ALTER TABLE students ALTER aws_collection_id DROP NOT NULL")
    school.execute(
        "UPDATE students SET aws_collection_id = CASE id WHEN 'student-001' THEN 'a' WHEN 'student-002' THEN 'b' END"
    )
    school.commit()


def test_a_constant_a_column_a_parents_column_and_a_query(school, places, some_rows):
    table = "student_faces"
    assert places(FaceBinding(table=table)) == {"set": 4}
    assert places(FaceBinding(table=table, collection="c")) == {"c": 4}
    assert places(FaceBinding(table=table, collection="c"), "d") == {"d": 4}
    parents = FaceBinding(table=table, collection_column="students.aws_collection_id")
    assert places(parents) == {"a": 2, "b": 1, "set": 1}
    assert places(parents, default=None) == {"a": 2, "b": 1, None: 1}
    assert places(parents, "b") == {"b": 1}
    assert places(FaceBinding(table=table, collection_column="public.students.aws_collection_id"))["a"] == 2
    query = FaceBinding(
        table=table,
        collection_query="SELECT f.id, s.aws_collection_id FROM student_faces f JOIN students s ON s.id = f.student_id;",
    )
    assert places(query) == {"a": 2, "b": 1, None: 1}
    school.execute("ALTER TABLE student_faces ADD place varchar(20) DEFAULT 'p'")
    assert places(FaceBinding(table=table, collection_column="place")) == {"p": 4}
    assert places(FaceBinding(table=table, collection_column="student_faces.place")) == {"p": 4}


def test_a_condition_chooses_the_rows_though_the_joined_table_has_such_a_column_too(school, places, some_rows):
    school.execute("ALTER TABLE student_faces ADD deleted bool NOT NULL DEFAULT false")
    school.execute("ALTER TABLE students ADD deleted bool NOT NULL DEFAULT true")
    school.execute("UPDATE student_faces SET deleted = true WHERE student_id = 'student-002'")
    binding = FaceBinding(
        table="student_faces", collection_column="students.aws_collection_id", where="NOT deleted -- any more"
    )
    assert places(binding) == {"a": 2, "set": 1}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"collection_column": "student.aws_collection_id"}, {}),
        ({"collection_column": "aws_collection_id"}, {"column": "aws_collection_id"}),
        ({"collection_column": "students.aws_collection"}, {"column": "aws_collection"}),
        ({"collection_column": "teachers.email"}, {}),
        ({"collection_query": "SELECT nonsense"}, {}),
        ({"collection_query": "SELECT 'x'"}, {}),
        ({"collection_query": "SELECT 1, 'x'"}, {}),
        ({"collection_query": "SELECT 'x', 'y' UNION ALL SELECT 'x', 'z'"}, {}),
        ({"where": "not_there"}, {}),
        ({"where": "photo_url LIKE 'a%'"}, {}),
        ({"box": "photo_url"}, {"column": "photo_url"}),
    ],
    ids=range(1, 12),
)
def test_what_does_not_fit_the_schema_is_told_with_the_cure(school, places, given, place, approved):
    with pytest.raises(SchemaError) as caught:
        places(FaceBinding(table="student_faces", **given))
    assert caught.value.place == {"setting": "faces", "table": "student_faces", "key": next(iter(given)), **place}
    approved(caught.value)


def test_a_column_of_boxes_that_is_not_there_is_told(school, places, approved):
    with pytest.raises(SchemaError) as caught:
        places(FaceBinding(table="student_faces", box="boxes"))
    assert caught.value.place == {"setting": "faces", "table": "student_faces", "column": "boxes"}
    approved(caught.value)


def test_several_foreign_keys_to_the_parent_are_not_guessed(school, places, approved):
    school.execute("ALTER TABLE student_faces ADD twin text REFERENCES students")
    with pytest.raises(SchemaError) as caught:
        places(FaceBinding(table="student_faces", collection_column="students.aws_collection_id"))
    approved(caught.value)
    assert "collection_query" in caught.value.remedy
