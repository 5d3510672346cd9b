"""An unload takes exactly the recipe's rows away."""

import msgspec
import pytest

from seedtool.errors import NotConfirmed, Protected, RecipeError, UsageError
from seedtool.generating import inference
from seedtool.generating.unload import KeptRow
from seedtool.settings import FaceBinding
from seedtool.values import version
from seedtool.workflows import database as databases

TABLES = ("families", "pupils", "photos")


def counts(school):
    return [school.value(f"SELECT count(*) FROM {table}") for table in TABLES]


def test_all_rows_go_and_the_recipe_may_be_loaded_anew(school):
    before = school.structure()
    school.load(scale=2)
    school.load(scale=3)
    report = school.unload()
    assert counts(school) == [0, 0, 0]
    assert report["photos"].removed == 180
    assert school.structure() == before
    assert school.load().rows == 150


def test_rows_of_others_stay_and_with_them_the_rows_that_they_refer_to(school):
    school.execute("INSERT INTO families VALUES ('people', 'P')")
    school.load()
    school.execute(
        "INSERT INTO pupils VALUES ('own', 'family-0007', 'active');"
        "INSERT INTO photos (pupil_id, url) VALUES ('pupil-0003', 'own'), ('own', 'own 2')"
    )
    report = school.unload()
    family = school.value("SELECT family_id FROM pupils WHERE id = 'pupil-0003'")
    assert report["pupils"].kept == [KeptRow("pupil-0003", "referred to")]
    assert report["families"].kept == [KeptRow(each, "referred to") for each in sorted({"family-0007", family})]
    assert school.query("SELECT url FROM photos ORDER BY url") == [("own",), ("own 2",)]
    assert school.value("SELECT count(*) FROM pupils") == 2


def test_rows_that_somebody_changed_stay_and_are_named(school):
    school.load()
    school.execute(
        "UPDATE pupils SET note = 'a note' WHERE id = 'pupil-0005';"  # no column of the recipe
        "UPDATE families SET name = 'Other' WHERE id = 'family-0009';"
        "DELETE FROM photos WHERE id = 4;"
        "UPDATE photos SET url = NULL WHERE id = 9"
    )
    report = school.unload()
    assert report["photos"].kept == [KeptRow("9", "changed")]
    assert report["photos"].gone == 1
    owner = school.value("SELECT pupil_id FROM photos WHERE id = 9")
    assert set(report["pupils"].kept) == {KeptRow("pupil-0005", "changed"), KeptRow(owner, "referred to")}
    assert KeptRow("family-0009", "changed") in report["families"].kept
    assert report["families"].removed >= 27
    with pytest.raises(UsageError):  # what stays is people's from now on
        school.unload()


def test_nothing_goes_by_a_cascade(school):
    school.load()
    school.execute("CREATE TABLE marks (pupil_id text REFERENCES pupils ON DELETE CASCADE)")
    school.execute("INSERT INTO marks VALUES ('pupil-0001'), ('pupil-0002')")
    assert school.unload()["pupils"].referred == 2
    assert school.value("SELECT count(*) FROM marks") == 2


def test_rows_without_a_key_that_refer_to_themselves_or_in_a_circle_go(school):
    school.execute(
        "CREATE TABLE words (word text NOT NULL, made date DEFAULT '2026-01-01');"
        "CREATE TABLE bosses (id int PRIMARY KEY, boss int REFERENCES bosses);"
        "CREATE TABLE a (id int PRIMARY KEY, b_id int);"
        "CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a); ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b;"
    )
    school.write(
        "[rows]\nwords = 50\nbosses = 50\na = 20\nb = 20\n[tables.words]\nword = ['x', 'y']\n[tables.bosses]\n"
        "id = '{n}'\n[tables.a]\nid = '{n}'\n[tables.b]\nid = '{n}'\n"
    )
    school.load()
    school.execute("INSERT INTO words VALUES ('x'), ('z'); INSERT INTO bosses VALUES (100, 50)")
    school.execute("UPDATE words SET made = '2026-02-02' WHERE ctid = (SELECT min(ctid) FROM words)")
    report = school.unload()
    assert school.value("SELECT count(*) FROM words") == 3
    chain = school.value(
        "WITH RECURSIVE up AS (SELECT id, boss FROM bosses WHERE id = 100"
        " UNION ALL SELECT b.id, b.boss FROM bosses b JOIN up ON up.boss = b.id) SELECT count(*) FROM up"
    )
    assert school.value("SELECT count(*) FROM bosses") == chain == report["bosses"].referred + 1
    assert school.value("SELECT count(*) FROM a") == school.value("SELECT count(*) FROM b") == 0


def test_face_ids_that_a_sync_has_written_are_no_change_of_people(school):
    school.write(
        "[rows]\nstudent_faces = 10\n[tables.student_faces]\nexternal_image_id = 'x-{n}'\nface_id = 'placeholder:x-{n}'"
    )
    school.execute("CREATE TABLE student_faces (id serial PRIMARY KEY, face_id text, external_image_id text UNIQUE)")
    school.settings = msgspec.structs.replace(school.settings, faces=(FaceBinding(table="student_faces"),))
    school.load()
    school.execute("UPDATE student_faces SET face_id = gen_random_uuid()::text")
    assert school.unload()["student_faces"].removed == 10


def test_an_interrupted_load_is_undone(school, monkeypatch):
    before = school.structure()
    school.execute("INSERT INTO families VALUES ('people', 'P')")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("seedtool.generating.putting_off.build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            school.load()
    school.unload()
    assert counts(school) == [1, 0, 0]
    assert school.structure() == before


def test_the_guard_is_asked_and_a_name_that_was_never_loaded_is_told(school):
    with pytest.raises(UsageError) as raised:
        school.unload("distrikt")
    assert raised.value.place["option"] == "RECIPE"
    school.load()
    with pytest.raises(NotConfirmed):
        school.unload(confirm=None)
    databases.protect(settings=school.settings, target=school.target)
    with pytest.raises(Protected):
        school.unload()


def test_other_values_than_were_loaded_are_told_with_their_column(school, monkeypatch):
    school.execute("ALTER TABLE pupils ADD grade int NOT NULL CHECK (grade BETWEEN 1 AND 12)")
    school.load()
    school.execute("ALTER TABLE pupils ADD room text; ALTER TABLE pupils DROP note")  # these change no other column
    school.load(scale=2)
    other = {"kind": "integer", "min": 1, "max": 6}
    now = inference.guess
    monkeypatch.setattr(inference, "guess", lambda of, each: other if each.name == "grade" else now(of, each))
    for again in (lambda: school.load(scale=3), school.unload):
        with pytest.raises(RecipeError) as raised:
            again()
        assert (raised.value.place["table"], raised.value.place["column"]) == ("pupils", "grade")
        assert "seedtool seed unload district" in raised.value.remedy
        assert "DELETE FROM seedtool.loads WHERE recipe = 'district';" in raised.value.remedy
    monkeypatch.undo()
    monkeypatch.setattr(version, "PLANS", version.PLANS + 1)
    for again in (lambda: school.load(scale=3), school.unload):
        with pytest.raises(RecipeError, match="another version of the vocabulary") as raised:
            again()
        assert "with the version of seedtool that loaded it" in raised.value.remedy
    monkeypatch.undo()
    assert school.value("SELECT count(*) FROM pupils") == school.unload()["pupils"].removed == 120
