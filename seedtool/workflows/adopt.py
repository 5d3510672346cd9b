"""Adoption: settings and a first seed file for an Alembic project that does not know seedtool yet.

Nothing that is there is overwritten.
"""

import json
import re
import shlex
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from seedtool.errors import MigrationError, Protected, SeedtoolError
from seedtool.files.writing import write_whole
from seedtool.postgres import server
from seedtool.postgres.catalog import Catalog, Column, Table, read_catalog
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.schema.migrations import LEAVE_OUR_SCHEMA, compares_all_schemas, heads
from seedtool.schema.schema_files import project_files
from seedtool.settings import FaceBinding, Settings
from seedtool.workflows.project import project_settings
from seedtool.workflows.reset import migrate

_SETTINGS = """
[tool.seedtool]
# `embedded` is a PostgreSQL and a Rekognition on this machine; DATABASE_URL and aws = "live" name the real ones.
aws = "embedded"
"""

_FACES = """
[[tool.seedtool.faces]]
table = "{table}"
{keys}"""

_COMMAND = """\
build_command = "{settings.build_command}"
fingerprint_paths = {paths}
"""

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt")

#: What keeps the state of migrations: no application's table.
_OF_MIGRATIONS = {"alembic_version", "django_migrations"}

#: Names that columns have in tables of faces: what Rekognition calls them, and what projects make of it. photoKey is
#: compared as photo_key.
_FACE_IDS = re.compile(r"(aws_|rekognition_)?face_?(id|uuid)")
_EXTERNAL_IDS = re.compile(r"(aws_|rekognition_)?external_?(image_?)?id|rekognition_image_id")
_PHOTOS = re.compile(r"(photo|image|picture|portrait|avatar|storage|object|file|s3)_?(url|key|path|uri|file)")
_LABELS = re.compile(r"((full|display)_?)?name")
_NAMES = re.compile(r"(first|given|last|family|middle)_?name|surname")

_PROFILES = """\
# A profile is a list of seed sets, folders beside this file. `seedtool seed --list` shows them.

[local]
description = "The base data"
sets = ["local"]
"""

_FULL = """
[full]
description = "local, then every face linked again from Rekognition"
sets = ["local"]
sync_faces = true
"""


class AdoptReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done.

    Args:
        written: the files that were written.
        kept: the files that were there already.
        tables: the tables that seed files can be written for.
        face_tables: those of them that hold faces.
        advice: what the project has to change itself.
        failed: why the tables could not be looked at; the files were written without them. Empty where they were.
        cure: what to do about that.
        reset: the command that seeds the database, with the consent that it needs.
    """

    written: list[str]
    kept: list[str]
    tables: list[str]
    face_tables: list[str]
    advice: list[str]
    failed: str = ""
    cure: str = ""
    reset: str = "seedtool db-reset --seed local"


def adopt(*, settings: Settings | None = None) -> AdoptReport:
    """Write settings, profiles and a first seed file.

    The project's schema is looked at in its target; on the embedded server that is made and migrated first.

    Args:
        settings: the project's, which name alembic.ini and the target; those of the working folder's when None.

    Where the migrations do not run, or the database cannot be reached, the files that need no table are written all the
    same, and the report says what failed.

    Raises:
        MigrationError: nothing says where the migrations are; nothing was written.
        SettingsError: pyproject.toml cannot be read.

    Example:
        >>> seedtool.adopt().face_tables
        ['faces', 'student_faces']
    """
    settings = project_settings(settings)
    try:
        next(project_files(settings))
    except MigrationError:
        if settings.alembic_ini.is_file() or not (settings.root / "manage.py").is_file():
            raise
        settings = _with_django(settings)
    failed: SeedtoolError | None = None
    tables: list[Table] = []
    people: dict[int, Table] = {}
    try:
        catalog = _read(settings)
        tables = _application_tables(catalog)
        people = catalog.tables
    except SeedtoolError as error:
        failed = error
    bound = {str(table): keys for table in tables if (keys := _binding(table, people)) is not None}
    report = AdoptReport(
        written=[],
        kept=[],
        tables=[str(table) for table in tables],
        face_tables=list(bound),
        advice=[],
        failed=failed.message if failed else "",
        cure=failed.remedy if failed else "",
        reset="seedtool db-reset --seed local" + (_consent(settings) if failed is None else ""),
    )
    env = compares_all_schemas(settings)
    if env is not None:
        report.advice.append(
            f"{settings.shown(env)} has include_schemas, so autogenerate would drop the schema seedtool."
            f" {LEAVE_OUR_SCHEMA}."
        )
    _write_settings(settings, bound, report)
    _write(settings.seeds / "profiles.toml", _PROFILES + _FULL * bool(bound), settings, report)
    first = next((table for table in tables if not table.foreign_keys and table.primary_key), None)
    if first is not None:
        columns = [
            column.name
            for column in first.columns.values()
            if column.name in first.primary_key or _is_worth_a_cell(column)
        ]
        path = settings.seeds / "local" / f"{first}.csv"
        if any(path.parent.glob("*.*")):
            report.kept.append(settings.shown(path.parent))
        else:
            _write(path, ",".join(columns) + "\n", settings, report)
    return report


def _with_django(settings: Settings) -> Settings:
    """Return the settings of a Django project, whose `migrate` builds the schema."""
    migrations = [path for path in settings.root.glob("**/migrations/*.py") if ".venv" not in path.parts]
    depths = sorted({len(path.relative_to(settings.root).parts) - 2 for path in migrations})
    patterns = ["*/" * depth + "migrations/**" for depth in depths]
    # Django's own applications have migrations, too; these files say which version of them
    patterns += [name for name in _LOCKS if (settings.root / name).is_file()]
    return msgspec.structs.replace(
        settings, build_command="python manage.py migrate", fingerprint_paths=tuple(patterns)
    )


def _read(settings: Settings) -> Catalog:
    """Return the catalog of the target, which is migrated first where it is the embedded server's."""
    if settings.build_command is None:
        heads(settings)
    target = server.find(settings)
    if target.embedded is not None:
        migrate(settings=settings, target=target)
    with server.connect(target) as connection:
        return read_catalog(connection)


