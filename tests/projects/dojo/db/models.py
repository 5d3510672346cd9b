"""Students of a dojo, and the faces of their photos."""

import sqlalchemy as sa

metadata = sa.MetaData()

students = sa.Table(
    "students",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("belt", sa.Text, nullable=False, server_default="white"),
)

student_photos = sa.Table(
    "student_photos",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("student_id", sa.Text, sa.ForeignKey("students.id"), nullable=False),
    sa.Column("photo_url", sa.Text, nullable=False),
    sa.Column("face_id", sa.Text, nullable=False, unique=True),
    sa.Column("external_image_id", sa.Text, unique=True),
)
