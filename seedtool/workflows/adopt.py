"""Adoption: settings and a first seed file for an Alembic project that does not know seedtool yet.

Nothing that is there is overwritten.
"""

import re
import tomllib
from pathlib import Path

import msgspec

from seedtool.files.writing import write_whole
from seedtool.postgres import server
from seedtool.postgres.catalog import Catalog, Column, Table, read_catalog
from seedtool.schema.migrations import LEAVE_OUR_SCHEMA, compares_all_schemas, heads
from seedtool.settings import Settings
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
"""

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
    """

    written: list[str]
    kept: list[str]
    tables: list[str]
    face_tables: list[str]
    advice: list[str]


def adopt(*, settings: Settings | None = None) -> AdoptReport:
    """Write settings, profiles and a first seed file.

    The project's schema is looked at in its target; on the embedded server that is made and migrated first.

    Args:
        settings: the project's, which name alembic.ini and the target; those of the working folder's when None.

    Raises:
        MigrationError: there is no alembic.ini, or the migrations do not run.
        DatabaseError: the database cannot be reached.
    """
    settings = project_settings(settings)
    if settings.build_command is None:
        heads(settings)
    target = server.find(settings)
    if target.embedded is not None:
        migrate(settings=settings, target=target)
    with server.connect(target) as connection:
        tables = _application_tables(read_catalog(connection))
    bound = [table for table in tables if {"face_id", "external_image_id"} <= table.columns.keys()]
    report = AdoptReport(
        written=[],
        kept=[],
        tables=[str(table) for table in tables],
        face_tables=[str(table) for table in bound],
        advice=[],
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


def _application_tables(catalog: Catalog) -> list[Table]:
    """Return the application's tables, those that others refer to first."""
    tables = [
        table
        for table in catalog.tables.values()
        if table.kind == "table" and table.schema != "seedtool" and table.name != "alembic_version"
    ]
    return catalog.parents_first(tables)


def _is_worth_a_cell(column: Column) -> bool:
    """Tell whether a seed file should have the column: not what the database computes or fills in by itself."""
    return not column.generated and column.identity != "always" and (column.default is None or not column.not_null)


def _write_settings(settings: Settings, bound: list[Table], report: AdoptReport) -> None:
    path = settings.root / "pyproject.toml"
    before = path.read_bytes() if path.exists() else b""
    if "seedtool" in tomllib.loads(before.decode()).get("tool", {}):
        report.kept.append(f"[tool.seedtool] in {path.name}")
        return
    bindings = "".join(_FACES.format(table=table) for table in bound)
    # a folder may be called anything, a collection not
    name = re.sub(r"[^a-zA-Z0-9_.-]+", "-", settings.root.name).strip("-") or "app"
    collection = f'collection = "{name}-faces"\n' if bound and not settings.collection else ""
    added = _SETTINGS + collection + bindings
    if b"\r\n" in before:
        added = added.replace("\n", "\r\n")
    write_whole(path, before + added.encode())
    report.written.append(f"[tool.seedtool] in {path.name}")


def _write(path: Path, text: str, settings: Settings, report: AdoptReport) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_whole(path, text.encode(), replace=False)
    except FileExistsError:
        report.kept.append(settings.shown(path))
    else:
        report.written.append(settings.shown(path))
