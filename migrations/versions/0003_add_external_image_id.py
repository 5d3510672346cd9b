"""Add student_faces.external_image_id, the id under which a face's photo was indexed.

A table with rows may be in use, so it is never locked for long. Each statement is its own transaction. DDL that locks
the table gives up after LOCK_TIMEOUT and tries again. The unique index is built concurrently, and before the rows are
filled, so that it also covers the rows of new writers. The rows are filled in batches. Each step first checks whether
it is done already, so an interrupted run can be continued by running it again. An empty table is changed in Alembic's
own transaction.

The downgrade drops the column. Ids that applications wrote are lost. The ids that this revision fills in come back with
the next upgrade.

Revision ID: 0003
Revises: 0002
"""

import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = "uq_student_faces_external_image_id"  # the constraint takes the index's name
CHECK = "ck_student_faces_external_image_id"
#: Rekognition's alphabet for ExternalImageId, of which there may be 1 to 255 (source: the service model).
#: The length has a condition of its own, because PostgreSQL needs ten times as long for `{1,255}`.
ALPHABET = "[a-zA-Z0-9_.:-]+"
#: The longest id that leaves room for `-photo-` and ten digits within 255.
STUDENT_ID_LENGTH = 238

#: While DDL waits for its lock, all writers wait behind it. This is less than deadlock_timeout (1 s), so that
#: in a deadlock PostgreSQL never ends the application's transaction.
LOCK_TIMEOUT = "300ms"
PAUSE = 0.2  # seconds in which the writers that waited behind an attempt can go on
ATTEMPTS = 300
FACES_A_PAGE = 2000
FACES_A_BATCH = 1000  # some 30 ms of row locks

#: lock_not_available, deadlock_detected, unique_violation (a new writer took the id between plan and update)
TRANSIENT = frozenset({"55P03", "40P01", "23505"})

ADD_COLUMN = "ALTER TABLE student_faces ADD COLUMN IF NOT EXISTS external_image_id text"
ADD_CHECK = (
    f"ALTER TABLE student_faces ADD CONSTRAINT {CHECK} "
    f"CHECK (external_image_id ~ '^{ALPHABET}$' AND length(external_image_id) <= 255)"
)
VALIDATE = f"ALTER TABLE student_faces VALIDATE CONSTRAINT {CHECK}"
ADD_UNIQUE = f"ALTER TABLE student_faces ADD CONSTRAINT {INDEX} UNIQUE"
DROP_COLUMN = "ALTER TABLE student_faces DROP COLUMN IF EXISTS external_image_id"
FILL_OFFLINE = """
UPDATE student_faces SET external_image_id = numbered.new
FROM (
    SELECT id, student_id || '-photo-' || row_number() OVER (
        PARTITION BY student_id ORDER BY indexed_at, id COLLATE "C"
    ) AS new
    FROM student_faces
) AS numbered
WHERE student_faces.id = numbered.id
"""


def upgrade() -> None:
    if op.get_context().as_sql:
        for statement in (ADD_COLUMN, FILL_OFFLINE, ADD_CHECK, f"{ADD_UNIQUE} (external_image_id)"):
            op.execute(statement)
    elif _is_empty_and_ours():
        _build_plainly()
    else:
        _refuse_unfit_students()
        with op.get_context().autocommit_block(), _PatientSession():
            _build_while_in_use()


def downgrade() -> None:
    if op.get_context().as_sql or _is_empty_and_ours():
        op.execute(DROP_COLUMN)
        return
    with op.get_context().autocommit_block(), _PatientSession():
        _patiently(lambda: op.execute(DROP_COLUMN))


def _is_empty_and_ours() -> bool:
    """Return whether the table is empty. An empty one stays locked until the transaction ends, so it stays empty."""
    if _true("SELECT EXISTS (SELECT FROM student_faces)"):
        return False
    op.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    _patiently(_lock_table)
    op.execute("SET LOCAL lock_timeout TO DEFAULT")
    return not _true("SELECT EXISTS (SELECT FROM student_faces)")


