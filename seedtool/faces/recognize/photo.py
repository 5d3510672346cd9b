"""A photo and who is in it.

As the application does while attendance is taken: index the photo's faces under a temporary id, search for each,
map the matches to students, and delete the temporary faces whatever happens in between.
"""

import time
from collections import Counter

import msgspec
import psycopg

from seedtool.errors import SchemaError, SeedtoolError
from seedtool.faces import bindings
from seedtool.faces.interrupts import held
from seedtool.faces.pictures import prepare_image
from seedtool.faces.recognize.people import SeenFace, students_of, tell
from seedtool.faces.recognize.temporary import Temporary, search
from seedtool.faces.rekognition import Aws
from seedtool.faces.sync import Progress
from seedtool.settings import Settings


class RecognizeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in the photo.

    Args:
        mode: `embedded` or `live`.
        region: the region.
        endpoint: where Rekognition is; None when it is AWS's own address.
        collection: the collection that was searched.
        ok: the temporary faces are gone again.
        faces: the photo's faces, from left to right.
        recognized: how many of them have a student.
        left_behind: temporary faces that could not be deleted.
        calls: calls by operation.
        seconds: by the wall clock.
    """

    mode: str
    region: str
    endpoint: str | None
    collection: str
    ok: bool
    faces: tuple[SeenFace, ...]
    recognized: int
    left_behind: tuple[str, ...]
    calls: dict[str, int]
    seconds: float


def recognize(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    photo: bytes,
    *,
    collection: str | None = None,
    progress: Progress | None = None,
) -> RecognizeReport:
    """Tell who is in a photo.

    Args:
        connection: to the target; only read.
        settings: the first face binding and its collection.
        aws: the AWS side.
        photo: a JPEG or PNG.
        collection: a collection given on the command line.
        progress: told the faces searched, and how many there are.

    Raises:
        ImageRefused: Rekognition would not take the picture.
        ResourceNotFound: there is no such collection.
        SettingsError: the rows are in several collections, and none is given.
        SchemaError: the bound table has no `student_id`.
        AwsError: a call failed; the remedy tells when temporary faces may be left.
        KeyboardInterrupt: after the temporary faces were deleted.
    """
    started, before = time.monotonic(), Counter(aws.calls)
    with connection.transaction():
        bound = bindings.first(connection, settings, collection)
        collection_id = bindings.the_collection(connection, settings, bound, collection)
    if "student_id" not in bound.columns:
        raise SchemaError(
            f"the table {bound.binding.table} has no column student_id, so its faces are nobody's",
            remedy="Bind the table that tells whose face it is in [[tool.seedtool.faces]].",
        )
    picture = prepare_image(photo)
    gateway = aws.collection(collection_id)
    seen = Temporary(gateway)
    with held() as hold:
        try:
            indexed = seen.index(picture.data)
            found = search(gateway, indexed, hold, progress)
        except BaseException as error:
            if (seen.delete() or seen.unknown) and isinstance(error, SeedtoolError):
                error.remedy = f"{error.remedy} {seen.how_to_delete}".strip()
            raise
        left_behind = seen.delete()
    students = students_of(connection, bound, collection_id, [match for matches in found for match in matches])
    faces = [tell(each.face.box, matches, students) for each, matches in zip(indexed.faces, found, strict=True)]
    faces += [
        SeenFace(
            number=0,
            box=left.box,
            why=f"the face cannot be used ({', '.join(left.reasons)})",
            remedy="Take the photo from nearer, brighter and sharper.",
        )
        for left in indexed.unindexed
    ]
    faces.sort(key=lambda face: (face.box.left + face.box.width / 2, face.box.top))
    return RecognizeReport(
        mode=aws.mode,
        region=aws.region,
        endpoint=aws.endpoint,
        collection=collection_id,
        ok=not left_behind,
        faces=tuple(msgspec.structs.replace(face, number=number) for number, face in enumerate(faces, start=1)),
        recognized=sum(face.student_id is not None for face in faces),
        left_behind=left_behind,
        calls=dict(Counter(aws.calls) - before),
        seconds=round(time.monotonic() - started, 3),
    )
