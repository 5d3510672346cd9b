"""Sync against a real emulator, and against a stub where the collection must be a mess or the service sick."""

import itertools
import random
import uuid

import msgspec
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from seedtool.errors import (
    BlockedError,
    DatabaseError,
    ResourceNotFound,
    SchemaError,
    ServiceUnavailable,
    SettingsError,
    Throttled,
)
from seedtool.faces import linking
from seedtool.faces.rekognition import limiter
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.postgres import server
from seedtool.settings import FaceBinding

A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")


@pytest.fixture
def stubbed(mine, stub):
    return Aws(mine, stub.url)


def test_every_placeholder_becomes_the_real_face_id(school, mine, aws, collection, portrait, face_rows, linked):
    real = {}
    for student in (1, 2, 3):
        external = f"student-{student:03}-photo-1"
        real[external] = collection.index_faces(portrait(student), external).faces[0].face.face_id
    face_rows(*real)
    aws.calls.clear()
    report = sync(school, mine, aws, page_size=2)
    assert linked() == real
    assert (report.synced, report.unchanged, report.placeholders, report.ok) == (3, 0, 0, True)
    assert report.calls == {"ListFaces": 2}
    assert (report.mode, report.region) == ("embedded", "us-east-1")
    again = sync(school, mine, aws)
    assert (again.synced, again.unchanged) == (0, 3)
    assert linked() == real
    assert msgspec.json.decode(msgspec.json.encode(report))["bindings"][0]["collection"] == mine.collection


def test_a_row_that_is_right_is_not_written_again(school, mine, aws, collection, portrait, face_rows):
    collection.index_faces(portrait(1), "student-001-photo-1")
    face_rows("student-001-photo-1")
    sync(school, mine, aws)
    version = school.execute("SELECT xmin::text FROM student_faces").fetchone()
    sync(school, mine, aws)
    assert school.execute("SELECT xmin::text FROM student_faces").fetchone() == version


def test_a_dry_run_reports_the_same_and_changes_nothing(school, mine, aws, collection, portrait, face_rows, linked):
    collection.index_faces(portrait(1), "student-001-photo-1")
    face_rows("student-001-photo-1")
    before = linked()
    dry = sync(school, mine, aws, dry_run=True)
    assert linked() == before
    real = sync(school, mine, aws)
    strip = {"dry_run": False, "seconds": 0.0}
    assert msgspec.structs.replace(dry, **strip) == msgspec.structs.replace(real, **strip)


def test_no_rows_and_no_faces(school, mine, aws, collection):
    report = sync(school, mine, aws, strict=True)
    assert report.ok
    assert (report.bindings[0].rows, report.bindings[0].faces) == (0, 0)


def test_placeholders_left_are_told_with_the_cure_and_fail_a_strict_sync(
    school, mine, stubbed, listing, face_rows, linked
):
    listing([(A, "students:student-002:photo-1.jpg", 99.0), (B, "STUDENT_003_PHOTO_1", 99.0), (C, None, 99.0)])
    face_rows("student-001-photo-1", "student-002-photo-1", "student-003-photo-1", (None, "placeholder:x"))
    report = sync(school, mine, stubbed, strict=True)
    table = report.bindings[0]
    assert not report.ok
    assert table.placeholders == {"indexed otherwise": 2, "no id": 1, "not indexed": 1}
    instead = {each.external_image_id: each.instead for each in table.unlinked}
    assert instead["student-002-photo-1"] == "students:student-002:photo-1.jpg"
    assert instead["student-003-photo-1"] == "STUDENT_003_PHOTO_1"
    assert len(table.cures) == 3
    assert "Faces without an id there: 1." in table.cures[2]
    assert table.orphans.count == 2
    assert table.unnamed.examples == (C,)
    assert sync(school, mine, stubbed).ok
    assert set(linked().values()) == {f"placeholder:student-00{n}-photo-1" for n in (1, 2, 3)} | {"placeholder:x"}


def test_temporary_faces_are_reported_and_never_linked(school, mine, stubbed, listing, face_rows, linked):
    listing([(A, "temp_attendance_s1_photo1", 99.0), (B, "temp_attendance_s1_photo1", 99.0)])
    face_rows("student-001-photo-1")
    school.execute("UPDATE student_faces SET external_image_id = 'temp_attendance_s1_photo1'")
    school.commit()
    report = sync(school, mine, stubbed)
    assert report.bindings[0].temporary.count == 2
    assert report.bindings[0].orphans.count == 0
    assert report.placeholders == 1


