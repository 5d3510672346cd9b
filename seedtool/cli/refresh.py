"""refresh, refresh scan, refresh check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import click

from seedtool.cli.console import CONTEXT, Console, agreed, common_options, table
from seedtool.cli.seed import WithCommands
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seedtool.errors import RefreshError
    from seedtool.postgres.server import Target
    from seedtool.refreshing.preview import ColumnPreview
    from seedtool.resetting.guard import Consent
    from seedtool.settings import Settings
    from seedtool.workflows.refresh import Checked, Refreshed, RefreshPlan

_FROM = click.option("--from", "source", metavar="URL", help="The database that is copied. It is only read.")
_POLICY = click.option(
    "--policy", type=click.Path(path_type=Path), metavar="FILE", help="What becomes of each column [policy.toml]."
)


class WithScanAndCheck(WithCommands):
    """`refresh`, beside `refresh scan` and `refresh check`."""

    commands: ClassVar[dict[str, str]] = {"scan": "refresh:scan", "check": "refresh:check"}


@click.command(
    "refresh",
    cls=WithScanAndCheck,
    short_help="Replace the database by a masked copy of another one.",
    context_settings=CONTEXT,
)
@_FROM
@click.option("--to", metavar="URL", help="The database that is replaced, instead of the project's own.")
@_POLICY
@click.option("-y", "--yes", is_flag=True, help="Replace a database that seedtool made, without asking.")
@click.option("--confirm", metavar="NAME", help="Replace a database that seedtool did not make. NAME is its name.")
@click.option("--dry-run", is_flag=True, help="Say what would be copied and masked; read no row.")
@click.option("--reuse", is_flag=True, help="Use the last proven copy once more; do not ask the source.")
@click.option(
    "--proof", type=click.Choice(["words", "cells"]), help="Prove words in any writing, or only whole cells [words]."
)
@click.option("--preview", is_flag=True, help="Show shapes of values before and after their masks; change nothing.")
@common_options
def refresh(
    *,
    source: str | None,
    to: str | None,
    policy: Path | None,
    yes: bool,
    confirm: str | None,
    dry_run: bool,
    reuse: bool,
    proof: Literal["words", "cells"] | None,
    preview: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Replace the database by a masked copy of another one, which was proven to hold nothing personal.

    The policy says what becomes of each column: a column without a line stops the run before a row is read. The copy
    is made beside the database, proven by code that knows nothing of the masks, and swapped in only then. When
    something is found or goes wrong, the database stays as it is.
    """
    from seedtool.workflows import refresh as workflow

    target = _target(settings, to)
    if proof is not None:
        import msgspec

        settings = msgspec.structs.replace(settings, refresh=msgspec.structs.replace(settings.refresh, proof=proof))
    if preview:
        shown = workflow.preview_masks(source=source, policy=policy, settings=settings)
        console.report({"preview": shown}, lambda: _preview_lines(shown))
        return
    if dry_run:
        plan = workflow.plan_refresh(source=source, policy=policy, settings=settings, target=target)
        console.report({"plan": _shown(plan)}, lambda: _plan_lines(plan))
        return
    steps = {
        "schema": f"copying the schema to beside {target.name} ...",
        "copy": "copying and masking rows ...",
        "keys": "building indexes and keys ...",
        "proof": "proving that nothing personal came through ...",
    }
    with console.working("bytes", steps) as listener:

        def run(consent: Consent) -> Refreshed:
            return workflow.refresh_agreed(
                settings, target, source=source, policy=policy, consent=consent, reuse=reuse, listener=listener
            )

        def look() -> Consent:
            return workflow.consent_needed(target)

        with _findings_shown(console):
            done = agreed(run, look, target, yes=yes, confirm=confirm)
    console.report({"refresh": done}, lambda: _done_lines(done))


@click.command(short_help="Draft a policy for a database.", context_settings=CONTEXT)
@_FROM
@common_options
def scan(*, source: str | None, console: Console, settings: Settings) -> None:
    """Draft a policy for a database, and print it.

    Names, types, comments, foreign keys and a look at some values say what becomes of each column. The values stay in
    memory. What a person has to decide is marked with `# decide`, and stops a refresh until it is decided.
    """
    from seedtool.workflows import refresh as workflow

    text = workflow.draft_policy(source=source, settings=settings)
    console.report({"policy": text}, text.splitlines)


@click.command(short_help="Compare the policy with a database.", context_settings=CONTEXT)
@_FROM
@_POLICY
@common_options
def check(*, source: str | None, policy: Path | None, console: Console, settings: Settings) -> int:
    """Compare the policy with a database's schema, and read no row. The exit code is 1 when they do not fit."""
    from seedtool.workflows import refresh as workflow

    found = workflow.check_policy(source=source, policy=policy, settings=settings)
    console.report({"check": found}, lambda: _check_lines(found))
    return 1 if found.findings else 0


