"""seed load, seed unload, seed recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from seedtool.cli import completing
from seedtool.cli.console import CONTEXT, Console, common_options, table
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.generating.files import Written
    from seedtool.generating.loading import LoadReport
    from seedtool.generating.preview import Preview
    from seedtool.generating.unload import UnloadReport
    from seedtool.settings import Settings


@click.command("load", short_help="Load generated rows of a recipe.", context_settings=CONTEXT)
@click.argument("recipe", shell_complete=completing.recipes)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="N",
    help="Make N times the rows of the recipe [default: 1].",
)
@click.option("--random-seed", default="1", metavar="S", help="Make other values with another S [default: 1].")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Work in N processes [default: 1, and one for each processor from 500,000 rows on].",
)
@click.option("--scheduler", metavar="ADDRESS", help="Let the workers of a Dask cluster work: tcp://HOST:8786.")
@click.option("--resume", is_flag=True, help="Go on with a load that was interrupted.")
@click.option("--plant", is_flag=True, help="Put a face for each new row into the embedded Rekognition.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, with five rows of each table.")
@click.option("--to", "folder", metavar="FOLDER", help="Write files into FOLDER instead, one for each table.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="The form of these files.",
)
@click.option("--html", "page", metavar="FILE", help="Write a report with a picture of the recipe into FILE.")
@click.option("--confirm", metavar="NAME", help="Add rows to a database that seedtool did not make. NAME is its name.")
@common_options
def load(
    *,
    recipe: str,
    scale: float,
    random_seed: str,
    workers: int | None,
    scheduler: str | None,
    resume: bool,
    plant: bool,
    dry_run: bool,
    folder: str | None,
    form: Literal["csv", "parquet"],
    page: str | None,
    confirm: str | None,
    console: Console,
    settings: Settings,
) -> None:
    """Load the rows that a recipe, seeds/RECIPE.toml, describes.

    They come on top of what is in the database. The same recipe with a larger --scale adds rows and changes none.
    """
    from pathlib import Path

    from seedtool.files.writing import check_place
    from seedtool.workflows import load as workflow

    if dry_run:
        shown = workflow.preview(recipe, settings=settings, scale=scale, random_seed=random_seed)
        console.report(shown, lambda: _preview_lines(shown))
        return
    if folder is not None:
        with console.working("rows") as listener:
            files = workflow.load_files(
                recipe,
                Path(folder),
                form=form,
                settings=settings,
                scale=scale,
                random_seed=random_seed,
                listener=listener,
            )
        console.report({"files": files}, lambda: _file_lines(files))
        return
    if page is not None:
        check_place(Path(page))
    with console.working("rows") as listener:
        report = workflow.load(
            recipe,
            settings=settings,
            scale=scale,
            random_seed=random_seed,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            plant=plant,
            confirm=confirm,
            listener=listener,
        )
    if page is not None:
        shown = workflow.preview(recipe, settings=settings, scale=scale, random_seed=random_seed)
        workflow.write_page(shown, report, Path(page))
        console.note(f"the report is in {page}")
    console.report(report, lambda: _lines(report))


def _preview_lines(shown: Preview) -> Iterable[str]:
    from seedtool.files.shown import shown_size

    rows = [
        (
            each.table,
            each.rows,
            shown_size(each.size),
            ", ".join(f"{column} → {to}" for column, to in each.references.items()),
        )
        for each in shown.tables
    ]
    yield from table(("table", "rows", "size", "references"), rows)
    for each in shown.tables:
        yield ""
        yield f"{each.table}: the first of {count(each.rows, 'row')}"
        names = list(each.sample[0]) if each.sample else []
        yield from table(names, [[_cell(row[name]) for name in names] for row in each.sample])
        for column, line in each.inferred.items():
            yield f"  inferred: {column} = {line}"
    yield ""
    yield f"would load {shown.recipe}: {count(shown.rows, 'row')}, about {shown_size(shown.size)} without indexes"


def _cell(text: str | None) -> str:
    found = "" if text is None else text
    return found if len(found) <= _WIDEST else f"{found[: _WIDEST - 1]}…"


#: Characters of a cell that are shown.
_WIDEST = 32


def _file_lines(files: list[Written]) -> Iterable[str]:
    from seedtool.files.shown import shown_size

    for each in files:
        yield f"{each.file}: {count(each.rows, 'row')}, {shown_size(each.size)}"


@click.command("unload", short_help="Take generated rows of a recipe away.", context_settings=CONTEXT)
@click.argument("recipe", shell_complete=completing.recipes)
@click.option(
    "--confirm", metavar="NAME", help="Delete rows in a database that seedtool did not make. NAME is its name."
)
@common_options
def unload(*, recipe: str, confirm: str | None, console: Console, settings: Settings) -> None:
    """Take away the rows that a recipe has loaded, and no others.

    Rows that people changed stay, and so do rows that other rows refer to. Both are named. It also undoes a load that
    was interrupted.
    """
    from seedtool.workflows import load as workflow

    listener = console.listener({})
    with listener.live():
        report = workflow.unload(recipe, settings=settings, confirm=confirm, listener=listener)
    console.report(report, lambda: _unload_lines(report))


@click.command("recipe", short_help="Draft a recipe from a schema.", context_settings=CONTEXT)
@click.argument("tables", nargs=-1, metavar="[TABLE...]", shell_complete=completing.tables)
@click.option("--name", default="draft", show_default=True, metavar="NAME", help="The recipe's name.")
@click.option(
    "--like", metavar="URL", help="Take counts and shares of NULL from this database's statistics, and never a value."
)
@common_options
def recipe(*, tables: tuple[str, ...], name: str, like: str | None, console: Console, settings: Settings) -> None:
    """Print a draft of a recipe for tables, or for all of them: seedtool seed recipe students > seeds/NAME.toml."""
    from seedtool.workflows import load as workflow

    text = workflow.draft_recipe(tables, name=name, like=like, settings=settings)
    console.report({"recipe": text}, text.splitlines)


def _unload_lines(report: UnloadReport) -> Iterable[str]:
    rows = [(each.table, each.removed, each.changed, each.referred, each.gone) for each in report.tables]
    if rows:
        yield from table(("table", "removed", "changed", "referred to", "gone before"), rows)
    for each in report.tables:
        for row in each.kept:
            yield f"  {each.table} {row.key} stays: " + (
                "somebody changed it" if row.why == "changed" else "a row that stays refers to it"
            )
        unnamed = each.changed + each.referred - len(each.kept)
        if unnamed:
            yield f"  {count(unnamed, 'more row')} of {each.table} {'stays' if unnamed == 1 else 'stay'}"
    yield f"unloaded {report.recipe}: {count(sum(each.removed for each in report.tables), 'row')}"


def _lines(report: LoadReport) -> Iterable[str]:
    if report.rows:
        rows = [(each.table, each.added, each.rows, each.checksum) for each in report.tables]
        yield from table(("table", "added", "rows", "checksum"), rows)
    seconds = sum(report.seconds.values())
    if not report.rows:
        yield f"{report.recipe} is there already, at a scale of {report.scale:g}; nothing to do"
        return
    speed = f"{report.rows / seconds:,.0f} rows a second" if seconds else ""
    yield f"loaded {report.recipe}: {count(report.rows, 'row')} in {seconds:.1f} s, {speed}"
