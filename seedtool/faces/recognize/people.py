"""From matches to people: the rows that faces of the collection belong to."""

import msgspec
import psycopg
from psycopg import sql

from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.external_id import is_temporary
from seedtool.faces.rekognition.answers import Box, Match

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