def test_a_repeated_id_keeps_the_linked_face_else_the_most_confident(school, mine, stubbed, listing, face_rows, linked):
    listing(
        [
            (A, "student-001-photo-1", 99.0),
            (B, "student-001-photo-1", 90.0),
            (C, "student-002-photo-1", 99.0),
            (A.replace("a", "e"), "student-002-photo-1", 99.9),
            (D, "student-003-photo-1", 99.0),
            (B.replace("b", "c"), "student-003-photo-1", 99.0),
        ]
    )
    face_rows(("student-001-photo-1", B), "student-002-photo-1", "student-003-photo-1")
    report = sync(school, mine, stubbed)
    assert linked() == {
        "student-001-photo-1": B,
        "student-002-photo-1": A.replace("a", "e"),
        "student-003-photo-1": min(D, B.replace("b", "c")),
    }
    assert report.bindings[0].duplicates.count == 3
    assert f"student-001-photo-1 {A}" in report.bindings[0].duplicates.examples


def test_a_linked_face_under_another_rows_id_does_not_stay(school, mine, stubbed, listing, face_rows, linked):
    # 001 holds the face of 002: the wrong child
    listing([(A, "student-001-photo-1", 99.0), (B, "student-002-photo-1", 99.0)])
    face_rows(("student-001-photo-1", B), ("student-002-photo-1", A), ("student-003-photo-1", B))
    report = sync(school, mine, stubbed)
    assert linked() == {
        "student-001-photo-1": A,
        "student-002-photo-1": B,
        "student-003-photo-1": "placeholder:student-003-photo-1",
    }
    assert report.bindings[0].relinked == 2
    assert report.bindings[0].misassigned.count == 1
    assert report.placeholders == 1


def test_a_row_without_an_id_that_shares_a_face_is_believed(school, mine, stubbed, listing, face_rows):
    listing([(A, "student-001-photo-1", 99.0)])
    face_rows("student-001-photo-1", (None, A))
    report = sync(school, mine, stubbed)
    assert (report.synced, report.bindings[0].elsewhere.count, report.bindings[0].misassigned.count) == (1, 1, 0)


def test_a_face_that_two_pages_list_is_no_duplicate(school, mine, stubbed, listing, face_rows):
    listing([(A, "student-001-photo-1", 99.0), (B, "x", 99.0), (A, "student-001-photo-1", 99.0)])
    face_rows("student-001-photo-1")
    report = sync(school, mine, stubbed)
    assert (report.synced, report.bindings[0].duplicates.count) == (1, 0)


def test_rows_that_somebody_else_holds_are_told(school, database, mine, stubbed, listing, face_rows, linked, approved):
    listing([(A, "student-001-photo-1", 99.0)])
    face_rows("student-001-photo-1")
    school.execute("SET lock_timeout = '50ms'")
    school.commit()
    with server.connect(database) as other:
        other.execute("UPDATE student_faces SET quality_score = 1")
        with pytest.raises(BlockedError) as caught:
            sync(school, mine, stubbed)
    assert caught.value.place == {"code": "55P03"}  # lock_not_available
    approved(caught.value)
    assert linked() == {"student-001-photo-1": "placeholder:student-001-photo-1"}


def test_a_row_whose_image_changes_meanwhile_keeps_its_placeholder(
    school, database, mine, stubbed, listing, face_rows, linked, monkeypatch
):
    listing([(A, "student-001-photo-1", 99.0)])
    face_rows("student-001-photo-1")
    write = linking.Table._write

    def change_and_write(table):
        with server.connect(database) as other:
            other.execute("UPDATE student_faces SET external_image_id = 'student-001-photo-2'")
        write(table)

    monkeypatch.setattr(linking.Table, "_write", change_and_write)
    sync(school, mine, stubbed)
    assert linked() == {"student-001-photo-2": "placeholder:student-001-photo-1"}


def test_rows_that_exchange_their_faces_under_a_unique_index(school, mine, stubbed, listing, face_rows, linked):
    school.execute("CREATE UNIQUE INDEX ON student_faces (face_id)")
    listing([(A, "student-001-photo-1", 99.0), (B, "student-002-photo-1", 99.0)])
    face_rows(("student-001-photo-1", B), ("student-002-photo-1", A))
    sync(school, mine, stubbed)
    assert linked() == {"student-001-photo-1": A, "student-002-photo-1": B}


