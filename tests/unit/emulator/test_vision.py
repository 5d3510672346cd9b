"""Real faces: what becomes of what is seen in a picture, and, where dlib is installed, whether it knows people.

.ci/run puts dlib, its models and the photographs of face_recognition's source package (three of one man, one of
another) into the folder SEEDTOOL_VISION.
"""

import importlib.util
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedtool import extras
from seedtool.emulator import access, objects, server
from seedtool.emulator import vision as vision_module
from seedtool.emulator.__main__ import main
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.process import EmulatorError, code_version
from seedtool.emulator.store import Store
from seedtool.emulator.vision import NUMBERS, found_face, most_distant, open_vision, similarities
from seedtool.errors import MissingExtra
from seedtool.settings import load
from seedtool.workflows import face_service
from tests.unit.emulator.test_faces import FACE, XMP

# read here, before the session's home clears the environment
_PACKAGES = os.environ.get("SEEDTOOL_VISION", "")
_PHOTOS = "face_recognition-1.3.0"


def numbers(person, distance=0.0):
    """The numbers of a person's face, so far from his first one. Two people are farther apart than any of their own."""
    there = np.zeros(NUMBERS, np.float32)
    there[person] = 1.0
    there[100] = distance
    return there.tobytes()


class Seeing:
    """Sees what a test says, whatever picture is shown."""

    def __init__(self):
        self.sees = []

    def faces(self, _image):
        faces = []
        for size, (x, y, looks) in zip((20, 15), self.sees, strict=False):
            points = [[x + size, y], [x + size, y], [x - size - 2, y], [x - size + 2, y], [x, y + 30]]
            faces.append(found_face(np.array(points, float), (400, 400), 1.0, looks))
        return sorted(faces, key=lambda face: -face.box.width)


def picture(*faces, seed=0):
    """Noise, with a face region for each (name, centre x, side)."""
    noise = np.random.default_rng(seed).integers(0, 255, (400, 400, 3), np.uint8)
    xmp = XMP.format(faces="".join(FACE.format(name=name, x=x, w=w, hint="") for name, x, w in faces))
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG", **({"xmp": xmp.encode()} if faces else {}))
    return {"Bytes": out.getvalue()}


class Client:
    """The operations on one collection, without HTTP."""

    def __init__(self, store, seen):
        self._operations = Operations(store, objects.reader(None, None), vision=seen)
        self._scope = Scope("123456789012", "us-east-1")

    def __call__(self, operation, **request):
        request = request if operation in {"DetectFaces", "CompareFaces"} else {"CollectionId": "c", **request}
        return json.loads(self._operations.perform(operation, self._scope, request))

    def index(self, image, external_id):
        answer = self("IndexFaces", Image=image, ExternalImageId=external_id)
        return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]

    def found(self, image, threshold=80):
        return matches(self("SearchFacesByImage", Image=image, FaceMatchThreshold=threshold))


def matches(answer):
    return [(match["Face"]["ExternalImageId"], round(match["Similarity"])) for match in answer["FaceMatches"]]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "faces.sqlite3")
    store.create_collection("123456789012", "us-east-1", "c", "7.0")
    yield store
    store.close()


@pytest.fixture
def seeing():
    return Seeing()


@pytest.fixture
def client(store, seeing):
    return Client(store, seeing)


def test_a_distance_becomes_a_similarity():
    origin = np.zeros(NUMBERS, np.float32)
    distances = [0, 0.3, 0.5, 0.6, 0.85, 1.4]
    others = [np.concatenate([[distance], origin[1:]]).astype(np.float32).tobytes() for distance in distances]
    found = similarities(origin.tobytes(), others)
    assert [round(float(each), 1) for each in found] == [100, 99.9, 95, 80, 2.5, 0]
    assert most_distant(80) == pytest.approx(0.36, abs=1e-3)
    assert most_distant(0) == float("inf")


