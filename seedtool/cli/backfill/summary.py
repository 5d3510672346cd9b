"""What a backfill did, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedtool.backfill import Report


def lines(report: Report, prices: Mapping[str, float], where: str) -> Iterator[str]:
    """Yield each error, the sums, what it cost, and what to do next.

    Args:
        report: the report.
        prices: dollars a call by operation.
        where: account and region, or the endpoint.
    """
    yield from _errors(report)
    left = f", {report.left:,} left" * bool(report.left)
    suggested = f" ({report.suggested:,} with suggestions)" * bool(report.suggested)
    sums = (
        ("users", report.users, ""),
        ("assets", report.assets, f"{report.succeeded:,} succeeded, {report.failed:,} failed{left}"),
        ("skipped", report.skipped, "done or failed before, or processed by the application"),
        (
            "faces",
            report.faces,
            f"{report.auto_assigned:,} auto-assigned, {report.needs_person:,} need a person{suggested}",
        ),
        ("too small", report.dropped, "faces detected and not kept"),
    )
    width = max(len(f"{count:,}") for _, count, _ in sums)
    for name, count, told in sums:
        yield f"{name:9}  {count:{width},}  {told}".rstrip()
    yield _cost(report, prices)
    throttled = sum(report.throttled.values())
    over = f", {throttled:,} of {sum(report.calls.values()):,} calls over the quota" * bool(throttled)
    yield f"{where}, in {report.seconds:.1f} s{over}"
    if report.adopted:
        yield f"{report.adopted:,} assets had their faces in the collection already: nothing was indexed twice"
    if report.users_elsewhere:
        yield f"another run is at work on {report.users_elsewhere:,} users"
    if report.stopped:
        yield f"ended early: {report.stopped}; the same command goes on"
    if report.interrupted:
        yield "interrupted; the same command goes on"
    if report.failed:
        yield "once the errors are mended: seedtool backfill --retry-failed"
    if report.needs_person:
        yield f"{report.needs_person:,} face{'s' * (report.needs_person != 1)} await assignment: seedtool faces review"


def _errors(report: Report) -> Iterator[str]:
    from seedtool.backfill.page.values import visible

    for failure in report.errors:
        yield f"{visible(failure.file_name)}: {visible(failure.cause)}"
        yield f"  asset {failure.asset_id}, user {failure.user_id}"
        if failure.remedy:
            yield f"  {failure.remedy}"
    if report.failed > len(report.errors):
        more = report.failed - len(report.errors)
        yield f"... and {more:,} more; seedtool.backfill_assets has all of them, with state = 'failed'"
    yield from report.notes


def _cost(report: Report, prices: Mapping[str, float]) -> str:
    paid = [f"{count:,} {name} x ${prices[name]:g}" for name, count in report.calls.items() if prices.get(name)]
    free = [f"{count:,} {name}" for name, count in report.calls.items() if not prices.get(name)]
    cost = f"cost: {' + '.join(paid)} = ${report.cost:,.3f}" if paid else f"cost: ${report.cost:,.3f}"
    return cost + (f" (and free of charge: {', '.join(free)})" if free else "")
