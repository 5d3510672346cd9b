"""seed, seed-dump."""

from __future__ import annotations

import contextlib
import importlib
import shlex
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import click

from seedtool.cli import completing, examples
from seedtool.cli.console import CONTEXT, Console, common_options, table
from seedtool.errors import UsageError
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from click.shell_completion import CompletionItem

    from seedtool.postgres.server import Target
    from seedtool.seeding.report import SeedReport, TableReport
    from seedtool.settings import Settings
    from seedtool.workflows.seed import Seeded


class WithCommands(click.Command):
    """A command whose first argument may be the name of another one: `seed load RECIPE` beside `seed PROFILE`."""

    #: name → module of this package and the object in it
    commands: ClassVar[dict[str, str]] = {"load": "load:load", "unload": "load:unload", "recipe": "load:recipe"}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:  # noqa: ARG002 - as click's groups have it
        """Import one of the other commands."""
        module, _, member = self.commands[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(f"seedtool.cli.{module}"), member)
        examples.add(found, f"{self.name} {cmd_name}")
        return found

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - click's
    ) -> click.Context:
        """Read the arguments of this command, or of the one that the first argument names."""
        if args and args[0] in self.commands:
            found = self.get_command(click.Context(self), args[0])
            return found.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        first = args[0] if args else ""  # click takes the arguments out of the list
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            meant = self.meant(first) if type(error) is click.UsageError else None
            if meant is None:
                raise
            raise click.UsageError(f"No such command {first!r}. Did you mean {meant}?", error.ctx) from error

    def meant(self, given: str) -> str | None:
        """Return the other command whose name is nearly this, after the name of this one."""
        import difflib

        close = difflib.get_close_matches(given, self.commands, n=1, cutoff=0.75)  # `local` is not `load`
        return f"{self.name} {close[0]}" if close else None

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run the command whose arguments were read."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the other commands, then the example."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.get_command(ctx, name).get_short_help_str()) for name in self.commands])
        super().format_epilog(ctx, formatter)


