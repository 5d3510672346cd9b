"""A photo and who is in it.

As the application does while attendance is taken: index the photo's faces under a temporary id, search for each,
map the matches to students, and delete the temporary faces whatever happens in between.
"""

import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SchemaError, SeedtoolError, ServiceUnavailable
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import TEMPORARY_PREFIX, is_temporary
from seedtool.faces.interrupts import Held, held
from seedtool.faces.pictures import prepare_image
from seedtool.faces.port import Box, FaceCollection, FaceReport, FaceService, Indexed, Match
from seedtool.faces.sync import Progress
from seedtool.settings import Settings

#: The least similarity at which the application believes a match, 0 to 100.
SURE = 95.0

#: The least similarity worth telling about; Rekognition's own default threshold.
SIMILAR = 80.0


class SeenFace(msgspec.Struct, frozen=True, kw_only=True):
    """One face of the photo and who it is.

    Args:
        number: counted from the left, from 1.
        box: where it is in the photo.
        student_id: who it is; None when that cannot be said.
        name: the student's name: for the person who asked, not for logs.
        similarity: of the match, or of the best one when none was good enough; 0 to 100.
        external_image_id: the photo it was recognised by.
        also: other students whose faces match as surely.
        why: why nobody is named.
        remedy: what to do about that.
    """

    number: int
    box: Box
    student_id: str | None = None
    name: str | None = None
    similarity: float | None = None
    external_image_id: str | None = None
    also: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""


class _Student(msgspec.Struct, frozen=True):
    student_id: str
    name: str


class Students(msgspec.Struct, frozen=True):
    """The rows that matches lead to: by FaceId when they are linked, by external image id in any case."""

    by_face: dict[str, _Student]
    by_image: dict[str, _Student]


def students_of(connection: psycopg.Connection, bound: Bound, collection_id: str, matches: list[Match]) -> Students:
    """Return the students whose rows the matches of a search in a collection lead to."""
    faces = [match.face for match in matches]
    with bindings.database_errors(bound.binding.table), connection.transaction():
        rows = connection.execute(
            sql.SQL(_ROWS).format(
                face_id=bound.face_id,
                external_image_id=bound.external_image_id,
                table=bound.table,
                # the same photo in two collections may have one FaceId: only rows of the collection searched count
                here=sql.SQL("AND {} IN (SELECT r.key FROM {} r WHERE r.collection_id = {})").format(
                    bound.key, bound.rows, sql.Literal(collection_id)
                )
                if bound.binding.by_row
                else sql.SQL(""),
                name=_name(connection, bound),
                owner=sql.SQL("LEFT JOIN {} s ON s.{} = t.student_id").format(
                    bound.owner[0], sql.Identifier(bound.owner[1])
                )
                if bound.owner
                else sql.SQL(""),
            ),
            [[face.face_id for face in faces], [face.external_image_id for face in faces]],
        ).fetchall()
    by_face = {face_id: _Student(student_id, name) for face_id, _, student_id, name in rows}
    by_image = {external: _Student(student_id, name) for _, external, student_id, name in rows if external is not None}
    return Students(by_face, by_image)


_NAMES = ("first_name", "middle_name", "last_name", "second_last_name")


def _name(connection: psycopg.Connection, bound: Bound) -> sql.Composable:
    """Return the expression of a student's name, by the columns that the table has."""
    if bound.owner is None:
        return sql.SQL("''")
    there = {
        name
        for (name,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [bound.owner[0].as_string(connection)],
        )
    }
    columns = [name for name in _NAMES if name in there] or [n for n in ("full_name", "name") if n in there][:1]
    return sql.SQL("concat_ws(' ', NULL, {})").format(
        sql.SQL(", ").join(sql.Identifier("s", column) for column in columns) if columns else sql.SQL("NULL")
    )


