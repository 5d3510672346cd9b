"""Faces outlive restarts and kills, concurrent clients see one truth, and pages stay whole while it changes."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from seedtool.emulator import process
from seedtool.emulator.planting import Planted, plant
from seedtool.emulator.store import NewFace, Store
from tests.waiting import until


def every_face(client, collection, page_size=1000):
    pages = client.get_paginator("list_faces").paginate(
        CollectionId=collection, PaginationConfig={"PageSize": page_size}
    )
    return [face for page in pages for face in page["Faces"]]


def index(client, collection, content, external_id):
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": content}, ExternalImageId=external_id)
    return [record["Face"] for record in answer["FaceRecords"]]


def test_a_restart_changes_nothing(own, tmp_path, connect, picture):
    client = connect(own())
    client.create_collection(CollectionId="c")
    for number in range(5):
        index(client, "c", picture(number, "Ana"), f"s-{number}")
    faces = every_face(client, "c")
    first = client.list_faces(CollectionId="c", MaxResults=2)
    found = client.search_faces(CollectionId="c", FaceId=faces[0]["FaceId"])["FaceMatches"]
    process.stop(tmp_path)
    client = connect(own())
    assert every_face(client, "c") == faces
    rest = client.list_faces(CollectionId="c", NextToken=first["NextToken"])
    assert first["Faces"] + rest["Faces"] == faces
    assert client.search_faces(CollectionId="c", FaceId=faces[0]["FaceId"])["FaceMatches"] == found
    assert index(client, "c", picture(0, "Ana"), "s-0")[0] in faces


def test_a_kill_in_the_middle_of_writes_loses_nothing_that_was_answered(own, tmp_path, connect, picture):
    for round_number in range(2):
        client = connect(own())
        if round_number == 0:
            client.create_collection(CollectionId="c")
        contents = [picture(n, "Ana", "Beto") for n in range(4)]
        answered = {}
        enough = threading.Event()

        def write(worker, client=client, contents=contents, answered=answered, enough=enough, r=round_number):
            for number in range(1000):
                external_id = f"r{r}-w{worker}-{number}"
                try:
                    answered[external_id] = index(client, "c", contents[worker], external_id)
                except (BotoCoreError, ClientError, ValueError, KeyError):  # the last two: an answer without its body
                    return
                if len(answered) >= 20:
                    enough.set()

        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, worker) for worker in range(4)]
            assert enough.wait(30)
            os.kill(process._running(tmp_path).pid, signal.SIGKILL)
            while process.find(tmp_path):  # for an instant a dying process still holds what it held
                time.sleep(0.01)
        for writer in writers:
            writer.result()
        client = connect(own())
        kept = every_face(client, "c")
        by_id = {face["FaceId"]: face for face in kept}
        assert all(by_id[face["FaceId"]] == face for faces in answered.values() for face in faces)
        photos = [face["ExternalImageId"] for face in kept]
        assert all(photos.count(photo) == 2 for photo in set(photos))  # both faces of a picture or none
        assert client.describe_collection(CollectionId="c")["FaceCount"] == len(kept)


def test_concurrent_clients_index_the_same_picture_once(rekognition, collection, picture):
    content = picture("same", "Ana", "Beto")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: index(rekognition, collection, content, "s-1"), range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert len(every_face(rekognition, collection)) == 2


def test_a_collection_deleted_under_a_writer(rekognition, picture):
    content = picture(1)

    def write(number):
        try:
            return index(rekognition, "brief", content, f"s-{number}")
        except rekognition.exceptions.ResourceNotFoundException:
            return None

    with ThreadPoolExecutor(4) as pool:
        rekognition.create_collection(CollectionId="brief")
        writes = [pool.submit(write, number) for number in range(20)]
        rekognition.delete_collection(CollectionId="brief")
        assert [write.result() for write in writes][-1] is None


def test_each_face_has_one_user_or_is_gone_while_others_associate_and_delete(rekognition, collection, picture):
    """Whatever the order, an association that was answered is listed, and a face is never two users'."""
    faces = [
        each["FaceId"]
        for number in range(6)
        for each in index(rekognition, collection, picture(number, "Ana"), f"s-{number}")
    ]
    for user in ("one", "two"):
        rekognition.create_user(CollectionId=collection, UserId=user)

    def associate(user):
        answer = rekognition.associate_faces(CollectionId=collection, UserId=user, FaceIds=faces)
        return {each["FaceId"] for each in answer["AssociatedFaces"]}

    def delete(face):
        return set(rekognition.delete_faces(CollectionId=collection, FaceIds=[face])["DeletedFaces"])

    with ThreadPoolExecutor(4) as pool:
        deleted = [pool.submit(delete, face) for face in faces[::2]]
        one, two = pool.map(associate, ("one", "two"))
    gone = set().union(*(each.result() for each in deleted))
    listed = {each["FaceId"]: each.get("UserId") for each in rekognition.list_faces(CollectionId=collection)["Faces"]}
    assert set(listed) == set(faces) - gone
    assert not one & two
    assert {face for face, user in listed.items() if user == "one"} == one
    assert {face for face, user in listed.items() if user == "two"} == two
    assert one | two | gone == set(faces)
    rekognition.delete_user(CollectionId=collection, UserId="one")
    free = rekognition.delete_faces(CollectionId=collection, FaceIds=faces)
    assert set(free["DeletedFaces"]) == one