def test_a_real_face_that_is_gone_is_relinked_or_left_and_told(school, mine, stubbed, listing, face_rows, linked):
    listing([(A, "student-001-photo-1", 99.0), (D, None, 99.0), (C, "someone-elses", 99.0)])
    face_rows(
        ("student-001-photo-1", B), ("student-002-photo-1", B), ("student-003-photo-1", D), ("student-004-photo-1", C)
    )
    report = sync(school, mine, stubbed, strict=True)
    assert linked() == {
        "student-001-photo-1": A,
        "student-002-photo-1": B,
        "student-003-photo-1": D,
        "student-004-photo-1": C,
    }
    table = report.bindings[0]
    assert (table.relinked, table.missing.count, table.elsewhere.count, table.unnamed.count) == (1, 1, 2, 0)
    assert not report.ok


def test_rows_that_share_an_id_stay_placeholders(school, mine, stubbed, listing):
    school.execute("CREATE TABLE portraits (id int PRIMARY KEY, face text, photo varchar(80))")
    school.execute(
        "INSERT INTO portraits VALUES (1, 'placeholder:p:1', 'p'), (2, 'placeholder:p:2', 'p'), (3, NULL, 'q')"
    )
    school.commit()
    listing([(A, "p", 99.0), (B, "p", 99.0), (C, "q", 99.0)])
    binding = FaceBinding(table="public.portraits", face_id="face", external_image_id="photo")
    report = sync(school, msgspec.structs.replace(mine, faces=(binding,)), stubbed)
    assert report.bindings[0].placeholders == {"shared": 2}
    faces = school.execute("SELECT face FROM portraits ORDER BY id").fetchall()
    assert faces == [("placeholder:p:1",), ("placeholder:p:2",), (C,)]


@pytest.mark.parametrize("kind", ["partitioned table", "view", "table with children"])
def test_tables_of_other_kinds(school, mine, stubbed, listing, kind):
    columns = "(id int, face_id text, external_image_id text)"
    school.execute(
        {
            "partitioned table": f"CREATE TABLE portraits {columns} PARTITION BY LIST (id);"
            "CREATE TABLE one PARTITION OF portraits FOR VALUES IN (1); CREATE TABLE more PARTITION OF portraits DEFAULT",
            "view": f"CREATE TABLE pictures {columns}; CREATE VIEW portraits AS SELECT * FROM pictures",
            # the parent's index says nothing about the children
            "table with children": "CREATE TABLE portraits (id int, face_id text, external_image_id text UNIQUE);"
            "CREATE TABLE more () INHERITS (portraits); INSERT INTO more VALUES (4, 'placeholder:r:4', 'r')",
        }[kind]
    )
    school.execute("INSERT INTO portraits VALUES (1, NULL, 'p'), (2, %s, 'q'), (3, 'placeholder:r', 'r')", [D])
    school.commit()
    listing([(A, "p", 99.0), (B, "q", 90.0), (C, "q", 99.0), (D, "r", 99.0)])
    binding = FaceBinding(table="portraits")
    report = sync(school, msgspec.structs.replace(mine, faces=(binding,)), stubbed).bindings[0]
    several = kind == "table with children"
    assert school.execute("SELECT face_id FROM portraits ORDER BY id").fetchall() == [
        (A,),
        (C,),
        *([("placeholder:r",), ("placeholder:r:4",)] if several else [(D,)]),
    ]
    assert (report.synced, report.relinked, report.duplicates.examples) == (1 if several else 2, 1, (f"q {B}",))
    assert report.placeholders == ({"shared": 2} if several else {})


def test_a_table_whose_face_ids_are_uuids(school, mine, stubbed, listing):
    school.execute("CREATE TABLE portraits (id int PRIMARY KEY, face uuid UNIQUE, photo text UNIQUE)")
    school.execute("INSERT INTO portraits VALUES (1, NULL, 'p'), (2, %s, 'q'), (3, %s, 'r')", [C, B])
    school.commit()
    listing([(A, "p", 99.0), (B, "q", 99.0), (C, "r", 99.0)])
    binding = FaceBinding(table="portraits", face_id="face", external_image_id="photo")
    sync(school, msgspec.structs.replace(mine, faces=(binding,)), stubbed)
    assert [str(face) for (face,) in school.execute("SELECT face FROM portraits ORDER BY id")] == [A, B, C]


@pytest.mark.parametrize("page", [1, 7, 20])
def test_a_failure_on_any_page_changes_no_row_and_a_retry_starts_clean(
    school, mine, stubbed, stub, listing, face_rows, linked, monkeypatch, page
):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    face_rows(*(f"student-{n:03}-photo-1" for n in range(1, 11)))
    before = linked()
    listing([(A[:-3] + f"{n:03}", f"student-{n:03}-photo-1", 99.0) for n in range(1, 41)])
    healthy = stub.answer
    stub.answer = lambda operation, request, n: (
        (500, {"__type": "InternalServerError", "message": "x"})
        if int(request.get("NextToken", 0)) >= 2 * (page - 1)
        else healthy(operation, request, n)
    )
    with pytest.raises(ServiceUnavailable) as caught:
        sync(school, mine, stubbed)
    assert caught.value.remedy
    assert linked() == before
    assert len(stub.requests) == page - 1 + 5  # five attempts at the sick page
    stub.answer = healthy
    assert sync(school, mine, stubbed).synced == 10


