"""Who is in a photo, and that nothing temporary is left behind, whatever happens in between."""

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from seedtool.errors import ImageRefused, ResourceNotFound, SchemaError, SeedtoolError, ServiceUnavailable
from seedtool.faces.enroll.rows import enroll_all
from seedtool.faces.photos import store
from seedtool.faces.recognize import recognize
from seedtool.faces.rekognition import collection as gateway
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.settings import FaceBinding

ROOT = Path(__file__).resolve().parents[3]
A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")


@pytest.fixture
def class_photo():
    return (ROOT / "seeds" / "photos" / "classes" / "7-basico-a.jpg").read_bytes()


@pytest.fixture
def enrolled(school, mine, aws, face_rows):
    """Twelve students, both photos of each enrolled."""
    face_rows(*(f"student-{n:03}-photo-{p}" for n in range(1, 13) for p in (1, 2)))
    assert enroll_all(school, mine, aws, store(mine, aws)).ok
    return school


@pytest.fixture
def temporary(collection):
    return lambda: [
        face for page in collection.list_pages() for face in page if face.external_image_id.startswith("temp_")
    ]


def test_the_students_of_a_class_photo_are_named_from_left_to_right(enrolled, mine, aws, class_photo, temporary):
    report = recognize(enrolled, mine, aws, class_photo)
    assert report.ok
    assert report.recognized > 1
    assert [face.number for face in report.faces] == list(range(1, len(report.faces) + 1))
    centres = [face.box.left + face.box.width / 2 for face in report.faces]
    assert centres == sorted(centres)
    known = [face for face in report.faces if face.person]
    assert all(face.similarity >= 95 and face.name.startswith("Nombre") for face in known)
    assert all(face.why and face.remedy for face in report.faces if face.person is None)
    assert temporary() == []
    assert report.calls["DeleteFaces"] == 1
    assert msgspec.json.decode(msgspec.json.encode(report))["recognized"] == report.recognized


def test_the_names_have_their_parts_in_order(enrolled, mine, aws, portrait):
    report = recognize(enrolled, mine, aws, portrait(3))
    assert [(face.person, face.name) for face in report.faces] == [("student-003", "Nombre3 Apellido3 Núñez")]


def test_a_copy_of_a_portrait_without_any_label_is_recognised(enrolled, mine, aws):
    copy = (ROOT / "seeds" / "photos" / "unlabelled" / "student-005-copy.jpg").read_bytes()
    assert [face.person for face in recognize(enrolled, mine, aws, copy).faces] == ["student-005"]


def test_after_a_reset_it_says_to_sync_and_after_the_sync_it_knows(enrolled, mine, aws, portrait):
    enrolled.execute("UPDATE student_faces SET face_id = 'placeholder:' || external_image_id")
    enrolled.commit()
    face = recognize(enrolled, mine, aws, portrait(3)).faces[0]
    assert face.person is None
    assert face.external_image_id.startswith("student-003-photo-")
    assert "seedtool sync-faces" in face.remedy
    sync(enrolled, mine, aws)
    assert recognize(enrolled, mine, aws, portrait(3)).faces[0].person == "student-003"


def test_a_face_that_this_database_does_not_know(enrolled, mine, aws, portrait):
    enrolled.execute("DELETE FROM student_faces WHERE student_id = 'student-003'")
    enrolled.commit()
    face = recognize(enrolled, mine, aws, portrait(3)).faces[0]
    assert "does not know" in face.why


def test_a_person_that_nobody_enrolled(enrolled, mine, aws, portrait):
    face = recognize(enrolled, mine, aws, portrait(20)).faces[0]
    assert (face.person, face.name) == (None, None)
    assert "no face is 95 % similar" in face.why


def test_a_picture_that_is_refused_and_a_collection_that_is_missing(school, mine, aws, portrait):
    with pytest.raises(ImageRefused):
        recognize(school, mine, aws, b"nonsense")
    with pytest.raises(ResourceNotFound):
        recognize(school, mine, aws, portrait(1))
    elsewhere = FaceBinding(table="students", face_id="id", external_image_id="id")
    settings = msgspec.structs.replace(mine, faces=(elsewhere,))
    with pytest.raises(SchemaError) as caught:
        recognize(school, settings, aws, portrait(1))
    assert (caught.value.place["table"], caught.value.place["column"]) == ("students", "student_id")


