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
    ("given", "fault", "cure"),
    [
        ({"collection_column": "student.aws_collection_id"}, "the table student does not exist", "migrate"),
        ({"collection_column": "aws_collection_id"}, "student_faces has no column aws_collection_id", "Name the column"),
        ({"collection_column": "students.aws_collection"}, "has no column aws_collection", "mean aws_collection_id"),
        ({"collection_column": "teachers.email"}, "no foreign key leads from student_faces to teachers", "collection_query"),
        ({"collection_query": "SELECT nonsense"}, 'collection_query .* column "nonsense" does not exist', "a SELECT that"),
        ({"collection_query": "SELECT 'x'"}, "collection_query .* cannot be used", "gives id and the collection"),
        ({"collection_query": "SELECT 1, 'x'"}, "collection_query .* cannot be used", "gives id and the collection"),
        ({"collection_query": "SELECT 'x', 'y' UNION ALL SELECT 'x', 'z'"}, "gives one row twice", "each key once"),
        ({"where": "not_there"}, "where .* cannot be used", "NOT deleted"),
        ({"where": "photo_url LIKE 'a%'"}, "where .* holds a %", "starts_with"),
        ({"box": "boxes"}, "no column boxes", "migrate"),
        ({"box": "photo_url"}, "photo_url of student_faces is text, not jsonb", "Rekognition"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_told_with_the_cure(school, places, given, fault, cure):
    with pytest.raises(SchemaError, match=fault) as caught:
        places(FaceBinding(table="student_faces", **given))
    assert cure in caught.value.remedy


def test_several_foreign_keys_to_the_parent_are_not_guessed(school, places):
    school.execute("ALTER TABLE student_faces ADD twin text REFERENCES students")
    with pytest.raises(SchemaError, match="2 foreign keys lead") as caught:
        places(FaceBinding(table="student_faces", collection_column="students.aws_collection_id"))
    assert "collection_query" in caught.value.remedy
