"""Generated rows: loading the rows of a recipe, and taking them away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from seedtool import extras
from seedtool.errors import NotConfirmed, UsageError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.resetting import guard
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from seedtool.generating.files import Written
    from seedtool.generating.loading import LoadReport
    from seedtool.generating.planning import Plan
    from seedtool.generating.preview import Preview
    from seedtool.generating.unload import UnloadReport
    from seedtool.postgres.server import Target
    from seedtool.settings import Settings


def load(
    recipe: str,
    *,
    settings: Settings | None = None,
    target: Target | None = None,
    scale: float = 1.0,
    random_seed: str = "1",
    workers: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    plant: bool = False,
    confirm: str | None = None,
    listener: Listener = SILENT,
) -> LoadReport:
    """Load the rows of a recipe into the database as it is.

    Args:
        recipe: the recipe's name, or the path of its file.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        scale: how many times the numbers of the recipe are made.
        random_seed: another one makes other values.
        workers: how many processes of this machine work; None for one for each processor, where there are many rows.
        scheduler: the address of a Dask scheduler whose workers work instead.
        resume: go on with a load that was interrupted.
        plant: put a face for each new row of a face binding's table into the embedded Rekognition, so that a sync can
            be rehearsed.
        confirm: the database's name: agree that rows are added to a database that seedtool did not make.
        listener: hears of the steps, and how many rows are there.

    Raises:
        Protected: the database carries the protection mark.
        NotConfirmed: seedtool did not make the database, and `confirm` does not name it; nothing was written.
        UsageError: there is no such recipe, or it was loaded otherwise before.
        RecipeError: the recipe is wrong, or does not fit the database; nothing was written.
        LoadInterrupted: the load stopped on the way. What is there can be resumed or undone.

    Example:
        >>> sum(table.added for table in seedtool.load("demo").tables)
        1465
    """
    extras.require("recipes")
    from seedtool.generating import recipe as recipes
    from seedtool.generating.loading import Options
    from seedtool.generating.loading import load as load_rows

    settings = project_settings(settings)
    target = target or server.find(settings)
    found = recipes.find(settings.seeds, recipe, settings.root)
    _require_consent(target, confirm)
    options = Options(
        scale=scale,
        random_seed=random_seed,
        workers=workers,
        scheduler=scheduler,
        resume=resume,
        folder=settings.root,
    )
    if plant and settings.aws != "embedded":
        raise UsageError(
            "--plant puts faces into the embedded Rekognition, and aws is live",
            remedy='Set aws = "embedded", or leave --plant out.',
            option="--plant",
        )
    report = load_rows(target, found, options, listener)
    if plant:
        _plant(settings, target, report, listener)
    return report


def _plant(settings: Settings, target: Target, report: LoadReport, listener: Listener) -> None:
    """Put a face into the embedded Rekognition for each row that was written and that a sync will look for."""
    from seedtool.generating.loading import made_column
    from seedtool.workflows.face_service import plant_faces

    for binding in settings.faces:
        for each in report.tables:
            if each.table in {binding.table, binding.table.removeprefix("public.")} and each.added and not binding.box:
                rows = range(each.rows - each.added, each.rows)
                ids = made_column(target, report.recipe, each.table, binding.external_image_id, rows, settings.root)
                collection = binding.collection or binding.collection_default or settings.collection
                count = plant_faces(settings, str(collection), ids)
                listener.note(f"{count:,} faces planted in {collection} of the embedded Rekognition")


def preview(
    recipe: str,
    *,
    settings: Settings | None = None,
    target: Target | None = None,
    scale: float = 1.0,
    random_seed: str = "1",
) -> Preview:
    """Look at what `load` would make with the same arguments, and write nothing.

    Raises:
        UsageError: there is no such recipe.
        RecipeError: the recipe is wrong, or does not fit the database.

    Example:
        >>> seedtool.preview_load("demo").rows
        1465
    """
    from seedtool.generating import preview as previews

    return previews.preview(_plan(recipe, settings, target, scale, random_seed))


def load_files(
    recipe: str,
    folder: Path,
    *,
    form: Literal["csv", "parquet"] = "csv",
    settings: Settings | None = None,
    target: Target | None = None,
    scale: float = 1.0,
    random_seed: str = "1",
    listener: Listener = SILENT,
) -> list[Written]:
    """Write the rows of a recipe into files, one a table. The database is read for its schema alone.

    Args:
        recipe: the recipe's name, or the path of its file.
        folder: where the files come; it is made when it is missing.
        form: `csv` or `parquet`.
        settings: the project's; those of the working folder's project when None.
        target: the database whose schema the rows fit; the one that the settings name when None.
        scale: how many times the numbers of the recipe are made.
        random_seed: another one makes other values.
        listener: hears how many rows are written.

    Raises:
        UsageError: there is no such recipe, a file is there already, or pyarrow is missing.
        RecipeError: the recipe is wrong, or does not fit the database.

    Example:
        >>> from pathlib import Path
        >>> [written.table for written in seedtool.load_files("demo", Path("rows"))][:2]
        ['teachers', 'grade_sections']
    """
    extras.require("recipes")
    from seedtool.generating import files

    return files.write(_plan(recipe, settings, target, scale, random_seed), folder, form, listener)


def draft_recipe(
    tables: Iterable[str] = (),
    *,
    name: str = "draft",
    like: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
) -> str:
    """Return a draft of a recipe, as TOML.

    Args:
        tables: names of tables; all tables when empty.
        name: the recipe's.
        like: the address of a database whose statistics say how many rows, children and NULLs there are. No value of
            its tables is read.
        settings: the project's; those of the working folder's project when None.
        target: the database whose schema it is for; the one that the settings name when None.

    Raises:
        SchemaError: there is no such table.
        DatabaseError: a database cannot be reached.

    Example:
        >>> 'first_name = "first_name"' in seedtool.draft_recipe(["students"])
        True
    """
    extras.require("recipes")
    from seedtool.generating import draft

    settings = project_settings(settings)
    found = None
    if like is not None:
        with server.connect(server.named_by(server.url_for_libpq(like)), patience=10) as other:
            other.execute("SET TRANSACTION READ ONLY")
            found = draft.statistics(other)
    with server.connect(target or server.find(settings)) as connection:
        return draft.draft(connection, list(tables), name, found)


def write_page(shown: Preview, report: LoadReport, file: Path) -> None:
    """Write the report of a load as a page, with a picture of the recipe.

    Args:
        shown: what the recipe makes (see `preview`).
        report: what the load did.
        file: where it is written.
    """
    from seedtool.files.writing import write_whole
    from seedtool.generating.preview import page

    seconds = sum(report.seconds.values())
    done = [
        ("rows written", f"{report.rows:,}"),
        ("seconds", f"{seconds:.1f}"),
        ("scale", f"{report.scale:g}"),
        ("random seed", report.random_seed),
        *((f"{each.table} kept its indexes", each.why) for each in report.kept),
    ]
    write_whole(file, page(shown, done).encode())


def _plan(recipe: str, settings: Settings | None, target: Target | None, scale: float, random_seed: str) -> Plan:
    extras.require("recipes")
    from seedtool.generating import recipe as recipes
    from seedtool.generating.loading import Options, look

    settings = project_settings(settings)
    found = recipes.find(settings.seeds, recipe, settings.root)
    options = Options(scale=scale, random_seed=random_seed, folder=settings.root)
    return look(target or server.find(settings), found, options)


def unload(
    recipe: str,
    *,
    settings: Settings | None = None,
    target: Target | None = None,
    confirm: str | None = None,
    listener: Listener = SILENT,
) -> UnloadReport:
    """Take away the rows that a recipe has loaded, but for those that people changed or refer to.

    Args:
        recipe: the recipe's name. Its file is not read: the database has the recipe as it was loaded.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        confirm: the database's name: agree that rows are deleted in a database that seedtool did not make.
        listener: hears who is waited for.

    Raises:
        Protected: the database carries the protection mark.
        NotConfirmed: seedtool did not make the database, and `confirm` does not name it; nothing was written.
        UsageError: nothing of this recipe was loaded.
        RecipeError: other values would be made now than were loaded; nothing was written.
        LoadInterrupted: an index that the load had put off cannot be built again.

    Example:
        >>> sum(table.removed for table in seedtool.unload("demo").tables)
        1465
    """
    extras.require("recipes")
    from seedtool.generating.loading import locked
    from seedtool.generating.unload import unload as unload_rows

    settings = project_settings(settings)
    target = target or server.find(settings)
    _require_consent(target, confirm)
    managed = {(each.table, each.face_id) for each in settings.faces}
    with locked(target, recipe, listener) as sessions:
        return unload_rows(sessions, recipe, managed, settings.root)


def _require_consent(target: Target, confirm: str | None) -> None:
    """Refuse a database that is protected, or that somebody else made and nobody has named."""
    import shlex

    given = guard.given(target, yes=False, confirm=confirm)
    with server.connect(target) as connection:
        needed = guard.consent_to_seed(target, connection)
    if given < needed:
        raise NotConfirmed(
            f"{target} was not made by seedtool, and its rows would change",
            remedy=f"If that is meant: --confirm {shlex.quote(target.name)}."
            " To forbid it for good: seedtool guard protect.",
            database=target.name,
        )
