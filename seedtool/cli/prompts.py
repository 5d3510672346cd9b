"""psql, shell: a prompt in the project's database."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from seedtool.cli import output
from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from seedtool.settings import Settings


class _Psql(click.Command):
    """Leaves to psql what follows our long flags: `-v`, `-q` and `-h` mean something else there."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read our flags, and take the rest as it is."""
        ours = {"--json", "--quiet", "--verbose", "--debug", "--help"} | ({"-h"} if args == ["-h"] else set())
        end = next((at for at, word in enumerate(args) if word not in ours), len(args))
        rest = args[end:] if args[end : end + 1] == ["--"] or end == len(args) else ["--", *args[end:]]
        return super().parse_args(ctx, [*args[:end], *rest])


@click.command(cls=_Psql, short_help="Open psql in the database.", context_settings=CONTEXT)
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@common_options
def psql(*, arguments: tuple[str, ...], console: Console, settings: Settings) -> None:
    """Open psql in the project's database. ARGS are psql's own, as are all short flags before them.

    It is the psql of the embedded server's package, or that on PATH. The exit code is psql's.
    """
    from seedtool.postgres import programs, server

    if console.as_json:
        raise UsageError("psql prints no JSON", remedy="Use psql's --csv, or a query that makes JSON.", option="--json")
    target = server.find(settings)
    with server.connect(target) as connection:  # starts the embedded server
        tls = bool(connection.pgconn.ssl_in_use)
    program = programs.psql(tls=tls)
    where, environ = programs.connected(target, target.name)
    quiet = ["--quiet"] if console.quiet else []
    if console.out is not None:
        os.dup2(console.out.fileno(), 1)  # it is psql's now
    os.execve(program, [str(program), where, *quiet, *arguments], environ)  # noqa: S606 - no shell is meant


@click.command(short_help="Open a Python prompt with the settings and a connection.", context_settings=CONTEXT)
@click.option("-c", "--code", metavar="CODE", help="Run this code in place of a prompt.")
@common_options
def shell(*, code: str | None, console: Console, settings: Settings) -> int:
    """Open a Python prompt that knows the project.

    It has the module seedtool (its functions are what the commands do), settings, target (the database), and
    connection, which psycopg made and which commits each statement. What comes through a pipe is run as a script.
    """
    import seedtool
    from seedtool.postgres import server

    if console.as_json:
        raise UsageError("a prompt prints no JSON", remedy="Let the code print it.", option="--json")
    target = server.find(settings)
    with server.connect(target, autocommit=True) as connection, _stdout(console.out):
        names = {
            "__name__": "__console__", "seedtool": seedtool, "settings": settings, "target": target,
            "connection": connection,
        }  # fmt: skip
        if code is None and sys.stdin.isatty():
            _prompt(names, "" if console.quiet else f"{target}; here are seedtool, settings, target and connection")
            return 0
        return _run(sys.stdin.read() if code is None else code, names)


@contextlib.contextmanager
def _stdout(out: TextIO | None) -> Iterator[None]:
    """Give the code the real stdout: it prints results."""
    if out is None:
        yield
        return
    os.dup2(out.fileno(), 1)  # the prompt's lines are edited only where descriptor 1 is the terminal
    with open(1, "w", encoding=out.encoding, errors=out.errors, closefd=False) as own, contextlib.redirect_stdout(own):
        yield


def _prompt(names: dict[str, object], banner: str) -> None:
    import code

    with contextlib.suppress(ImportError):
        import readline
        import rlcompleter

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner=banner, local=names, exitmsg="")


def _run(text: str, names: dict[str, object]) -> int:
    """Run code; return the exit code. Its errors are shown as Python shows them: they are the user's own."""
    import traceback

    try:
        exec(compile(text, "<shell>", "exec"), names)  # noqa: S102 - what the command is for
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        output.say("".join(traceback.format_exception(error)).rstrip())
        return 1
    return 0