def _complete_profile_or_command(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the profiles and the other commands whose names begin so."""
    from click.shell_completion import CompletionItem

    command = cast("WithCommands", ctx.command)
    commands = [
        CompletionItem(name, help=command.get_command(ctx, name).get_short_help_str())
        for name in command.commands
        if name.startswith(incomplete)
    ]
    return [*completing.profiles(ctx, param, incomplete), *commands]


@click.command(cls=WithCommands, short_help="Load the rows of a profile.", context_settings=CONTEXT)
@click.argument("profile", required=False, shell_complete=_complete_profile_or_command)
@click.option("--list", "list_profiles", is_flag=True, help="List the profiles.")
@click.option("--dry-run", is_flag=True, help="Say what would be inserted, updated and deleted; change nothing.")
@click.option(
    "--prune/--no-prune",
    default=True,
    help="Delete rows that seedtool inserted and that are no longer in the files [default: prune].",
)
@click.option(
    "--confirm",
    metavar="NAME",
    help="Change rows that no seed put there, in a database that seedtool did not make. NAME is its name.",
)
@common_options
def seed(
    *,
    profile: str | None,
    list_profiles: bool,
    dry_run: bool,
    prune: bool,
    confirm: str | None,
    console: Console,
    settings: Settings,
) -> None:
    """Load the rows of a profile in seeds/profiles.toml: all of them or none.

    New rows are inserted, and rows that differ are updated. Rows that people made or edited are not deleted. A profile
    may end in a sync of the faces, as `full` does.
    """
    if list_profiles:
        _list(settings, console)
        return
    if profile is None:
        raise UsageError(
            "no profile was named",
            remedy="Name one: seedtool seed PROFILE. seedtool seed --list shows the profiles.",
            option="PROFILE",
        )
    from seedtool.postgres import server
    from seedtool.workflows import seed as workflow

    target = server.find(settings)
    listener = console.listener({})
    with listener.live(), _commands_told(profile), rows_shown_on_failure(console, profile, target):
        seeded = workflow.seed(
            profile,
            settings=settings,
            target=target,
            dry_run=dry_run,
            prune=prune,
            confirm=confirm,
            ahead=True,
            listener=listener,
        )
    report(console, seeded, profile, target)


def _list(settings: Settings, console: Console) -> None:
    from seedtool.seeding.profiles import load_profiles

    profiles = load_profiles(settings.seeds)
    console.report(
        {name: each for name, each in profiles.items()},  # noqa: C416 - msgspec encodes a plain dict of structs
        lambda: table(("profile", "what it is"), [(name, each.description) for name, each in profiles.items()]),
    )


@contextlib.contextmanager
def _commands_told(profile: str) -> Iterator[None]:
    """Where there is no such profile, name the command that may be meant: `seed lod`."""
    try:
        yield
    except UsageError as error:
        meant = seed.meant(profile)
        if error.place.get("profile") != profile or meant is None:
            raise
        raise UsageError(
            error.message, remedy=f"Did you mean seedtool {meant}? {error.remedy}", **error.place
        ) from error


@contextlib.contextmanager
def rows_shown_on_failure(console: Console, profile: str | None, target: Target) -> Iterator[None]:
    """When the faces cannot be linked, show what was done with the rows, and raise the error."""
    from seedtool.errors import SyncFailed

    try:
        yield
    except SyncFailed as error:
        seeded = cast("SeedReport", error.seeded)
        for line in _seed_lines(seeded, profile or "", str(target), f"in {error.milliseconds:.0f} ms"):
            console.note(line)
        raise error.cause from error


def report(
    console: Console,
    seeded: Seeded,
    profile: str,
    target: Target,
    *,
    more: Mapping[str, object] | None = None,
    in_cache: bool = False,
) -> None:
    """Print what became of a profile's rows and faces.

    Args:
        console: where it is printed.
        seeded: what seeding did.
        profile: the profile's name.
        target: the database.
        more: the reports of what went before, as they are printed.
        in_cache: the rows came with the cached template.
    """

    def lines() -> Iterable[str]:
        took = "from the cached template" if in_cache else f"in {seeded.milliseconds:.0f} ms"
        yield from _seed_lines(seeded.seed, profile, str(target), took)
        if seeded.sync is not None:
            from seedtool.cli.faces import show_sync_lines

            yield from show_sync_lines(seeded.sync, seeded.where)

    found = {**(more or {}), "seed": seeded.seed, "sync": seeded.sync}
    console.report({key: value for key, value in found.items() if value is not None}, lines)


def _seed_lines(report: SeedReport, profile: str, target: str, took: str) -> Iterable[str]:
    counts = ("inserted", "updated", "deleted", "unchanged")
    totals = {count: sum(getattr(each, count) for each in report.tables) for count in counts}
    changed = [each for each in report.tables if each.inserted or each.updated or each.deleted]
    if changed:
        rows = [(each.table, *(getattr(each, count) for count in counts)) for each in changed]
        yield from table(("table", *counts), rows)
    if report.dry_run:
        for each in changed:
            yield from _change_lines(each)
        if report.confirm:
            yield f"  no seed put these rows there; to change them: --confirm {shlex.quote(report.confirm)}"
    for each in report.tables:
        yield from _kept_lines(each, dry_run=report.dry_run)
    if report.scripts:
        yield f"{'would run' if report.dry_run else 'ran'} after the rows: {', '.join(report.scripts)}"
    verb = "would seed" if report.dry_run else "seeded"
    totals["kept since somebody edited them"] = sum(each.kept for each in report.tables)
    totals["kept out by a trigger"] = sum(each.suppressed for each in report.tables)
    counted = ", ".join(f"{number} {count}" for count, number in totals.items() if number) or "nothing to do"
    yield f"{verb} {profile} into {target}: {count(report.rows, 'row')} {took}; {counted}"


def _kept_lines(report: TableReport, *, dry_run: bool) -> Iterable[str]:
    """Name the rows that stay although their lines have left the files."""
    for change in report.changes:
        if change.action == "keep":
            verb = "would be kept" if dry_run else "is kept"
            why = f"somebody edited {', '.join(change.columns)}; delete it by hand if it shall go"
            yield f"  {report.table} {change.key}: {verb}, its line has left the files but {why}"
    left = report.kept - sum(change.action == "keep" for change in report.changes)
    if left > 0 and report.changes:
        yield f"  {report.table}: {count(left, 'more row')} like these"


def _change_lines(report: TableReport) -> Iterable[str]:
    """List updates and deletes row by row; inserted rows are only counted."""
    for change in report.changes:
        if change.action == "delete":
            yield f"  {report.table} {change.key}: would be deleted, its line has left the files"
        elif change.action == "update":
            edited = f" (the file wins over an edit of {', '.join(change.overridden)})" if change.overridden else ""
            yield f"  {report.table} {change.key}: would change {', '.join(change.columns)}{edited}"
    for action, number, what in (
        ("update", report.updated, "would change"),
        ("delete", report.deleted, "would be deleted"),
    ):
        left = number - sum(change.action == action for change in report.changes)
        if left > 0:
            yield f"  {report.table}: {count(left, 'more row')} {what}"


@click.command("seed-dump", short_help="Write rows of the database into seed files.", context_settings=CONTEXT)
@click.option(
    "--table",
    "tables",
    metavar="NAME",
    multiple=True,
    shell_complete=completing.tables,
    help="Write this table only. Repeat it for several tables.",
)
@click.option(
    "--set",
    "set_name",
    metavar="NAME",
    default="local",
    show_default=True,
    shell_complete=completing.sets,
    help="The seed set to write into.",
)
@click.option("--all", "every_table", is_flag=True, help="Write also the tables that have rows and no file in any set.")
@click.option(
    "--sort",
    type=click.Choice(["key", "file"]),
    default="key",
    show_default=True,
    help="Order rows by key, or leave the rows of a file in their order and add new ones at its end.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 when rows or columns would be lost at the next reset.")
@common_options
def seed_dump(
    *,
    tables: tuple[str, ...],
    set_name: str,
    every_table: bool,
    sort: Literal["key", "file"],
    strict: bool,
    console: Console,
    settings: Settings,
) -> int:
    """Write rows of the database into seed files. The next reset then has them.

    A file that has rows keeps its columns. A column that it leaves out, and that holds anything but its default, is
    named.
    """
    from seedtool.workflows.seed import dump_seeds

    written = dump_seeds(tables, set_name, every_table=every_table, sort=sort, settings=settings)
    for each in written.files:
        if each.left_out:
            console.note(
                f"{each.file} leaves out {', '.join(each.left_out)}, and rows hold more there than the default: the"
                " next reset loses that. Add the columns to its header and dump again."
            )
        if each.gone:
            console.note(f"{each.file}: {each.table} has no column {', '.join(each.gone)} any more")
    if written.without_file:
        console.note(
            f"without a file: {', '.join(written.without_file)}. The next reset loses their rows. --all writes them."
        )

    def lines() -> Iterable[str]:
        for each in written.files:
            others = f", {count(each.of_others, 'row')} left to other sets" if each.of_others else ""
            yield f"{each.file}: {count(each.rows, 'row')}{others}" + ("" if each.changed else ", unchanged")
        changed = [each.rows for each in written.files if each.changed]
        if changed:
            yield f"wrote {count(sum(changed), 'row')} into the seed set {written.seed_set}"
        else:
            yield f"the seed set {written.seed_set} is unchanged"

    console.report(written, lines)
    return 1 if strict and not written.whole else 0