def _consent(settings: Settings) -> str:
    """Return the option by which a reset is agreed to, where one is needed."""
    target = server.find(settings)
    with open_cluster(target) as cluster:
        try:
            needed = guard.consent_to_replace(cluster, cluster.database(target.name))
        except Protected:
            return ""
    if needed is guard.Consent.NAME:
        return f" --confirm {shlex.quote(target.name)}"
    return " --yes" if needed is guard.Consent.YES else ""


def _binding(table: Table, tables: Mapping[int, Table]) -> dict[str, object] | None:
    """Return how a table that holds faces is bound: the keys that differ from their defaults; None where none are held.

    Args:
        table: the table.
        tables: all tables, by their oids.
    """
    face, external = _first(table, _FACE_IDS), _first(table, _EXTERNAL_IDS)
    if face is None or external is None:
        return None
    found: dict[str, object] = {"face_id": face, "external_image_id": external}
    if table.primary_key and table.primary_key != ("id",):
        found["key"] = list(table.primary_key)
    if "student_id" not in table.columns and (person := _person(table, tables, {face, external})):
        found["person"], label = person
        if label and label not in (["name"], ["full_name"]):
            found["label"] = label
    if (photo := _first(table, _PHOTOS)) is not None:
        found["photo"] = photo
    usual = {field: getattr(FaceBinding(table="t"), field) for field in found}
    return {field: value for field, value in found.items() if value != usual[field]}


def _person(table: Table, tables: Mapping[int, Table], known: AbstractSet[str]) -> tuple[str, list[str]] | None:
    """Return the column that says whose face it is, and the columns that make up that person's name.

    It is the only foreign key, or the only one that leads to a table of names; without any, the only other id.
    """
    parents = {key.columns[0]: tables.get(key.references) for key in table.foreign_keys if len(key.columns) == 1}
    labels = {column: _label(parent) for column, parent in parents.items() if parent is not None}
    for candidates in (labels, {column: label for column, label in labels.items() if label}):
        if len(candidates) == 1:
            return next(iter(candidates.items()))
    ids = [name for name in table.columns if _snake(name).endswith("_id") and name not in {*known, *table.primary_key}]
    return (ids[0], []) if not parents and len(ids) == 1 else None


def _label(people: Table) -> list[str]:
    whole = _first(people, _LABELS)
    parts = [
        column.name for column in people.columns.values() if column.is_text and _NAMES.fullmatch(_snake(column.name))
    ]
    usual = any(set(label) & people.columns.keys() for label in FaceBinding(table="t").labels)
    return [whole] if whole else [] if usual else parts


def _first(table: Table, names: re.Pattern[str]) -> str | None:
    """Return the first text or uuid column with such a name."""
    found = [column.name for column in table.columns.values() if column.is_text or column.type == "uuid"]
    return next((name for name in found if names.fullmatch(_snake(name))), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _application_tables(catalog: Catalog) -> list[Table]:
    """Return the application's tables, those that others refer to first."""
    tables = [
        table
        for table in catalog.tables.values()
        if table.kind == "table" and table.schema != "seedtool" and table.name not in _OF_MIGRATIONS
    ]
    return catalog.parents_first(tables)


def _is_worth_a_cell(column: Column) -> bool:
    """Tell whether a seed file should have the column: not what the database computes or fills in by itself."""
    return not column.generated and column.identity != "always" and (column.default is None or not column.not_null)


def _write_settings(settings: Settings, bound: Mapping[str, dict[str, object]], report: AdoptReport) -> None:
    path = settings.root / "pyproject.toml"
    before = path.read_bytes() if path.exists() else b""
    bindings = "".join(
        # a list of texts reads in JSON as it does in TOML
        _FACES.format(table=table, keys="".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items()))
        for table, keys in bound.items()
    )
    command = ""
    if settings.build_command is not None:
        command = _COMMAND.format(settings=settings, paths=json.dumps(settings.fingerprint_paths))
    if (ours := tomllib.loads(before.decode()).get("tool", {}).get("seedtool")) is not None:
        report.kept.append(f"[tool.seedtool] in {path.name}")
        if command and "build_command" not in ours:
            report.advice.append(f"add to [tool.seedtool] in {path.name}:\n{command.strip()}")
        if bindings and not settings.faces:
            report.advice.append(f"add to {path.name}, for the tables with faces:\n{bindings.strip()}")
        return
    collection = f'collection = "{_collection(settings.root.name)}"\n' if bound and not settings.collection else ""
    added = _SETTINGS + command + collection + bindings
    ends = Counter(re.findall(rb"\r?\n", before))
    if ends and ends.most_common(1)[0][0] == b"\r\n":
        added = added.replace("\n", "\r\n")
        before += b"" if before.endswith(b"\n") else b"\r\n"
    write_whole(path, before + added.encode())
    report.written.append(f"[tool.seedtool] in {path.name}")


def _collection(folder: str) -> str:
    """Return the name of a collection for a folder, which may be called anything: of `ñandú`, `nandu-faces`."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", folder) if not unicodedata.combining(each))
    return f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', plain).strip('-') or 'app'}-faces"


def _write(path: Path, text: str, settings: Settings, report: AdoptReport) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_whole(path, text.encode(), replace=False)
    except FileExistsError:
        report.kept.append(settings.shown(path))
    else:
        report.written.append(settings.shown(path))
