"""What a backfill would do, told before it begins; and the yes without which it does not."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from seedtool.cli.console import Console, asked, number, stream, table
from seedtool.errors import NotConfirmed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from seedtool.backfill import Options, Plan
    from seedtool.settings import Settings

# Users, and assets, that a dry run's text names before it says how many more there are.
_SHOWN = 20

# Assets a user of the menu's test, and two of its numbers.
_TEST = 10
_ONE_USER, _CANCEL = 3, 5


def choose(console: Console) -> dict[str, object] | None:
    """Ask by a menu what is to be done; returns the options of that choice, None when it is nothing.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UsageError("--interactive asks at a terminal, and there is none", remedy="Give the flags instead.")
    for line in (
        "What is to be done?",
        "  1  a dry run: list what would be processed",
        "  2  everything",
        "  3  one user",
        f"  4  a test: {_TEST} assets of each user",
        "  5  cancel",
    ):
        click.echo(line, err=True)
    chosen = _asked(lambda: click.prompt("Number", type=click.IntRange(1, 5), default=5, err=True))
    user = _asked(lambda: click.prompt("The user's id", type=click.UUID, err=True)) if chosen == _ONE_USER else None
    if chosen is None or chosen == _CANCEL or (chosen == _ONE_USER and user is None):
        console.note("cancelled; nothing was done")
        return None
    choices: dict[int, dict[str, object]] = {
        1: {"dry_run": True},
        _ONE_USER: {"user_id": str(user)},
        4: {"limit": _TEST},
    }
    return choices.get(chosen, {})


def _asked(ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is asked for
    """Ask; the end of the input (Ctrl+D) is None, while Ctrl+C goes on its way."""
    try:
        return ask()
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            click.echo(err=True)
            return None
        raise


def announce(console: Console, plan: Plan, where: str, *, priced: bool) -> None:
    """Tell, on stderr, with whom it works, how much there is to do and what that would cost.

    Args:
        console: where notes go.
        plan: what would be done.
        where: account, region and database.
        priced: AWS's calls are made here; an application pays by itself.
    """
    console.note(where)
    for line in plan_lines(plan, priced=priced):
        console.note(line)


def agree(plan: Plan, *, yes: bool) -> None:
    """Ask for a yes, unless there is nothing to do or it was given.

    Raises:
        NotConfirmed: there is none.
    """
    if not plan.assets or yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(
            "nobody agreed, and nothing was done",
            remedy="--yes (or --skip-prompt) begins without asking; --dry-run tells what it would do.",
        )
    if not asked(lambda: click.confirm("Begin?", err=True)):
        raise NotConfirmed("nobody agreed, and nothing was done")


def dry_run(connection: psycopg.Connection, settings: Settings, options: Options, console: Console) -> None:
    """List what would be processed; nothing is called and nothing is written."""
    import msgspec

    from seedtool import backfill as engine
    from seedtool.backfill.page.values import visible

    plan = engine.plan(connection, settings, options)
    if console.as_json:
        stream(msgspec.structs.asdict(plan), "listed", engine.listing(connection, options))
        return
    if console.quiet:
        return
    for line in plan_lines(plan, priced=True):
        click.echo(line)
    users = list(islice(engine.counts(connection, options), _SHOWN))
    if users:
        for line in table(("user", "assets"), users):
            click.echo(f"  {line}")
        if plan.users > len(users):
            click.echo(f"  ... and {number(plan.users - len(users), 'more user')}")
        # user by user: all of them would be sorted for the first few
        own = (msgspec.structs.replace(options, user_id=user) for user, _ in users)
        first = islice((each for one in own for each in engine.listing(connection, one)), _SHOWN)
        for line in table(("asset", "file"), ((each.asset_id, visible(each.file_name)) for each in first)):
            click.echo(f"  {line}")
        if plan.assets > _SHOWN:
            click.echo(f"  ... and {number(plan.assets - _SHOWN, 'more asset')}; --json lists all")
    click.echo("a dry run: nothing was called and nothing was written")


def plan_lines(plan: Plan, *, priced: bool) -> Iterator[str]:
    """Yield how much there is to do, and the estimate."""
    todo = f"{_many(plan.assets, 'asset')} of {_many(plan.users, 'user')} to process"
    failed = f" ({plan.failed_before:,} of them failed before: --retry-failed)" * bool(plan.failed_before)
    yield f"{todo}, {plan.skipped:,} left alone{failed}"
    if not plan.assets:
        return
    if not priced:
        yield "the application looks at the photos and pays for it"
        return
    new = f", {plan.new_collections:,} to be made" * bool(plan.new_collections)
    yield f"collections {plan.collection_prefix}...: {plan.collections:,} there{new}"
    calls = " + ".join(f"{count:,} {name}" for name, count in plan.calls.items())
    yield (
        f"estimate: ${plan.cost:,.2f} for {calls}, at {plan.faces_a_photo:g} faces a photo (prices of {plan.prices_of})"
    )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"
