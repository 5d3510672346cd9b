"""Initial schema: stages, grades, guardians, students and their faces.

Revision ID: 0000
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0000"
down_revision = None
branch_labels = None
depends_on = None


def _created_at() -> sa.Column[object]:
    return sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "stages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("description", sa.Text()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("name", name=op.f("uq_stages_name")),
    )
    op.create_table(
        "grades",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("stage_id", sa.Text(), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grades")),
        sa.UniqueConstraint("name", name=op.f("uq_grades_name")),
        sa.ForeignKeyConstraint(["stage_id"], ["stages.id"], name=op.f("fk_grades_stage_id")),
    )
    op.create_index(op.f("ix_grades_stage_id"), "grades", ["stage_id"])
    op.create_table(
        "legal_guardians",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("middle_name", sa.Text()),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("second_last_name", sa.Text()),
        sa.Column("identification_number", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("preferred_language", sa.Text(), server_default="es", nullable=False),
        sa.Column("relation", sa.Text()),
        sa.Column("address", sa.Text()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_guardians")),
        sa.UniqueConstraint("identification_number", name=op.f("uq_legal_guardians_identification_number")),
    )
    op.create_table(
        "students",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("middle_name", sa.Text()),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("second_last_name", sa.Text()),
        sa.Column("identification_number", sa.Text(), nullable=False),
        sa.Column("grade_id", sa.Text()),
        sa.Column("guardian_id", sa.Text(), nullable=False),
        sa.Column("enrollment_date", sa.Date(), nullable=False),
        sa.Column("academic_year", sa.Integer()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("aws_collection_id", sa.Text(), server_default="eduguard-school-default", nullable=False),
        sa.Column("metadata", postgresql.JSONB()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_students")),
        sa.UniqueConstraint("identification_number", name=op.f("uq_students_identification_number")),
        sa.ForeignKeyConstraint(["grade_id"], ["grades.id"], name=op.f("fk_students_grade_id")),
        sa.ForeignKeyConstraint(["guardian_id"], ["legal_guardians.id"], name=op.f("fk_students_guardian_id")),
        sa.CheckConstraint("status IN ('active', 'inactive', 'graduated')", name=op.f("ck_students_status")),
    )
    op.create_index(op.f("ix_students_grade_id"), "students", ["grade_id"])
    op.create_index(op.f("ix_students_guardian_id"), "students", ["guardian_id"])
    op.create_table(
        "student_faces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("student_id", sa.Text(), nullable=False),
        sa.Column("face_id", sa.Text(), nullable=False),
        sa.Column("photo_url", sa.Text()),
        sa.Column("indexed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("quality_score", sa.Double()),
        _created_at(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_student_faces")),
        sa.ForeignKeyConstraint(
            ["student_id"], ["students.id"], name=op.f("fk_student_faces_student_id"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("quality_score BETWEEN 0 AND 100", name=op.f("ck_student_faces_quality_score")),
    )
    op.create_index(op.f("ix_student_faces_student_id"), "student_faces", ["student_id"])


def downgrade() -> None:
    for table in ("student_faces", "students", "legal_guardians", "grades", "stages"):
        op.drop_table(table)
