"""Add classes and attendance tables.

Revision ID: 0001
Revises: 0000
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = "0000"
branch_labels = None
depends_on = None


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    _create_people_and_places()
    _create_classes()
    _create_sessions()


def _create_people_and_places() -> None:
    op.create_table(
        "teachers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("middle_name", sa.Text()),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("second_last_name", sa.Text()),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text()),
        sa.Column("subjects", postgresql.ARRAY(sa.Text())),
        sa.Column("department", sa.Text()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teachers")),
        sa.UniqueConstraint("email", name=op.f("uq_teachers_email")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_teachers_status")),
    )
    op.create_table(
        "classrooms",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("building", sa.Text()),
        sa.Column("floor", sa.SmallInteger()),
        sa.Column("capacity", sa.Integer()),
        sa.Column("room_type", sa.Text(), server_default="classroom", nullable=False),
        sa.Column("facilities", postgresql.ARRAY(sa.Text())),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classrooms")),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_classrooms_capacity")),
        sa.CheckConstraint(
            "room_type IN ('classroom', 'lab', 'library', 'gym', 'auditorium')", name=op.f("ck_classrooms_room_type")
        ),
    )
    op.create_table(
        "courses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("course_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("grade_level", sa.Text()),
        sa.Column("credits", sa.Numeric()),
        sa.Column("description", sa.Text()),
        sa.Column("department", sa.Text()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_courses")),
        sa.UniqueConstraint("course_code", name=op.f("uq_courses_course_code")),
        sa.CheckConstraint("credits >= 0", name=op.f("ck_courses_credits")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_courses_status")),
    )


def _create_classes() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("course_id", sa.Text(), nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("teacher_id", sa.Text(), nullable=False),
        sa.Column("classroom_id", sa.Text(), nullable=False),
        sa.Column("period", sa.SmallInteger(), nullable=False),
        sa.Column("schedule_day", sa.Text(), nullable=False),
        sa.Column("start_time", sa.Time()),
        sa.Column("end_time", sa.Time()),
        sa.Column("academic_year", sa.Integer()),
        sa.Column("semester", sa.SmallInteger()),
        sa.Column("max_students", sa.Integer()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classes")),
        sa.ForeignKeyConstraint(["course_id"], ["courses.id"], name=op.f("fk_classes_course_id")),
        sa.ForeignKeyConstraint(["teacher_id"], ["teachers.id"], name=op.f("fk_classes_teacher_id")),
        sa.ForeignKeyConstraint(["classroom_id"], ["classrooms.id"], name=op.f("fk_classes_classroom_id")),
        sa.CheckConstraint("period BETWEEN 1 AND 8", name=op.f("ck_classes_period")),
        sa.CheckConstraint(
            "schedule_day IN ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')",
            name=op.f("ck_classes_schedule_day"),
        ),
        sa.CheckConstraint("end_time > start_time", name=op.f("ck_classes_end_time")),
        sa.CheckConstraint("semester IN (1, 2)", name=op.f("ck_classes_semester")),
        sa.CheckConstraint("max_students > 0", name=op.f("ck_classes_max_students")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_classes_status")),
    )
    for column in ("course_id", "teacher_id", "classroom_id"):
        op.create_index(op.f(f"ix_classes_{column}"), "classes", [column])
    op.create_table(
        "class_enrollments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Text(), nullable=False),
        sa.Column("student_id", sa.Text(), nullable=False),
        sa.Column("enrolled_date", sa.Date()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_class_enrollments")),
        # also the index of the foreign key on class_id
        sa.UniqueConstraint("class_id", "student_id", name=op.f("uq_class_enrollments_class_id_student_id")),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_class_enrollments_class_id")),
        sa.ForeignKeyConstraint(["student_id"], ["students.id"], name=op.f("fk_class_enrollments_student_id")),
        sa.CheckConstraint("status IN ('active', 'dropped', 'completed')", name=op.f("ck_class_enrollments_status")),
    )
    op.create_index(op.f("ix_class_enrollments_student_id"), "class_enrollments", ["student_id"])


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Text(), nullable=False),
        sa.Column("teacher_id", sa.Text(), nullable=False),
        sa.Column("classroom_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expected_students", sa.Integer()),
        sa.Column("present_count", sa.Integer()),
        sa.Column("absent_count", sa.Integer()),
        sa.Column("photo_urls", postgresql.JSONB()),
        sa.Column("aws_faces_detected", sa.Integer()),
        sa.Column("metadata", postgresql.JSONB()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_sessions_class_id")),
        sa.ForeignKeyConstraint(["teacher_id"], ["teachers.id"], name=op.f("fk_sessions_teacher_id")),
        sa.ForeignKeyConstraint(["classroom_id"], ["classrooms.id"], name=op.f("fk_sessions_classroom_id")),
        *(
            sa.CheckConstraint(f"{column} >= 0", name=op.f(f"ck_sessions_{column}"))
            for column in ("expected_students", "present_count", "absent_count", "aws_faces_detected")
        ),
    )
    for column in ("class_id", "teacher_id", "classroom_id"):
        op.create_index(op.f(f"ix_sessions_{column}"), "sessions", [column])
    op.create_table(
        "attendance",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("student_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("class_id", sa.Text(), nullable=False),
        sa.Column("classroom_id", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double()),
        sa.Column("face_id", sa.Text()),
        sa.Column("marked_at", sa.DateTime(timezone=True)),
        sa.Column("marked_by", sa.Text()),
        sa.Column("corrected", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True)),
        sa.Column("corrected_by", sa.Text()),
        sa.Column("notes", sa.Text()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attendance")),
        # also the index of the foreign key on session_id
        sa.UniqueConstraint("session_id", "student_id", name=op.f("uq_attendance_session_id_student_id")),
        sa.ForeignKeyConstraint(["student_id"], ["students.id"], name=op.f("fk_attendance_student_id")),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_attendance_session_id")),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name=op.f("fk_attendance_class_id")),
        sa.ForeignKeyConstraint(["classroom_id"], ["classrooms.id"], name=op.f("fk_attendance_classroom_id")),
        sa.CheckConstraint("status IN ('present', 'absent', 'excused', 'late')", name=op.f("ck_attendance_status")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 100", name=op.f("ck_attendance_confidence")),
    )
    for column in ("student_id", "class_id", "classroom_id"):
        op.create_index(op.f(f"ix_attendance_{column}"), "attendance", [column])


def downgrade() -> None:
    for table in ("attendance", "sessions", "class_enrollments", "classes", "courses", "classrooms", "teachers"):
        op.drop_table(table)
