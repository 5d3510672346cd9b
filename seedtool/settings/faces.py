"""The settings of faces and photos: AWS, the collections, the photo store, and the tables that hold face ids."""

import re
from typing import Annotated, Literal

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.cache import CacheSettings
from seedtool.settings.setting import Fault, Setting, no_control

COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")  # source: Rekognition's service model

#: Fields of a binding that hold SQL or a value, not a name.
_NO_NAMES = frozenset({"where", "collection_query", "collection_default"})


def check_collection(text: str) -> Fault | None:
    """Tell why a text cannot be the id of a collection."""
    if not COLLECTION_ID.fullmatch(text):
        return Fault(f"{text!r} cannot be a collection id", "Use 1 to 255 letters, digits and _.-")
    return None


class FaceBinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which table holds face ids, in which of its columns, and in which collection the faces are.

    Each field's text says what it is. At most one of `collection`, `collection_column` and `collection_query` may be
    given; without any, the setting `collection` names the collection.

    Raises:
        SettingsError: several of the three are given, the collection cannot be one, or there is no key.
    """

    table: Annotated[str, msgspec.Meta(description="the table, optionally with its schema (`public.student_faces`)")]
    face_id: Annotated[
        str, msgspec.Meta(description="the column that holds Rekognition's FaceId, or a placeholder")
    ] = "face_id"
    external_image_id: Annotated[
        str, msgspec.Meta(description="the column that holds the ExternalImageId, which we choose")
    ] = "external_image_id"
    key: Annotated[tuple[str, ...], msgspec.Meta(description="the columns that tell the rows apart")] = ("id",)
    collection: Annotated[str | None, msgspec.Meta(description="the collection that holds the faces of all rows")] = (
        None
    )
    collection_column: Annotated[
        str | None,
        msgspec.Meta(
            description="the column that names each row's collection: one of the table (`aws_collection_id`), or of a "
            "table that a foreign key leads to (`students.aws_collection_id`); where it is NULL or empty, the setting "
            "`collection` names the collection"
        ),
    ] = None
    collection_default: Annotated[
        str | None,
        msgspec.Meta(
            description="the value of `collection_column` that stands for the setting `collection`, such as the "
            "column's default: AWS_REKOGNITION_COLLECTION then gives those rows another collection"
        ),
    ] = None
    collection_query: Annotated[
        str | None,
        msgspec.Meta(
            description="a SELECT of the key's columns and the collection's id; a row that it does not give is in no "
            "collection"
        ),
    ] = None
    where: Annotated[
        str | None,
        msgspec.Meta(description="a condition on the table's columns (`NOT deleted`): only these rows count"),
    ] = None
    box: Annotated[
        str | None,
        msgspec.Meta(
            description="the column (jsonb: Left, Top, Width, Height, as fractions of the picture) that tells several "
            "faces of one photo apart"
        ),
    ] = None

    def __post_init__(self) -> None:
        named = ("collection", "collection_column", "collection_query")
        given = [name for name in named if getattr(self, name) is not None]
        if len(given) > 1:
            raise SettingsError(
                f"setting faces: {self.table}: {' and '.join(given)} both name the collection of the faces",
                remedy="Keep the one that is right: a constant, a column or a query.",
            )
        fault = check_collection(self.collection) if self.collection is not None else None
        if fault:
            raise SettingsError(f"setting faces: {self.table}: collection {fault.message}", remedy=fault.remedy)
        for name in ("collection_column", "collection_query", "where", "box"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise SettingsError(f"setting faces: {self.table}: {name} is empty", remedy="Fill it or leave it out.")
        if self.collection_default is not None and self.collection_column is None:
            raise SettingsError(
                f"setting faces: {self.table}: collection_default without collection_column",
                remedy="Name the column whose value it is, or leave it out.",
            )
        if not self.key:
            raise SettingsError(
                f"setting faces: {self.table}: key names no column", remedy='Write key = ["id"]: rows are found by it.'
            )
        for name in self.__struct_fields__:
            value = () if name in _NO_NAMES else getattr(self, name) or ()
            for text in (value,) if isinstance(value, str) else value:
                fault = no_control(text)
                if fault:
                    raise SettingsError(f"setting faces: {name} {fault.message}", remedy=fault.remedy)

    @property
    def by_row(self) -> bool:
        """Whether each row says by itself in which collection its face is."""
        return self.collection_column is not None or self.collection_query is not None


def _check_photos_url(text: str) -> Fault | None:
    if text.startswith("s3://"):
        if not re.match(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/|$)", text):
            return Fault(f"{text!r} does not name a bucket", "Write s3://bucket/prefix.")
        return None
    if "://" in text and not text.startswith("file://"):
        return Fault(
            f"{text.split('://', maxsplit=1)[0]}:// is not a photo store",
            "Use s3://bucket/prefix or a folder's path.",
        )
    return None


def _check_endpoint(text: str) -> Fault | None:
    if not re.match(r"https?://[^/\s]+", text):
        return Fault(
            f"{text!r} is not an http(s) address", "Write https://<account>.r2.cloudflarestorage.com or the like."
        )
    return None


class FaceSettings(CacheSettings, frozen=True, kw_only=True):
    """AWS, the collections, the photo store and the face bindings."""

    aws: Annotated[
        Literal["embedded", "live"],
        Setting(
            "`live` talks to AWS, `embedded` to the local emulator; "
            "seedtool never changes from one to the other by itself",
            variables=("SEEDTOOL_AWS",),
        ),
    ] = "live"
    collection: Annotated[
        str | None,
        Setting(
            "the Rekognition collection that holds the faces",
            variables=("AWS_REKOGNITION_COLLECTION",),
            check=check_collection,
        ),
    ] = None
    region: Annotated[
        str | None,
        Setting(
            "the AWS region", variables=("AWS_REGION", "AWS_DEFAULT_REGION"), default="the region of your AWS profile"
        ),
    ] = None
    photos_url: Annotated[
        str | None,
        Setting(
            "where photos are kept: `s3://bucket/prefix` or a folder",
            variables=("PHOTOS_URL",),
            default='a folder of `home`, with `aws = "embedded"`',
            check=_check_photos_url,
        ),
    ] = None
    s3_endpoint_url: Annotated[
        str | None,
        Setting(
            "the address of an S3-compatible store: Cloudflare R2, MinIO",
            variables=("S3_ENDPOINT_URL",),
            default="AWS's own",
            check=_check_endpoint,
        ),
    ] = None
    owned_collections: Annotated[
        tuple[str, ...],
        Setting("collections in which seedtool may delete faces that it did not index in the same run"),
    ] = ()
    face_references: Annotated[
        tuple[str, ...],
        Setting("further columns that hold FaceIds, as `table.column`: `faces dedupe` keeps the faces they name"),
    ] = ()
    private_photo_hosts: Annotated[
        tuple[str, ...],
        Setting("hosts of photos that may resolve to private addresses, or be read over plain http"),
    ] = ()
    faces: Annotated[
        tuple[FaceBinding, ...],
        Setting(
            "the face bindings: which tables hold face ids, and in which columns",
            written="Write each as [[tool.seedtool.faces]] with table, face_id, ...",
        ),
    ] = ()
