"""The settings of faces and photos: AWS, the collections, the photo store, and the tables that hold face ids."""

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.cache import CacheSettings
from seedtool.settings.setting import Fault, Setting, no_control

COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")  # source: Rekognition's service model

#: What Rekognition takes for an ExternalImageId, 1 to 255 characters (source: the service model).
EXTERNAL_ID = re.compile(r"[a-zA-Z0-9_.\-:]{1,255}")

#: Fields of a binding that hold SQL or a value, not a name.
_NO_NAMES = frozenset({"where", "collection_query", "collection_default"})

#: Fields of a binding that say how a new photo is named after its person and its number, and their defaults.
_TEMPLATES = {
    "id_template": "{person}-photo-{n}",
    "photo_template": "students/{person}/photo-{n}.jpg",
    "key_template": "face-{person}-{n}",
}

#: The columns that name a person, where a binding says nothing: the first of these of which the table has any.
_USUAL_LABELS = (("first_name", "middle_name", "last_name", "second_last_name"), ("full_name",), ("name",))


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

    person: Annotated[
        str, msgspec.Meta(description="the column that says whose face it is; often a foreign key to a table of people")
    ] = "student_id"
    photo: Annotated[
        str,
        msgspec.Meta(
            description="the column that says where the photo is: a key of the photo store, or an address "
            "(`s3://bucket/key`, `https://...`)"
        ),
    ] = "photo_url"
    label: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="the columns of the table of people that make up a person's name, which `recognize` shows; "
            "without it, the usual names of such columns are tried"
        ),
    ] = ()
    indexed_at: Annotated[
        str, msgspec.Meta(description="the column (timestamptz) that says when the photo was indexed; it may be absent")
    ] = "indexed_at"
    quality: Annotated[
        str,
        msgspec.Meta(description="the column that holds the quality of the face, 0 to 100; it may be absent"),
    ] = "quality_score"
    id_template: Annotated[
        str, msgspec.Meta(description="the ExternalImageId of a person's n-th photo, where `enroll` chooses it")
    ] = _TEMPLATES["id_template"]
    photo_template: Annotated[
        str, msgspec.Meta(description="the key in the photo store under which `enroll` keeps a person's n-th photo")
    ] = _TEMPLATES["photo_template"]
    key_template: Annotated[
        str,
        msgspec.Meta(
            description="the key of the row that `enroll` writes for a person's n-th photo, where `key` is one column "
            "of type text"
        ),
    ] = _TEMPLATES["key_template"]

    def __post_init__(self) -> None:
        named = ("collection", "collection_column", "collection_query")
        given = [name for name in named if getattr(self, name) is not None]
        if len(given) > 1:
            raise self._wrong(
                given[0],
                f"{' and '.join(given)} both name the collection of the faces",
                "Keep the one that is right: a constant, a column or a query.",
            )
        fault = check_collection(self.collection) if self.collection is not None else None
        if fault:
            raise self._wrong("collection", f"collection: {fault.message}", fault.remedy)
        for name in ("collection_column", "collection_query", "where", "box"):
            if getattr(self, name) is not None and not getattr(self, name).strip():
                raise self._wrong(name, f"{name} is empty", "Fill it or leave it out.")
        if self.collection_default is not None and self.collection_column is None:
            raise self._wrong(
                "collection_default",
                "collection_default without collection_column",
                "Name the column whose value it is, or leave it out.",
            )
        if not self.key:
            raise self._wrong("key", "key names no column", 'Write key = ["id"]: rows are found by it.')
        for name in _TEMPLATES:
            self._check_template(name, getattr(self, name))
        self._check_names()

    def _wrong(self, key: str, fault: str, remedy: str) -> SettingsError:
        return SettingsError(
            f"setting faces: {self.table}: {fault}", remedy=remedy, setting="faces", table=self.table, key=key
        )

    def _check_names(self) -> None:
        for name in self.__struct_fields__:
            value = () if name in _NO_NAMES else getattr(self, name) or ()
            for text in (value,) if isinstance(value, str) else value:
                fault = no_control(text)
                if fault:
                    raise SettingsError(
                        f"setting faces: {name}: {fault.message}", remedy=fault.remedy, setting="faces", key=name
                    )

    def _check_template(self, name: str, template: str) -> None:
        bare = template.replace("{person}", "p", 1).replace("{n}", "1", 1)
        if "{person}" not in template or "{n}" not in template or "{" in bare or "}" in bare:
            raise self._wrong(
                name,
                f"{name} {template!r} does not hold {{person}} and {{n}} once each",
                "{person} stands for the key of the person, and {n} for the number of the photo: "
                f'{name} = "{_TEMPLATES[name]}".',
            )
        if name == "id_template" and not EXTERNAL_ID.fullmatch(bare):
            raise self._wrong(
                name,
                f"{name} {template!r} cannot make an ExternalImageId",
                "Use letters, digits and _.-: beside {person} and {n}.",
            )
        if name == "id_template" and re.search(r"\{person\}\{n\}|\{n\}\{person\}|\d\{n\}|\{n\}\d", template):
            raise self._wrong(
                name,
                f"{name} {template!r} does not separate the number from other text",
                "Put another character than a digit between {person} and {n}, as in {person}-photo-{n}.",
            )

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The sets of columns that may name a person: the first of which the table of people has any counts."""
        return (self.label,) if self.label else _USUAL_LABELS

    @property
    def by_row(self) -> bool:
        """Whether each row says by itself in which collection its face is."""
        return self.collection_column is not None or self.collection_query is not None


def _check_endpoint(text: str) -> Fault | None:
    if not re.match(r"https?://[^/\s]+", text):
        return Fault(
            "the value is not an http(s) address", "Write https://<account>.r2.cloudflarestorage.com or the like."
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
    emulator_album: Annotated[
        Path | None,
        Setting(
            "a folder of labelled pictures that the local emulator learns, so that copies without metadata keep names",
            variables=("SEEDTOOL_EMULATOR_ALBUM",),
            default="none",
        ),
    ] = None
    emulator_vision: Annotated[
        Literal["dlib"] | None,
        Setting(
            "`dlib` finds and compares the faces of real people in pictures without names, for the local emulator; "
            "it needs the extra `vision`",
            variables=("SEEDTOOL_EMULATOR_VISION",),
            default="none: such faces are known by their pixels",
        ),
    ] = None
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
