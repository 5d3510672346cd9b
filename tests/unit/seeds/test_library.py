"""The photo library: its pictures, as the stand-in sees them, and its rows."""

import csv
import re
import uuid
from collections import Counter
from typing import NamedTuple

import pytest
import yaml
from PIL import Image

from seedtool.emulator.faces import find, select

TABLES = {"users", "assets", "face_collections", "person_groups", "faces", "face_person_links"}
ASSIGN, REVIEW, SMALLEST = 95, 80, 0.03  # what the backfill's settings begin with


@pytest.fixture(scope="module")
def library(seeds):
    tables = {}
    for path in (seeds / "library").iterdir():
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                tables[path.stem] = [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
        else:
            tables[path.stem] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tables


@pytest.fixture(scope="module")
def photos(seeds):
    return sorted((seeds / "photos" / "library").rglob("*.jpg"))


class Seen(NamedTuple):
    found: list
    small: list  # faces that are not indexed: too small


@pytest.fixture(scope="module")
def seen(seeds, photos):
    """The faces of every photo by its key."""
    out = {}
    for path in photos:
        found, refused = select(find(path.read_bytes()), quality_filter="AUTO", max_faces=None)
        assert all(reasons == ["SMALL_BOUNDING_BOX"] for _, reasons in refused)
        out[path.relative_to(seeds.parent).as_posix()] = Seen(found, [face for face, _ in refused])
    return out


def live(library):
    """The assets that a backfill takes, in its order, without those that were indexed before."""
    users = {row["id"] for row in library["users"] if row["deleted"] == "false"}
    return [
        row
        for row in sorted(library["assets"], key=lambda row: row["id"])
        if row["user_id"] in users
        and row["approved"]
        and not row["deleted"]
        and row["mime_type"].startswith("image/")
        and row["storage_url"]
        and not row.get("face_detection_processed_at")
    ]


def test_there_are_photos_of_none_to_eight_faces(library, seen):
    counts = Counter(len(seen[row["storage_url"]].found) for row in live(library))
    assert sorted(counts) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_faces_in_the_crowd_are_too_small_for_rekognition_and_for_a_library(seen):
    """Should a Rekognition index them nevertheless, they are below 3 % both ways."""
    assert {photo: len(small) for photo, (_, small) in seen.items() if small} == {
        "seeds/photos/library/elena/2025-estadio.jpg": 4
    }
    for face in seen["seeds/photos/library/elena/2025-estadio.jpg"].small:
        assert face.name is None
        assert max(face.box.width, face.box.height) < SMALLEST
    assert all(face.box.width > 2 * SMALLEST for found, _ in seen.values() for face in found)


def test_every_outcome_occurs(library, seen):
    """By the rule, with the similarities that the names in the pictures ask for."""
    url = {row["id"]: row["storage_url"] for row in library["assets"]}
    links = {row["face_id"] for row in library["face_person_links"]}
    known = {}  # (user, name): whether somebody named a face of theirs
    for row in library["faces"]:
        face = max(seen[url[row["asset_id"]]].found, key=lambda face: overlap(face.box, row["bounding_box"]))
        known[row["user_id"], face.name] = known.get((row["user_id"], face.name), False) or row["id"] in links
    outcomes = {}
    for asset in live(library):
        user, faces = asset["user_id"], seen[asset["storage_url"]].found
        counts = outcomes.setdefault(user[-5], Counter())
        for face in faces:
            likeness = face.likeness or 100
            if (user, face.name) not in known or likeness < REVIEW:
                counts["new"] += 1
            elif likeness >= ASSIGN and known[user, face.name]:
                counts["assigned"] += 1
            else:
                counts["review"] += 1
        for face in faces:  # which are like each other, too, but only earlier photos count
            known.setdefault((user, face.name), False)
    assert outcomes == {
        "1": {"assigned": 15, "review": 5, "new": 2},
        "2": {"assigned": 8, "review": 2, "new": 7},
        "3": {"new": 8, "review": 4},
    }


def overlap(box, row):
    """Intersection over union."""
    across = min(box.left + box.width, row["Left"] + row["Width"]) - max(box.left, row["Left"])
    down = min(box.top + box.height, row["Top"] + row["Height"]) - max(box.top, row["Top"])
    both = max(0, across) * max(0, down)
    return both / (box.width * box.height + row["Width"] * row["Height"] - both)


def test_both_thresholds_are_met_exactly(library, seen):
    asked = {face.likeness for row in live(library) for face in seen[row["storage_url"]].found}
    assert asked == {None, 80, 82, 88, 91, 95}


def test_the_boxes_of_the_rows_are_those_that_rekognition_has(library, seen):
    url = {row["id"]: row["storage_url"] for row in library["assets"]}
    for row in library["faces"]:
        assert max(overlap(face.box, row["bounding_box"]) for face in seen[url[row["asset_id"]]].found) > 0.999
    indexed = Counter(row["asset_id"] for row in library["faces"])
    assert indexed == {asset: len(seen[url[asset]].found) for asset in indexed}


def test_what_is_indexed_already_is_listed_once_and_processed(seeds, library):
    with (seeds / "photos" / "library" / "indexed.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    url = {row["id"]: row["storage_url"] for row in library["assets"]}
    collection = {row["user_id"]: row["aws_collection_id"] for row in library["face_collections"]}
    processed = [row for row in library["assets"] if row.get("face_detection_processed_at")]
    assert listed == [
        {
            "collection": collection[row["user_id"]],
            "external_image_id": row["id"],
            "photo": url[row["id"]].removeprefix("seeds/photos/library/"),
        }
        for row in processed
    ]
    assert {row["asset_id"] for row in library["faces"]} == {row["id"] for row in processed}


def test_there_is_one_of_each_that_a_backfill_has_to_leave_alone(library):
    rows = library["assets"]
    assert [row["deleted"] for row in library["users"]] == ["false", "false", "false", "true"]
    assert sum(row["deleted"] for row in rows) == 1
    assert sum(not row["approved"] for row in rows) == 1
    assert [row["file_name"] for row in rows if row["mime_type"] != "image/jpeg"] == ["2025-cumple-max.mp4"]
    assert [row["file_name"] for row in rows if row["storage_url"] is None] == ["2025-en-camino.jpg"]
    assert len({row["user_id"] for row in library["face_collections"]}) == 2  # the third is for the backfill to make


def test_every_photo_has_its_row_and_every_row_its_photo(seeds, library, photos):
    named = {row["storage_url"] for row in library["assets"] if row["mime_type"] == "image/jpeg"} - {None}
    assert named == {path.relative_to(seeds.parent).as_posix() for path in photos}


def test_ids_are_fixed_uuids_and_rows_refer_to_rows(library):
    assert set(library) == TABLES
    ids = [row["id"] for rows in library.values() for row in rows]
    assert len(set(ids)) == len(ids)
    assert all(uuid.UUID(id_).version == 4 for id_ in ids)
    parents = {"user_id", "asset_id", "face_id", "person_group_id", "avatar_face_id"}
    for rows in library.values():
        for row in rows:
            assert {row[column] for column in parents & set(row)} - {None} <= set(ids)
    for row in library["face_collections"]:
        assert row["aws_collection_id"] == f"savta-user-{row['user_id']}"


def test_seeding_again_leaves_what_a_backfill_or_a_review_wrote(library):
    """The file wins in the columns that a row names, so these must not be named where others write them."""
    for row in library["assets"]:
        written = {column for column in row if column.startswith("face_detection_")}
        assert written == ({"face_detection_provider", "face_detection_processed_at"} if written else set())
    linked = {row["face_id"] for row in library["face_person_links"]}
    for row in library["faces"]:
        assert row.get("needs_assignment") is (False if row["id"] in linked else None)
        assert not {"rekognition_face_id", "auto_assigned", "skipped", "deleted"} & set(row)
    assert set(library["face_collections"][0]) == {"id", "user_id", "aws_collection_id"}


def test_nobody_can_be_reached(library):
    assert all(re.fullmatch(r"[a-z.]+@albums\.example", row["email"]) for row in library["users"])


def test_regions_lie_inside_and_the_pictures_are_small(photos, seen):
    for path in photos:
        with Image.open(path) as image:
            assert max(image.size) <= 1600
        assert path.stat().st_size < 160_000
    assert sum(path.stat().st_size for path in photos) < 900_000
    for found, _ in seen.values():
        for face in found:
            assert 0 <= face.box.left < face.box.left + face.box.width <= 1
            assert 0 <= face.box.top < face.box.top + face.box.height <= 1


def test_nobody_hides_behind_another(seen):
    for found, _ in seen.values():
        for one in found:
            others = [face for face in found if face is not one]
            assert all(
                overlap(one.box, dict(zip(("Left", "Top", "Width", "Height"), box(other), strict=True))) < 0.01
                for other in others
            )


def box(face):
    return face.box.left, face.box.top, face.box.width, face.box.height