def test_a_picture_has_the_faces_that_are_seen_in_it(client, seeing):
    seeing.sees = [(100, 150, numbers(1)), (300, 150, numbers(2))]
    details = client("DetectFaces", Image=picture(), Attributes=["ALL"])["FaceDetails"]
    assert len(details) == 2
    points = {each["Type"]: (each["X"], each["Y"]) for each in details[0]["Landmarks"]}
    assert len(points) == 30
    assert points["eyeLeft"] == (0.2, 0.375)
    assert points["eyeRight"] == (0.3, 0.375)
    assert points["nose"] == pytest.approx((0.25, 0.375 + 0.7 * 30 / 400))
    box = details[0]["BoundingBox"]
    assert box["Left"] < points["mouthLeft"][0] < points["mouthRight"][0] < box["Left"] + box["Width"]
    assert box["Top"] < points["nose"][1] < points["mouthLeft"][1] < box["Top"] + box["Height"]
    assert details[0]["Pose"]["Roll"] == 0
    seeing.sees = []
    assert client("DetectFaces", Image=picture())["FaceDetails"] == []


def test_a_person_is_found_on_another_picture_and_another_person_is_not(client, seeing):
    seeing.sees = [(100, 150, numbers(1)), (300, 150, numbers(2))]
    one, two = client.index(picture(seed=1), "group")
    seeing.sees = [(200, 200, numbers(1, 0.5))]
    assert client.found(picture(seed=2)) == [("group", 95)]
    (alone,) = client.index(picture(seed=2), "alone")
    assert matches(client("SearchFaces", FaceId=one)) == [("alone", 95)]
    assert matches(client("SearchFaces", FaceId=two)) == []
    assert len(client.found(picture(seed=2), threshold=0)) == 3
    compared = client("CompareFaces", SourceImage=picture(), TargetImage=picture(seed=2))
    assert compared["FaceMatches"][0]["Similarity"] == 100
    client("CreateUser", UserId="ana")
    for face, refused in ((one, 0), (alone, 0), (two, 1)):
        answer = client("AssociateFaces", UserId="ana", FaceIds=[face])
        assert len(answer["UnsuccessfulFaceAssociations"]) == refused
    users = client("SearchUsersByImage", Image=picture(seed=3))["UserMatches"]
    assert [match["User"]["UserId"] for match in users] == ["ana"]


def test_names_win_where_they_stand(client, seeing):
    seeing.sees = [(200, 200, numbers(1))]
    client.index(picture(("Ana", 0.5, 0.4), seed=1), "ana")
    assert client.found(picture(("Beto", 0.5, 0.4), seed=2)) == []
    seeing.sees = [(200, 200, numbers(2))]
    ((found, similarity),) = client.found(picture(("Ana", 0.5, 0.4), seed=3))
    assert (found, similarity >= 97) == ("ana", True)
    seeing.sees = [(200, 200, numbers(1))]
    assert client.found(picture(seed=4)) == [("ana", 100)]  # no name: the face decides
    seeing.sees = [(40, 40, numbers(1))]  # outside the region
    (detail,) = client("DetectFaces", Image=picture(("Ana", 0.5, 0.4)))["FaceDetails"]
    assert detail["BoundingBox"]["Width"] == 0.4
    assert detail["Landmarks"][0]["X"] == pytest.approx(0.3 + 0.32 * 0.4)
    seeing.sees = []
    assert client.found(picture(("Ana", 0.5, 0.4), seed=3)) == [(found, similarity)]


def test_a_face_that_was_indexed_before_gets_its_numbers_when_its_picture_is_indexed_again(store, seeing, client):
    (before,) = Client(store, None).index(picture(), "ana")
    seeing.sees = [(200, 200, numbers(1))]
    assert client.found(picture(seed=1)) == []
    for _ in range(2):
        assert client.index(picture(), "ana") == [before]
    assert client.found(picture(seed=1)) == [("ana", 100)]
    looks = store.descriptions_of(store.collection("123456789012", "us-east-1", "c").uid, [before])
    assert sorted(each.kind for each in looks) == [0, 2]


