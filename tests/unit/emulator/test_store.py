"""What the store promises of large collections: gone at once, counted without counting, and upgraded in place."""

import contextlib
import io
import sqlite3
import time
import uuid

import msgspec
import pytest
from PIL import Image

from seedtool.emulator import objects, planting
from seedtool.emulator import store as store_module
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.planting import Planted, plant
from seedtool.emulator.store import NewFace, Store
from tests.waiting import until

OWNER = ("123456789012", "us-east-1")


def faces_left(path):
    with contextlib.closing(sqlite3.connect(path / "faces.sqlite3")) as connection:
        (collections,) = connection.execute("SELECT count(*) FROM collections").fetchone()
        (faces,) = connection.execute("SELECT count(*) FROM faces").fetchone()
    return collections, faces


def test_a_collection_has_room_for_so_many_and_again_once_some_are_deleted(tmp_path):
    store = Store(tmp_path / "faces.sqlite3")
    store.create_collection(*OWNER, "c", "7.0")
    uid = store.collection(*OWNER, "c").uid
    two = [NewFace(ordinal, {}, None, None, b"digest", []) for ordinal in range(2)]
    first = store.add_faces(uid, b"one", two, most=2)
    assert store.add_faces(uid, b"one", two, most=2) == first  # these need no room
    with pytest.raises(store_module.CollectionFullError):
        store.add_faces(uid, b"two", two[:1], most=2)
    store.delete_faces(uid, [first[0]["FaceId"]])
    assert store.collection(*OWNER, "c").size == 1
    store.add_faces(uid, b"two", two[:1], most=2)
    assert store.collection(*OWNER, "c").size == len(store.list_faces(uid, "", 10)) == 2


def test_planted_faces_are_faces(tmp_path, monkeypatch):
    monkeypatch.setattr(planting, "_BATCH", 100)
    ids = [f"s-{number // 2}" for number in range(249)]
    assert plant(tmp_path, "c", (Planted(external_id, "Ana") for external_id in [*ids, None])) == 250
    assert plant(tmp_path, "c", [Planted("more")]) == 1
    store = Store(tmp_path / "faces.sqlite3")
    collection = store.collection(*OWNER, "c")
    listed = store.list_faces(collection.uid, "", 1000)
    assert collection.size == len(listed) == 251
    assert sum('"ExternalImageId"' not in document for _, document in listed) == 1
    assert all(msgspec.json.decode(document)["FaceId"] == face_id for face_id, document in listed)
    ana = store.keyed(b"person", b"Ana")
    assert len(store.faces_of(collection.uid, ana, until=time.time())) == 250
    store.close()


def test_planting_that_ends_early_leaves_whole_batches_and_each_face_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setattr(planting, "_BATCH", 100)
    insert, batches = Store.plant_faces, []

    def interrupted(store, uid, faces):
        batches.append(faces)
        # a digest that is missing: the database refuses the last row of the second batch
        insert(store, uid, faces if len(batches) == 1 else [*faces[:-1], (*faces[-1][:3], None)])

    monkeypatch.setattr(Store, "plant_faces", interrupted)
    with pytest.raises(sqlite3.IntegrityError):
        plant(tmp_path, "c", (Planted(f'"ñ"-{number}', f"student {number}") for number in range(300)))
    store = Store(tmp_path / "faces.sqlite3")
    collection = store.collection(*OWNER, "c")
    assert collection.size == len(store.list_faces(collection.uid, "", 1000)) == 100
    for number in range(100):
        person = store.keyed(b"person", f"student {number}".encode())
        (face,) = store.faces_of(collection.uid, person, until=time.time()).values()
        assert msgspec.json.decode(face.document)["ExternalImageId"] == f'"ñ"-{number}'
        assert uuid.UUID(face.face_id).version == 4
    store.close()


def test_a_collection_keeps_the_model_it_was_made_with(tmp_path):
    store = Store(tmp_path / "faces.sqlite3")
    store.create_collection(*OWNER, "old", "6.0")
    operations, scope = Operations(store, objects.reader(None, None)), Scope(*OWNER)
    picture = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(picture, "JPEG")
    operations.perform("IndexFaces", scope, {"CollectionId": "old", "Image": {"Bytes": picture.getvalue()}})
    operations.perform("CreateCollection", scope, {"CollectionId": "new"})
    answers = [
        msgspec.json.decode(operations.perform(operation, scope, {"CollectionId": "old"}))
        for operation in ("DescribeCollection", "ListFaces")
    ]
    assert [answer["FaceModelVersion"] for answer in answers] == ["6.0", "6.0"]
    assert answers[1]["Faces"][0]["IndexFacesModelVersion"] == "6.0"
    listed = msgspec.json.decode(operations.perform("ListCollections", scope, {}))
    assert (listed["CollectionIds"], listed["FaceModelVersions"]) == (["old", "new"], ["6.0", "7.0"])
    store.close()


