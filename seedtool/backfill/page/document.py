"""The page: what stands on it, from top to bottom."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from seedtool.backfill.page import plots, tables
from seedtool.backfill.page.values import count, dollars, duration, escaped, percent
from seedtool.backfill.reporting.report import Report
from seedtool.settings import Backfill

# what opens the page may not fetch or run anything, whatever a file is called
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report, rules: Backfill, *, where: str, database: str, ended: datetime, decides: bool = True) -> str:
    """Return a report as one page of HTML.

    Args:
        report: what a backfill did.
        rules: the thresholds and prices it went by.
        where: the account and region, or the endpoint, that it worked with.
        database: the target, as reports name it.
        ended: when it ended.
        decides: the similarities are known; an application's endpoint tells only counts.
    """
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
            f"<title>Face backfill, {ended:%Y-%m-%d %H:%M}</title>",
            f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style></head><body>",
            *_head(report, where, database, ended),
            *_faces(report, rules, decides=decides),
            *_course(report),
            *_cost(report, rules),
            *_failures(report),
            *_foot(report),
            "</body></html>\n",
        )
    )


def _head(report: Report, where: str, database: str, ended: datetime) -> Iterator[str]:
    zone = f" {ended:%Z}" if ended.tzinfo else ""
    yield f"<header><h1>Face backfill</h1><p class=quiet>{escaped(database)}, {escaped(where)}<br>"
    yield f"ended {ended:%Y-%m-%d %H:%M}{escaped(zone)} after {duration(report.seconds)}</p>"
    kind, told = _state(report)
    yield f'<p class="state {kind}">{told}</p></header>'
    yield '<dl class="sums">'
    done = f"of {count(report.assets)}, {count(report.users, 'user')}"
    if report.skipped:
        done += f"<br>{count(report.skipped)} done before or left alone"
    yield _sum("assets succeeded", count(report.succeeded), done)
    yield _sum(
        "assets failed", count(report.failed), percent(report.failed, report.succeeded + report.failed), "failed"
    )
    rate = report.cost / report.succeeded if report.succeeded else 0.0
    yield _sum("cost", dollars(report.cost), f"{dollars(rate)} an asset" if rate else "")
    small = f"{count(report.dropped)} more were too small" if report.dropped else ""
    yield _sum("faces detected", count(report.faces), small)
    yield _sum("linked to a person", count(report.auto_assigned), percent(report.auto_assigned, report.faces))
    suggested = f"{count(report.suggested)} with suggestions" if report.suggested else ""
    yield _sum("faces await a person", count(report.needs_person), suggested)
    yield "</dl>"


def _state(report: Report) -> tuple[str, str]:
    """Return how it ended, in one sentence, and its colour."""
    left = (
        f" {count(report.left, 'asset')} {'is' if report.left == 1 else 'are'} left; the same command goes on."
        * bool(report.left)
    )
    failed = f" {count(report.failed, 'asset')} failed: see below." if report.failed else ""
    if report.interrupted:
        return "review", f"Interrupted.{failed}{left}"
    if report.stopped:
        return "review", f"Stopped: {escaped(report.stopped)}.{failed}{left}"
    if report.users_elsewhere:
        return "review", f"Another run is at work on {count(report.users_elsewhere, 'user')}.{failed}{left}"
    if failed or report.notes:
        return "failed", f"Finished.{failed or ' Some things went wrong: see below.'}"
    if not report.succeeded:
        return "linked", "There was nothing to do."
    return "linked", "Finished: every asset succeeded."


def _sum(name: str, value: str, more: str, kind: str = "") -> str:
    colour = f" {kind}" if kind and value != "0" else ""
    below = f'<dd class="more">{more}</dd>' if more else ""
    return f'<div><dt>{name}</dt><dd class="sum{colour}">{value}</dd>{below}</div>'


def _faces(report: Report, rules: Backfill, *, decides: bool) -> Iterator[str]:
    yield "<section><h2>What became of the faces</h2>"
    decided = report.auto_assigned + report.needs_person
    if decided:
        new = report.needs_person - report.suggested
        told = [("linked", report.auto_assigned, "linked to a person")]
        if decides:
            told.append(("review", report.suggested, "to review, with suggestions"))
        told.append(("new", new, "new, to be named" if decides else "await a person"))
        items = (f"<li class={kind}>{count(n)} {what} ({percent(n, decided)})</li>" for kind, n, what in told)
        yield f"<figure>{plots.outcomes(report)}<ul class=legend>{''.join(items)}</ul></figure>"
    else:
        yield "<p>No face was decided about.</p>"
    yield "</section><section><h2>Similarity of all matches</h2>"
    if not decides:
        yield "<p>An application compared the faces: its answers hold only counts.</p></section>"
        return
    if not report.similarities:
        yield f"<p>No face was like an earlier one at {rules.review:g} or more.</p></section>"
        return
    yield f"<figure>{plots.similarities(report.similarities, rules)}<figcaption>Each face is compared with the faces "
    yield f"of its user’s earlier assets. From {rules.assign:g} on it is linked, if one of these has a person; from "
    yield f"{rules.review:g} on they are its suggestions; what is below {rules.review:g} is not looked at."
    yield "</figcaption></figure></section>"


def _course(report: Report) -> Iterator[str]:
    yield "<section><h2>Progress and throttling</h2>"
    if not report.points or report.points[-1].seconds < 0.01:
        yield "<p>It ended before there was anything to draw.</p></section>"
        return
    over, calls = sum(report.throttled.values()), sum(report.calls.values())
    told = f"{count(over, 'answer')} of {count(calls)} said that we were over the quota ({percent(over, calls)})"
    yield f"<figure>{plots.progress(report.points, report.assets)}<ul class=legend>"
    yield "<li class=linked>assets processed</li>"
    if report.failed:
        yield "<li class=failed>assets failed</li>"
    yield "<li class=new>calls</li>"
    if over:
        yield "<li class=failed>calls throttled</li>"
    yield f"</ul><figcaption>{told if over else 'No answer said that we were over the quota'}. "
    yield "The dotted line is what was to be processed.</figcaption></figure></section>"


def _cost(report: Report, rules: Backfill) -> Iterator[str]:
    yield "<section><h2>Cost</h2>"
    yield f"<p class=quiet>Attempts at the prices of {escaped(rules.prices_of)}: they are settings, "
    yield "and AWS’s bill may differ.</p>"
    yield tables.calls(report, rules.prices)
    yield "</section>"
    if report.by_user:
        yield f"<section><h2>Cost per user</h2>{tables.users(report)}</section>"


def _failures(report: Report) -> Iterator[str]:
    if report.failed:
        yield f"<section><h2>Errors</h2>{tables.errors(report)}"
        if report.failed > min(len(report.errors), tables.MOST_ERRORS):
            yield "<p>The journal has all of them:</p><pre><code>SELECT * FROM seedtool.backfill_assets "
            yield "WHERE state = 'failed';</code></pre>"
        yield "<p>Once they are mended, <code>seedtool backfill --retry-failed</code> takes them up again.</p>"
        yield "</section>"
    if report.notes:
        yield "<section><h2>What else went wrong</h2><ul class=notes>"
        shown = report.notes[: tables.MOST_ERRORS]
        yield "".join(f"<li>{escaped(note, 400)}</li>" for note in shown)
        if len(report.notes) > len(shown):
            yield f"<li>and {count(len(report.notes) - len(shown))} more</li>"
        yield "</ul></section>"


def _foot(report: Report) -> Iterator[str]:
    yield "<footer>"
    if report.needs_person:
        yield f"<p>{count(report.needs_person, 'face')} await a person: <code>seedtool faces review</code></p>"
    if report.adopted:
        yield f"<p>{count(report.adopted, 'asset')} had faces in the collection already: nothing was indexed again.</p>"
    yield "<p>Written by <code>seedtool backfill --html</code>.</p></footer>"
