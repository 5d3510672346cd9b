"""backfill: what it would do and cost, the run with its progress line, and what it did."""

from __future__ import annotations

import contextlib
import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedtool.cli.console import CONTEXT, Console, agree_to, common_options, table
from seedtool.errors import UsageError
from seedtool.listener import Listener
from seedtool.printable import count, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from seedtool.backfill import LibraryConnection, Options, Plan, Progress, Report, Run
    from seedtool.settings import Settings

# Users and assets that the text of a dry run lists before it says how many more there are.
_LISTED = 20

# Columns of the progress bar: the most, and the fewest in the long and in the short form of the line.
_LONGEST_BAR, _LEAST_LONG, _LEAST_SHORT = 60, 10, 4


@click.command(short_help="Index every photo of the library once.", context_settings=CONTEXT)
@click.option("--user-id", metavar="UUID", help="Process this user only.")
@click.option("--dry-run", is_flag=True, help="List the assets to process; call nothing and write nothing.")
@click.option("--since", metavar="DATE", help="Process assets that were created on this day or later only.")
@click.option("--where", metavar="SQL", help="Process assets only for which this condition on their rows holds.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Process at most N assets of each user.")
@click.option("--skip-prompt", "--yes", "yes", is_flag=True, help="Begin without asking.")
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 1000), default=10, help="Assets at a time [10].")
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="End before it would cost more.")
@click.option("--retry-failed", is_flag=True, help="Also process assets that failed before.")
@click.option("--reindex", is_flag=True, help="Also process assets that are done: delete their faces, index again.")
@click.option("--interactive", is_flag=True, help="Choose from a menu.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Also write the report as a web page.")
@click.option("--with-labels", is_flag=True, help="Say in --json and --html, too, who the users are.")
@click.option("--endpoint", metavar="URL", help="Let an application process the photos.")
@common_options
def backfill(
    *,
    yes: bool,
    dry_run: bool,
    interactive: bool,
    since: str | None,
    html: Path | None,
    with_labels: bool,
    endpoint: str | None,
    console: Console,
    settings: Settings,
    **chosen: Any,  # noqa: ANN401 - the fields of seedtool.backfill.Options
) -> int:
    """Index the photos of all users, the oldest user first, and decide who is on them.

    It first shows what it will do and what that will cost, and asks. If it is interrupted or killed, the same command
    continues.
    """
    from seedtool.backfill import Options, connect
    from seedtool.files.writing import check_place
    from seedtool.postgres import server
    from seedtool.workflows import backfill as workflow

    _refuse_contradictions(dry_run=dry_run, html=html, endpoint=endpoint, interactive=interactive, **chosen)
    if html is not None:
        check_place(html)
    chosen["since"] = _day(since)
    options = Options(**chosen)
    target = server.find(settings)
    if interactive:
        from seedtool.cli import backfill_menu

        answer = backfill_menu.choose(options, settings, target)
        if answer is None:
            console.note("cancelled; nothing was done")
            return 0
        dry_run = bool(answer.pop("dry_run", False))
        options = Options(**(chosen | answer))
    if dry_run:
        with connect(settings.backfill, target) as connection:
            _dry_run(connection, settings, options, console, with_labels=with_labels)
        return 0
    where, run = workflow.open_backfill(options, endpoint=endpoint, settings=settings, target=target)
    planned = workflow.plan_backfill(options, settings=settings, target=target)
    console.note(f"{where}; {target}")
    for line in _plan_lines(planned, priced=endpoint is None):
        console.note(line)
    if planned.assets:
        remedy = "Give --yes (or --skip-prompt) to begin without a question, or --dry-run to see what it would do."
        agree_to("Begin?", yes=yes, fault="nobody confirmed the run, so nothing was done", remedy=remedy)
    report = _execute(run, console, where, html, with_labels=with_labels)
    return 130 if report.interrupted else 0 if report.ok else 1


def _refuse_contradictions(
    *,
    dry_run: bool,
    html: Path | None,
    endpoint: str | None,
    interactive: bool,
    user_id: str | None,
    limit: int | None,
    max_cost: float | None,
    **_: object,
) -> None:
    if interactive and (dry_run or user_id is not None or limit is not None):
        raise UsageError(
            "--interactive asks what to do, so --dry-run, --user-id and --limit cannot be given with it",
            remedy="Leave these flags out.",
            option="--interactive",
        )
    if dry_run and html is not None:
        raise UsageError(
            "a dry run writes no report, so --html cannot be given with --dry-run",
            remedy="Leave --html out.",
            option="--html",
        )
    if endpoint is not None and max_cost is not None:
        raise UsageError(
            "--max-cost counts AWS calls, but with --endpoint the application makes them",
            remedy="Limit the run with --limit or --user-id.",
            option="--max-cost",
        )


