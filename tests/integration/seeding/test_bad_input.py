"""Whatever is wrong with a seed file is told with its place and its cure, and nothing is written."""

import pytest

from seedtool.errors import BlockedError, FixtureError, ProfileError

# name → (file, content, line, column); what is said of it: tests/cli/messages.txt
FAULTS = {
    "unknown table": ("pupil.csv", "id\np9\n", None, None),
    "unknown column": ("pupils.csv", "id,nmae\np9,A\n", 1, "nmae"),
    "wrong type": ("pupils.csv", "id,name,age\np8,A,7\np9,A,seven\n", 3, "age"),
    "wrong date": ("pupils.csv", "id,name,born\np9,A,31/03/2026\n", 2, "born"),
    "no such day": ("pupils.csv", "id,name,born\np9,A,2026-02-30\n", 2, "born"),
    "day beyond the calendar": ("pupils.csv", "id,name,born\np9,A,9999999-01-01\n", 2, "born"),
    "wrong label": ("pupils.csv", "id,name,mood\np9,A,cross\n", 2, "mood"),
    "wrong json": ("pupils.csv", "id,name,extra\np9,A,{beca\n", 2, "extra"),
    "wrong array": ("pupils.csv", "id,name,tags\np9,A,one\n", 2, "tags"),
    "out of range": ("pupils.csv", "id,name,age\np9,A,99999999999\n", 2, "age"),
    "too big a numeric": ("marks.csv", "pupil_id,subject,mark\np1,art,123.4\n", 2, "mark"),
    "missing reference": ("pupils.csv", "id,name,guardian_id\np9,A,g9\n", 2, "guardian_id"),
    "missing self reference": ("pupils.csv", "id,name,best_friend\np9,A,p10\n", 2, "best_friend"),
    "missing composite part": ("marks.csv", "pupil_id,subject,mark\np9,art,5\n", 2, "pupil_id"),
    "duplicate key": ("pupils.csv", "id,name\np9,A\np9,B\n", 3, "id"),
    "duplicate unique value": ("guardians.csv", "id,email\ng8,e\ng9,e\n", 3, "email"),
    "taken unique value": ("guardians.csv", "id,email\ng9,stranger@x.example\n", 2, "email"),
    "empty file": ("pupils.csv", "", None, None),
    "only white space": ("pupils.csv", "\ufeff \n\n", None, None),
    "empty yaml": ("pupils.yaml", "# nothing\n", None, None),
    "undecodable": ("pupils.csv", b"id,name\np8,A\np9,Mu\xf1oz\n", 3, "name"),
    "undecodable yaml": ("pupils.yaml", b"- id: p9\n  name: Mu\xf1oz\n", 2, None),
    "zero byte": ("pupils.csv", "id,name\np9,A\0B\n", 2, "name"),
    "null": ("pupils.csv", "id,name\np8,A\np9,\n", 3, "name"),
    "null for a default": ("pupils.csv", "id,name,mood\np9,A,\n", 2, "mood"),
    "missing column": ("pupils.csv", "id,age\np9,3\n", 1, "name"),
    "missing yaml column": ("pupils.yaml", "- id: p9\n  age: 3\n", 1, "name"),
    "null key": ("pupils.csv", "id,name\n,A\n", 2, "id"),
    "missing key": ("pupils.csv", "name\nA\n", 1, "id"),
    "too long": ("guardians.csv", "id,phone\ng9,+56 9 0000 0000 0000\n", 2, "phone"),
    "check": ("pupils.csv", "id,name,age\np7,A,1\np8,A,0\np9,A,2\n", 3, "age"),
    "generated": ("pupils.csv", "id,name,loud\np9,A,A\n", 1, "loud"),
    "view": ("everyone.csv", "id,name\np9,A\n", None, None),
    "too few cells": ("pupils.csv", "id,name,age\np9,A\n", 2, "age"),
    "too many cells": ("pupils.csv", "id,name\np9,A,3\n", 2, "name"),
    "header twice": ("pupils.csv", "id,name,name\np9,A,B\n", 1, "name"),
    "header empty": ("pupils.csv", "id,,name\np9,,A\n", 1, None),
    "open quote": ("pupils.csv", 'id,name\n\np9,"A\nB\n', 3, "name"),
    "text after quote": ("pupils.csv", 'id,name\np9,"A"B\n', 2, "name"),
    "stray quote": ("pupils.csv", 'id,name\np9,5" screen\n', 2, "name"),
    "line of a long cell": ("pupils.csv", 'id,name,age\np8,"A\nB\nC",1\np9,A,x\n', 5, "age"),
    "yaml wrong type": ("pupils.yaml", "- id: p8\n  name: A\n- id: p9\n  name: A\n  age: x\n", 5, "age"),
    "yaml merged": ("pupils.yaml", "- &a\n  id: p8\n  name: A\n- <<: *a\n  id: p9\n  best_friend: p0\n", 6, "best_friend"),
    "yaml unknown column": ("pupils.yaml", "- id: p9\n  nmae: A\n", 2, "nmae"),
    "semicolon in a cell": ("pupils.csv", "\ufeffid;name\np9;A;B\n", 2, "name"),
    "tab in a cell": ("pupils.csv", "id\tname\np9\tA\tB\n", 2, "name"),
    "commas under semicolons": ("pupils.csv", "id;name\np9,A\n", 2, "name"),
    "utf-16 without a mark": ("pupils.csv", "id,name\np9,A\n".encode("utf-16-le"), 1, None),
    "windows": ("pupils.csv", "id,name\np9,€ Muñoz\n".encode("cp1252"), 2, "name"),
    "utf-16": ("pupils.csv", "id,name\np9,A\n".encode("utf-16"), 1, None),
    "utf-16 yaml": ("pupils.yaml", "- id: p9\n".encode("utf-16"), 1, None),
    "yaml key twice": ("pupils.yaml", "- id: p9\n  name: A\n  name: B\n", 3, "name"),
    "yaml mapping": ("pupils.yaml", "id: p9\n", 1, None),
    "yaml no row": ("pupils.yaml", "- id: p9\n  name: A\n- p10\n", 3, None),
    "yaml syntax": ("pupils.yaml", "- id: p9\n  name: [A\n- id: x\n", 3, None),
    "yaml odd column": ("pupils.yaml", "- {[a]: 1}\n", 1, None),
    "yaml tag": ("pupils.yaml", "- id: p9\n  name: A\n  extra: !!python/object {}\n", 3, "extra"),
    "py raises": ("pupils.py", "def rows():\n    yield {'id': 'p9'}\n    1 / 0\n", 3, None),
    "py lacks a module": ("pupils.py", "\nimport nowhere_at_all\n", 2, None),
    "py exits": ("pupils.py", "import sys\nsys.exit(1)\n", 2, None),
    "py syntax": ("pupils.py", "def rows(:\n", 1, None),
    "py no rows": ("pupils.py", "ROWS = []\n", None, None),
    "py no dict": ("pupils.py", "def rows():\n    yield 'p9'\n", None, None),
    "py wrong type": ("pupils.py", "def rows():\n    yield {'id': 'p8', 'name': 'A', 'age': 1}\n    yield {'id': 'p9', 'name': 'A', 'age': 'x'}\n", None, "age"),
    "py odd value": ("pupils.py", "def rows():\n    yield {'id': 'p9', 'name': object()}\n", None, "name"),
    "py odd json": ("pupils.py", "def rows():\n    yield {'id': 'p9', 'name': 'A', 'extra': {'a': object()}}\n", None, "extra"),
    "face without image": ("pupil_faces.csv", "id,pupil_id\nf9,p1\n", 2, "external_image_id"),
    "yaml merge of a number": ('pupils.yaml', '- id: p9\n- <<: 1\n', 2, None),
    "yaml merge of a list of texts": ('pupils.yaml', '- id: p9\n  <<: [a]\n', 2, None),
    "yaml merge of itself": ('pupils.yaml', '- &a\n  id: p9\n  <<: *a\n', 3, None),
    "yaml merge in a value": ('pupils.yaml', '- id: p9\n  extra: {<<: 1}\n', 2, 'extra'),
    "yaml list in itself": ('pupils.yaml', '- id: p9\n  extra: &a [*a]\n', 2, 'extra'),
    "yaml brackets": ('pupils.yaml', '- id: p9\n  extra: ' + '[' * 50000, 2, None),
    "yaml braces": ('pupils.yaml', '- id: p9\n  extra: ' + '{a: ' * 50000, 2, None),
    "yaml dashes": ('pupils.yaml', '- ' * 50000, 1, None),
    "yaml alias bomb": ('pupils.yaml', '- &a0 {id: a}\n' + ''.join(f"- &a{n} {{extra: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)), 6, 'extra'),
    "yaml merge bomb": ('pupils.yaml', '- &a0 {id: a}\n' + ''.join(f"- &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)), 2, None),
    "json wrong type": ("pupils.json", '[\n  {"id": "p8", "name": "A"},\n  {"id": "p9", "name": "A",\n   "age": "x"}\n]', 4, "age"),
    "json undecodable": ("pupils.json", b'[{"id": "p9",\n "name": "Mu\xf1oz"}]', 2, None),
    "json object": ("pupils.json", '{"id": "p9"}', 1, None),
    "json no row": ("pupils.json", '[{"id": "p9", "name": "A"},\n 7]', 2, None),
    "json syntax": ("pupils.json", '[{"id": "p9",\n "name": A}]', 2, "name"),
    "json cut off": ("pupils.json", '[{"id": "p9", "name": "A"}\n', 2, None),
    "json comma": ("pupils.json", '[{"id": "p9" "name": "A"}]', 1, None),
    "json column twice": ("pupils.json", '[{"id": "p9", "name": "A",\n "name": "B"}]', 2, "name"),
    "json nan": ("pupils.json", '[{"id": "p9", "age": NaN}]', 1, "age"),
    "json deep": ("pupils.json", '[{"id": "p9", "extra": ' + "[" * 50000 + "]" * 50000 + "}]", 1, "extra"),
    "json two documents": ("pupils.json", "[]\n[]", 2, None),
    "sql fails": ("last.sql", "UPDATE pupils SET age = 1;\nUPDATE nowhere SET a = 1;", 2, None),
    "sql commits": ("last.sql", "COMMIT;", None, None),
    "py exits while it yields": ('pupils.py', 'def rows():\n    yield {}\n    exit()\n', 3, None),
    "py is cancelled": ('pupils.py', 'import asyncio\ndef rows():\n    raise asyncio.CancelledError\n', 3, None),
    "py raises what is no Exception": ('pupils.py', 'class Odd(BaseException): ...\ndef rows():\n    raise Odd\n', 3, None),
    "py no iterable": ('pupils.py', 'def rows():\n    return 5\n', None, None),
    "py coroutine": ('pupils.py', 'async def rows():\n    yield {}\n', None, None),
    "py half of a character": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'name': '\\ud800'}\n", None, 'name'),
    "py half of a character in a list": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'tags': ['\\udc80']}\n", None, 'tags'),
    "py half of a character in a name": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'na\\ud800me': 1}\n", None, 'na\ud800me'),
    "py zero character": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'name': 'a\\0'}\n", None, 'name'),
    "py long number": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'age': 10**5000}\n", None, 'age'),
    "py long number in json": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'extra': [10**5000]}\n", None, 'extra'),
    "py nan": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'age': float('nan')}\n", None, 'age'),
    "py nan in json": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'extra': {'a': [float('nan')]}}\n", None, 'extra'),
    "py infinity in json": ('pupils.py', "def rows():\n    yield {'id': 'p9', 'extra': [None, -1e999]}\n", None, 'extra'),
    "py list in itself": ('pupils.py', "def rows():\n    x = []\n    x.append(x)\n    yield {'id': 'p9', 'tags': x}\n", None, 'tags'),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_place_and_cure(small_school, fault, approved):
    file, content, line, column = FAULTS[fault]
    small_school.run("INSERT INTO guardians VALUES ('stranger', 'stranger@x.example')")
    before = small_school.everything()
    small_school.write("notes.csv", "id,body\n1,would be written first\n", "more")
    small_school.write(file, content, "more")

    with pytest.raises(FixtureError) as caught:
        small_school.seed("more")

    error = caught.value
    assert (error.file, error.line, error.column) == (f"seeds/more/{file}", line, column)
    assert error.remedy
    approved(error)
    assert small_school.everything() == before


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffid;name;tags\r\np9;A, B;{x,y}\r\n",
        '\n"id";"name";"tags"\n"p9";"A, B";"{x,y}"\n',
        "id\tname\ttags\np9\tA, B\t{x,y}\n",
    ],
    ids=["semicolons", "quoted semicolons", "tabs"],
)
def test_what_separates_cells_is_read_from_the_header(small_school, text):
    small_school.write("pupils.csv", text, "more")
    small_school.seed("more")
    assert small_school.rows("SELECT name, tags FROM pupils WHERE id = 'p9'") == [("A, B", ["x", "y"])]


