"""Write the photo library of the seed set ``library``, and ``photos/library/indexed.csv``.

Run it as ``python seeds/make_library.py [FOLDER]``. It needs Pillow, for the boxes of faces that are known already.
``albums.yaml`` says who is in the library, and what the application had done when the seed was taken.
"""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drawing.album import Person, draw_photo, load_library, owner
from drawing.regions import area

HERE = Path(__file__).parent
BEGAN = datetime(2025, 1, 6, 12, tzinfo=UTC)
USER, ASSET, COLLECTION, PERSON, FACE, LINK = range(1, 7)
SURE = "0.9998"
PHOTOS = "seeds/photos/library"  # in the project: a backfill looks here for a path that is not in the photo store

Row = dict[str, Any]
Tables = dict[str, list[Row]]


def make_library(folder: Path) -> None:
    """Write the fixtures and the list of photos that are indexed already.

    Args:
        folder: The folder of ``library/`` and ``photos/library/``.
    """
    library = load_library()
    tables: Tables = {
        name: [] for name in ("users", "assets", "face_collections", "person_groups", "faces", "face_person_links")
    }
    indexed: list[Row] = []
    for number, album in enumerate(library.albums, 1):
        _add_user(tables, number, album)
        faces = dict(_add_assets(tables, indexed, number, album, library.people))
        _add_persons(tables, number, album, faces)
    for table, rows in tables.items():
        # Rows may have different columns: a backfill fills the columns that a row leaves out. CSV cannot say that.
        write = _write_csv if len({tuple(row) for row in rows}) == 1 else _write_yaml
        write(folder / "library", table, rows)
    _write_csv(folder / "photos" / "library", "indexed", indexed)


def key(kind: int, user: int, number: int = 0) -> str:
    """Return the id of a row, made of its kind, its user and its number."""
    return f"00000000-0000-4000-8000-{kind:04}{user:04}{number:04}"


def _add_user(tables: Tables, user: int, album: Mapping[str, Any]) -> None:
    row = {"id": key(USER, user), "email": album["user"]["email"], "full_name": album["user"]["full_name"]}
    row["deleted"] = album["user"].get("deleted", False)
    tables["users"].append(row | {"created_at": _time(user)})
    if any(photo.get("indexed") for photo in album["photos"]):
        collection = {"id": key(COLLECTION, user), "user_id": row["id"], "aws_collection_id": _collection(user)}
        tables["face_collections"].append(collection)


def _add_assets(
    tables: Tables, indexed: list[Row], user: int, album: Mapping[str, Any], people: Mapping[str, Person]
) -> Iterator[tuple[str, str]]:
    """Add the photos and the known faces on them. Yield each person that somebody named, and the face's key."""
    for number, photo in enumerate(album["photos"], 1):
        path = f"{owner(album)}/{photo['file']}"
        asset: Row = {
            "id": key(ASSET, user, number),
            "user_id": key(USER, user),
            "storage_url": f"{PHOTOS}/{path}" if photo.get("uploaded", True) else None,
            "file_name": photo["file"],
            "mime_type": photo.get("mime_type", "image/jpeg"),
            "approved": photo.get("approved", True),
            "deleted": photo.get("deleted", False),
            "created_at": _time(user, number),
        }
        tables["assets"].append(asset)
        if photo.get("indexed"):
            asset["face_detection_provider"] = "aws_rekognition"
            asset["face_detection_processed_at"] = asset["created_at"]
            indexed.append({"collection": _collection(user), "external_image_id": asset["id"], "photo": path})
            yield from _add_faces(tables, user, number, asset, photo, album.get("persons", {}), people)


def _add_faces(
    tables: Tables,
    user: int,
    number: int,
    asset: Row,
    photo: Mapping[str, Any],
    persons: Mapping[str, Any],
    people: Mapping[str, Person],
) -> Iterator[tuple[str, str]]:
    words = {people[word].name: word for word in photo["back"]}
    image, regions = draw_photo(photo, people, number - 1)
    for place, region in enumerate(regions, 1):
        who = words[region.name]
        x, y, w, h = (float(value) for value in area(region, image.size))
        row: Row = {
            "id": key(FACE, user, 10 * number + place),
            "user_id": key(USER, user),
            "asset_id": asset["id"],
            "rekognition_image_id": asset["id"],
            "bounding_box": {"Left": round(x - w / 2, 5), "Top": round(y - h / 2, 5), "Width": w, "Height": h},
            "confidence": SURE,
            "created_at": asset["created_at"],
        }
        tables["faces"].append(row)
        if who not in persons:
            continue
        row["needs_assignment"] = False
        link: Row = {
            "id": key(LINK, user, 10 * number + place),
            "face_id": row["id"],
            "person_group_id": key(PERSON, user, list(persons).index(who) + 1),
            "confidence": "1",
            "assigned_by": "user",
            "assigned_at": asset["created_at"],
        }
        tables["face_person_links"].append(link)
        yield who, row["id"]


def _add_persons(tables: Tables, user: int, album: Mapping[str, Any], faces: Mapping[str, str]) -> None:
    for number, (who, person) in enumerate(album.get("persons", {}).items(), 1):
        row: Row = {
            "id": key(PERSON, user, number),
            "user_id": key(USER, user),
            "name": person["name"],
            "relationship": person["relationship"],
            "is_primary_person": person.get("primary", False),
            "avatar_face_id": faces.get(who),
        }
        tables["person_groups"].append(row)


def _collection(user: int) -> str:
    return f"savta-user-{key(USER, user)}"


def _time(user: int, number: int = 0) -> str:
    return f"{BEGAN + timedelta(days=30 * user + number):%Y-%m-%dT%H:%M:%SZ}"


def _write_csv(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _write_yaml(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by make_library.py.\n"]
    for row in rows:
        # JSON's scalars are also YAML's
        cells = (f"{column}: {json.dumps(value, ensure_ascii=False)}" for column, value in row.items())
        lines.append("- " + "\n  ".join(cells) + "\n")
    (folder / f"{name}.yaml").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    make_library(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