def _day(given: str | None) -> datetime | None:
    from datetime import datetime

    if given is None:
        return None
    try:
        return datetime.fromisoformat(given.strip())
    except ValueError:
        raise UsageError(
            f"{given!r} is not a day",
            remedy="Write it as 2026-01-31, or with a time: 2026-01-31T08:00+01:00.",
            option="--since",
        ) from None


def _execute(run: Run, console: Console, where: str, html: Path | None, *, with_labels: bool) -> Report:
    """Execute a run under a progress line, and report what it did, also when it ends with an error."""
    from seedtool.cli.failures import ErrorWithReport

    line = ProgressLine(console, run)
    try:
        report = run.execute(line)
    except (Exception, KeyboardInterrupt) as error:
        line.clear()
        if run.report is None:
            raise
        kept = _with_labels(run, run.report)
        written = kept if with_labels else run.report
        _report(run, kept, console, where)
        _write_page(run, written, console, where, html)
        # with --json, stdout gets one object, which holds the error and the report
        raise ErrorWithReport(error, written) from error
    line.clear()
    shown = _with_labels(run, report)
    written = shown if with_labels else report
    if console.as_json:
        console.report(written, lambda: ())
    _report(run, shown, console, where)
    _write_page(run, written, console, where, html)
    return report


def _with_labels(run: Run, report: Report) -> Report:
    """Return the report with what says who its users are, as far as the database can be asked."""
    import psycopg

    from seedtool.backfill import connect, library
    from seedtool.backfill.report import labelled
    from seedtool.errors import SeedtoolError

    users = {each.user_id for each in report.errors} | {each.user_id for each in report.by_user}
    labels: dict[str, str] = {}
    if users:
        rules, unknown = run.settings.backfill, contextlib.suppress(SeedtoolError, psycopg.Error)
        with unknown, connect(rules, run.target, patience=2.0) as connection:
            if connection.shape.label is not None:
                labels = library.labels(connection, sorted(users))
    return labelled(report, labels)


def _report(run: Run, report: Report, console: Console, where: str) -> None:
    if not console.as_json:
        console.report(report, lambda: _report_lines(report, run.settings.backfill.prices, where))


def _write_page(run: Run, report: Report, console: Console, where: str, html: Path | None) -> None:
    from datetime import UTC, datetime

    from seedtool.backfill import page

    rules = run.settings.backfill
    if html is not None:
        decides = report.mode != "endpoint"
        ended = datetime.now(UTC)
        page.write(
            html, page.render(report, rules, where=where, database=str(run.target), ended=ended, decides=decides)
        )
        console.note(f"the report is in {html}")


# Before the run


def _dry_run(
    connection: LibraryConnection, settings: Settings, options: Options, console: Console, *, with_labels: bool
) -> None:
    """List the assets to process."""
    import msgspec

    from seedtool.backfill import counts, library, listing, plan

    planned = plan(connection, settings, options)
    if console.as_json:
        listed = listing(connection, options, with_labels=with_labels)
        console.stream(msgspec.structs.asdict(planned), "listed", listed)
        return
    if console.quiet:
        return
    for line in _plan_lines(planned, priced=True):
        console.line(line)
    users = list(islice(counts(connection, options), _LISTED))
    if users:
        labels = library.labels(connection, [user for user, _ in users])
        named = connection.shape.label is not None
        heads = ("user", settings.backfill.user_label, "assets") if named else ("user", "assets")
        rows = ((user, *((labels.get(user, ""),) if named else ()), assets) for user, assets in users)
        for line in table(heads, rows):
            console.line(f"  {line}")
        if planned.users > len(users):
            console.line(f"  ... and {count(planned.users - len(users), 'more user')}")
        # one user at a time: a listing of all users would sort all assets for the first few
        of_one = (msgspec.structs.replace(options, user_id=user) for user, _ in users)
        first = islice((asset for each in of_one for asset in listing(connection, each)), _LISTED)
        for line in table(("asset", "file"), ((each.asset_id, each.file_name) for each in first)):
            console.line(f"  {line}")
        if planned.assets > _LISTED:
            console.line(f"  ... and {count(planned.assets - _LISTED, 'more asset')}; --json lists all")
    console.line("dry run: nothing was called and nothing was written")


