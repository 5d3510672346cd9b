"""Settings: built once, frozen, passed explicitly. A flag beats the environment beats `.env` beats pyproject.toml."""

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from seedtool.errors import SettingsError

COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")  # source: Rekognition's service model


class FaceBinding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which table holds face ids, in which of its columns, and in which collection the faces are.

    At most one of the three `collection...` may be given; without any, the setting `collection` says it.

    Args:
        table: the table, optionally with its schema (`public.student_faces`).
        face_id: the column that holds Rekognition's FaceId, or a placeholder.
        external_image_id: the column that holds the id we chose.
        key: the columns that tell rows apart.
        collection: the collection that all these faces are in.
        collection_column: the column that names each row's collection: one of the table (`aws_collection_id`), or of a
            table that a foreign key leads to (`students.aws_collection_id`). Where it is NULL or empty, the setting
            `collection` says it.
        collection_default: the value of that column which stands for the setting `collection`, such as the column's
            default: AWS_REKOGNITION_COLLECTION then leads those rows elsewhere.
        collection_query: a SELECT that gives the key's columns and then the collection's id. A row that it does not
            give is in no collection.
        where: which rows count, as a condition on the table's columns (`NOT deleted`).
        box: the column (jsonb: Left, Top, Width, Height, in fractions) that tells several faces of one photo apart.

    Raises:
        SettingsError: several of the three are given, the collection cannot be one, or there is no key.
    """

    table: str
    face_id: str = "face_id"
    external_image_id: str = "external_image_id"
    key: tuple[str, ...] = ("id",)
    collection: str | None = None
    collection_column: str | None = None
    collection_default: str | None = None
    collection_query: str | None = None
    where: str | None = None
    box: str | None = None

    def __post_init__(self) -> None:
        named = ("collection", "collection_column", "collection_query")
        given = [name for name in named if getattr(self, name) is not None]
        if len(given) > 1:
            raise SettingsError(
                f"setting faces: {self.table}: {' and '.join(given)} say twice in which collection the faces are",
                remedy="Keep the one that is right: a constant, a column or a query.",
            )
        fault = _check_collection(self.collection) if self.collection is not None else None
        if fault:
            raise SettingsError(f"setting faces: {self.table}: collection {fault[0]}", remedy=fault[1])
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

    @property
    def by_row(self) -> bool:
        """Whether each row says by itself in which collection its face is."""
        return self.collection_column is not None or self.collection_query is not None


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the backfill decides about faces, and what AWS takes for it.

    Args:
        assign: similarity (0 to 100) from which a face is linked to the person of the face that it is like.
        review: similarity from which a likeness is suggested to the user; what is below is not looked at.
        smallest_face: share of the picture's width and height; a face below it both ways is dropped.
        visibility: seconds until a face that was indexed can be found by a search (AWS has been seen to take up to 2).
        collection_prefix: a user's collection is called this and then the user's id.
        prices: dollars a call by operation; an operation that is not named is free (source: AWS's price list, the
            first million calls a month in us-east-1).
        prices_of: the day on which the prices were read.

    Raises:
        SettingsError: a number is outside its range, or the prefix cannot begin a collection's id.
    """

    assign: float = 95.0
    review: float = 80.0
    smallest_face: float = 0.03
    visibility: float = 2.0
    collection_prefix: str = "savta-user-"
    prices: dict[str, float] = msgspec.field(default_factory=lambda: {"IndexFaces": 0.001, "SearchFaces": 0.001})
    prices_of: str = "2026-11-20"

    def __post_init__(self) -> None:
        if not 0 <= self.review <= self.assign <= 100:
            raise SettingsError(
                f"setting backfill: review {self.review:g} and assign {self.assign:g} are no thresholds",
                remedy="They are similarities, 0 to 100, and review is not above assign: review = 80, assign = 95.",
            )
        if not 0 <= self.smallest_face < 1:
            raise SettingsError(
                f"setting backfill: smallest_face {self.smallest_face:g} is no share of a picture",
                remedy="Write 0.03 for 3 %, or 0 to keep every face.",
            )
        if not 0 <= self.visibility <= 60:
            raise SettingsError(
                f"setting backfill: visibility {self.visibility:g} is not 0 to 60 seconds", remedy="Write 2."
            )
        # a user's id is a uuid of 36 characters
        if not COLLECTION_ID.fullmatch(self.collection_prefix + "0" * 36):
            raise SettingsError(
                f"setting backfill: collection_prefix {self.collection_prefix!r} cannot begin a collection's id",
                remedy="Use letters, digits and _.- and leave 36 of 255 characters for the user's id.",
            )
        wrong = [name for name, price in self.prices.items() if not 0 <= price < 1]
        if wrong:
            raise SettingsError(
                f"setting backfill: the price of {', '.join(sorted(wrong))} is not 0 to 1 dollar a call",
                remedy="Write prices = {IndexFaces = 0.001, SearchFaces = 0.001}: AWS's price for 1,000, by 1,000.",
            )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, with its default. `origins` tells where each value came from."""

    root: Path
    database_url: str | None = None
    database: str = "app"
    maintenance_database: str = "postgres"
    aws: Literal["embedded", "live"] = "live"
    collection: str | None = None
    region: str | None = None
    photos_url: str | None = None
    s3_endpoint_url: str | None = None
    home: Path
    seeds: Path
    alembic_ini: Path
    alembic_x: tuple[str, ...] = ()
    fingerprint_paths: tuple[str, ...] = ()
    spares: int = 1
    spare_max_gb: float = 5
    cache_templates: int = 10
    cache_gb: float = 5
    owned_collections: tuple[str, ...] = ()
    face_references: tuple[str, ...] = ()
    private_photo_hosts: tuple[str, ...] = ()
    faces: tuple[FaceBinding, ...] = ()
    backfill: Backfill = Backfill()
    backfill_token: str | None = None
    aws_variables: dict[str, str] = {}
    origins: dict[str, str] = {}

    @property
    def state_dir(self) -> Path:
        """The folder of this project's server, emulator and photos: outside the working tree."""
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:10]
        return self.home / f"{_slug(self.root.name)}-{digest}"

    @property
    def alembic_folder(self) -> Path:
        """The folder in which `alembic` would be called: alembic.ini's, or the project's when it lies by env.py."""
        folder = self.alembic_ini.parent
        return folder if self.alembic_ini.is_file() and not (folder / "env.py").is_file() else self.root

    def shown(self, path: Path) -> str:
        """Return a path as messages show it: from the project's folder, when it lies there."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


#: key → (environment variable, what it is for). One row a setting; `seedtool config` and the README show it.
KEYS: dict[str, tuple[str | None, str]] = {
    "database_url": ("DATABASE_URL", "the external server's database; without it the embedded server is used"),
    "database": ("SEEDTOOL_DATABASE", "name of the database on the embedded server"),
    "maintenance_database": (
        "SEEDTOOL_MAINTENANCE_DATABASE",
        "where we stand while the target is replaced; the same for all users of a server",
    ),
    "aws": ("SEEDTOOL_AWS", "`live` talks to AWS, `embedded` to the local emulator"),
    "collection": ("AWS_REKOGNITION_COLLECTION", "the Rekognition collection of the faces"),
    "region": ("AWS_REGION", "the AWS region; also AWS_DEFAULT_REGION"),
    "photos_url": ("PHOTOS_URL", "where photos are kept: `s3://bucket/prefix` or a folder"),
    "s3_endpoint_url": ("S3_ENDPOINT_URL", "an S3-compatible endpoint: Cloudflare R2, MinIO"),
    "home": ("SEEDTOOL_HOME", "folder of the embedded server's, the emulator's and the photos' state"),
    "seeds": ("SEEDTOOL_SEEDS", "folder of profiles.toml and the seed sets"),
    "alembic_ini": ("SEEDTOOL_ALEMBIC_INI", "Alembic's configuration file"),
    "alembic_x": (None, "arguments handed to env.py, as `alembic -x` does"),
    "fingerprint_paths": (None, "globs of further files that shape the schema, such as models outside migrations/"),
    "spares": (
        "SEEDTOOL_SPARES",
        "how many clones a target keeps ready for the next reset; 0 for none, as with CI=true",
    ),
    "spare_max_gb": ("SEEDTOOL_SPARE_MAX_GB", "the largest template of which a spare is made, in GB"),
    "cache_templates": ("SEEDTOOL_CACHE_TEMPLATES", "how many templates are kept; those unused for longest go first"),
    "cache_gb": ("SEEDTOOL_CACHE_GB", "how much room templates may take, in GB"),
    "owned_collections": (None, "collections in which seedtool may delete faces it did not make in the same run"),
    "face_references": (None, "further columns that hold FaceIds, as table.column: dedupe keeps the faces they name"),
    "private_photo_hosts": (None, "hosts of photos that may lead to private addresses, or be reached by plain http"),
    "faces": (None, "face bindings: table, face_id, external_image_id, key, collection"),
    "backfill": (None, "thresholds, smallest face, prefix of collections and prices of the backfill"),
    "backfill_token": (
        "SEEDTOOL_BACKFILL_TOKEN",
        "what `backfill --endpoint` shows to the application; in the environment or .env alone",
    ),
}

#: Settings that nobody is shown, and that do not belong into a file under version control.
SECRETS = frozenset({"backfill_token"})

#: key → its type, and how it is written
_TABLES: dict[str, tuple[Any, str]] = {
    "faces": (tuple[FaceBinding, ...], "Write each as [[tool.seedtool.faces]] with table, face_id, ..."),
    "backfill": (
        Backfill,
        f"Write it as [tool.seedtool.backfill]; its keys are {', '.join(Backfill.__struct_fields__)}.",
    ),
}
_LISTS = frozenset({"alembic_x", "face_references", "fingerprint_paths", "owned_collections", "private_photo_hosts"})
_AMOUNT = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_COUNT = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_NUMBERS: dict[str, object] = {
    "spares": _COUNT,
    "spare_max_gb": _AMOUNT,
    "cache_templates": _COUNT,
    "cache_gb": _AMOUNT,
}
_PATHS = frozenset({"home", "seeds", "alembic_ini"})


def load(
    start: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Build the settings of the project that `start` lies in.

    Args:
        start: a folder of the project; the working folder when None (see `find_root`).
        environ: the environment; `os.environ` when None. An empty value counts as not set.
        flags: values given on the command line, by key; None values are ignored.

    Raises:
        SettingsError: a value is wrong; the message names the key, the fault and where it came from.
    """
    environ = os.environ if environ is None else environ
    root = find_root((start or Path.cwd()).resolve())
    dotenv = _read_dotenv(root / ".env")
    project = _read_pyproject(root / "pyproject.toml")
    values: dict[str, object] = {
        "home": _default_home(environ),
        "seeds": root / "seeds",
        "alembic_ini": root / "alembic.ini",
        "database": _slug(project.name or root.name).replace("-", "_")[:63] or "app",
    }
    origins = dict.fromkeys(KEYS, "default")
    for key, (variable, _) in KEYS.items():
        variables = [variable] if variable else []
        if key == "region":
            variables.append("AWS_DEFAULT_REGION")
        for value, origin in _candidates(key, variables, flags or {}, environ, dotenv, project):
            values[key] = _check(key, value, origin, root)
            origins[key] = origin
            break
    aws_variables = {name: value for name, value in dotenv.items() if name.startswith("AWS_") and name not in environ}
    return Settings(root=root, aws_variables=aws_variables, origins=origins, **cast("dict[str, Any]", values))