def _target(settings: Settings, to: str | None) -> Target:
    from seedtool.postgres import server
    from seedtool.workflows.refresh import target_of

    return target_of(settings, to) if to is not None else server.find(settings)


def _shown(plan: RefreshPlan) -> dict[str, object]:
    import msgspec

    return {**msgspec.structs.asdict(plan), "consent": plan.consent.name.lower()}


class _findings_shown:  # noqa: N801 - a context manager is written as a function
    """Print what an error of a refresh found or left, when there is more than its message tells."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        from seedtool.cli.failures import ErrorWithReport
        from seedtool.errors import RefreshError, SyncFailed

        if isinstance(error, SyncFailed):
            for line in _done_lines(cast("Refreshed", error.seeded)):
                self._console.note(line)
            raise ErrorWithReport(error, {"refresh": error.seeded}) from error
        if isinstance(error, RefreshError) and error.findings:
            for line in _finding_lines(error):
                self._console.note(line)
            raise ErrorWithReport(error, {"findings": error.findings}) from error


def _finding_lines(error: RefreshError) -> Iterable[str]:
    import msgspec

    for each in error.findings:
        found = each if isinstance(each, dict) else msgspec.to_builtins(each)
        where = ".".join(str(found[key]) for key in ("table", "column") if found.get(key))
        line = f":{found['line']}" if found.get("line") else ""
        file = f"{error.place.get('file', '')}{line}: " if error.place.get("file") and line else ""
        what = str(found.get("what", ""))
        yield f"{file}{'' if file or (where and where in what) else f'{where}: ' if where else ''}{what}"
        if found.get("remedy") and len(error.findings) > 1:
            yield f"  {found['remedy']}"


def _check_lines(found: Checked) -> Iterable[str]:
    for each in found.findings:
        where = f"{found.policy}:{each.line}:{each.character}: " if each.line else f"{found.policy}: "
        yield f"{where}{each.what}"
        yield f"  {each.remedy}"
    if found.findings:
        yield f"{count(len(found.findings), 'finding')}: {found.policy} does not fit {found.source}"
    else:
        yield (
            f"{found.policy} fits {found.source}: {count(found.columns, 'column')} of {count(found.tables, 'table')}"
        )
    yield from found.notes


def _plan_lines(plan: RefreshPlan) -> Iterable[str]:
    from seedtool.files.shown import shown_size
    from seedtool.resetting.guard import Consent

    yield f"would replace {plan.database} by a masked copy of {plan.source}"
    rows = [
        (each.table, each.chosen, each.rows, shown_size(each.bytes), len(each.masked), len(each.kept))
        for each in plan.tables
    ]
    yield from table(("table", "rows", "about", "size", "masked", "kept"), rows)
    yield f"about {plan.seconds:.0f} s for the copy; faces: {plan.faces}"
    yield f"policy {plan.policy} ({plan.policy_hash[:12]}), key {plan.key}"
    yield from plan.notes
    needs = {Consent.NONE: "no confirmation", Consent.YES: "--yes", Consent.NAME: "its name: --confirm NAME"}
    yield f"needs {needs[plan.consent]}; nothing was changed"


def _done_lines(done: Refreshed) -> Iterable[str]:
    report = done.report
    seconds = sum(done.reset.milliseconds.values()) / 1000
    proof = report.proof
    if report.outcome == "reused":
        yield f"replaced {report.database} by the copy of {report.source} that was proven at {report.began}"
    else:
        yield (
            f"replaced {report.database} by a masked copy of {report.source}: {count(report.rows, 'row')} of"
            f" {count(len(report.tables), 'table')} in {seconds:.1f} s"
        )
    masked = sum(len(each.masked) for each in report.tables)
    kept = sum(len(each.kept) for each in report.tables)
    yield f"masked {count(masked, 'column')}, kept {kept}; faces: {report.faces}"
    if proof is not None:
        where = " in whole cells" if proof.look == "cells" else ""
        yield f"proof: nothing found{where} in {proof.seconds:.1f} s"
    if done.sync is not None:
        yield f"faces: {count(done.sync.synced, 'face')} of the copy's own collections linked"
    yield f"report: {done.page}"


def _preview_lines(shown: Sequence[ColumnPreview]) -> Iterable[str]:
    rows = [(each.table, each.column, each.mask, each.before, each.after) for each in shown]
    yield from table(("table", "column", "mask", "before", "after"), rows)
