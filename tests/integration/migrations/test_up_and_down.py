"""Every revision goes up and down again, with rows in the tables."""

import psycopg
import pytest

from seedtool.postgres import server

REVISIONS = ["base", "0000", "0001", "0002", "0003", "0004"]

ROWS = {
    "0000": """
        INSERT INTO stages (id, name, display_name, "order") VALUES ('stage', 'Básica', 'Educación Básica', 1);
        INSERT INTO grades (id, name, display_name, stage_id, "order") VALUES ('grade', '4°', 'Cuarto', 'stage', 6);
        INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
            VALUES ('guardian', 'A', 'B', '1-9', '+56', 'a@b.example');
        INSERT INTO students (id, first_name, last_name, identification_number, grade_id, guardian_id, enrollment_date)
            VALUES ('student', 'A', 'B', '2-7', 'grade', 'guardian', '2026-03-04');
        INSERT INTO student_faces (id, student_id, face_id, quality_score) VALUES ('face', 'student', 'f', 99.5)""",
    "0001": """
        INSERT INTO teachers (id, first_name, last_name, email, subjects) VALUES ('teacher', 'A', 'B', 'c@d', '{x}');
        INSERT INTO classrooms (id, name) VALUES ('room', 'Sala 1');
        INSERT INTO courses (id, course_code, name, subject) VALUES ('course', 'MAT', 'Matemática', 'Matemática');
        INSERT INTO classes (id, course_id, section, teacher_id, classroom_id, period, schedule_day)
            VALUES ('class', 'course', 'A', 'teacher', 'room', 1, 'monday');
        INSERT INTO class_enrollments (id, class_id, student_id) VALUES ('enrollment', 'class', 'student');
        INSERT INTO sessions (id, class_id, teacher_id, classroom_id, started_at, photo_urls)
            VALUES ('session', 'class', 'teacher', 'room', now(), '["a"]');
        INSERT INTO attendance (id, student_id, session_id, class_id, status, confidence)
            VALUES ('attendance', 'student', 'session', 'class', 'present', 100)""",
    "0002": """
        INSERT INTO grade_sections (id, grade_id, label, display_name, academic_year, homeroom_teacher_id)
            VALUES ('section', 'grade', 'A', '4° A', 2026, 'teacher');
        UPDATE students SET grade_section_id = 'section'""",
    "0003": """
        INSERT INTO student_faces (id, student_id, face_id, external_image_id)
            VALUES ('face-2', 'student', 'f', 'student-photo-2')""",
    "0004": """
        WITH u AS (INSERT INTO users (email) VALUES ('e@f') RETURNING id),
            a AS (INSERT INTO assets (user_id, file_name, mime_type) SELECT id, 'a.jpg', 'image/jpeg' FROM u RETURNING *),
            c AS (INSERT INTO face_collections (user_id, aws_collection_id) SELECT id, 'savta-user-' || id FROM u),
            p AS (INSERT INTO person_groups (user_id, name) SELECT id, 'P' FROM u RETURNING id),
            f AS (INSERT INTO faces (user_id, asset_id, rekognition_face_id, bounding_box, confidence)
                SELECT user_id, id, 'f', '{"Left": -0.01, "Top": 0, "Width": 0.5, "Height": 0.5}', 0.9999 FROM a
                RETURNING id)
        INSERT INTO face_person_links (face_id, person_group_id, confidence, assigned_by)
            SELECT f.id, p.id, 1, 'ai' FROM f, p""",
}

TWICE = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}"


def climb(alembic, session, upto: str) -> None:
    for revision in REVISIONS[1 : REVISIONS.index(upto) + 1]:
        alembic("upgrade", revision)
        session.execute(ROWS[revision])


def version(session) -> str:
    row = session.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else "base"


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_each_step_goes_down_and_up_again_with_rows(alembic, session, revision):
    climb(alembic, session, revision)
    below = REVISIONS[REVISIONS.index(revision) - 1]
    alembic("downgrade", below)
    assert version(session) == below
    alembic("upgrade", revision)
    assert version(session) == revision


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_the_whole_way_down_and_up_again_with_rows(alembic, session, revision):
    climb(alembic, session, revision)
    alembic("downgrade", "base")
    left = session.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert {name for (name,) in left} == {"alembic_version", "alembic_version_pkc"}
    climb(alembic, session, "0004")