def find_root(start: Path) -> Path:
    """Return the project's folder: the nearest upwards that says [tool.seedtool], else that is a project at all.

    A folder is a project when it holds a pyproject.toml or an alembic.ini; without any it is `start` itself.
    """
    folders = (start, *start.parents)
    for folder in folders:
        if _says_seedtool(folder / "pyproject.toml"):
            return folder
    for folder in folders:
        if (folder / "pyproject.toml").is_file() or (folder / "alembic.ini").is_file():
            return folder
    return start


def _says_seedtool(path: Path) -> bool:
    """Tell whether a pyproject.toml has our table, even one that cannot be parsed: its fault is told later."""
    try:
        return re.search(rb"^\s*\[+\s*tool\s*\.\s*seedtool\b", path.read_bytes(), flags=re.MULTILINE) is not None
    except OSError:
        return False


class _Project(msgspec.Struct, frozen=True):
    """What pyproject.toml says: the project's name and [tool.seedtool]."""

    name: str | None = None
    table: dict[str, object] = {}


def _read_pyproject(path: Path) -> _Project:
    if not path.is_file():
        return _Project()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", remedy="Mend the file.") from error
    table = document.get("tool", {}).get("seedtool", {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: tool.seedtool is not a table", remedy="Write it as [tool.seedtool].")
    for key in table:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(KEYS)}."
            raise SettingsError(f"unknown setting {key} ({path.name}, [tool.seedtool])", remedy=hint)
        if key in SECRETS:
            raise SettingsError(
                f"setting {key} is a secret, and {path.name} is under version control",
                remedy=f"Put {KEYS[key][0]} into the environment or .env.",
            )
    name = document.get("project", {}).get("name")
    return _Project(name=name if isinstance(name, str) else None, table=table)


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", remedy="Save it as UTF-8 text.") from error
    return {name: value for name, value in found.items() if value}


def _candidates(
    key: str,
    variables: list[str],
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    dotenv: Mapping[str, str],
    project: _Project,
) -> list[tuple[object, str]]:
    """Return the values given for a key, the strongest first, each with where it came from."""
    found: list[tuple[object, str]] = []
    if flags.get(key) is not None:
        found.append((flags[key], "command line"))
    found += [(environ[name], f"environment variable {name}") for name in variables if environ.get(name)]
    found += [(dotenv[name], f"{name} in .env") for name in variables if dotenv.get(name)]
    if key == "spares" and environ.get("CI", "").lower() in {"true", "1"}:
        found.append((0, "environment variable CI"))  # nobody comes back to use them
    if key in project.table:
        found.append((project.table[key], "pyproject.toml, [tool.seedtool]"))
    return found


def _check(key: str, value: object, origin: str, root: Path) -> object:
    """Return the value in its final type, or raise an error that names key, fault and origin."""

    def wrong(fault: str, remedy: str) -> SettingsError:
        return SettingsError(f"setting {key}: {fault} (from {origin})", remedy=remedy)

    if key in _NUMBERS:
        try:
            return msgspec.convert(value, _NUMBERS[key], strict=False)  # a variable's comes as text
        except msgspec.ValidationError as error:
            raise wrong(f"is {value!r}: {str(error)[0].lower()}{str(error)[1:]}", f"Write {key} = 1.") from error
    if key in _TABLES:
        return _convert(value, *_TABLES[key], wrong)
    if key in _LISTS:
        if not _is_list_of_texts(value):
            raise wrong("is not a list of texts", f'Write {key} = ["...", "..."].')
        return tuple(cast("list[str]", value))
    if not isinstance(value, str | Path):
        raise wrong(f"is {type(value).__name__}, not text", f'Write {key} = "...".')
    if key in _PATHS:
        return root / Path(value).expanduser()
    text = str(value)
    check = _CHECKS.get(key)
    fault = check(text) if check else None
    if fault:
        raise wrong(*fault)
    return text


def _convert(value: object, kind: Any, remedy: str, wrong: Callable[[str, str], SettingsError]) -> object:  # noqa: ANN401
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise wrong(str(error), remedy) from error


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _check_database_url(text: str) -> tuple[str, str] | None:
    scheme = re.match(r"([a-zA-Z][\w+.\-]*)://", text)
    if scheme is None:
        if "=" in text:
            return None  # libpq's key=value form
        return "is not a database URL", "Write postgresql://user:password@host:5432/database."
    if scheme[1].split("+")[0] not in {"postgres", "postgresql"}:
        return f"names a {scheme[1]} database", "seedtool works on PostgreSQL: postgresql://user@host:5432/database."
    return None


def _check_aws(text: str) -> tuple[str, str] | None:
    if text not in {"embedded", "live"}:
        return f"is {text!r}", "Use embedded (the local emulator) or live (AWS)."
    return None


def _check_collection(text: str) -> tuple[str, str] | None:
    if not COLLECTION_ID.fullmatch(text):
        return f"{text!r} cannot be a collection id", "Use 1 to 255 letters, digits and _.-"
    return None


def _check_photos_url(text: str) -> tuple[str, str] | None:
    if text.startswith("s3://"):
        if not re.match(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/|$)", text):
            return f"{text!r} does not name a bucket", "Write s3://bucket/prefix."
        return None
    if "://" in text and not text.startswith("file://"):
        return (
            f"{text.split('://', maxsplit=1)[0]}:// is not a photo store",
            "Use s3://bucket/prefix or a folder's path.",
        )
    return None


def _check_endpoint(text: str) -> tuple[str, str] | None:
    if not re.match(r"https?://[^/\s]+", text):
        return f"{text!r} is not an http(s) address", "Write https://<account>.r2.cloudflarestorage.com or the like."
    return None


def _check_token(text: str) -> tuple[str, str] | None:
    if not re.fullmatch(r"[!-~]+", text):
        return "is no token: it holds a space or another character that no header may hold", "Copy it once more."
    return None


def _check_name(text: str) -> tuple[str, str] | None:
    if not text or len(text.encode()) > 63 or "\0" in text:
        return f"{text!r} cannot be a database name", "Use 1 to 63 bytes."
    return None


_CHECKS: dict[str, Callable[[str], tuple[str, str] | None]] = {
    "database_url": _check_database_url,
    "database": _check_name,
    "maintenance_database": _check_name,
    "aws": _check_aws,
    "collection": _check_collection,
    "photos_url": _check_photos_url,
    "s3_endpoint_url": _check_endpoint,
    "backfill_token": _check_token,
}


def _default_home(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/seedtool")
    state = environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "seedtool"
    except RuntimeError:  # a user without HOME and without an entry in /etc/passwd, as in some containers
        raise SettingsError("setting home: this user has no home folder", remedy="Set SEEDTOOL_HOME.") from None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def redacted(value: object) -> object:
    """Return a setting's value as it may be shown: without the password of a database or other URL."""
    if not isinstance(value, str):
        return value
    hidden = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", value, flags=re.DOTALL)
    keyword, quoted, plain = (
        r"(\w*(?:password|secret|token)\w*)\s*=\s*",
        r"(?:'(?:[^'\\]|\\.)*'?)+",
        r"(?:\\.|[^\s&\\])+",
    )
    return re.sub(f"(?i){keyword}(?:{quoted}|{plain})", r"\1=***", hidden)
