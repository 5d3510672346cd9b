"""The settings of the photo library's tables, [tool.seedtool.backfill.users] and so on.

The defaults are the tables of the shipped migration 0004. An empty name (`""`) says that there is no such table or
column. What is not there is not read and not written.
"""

from typing import Annotated, ClassVar

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.setting import no_control

_OF_ROWS = "a condition on the table's columns: other rows count as if they were not there"
_DELETED = "the column that says that a row is deleted: boolean, or a time that is NULL until then"


class LibraryTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the photo library. Each field's text says what it is.

    Raises:
        SettingsError: a name is missing that there must be, or holds a control character.
    """

    #: The table's name in the settings, and the fields that must name something where the table does.
    name: ClassVar[str] = ""
    required: ClassVar[tuple[str, ...]] = ()

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = ""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            fault = no_control(value) if value and field != "where" else None
            if fault is not None:
                raise self.wrong(field, f"{field}: {fault.message}", fault.remedy)
            if not value and field in self.required and (self.table or field == "table"):
                raise self.wrong(field, f"{field} names nothing", f"Name it, or leave {field} out for the default.")
        where = getattr(self, "where", None)
        if where is not None and not where.strip():
            raise self.wrong("where", "where is empty", "Fill it or leave it out.")

    def wrong(self, key: str, fault: str, remedy: str) -> SettingsError:
        """Return the error that says what is wrong with a key of this table."""
        return SettingsError(
            f"setting backfill: {self.name}: {fault}",
            remedy=remedy,
            setting="backfill",
            table=self.table,
            key=f"{self.name}.{key}",
        )

    def given(self, field: str) -> bool:
        """Tell whether the settings name something else than the default, so that it must exist."""
        default = next(each.default for each in msgspec.structs.fields(type(self)) if each.name == field)
        return getattr(self, field) not in {default, ""}


class UsersTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The users. Each has a collection."""

    name: ClassVar[str] = "users"
    required: ClassVar[tuple[str, ...]] = ("table", "key")

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = "users"
    key: Annotated[str, msgspec.Meta(description="its key: uuid, an integer or a text")] = "id"
    created_at: Annotated[str, msgspec.Meta(description="the time by which users are ordered")] = "created_at"
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"
    where: Annotated[str | None, msgspec.Meta(description=_OF_ROWS)] = None


class AssetsTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The photos."""

    name: ClassVar[str] = "assets"
    required: ClassVar[tuple[str, ...]] = ("table", "key", "user", "storage_url")

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = "assets"
    key: Annotated[str, msgspec.Meta(description="its key, which is also the ExternalImageId of the faces")] = "id"
    user: Annotated[str, msgspec.Meta(description="the column that refers to the user")] = "user_id"
    storage_url: Annotated[str, msgspec.Meta(description="the column that says where the photo is")] = "storage_url"
    file_name: Annotated[str, msgspec.Meta(description="the name that reports show; without it, the key")] = "file_name"
    mime_type: Annotated[str, msgspec.Meta(description="the type (`image/...`); without it, every row is a photo")] = (
        "mime_type"
    )
    approved: Annotated[
        str, msgspec.Meta(description="the column (boolean) that says that the photo may be processed")
    ] = "approved"
    created_at: Annotated[str, msgspec.Meta(description="the time by which photos are ordered")] = "created_at"
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"
    data: Annotated[str, msgspec.Meta(description="the column (jsonb) that gets what became of each face")] = (
        "face_detection_data"
    )
    provider: Annotated[str, msgspec.Meta(description="the column that gets who found the faces")] = (
        "face_detection_provider"
    )
    processed_at: Annotated[
        str,
        msgspec.Meta(description="when the faces were found; a photo to which the application gave it is done"),
    ] = "face_detection_processed_at"
    where: Annotated[str | None, msgspec.Meta(description=_OF_ROWS)] = None


class CollectionsTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The collections of the users. Without this table, seedtool remembers them in a table of its own."""

    name: ClassVar[str] = "collections"
    required: ClassVar[tuple[str, ...]] = ("user", "collection")

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = "face_collections"
    user: Annotated[str, msgspec.Meta(description="the column that refers to the user")] = "user_id"
    collection: Annotated[str, msgspec.Meta(description="the column that holds the collection's id")] = (
        "aws_collection_id"
    )
    arn: Annotated[str, msgspec.Meta(description="the column that holds its ARN")] = "rekognition_arn"
    face_count: Annotated[str, msgspec.Meta(description="the column that counts its faces")] = "face_count"
    indexed_at: Annotated[str, msgspec.Meta(description="the time at which a face was indexed last")] = (
        "last_indexed_at"
    )
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"


class PersonsTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The persons that faces are linked to. Without this table, faces are indexed and linked to nobody."""

    name: ClassVar[str] = "persons"
    required: ClassVar[tuple[str, ...]] = ("key", "user", "person_name")

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = "person_groups"
    key: Annotated[str, msgspec.Meta(description="its key")] = "id"
    user: Annotated[str, msgspec.Meta(description="the column that refers to the user")] = "user_id"
    person_name: Annotated[str, msgspec.Meta(description="the column that holds the person's name")] = "name"
    display_name: Annotated[
        str, msgspec.Meta(description="the column that holds another name, which is shown in its place")
    ] = "display_name"
    avatar: Annotated[str, msgspec.Meta(description="the column that refers to a face of the person")] = (
        "avatar_face_id"
    )
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"


class FacesTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faces. The table may hold the links to persons, too."""

    name: ClassVar[str] = "faces"
    required: ClassVar[tuple[str, ...]] = ("table", "key", "asset", "face_id")

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema")] = "faces"
    key: Annotated[str, msgspec.Meta(description="its key")] = "id"
    user: Annotated[
        str, msgspec.Meta(description="the column that refers to the user; without it, the photo's user counts")
    ] = "user_id"
    asset: Annotated[str, msgspec.Meta(description="the column that refers to the photo")] = "asset_id"
    face_id: Annotated[
        str, msgspec.Meta(description="the column that holds Rekognition's FaceId, or a placeholder")
    ] = "rekognition_face_id"
    external_image_id: Annotated[str, msgspec.Meta(description="the column that holds the ExternalImageId")] = (
        "rekognition_image_id"
    )
    box: Annotated[
        str,
        msgspec.Meta(
            description="the column (jsonb: Left, Top, Width, Height, as fractions of the picture) that says where the "
            "face is; without it, seedtool remembers boxes in a table of its own"
        ),
    ] = "bounding_box"
    confidence: Annotated[str, msgspec.Meta(description="how sure it is that it is a face, 0 to 1")] = "confidence"
    waits: Annotated[
        str,
        msgspec.Meta(
            description="the column (boolean) that says that the face waits for a person; without it, a face "
            "without a person waits"
        ),
    ] = "needs_assignment"
    auto_assigned: Annotated[
        str, msgspec.Meta(description="the column (boolean) that says that the system linked it")
    ] = "auto_assigned"
    skipped: Annotated[
        str,
        msgspec.Meta(
            description="the column (boolean) that says that it needs no person; without it, seedtool remembers that "
            "in a table of its own"
        ),
    ] = "skipped"
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"
    updated_at: Annotated[str, msgspec.Meta(description="the time of the last change")] = "updated_at"
    person: Annotated[
        str,
        msgspec.Meta(description="the column that refers to the person, where there is no table of links"),
    ] = "person_id"
    similarity: Annotated[
        str, msgspec.Meta(description="how similar the link to the person is, 0 to 1, where there is no table of links")
    ] = "similarity"
    assigned_by: Annotated[
        str,
        msgspec.Meta(description="who made the link: `user`, `system` or `ai`, where there is no table of links"),
    ] = "assigned_by"


class LinksTable(LibraryTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The links of faces to persons."""

    name: ClassVar[str] = "links"
    required: ClassVar[tuple[str, ...]] = ("face", "person")

    table: Annotated[
        str,
        msgspec.Meta(description="the table, optionally with its schema; without it, the faces' own column counts"),
    ] = "face_person_links"
    face: Annotated[str, msgspec.Meta(description="the column that refers to the face")] = "face_id"
    person: Annotated[str, msgspec.Meta(description="the column that refers to the person")] = "person_group_id"
    confidence: Annotated[str, msgspec.Meta(description="how similar they are, 0 to 1")] = "confidence"
    assigned_by: Annotated[str, msgspec.Meta(description="who made the link: `user`, `system` or `ai`")] = "assigned_by"
    deleted: Annotated[str, msgspec.Meta(description=_DELETED)] = "deleted"
    updated_at: Annotated[str, msgspec.Meta(description="the time of the last change")] = "updated_at"
