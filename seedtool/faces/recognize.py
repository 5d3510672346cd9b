"""Recognize: who is in a photo, by the collection and the database. It shows that the links hold after a reset.

As the application does while attendance is taken: index the faces of the photo under a temporary id, search for each,
find the people whose rows hold the matches, and delete the temporary faces whatever happens in between.
"""

import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import SeedtoolError, ServiceUnavailable
from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import TEMPORARY_PREFIX, is_temporary
from seedtool.faces.interrupts import Held, held
from seedtool.faces.pictures import prepare_image
from seedtool.faces.port import Box, FaceCollection, FaceReport, FaceService, Indexed, Match
from seedtool.listener import SILENT, Listener
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import translated
from seedtool.settings import Settings

#: The least similarity at which the application believes a match, 0 to 100.
SURE = 95.0

#: The least similarity worth telling about; Rekognition's own default threshold.
SIMILAR = 80.0


class SeenFace(msgspec.Struct, frozen=True, kw_only=True):
    """One face of the photo and who it is. As JSON, `person` keeps the name that it has always had.

    Args:
        number: counted from the left, from 1.
        box: where it is in the photo.
        person: who it is; None when nobody can tell.
        name: the person's name: for whoever asked, not for logs.
        similarity: of the match, or of the best one when none was good enough; 0 to 100.
        external_image_id: the photo it was recognised by.
        also: other people whose faces match as surely.
        why: why nobody is named.
        remedy: what to do about that.
    """

    number: int
    box: Box
    person: str | None = msgspec.field(name="student_id", default=None)
    name: str | None = None
    similarity: float | None = None
    external_image_id: str | None = None
    also: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""


class RecognizeReport(FaceReport, frozen=True, kw_only=True):
    """Who is in the photo.

    Args:
        collection: the collection that was searched.
        ok: the temporary faces are gone again.
        faces: the photo's faces, from left to right.
        recognized: how many of them belong to a person.
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
    listener: Listener = SILENT,
) -> RecognizeReport:
    """Tell who is in a photo.

    Args:
        connection: to the target; only read.
        settings: the first face binding and its collection.
        aws: the face service.
        photo: a JPEG or PNG.
        collection: a collection given on the command line.
        listener: hears the number of faces searched.

    Raises:
        ImageRefused: the face service would not take the picture.
        ResourceNotFound: there is no such collection.
        SettingsError: the rows are in several collections, and none is given.
        SchemaError: the bound table has no column `person`.
        AwsError: a call failed; the remedy says when temporary faces may be left.
        KeyboardInterrupt: after the temporary faces were deleted.
    """
    watch = aws.watched()
    with connection.transaction():
        bound = bindings.first(connection, settings, collection)
        collection_id = bindings.the_collection(connection, settings, bound, collection)
    bound.require("recognize", "person")
    picture = prepare_image(photo, keep_regions=aws.embedded)
    gateway = aws.collection(collection_id)
    temporary = _Temporary(gateway)
    with held() as hold:
        try:
            indexed = temporary.index(picture.data)
            found = _search(gateway, indexed, hold, listener)
        except BaseException as error:
            if (temporary.delete() or temporary.unknown) and isinstance(error, SeedtoolError):
                error.remedy = f"{error.remedy} {temporary.how_to_delete}".strip()
            raise
        left_behind = temporary.delete()
    people = _people_of(connection, bound, collection_id, [match for matches in found for match in matches])
    faces = [_seen(each.face.box, matches, people) for each, matches in zip(indexed.faces, found, strict=True)]
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
        recognized=sum(face.person is not None for face in faces),
        left_behind=left_behind,
    )


_SEARCHES = 8  # at once; at 0.2 to 0.3 s each they stay under 50 a second


class _Temporary:
    """The temporary faces of one photo, under an id that nobody else has.

    Attributes:
        unknown: the answer that names them was lost, and the collection could not be listed: there may be some.
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