def _plan_lines(plan: Plan, *, priced: bool) -> Iterator[str]:
    """Yield how much there is to process, and the estimated cost.

    Args:
        plan: what a run would do.
        priced: the run itself calls AWS; otherwise an application does.
    """
    if plan.since is not None:
        zone = f" ({plan.time_zone})" if plan.since.tzinfo is None else ""
        yield f"only assets since {plan.since.isoformat(sep=' ', timespec='minutes')}{zone}"
    if plan.where is not None:
        yield f"only assets where {plan.where}"
    failed = f" ({plan.failed_before:,} of them failed before: --retry-failed)" * bool(plan.failed_before)
    yield f"{count(plan.assets, 'asset')} of {count(plan.users, 'user')} to process, {plan.skipped:,} skipped{failed}"
    if not plan.assets:
        return
    if not priced:
        yield "the application processes the photos, and pays AWS for it"
        return
    quotas = sorted(set(plan.calls_a_second.values()))
    allowed = " and ".join(f"{quota:g}" for quota in quotas)
    new = f", {plan.new_collections:,} to create" * bool(plan.new_collections)
    yield f"collections {plan.collection_prefix}...: {plan.collections:,} known{new}"
    calls = " + ".join(f"{count:,} {name}" for name, count in plan.calls.items())
    yield (
        f"estimate: ${plan.cost:,.2f} for {calls}, at {plan.faces_a_photo:g} faces per photo "
        f"(prices of {plan.prices_of})"
    )
    where = f" in {plan.region}" if plan.region else ", as no region is set"
    yield f"at least {_time_left(plan.seconds)} at the quota of {allowed} calls a second for each operation{where}"


# During the run


