"""What a shell completes (names of profiles, recipes, seed sets, tables, snapshots), and the command `completion`.

A completion starts no server, waits for none, and prints no error.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from click.shell_completion import CompletionItem

    from seedtool.settings import Settings

#: The programs that seedtool installs.
PROGRAMS = ("seedtool", "db-reset", "seed", "sync-faces")


def _offering(
    names: Callable[[Settings], Iterable[tuple[str, str]]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return what offers these names, each with a help, as far as they begin as the user did."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        with contextlib.suppress(Exception):
            from click.shell_completion import CompletionItem

            from seedtool.settings import load

            return [CompletionItem(name, help=help_) for name, help_ in names(load()) if name.startswith(incomplete)]
        return []

    return complete


def _profiles(settings: Settings) -> Iterable[tuple[str, str]]:
    from seedtool.seeding.profiles import load_profiles

    return [(name, each.description) for name, each in load_profiles(settings.seeds).items()]


def _recipes(settings: Settings) -> Iterable[tuple[str, str]]:
    return [(name, "") for name in sorted(each.stem for each in settings.seeds.glob("*.toml")) if name != "profiles"]


def _sets(settings: Settings) -> Iterable[tuple[str, str]]:
    from seedtool.seeding.profiles import load_profiles

    named = {name for each in load_profiles(settings.seeds).values() for name in each.sets}
    return [(name, "") for name in sorted(named)]


def _tables(settings: Settings) -> Iterable[tuple[str, str]]:
    from seedtool.postgres import server

    target = server.find(settings)
    if target.embedded is not None and not target.embedded.is_running():
        return []
    with server.connect(target, autocommit=True, patience=2) as connection:
        rows = connection.execute(
            "SELECT c.oid::regclass::text, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c"
            " WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence = 'p'"
            " AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'seedtool') ORDER BY 1"
        ).fetchall()
    return [(str(name), str(comment)) for name, comment in rows]


def _snapshots(settings: Settings) -> Iterable[tuple[str, str]]:
    from seedtool.snapshots import registry

    return [(each.name, each.note or "") for each in registry.glance(settings)]


profiles, recipes, sets, tables, snapshots = map(_offering, (_profiles, _recipes, _sets, _tables, _snapshots))


@click.command(short_help="Let the shell complete commands and names.", context_settings=CONTEXT)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it where the shell looks for it.")
@functools.partial(common_options, anywhere=True)
def completion(*, shell: str, install: bool, console: Console, settings: Settings) -> None:  # noqa: ARG001
    """Print the lines that let a shell complete commands, flags, and names of your project.

    Completed are profiles, recipes, seed sets, tables and snapshots. With --install, the lines are written into the
    folder from which the shell loads completions.
    """
    scripts = {program: _script(shell, program) for program in PROGRAMS}
    if not install:
        text = "\n".join(scripts.values())
        console.report({"shell": shell, "script": text}, text.splitlines, always=True)
        return
    from seedtool.files.writing import write_whole

    folder, name = _place(shell)
    files = []
    for program, script in scripts.items():
        file = folder / name.format(program)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, script.encode())
        files.append(str(file))
    then = "begin a new shell"
    if shell == "zsh":
        then = f"put this before compinit in ~/.zshrc, then begin a new shell: fpath+=({folder})"
    if shell == "bash":
        then = "begin a new shell; it needs the package bash-completion"
    console.report({"shell": shell, "files": files}, lambda: [*(f"wrote  {file}" for file in files), then])


def _script(shell: str, program: str) -> str:
    from click.shell_completion import get_completion_class

    from seedtool import cli

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has all three
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    return found(cli.seedtool, {}, program, variable).source()


def _place(shell: str) -> tuple[Path, str]:
    """Return the folder where a shell looks for the completions of a user, and how the file of a program is called."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    if shell == "bash":  # https://github.com/scop/bash-completion: FAQ, "Where should I put it to be sure"
        return data / "bash-completion" / "completions", "{}"
    if shell == "zsh":
        return data / "zsh" / "site-functions", "_{}"
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "fish" / "completions", "{}.fish"