@pytest.mark.parametrize("kind", ["time", "time(3)"])
def test_a_time_of_day_is_shown_as_one(small_school, kind):
    small_school.run(f"CREATE TABLE bells (id int PRIMARY KEY, rings {kind})")
    small_school.write("bells.csv", "id,rings\n1,noonish\n", "more")
    with pytest.raises(FixtureError) as caught:
        small_school.seed("more")
    assert (caught.value.line, caught.value.column) == (2, "rings")
    assert "08:00" in caught.value.remedy


@pytest.mark.parametrize("other", ["more/pupils.csv", "local/pupils.yaml"])
def test_two_files_for_one_row_are_both_named(small_school, other, approved):
    seed_set, file = other.split("/")
    small_school.write(file, "id,name\np3,Ana\n" if file.endswith("csv") else "- id: p3\n  name: Ana\n", seed_set)
    before = small_school.everything()
    with pytest.raises(FixtureError) as caught:
        small_school.seed(*dict.fromkeys(("local", seed_set)))
    assert (caught.value.file, caught.value.column) == (f"seeds/{other}", "id")
    assert "seeds/local/pupils.csv:4" in caught.value.message
    approved(caught.value)
    assert small_school.everything() == before


def test_exchanged_unique_values_are_explained(small_school, approved):
    before = small_school.everything()
    small_school.write("guardians.csv", "id,email\ng1,two@x.example\ng2,one@x.example\ng3,three@x.example\n")
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/guardians.csv", 2, "email")
    assert "seeds/local/guardians.csv:3" in caught.value.message
    approved(caught.value)
    assert small_school.everything() == before


