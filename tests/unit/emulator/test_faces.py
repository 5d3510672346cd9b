"""Which faces of a picture are kept, in which order, and why the others are not."""

import dataclasses
import io

import msgspec
import pytest
from PIL import Image

from seedtool.emulator import objects
from seedtool.emulator.faces import find, select
from seedtool.emulator.operations import Operations, Scope
from seedtool.emulator.process import EmulatorError, make_state_dir
from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.store import Store

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:a="http://ns.adobe.com/xmp/sType/Area#"><r:Regions rdf:parseType="Resource"><r:RegionList><rdf:Bag>{faces}
</rdf:Bag></r:RegionList></r:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"""
FACE = """<rdf:li><rdf:Description r:Type="Face" r:Name="{name}" r:Description="{hint}">
<r:Area a:x="{x}" a:y="0.5" a:w="{w}" a:h="{w}"/></rdf:Description></rdf:li>"""


def picture(*faces, size=(400, 400)):
    return find(file(*faces, size=size))


def file(*faces, size=(400, 400)):
    """A picture of brick-red bars with a face region for each (name, centre x, side, hint)."""
    image = Image.new("RGB", size, "#d8d0c8")
    for x in range(0, size[0], size[0] // 40):
        image.paste("#a04030", (x, 0, x + size[0] // 80, size[1]))
    xmp = XMP.format(faces="".join(FACE.format(name=n, x=x, w=w, hint=hint) for n, x, w, hint in faces))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, xmp=xmp.encode())
    return out.getvalue()


def names(faces):
    return [face.name for face in faces]


def reasons(faces, quality_filter="AUTO", max_faces=None):
    _, refused = select(faces, quality_filter=quality_filter, max_faces=max_faces)
    return {face.name: why for face, why in refused}


def test_faces_come_largest_first():
    faces = picture(("small", 0.2, 0.15, ""), ("large", 0.6, 0.4, ""), ("medium", 0.3, 0.2, ""))
    assert names(faces) == ["large", "medium", "small"]
    assert [face.ordinal for face in faces] == [1, 2, 0]


def test_the_smallest_face_grows_with_the_picture():
    assert reasons(picture(("a", 0.5, 39 / 400, ""))) == {"a": ["SMALL_BOUNDING_BOX"]}
    assert reasons(picture(("a", 0.5, 40 / 400, ""))) == {}
    large = (1080 * 2, 1080 * 2)
    assert reasons(picture(("a", 0.5, 79 / 2160, ""), size=large)) == {"a": ["SMALL_BOUNDING_BOX"]}
    assert reasons(picture(("a", 0.5, 80 / 2160, ""), size=large)) == {}
    assert picture(("speck", 0.5, 5 / 400, "")) == []


def test_a_small_face_is_not_detected_without_a_filter():
    kept, refused = select(picture(("a", 0.5, 0.08, "")), quality_filter="NONE", max_faces=None)
    assert (kept, refused) == ([], [])


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        ("yaw=80", "EXTREME_POSE"),
        ("pitch=-80", "EXTREME_POSE"),
        ("roll=170", "EXTREME_POSE"),
        ("confidence=40", "LOW_CONFIDENCE"),
    ],
)
def test_hints_in_the_picture_make_a_face_unfit(hint, reason):
    faces = picture(("fit", 0.3, 0.3, ""), ("unfit", 0.7, 0.3, hint))
    assert reasons(faces) == {"unfit": [reason]}
    assert reasons(faces, "NONE") == {}


def test_filters_grow_stricter():
    faces = picture(("turned", 0.5, 0.3, "yaw=50"))
    assert [bool(reasons(faces, level)) for level in ("LOW", "AUTO", "MEDIUM", "HIGH")] == [False, False, False, True]


def test_too_many_faces_drop_the_smallest_of_equal_quality():
    faces = picture(("b", 0.5, 0.2, ""), ("c", 0.8, 0.15, ""), ("a", 0.25, 0.4, ""))
    assert set(reasons(faces, max_faces=3)) == set()
    dropped = reasons(faces, max_faces=1)
    assert all(why == ["EXCEEDS_MAX_FACES"] for why in dropped.values())
    assert len(dropped) == 2


def test_too_many_faces_drop_the_lowest_quality_before_the_smallest():
    (large,) = picture(("large", 0.5, 0.4, ""))
    (small,) = picture(("small", 0.5, 0.2, ""))
    blurred = dataclasses.replace(large, ordinal=1, sharpness=20.0)
    kept, refused = select([blurred, small], quality_filter="NONE", max_faces=1)
    assert names(kept) == ["small"]
    assert refused == [(blurred, ["EXCEEDS_MAX_FACES"])]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"brightness": 2.0}, "LOW_BRIGHTNESS"),
        ({"sharpness": 2.0}, "LOW_SHARPNESS"),
        ({"confidence": 40.0}, "LOW_CONFIDENCE"),
        ({"pose": (0.0, 80.0, 0.0)}, "EXTREME_POSE"),
        ({"brightness": 99.9}, "LOW_FACE_QUALITY"),  # over-exposed
        ({"small": True}, "SMALL_BOUNDING_BOX"),
    ],
)
def test_every_reason_stands_for_itself(change, reason):
    (fit,) = picture(("a", 0.5, 0.4, ""))
    unfit = dataclasses.replace(fit, **change)
    quality_filter = "MEDIUM" if reason == "LOW_FACE_QUALITY" else "LOW"
    assert reasons([fit], quality_filter) == {}
    assert reasons([unfit], quality_filter) == {"a": [reason]}


def test_the_same_picture_is_described_the_same():
    one, other = (picture(("a", 0.5, 0.3, ""))[0] for _ in range(2))
    assert one == other
    assert one.detail(["ALL"]) == other.detail(["ALL"])


def test_a_state_directory_that_cannot_be_is_reported(tmp_path, approved):
    (tmp_path / "file").touch()
    with pytest.raises(EmulatorError) as caught:
        make_state_dir(tmp_path / "file" / "state")
    assert str(tmp_path / "file" / "state") in caught.value.message
    approved(caught.value)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """CompareFaces, with the pictures that `file` draws: the widths of matches and of the others."""
    store = Store(tmp_path_factory.mktemp("state") / "faces.sqlite3")
    operations, scope = Operations(store, objects.reader(None, None)), Scope("123456789012", "us-east-1")

    def compare(source, target, **more):
        request = {"SourceImage": {"Bytes": file(*source)}, "TargetImage": {"Bytes": file(*target)}, **more}
        answer = msgspec.json.decode(operations.perform("CompareFaces", scope, request))
        faces = [match["Face"] for match in answer["FaceMatches"]]
        width = answer["SourceImageFace"]["BoundingBox"]["Width"]
        return width, *([face["BoundingBox"]["Width"] for face in each] for each in (faces, answer["UnmatchedFaces"]))

    yield compare
    store.close()


FIT = ("ana", 0.3, 0.2, "")
GROUP = (("ana", 0.2, 0.25, "yaw=50"), ("ana", 0.5, 0.2, ""), ("beto", 0.8, 0.22, "yaw=50"))


@pytest.mark.parametrize(
    ("quality_filter", "matches", "others"),
    [
        ({}, [0.25, 0.2], [0.22]),
        ({"QualityFilter": "NONE"}, [0.25, 0.2], [0.22]),
        ({"QualityFilter": "AUTO"}, [0.25, 0.2], [0.22]),
        ({"QualityFilter": "MEDIUM"}, [0.25, 0.2], [0.22]),
        ({"QualityFilter": "HIGH"}, [0.2], []),
    ],
)
def test_a_face_below_the_bar_is_not_compared(compared, quality_filter, matches, others):
    source, found, rest = compared([FIT], GROUP, **quality_filter)
    assert (source, sorted(found, reverse=True), rest) == (0.2, matches, others)


def test_the_source_is_the_largest_face_above_the_bar(compared):
    turned = ("beto", 0.7, 0.4, "yaw=80")
    assert compared([FIT, turned], [FIT]) == (0.4, [], [0.2])
    assert compared([FIT, turned], [FIT], QualityFilter="LOW") == (0.2, [0.2], [])


@pytest.mark.parametrize("sides", [([("ana", 0.5, 0.4, "yaw=80")], [FIT]), ([FIT], [("ana", 0.5, 0.4, "yaw=80")])])
def test_no_face_above_the_bar_is_no_face(compared, sides):
    compared(*sides)
    with pytest.raises(ServiceError) as caught:
        compared(*sides, QualityFilter="LOW")
    assert caught.value.code == "InvalidParameterException"
