"""The photo library: several faces share a photo's id, and boxes tell which row is which."""

import random
import uuid

import msgspec
import pytest

from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.settings import load


@pytest.fixture
def library(mine):
    """The bindings that this repository ships."""
    return msgspec.structs.replace(mine, faces=load(mine.root).faces, collection=None)


@pytest.fixture
def stubbed(library, stub):
    return Aws(library, stub.url)


@pytest.fixture
def users(school):
    """Two users with a collection each; and a third with a deleted one."""
    made = []
    for number in (1, 2, 3):
        (user,) = school.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [f"{number}@x"]).fetchone()
        school.execute(
            "INSERT INTO face_collections (user_id, aws_collection_id, deleted) VALUES (%s, %s, %s)",
            [user, f"savta-user-{number}", number == 3],
        )
        made.append(user)
    school.commit()
    return made


def box(left, top, width, height):
    return {"Left": left, "Top": top, "Width": width, "Height": height}


def crowd(count):
    """So many faces side by side, in rows of five."""
    return [box(0.02 + n % 5 * 0.19, 0.05 + n // 5 * 0.3, 0.12, 0.2) for n in range(count)]


def jittered(rng, each):
    return {side: value + rng.uniform(-0.01, 0.01) for side, value in each.items()}


@pytest.fixture
def photo(school):
    """Inserts a photo's rows: photo(user, boxes) → (external image id, keys)."""

    def insert(user, boxes, face_ids=(), deleted=()):
        (asset,) = school.execute(
            "INSERT INTO assets (user_id, file_name, mime_type) VALUES (%s, 'a.jpg', 'image/jpeg') RETURNING id", [user]
        ).fetchone()
        keys = []
        for n, each in enumerate(boxes):
            key = uuid.uuid4()
            face_id = face_ids[n] if n < len(face_ids) else f"placeholder:{asset}:{key}"
            school.execute(
                """INSERT INTO faces
                    (id, user_id, asset_id, rekognition_face_id, rekognition_image_id, bounding_box, confidence, deleted)
                VALUES (%s, %s, %s, %s, %s, %s, 0.99, %s)""",
                [key, user, asset, face_id, str(asset), msgspec.json.encode(each).decode(), n in deleted],
            )
            keys.append(str(key))
        school.commit()
        return str(asset), keys

    return insert


@pytest.fixture
def serve(stub):
    """Makes the stub serve collections: serve({id: [(face id, external image id, box)]})."""

    def set_up(held, size=3):
        def answer(operation, request, n):
            faces = held[request["CollectionId"]]
            start = int(request.get("NextToken", 0))
            page = {
                "Faces": [
                    {"FaceId": face_id, "ExternalImageId": external, "Confidence": 99.0, "BoundingBox": where}
                    for face_id, external, where in faces[start : start + size]
                ]
            }
            if start + size < len(faces):
                page["NextToken"] = str(start + size)
            return 200, page

        stub.answer = answer

    return set_up


@pytest.fixture
def linked(school):
    def read():
        rows = school.execute("SELECT id::text, rekognition_face_id FROM faces").fetchall()
        school.commit()
        return dict(rows)

    return read


def faces_of(report, id_):
    return next(each for each in report.bindings if (each.table, each.collection) == ("faces", id_))


def drawn(seed):
    return random.Random(seed)  # noqa: S311 -- drawn data, not secrets


def new_face(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@pytest.mark.parametrize("seed", range(3))
def test_photos_with_2_to_15_faces_whatever_the_order_of_pages(
    school, library, stubbed, users, photo, serve, linked, seed
):
    rng = drawn(seed)
    expected, held = {}, {"savta-user-1": [], "savta-user-2": []}
    for count in range(2, 16):
        boxes = crowd(count)
        place = count % 2
        asset, keys = photo(users[place], boxes)
        faces = [(new_face(rng), asset, jittered(rng, each)) for each in boxes]
        missing = set(rng.sample(range(count), k=count // 5))
        extra = (new_face(rng), asset, box(0.5, 0.85, 0.05, 0.1))
        held[f"savta-user-{place + 1}"] += [each for n, each in enumerate(faces) if n not in missing] + [extra]
        for n, key in enumerate(keys):
            expected[key] = f"placeholder:{asset}:{key}" if n in missing else faces[n][0]
    for faces in held.values():
        rng.shuffle(faces)
    serve(held, size=7)  # pages wait for the limiter
    report = sync(school, library, stubbed)
    assert linked() == expected
    lost = sum(face.startswith("placeholder") for face in expected.values())
    assert report.placeholders == lost
    told = [faces_of(report, id_) for id_ in held]
    assert sum(each.placeholders["no overlap"] for each in told) == lost
    assert all("index them again" in each.cures[0] for each in told)
    assert [each.orphans.count for each in told] == [7, 7]
    for faces in held.values():
        rng.shuffle(faces)
    serve(held, size=11)
    again = sync(school, library, stubbed)
    assert (again.synced, linked()) == (0, expected)


def test_rows_keep_their_faces_and_swapped_ones_are_not_guessed_at(
    school, library, stubbed, users, photo, serve, linked
):
    rng = drawn(0)
    a, b, c, d = (new_face(rng) for _ in range(4))
    boxes = crowd(3)
    asset, keys = photo(users[0], boxes, [b, a])
    other, others = photo(users[0], crowd(1), [d])
    serve({"savta-user-1": [(a, asset, boxes[0]), (b, asset, boxes[1]), (c, asset, boxes[2]), (d, asset, boxes[2])]})
    report = sync(school, library, stubbed)
    found = linked()
    assert [found[key] for key in keys] == [b, a, min(c, d)]
    # d is the face of another photo's row no longer: it is under this photo's id
    assert found[others[0]] == f"placeholder:{other}"
    told = faces_of(report, "savta-user-1")
    assert (told.unchanged, told.synced, told.misassigned.count, told.duplicates.count) == (2, 1, 1, 1)
    assert told.placeholders == {"not indexed": 1}


def test_deleted_rows_neither_match_nor_stand_in_the_way(school, library, stubbed, users, photo, serve, linked):
    rng = drawn(1)
    a, b = new_face(rng), new_face(rng)
    boxes = crowd(2)
    asset, keys = photo(users[0], [boxes[0], boxes[0], boxes[1]], [a], deleted={0})
    serve({"savta-user-1": [(a, asset, boxes[0]), (b, asset, boxes[1])]})
    assert sync(school, library, stubbed).synced == 2
    assert [linked()[key] for key in keys] == [a, a, b]


def test_rows_exchange_faces_under_the_unique_index(school, library, stubbed, users, photo, serve, linked):
    rng = drawn(2)
    a, b = new_face(rng), new_face(rng)
    one, (first,) = photo(users[0], crowd(1), [b])
    two, (second,) = photo(users[0], crowd(1), [a])
    serve({"savta-user-1": [(a, one, crowd(1)[0]), (b, two, crowd(1)[0])]})
    assert faces_of(sync(school, library, stubbed), "savta-user-1").relinked == 2
    assert linked() == {first: a, second: b}


def test_a_row_that_points_at_another_photo_gets_its_placeholder_with_its_key(
    school, library, stubbed, users, photo, serve, linked
):
    rng = drawn(3)
    a = new_face(rng)
    one, (first,) = photo(users[0], crowd(1))
    two, (second, third) = photo(users[0], crowd(2), [a])
    serve({"savta-user-1": [(a, one, crowd(1)[0])]})
    sync(school, library, stubbed)
    assert linked() == {first: a, second: f"placeholder:{two}:{second}", third: f"placeholder:{two}:{third}"}


def test_a_user_whose_collection_is_deleted_or_not_there(school, library, stubbed, users, photo, serve, linked):
    rng = drawn(4)
    a = new_face(rng)
    one, (first,) = photo(users[0], crowd(1))
    photo(users[2], crowd(2))
    serve({"savta-user-1": [(a, one, crowd(1)[0])]})
    report = sync(school, library, stubbed)
    assert linked()[first] == a
    assert faces_of(report, None).placeholders == {"no collection": 2}
    # a setting for the school's collection says nothing about the library's rows
    settings = msgspec.structs.replace(library, collection="school")
    assert faces_of(sync(school, settings, stubbed), None).rows == 2


def test_a_face_far_from_its_rows_box_is_not_linked_though_it_is_the_only_one(
    school, library, stubbed, users, photo, serve, linked
):
    rng = drawn(5)
    asset, (key,) = photo(users[0], [crowd(2)[0]])
    serve({"savta-user-1": [(new_face(rng), asset, crowd(2)[1])]})
    report = sync(school, library, stubbed)
    assert linked()[key].startswith("placeholder:")
    assert faces_of(report, "savta-user-1").placeholders == {"no overlap": 1}


def test_the_real_emulator_and_a_class_photo(school, library, endpoint, users, photo, linked):
    aws = Aws(library, endpoint)
    picture = (library.root / "seeds" / "photos" / "classes" / "7-basico-a.jpg").read_bytes()
    collection = aws.collection(f"library-{uuid.uuid4()}")
    collection.ensure()
    school.execute("UPDATE face_collections SET aws_collection_id = %s WHERE user_id = %s", [collection.id, users[0]])
    # what a backfill would have written: the boxes that IndexFaces told, in an order of its own
    asset = uuid.uuid4()
    indexed = collection.index_faces(picture, str(asset)).faces
    assert len(indexed) > 2
    school.execute(
        "INSERT INTO assets (id, user_id, file_name, mime_type) VALUES (%s, %s, 'a.jpg', 'image/jpeg')",
        [asset, users[0]],
    )
    expected = {}
    for each in reversed(indexed):
        where = each.face.box
        (key,) = school.execute(
            """INSERT INTO faces (user_id, asset_id, rekognition_face_id, rekognition_image_id, bounding_box, confidence)
            VALUES (%s, %s, %s, %s, jsonb_build_object('Left', %s::float8, 'Top', %s::float8, 'Width', %s::float8,
                'Height', %s::float8), 0.99) RETURNING id::text""",
            [users[0], asset, f"placeholder:{asset}:{uuid.uuid4()}", str(asset), *msgspec.structs.astuple(where)],
        ).fetchone()  # fmt: skip
        expected[key] = each.face.face_id
    school.commit()
    assert sync(school, library, aws, strict=True).synced == len(indexed)
    assert linked() == expected
