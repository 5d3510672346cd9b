"""Sync where rows are in many collections: each student's own, listed at once, all or nothing."""

import threading

import msgspec
import psycopg
import pytest

from seedtool.errors import ResourceNotFound, ServiceUnavailable, SettingsError
from seedtool.faces import listing as concurrent
from seedtool.faces.enroll.person import enroll
from seedtool.faces.photos import store
from seedtool.faces.recognize import recognize
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.settings import FaceBinding

PER_STUDENT = FaceBinding(table="student_faces", collection_column="students.aws_collection_id")
A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")


def face(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


@pytest.fixture
def per_student(mine):
    return msgspec.structs.replace(mine, faces=(PER_STUDENT,))


@pytest.fixture
def stubbed(per_student, stub):
    return Aws(per_student, stub.url)


@pytest.fixture
def collections(stub):
    """Makes the stub serve these collections: collections({id: [(face id, external image id)]}, size)."""

    def serve(held, size=2):
        def answer(operation, request, n):
            faces = held.get(request["CollectionId"])
            if faces is None:
                message = f"The collection id: {request['CollectionId']} does not exist"
                return 400, {
                    "__type": "ResourceNotFoundException",
                    "Code": "ResourceNotFoundException",
                    "message": message,
                }
            start = int(request.get("NextToken", 0))
            page = {
                "Faces": [
                    {"FaceId": face_id, "ExternalImageId": external, "Confidence": 99.0}
                    for face_id, external in faces[start : start + size]
                ]
            }
            if start + size < len(faces):
                page["NextToken"] = str(start + size)
            return 200, page

        stub.answer = answer

    return serve


@pytest.fixture
def members(school):
    """Puts students into collections: members({number: collection})."""

    def put(places):
        school.execute("ALTER TABLE students ALTER aws_collection_id DROP NOT NULL")
        for number, id_ in places.items():
            school.execute("UPDATE students SET aws_collection_id = %s WHERE id = %s", [id_, f"student-{number:03}"])
        school.commit()

    return put


def photo(number):
    return f"student-{number:03}-photo-1"


def by_collection(report):
    return {each.collection: each for each in report.bindings}


def test_each_row_is_linked_in_its_students_collection(
    school, per_student, stubbed, collections, members, face_rows, linked
):
    members({1: "one", 2: "two", 3: None, 4: ""})
    face_rows(*(photo(n) for n in (1, 2, 3, 4)))
    # the collection of a student decides: the same photo is indexed elsewhere too
    collections(
        {
            "one": [(A, photo(1)), (face(1), photo(2)), (face(9), "somebody")],
            "two": [(B, photo(2)), (face(2), photo(1))],
            per_student.collection: [(C, photo(3)), (D, photo(4)), (face(3), photo(1))],
            "unused": [(face(4), photo(1))],
        }
    )
    report = sync(school, per_student, stubbed, strict=True)
    assert linked() == {photo(1): A, photo(2): B, photo(3): C, photo(4): D}
    assert report.ok
    assert report.synced == 4
    told = by_collection(report)
    assert set(told) == {"one", "two", per_student.collection}
    assert [(each.rows, each.faces, each.exists) for each in (told["one"], told["two"])] == [(1, 3, True), (1, 2, True)]
    assert told["one"].orphans.examples == ("somebody", photo(2))
    assert sync(school, per_student, stubbed).unchanged == 4


def test_an_equal_face_id_in_two_collections_is_two_faces(
    school, per_student, stubbed, collections, members, face_rows, linked
):
    members({1: "one", 2: "two"})
    face_rows((photo(1), A), (photo(2), A))
    collections({"one": [(A, photo(1))], "two": [(A, photo(2))]})
    report = sync(school, per_student, stubbed)
    assert (report.unchanged, report.synced) == (2, 0)
    collections({"one": [(A, photo(1)), (B, photo(2))], "two": [(B, photo(2))]})
    assert sync(school, per_student, stubbed).synced == 1
    assert linked() == {photo(1): A, photo(2): B}


def test_a_missing_collection_among_several_keeps_its_rows_and_the_others_are_linked(
    school, per_student, stubbed, collections, members, face_rows, linked
):
    members({1: "here", 2: "gone", 3: "gone"})
    face_rows(photo(1), photo(2), (photo(3), C))
    collections({"here": [(A, photo(1))]})
    report = sync(school, per_student, stubbed)
    assert report.ok
    assert linked() == {photo(1): A, photo(2): f"placeholder:{photo(2)}", photo(3): C}
    gone = by_collection(report)["gone"]
    assert (gone.exists, gone.placeholders, gone.missing.count) == (False, {"no collection": 1}, 1)
    assert gone.unlinked[0].why == "no collection"
    assert "gone does not exist" in gone.cures[0]
    assert by_collection(report)["here"].complete
    assert not sync(school, per_student, stubbed, strict=True).ok


def test_when_none_of_the_collections_exists_it_is_an_error(
    school, per_student, stubbed, collections, members, face_rows
):
    members({1: "gone", 2: "gone-too"})
    face_rows(photo(1), photo(2))
    collections({})
    with pytest.raises(ResourceNotFound, match="gone") as caught:
        sync(school, per_student, stubbed)
    assert "region" in caught.value.remedy


def test_rows_that_name_no_collection_at_all(school, per_student, stubbed, collections, members, face_rows):
    members({1: None, 2: "one", 3: "not one!"})
    face_rows(photo(1), photo(2), photo(3))
    collections({"one": [(A, photo(2))]})
    report = sync(school, msgspec.structs.replace(per_student, collection=None), stubbed)
    told = by_collection(report)
    assert told[None].placeholders == {"no collection": 1}
    assert "name no collection" in told[None].cures[0]
    assert told["not one!"].placeholders == {"no collection": 1}
    assert told["one"].synced == 1


def test_rows_that_refer_to_nobody_are_in_the_settings_collection(
    school, per_student, stubbed, stub, collections, members, face_rows, linked
):
    members(dict.fromkeys(range(1, 13), "one"))
    face_rows(photo(1), photo(2))
    school.execute("ALTER TABLE student_faces ALTER student_id DROP NOT NULL")
    school.execute("UPDATE student_faces SET student_id = NULL WHERE external_image_id = %s", [photo(2)])
    school.commit()
    collections({"one": [(A, photo(1)), (B, photo(2))], per_student.collection: [(C, photo(1)), (D, photo(2))]})
    assert sync(school, per_student, stubbed).synced == 2
    assert linked() == {photo(1): A, photo(2): D}
    # and where all students are in that one, too, it is asked alone
    members(dict.fromkeys(range(1, 13), per_student.collection))
    stub.requests.clear()
    report = sync(school, per_student, stubbed, strict=True)
    assert (report.ok, linked(), len(stub.requests)) == (True, {photo(1): C, photo(2): D}, 1)


def test_a_row_that_came_to_another_collection_while_they_were_listed_is_the_next_syncs(
    school, database, per_student, stubbed, stub, collections, members, face_rows, linked
):
    members({1: "one", 2: "one"})
    face_rows(photo(1), photo(2))
    collections({"one": [(A, photo(1)), (B, photo(2))], "two": [(C, photo(2))]}, size=1)
    healthy = stub.answer

    def answer(operation, request, n):
        if n == 2:
            with psycopg.connect(database.conninfo) as other:
                other.execute("UPDATE students SET aws_collection_id = 'two' WHERE id = 'student-002'")
        return healthy(operation, request, n)

    stub.answer = answer
    assert sync(school, per_student, stubbed).ok
    stub.answer = healthy
    assert sync(school, per_student, stubbed, strict=True).ok
    assert linked() == {photo(1): A, photo(2): C}


def test_a_collection_given_by_hand_restricts_to_its_rows(
    school, per_student, stubbed, stub, collections, members, face_rows, linked
):
    members({1: "one", 2: "two"})
    face_rows(photo(1), photo(2))
    collections({"one": [(A, photo(1)), (C, photo(2))], "two": [(B, photo(2))]})
    report = sync(school, per_student, stubbed, collection="one", strict=True)
    assert report.ok
    assert list(by_collection(report)) == ["one"]
    assert len(stub.requests) == 1
    assert linked() == {photo(1): A, photo(2): f"placeholder:{photo(2)}"}
    with pytest.raises(ResourceNotFound, match="three") as caught:
        sync(school, per_student, stubbed, collection="three")
    assert caught.value.place == {"option": "--collection", "table": "student_faces"}
    assert "students.aws_collection_id" in caught.value.remedy


def test_a_table_without_rows_lists_nothing(school, per_student, stubbed, stub):
    report = sync(school, per_student, stubbed, strict=True)
    assert report.ok
    assert [(each.collection, each.rows, each.faces) for each in report.bindings] == [(per_student.collection, 0, 0)]
    assert stub.requests == []


def test_two_tables_in_one_collection_list_it_once_and_know_each_others_faces(
    school, per_student, stubbed, stub, collections, members, face_rows
):
    members({1: "one"})
    face_rows(photo(1))
    school.execute("CREATE TABLE teacher_faces (id int PRIMARY KEY, face_id text, external_image_id text)")
    school.execute("INSERT INTO teacher_faces VALUES (1, 'placeholder:teacher', 'teacher')")
    school.commit()
    collections({"one": [(A, photo(1)), (B, "teacher"), (C, "stranger")]}, size=5)
    both = (PER_STUDENT, FaceBinding(table="teacher_faces", collection="one"))
    report = sync(school, msgspec.structs.replace(per_student, faces=both), stubbed)
    assert [each.synced for each in report.bindings] == [1, 1]
    assert [each.orphans.examples for each in report.bindings] == [("stranger",)] * 2
    assert len(stub.requests) == 1


@pytest.fixture
def three_collections(collections, members, face_rows):
    """Twelve students in three collections; the third has 245 pages of two."""
    members({n: ("first", "second", "third")[n % 3] for n in range(1, 13)})
    face_rows(*(photo(n) for n in range(1, 13)))
    held = {
        name: [(face(1000 * place + n), photo(n)) for n in range(1, 13) if n % 3 == place]
        for place, name in enumerate(("first", "second", "third"))
    }
    held["third"] += [(face(5000 + n), f"other-{n}") for n in range(490 - len(held["third"]))]
    collections(held)
    return held


def test_a_failure_on_page_200_of_245_of_the_third_collection_changes_no_row(
    school, per_student, stubbed, stub, three_collections, linked, monkeypatch
):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr("seedtool.faces.rekognition.limiter.QUOTAS", {"ListFaces": (10000, 10000)})
    before = linked()
    healthy = stub.answer
    stub.answer = lambda operation, request, n: (
        (500, {"__type": "InternalServerError", "message": "x"})
        if request["CollectionId"] == "third" and int(request.get("NextToken", 0)) >= 2 * 199
        else healthy(operation, request, n)
    )
    with pytest.raises(ServiceUnavailable, match="third"):
        sync(school, per_student, stubbed)
    assert linked() == before
    assert len(stub.requests) >= 199 + 5
    stub.answer = healthy
    assert sync(school, per_student, stubbed, strict=True).synced == 12


def test_ctrl_c_among_several_collections_changes_no_row_and_ends_the_listing(
    school, per_student, stubbed, stub, three_collections, linked, monkeypatch, hearing
):
    monkeypatch.setattr("seedtool.faces.rekognition.limiter.QUOTAS", {"ListFaces": (10000, 10000)})
    before = linked()

    def interrupt(done, total):
        if done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sync(school, per_student, stubbed, listener=hearing(interrupt))
    assert linked() == before
    for thread in threading.enumerate():
        if thread.name in {"list-collections", "list-faces"}:
            thread.join(5)
            assert not thread.is_alive()
    assert len(stub.requests) < 100
    assert sync(school, per_student, stubbed).synced == 12


def test_no_more_collections_are_listed_at_once_than_allowed_and_pages_do_not_pile_up(
    school, per_student, stubbed, stub, collections, members, face_rows, monkeypatch, hearing
):
    monkeypatch.setattr("seedtool.faces.rekognition.limiter.QUOTAS", {"ListFaces": (10000, 10000)})
    members({n: f"c{n}" for n in range(1, 13)})
    face_rows(*(photo(n) for n in range(1, 13)))
    collections(
        {f"c{n}": [(face(100 * n + k), photo(n) if k == 0 else f"x-{k}") for k in range(40)] for n in range(1, 13)}
    )
    healthy, seen, most = stub.answer, set(), []

    def watch(operation, request, n):
        seen.add(request["CollectionId"])
        return healthy(operation, request, n)

    def tell(done, total):
        most.append(len(stub.requests) - done / 2)

    stub.answer = watch
    assert sync(school, per_student, stubbed, listener=hearing(tell)).synced == 12
    assert len(seen) == 12
    # each listing has a page written, one that waits for room and one under way
    assert max(most) <= 3 * concurrent.LISTINGS + concurrent.LISTINGS


def test_the_other_developers_faces_are_orphans_and_left_alone(
    school, per_student, aws, members, face_rows, portrait, linked
):
    """Two developers with one live collection: what one enrolled and the other never seeded stays there."""
    shared = aws.collection(per_student.collection)
    shared.ensure()
    members({1: per_student.collection, 2: per_student.collection})
    mine = shared.index_faces(portrait(1), photo(1)).faces[0].face.face_id
    theirs = shared.index_faces(portrait(5), "student-005-photo-7").faces[0].face.face_id
    face_rows(photo(1))
    report = sync(school, per_student, aws, strict=True)
    assert report.ok
    assert linked() == {photo(1): mine}
    assert report.bindings[0].orphans.examples == ("student-005-photo-7",)
    assert "DeleteFaces" not in report.calls
    assert {each.face_id for page in shared.list_pages() for each in page} == {mine, theirs}


def test_enroll_and_recognize_go_to_the_students_collection(
    school, per_student, aws, members, portrait, tmp_path, linked
):
    one, two = f"{per_student.collection}-1", f"{per_student.collection}-2"
    members({1: one, 2: two})
    photos = store(per_student, aws)
    for number, id_ in ((1, one), (2, two)):
        picture = tmp_path / f"{number}.jpg"
        picture.write_bytes(portrait(number))
        report = enroll(school, per_student, aws, photos, f"student-{number:03}", [picture])
        assert (report.ok, report.collection, report.created) == (True, id_, True)
    assert sync(school, per_student, aws, strict=True).unchanged == 2
    with pytest.raises(SettingsError, match=rf"{one}\b.*\b{two}") as caught:
        enroll(school, per_student, aws, photos, "student-001", [picture], collection=two)
    assert caught.value.place == {"option": "--collection", "table": "student_faces"}

    look = msgspec.structs.replace(per_student, collection=None)
    with pytest.raises(SettingsError, match=r"\b2\b") as caught:
        recognize(school, look, aws, portrait(2))
    assert caught.value.place == {"option": "--collection", "table": "student_faces"}
    assert "--collection" in caught.value.remedy
    found = recognize(school, look, aws, portrait(2), collection=two)
    assert (found.collection, found.faces[0].person) == (two, "student-002")
    members({1: two})
    assert recognize(school, look, aws, portrait(2)).collection == two