def test_unique_values_checked_at_the_end_may_be_exchanged(small_school):
    small_school.run("ALTER TABLE guardians DROP CONSTRAINT guardians_email_key, ADD UNIQUE (email) DEFERRABLE")
    small_school.write("guardians.csv", "id,email\ng1,two@x.example\ng2,one@x.example\ng3,three@x.example\n")
    small_school.seed()
    assert small_school.rows("SELECT email FROM guardians ORDER BY id")[:2] == [
        ("two@x.example",),
        ("one@x.example",),
    ]


def test_a_unique_value_may_move_on_to_the_next_row(small_school):
    small_school.write(
        "guardians.csv", "id,email\ng1,zero@x.example\ng2,one@x.example\ng3,two@x.example\ng4,three@x.example\n"
    )
    small_school.seed()
    assert small_school.rows("SELECT id, email FROM guardians ORDER BY id") == [
        ("g1", "zero@x.example"),
        ("g2", "one@x.example"),
        ("g3", "two@x.example"),
        ("g4", "three@x.example"),
    ]


def test_a_trigger_that_refuses_a_row_is_traced_to_its_line(small_school):
    small_school.run("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.body = 'bad' THEN RAISE EXCEPTION 'secret %', NEW.body; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION refuse()""")
    before = small_school.everything()
    small_school.write(
        "notes.csv", "id,body\n" + "".join(f"{n},{'bad' if n == 77 else 'good'}\n" for n in range(1, 100))
    )
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line) == ("seeds/local/notes.csv", 78)
    assert "secret" not in caught.value.message
    assert small_school.everything() == before


