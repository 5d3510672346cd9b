"""Photo library: users, their photos, one collection of faces for each user, and the people on the photos.

Rows are marked as deleted and stay. What has to be unique is unique among the rows that are not deleted.

Revision ID: 0004
Revises: 0003
"""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("users", "assets", "face_collections", "person_groups", "faces", "face_person_links")
LIVE = sa.text("NOT deleted")
#: Fractions of the picture. A box may reach over its edge. A missing member, or a text, is refused.
BOX = (
    "coalesce(bounding_box @@ '$.Left >= -1 && $.Left <= 1 && $.Top >= -1 && $.Top <= 1 "
    "&& $.Width > 0 && $.Height > 0', false)"
)


def upgrade() -> None:
    _create_users_and_assets()
    _create_collections_and_people()
    _create_faces()
    _create_links()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _id(table: str) -> tuple[sa.Column[uuid.UUID], sa.PrimaryKeyConstraint]:
    column = sa.Column("id", sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False)
    return column, sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def _now(name: str = "created_at") -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def _flag(name: str, default: sa.ColumnElement[bool] | None = None) -> sa.Column[object]:
    return sa.Column(name, sa.Boolean(), server_default=sa.false() if default is None else default, nullable=False)


def _refers(table: str, column: str, other: str) -> tuple[sa.Column[uuid.UUID], sa.ForeignKeyConstraint]:
    key = sa.ForeignKeyConstraint([column], [f"{other}.id"], name=op.f(f"fk_{table}_{column}"))
    return sa.Column(column, sa.Uuid(), nullable=False), key


def _create_users_and_assets() -> None:
    op.create_table(
        "users",
        *_id("users"),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text()),
        _flag("deleted"),
        _now(),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "assets",
        *_id("assets"),
        *_refers("assets", "user_id", "users"),
        sa.Column("storage_url", sa.Text()),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        _flag("approved"),
        _flag("deleted"),
        sa.Column("face_detection_data", postgresql.JSONB()),
        sa.Column("face_detection_provider", sa.Text()),
        sa.Column("face_detection_processed_at", sa.DateTime(timezone=True)),
        _now(),
    )
    op.create_index(op.f("ix_assets_user_id"), "assets", ["user_id"])
    # for a backfill, which reads a user's photos that may be indexed in the order of their ids
    op.create_index(
        op.f("ix_assets_approved"), "assets", ["user_id", "id"], postgresql_where=sa.text("approved AND NOT deleted")
    )


def _create_collections_and_people() -> None:
    op.create_table(
        "face_collections",
        *_id("face_collections"),
        *_refers("face_collections", "user_id", "users"),
        sa.Column("aws_collection_id", sa.Text(), nullable=False),
        sa.Column("rekognition_arn", sa.Text()),
        sa.Column("face_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_indexed_at", sa.DateTime(timezone=True)),
        _flag("deleted"),
        _now(),
        # also the index of the foreign key on user_id
        sa.UniqueConstraint("user_id", name=op.f("uq_face_collections_user_id")),
        sa.UniqueConstraint("aws_collection_id", name=op.f("uq_face_collections_aws_collection_id")),
        sa.CheckConstraint("face_count >= 0", name=op.f("ck_face_collections_face_count")),
        sa.CheckConstraint(
            "aws_collection_id ~ '^[a-zA-Z0-9_.-]+$' AND length(aws_collection_id) <= 255",
            name=op.f("ck_face_collections_aws_collection_id"),
        ),
    )
    op.create_table(
        "person_groups",
        *_id("person_groups"),
        *_refers("person_groups", "user_id", "users"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text()),
        # no foreign key: with one, tables would refer to each other in a circle and could not be filled in one pass
        sa.Column("avatar_face_id", sa.Uuid()),
        sa.Column("relationship", sa.Text()),
        _flag("is_primary_person"),
        _flag("deleted"),
        _now(),
    )
    op.create_index(op.f("ix_person_groups_user_id"), "person_groups", ["user_id"])


def _create_faces() -> None:
    op.create_table(
        "faces",
        *_id("faces"),
        *_refers("faces", "user_id", "users"),
        *_refers("faces", "asset_id", "assets"),
        sa.Column("rekognition_face_id", sa.Text(), nullable=False),
        sa.Column("rekognition_image_id", sa.Text()),
        sa.Column("bounding_box", postgresql.JSONB(), nullable=False),
        sa.Column("confidence", sa.Numeric(5, 4), nullable=False),
        _flag("needs_assignment", sa.true()),
        _flag("auto_assigned"),
        _flag("skipped"),
        _flag("deleted"),
        _now(),
        _now("updated_at"),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_faces_confidence")),
        sa.CheckConstraint(BOX, name=op.f("ck_faces_bounding_box")),
        sa.CheckConstraint(
            "rekognition_image_id ~ '^[a-zA-Z0-9_.:-]+$' AND length(rekognition_image_id) <= 255",
            name=op.f("ck_faces_rekognition_image_id"),
        ),
    )
    op.create_index(
        op.f("uq_faces_user_id_rekognition_face_id"),
        "faces",
        ["user_id", "rekognition_face_id"],
        unique=True,
        postgresql_where=LIVE,
    )
    op.create_index(op.f("ix_faces_user_id"), "faces", ["user_id"])
    op.create_index(op.f("ix_faces_asset_id"), "faces", ["asset_id"])
    # for a review, which reads the faces that wait for a decision
    op.create_index(
        op.f("ix_faces_needs_assignment"),
        "faces",
        ["user_id"],
        postgresql_where=sa.text("needs_assignment AND NOT skipped AND NOT deleted"),
    )


def _create_links() -> None:
    op.create_table(
        "face_person_links",
        *_id("face_person_links"),
        *_refers("face_person_links", "face_id", "faces"),
        *_refers("face_person_links", "person_group_id", "person_groups"),
        sa.Column("confidence", sa.Numeric(5, 4), nullable=False),
        sa.Column("assigned_by", sa.Text(), nullable=False),
        _now("assigned_at"),
        _flag("deleted"),
        _now(),
        _now("updated_at"),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_face_person_links_confidence")),
        sa.CheckConstraint("assigned_by IN ('ai', 'user', 'system')", name=op.f("ck_face_person_links_assigned_by")),
    )
    op.create_index(
        op.f("uq_face_person_links_face_id"), "face_person_links", ["face_id"], unique=True, postgresql_where=LIVE
    )
    op.create_index(op.f("ix_face_person_links_face_id"), "face_person_links", ["face_id"])
    op.create_index(op.f("ix_face_person_links_person_group_id"), "face_person_links", ["person_group_id"])