class ProgressLine(Listener):
    """Shows how far a run is, in one line of stderr. Without a terminal it only says that the run is ending.

    Args:
        console: with --quiet nothing is shown.
        run: the run, which has more numbers than a listener hears.
    """

    def __init__(self, console: Console, run: Run) -> None:
        self._console = console
        self._run = run
        self._shows = not console.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        blocks = "utf" in (sys.stderr.encoding or "").lower()
        self._full, self._empty = ("█", "░") if blocks else ("#", "-")
        self._written = 0
        self._said_ending = False
        self._said_outage = False

    def progress(self, what: str, done: int, total: int | None = None) -> None:  # noqa: ARG002 - the run knows more
        """Show how far the run is."""
        progress = self._run.progress
        if progress.ending and not self._said_ending:
            self._said_ending = True
            self.clear()
            self._console.note("finishing what is in progress; Ctrl+C again ends at once, and loses nothing either")
        if progress.outage and not self._said_outage:
            self.clear()
            self._console.note(f"{progress.outage}; trying again for up to {_time_left(progress.ends_in)}")
        elif self._said_outage and not progress.outage:
            self.clear()
            self._console.note("calls are answered again")
        self._said_outage = bool(progress.outage)
        if self._shows:
            width = _width()
            text = progress_line(progress, width, self._full, self._empty)
            sys.stderr.write("\r" + text.ljust(min(self._written, width)))
            sys.stderr.flush()
            self._written = len(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._written:
            # the window may be narrower by now: blanks beyond its edge would go on in the next line
            sys.stderr.write("\r" + " " * min(self._written, _width()) + "\r")
            sys.stderr.flush()
            self._written = 0


def _width() -> int:
    """Return the columns that may be written without a new line."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return (columns or 80) - 1


def progress_line(progress: Progress, width: int, full: str = "#", empty: str = "-") -> str:
    """Return the progress in one line: bar, percent, done of total, succeeded, failed, faces, and the time left.

    Where that is too wide, words are shortened first; then the bar is left out, then numbers that follow from others.

    Args:
        progress: how far the run is.
        width: the most columns.
        full: a column of the bar that is done.
        empty: a column of the bar that is not done.
    """
    share = progress.done / progress.total if progress.total else 1.0
    percent = f"{int(100 * share)}%"
    left = "ending" if progress.ending else _time_left(progress.seconds_left)
    if progress.outage and not progress.ending:
        return _outage_line(f"{percent} {progress.done}/{progress.total}", _time_left(progress.ends_in), width)
    long = (
        f"{percent:>4}  {progress.done:,}/{progress.total:,}  {progress.succeeded:,} succeeded  "
        f"{progress.failed:,} failed  {progress.faces:,} faces  {left}{'' if progress.ending else ' left'}"
    )
    done = f"{percent} {progress.done}/{progress.total}"
    short = f"{done} {progress.succeeded} ok {progress.failed} bad {progress.faces} faces {left}"
    terse = f"{done} +{progress.succeeded} -{progress.failed} {progress.faces}f {left}"
    tiny = f"{done} -{progress.failed} {left}"
    for text, least in ((long, _LEAST_LONG), (short, _LEAST_SHORT), (terse, _LEAST_SHORT)):
        room = width - len(text) - 3
        if room >= least:
            columns = min(_LONGEST_BAR, room)
            filled = int(columns * share)
            return f"[{full * filled}{empty * (columns - filled)}] {text}"
    return next((text for text in (terse, tiny) if len(text) <= width), tiny[: max(0, width)])


def _outage_line(done: str, left: str, width: int) -> str:
    texts = (
        f"{done}  no answer: tries again, ends in {left}",
        f"{done}  no answer: ends in {left}",
        f"{done} waits {left}",
    )
    return next((text for text in texts if len(text) <= width), texts[-1][: max(0, width)])


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


# After the run


def _report_lines(report: Report, prices: Mapping[str, float], where: str) -> Iterator[str]:
    """Yield the errors, the sums, the cost, and what to do next.

    Args:
        report: what the run did.
        prices: dollars for one call, by operation.
        where: account and region, or the endpoint.
    """
    yield from _error_lines(report)
    left = f", {report.left:,} left" * bool(report.left)
    suggested = f" ({report.suggested:,} with suggestions)" * bool(report.suggested)
    sums = (
        ("users", report.users, ""),
        ("assets", report.assets, f"{report.succeeded:,} succeeded, {report.failed:,} failed{left}"),
        ("skipped", report.skipped, "done or failed before, or processed by the application"),
        (
            "faces",
            report.faces,
            f"{report.auto_assigned:,} linked to a person, {report.needs_person:,} without a person{suggested}",
        ),
        ("too small", report.dropped, "faces detected and not kept"),
    )
    width = max(len(count(number)) for _, number, _ in sums)
    for name, number, text in sums:
        yield f"{name:9}  {count(number):>{width}}  {text}".rstrip()
    yield _cost_line(report, prices)
    throttled = sum(report.throttled.values())
    share = f", {throttled:,} of {sum(report.calls.values()):,} calls throttled" * bool(throttled)
    yield f"{where}, in {report.seconds:.1f} s{share}"
    if report.adopted:
        yield f"the faces of {count(report.adopted, 'asset')} were in the collection already and not indexed again"
    if report.decided_again:
        yield f"{count(report.decided_again, 'asset')} decided about again, as photos before them had failed"
    if report.users_elsewhere:
        yield f"another run is processing {count(report.users_elsewhere, 'user')}"
    if report.stopped:
        yield f"ended early: {report.stopped}; the same command continues"
    if report.interrupted:
        yield "interrupted; the same command continues"
    if report.failed:
        yield "fix the errors, then run seedtool backfill --retry-failed"
    if report.needs_person:
        waits = "waits" if report.needs_person == 1 else "wait"
        yield f"{count(report.needs_person, 'face')} {waits} for a person: seedtool faces review"


def _error_lines(report: Report) -> Iterator[str]:
    for failure in report.errors:
        yield f"{printable(failure.file_name, one_line=True)}: {printable(failure.cause, one_line=True)}"
        named = isinstance(failure.user_label, str)
        user = f"{failure.user_label} ({failure.user_id})" if named else failure.user_id
        yield f"  asset {failure.asset_id}, user {user}"
        if failure.remedy:
            yield f"  {failure.remedy}"
    if report.failed > len(report.errors):
        more = report.failed - len(report.errors)
        yield f"... and {more:,} more; the table seedtool.backfill_assets has all of them, with state = 'failed'"
    yield from report.notes


def _cost_line(report: Report, prices: Mapping[str, float]) -> str:
    paid = [f"{count:,} {name} x ${prices[name]:g}" for name, count in report.billed.items()]
    free = [f"{count:,} {name}" for name, count in report.calls.items() if name not in report.billed]
    not_billed = sum(report.calls[name] - count for name, count in report.billed.items())
    cost = f"cost: {' + '.join(paid)} = ${report.cost:,.3f}" if paid else f"cost: ${report.cost:,.3f}"
    cost += f" (and free of charge: {', '.join(free)})" if free else ""
    return cost + (f"; {count(not_billed, 'more call')} ended with an error and will not be billed" * bool(not_billed))
