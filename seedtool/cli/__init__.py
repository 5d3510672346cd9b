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
import time
from typing import NoReturn

import click

from seedtool import __version__
from seedtool.cli import examples, output

#: section of `seedtool --help` → command → module of this package and the object in it
SECTIONS = {
    "Database": {
        "db-reset": "database:db_reset",
        "migrate": "database:migrate",
        "snapshot": "snapshot:snapshot",
        "guard": "database:guard",
        "psql": "prompts:psql",
        "shell": "prompts:shell",
    },
    "Seeds": {
        "seed": "seed:seed",
        "seed-dump": "seed:seed_dump",
    },
    "Faces": {
        "sync-faces": "faces:sync_faces",
        "enroll": "faces:enroll",
        "recognize": "faces:recognize",
        "faces": "faces:faces",
    },
    "Photo library": {
        "backfill": "backfill:backfill",
    },
    "Staging": {
        "refresh": "refresh:refresh",
    },
    "Upkeep": {
        "init": "project:init",
        "doctor": "project:doctor",
        "config": "project:config",
        "completion": "completing:completion",
        "server": "servers:server",
        "env": "servers:env",
        "emulator": "servers:emulator",
        "ci": "ci:ci",
        "cache": "database:cache",
        "fingerprint": "database:fingerprint",
    },
}
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}

#: What people type who know other programs → what they mean
_OTHERWISE = {"help": "--help", "version": "--version"}


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
        examples.add(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, in columns of one width."""
        widest = max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                rows = [(f"{name:{widest}}", command.short_help or "") for name in names
                        if (command := self.get_command(ctx, name)) is not None]  # fmt: skip
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name what may be meant when there is no command of this name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = self._meant(ctx, args[0])
            if not meant:
                raise
            *others, last = meant
            either = f"{', '.join(others)} or {last}" if others else last
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {either}?", ctx) from error

    def _meant(self, ctx: click.Context, given: str) -> list[str]:
        """Return the commands that somebody may mean: `status` is one of three groups, `sync` a part of a name."""
        if given in _OTHERWISE:
            return [_OTHERWISE[given]]
        import difflib

        below = {name: getattr(self.get_command(ctx, name), "commands", {}) for name in COMMANDS}
        found = [name for name in COMMANDS if given in name.split("-")]
        found += [f"{group} {given}" for group, names in below.items() if given in names]
        if found:
            return found
        paths = {path: path for path in COMMANDS} | {
            form: f"{group} {name}" for group, names in below.items() for name in names
            for form in (name, f"{group} {name}", f"{group}-{name}")
        }  # fmt: skip
        return [paths[each] for each in difflib.get_close_matches(given, paths, n=1)]


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
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full, or closed: it was told, and is told once
            sys.stdout.close()
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


def _path(command: click.Command, name: str) -> str:
    """Return which command the arguments name: `snapshot save`; of a slip, what was found of it."""
    path = [] if name == "seedtool" else [name]
    found: click.Command | None = command
    for word in sys.argv[1:]:
        below = COMMANDS if isinstance(found, LazyGroup) else getattr(found, "commands", {})
        if found is None or word not in below:
            break
        path.append(word)
        found = found.get_command(click.Context(found), word) if hasattr(found, "get_command") else None
    return " ".join(path)


def run(command: click.Command, name: str) -> NoReturn:
    """Run a command and end the process with its exit code.

    An error is a message with its remedy, never a traceback; `--debug` shows it.
    """
    began = time.monotonic()
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

        code = failures.show(error, _path(command, name), (time.monotonic() - began) * 1000)
    if code == failures.INTERRUPTED and threading.active_count() > 1:
        os._exit(code)  # what had to be undone is undone; Python would wait for calls whose answers nobody needs
    sys.exit(code)
