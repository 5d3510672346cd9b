"""snapshot save, restore, list, rename, delete, export, import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli import completing, output
from seedtool.cli.console import CONTEXT, Console, agree_to, ask_to_replace, common_options, table
from seedtool.cli.database import slots_line
from seedtool.printable import count

if TYPE_CHECKING:
    from seedtool.resetting.guard import Consent
    from seedtool.settings import Settings
    from seedtool.snapshots.registry import Snapshot
    from seedtool.snapshots.snapshots import RestorePlan, RestoreReport, SaveReport


_NAME = click.argument("name", shell_complete=completing.snapshots)


@click.group(short_help="Keep and restore named copies of the database.", context_settings=CONTEXT)
def snapshot() -> None:
    """Keep and restore named copies of the database.

    A snapshot is on the server of its database, and belongs to that database.
    """


@snapshot.command(short_help="Save the database as it is now.")
@click.argument("name", required=False)
@click.option("--note", metavar="TEXT", help="A note, shown by snapshot list.")
@click.option("--replace", is_flag=True, help="Replace a snapshot of the same name.")
@common_options
def save(*, name: str | None, note: str | None, replace: bool, console: Console, settings: Settings) -> None:
    """Save the database as it is now. Without NAME, the name is the git branch and the time.

    PostgreSQL cannot copy a database that is in use, so sessions on it are ended. Clients may connect again at once;
    they wait until the copy is made.
    """
    from seedtool.postgres import server
    from seedtool.workflows import snapshots as workflow

    target = server.find(settings)
    listener = console.listener({})
    with listener.live():
        report = workflow.save_snapshot(
            name, note=note, replace=replace, settings=settings, target=target, listener=listener
        )
    console.report({"save": report}, lambda: _save_lines(report, str(target)))


def _save_lines(report: SaveReport, target: str) -> list[str]:
    saved = report.snapshot
    lines = [f"saved {target} as {saved.name} ({_size(saved.size)}) in {report.milliseconds:.0f} ms"]
    if report.sessions_ended:
        lines.append(f"ended {count(report.sessions_ended, 'session')} on it; clients may connect again")
    return lines


@snapshot.command(short_help="Replace the database by a snapshot.")
@_NAME
@click.option("-y", "--yes", is_flag=True, help="Replace a database that seedtool made, without asking.")
@click.option("--confirm", metavar="NAME", help="Replace a database that seedtool did not make. NAME is its name.")
@click.option(
    "--then",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run this file of SQL in the copy before it takes the database's place.",
)
@common_options
def restore(
    *, name: str, yes: bool, confirm: str | None, then: Path | None, console: Console, settings: Settings
) -> None:
    """Replace the database by a copy of a snapshot. The snapshot stays.

    The database is replaced in one step; until then it stays as it is. What --then removes was never in it.
    """
    from seedtool.postgres import server
    from seedtool.workflows import snapshots as workflow

    target = server.find(settings)

    def agree(plan: RestorePlan) -> Consent:
        listener.end_line()  # it would be drawn over the question
        if plan.unknown_revisions:
            _warn_of_revisions(plan, yes=yes or confirm is not None)
        return ask_to_replace(plan.consent, target, yes=yes, confirm=confirm)

    listener = console.listener({})
    with listener.live():
        report = workflow.restore_snapshot(
            name, agree=agree, then=then, settings=settings, target=target, listener=listener
        )
    ran = [f"ran {then} in the copy first"] if then is not None else []
    console.report({"restore": report}, lambda: [*_restore_lines(report), *ran])


def _warn_of_revisions(plan: RestorePlan, *, yes: bool) -> None:
    """Tell that the code is of another age than the snapshot, and ask, unless agreement was given."""
    from seedtool.workflows.snapshots import unknown_fault

    branch = plan.snapshot.branch
    came_from = f", saved on branch {branch}" if branch else ""
    fault = unknown_fault(plan)
    output.say(fault + came_from, label="warning")
    remedy = "Check out the code it was saved with, or agree with --yes."
    agree_to("Restore it nevertheless?", yes=yes, fault=fault, remedy=remedy)


def _restore_lines(report: RestoreReport) -> list[str]:
    lines = [f"restored {report.database} from {report.snapshot.name} in {report.milliseconds:.0f} ms"]
    if report.sessions_ended:
        lines.append(f"ended {count(report.sessions_ended, 'session')} on it")
    if report.slots_dropped:
        lines.append(f"dropped {slots_line(report.slots_dropped)}")
    return lines


@snapshot.command("list", short_help="List the database's snapshots.")
@common_options
def list_(*, console: Console, settings: Settings) -> None:
    """List the database's snapshots, the newest first."""
    from seedtool.postgres import server
    from seedtool.workflows import snapshots as workflow

    target = server.find(settings)
    found = workflow.list_snapshots(target=target)
    if not found:
        console.note(f"there are no snapshots of {target} yet: seedtool snapshot save")
    console.report({"database": str(target), "snapshots": found}, lambda: _table(found) if found else [])


