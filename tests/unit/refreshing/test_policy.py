import tomllib
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedtool.errors import PolicyError
from seedtool.refreshing.check import toml_key, toml_string
from seedtool.refreshing.policy import ColumnLine, TableName, read_policy

GOOD = """
faces = "share"
subset = ["students WHERE grade_id = 'grade-4b'", '"a.b"."Teachers" where true']
after = "after.sql"
empty = ["outbox", "web.hooks"]

[tables]
audit_log = "no rows"

[tables.students]
id = "keep"
first_name = "first_name"
notes = { mask = "text", longest = 200 }
house = { mask = "keep", reason = "a house of the school" }

[tables."sales.orders"]
total = "noise"

[tables.attendance]
id = "keep"

[rows]
attendance = "sample 0.5%"

[[virtual_keys]]
from = 'comments (kind, "subject id")'
to = "students (kind, id)"
where = "kind = 'student'"
"""


@pytest.fixture
def policy_of(tmp_path):
    (tmp_path / "after.sql").write_text("SELECT 1")

    def read(text):
        (tmp_path / "policy.toml").write_text(text)
        return read_policy(tmp_path / "policy.toml", tmp_path)

    return read


def test_a_policy_says_what_becomes_of_each_column(policy_of, tmp_path):
    policy = policy_of(GOOD)
    students = policy.tables["public", "students"]
    assert (students.rows, students.line, students.column) == (None, 10, 9)
    assert students.columns == {
        "id": ColumnLine(mask="keep", line=11, column=1),
        "first_name": ColumnLine(mask="first_name", line=12, column=1),
        "notes": ColumnLine(mask="text", parameters={"longest": 200}, line=13, column=1),
        "house": ColumnLine(mask="keep", reason="a house of the school", line=14, column=1),
    }
    assert policy.tables["public", "audit_log"].rows == "none"
    assert policy.tables["public", "attendance"].rows == Fraction(1, 200)
    assert policy.tables["sales", "orders"].columns["total"].mask == "noise"
    assert policy.faces == "share"
    assert policy.after == (tmp_path / "after.sql",)
    assert policy.empty == (TableName("public", "outbox"), TableName("web", "hooks"))
    assert [(root.table, root.where) for root in policy.subset.roots] == [
        (TableName("public", "students"), "grade_id = 'grade-4b'"),
        (TableName("a.b", "Teachers"), "true"),
    ]
    (key,) = policy.virtual_keys
    assert (key.table, key.columns) == (TableName("public", "comments"), ("kind", "subject id"))
    assert (key.references, key.referenced_columns, key.where) == (
        TableName("public", "students"),
        ("kind", "id"),
        "kind = 'student'",
    )


@pytest.mark.parametrize(
    ("text", "line", "character", "remedy"),
    [
        pytest.param("[tables.a]\nx = 1\nx = 2\n", 3, 6, "twice", id="column twice"),
        pytest.param("[tables.a]\n[tables.a]\n", 2, 10, "twice", id="table twice"),
        pytest.param('[tables.a]\n[tables."public.a"]\n', 2, 9, "Keep one", id="table twice by two names"),
        pytest.param("[table.a]\nx = 'keep'", 1, 2, "tables", id="tables misspelt"),
        pytest.param("[students]\nx = 'keep'", 1, 2, "[tables.students]", id="greenmask 176: a table outside tables"),
        pytest.param(
            "[tables.public.a]\nx = 'keep'", 1, 16, '[tables."public.a"]', id="greenmask 176: schema as a level"
        ),
        pytest.param("[tables.a.columns]\nx = 'keep'", 1, 11, "mask", id="greenmask 176: one level too many"),
        pytest.param("[tables.a]\nx = { first_name = {} }", 2, 1, "mask", id="greenmask 176: mask as a level"),
        pytest.param("[tables.a]\nx = ['keep']", 2, 1, "keep", id="list for a mask"),
        pytest.param("[tables.a]\nx = ''", 2, 1, "keep", id="no word"),
        pytest.param("[tables.a]\nx = { mask = 'keep', longest = 2 }", 2, 22, "reason", id="keep with a parameter"),
        pytest.param("[tables.a]\nx = { mask = 'keep', reason = ' ' }", 2, 22, "reason", id="empty reason"),
        pytest.param("[tables]\na = 'keep'", 2, 1, "[tables.a]", id="a mask for a table"),
        pytest.param("[tables]\na = 'sample 0%'", 2, 1, "sample 1%", id="sample of nothing"),
        pytest.param("[tables]\na = 'no rows'\n[rows]\na = 'no rows'", 4, 1, "Keep one", id="rows twice"),
        pytest.param("[rows]\na = 'no rows'", 2, 1, "[tables.a]", id="rows of an unknown table"),
        pytest.param("face = 'share'", 1, 1, "faces", id="unknown key"),
        pytest.param("faces = 'copy'", 1, 1, "placeholder", id="unknown word"),
        pytest.param("faces = 'reindex'", 1, 1, "reindex", id="reindex without a query"),
        pytest.param("after = ['x.sql']", 1, 10, "beside the policy", id="no such file"),
        pytest.param("empty = 'a.b.c'", 1, 1, "schema.name", id="no table's name"),
        pytest.param("subset = 'students'", 1, 1, "WHERE", id="subset without a condition"),
        pytest.param("[subset]\nrows = 'a WHERE b'\nchild = 'all'", 3, 1, "children", id="unknown key of subset"),
        pytest.param("[[virtual_keys]]\nfrom = 'a (x)'\nto = 'b (x, y)'", 1, 3, "", id="ends of two lengths"),
        pytest.param("[[virtual_keys]]\nfrom = 'a.x'\nto = 'b (x)'", 2, 1, "(subject_id)", id="no end of a key"),
        pytest.param("[[virtual_keys]]\nfrom = 'a (x)'", 1, 3, "to =", id="half a key"),
        pytest.param("[virtual_keys]\nfrom = 'a (x)'", 1, 2, "[[virtual_keys]]", id="not a list of keys"),
    ],
)
def test_what_has_no_meaning_is_an_error_with_its_place(policy_of, approved, text, line, character, remedy):
    with pytest.raises(PolicyError) as caught:
        policy_of(text)
    place = caught.value.place
    assert (place["file"], place["line"], place.get("character")) == ("policy.toml", line, character)
    assert caught.value.message.startswith(f"policy.toml:{line}:{character}: ")
    assert remedy in caught.value.remedy
    approved(caught.value)


def test_a_missing_policy_is_named_with_what_drafts_one(tmp_path, approved):
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path / "policy.toml", tmp_path)
    assert "seedtool refresh scan" in caught.value.remedy
    approved(caught.value)


@pytest.mark.parametrize(
    "name", [("public", "a"), ("s", "Ticket Lines"), ("a.b", 'the "text"'), ("public", "x (y), z")]
)
def test_a_tables_name_is_written_as_it_is_read(policy_of, name):
    from seedtool.refreshing.check import toml_key

    written = TableName(*name)
    policy = policy_of(f'[tables]\n{toml_key(str(written))} = "no rows"')
    assert list(policy.tables) == [written]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example('new\nline, tab\t, return\r, \x7f, "quote" and \\')
def test_every_name_of_a_database_can_stand_in_a_policy(name):
    assert tomllib.loads(f"{toml_key(name)} = {toml_string(name)}") == {name: name}
