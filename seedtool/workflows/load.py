"""Generated rows: loading the rows of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedtool.errors import NotConfirmed
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.resetting import guard
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from seedtool.generating.loading import LoadReport
    from seedtool.postgres.server import Target
    from seedtool.settings import Settings


def load(
    recipe: str,
    *,
    settings: Settings | None = None,
    target: Target | None = None,
    scale: float = 1.0,
    random_seed: str = "1",
    workers: int = 1,
    resume: bool = False,
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
        workers: how many processes of this machine work.
        resume: go on with a load that was interrupted.
        confirm: the database's name: agree that rows are added to a database that seedtool did not make.
        listener: hears of the steps, and how many rows are there.

    Raises:
        Protected: the database carries the protection mark.
        NotConfirmed: seedtool did not make the database, and `confirm` does not name it; nothing was written.
        UsageError: there is no such recipe, or it was loaded otherwise before.
        RecipeError: the recipe is wrong, or does not fit the database; nothing was written.
        LoadInterrupted: the load stopped on the way. What is there can be resumed or undone.
    """
    from seedtool.generating import recipe as recipes
    from seedtool.generating.loading import Options
    from seedtool.generating.loading import load as load_rows

    settings = project_settings(settings)
    target = target or server.find(settings)
    found = recipes.find(settings.seeds, recipe, settings.root)
    _require_consent(target, confirm)
    options = Options(scale=scale, random_seed=random_seed, workers=workers, resume=resume)
    return load_rows(target, found, options, listener)


def _require_consent(target: Target, confirm: str | None) -> None:
    """Refuse a database that is protected, or that somebody else made and nobody has named."""
    import shlex

    given = guard.given(target, yes=False, confirm=confirm)
    with server.connect(target) as connection:
        needed = guard.consent_to_seed(target, connection)
    if given < needed:
        raise NotConfirmed(
            f"{target} was not made by seedtool, and rows would be added to it",
            remedy=f"If that is meant: --confirm {shlex.quote(target.name)}."
            " To forbid it for good: seedtool guard protect.",
            database=target.name,
        )