def test_a_large_collection_is_gone_at_once_and_swept_later(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_DELETE_BATCH", 50)
    plant(tmp_path, "c", (Planted(f"s-{number}") for number in range(500)))
    store = Store(tmp_path / "faces.sqlite3")
    uid = store.collection(*OWNER, "c").uid
    assert store.delete_collection(uid)
    assert store.collection(*OWNER, "c") is None
    assert store.collections(*OWNER, 0, 10) == []
    assert not store.delete_collection(uid)
    assert store.create_collection(*OWNER, "c", "7.0")
    assert store.collection(*OWNER, "c").size == 0
    until(lambda: faces_left(tmp_path) == (1, 0))
    store.close()


def test_a_sweep_that_was_interrupted_goes_on_with_the_next_start(tmp_path):
    plant(tmp_path, "c", (Planted(f"s-{number}") for number in range(100)))
    with contextlib.closing(sqlite3.connect(tmp_path / "faces.sqlite3")) as connection, connection:
        connection.execute("UPDATE collections SET account = '', name = uid")  # what a killed emulator leaves
    store = Store(tmp_path / "faces.sqlite3")
    until(lambda: faces_left(tmp_path) == (0, 0))
    store.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_state_of_an_earlier_version_is_upgraded(tmp_path, version):
    plant(tmp_path, "c", (Planted(f"s-{number}") for number in range(100)))
    with contextlib.closing(sqlite3.connect(tmp_path / "faces.sqlite3", isolation_level=None)) as connection:
        if version < 3:
            connection.execute("DROP INDEX faces_by_user")
            connection.execute("ALTER TABLE faces DROP COLUMN user_id")
            for table in ("users", "tags", "answered"):
                connection.execute(f"DROP TABLE {table}")
            connection.execute("ALTER TABLE collections DROP COLUMN users")
        if version == 1:
            connection.execute("ALTER TABLE collections DROP COLUMN size")
            connection.execute("DROP INDEX faces_by_person")
            connection.execute("CREATE INDEX faces_by_person ON faces (collection, person)")
        connection.execute(f"PRAGMA user_version = {version}")
    store = Store(tmp_path / "faces.sqlite3")
    collection = store.collection(*OWNER, "c")
    assert collection.size == 100
    ((face_id, _),) = store.list_faces(collection.uid, "", 1)
    with store.changing(collection.uid) as connection:
        assert store.create_user(connection, collection.uid, "ana")
        store.associate(connection, collection.uid, [face_id], "ana")
    assert [*store.faces_of_user(collection.uid, "ana")] == [face_id]
    store.close()


def test_no_statement_reads_a_whole_collection(tmp_path, monkeypatch):
    """SQLite is asked for the plan of every statement of the store, with 10,000 faces and no statistics."""
    plant(tmp_path, "c", (Planted(f"s-{number}", name=f"student {number}") for number in range(10_000)))
    statements, connect = [], store_module.Connections._connect

    def traced(self):
        connection = connect(self)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(store_module.Connections, "_connect", traced)
    store = Store(tmp_path / "faces.sqlite3")
    with store._connections.writing() as connection:
        connection.execute(
            "INSERT INTO looks (collection, face_id, kind, named, vector) SELECT collection, face_id, 0, 1, x'00' FROM faces"
        )
    statements.clear()
    store.create_collection(*OWNER, "d", "7.0")
    uid = store.collection(*OWNER, "c").uid
    store.collections(*OWNER, 0, 10)
    ids = [face_id for face_id, _ in store.list_faces(uid, "", 3)]
    store.list_faces(uid, ids[0], 3)
    store.list_faces(uid, "", 4096, ids)
    store.list_faces(uid, ids[0], 4096, ids)
    store.faces(uid, ids, until=time.time())
    assert len(store.faces_of(uid, store.keyed(b"person", b"student 5"), until=time.time())) == 1
    store.descriptions_of(uid, ids)
    assert len(store.descriptions_at(uid, [1, 2])) == 2
    assert len(store.descriptions_after(uid, 9_990, 100)) == 10
    for key in (b"key", b"key", None):
        store.add_faces(uid, key, [NewFace(0, {}, "Ana", None, b"digest", [(0, b"vector")])], most=10**6)
    with store.changing(uid) as connection:
        store.create_user(connection, uid, "ana")
        store.associate(connection, uid, ids[:1], "ana")
        store.answered(connection, uid, "CreateUser", "token")
        store.keep_answer(connection, uid, "CreateUser", "token", b"", "{}")
        store.tag(connection, uid, {"a": "b"})
    assert store.has_user(uid, "ana")
    assert len(store.faces_of_user(uid, "ana")) == len(store.list_faces(uid, "", 9, user_id="ana")) == 1
    assert store.users(uid, 0, 9)[0][1:] == ("ana", True)
    assert store.collection(*OWNER, "c").users == 1
    store.tags(uid)
    with store.changing(uid) as connection:
        store.delete_user(connection, uid, "ana")
        store.untag(connection, uid, ["a"])
    store.delete_faces(uid, ids)
    asked = [each for each in statements if each.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))]
    assert len(asked) > 15
    with store._connections.reading() as connection:
        for statement in asked:
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
                assert not step.startswith("SCAN") or "json_each" in step or "CONSTANT ROW" in step, (statement, step)
                # a collection has at most 50 tags
                bounded = " LIMIT " in statement or " tags " in statement or not step.endswith("(collection=?)")
                assert bounded, (statement, step)
    store.close()


def test_the_same_bytes_have_the_same_image_id(tmp_path):
    store = Store(tmp_path / "faces.sqlite3")
    operations, scope = Operations(store, objects.reader(None, None)), Scope(*OWNER)
    pictures = []
    for _ in range(2):
        picture = io.BytesIO()
        Image.effect_noise((200, 200), 90).convert("RGB").save(picture, "JPEG")
        pictures.append(picture.getvalue())
    for collection in ("one", "other"):
        operations.perform("CreateCollection", scope, {"CollectionId": collection})

    def image_id(collection, picture, **more):
        request = {"CollectionId": collection, "Image": {"Bytes": picture}, **more}
        (record,) = msgspec.json.decode(operations.perform("IndexFaces", scope, request))["FaceRecords"]
        return record["Face"]["ImageId"]

    first = image_id("one", pictures[0], ExternalImageId="a")
    assert uuid.UUID(first).version == 5
    assert {image_id("one", pictures[0], ExternalImageId="b"), image_id("other", pictures[0])} == {first}
    assert image_id("one", pictures[1], ExternalImageId="a") != first
    store.close()
