"""Add grade sections and attendance drill-down.

The indexes serve queries that go from stage to grade, section, student and session. An index on one column is
dropped where a wider index begins with that column.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "grade_sections",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("grade_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("academic_year", sa.Integer(), nullable=False),
        sa.Column("homeroom_teacher_id", sa.Text()),
        sa.Column("max_students", sa.Integer()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grade_sections")),
        # also the index of the foreign key on grade_id
        sa.UniqueConstraint(
            "grade_id", "label", "academic_year", name=op.f("uq_grade_sections_grade_id_label_academic_year")
        ),
        sa.ForeignKeyConstraint(["grade_id"], ["grades.id"], name=op.f("fk_grade_sections_grade_id")),
        sa.ForeignKeyConstraint(
            ["homeroom_teacher_id"], ["teachers.id"], name=op.f("fk_grade_sections_homeroom_teacher_id")
        ),
        sa.CheckConstraint("max_students > 0", name=op.f("ck_grade_sections_max_students")),
        sa.CheckConstraint("status IN ('active', 'inactive')", name=op.f("ck_grade_sections_status")),
    )
    op.create_index(op.f("ix_grade_sections_homeroom_teacher_id"), "grade_sections", ["homeroom_teacher_id"])
    op.add_column("students", sa.Column("grade_section_id", sa.Text()))
    op.create_foreign_key(
        op.f("fk_students_grade_section_id"), "students", "grade_sections", ["grade_section_id"], ["id"]
    )
    op.create_index(op.f("ix_students_grade_section_id"), "students", ["grade_section_id"])
    op.create_index(op.f("ix_sessions_class_id_started_at"), "sessions", ["class_id", "started_at"])
    op.drop_index(op.f("ix_sessions_class_id"), "sessions")
    op.create_index(op.f("ix_attendance_student_id_session_id"), "attendance", ["student_id", "session_id"])
    op.drop_index(op.f("ix_attendance_student_id"), "attendance")
    op.create_index(
        op.f("ix_attendance_missing"),
        "attendance",
        ["student_id", "session_id"],
        postgresql_where=sa.text("status <> 'present'"),
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_attendance_missing"), "attendance")
    op.create_index(op.f("ix_attendance_student_id"), "attendance", ["student_id"])
    op.drop_index(op.f("ix_attendance_student_id_session_id"), "attendance")
    op.create_index(op.f("ix_sessions_class_id"), "sessions", ["class_id"])
    op.drop_index(op.f("ix_sessions_class_id_started_at"), "sessions")
    op.drop_column("students", "grade_section_id")  # its foreign key and index go with it
    op.drop_table("grade_sections")