def test_errors_never_hold_a_value_of_a_person(small_school):
    small_school.write("pupils.csv", "id,name,age\np9,Graciela,Undisclosed\n", "more")
    with pytest.raises(FixtureError) as caught:
        small_school.seed("more")
    assert "Undisclosed" not in caught.value.message + caught.value.remedy


def test_a_file_that_is_no_fixture_is_named(small_school):
    small_school.write("pupils.cvs", "id\n")
    with pytest.raises(ProfileError) as caught:
        small_school.seed()
    assert caught.value.place["file"].endswith("seeds/local/pupils.cvs")
    assert ".csv" in caught.value.remedy


def test_a_missing_folder_is_named(small_school):
    with pytest.raises(ProfileError) as caught:
        small_school.seed("nowhere")
    assert caught.value.place["file"].endswith("seeds/nowhere")


def test_a_role_without_permission_is_told_so(small_school, database, approved):
    small_school.run(
        "DROP ROLE IF EXISTS seed_reader; CREATE ROLE seed_reader; GRANT SELECT ON guardians TO seed_reader"
    )
    try:
        with small_school.connection.transaction():
            small_school.connection.execute("SET LOCAL ROLE seed_reader")
            with pytest.raises(BlockedError) as caught:
                small_school.seed()
            assert caught.value.place["code"] == "42501"  # insufficient_privilege
            approved(caught.value)
    finally:
        small_school.run("DROP OWNED BY seed_reader; DROP ROLE seed_reader")


@pytest.mark.parametrize("name", ["pupils.xlsx", "pupils.ODS"])
def test_a_spreadsheet_is_told_how_it_becomes_a_fixture(small_school, name):
    small_school.write(name, b"PK", "more")
    with pytest.raises(ProfileError) as caught:
        small_school.seed("more")
    assert name in caught.value.message
    assert "CSV UTF-8" in caught.value.remedy