def test_rows_that_a_downgrade_does_not_concern_stay(alembic, session):
    climb(alembic, session, "0003")
    alembic("downgrade", "0000")
    alembic("upgrade", "head")
    assert session.execute("SELECT id, external_image_id FROM student_faces ORDER BY id").fetchall() == [
        ("face", "student-photo-1"),
        ("face-2", "student-photo-2"),
    ]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE students SET status = 'asleep'", "ck_students_status"),
        ("UPDATE classes SET period = 9", "ck_classes_period"),
        ("UPDATE classes SET schedule_day = 'Monday'", "ck_classes_schedule_day"),
        ("UPDATE classes SET start_time = '09:00', end_time = '08:00'", "ck_classes_end_time"),
        ("UPDATE classrooms SET room_type = 'cave'", "ck_classrooms_room_type"),
        ("UPDATE attendance SET confidence = 100.1", "ck_attendance_confidence"),
        ("UPDATE attendance SET status = 'here'", "ck_attendance_status"),
        ("UPDATE student_faces SET external_image_id = 'peña-photo-1'", "ck_student_faces_external_image_id"),
        ("UPDATE student_faces SET external_image_id = E'a\\n'", "ck_student_faces_external_image_id"),
        ("UPDATE student_faces SET external_image_id = ''", "ck_student_faces_external_image_id"),
        ("UPDATE student_faces SET external_image_id = repeat('a', 256)", "ck_student_faces_external_image_id"),
        ("UPDATE student_faces SET external_image_id = 'same'", "uq_student_faces_external_image_id"),
        ("DELETE FROM grade_sections", "fk_students_grade_section_id"),
        ("UPDATE faces SET confidence = 1.0001", "ck_faces_confidence"),
        ("UPDATE faces SET bounding_box = bounding_box - 'Left'", "ck_faces_bounding_box"),
        ("""UPDATE faces SET bounding_box = bounding_box || '{"Width": "0.5"}'""", "ck_faces_bounding_box"),
        ("""UPDATE faces SET bounding_box = bounding_box || '{"Height": 0}'""", "ck_faces_bounding_box"),
        ("UPDATE faces SET bounding_box = '[]'", "ck_faces_bounding_box"),
        ("UPDATE faces SET rekognition_image_id = 'a/b'", "ck_faces_rekognition_image_id"),
        ("UPDATE face_person_links SET confidence = -0.1", "ck_face_person_links_confidence"),
        ("UPDATE face_person_links SET assigned_by = 'dog'", "ck_face_person_links_assigned_by"),
        ("UPDATE face_collections SET face_count = -1", "ck_face_collections_face_count"),
        ("UPDATE face_collections SET aws_collection_id = 'a b'", "ck_face_collections_aws_collection_id"),
        (TWICE.format(table="users", columns="email"), "uq_users_email"),
        (
            TWICE.format(table="face_collections", columns="user_id, aws_collection_id"),
            "uq_face_collections_user_id",
        ),
        (
            TWICE.format(table="faces", columns="user_id, asset_id, rekognition_face_id, bounding_box, confidence"),
            "uq_faces_user_id_rekognition_face_id",
        ),
        (
            TWICE.format(table="face_person_links", columns="face_id, person_group_id, confidence, assigned_by"),
            "uq_face_person_links_face_id",
        ),
    ],
)
def test_the_checks_hold(database, alembic, session, statement, constraint):
    climb(alembic, session, "0004")
    with pytest.raises(psycopg.errors.IntegrityError) as raised, server.connect(database) as connection:
        connection.execute(statement)
    assert raised.value.diag.constraint_name == constraint


def test_the_alphabet_of_rekognition_passes(alembic, session):
    climb(alembic, session, "0003")
    session.execute("UPDATE student_faces SET external_image_id = 'aZ09_.-:' WHERE id = 'face'")


def test_a_deleted_face_and_link_make_room_for_another(alembic, session):
    climb(alembic, session, "0004")
    session.execute("UPDATE faces SET deleted = true; UPDATE face_person_links SET deleted = true")
    session.execute(
        TWICE.format(table="faces", columns="user_id, asset_id, rekognition_face_id, bounding_box, confidence")
    )
    session.execute(
        TWICE.format(table="face_person_links", columns="face_id, person_group_id, confidence, assigned_by")
    )
    assert session.execute("SELECT count(*) FROM faces WHERE NOT deleted").fetchone() == (1,)
