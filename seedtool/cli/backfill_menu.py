"""The menu of backfill --interactive: what to do, for which user, and how large a test is.

It is shown until an entry is chosen that there is. The end of the input (Ctrl+D) cancels; Ctrl+C is an interruption.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

import click

from seedtool.cli import output
from seedtool.cli.console import table
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from seedtool.backfill import Options
    from seedtool.postgres.server import Target
    from seedtool.settings import Settings

# Assets of each user in a test, when the answer is empty.
_TEST_ASSETS = 10

# Users that are offered by number. Any other is chosen by the id.
_OFFERED = 20

_MENU = (
    "What do you want to do?",
    "  1  a dry run: list the assets to process",
    "  2  process everything",
    "  3  process one user",
    "  4  a test: process a few assets of each user",
    "  5  cancel",
)
_CANCEL = "5"


class _EndOfInputError(Exception):
    """Nobody types any more."""


def choose(options: Options, settings: Settings, target: Target) -> dict[str, object] | None:
    """Show the menu, and return the flags of the entry that was chosen; None when nothing is to be done.

    Args:
        options: the flags that were given.
        settings: the project's.
        target: the database, which is asked for its users.

    Raises:
        UsageError: there is no terminal to ask at.
        SchemaError: the database has no photo library.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "--interactive needs a terminal to ask at, and there is none",
            remedy="Say what to do with flags: --dry-run, --user-id, --limit.",
            option="--interactive",
        )
    entries: dict[str, Callable[[], dict[str, object] | None]] = {
        "1": lambda: {"dry_run": True},
        "2": dict,
        "3": lambda: _one_user(options, settings, target),
        "4": _test,
    }
    chosen = None
    try:
        while chosen is None:
            for line in _MENU:
                output.say(line)
            entry = _ask("Number", _CANCEL)
            if entry == _CANCEL:
                return None
            if entry in entries:
                chosen = entries[entry]()
            else:
                output.say(f"There is no entry {entry}. Type a number from 1 to 5.")
    except _EndOfInputError:
        return None
    return chosen


def _one_user(options: Options, settings: Settings, target: Target) -> dict[str, object] | None:
    """Offer the users that have assets to process; None leads back to the menu."""
    from seedtool.backfill import connect, counts, library

    with connect(settings.backfill, target) as connection:
        offered = list(islice(counts(connection, options), _OFFERED + 1))
        labels = library.labels(connection, [user for user, _ in offered])
    more, offered = len(offered) > _OFFERED, offered[:_OFFERED]
    if not offered:
        output.say("No user has assets to process.")
        return None

    def lines() -> Iterator[str]:
        rows = [(str(place), labels.get(user, user), count) for place, (user, count) in enumerate(offered, 1)]
        yield from table(("", "user", "assets"), rows)
        if more:
            yield "There are more users. Type the id of one that is not listed."

    def meant(typed: str) -> dict[str, object] | None:
        if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= len(offered):
            return {"user_id": offered[int(typed) - 1][0]}
        try:
            with connect(settings.backfill, target) as connection:
                library.check_user(connection, typed)
        except UsageError as error:
            output.say(f"{error.message[:1].upper()}{error.message[1:]}.")
            return None
        return {"user_id": typed}

    return _until_right("Number or id of the user (empty: back)", "", meant, lines)


def _test() -> dict[str, object] | None:
    def meant(typed: str) -> dict[str, object] | None:
        if typed.isascii() and typed.isdigit() and 0 < int(typed) < 10**9:
            return {"limit": int(typed)}
        output.say(f"{typed} is no number of assets. Type a whole number, at least 1.")
        return None

    return _until_right("Assets of each user", str(_TEST_ASSETS), meant)


def _until_right(
    question: str,
    default: str,
    meant: Callable[[str], dict[str, object] | None],
    lines: Callable[[], Iterator[str]] = lambda: iter(()),
) -> dict[str, object] | None:
    """Ask until the answer means something; None for an empty answer without a default."""
    while True:
        for line in lines():
            output.say(f"  {line}")
        typed = _ask(question, default)
        if not typed:
            return None
        found = meant(typed)
        if found is not None:
            return found


def _ask(question: str, default: str) -> str:
    try:
        typed = click.prompt(question, default=default, show_default=bool(default), err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            output.say()
            raise _EndOfInputError from None
        raise
    return str(typed).strip()