def test_a_user_has_at_most_a_hundred_faces(own, tmp_path, connect):
    client, faces = connect(own()), _Faces(tmp_path / "faces.sqlite3")
    try:
        ids = sorted(faces.add(150))
        client.create_user(CollectionId=faces.name, UserId="u")
        added = client.associate_faces(CollectionId=faces.name, UserId="u", FaceIds=ids[:60], UserMatchThreshold=0)
        assert len(added["AssociatedFaces"]) == 60
        with pytest.raises(client.exceptions.ServiceQuotaExceededException):
            client.associate_faces(CollectionId=faces.name, UserId="u", FaceIds=ids[60:120], UserMatchThreshold=0)
        client.associate_faces(CollectionId=faces.name, UserId="u", FaceIds=ids[60:100], UserMatchThreshold=0)
        with pytest.raises(client.exceptions.ServiceQuotaExceededException):
            client.associate_faces(CollectionId=faces.name, UserId="u", FaceIds=ids[100:101], UserMatchThreshold=0)
        assert len(client.list_faces(CollectionId=faces.name, UserId="u")["Faces"]) == 100
    finally:
        faces.store.close()


class _Faces:
    """A store with one collection, filled without pictures."""

    def __init__(self, path):
        self.store = Store(path)
        name = uuid.uuid4().hex
        self.store.create_collection("123456789012", "us-east-1", name, "7.0")
        self.name = name
        self.uid = self.store.collection("123456789012", "us-east-1", name).uid

    def add(self, count):
        faces = [
            NewFace(n, {"BoundingBox": {}, "Confidence": 99.0}, None, None, b"digest", descriptions=())
            for n in range(count)
        ]
        return {face["FaceId"] for face in self.store.add_faces(self.uid, None, faces)}


@settings(max_examples=25)
@given(
    first=st.integers(0, 30),
    page_size=st.integers(1, 9),
    changes=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12),
    picks=st.randoms(use_true_random=False),
)
def test_pages_neither_repeat_nor_hide_while_faces_come_and_go(
    own, tmp_path, connect, first, page_size, changes, picks
):
    client = connect(own())
    faces = _Faces(tmp_path / "faces.sqlite3")
    try:
        live = faces.add(first)
        stayed, ever, seen = set(live), set(live), []
        changes = iter(changes)
        for page in client.get_paginator("list_faces").paginate(
            CollectionId=faces.name, PaginationConfig={"PageSize": page_size}
        ):
            ids = [face["FaceId"] for face in page["Faces"]]
            assert len(ids) <= page_size
            seen += ids
            added, removed = next(changes, (0, 0))
            gone = set(picks.sample(sorted(live), min(removed, len(live))))
            assert faces.store.delete_faces(faces.uid, sorted(gone)) == (gone, {})
            fresh = faces.add(added)
            live, stayed, ever = (live - gone) | fresh, stayed - gone, ever | fresh
        assert seen == sorted(set(seen))
        assert stayed <= set(seen) <= ever
    finally:
        faces.store.close()


def test_a_large_collection_is_listed_searched_and_deleted(own, tmp_path, connect, picture):
    client = connect(own())
    planted = plant(tmp_path, "large", (Planted(f"s-{number}") for number in range(10_000)))  # under a live emulator
    index(client, "large", picture(1), "ana")
    assert client.describe_collection(CollectionId="large")["FaceCount"] == planted + 1
    assert len(client.list_faces(CollectionId="large")["Faces"]) == 4096  # at most, also when nothing is asked
    answer = client.search_faces_by_image(CollectionId="large", Image={"Bytes": picture(1, quality=50)})
    assert [match["Face"]["ExternalImageId"] for match in answer["FaceMatches"]] == ["ana"]
    client.delete_collection(CollectionId="large")
    assert client.list_collections()["CollectionIds"] == []
    client.create_collection(CollectionId="large")
    assert client.list_faces(CollectionId="large")["Faces"] == []


def test_a_kill_while_a_deleted_collection_is_swept(own, tmp_path, connect, picture):
    client = connect(own())
    client.create_collection(CollectionId="kept")
    kept = index(client, "kept", picture(1), "ana")
    plant(tmp_path, "large", (Planted(f"s-{number}") for number in range(20_000)))
    client.delete_collection(CollectionId="large")
    os.kill(process._running(tmp_path).pid, signal.SIGKILL)
    until(lambda: not process.find(tmp_path))
    client = connect(own())
    assert client.list_collections()["CollectionIds"] == ["kept"]
    assert every_face(client, "kept") == kept
    with contextlib.closing(sqlite3.connect(tmp_path / "faces.sqlite3")) as state:
        until(lambda: state.execute("SELECT count(*) FROM faces").fetchone() == (1,))
