"""ci: what runs once before parallel tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli import completing
from seedtool.cli.console import CONTEXT, Console, common_options, table
from seedtool.cli.database import WithSeed, recipe_options
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.settings import Settings
    from seedtool.workflows.prepare import PrepareReport


@click.group(short_help="Prepare what tests need.", context_settings=CONTEXT)
def ci() -> None:
    """Prepare what tests need before they run in parallel."""


@ci.command(cls=WithSeed, short_help="Build the templates that tests clone.", context_settings=CONTEXT)
@click.option(
    "--seed",
    "profiles",
    metavar="PROFILE",
    multiple=True,
    shell_complete=completing.profiles,
    help="Build the template of this profile too. Repeat it for several profiles.",
)
@recipe_options("Build templates with generated rows of this recipe upon the profiles, too.")
@click.option(
    "--cache",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Load templates from dumps in this folder. Write a dump of each template that it lacks.",
)
@click.option("--trust-file", is_flag=True, help="Load dumps that no key of this project signed. What is in them runs.")
@common_options
def prepare(
    *,
    profiles: tuple[str, ...],
    recipe: str | None,
    scale: float,
    cache: Path | None,
    trust_file: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Start the embedded server and build the templates that tests clone. Templates that exist are not built again.

    The database of the settings is not touched. With the embedded emulator, the faces of profiles that end in a sync
    are enrolled there. A dump is loaded when SEEDTOOL_ARCHIVE_KEY, or this project's own key, signed it. Otherwise its
    template is built.
    """
    from seedtool.workflows import prepare as workflow

    listener = console.listener({})
    with listener.live():
        report = workflow.prepare(
            profiles,
            load=recipe,
            scale=scale,
            settings=settings,
            cache=cache,
            trust_file=trust_file,
            listener=listener,
        )
    console.report(report, lambda: _lines(report))


def _lines(report: PrepareReport) -> Iterable[str]:
    rows = [
        (
            " + ".join(filter(None, (made.profile or "(schema)", made.recipe))),
            made.template,
            made.how,
            f"{made.milliseconds:.0f} ms",
        )
        for made in report.templates
    ]
    yield from table(("profile", "template", "it was", "in"), rows)
    for each in report.emulator:
        yield f"{each.profile}: {count(each.indexed, 'photo')} indexed just now by the emulator on {each.endpoint}"
    yield f"tests may begin: {report.server}"