def _table(found: list[Snapshot]) -> list[str]:
    rows = [
        (
            each.name,
            _age(each.created),
            _size(each.size),
            ", ".join(each.revisions),
            each.branch or "",
            (each.commit or "")[:10],
            each.note or "",
        )
        for each in found
    ]
    return list(table(("name", "age", "size", "revision", "branch", "commit", "note"), rows))


@snapshot.command(short_help="Give a snapshot another name.")
@click.argument("old", shell_complete=completing.snapshots)
@click.argument("new")
@common_options
def rename(*, old: str, new: str, console: Console, settings: Settings) -> None:
    """Give a snapshot another name."""
    from seedtool.workflows import snapshots as workflow

    renamed = workflow.rename_snapshot(old, new, settings=settings)
    console.report({"rename": renamed}, lambda: [f"{old} is now {renamed.name}"])


@snapshot.command(short_help="Delete snapshots.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completing.snapshots)
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@common_options
def delete(*, names: tuple[str, ...], yes: bool, console: Console, settings: Settings) -> None:
    """Delete snapshots. When one of them does not exist, none is deleted."""
    from seedtool.postgres import server
    from seedtool.snapshots import registry
    from seedtool.workflows import snapshots as workflow

    target = server.find(settings)
    if not yes:
        registry.require_all(target, list(names))  # nobody has to agree to what cannot be
        what = ", ".join(names)
        agree_to(f"Delete {what} of {target}?", yes=yes, fault=f"{what} of {target} would be lost")
    deleted = workflow.delete_snapshots(names, target=target)
    console.report({"deleted": deleted}, lambda: [f"deleted {each.name}" for each in deleted])


@snapshot.command("export", short_help="Write a snapshot to a file.")
@_NAME
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@common_options
def export(*, name: str, file: Path, force: bool, console: Console, settings: Settings) -> None:
    """Write a snapshot to a signed file in pg_dump's custom format. pg_restore can read it too."""
    from seedtool.workflows import snapshots as workflow

    listener = console.listener({})
    with listener.live():
        report = workflow.export_snapshot(name, file, force=force, settings=settings, listener=listener)
    console.report(
        {"export": report}, lambda: [f"wrote {report.snapshot.name} to {report.file} ({_size(report.bytes)})"]
    )


@snapshot.command("import", short_help="Read a snapshot from a file.")
@click.argument("file", type=click.Path(exists=True, readable=True, path_type=Path))
@click.option("--name", help="The name of the snapshot, instead of the name in the file.")
@click.option("--replace", is_flag=True, help="Replace a snapshot of the same name.")
@click.option("--trust-file", is_flag=True, help="Read a file that no key of this project signed. What is in it runs.")
@common_options
def import_(
    *, file: Path, name: str | None, replace: bool, trust_file: bool, console: Console, settings: Settings
) -> None:
    """Read a snapshot from a file that `seedtool snapshot export` wrote, here or with the same SEEDTOOL_ARCHIVE_KEY.

    With --trust-file, also from any dump of pg_dump: custom, directory or tar format, or plain SQL, also in gzip or
    zstd. The SQL in a dump runs on the server with your rights; commands of psql in it are refused. The database stays
    as it is. `seedtool snapshot restore` replaces it by the snapshot.
    """
    from seedtool.workflows import snapshots as workflow

    listener = console.listener({})
    with listener.live():
        report = workflow.import_snapshot(
            file, name, replace=replace, trust_file=trust_file, settings=settings, listener=listener
        )
    console.report(
        {"import": report},
        lambda: [f"read {report.snapshot.name} from {report.file}: seedtool snapshot restore puts it in place"],
    )


def _size(count: int) -> str:
    from seedtool.files.shown import shown_size

    return shown_size(count)


def _age(created: str) -> str:
    seconds = max((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds(), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