def _lock_table() -> None:
    with op.get_bind().begin_nested():
        op.execute("LOCK TABLE student_faces IN ACCESS EXCLUSIVE MODE")


def _build_plainly() -> None:
    op.execute(ADD_COLUMN)
    if not _has_constraint(CHECK):
        op.execute(ADD_CHECK)
    op.execute(VALIDATE)  # an interrupted run may have added it as NOT VALID, when there were rows
    if not _has_constraint(INDEX):
        op.execute(f"DROP INDEX IF EXISTS {INDEX}")
        op.execute(f"{ADD_UNIQUE} (external_image_id)")


def _build_while_in_use() -> None:
    _patiently(lambda: op.execute(ADD_COLUMN))
    if not _has_constraint(CHECK):
        _patiently(lambda: op.execute(f"{ADD_CHECK} NOT VALID"))
    if not _has_constraint(INDEX):
        _build_index()
    _fill()
    # it waits only for other DDL and for vacuum, and only these wait for it
    op.execute("SET lock_timeout = 0")
    op.execute(VALIDATE)
    op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    if not _has_constraint(INDEX):
        _patiently(lambda: op.execute(f"{ADD_UNIQUE} USING INDEX {INDEX}"))


def _build_index() -> None:
    # a concurrent build waits for earlier transactions and blocks no writer, so it needs no time limit
    op.execute("SET lock_timeout = 0")
    valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{INDEX}')"
    if op.get_bind().scalar(sa.text(valid)) is False:
        op.execute(f"DROP INDEX CONCURRENTLY {INDEX}")  # an interrupted build left it
    op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {INDEX} ON student_faces (external_image_id)")
    op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")


def _refuse_unfit_students() -> None:
    """Refuse to change anything when a student's id cannot be part of an ExternalImageId.

    Raises:
        CommandError: there are such students. The message has their ids and the remedy.
    """
    pending = "AND external_image_id IS NULL" if _has_column() else ""
    unfit = op.get_bind().scalars(
        sa.text(
            "SELECT id FROM students WHERE (id !~ :alphabet OR length(id) > :length) "
            f"AND EXISTS (SELECT FROM student_faces WHERE student_id = students.id {pending}) ORDER BY id LIMIT 11"
        ),
        {"alphabet": f"^{ALPHABET}$", "length": STUDENT_ID_LENGTH},
    )
    ids = list(unfit)
    if ids:
        shown = ", ".join(map(repr, ids[:10])) + (", ..." if len(ids) > 10 else "")
        raise CommandError(
            f"faces of these students cannot get an ExternalImageId: {shown}. An id may have 1 to "
            f"{STUDENT_ID_LENGTH} of the characters a-z A-Z 0-9 _ . - : (Rekognition's alphabet). Nothing was "
            "changed; give the students other ids, or delete their rows in student_faces, and upgrade again."
        )


def _fill() -> None:
    """Give an id to every face without one, some students at a time. Faces that arrive meanwhile may stay without."""
    after = ""
    while students := _students_to_fill(after):
        # a student whose id does not fit has arrived meanwhile
        fit = [each for each in students if re.fullmatch(ALPHABET, each) and len(each) <= STUDENT_ID_LENGTH]
        _patiently(functools.partial(_fill_page, fit))
        after = students[-1]


def _students_to_fill(after: str) -> list[str]:
    found = op.get_bind().scalars(
        sa.text(
            "SELECT student_id FROM student_faces WHERE external_image_id IS NULL AND student_id > :after "
            "ORDER BY student_id LIMIT :page"
        ),
        {"after": after, "page": FACES_A_PAGE},
    )
    return list(dict.fromkeys(found))


