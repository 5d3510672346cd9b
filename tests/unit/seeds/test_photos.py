import csv
import itertools
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
DIM = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
CLASSES = ("7-basico-a", "4-basico-a", "2-medio-a")


class Face(NamedTuple):
    name: str
    kind: str
    left: float
    top: float
    width: float
    height: float


def fields(node):
    """All simple fields below a node, whichever way they are spelt."""
    found = {}
    for part in node.iter():
        found |= part.attrib
        if not len(part) and part.text and part.text.strip():
            found[part.tag] = part.text.strip()
    return found


def faces(path):
    with Image.open(path) as image:
        size, xmp = image.size, image.info.get("xmp")
    if xmp is None:
        return []
    root = ET.fromstring(xmp.decode())  # noqa: S314 - our own committed files
    applied = fields(root.find(f".//{MWG}AppliedToDimensions"))
    assert (int(applied[f"{DIM}w"]), int(applied[f"{DIM}h"]), applied[f"{DIM}unit"]) == (*size, "pixel")
    out = []
    for item in root.iter(f"{RDF}li"):
        found = fields(item)
        assert found[f"{AREA}unit"] == "normalized"
        x, y, w, h = (float(found[AREA + key]) for key in "xywh")
        width, height = w * size[0], h * size[1]
        out.append(
            Face(
                found[f"{MWG}Name"],
                found[f"{MWG}Type"],
                x * size[0] - width / 2,
                y * size[1] - height / 2,
                width,
                height,
            )
        )
    return out


@pytest.fixture(scope="module")
def names(seeds):
    with (seeds / "local" / "students.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["id"]: " ".join(filter(None, (row["first_name"], row["last_name"], row["second_last_name"])))
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def portraits(seeds):
    return sorted((seeds / "photos" / "students").glob("*/*.jpg"))


def test_every_student_has_two_photos_with_exactly_the_own_face(seeds, names, portraits):
    wanted = {f"{student}/photo-{number}.jpg" for student in names for number in (1, 2)}
    assert {f"{path.parent.name}/{path.name}" for path in portraits} == wanted
    for path in portraits:
        (face,) = faces(path)
        assert (face.name, face.kind) == (names[path.parent.name], "Face"), path
        assert face.width >= 60
        assert face.height >= 60


def test_both_spellings_of_rdf_occur(portraits):
    spelt = [b'stArea:x="' in path.read_bytes() for path in portraits]
    assert 0 < spelt.count(False) < spelt.count(True)


def test_regions_lie_inside_the_picture(seeds, portraits):
    for path in [*portraits, *(seeds / "photos" / "classes").glob("*.jpg")]:
        with Image.open(path) as image:
            wide, high = image.size
        for face in faces(path):
            assert face.left >= 0
            assert face.top >= 0
            assert face.left + face.width <= wide
            assert face.top + face.height <= high


def test_a_region_covers_skin_and_features_not_the_backdrop(seeds):
    with Image.open(seeds / "photos" / "students" / "student-011" / "photo-1.jpg") as image:
        (face,) = faces(image.filename)
        forehead = image.convert("RGB").getpixel(
            (round(face.left + face.width / 2), round(face.top + face.height * 0.55))
        )
    assert forehead[0] > 150 > 0.5 * forehead[2]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_photo_has_six_to_eight_usable_faces_that_do_not_overlap(seeds, name):
    found = faces(seeds / "photos" / "classes" / f"{name}.jpg")
    usable = [face for face in found if min(face.width, face.height) >= 60]
    assert 6 <= len(usable) <= 8
    for one, other in itertools.combinations(found, 2):
        apart = abs(one.left - other.left) >= min(one.width, other.width)
        assert apart or abs(one.top - other.top) >= min(one.height, other.height)


def test_who_is_in_the_class_photos(seeds, names, school):
    folder = seeds / "photos" / "classes"
    seen = {name: {face.name for face in faces(folder / f"{name}.jpg")} for name in CLASSES}
    everyone = set(names.values())
    active = {row["id"] for row in school["students"] if row["status"] == "active"}
    section = {row["id"] for row in school["students"] if row["grade_section_id"] == "section-7b-a-2026"}
    assert seen["7-basico-a"] == {names[student] for student in section & active}
    assert seen["4-basico-a"] - everyone == {"Rosa Quintremán Leal"}
    assert seen["2-medio-a"] <= everyone


def test_one_face_is_too_small_to_be_used(seeds):
    small = [face for face in faces(seeds / "photos" / "classes" / "2-medio-a.jpg") if face.height < 60]
    assert [face.name.split()[0] for face in small] == ["Daniela"]
    assert 12 < small[0].height < 30


def test_unlabelled_pictures_say_nothing(seeds):
    folder = seeds / "photos" / "unlabelled"
    assert {path.name for path in folder.iterdir()} == {"student-005-copy.jpg", "no-face.jpg"}
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert not {"xmp", "exif", "comment"} & set(image.info)
            assert min(image.size) >= 80


def test_the_copy_is_a_copy_and_the_plain_picture_is_plain(seeds):
    folder = seeds / "photos"
    copy = thumbnail(folder / "unlabelled" / "student-005-copy.jpg")
    assert np.abs(copy - thumbnail(folder / "students" / "student-005" / "photo-1.jpg")).mean() < 3
    assert thumbnail(folder / "unlabelled" / "no-face.jpg").std(axis=(0, 1)).max() < 1


def test_pictures_are_small(seeds, portraits):
    drawn = (path for path in (seeds / "photos").rglob("*.jpg") if "library" not in path.parts)
    sizes = {path: path.stat().st_size for path in drawn}
    assert all(sizes[path] < 14_000 for path in portraits)
    assert all(size < 60_000 for size in sizes.values())
    assert sum(sizes.values()) < 600_000


def test_no_two_portraits_look_alike_from_afar(portraits):
    seen = {path: thumbnail(path) for path in portraits}
    for one, other in itertools.combinations(portraits, 2):
        assert np.abs(seen[one] - seen[other]).mean() > 20, (one.parent.name, other.parent.name)


def thumbnail(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX), dtype=float)