def test_ctrl_c_while_searching_deletes_the_temporary_faces(enrolled, mine, aws, class_photo, temporary, monkeypatch):
    def slow(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        return ()

    monkeypatch.setattr(gateway.Collection, "search_faces", slow)
    with pytest.raises(KeyboardInterrupt):
        recognize(enrolled, mine, aws, class_photo)
    assert temporary() == []


def test_ctrl_c_while_indexing_deletes_the_temporary_faces(enrolled, mine, aws, class_photo, temporary, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def interrupted(self, *arguments, **options):
        threading.Timer(0, os.kill, [os.getpid(), signal.SIGINT]).start()
        answer = index_faces(self, *arguments, **options)
        time.sleep(0.2)
        return answer

    monkeypatch.setattr(gateway.Collection, "index_faces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recognize(enrolled, mine, aws, class_photo)
    assert temporary() == []


@pytest.mark.parametrize("failure", [ServiceUnavailable("gone"), KeyboardInterrupt()])
def test_an_answer_that_was_lost_leaves_no_temporary_face(
    enrolled, mine, aws, class_photo, temporary, monkeypatch, failure
):
    index_faces = gateway.Collection.index_faces

    def lose(self, *arguments, **options):
        index_faces(self, *arguments, **options)
        raise failure

    monkeypatch.setattr(gateway.Collection, "index_faces", lose)
    with pytest.raises(type(failure)):
        recognize(enrolled, mine, aws, class_photo)
    assert temporary() == []


def test_temporary_faces_that_may_be_left_are_told(enrolled, mine, aws, class_photo, temporary, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def lose(self, *arguments, **options):
        index_faces(self, *arguments, **options)
        raise ServiceUnavailable("IndexFaces was not answered", remedy="Run it again.")

    def away(self, *arguments, **options):
        raise ServiceUnavailable("the service is away")

    monkeypatch.setattr(gateway.Collection, "index_faces", lose)
    for lost in ("list_pages", "delete_faces"):
        with monkeypatch.context() as patch:
            patch.setattr(gateway.Collection, lost, away)
            with pytest.raises(ServiceUnavailable, match="IndexFaces") as caught:
                recognize(enrolled, mine, aws, class_photo)
        (external,) = {face.external_image_id for face in temporary()}
        assert external in caught.value.remedy
        assert "seedtool faces dedupe --temporary" in caught.value.remedy
        aws.collection(mine.collection).delete_faces([face.face_id for face in temporary()])


@pytest.fixture
def scripted(stub: SimpleNamespace):
    """A service whose answers stand in `answers`; one picture of one face, indexed as A."""
    face = {"FaceId": A, "Confidence": 99.0, "BoundingBox": {"Left": 0.1, "Top": 0.1, "Width": 0.2, "Height": 0.2}}
    answers = {
        "IndexFaces": {"FaceRecords": [{"Face": face, "FaceDetail": {}}], "UnindexedFaces": []},
        "SearchFaces": {"FaceMatches": []},
        "DeleteFaces": {"DeletedFaces": [A]},
    }
    stub.answers = answers
    stub.answer = lambda operation, *_: (200, answers[operation])
    return stub


def match(face_id, external, similarity):
    return {"Similarity": similarity, "Face": {"FaceId": face_id, "ExternalImageId": external}}


def test_a_face_that_cannot_be_searched_yet_is_asked_for_again(school, mine, scripted, face_rows, portrait):
    face_rows(("student-001-photo-1", B))
    healthy, asked = scripted.answer, []

    def lagging(operation, request, n):
        if operation == "SearchFaces":
            asked.append(n)
            if len(asked) < 4:
                message = "faceId was not found in the collection."
                return 400, {"__type": "InvalidParameterException", "message": message}
        return healthy(operation, request, n)

    scripted.answer = lagging
    scripted.answers["SearchFaces"] = {"FaceMatches": [match(B, "student-001-photo-1", 99.9)]}
    report = recognize(school, mine, Aws(mine, scripted.url), portrait(1))
    assert report.faces[0].person == "student-001"
    assert len(asked) == 4


def test_another_refusal_of_a_search_is_not_repeated_and_still_cleaned_up(school, mine, scripted, portrait):
    healthy = scripted.answer
    scripted.answer = lambda operation, *rest: (
        (400, {"__type": "AccessDeniedException", "message": "User: arn:aws:iam::1:user/jane is not authorized"})
        if operation == "SearchFaces"
        else healthy(operation, *rest)
    )
    with pytest.raises(SeedtoolError) as caught:
        recognize(school, mine, Aws(mine, scripted.url), portrait(1))
    assert caught.value.place["operation"] == "rekognition:SearchFaces"
    assert "jane" not in str(caught.value)
    operations = [request[2]["X-Amz-Target"].rsplit(".", 1)[1] for request in scripted.requests]
    assert operations == ["IndexFaces", "SearchFaces", "DeleteFaces"]


def test_temporary_faces_never_count_and_lower_matches_are_told(school, mine, scripted, face_rows, portrait):
    face_rows(("student-001-photo-1", B), ("student-002-photo-1", C))
    aws = Aws(mine, scripted.url)
    crowd = [match(D, "temp_attendance_s1_photo1", 100.0)]
    scripted.answers["SearchFaces"] = {"FaceMatches": [*crowd, match(B, "student-001-photo-1", 94.99)]}
    face = recognize(school, mine, aws, portrait(1)).faces[0]
    assert (face.person, face.similarity) == (None, 94.99)
    assert "the best is 94.9 %" in face.why
    scripted.answers["SearchFaces"] = {
        "FaceMatches": [*crowd, match(B, "student-001-photo-1", 99.0), match(C, "student-002-photo-1", 98.0)]
    }
    face = recognize(school, mine, aws, portrait(1)).faces[0]
    assert (face.person, face.also) == ("student-001", ("student-002",))
    searches = [request[3] for request in scripted.requests if b"FaceMatchThreshold" in request[3]]
    assert all(msgspec.json.decode(search)["FaceMatchThreshold"] == 80 for search in searches)


def test_a_deletion_that_fails_is_told(school, mine, scripted, portrait):
    scripted.answers["DeleteFaces"] = {
        "UnsuccessfulFaceDeletions": [{"FaceId": A, "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}]
    }
    report = recognize(school, mine, Aws(mine, scripted.url), portrait(1))
    assert (report.ok, report.left_behind) == (False, (A,))


def test_faces_that_cannot_be_used_are_told_with_the_reason(school, mine, scripted, portrait):
    scripted.answers["IndexFaces"]["UnindexedFaces"] = [
        {"Reasons": ["SMALL_BOUNDING_BOX"], "FaceDetail": {"BoundingBox": {"Left": 0, "Top": 0, "Width": 0.01}}}
    ]
    report = recognize(school, mine, Aws(mine, scripted.url), portrait(1))
    assert "SMALL_BOUNDING_BOX" in report.faces[0].why
    assert [face.number for face in report.faces] == [1, 2]
