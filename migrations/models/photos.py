"""The photo library, with one collection of faces for each user (revision 0004).

Ids are uuids. Deleted rows are marked and stay. A face's `rekognition_image_id` names its photo, so the faces of a
photo have the same one; `bounding_box` says which row is which face.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, false, func, text, true
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, CreatedAt, one_of

UuidKey = Annotated[uuid.UUID, mapped_column(primary_key=True, server_default=func.gen_random_uuid())]
No = Annotated[bool, mapped_column(server_default=false())]
Confidence = Annotated[Decimal, mapped_column(Numeric(5, 4))]
UpdatedAt = Annotated[datetime, mapped_column(server_default=func.now())]

LIVE = text("NOT deleted")

#: Fractions of the picture. A box may reach over its edge. A missing member, or a text, is refused.
BOX = (
    "coalesce(bounding_box @@ '$.Left >= -1 && $.Left <= 1 && $.Top >= -1 && $.Top <= 1 "
    "&& $.Width > 0 && $.Height > 0', false)"
)


class User(Base):
    """Who owns photos, and one collection of the faces on them."""

    __tablename__ = "users"

    id: Mapped[UuidKey]
    email: Mapped[str] = mapped_column(unique=True)
    full_name: Mapped[str | None]
    deleted: Mapped[No]
    created_at: Mapped[CreatedAt]


class Asset(Base):
    """A photo of a user; `storage_url` is an s3:// or https:// address or a path."""

    __tablename__ = "assets"
    __table_args__ = (
        Index(None, "user_id"),
        # for a backfill, which reads a user's photos that may be indexed in the order of their ids
        Index("ix_assets_approved", "user_id", "id", postgresql_where=text("approved AND NOT deleted")),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    storage_url: Mapped[str | None]
    file_name: Mapped[str]
    mime_type: Mapped[str]
    approved: Mapped[No]
    deleted: Mapped[No]
    face_detection_data: Mapped[dict[str, Any] | None]
    face_detection_provider: Mapped[str | None]
    face_detection_processed_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class FaceCollection(Base):
    """The collection of a user's faces, `savta-user-{user_id}`."""

    __tablename__ = "face_collections"
    __table_args__ = (
        CheckConstraint("face_count >= 0", name="face_count"),
        CheckConstraint(
            "aws_collection_id ~ '^[a-zA-Z0-9_.-]+$' AND length(aws_collection_id) <= 255", name="aws_collection_id"
        ),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), unique=True)
    aws_collection_id: Mapped[str] = mapped_column(unique=True)
    rekognition_arn: Mapped[str | None]
    face_count: Mapped[int] = mapped_column(server_default=text("0"))
    last_indexed_at: Mapped[datetime | None]
    deleted: Mapped[No]
    created_at: Mapped[CreatedAt]


class PersonGroup(Base):
    """A person on a user's photos; `avatar_face_id` is one of the person's faces."""

    __tablename__ = "person_groups"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    display_name: Mapped[str | None]
    # no foreign key: with one, tables would refer to each other in a circle and could not be filled in one pass
    avatar_face_id: Mapped[uuid.UUID | None]
    relationship: Mapped[str | None]
    is_primary_person: Mapped[No]
    deleted: Mapped[No]
    created_at: Mapped[CreatedAt]


class Face(Base):
    """A face on a photo, and Rekognition's id of it."""

    __tablename__ = "faces"
    __table_args__ = (
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        CheckConstraint(BOX, name="bounding_box"),
        CheckConstraint(
            "rekognition_image_id ~ '^[a-zA-Z0-9_.:-]+$' AND length(rekognition_image_id) <= 255",
            name="rekognition_image_id",
        ),
        Index(
            "uq_faces_user_id_rekognition_face_id",
            "user_id",
            "rekognition_face_id",
            unique=True,
            postgresql_where=LIVE,
        ),
        Index(None, "user_id"),
        Index(None, "asset_id"),
        # for a review, which reads the faces that wait for a decision
        Index(
            "ix_faces_needs_assignment",
            "user_id",
            postgresql_where=text("needs_assignment AND NOT skipped AND NOT deleted"),
        ),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    asset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("assets.id"))
    rekognition_face_id: Mapped[str]
    rekognition_image_id: Mapped[str | None]
    bounding_box: Mapped[dict[str, Any]]
    confidence: Mapped[Confidence]
    needs_assignment: Mapped[bool] = mapped_column(server_default=true())
    auto_assigned: Mapped[No]
    skipped: Mapped[No]
    deleted: Mapped[No]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class FacePersonLink(Base):
    """The person of a face, how sure that is (0 to 1), and who decided it."""

    __tablename__ = "face_person_links"
    __table_args__ = (
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        one_of("assigned_by", "ai", "user", "system"),
        Index("uq_face_person_links_face_id", "face_id", unique=True, postgresql_where=LIVE),
        Index(None, "face_id"),
        Index(None, "person_group_id"),
    )

    id: Mapped[UuidKey]
    face_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("faces.id"))
    person_group_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person_groups.id"))
    confidence: Mapped[Confidence]
    assigned_by: Mapped[str]
    assigned_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted: Mapped[No]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