def test_a_failure_on_page_200_of_245_changes_no_row(school, mine, stubbed, stub, listing, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setitem(limiter.QUOTAS, "ListFaces", (1e6, 1e6))  # 245 pages would take 4.8 s of our own patience
    size, pages = 20, 245
    school.execute(
        """INSERT INTO student_faces (id, student_id, face_id, external_image_id)
        SELECT 'face-' || n, 'student-001', 'placeholder:student-001-photo-' || n, 'student-001-photo-' || n
        FROM generate_series(1, %s) n""",
        [size * pages],
    )
    school.commit()
    state = (
        "SELECT count(*), md5(string_agg(ctid::text || xmin::text || face_id, ',' ORDER BY ctid)) FROM student_faces"
    )
    before = school.execute(state).fetchone()
    listing([(str(uuid.uuid4()), f"student-001-photo-{n}", 99.0) for n in range(1, size * pages + 1)], size)
    healthy = stub.answer
    stub.answer = lambda operation, request, n: (
        (500, {"__type": "InternalServerError", "message": "x"})
        if request.get("NextToken") == str(199 * size)
        else healthy(operation, request, n)
    )
    with pytest.raises(ServiceUnavailable):
        sync(school, mine, stubbed)
    assert len(stub.requests) == 199 + 5
    assert school.execute(state).fetchone() == before
    school.commit()
    stub.answer = healthy
    report = sync(school, mine, stubbed, strict=True)
    assert report.ok
    assert (report.synced, report.bindings[0].faces) == (size * pages, size * pages)


def test_an_interruption_changes_no_row(school, mine, stubbed, listing, face_rows, linked, hearing):
    face_rows("student-001-photo-1")
    listing([(A, "student-001-photo-1", 99.0), (B, "x", 1.0), (C, "y", 1.0)], size=1)

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(school, mine, stubbed, listener=hearing(interrupt))
    assert linked() == {"student-001-photo-1": "placeholder:student-001-photo-1"}
    assert sync(school, mine, stubbed).synced == 1


def test_throttling_after_all_attempts(school, mine, stubbed, stub, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    stub.answer = lambda *_: (400, {"__type": "ProvisionedThroughputExceededException", "message": "slow"})
    with pytest.raises(Throttled) as caught:
        sync(school, mine, stubbed)
    assert caught.value.place["operation"] == "rekognition:ListFaces"
    assert len(stub.requests) == 5


def test_a_token_that_is_repeated_is_not_followed_for_ever(school, mine, stubbed, stub):
    stub.answer = lambda *_: (200, {"Faces": [], "NextToken": "again"})
    with pytest.raises(ServiceUnavailable) as caught:
        sync(school, mine, stubbed)
    assert caught.value.place == {"operation": "rekognition:ListFaces"}


def test_an_empty_page_with_a_token_is_not_the_end(school, mine, stubbed, stub, face_rows):
    face_rows("student-001-photo-1")
    pages = {
        None: {"Faces": [], "NextToken": "1"},
        "1": {"Faces": [{"FaceId": A, "ExternalImageId": "student-001-photo-1"}], "NextToken": ""},
    }
    stub.answer = lambda _, request, __: (200, pages[request.get("NextToken")])
    assert sync(school, mine, stubbed).synced == 1


def test_a_missing_collection_is_told_with_the_cure(school, mine, aws):
    with pytest.raises(ResourceNotFound, match=mine.collection) as caught:
        sync(school, mine, aws)
    assert "enroll" in caught.value.remedy
    assert "region" in caught.value.remedy


def test_a_collection_given_by_hand(school, mine, aws, portrait, face_rows):
    other = f"{mine.collection}-other"
    aws.collection(other).ensure()
    aws.collection(other).index_faces(portrait(1), "student-001-photo-1")
    face_rows("student-001-photo-1")
    report = sync(school, mine, aws, collection=other)
    assert (report.bindings[0].collection, report.synced) == (other, 1)


def test_settings_and_schema_that_do_not_fit(school, mine, aws, collection, approved):
    def with_(*bindings, collection=mine.collection):
        return msgspec.structs.replace(mine, faces=bindings, collection=collection)

    def refused(kind, settings, **given):
        with pytest.raises(kind) as caught:
            sync(school, settings, aws, **given)
        approved(caught.value)
        return caught.value.place

    assert refused(SettingsError, with_()) == {"setting": "faces"}
    nowhere = with_(FaceBinding(table="student_faces"), collection=None)
    assert refused(SettingsError, nowhere) == {"setting": "collection", "table": "student_faces"}
    assert refused(SchemaError, with_(FaceBinding(table="student_face"))) == {
        "setting": "faces",
        "table": "student_face",
    }
    misspelt = refused(SchemaError, with_(FaceBinding(table="student_faces", face_id="faceid")))
    assert misspelt == {"setting": "faces", "table": "student_faces", "column": "faceid"}
    two = (FaceBinding(table="student_faces", collection="a"), FaceBinding(table="students", collection="b"))
    assert refused(SettingsError, with_(*two), collection="c") == {"setting": "faces", "option": "--collection"}


def test_a_role_without_the_right_to_write_is_told_so(school, mine, aws, collection, portrait, face_rows, database):
    collection.index_faces(portrait(1), "student-001-photo-1")
    face_rows("student-001-photo-1")
    name = f"reader_{database.name}"
    school.execute(f"CREATE ROLE {name}; GRANT SELECT ON student_faces TO {name}; SET ROLE {name}")
    school.commit()
    try:
        with pytest.raises(DatabaseError) as caught:
            sync(school, mine, aws)
        assert caught.value.place == {"code": "42501"}  # insufficient_privilege
    finally:
        school.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")
        school.commit()
    assert isinstance(caught.value, BlockedError)
    assert caught.value.remedy


faces_of_a_mess = st.lists(
    st.tuples(
        st.sampled_from([A, B, C, D]),
        st.sampled_from(["student-001-photo-1", "student-002-photo-1", "temp_attendance_x_photo1", "orphan", None]),
        st.sampled_from([90.0, 95.5, 99.0]),
    ),
    max_size=7,
    unique_by=lambda face: face[0],
)


@hypothesis_settings(max_examples=15, database=None)
@given(faces=faces_of_a_mess, held=st.tuples(*[st.sampled_from(["p", A, B, C])] * 2), drawn=st.randoms())
@example(
    faces=[(A, "student-001-photo-1", 90.0), (B, "student-001-photo-1", 99.0)],
    held=("p", "p"),
    drawn=random.Random(1),  # noqa: S311 - an order
)
def test_the_choice_is_the_same_whatever_the_order_and_the_second_sync_changes_nothing(
    school, mine, stubbed, listing, faces, held, drawn
):
    ids = ("student-001-photo-1", "student-002-photo-1")
    outcomes = []
    for order in (faces, drawn.sample(faces, len(faces))):
        school.execute("DELETE FROM student_faces")
        for external, face in zip(ids, held, strict=True):
            school.execute(
                "INSERT INTO student_faces (id, student_id, external_image_id, face_id) VALUES (%s, %s, %s, %s)",
                [external, external[:11], external, f"placeholder:{external}" if face == "p" else face],
            )
        school.commit()
        listing(order, size=3)
        sync(school, mine, stubbed)
        outcome = dict(school.execute("SELECT external_image_id, face_id FROM student_faces").fetchall())
        again = sync(school, mine, stubbed)
        assert again.synced == 0
        assert dict(school.execute("SELECT external_image_id, face_id FROM student_faces").fetchall()) == outcome
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]
    for external, face in outcomes[0].items():
        candidates = {face_id: confidence for face_id, ext, confidence in faces if ext == external}
        before = held[ids.index(external)]
        if before in candidates:
            assert face == before
        elif candidates:
            best = max(candidates.values())
            assert face == min(face_id for face_id, confidence in candidates.items() if confidence == best)
        else:
            assert face in {before, f"placeholder:{external}"}
    real = [face for face in outcomes[0].values() if face in {face_id for face_id, ext, _ in faces if ext in ids}]
    assert all(a != b for a, b in itertools.combinations(real, 2))


def test_a_sync_inside_the_callers_transaction_is_part_of_it(school, mine, aws, collection, portrait, face_rows):
    collection.index_faces(portrait(1), "student-001-photo-1")
    face_rows("student-001-photo-1")
    with school.transaction() as transaction:
        school.execute("SET LOCAL work_mem = '3MB'")
        assert sync(school, mine, aws).synced == 1
        assert school.execute("SHOW work_mem").fetchone() == ("3MB",)
        raise psycopg.Rollback(transaction)
    assert sync(school, mine, aws).synced == 1