def tell(box: Box, matches: tuple[Match, ...], students: Students) -> SeenFace:
    """Say who a face is, or why not."""
    known = [match for match in matches if not is_temporary(match.face.external_image_id or "")]
    sure = [match for match in known if match.similarity >= SURE]
    if not sure:
        best = known[0].similarity if known else None
        why = f"no face is {SURE:g} % similar" + (f"; the best is {int(best * 10) / 10} %" if best is not None else "")
        return SeenFace(number=0, box=box, similarity=best, why=why, remedy="Enroll a photo of this person.")
    linked = [(students.by_face[each.face.face_id], each) for each in sure if each.face.face_id in students.by_face]
    if linked:
        student, match = linked[0]
        others = dict.fromkeys(other.student_id for other, _ in linked if other.student_id != student.student_id)
        return SeenFace(
            number=0,
            box=box,
            student_id=student.student_id,
            name=student.name or None,
            similarity=match.similarity,
            external_image_id=match.face.external_image_id,
            also=tuple(others),
        )
    best = sure[0].similarity
    image = next(
        (each.face.external_image_id for each in sure if each.face.external_image_id in students.by_image), None
    )
    if image is not None:
        why = f"it matches {image}, whose row is not linked to that face"
        return SeenFace(
            number=0, box=box, similarity=best, external_image_id=image, why=why, remedy="Run seedtool sync-faces."
        )
    image = sure[0].face.external_image_id
    why = f"it matches {image or 'a face without an id'}, which this database does not know"
    return SeenFace(
        number=0, box=box, similarity=best, external_image_id=image, why=why, remedy="Seed or enroll the student."
    )


_ROWS = """
SELECT t.{face_id}::text, t.{external_image_id}::text, t.student_id::text, {name}
FROM {table} t {owner}
WHERE (t.{face_id}::text = ANY (%s) OR t.{external_image_id}::text = ANY (%s)) {here}"""


_SEARCHES = 8  # at once; at 0.2 to 0.3 s each they stay under 50 a second


class Temporary:
    """The temporary faces of one photo, under an id that nobody else has.

    Attributes:
        unknown: the answer that names them was lost, and they could not be looked for: there may be some.
    """

    def __init__(self, collection: FaceCollection) -> None:
        self._collection = collection
        self._external_image_id = f"{TEMPORARY_PREFIX}recognize-{uuid.uuid4()}_photo1"
        self._faces: tuple[str, ...] | None = ()
        self.unknown = False

    @property
    def how_to_delete(self) -> str:
        """What to do about those that are left."""
        return (
            f"Temporary faces may be left in {self._collection.id} under {self._external_image_id}: where the setting "
            "owned_collections names it, seedtool faces dedupe --temporary deletes them."
        )

    def index(self, image: bytes) -> Indexed:
        """Index the photo's faces."""
        self._faces = None  # asked, and no answer yet
        try:
            indexed = self._collection.index_faces(image, self._external_image_id)
        except ServiceUnavailable:
            raise
        except SeedtoolError:
            self._faces = ()  # refused, so there is nothing to delete
            raise
        self._faces = tuple(each.face.face_id for each in indexed.faces)
        return indexed

    def delete(self) -> tuple[str, ...]:
        """Delete them and return those that could not be; when the answer was lost, look for them."""
        try:
            if self._faces is None:
                self._faces = tuple(face.face_id for face in self._collection.under(self._external_image_id))
            failed = self._collection.delete_faces(self._faces).failed if self._faces else {}
        except SeedtoolError:
            self.unknown = self._faces is None
            return self._faces or ()
        return tuple(failed)


def search(
    collection: FaceCollection, indexed: Indexed, hold: Held, progress: Progress | None
) -> list[tuple[Match, ...]]:
    """Search for all faces at once and return each one's matches. Ends early when a signal waits."""
    pool = ThreadPoolExecutor(_SEARCHES, thread_name_prefix="search-faces")
    try:
        searches: list[Future[tuple[Match, ...]]] = [
            pool.submit(collection.search_faces, each.face.face_id, threshold=SIMILAR, just_indexed=True)
            for each in indexed.faces
        ]
        pending = set(searches)
        while pending and hold.pending is None:
            done, pending = wait(pending, timeout=0.1)
            for each in done:
                each.result()
            if progress is not None:
                progress(len(searches) - len(pending), len(searches))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [each.result() if each.done() and not each.cancelled() else () for each in searches]


class RecognizeReport(FaceReport, frozen=True, kw_only=True):
    """Who is in the photo.

    Args:
        collection: the collection that was searched.
        ok: the temporary faces are gone again.
        faces: the photo's faces, from left to right.
        recognized: how many of them have a student.
        left_behind: temporary faces that could not be deleted.
    """

    collection: str
    ok: bool
    faces: tuple[SeenFace, ...]
    recognized: int
    left_behind: tuple[str, ...]


def recognize(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
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
    watch = aws.watched()
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
        **watch.facts,
        collection=collection_id,
        ok=not left_behind,
        faces=tuple(msgspec.structs.replace(face, number=number) for number, face in enumerate(faces, start=1)),
        recognized=sum(face.student_id is not None for face in faces),
        left_behind=left_behind,
    )
