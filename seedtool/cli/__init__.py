"""The command line: the only place that imports click or rich.

Each command parses its arguments, calls one workflow and renders its report. Here is what they share: how
commands are found without importing them all, and how an error becomes a message and an exit code.
"""

import atexit
import contextlib
import gc
import importlib
import os
import sys
import threading
from typing import NoReturn

import click

from seedtool import __version__
from seedtool.cli import output

#: command → module of this package and the object in it
COMMANDS = {
    "db-reset": "database:db_reset",
    "migrate": "database:migrate",
    "seed": "seed:seed",
    "seed-dump": "seed:seed_dump",
    "sync-faces": "faces:sync_faces",
    "enroll": "faces:enroll",
    "recognize": "faces:recognize",
    "faces": "faces:faces",
    "backfill": "backfill:backfill",
    "refresh": "refresh:refresh",
    "snapshot": "snapshot:snapshot",
    "guard": "database:guard",
    "ci": "ci:ci",
    "cache": "database:cache",
    "fingerprint": "database:fingerprint",
    "server": "servers:server",
    "env": "servers:env",
    "psql": "prompts:psql",
    "shell": "prompts:shell",
    "emulator": "servers:emulator",
    "init": "project:init",
    "doctor": "project:doctor",
    "config": "project:config",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order in which people use them, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of one command."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        command: click.Command = getattr(importlib.import_module(f"seedtool.cli.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of this name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {close[0]}?", ctx) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="seedtool")
def seedtool() -> None:
    """Reset a PostgreSQL database in milliseconds, seed it, and link its rows to the faces in AWS Rekognition again."""


def main() -> NoReturn:
    """Run `seedtool`."""
    _program(seedtool, "seedtool")


def db_reset_main() -> NoReturn:
    """Run `db-reset` as a command of its own."""
    _program(_command("db-reset"), "db-reset")


def seed_main() -> NoReturn:
    """Run `seed` as a command of its own."""
    _program(_command("seed"), "seed")


def sync_faces_main() -> NoReturn:
    """Run `sync-faces` as a command of its own."""
    _program(_command("sync-faces"), "sync-faces")


def _program(command: click.Command, name: str) -> NoReturn:
    """Run a command as a program. It starts and ends faster than Python does without this."""
    try:
        gc.set_threshold(100_000)  # imports make many objects and hardly any garbage
        output.take_stdout()
        run(command, name)
    except KeyboardInterrupt:  # before the command began, or while its error was shown
        os._exit(130)
    except SystemExit as end:
        sys.stdout = sys.stderr  # what is printed while Python ends is not ours
        if threading.active_count() == 1 and isinstance(end.code, int):
            # what Python does at its end, but for taking every object apart: a seventh of a warm reset
            atexit._run_exitfuncs()  # noqa: SLF001 - Python has no public name for it
            for stream in filter(None, (sys.__stdout__, sys.stderr)):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # full, or closed by the caller
                    stream.flush()
            os._exit(end.code)
        raise


def _command(name: str) -> click.Command:
    command = seedtool.get_command(click.Context(seedtool), name)
    assert command is not None  # noqa: S101 - the names above are those of COMMANDS
    return command


def run(command: click.Command, name: str) -> NoReturn:
    """Run a command and end the process with its exit code.

    An error is a message with its remedy, never a traceback; `--debug` shows it.
    """
    try:
        from seedtool.cli import failures

        answer = command.main(prog_name=name, standalone_mode=False)
        code = answer if isinstance(answer, int) else 0
        if sys.stdout is not None:  # closed by the caller (`>&-`)
            sys.stdout.flush()
    except BrokenPipeError:
        # whoever read our output has left (`| head`); Python would complain once more when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - here every error becomes a message
        from seedtool.cli import failures

        code = failures.show(error)
    if code == failures.INTERRUPTED and threading.active_count() > 1:
        os._exit(code)  # what had to be undone is undone; Python would wait for calls whose answers nobody needs
    sys.exit(code)