def _fill_page(students: Sequence[str]) -> None:
    plan = iter(_plan(students))
    while batch := list(itertools.islice(plan, FACES_A_BATCH)):
        ids, owners, new = zip(*batch, strict=True)
        op.get_bind().execute(
            sa.text(
                "UPDATE student_faces AS face SET external_image_id = plan.new "
                "FROM unnest(CAST(:ids AS text[]), CAST(:owners AS text[]), CAST(:new AS text[])) "
                "AS plan(id, student_id, new) "
                # a row that somebody changed since we read it stays as it is
                "WHERE face.id = plan.id AND face.student_id = plan.student_id AND face.external_image_id IS NULL"
            ),
            {"ids": list(ids), "owners": list(owners), "new": list(new)},
        )


def _plan(students: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (face, student, new id) for the faces without an id, with ids that no row has."""
    faces = op.get_bind().execute(
        sa.text(
            "SELECT id, student_id, external_image_id FROM student_faces "
            'WHERE student_id = ANY(CAST(:students AS text[])) ORDER BY student_id, indexed_at, id COLLATE "C"'
        ),
        {"students": list(students)},
    )
    rows = [(str(face.id), str(face.student_id), face.external_image_id) for face in faces]
    taken = {given for _, _, given in rows if given is not None}
    while True:
        plan = list(number(rows, taken))
        elsewhere = op.get_bind().scalars(
            sa.text("SELECT external_image_id FROM student_faces WHERE external_image_id = ANY(CAST(:new AS text[]))"),
            {"new": [new for _, _, new in plan]},
        )
        collisions = set(elsewhere)
        if not collisions:
            return plan
        taken |= collisions


def number(rows: Sequence[tuple[str, str, str | None]], taken: set[str]) -> Iterator[tuple[str, str, str]]:
    """Number the faces without an id. Numbers go on from the faces before them, and skip ids that are taken.

    Args:
        rows: (face, student, id or None), by student and in the order in which a student's faces are numbered.
        taken: the ids that rows have already.

    Yields:
        (face, student, new id).
    """
    for student, faces in itertools.groupby(rows, key=lambda row: row[1]):
        last = 0
        for face, _, given in faces:
            if given is not None:
                suffix = given.removeprefix(f"{student}-photo-")
                last = max(last, int(suffix)) if suffix != given and suffix.isdecimal() else last
                continue
            last += 1
            while f"{student}-photo-{last}" in taken:
                last += 1
            yield face, student, f"{student}-photo-{last}"


class _PatientSession:
    """A context manager for our session settings. At its end the old settings come back."""

    SETTINGS = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": "0"}  # noqa: RUF012 - never changed

    def __enter__(self) -> None:
        self._before = {name: op.get_bind().scalar(sa.text(f"SHOW {name}")) for name in self.SETTINGS}
        self._set(self.SETTINGS)

    def __exit__(self, *_: object) -> None:
        if not op.get_bind().invalidated:
            self._set(self._before)

    def _set(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            op.execute(f"SET {name} = '{value}'")


def _patiently(step: Callable[[], None]) -> None:
    """Do a step. Try it again after a pause while other sessions hold a lock that it needs.

    Raises:
        CommandError: no attempt succeeded.
    """
    for _ in range(ATTEMPTS):
        try:
            return step()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in TRANSIENT:
                raise
            reason = error
        time.sleep(PAUSE)
    raise CommandError(
        f"another session holds a lock on student_faces, {ATTEMPTS} attempts failed ({type(reason.orig).__name__}). "
        "End that session (see pg_stat_activity and pg_blocking_pids), then upgrade again. What is done stays done."
    )


def _has_constraint(name: str) -> bool:
    return _true(
        f"SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'student_faces'::regclass AND conname = '{name}')"
    )


def _has_column() -> bool:
    return _true(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'student_faces'::regclass "
        "AND attname = 'external_image_id' AND NOT attisdropped)"
    )


def _true(query: str) -> bool:
    return bool(op.get_bind().scalar(sa.text(query)))