def _search(collection: FaceCollection, indexed: Indexed, hold: Held, listener: Listener) -> list[tuple[Match, ...]]:
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
            listener.progress("faces", len(searches) - len(pending), len(searches))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [each.result() if each.done() and not each.cancelled() else () for each in searches]


class _Person(msgspec.Struct, frozen=True):
    id: str
    name: str


class _People(msgspec.Struct, frozen=True):
    """The people of the rows that matches lead to: by FaceId where rows are linked, and by external image id."""

    by_face: dict[str, _Person]
    by_image: dict[str, _Person]


def _people_of(connection: psycopg.Connection, bound: Bound, collection_id: str, matches: list[Match]) -> _People:
    """Return the people whose rows the matches of a search in a collection lead to."""
    faces = [match.face for match in matches]
    people = bound.people
    with translated(bound.binding.table), connection.transaction():
        see_every_row(connection)
        rows = connection.execute(
            sql.SQL(_ROWS).format(
                person=bound.person,
                face_id=bound.face_id,
                external_image_id=bound.external_image_id,
                table=bound.table,
                # the same photo in two collections may have one FaceId: only rows of the collection searched count
                here=sql.SQL("AND {} IN (SELECT r.key FROM {} r WHERE r.collection_id = {})").format(
                    bound.key, bound.rows, sql.Literal(collection_id)
                )
                if bound.binding.by_row
                else sql.SQL(""),
                name=sql.SQL("concat_ws(' ', NULL, {})").format(
                    sql.SQL(", ").join([sql.NULL, *(sql.Identifier("s", column) for column in people.label)])
                )
                if people
                else sql.SQL("''"),
                join=sql.SQL("LEFT JOIN {} s ON s.{} = t.{}").format(people.table, people.key, bound.person)
                if people
                else sql.SQL(""),
            ),
            [[face.face_id for face in faces], [face.external_image_id for face in faces]],
        ).fetchall()
    by_face = {face_id: _Person(person, name) for face_id, _, person, name in rows}
    by_image = {external: _Person(person, name) for _, external, person, name in rows if external is not None}
    return _People(by_face, by_image)


def _seen(box: Box, matches: tuple[Match, ...], people: _People) -> SeenFace:
    """Return who a face is, or why nobody can tell."""
    known = [match for match in matches if not is_temporary(match.face.external_image_id or "")]
    sure = [match for match in known if match.similarity >= SURE]
    if not sure:
        best = known[0].similarity if known else None
        why = f"no face is {SURE:g} % similar" + (f"; the best is {int(best * 10) / 10} %" if best is not None else "")
        return SeenFace(number=0, box=box, similarity=best, why=why, remedy="Enroll a photo of this person.")
    linked = [(people.by_face[each.face.face_id], each) for each in sure if each.face.face_id in people.by_face]
    if linked:
        person, match = linked[0]
        others = dict.fromkeys(other.id for other, _ in linked if other.id != person.id)
        return SeenFace(
            number=0,
            box=box,
            person=person.id,
            name=person.name or None,
            similarity=match.similarity,
            external_image_id=match.face.external_image_id,
            also=tuple(others),
        )
    best = sure[0].similarity
    image = next((each.face.external_image_id for each in sure if each.face.external_image_id in people.by_image), None)
    if image is not None:
        why = f"it matches {image}, whose row is not linked to that face"
        return SeenFace(
            number=0, box=box, similarity=best, external_image_id=image, why=why, remedy="Run seedtool sync-faces."
        )
    image = sure[0].face.external_image_id
    why = f"it matches {image or 'a face without an id'}, which this database does not know"
    return SeenFace(
        number=0, box=box, similarity=best, external_image_id=image, why=why, remedy="Seed or enroll the person."
    )


_ROWS = """
SELECT t.{face_id}::text, t.{external_image_id}::text, t.{person}::text, {name}
FROM {table} t {join}
WHERE (t.{face_id}::text = ANY (%s) OR t.{external_image_id}::text = ANY (%s)) {here}"""