def test_a_package_that_is_missing_is_named_with_the_extra(tmp_path, monkeypatch, capsys):
    there = importlib.util.find_spec
    for package in extras.EXTRAS["vision"][1]:
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "dlib" else there(name))
    models = tmp_path / "models.py"
    monkeypatch.setattr(vision_module, "_MODELS", "seedtool")
    with pytest.raises(EmulatorError) as caught:
        open_vision("dlib")
    assert (caught.value.message.count("dlib"), caught.value.remedy) == (1, f"Run {extras.command('vision')}")
    monkeypatch.setattr(vision_module, "_MODELS", str(models.stem) + "_that_nobody_has")
    assert main(["--vision", "dlib", "--state-dir", str(tmp_path)]) == 1
    assert f"Run {extras.command('vision')}" in capsys.readouterr().err
    with pytest.raises(EmulatorError, match="no vision 'eyes'"):
        open_vision("eyes")
    text = '[project]\nname = "p"\n[tool.seedtool]\naws = "embedded"\nemulator_vision = "dlib"\n'
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(MissingExtra) as missing:
        face_service.require_packages(load(tmp_path, environ={"HOME": str(tmp_path)}))
    assert extras.command("vision") in missing.value.remedy


def test_another_vision_is_another_emulator(tmp_path):
    assert len({code_version(), code_version(vision="dlib"), code_version(Path("album"))}) == 3
    rules = access.access(tmp_path, host="127.0.0.1")
    lines = server.announcement("http://127.0.0.1:1", "127.0.0.1", rules, s3_objects=True, vision="dlib")
    assert "dlib finds" in "\n".join(lines)


@pytest.fixture(scope="module")
def dlib():
    """Dlib itself, and the photographs by name."""
    archive = Path(_PACKAGES) / f"{_PHOTOS}.tar.gz"
    if not _PACKAGES or not archive.is_file():
        pytest.skip(f"SEEDTOOL_VISION names no folder with dlib and {archive.name}; .ci/run makes one")
    sys.path.append(_PACKAGES)
    try:
        seen = open_vision("dlib")
    except EmulatorError as error:
        pytest.skip(error.message)
    finally:
        sys.path.remove(_PACKAGES)
    with tarfile.open(archive) as files:
        names = ("obama", "obama2", "obama3", "biden")
        photos = {name: files.extractfile(f"{_PHOTOS}/tests/test_images/{name}.jpg").read() for name in names}
    return seen, {name: {"Bytes": content} for name, content in photos.items()}


def test_dlib_knows_a_man_again_and_cut_out_of_his_picture(dlib, store):
    seen, photos = dlib
    client = Client(store, seen)
    for name in ("obama", "biden"):
        assert len(client.index(photos[name], name)) == 1
    assert client.found(photos["obama2"]) == [("obama", 100)]
    image = Image.open(io.BytesIO(photos["obama"]["Bytes"]))
    (box,) = (face["BoundingBox"] for face in client("ListFaces")["Faces"] if face["ExternalImageId"] == "obama")
    for margin in (0, 0.3):
        left, top = box["Left"] - margin * box["Width"], box["Top"] - margin * box["Height"]
        right, bottom = left + (1 + 2 * margin) * box["Width"], top + (1 + 2 * margin) * box["Height"]
        cut = image.crop([round(at) for at in (left * 910, max(0, top) * 1137, right * 910, bottom * 1137)])
        out = io.BytesIO()
        cut.resize((cut.width // 2, cut.height // 2)).save(out, "JPEG", quality=75)
        ((found, similarity),) = client.found({"Bytes": out.getvalue()})
        assert (found, similarity) == ("obama", 100)
    compared = client("CompareFaces", SourceImage=photos["biden"], TargetImage=photos["obama3"], SimilarityThreshold=0)
    assert compared["FaceMatches"][0]["Similarity"] < 10
