"""Searching keeps up with a changing collection: what is new is found, what is gone is not, large ones stay quick."""

import time

import numpy as np
import pytest

from seedtool.emulator import gallery as gallery_module
from seedtool.emulator.descriptor import VECTOR_BYTES
from seedtool.emulator.faces import CROP, WHOLE, SeenFace
from seedtool.emulator.gallery import Gallery
from seedtool.emulator.process import EmulatorError
from seedtool.emulator.regions import Box
from seedtool.emulator.store import Connections, NewFace, Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "faces.sqlite3")
    yield store
    store.close()


@pytest.fixture
def uid(store):
    store.create_collection("123456789012", "us-east-1", "c", "7.0")
    return store.collection("123456789012", "us-east-1", "c").uid


def vector(seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 40, VECTOR_BYTES // 2)).astype(np.float16).tobytes()


def add(store, uid, seeds, name=None, likeness=None, kind=WHOLE):
    faces = [
        NewFace(n, {"Confidence": 99.0}, name, likeness, str(seed).encode(), [(kind, vector(seed))])
        for n, seed in enumerate(seeds)
    ]
    return [face["FaceId"] for face in store.add_faces(uid, None, faces)]


def seen(seed, name=None, kind=WHOLE):
    return SeenFace(
        0, Box(0, 0, 1, 1), 99.0, 50.0, 50.0, (0, 0, 0), name, None, b"asked", [(kind, vector(seed))], [], small=False
    )


def ids(matches):
    return [document.split('"')[3] for _, document in matches]


def test_new_faces_are_found_and_deleted_ones_are_not(store, uid):
    gallery = Gallery(store)
    now = time.time() + 60
    assert gallery.like_picture(uid, seen(1), 80, 10, now) == []
    (one,) = add(store, uid, [1])
    assert ids(gallery.like_picture(uid, seen(1), 80, 10, now)) == [one]
    (two,) = add(store, uid, [1])
    assert ids(gallery.like_picture(uid, seen(1), 80, 10, now)) == sorted([one, two])
    store.delete_faces(uid, [one])
    gallery.deleted(uid, 1)
    assert ids(gallery.like_picture(uid, seen(1), 80, 10, now)) == [two]
    assert ids(gallery.like_face(uid, two, 80, 10, now)) == []
    assert gallery.like_face(uid, one, 80, 10, now) is None
    store.delete_collection(uid)
    gallery.forget(uid)
    assert gallery.like_picture(uid, seen(1), 80, 10, now) == []


def test_whole_pictures_and_crops_are_not_confused(store, uid):
    (crop,) = add(store, uid, [1], kind=CROP)
    gallery = Gallery(store)
    assert gallery.like_picture(uid, seen(1), 80, 10, time.time()) == []
    assert ids(gallery.like_picture(uid, seen(1, kind=CROP), 80, 10, time.time())) == [crop]


def test_names_decide_before_looks(store, uid):
    (ana,) = add(store, uid, [1], "Ana")
    (beto,) = add(store, uid, [1], "Beto")
    (stranger,) = add(store, uid, [1])
    now = time.time() + 60
    gallery = Gallery(store)
    assert ids(gallery.like_face(uid, ana, 80, 10, now)) == [stranger]
    everybody = {face: score for (score, _), face in _with_ids(gallery.like_face(uid, ana, 0, 10, now))}
    assert everybody[beto] < 80
    assert ids(gallery.like_picture(uid, seen(2, "Beto"), 80, 10, now)) == [beto]
    assert set(ids(gallery.like_picture(uid, seen(1), 80, 10, now))) == {ana, beto, stranger}


def _with_ids(matches):
    return zip(matches, ids(matches), strict=True)


def test_many_faces_are_searched_quickly_and_exactly(store, uid, monkeypatch):
    monkeypatch.setattr(gallery_module, "_BLOCK", 1000)
    monkeypatch.setattr(gallery_module, "_MOST_CANDIDATES", 50)
    faces = add(store, uid, range(5500))
    gallery = Gallery(store)
    now = time.time() + 60
    for seed in (0, 999, 1000, 5499):
        assert ids(gallery.like_picture(uid, seen(seed), 80, 4096, now)) == [faces[seed]]
        assert ids(gallery.like_picture(uid, seen(seed), 0, 3, now))[0] == faces[seed]
    start = time.process_time()
    gallery.like_picture(uid, seen(7), 80, 10, now)
    assert time.process_time() - start < 1
    store.delete_faces(uid, faces[:4000])
    gallery.deleted(uid, 4000)  # mostly stale now: built anew
    assert gallery.like_picture(uid, seen(7), 80, 10, now) == []
    assert ids(gallery.like_picture(uid, seen(4500), 80, 10, now)) == [faces[4500]]


def test_state_of_another_format_is_refused_with_the_cure(tmp_path, approved):
    path = tmp_path / "faces.sqlite3"
    connections = Connections(path)
    connections.prepare()
    with connections.reading() as connection:
        connection.execute("PRAGMA user_version = 99")
    connections.close()
    with pytest.raises(EmulatorError) as caught:
        Store(path)
    assert "99" in caught.value.message
    approved(caught.value)
