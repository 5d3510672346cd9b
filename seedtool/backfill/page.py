"""The report as one self-contained page of HTML. It fetches nothing and runs no script.

`render` reads from top to bottom as the page does. What comes from the database was written by strangers: it gets into
the page only through `escaped`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from seedtool.backfill import plots
from seedtool.backfill.formatting import dollars, duration, escaped, percent
from seedtool.backfill.report import Failure, Report, UserSum
from seedtool.files.writing import PRIVATE, write_whole
from seedtool.printable import count
from seedtool.settings import Backfill

#: The most users and errors that a table shows. It says how many more there are.
MOST_USERS = 40
MOST_ERRORS = 200

# A browser fetches nothing and runs nothing on this page, whatever a file is called.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(
    report: Report,
    rules: Backfill,
    *,
    where: str,
    database: str,
    ended: datetime,
    decides: bool = True,
    goes_on: bool = False,
    back: str = "",
) -> str:
    """Return a report as one page of HTML.

    Args:
        report: what a run did.
        rules: the thresholds and prices that it used.
        where: the AWS account and region, or the endpoint.
        database: the target, as reports name it.
        ended: when the run ended, or when the report was made.
        decides: seedtool compared the faces; False when an application did, which answers with counts only.
        goes_on: the run has not ended. The browser asks for the page again.
        back: the address of the page that leads here; empty for a file.
    """
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
            '<meta http-equiv="refresh" content="5">' if goes_on else "",
            f"<title>Face backfill, {ended:%Y-%m-%d %H:%M}</title>",
            f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style></head><body>",
            f'<nav><a href="{escaped(back)}">All runs</a></nav>' if back else "",
            *_header(report, where, database, ended, goes_on=goes_on),
            *(() if _nothing_to_do(report) else _faces(report, rules, decides=decides)),
            *(() if _nothing_to_do(report) else _course(report)),
            *_cost(report, rules),
            *_failures(report),
            *_footer(report),
            "</body></html>\n",
        )
    )


def write(path: Path, page: str) -> None:
    """Write a page that its owner alone may read: it names files and people.

    Whoever opens the file meanwhile sees the old page or the new one, never a part of it.
    """
    write_whole(path, page.encode("utf-8", errors="replace"), mode=PRIVATE)


# The sections of the page, from top to bottom.


def _header(report: Report, where: str, database: str, ended: datetime, *, goes_on: bool) -> Iterator[str]:
    zone = f" {ended:%Z}" if ended.tzinfo else ""
    yield f"<header><h1>Face backfill</h1><p class=quiet>{escaped(database)}, {escaped(where)}<br>"
    when = f"{ended:%Y-%m-%d %H:%M}{escaped(zone)}"
    if goes_on:
        yield f"as of {when}, running for {duration(report.seconds)}</p>"
        done = count(report.succeeded + report.failed)
        color, sentence = "review", f"Running: {done} of {count(report.assets, 'asset')} done."
    else:
        yield f"ended {when} after {duration(report.seconds)}</p>"
        color, sentence = _state(report)
    yield f'<p class="state {color}">{sentence}</p></header>'
    if _nothing_to_do(report):
        yield f"<p>{count(report.skipped, 'asset')} skipped: done or failed before, or processed by the application."
        yield " <code>--retry-failed</code> processes those that failed.</p>"
        return
    yield '<dl class="sums">'
    done = f"of {count(report.assets)}, {count(report.users, 'user')}"
    if report.skipped:
        done += f"<br>{count(report.skipped)} skipped"
    yield _sum("assets succeeded", count(report.succeeded), done)
    share = percent(report.failed, report.succeeded + report.failed)
    yield _sum("assets failed", count(report.failed), share, "failed")
    rate = report.cost / report.succeeded if report.succeeded else 0.0
    yield _sum("cost", dollars(report.cost), f"{dollars(rate)} per asset" if rate else "")
    small = f"{count(report.dropped)} more were too small" if report.dropped else ""
    yield _sum("faces detected", count(report.faces), small)
    yield _sum("linked to a person", count(report.auto_assigned), percent(report.auto_assigned, report.faces))
    suggested = f"{count(report.suggested)} with suggestions" if report.suggested else ""
    yield _sum("faces without a person", count(report.needs_person), suggested)
    yield "</dl>"


def _state(report: Report) -> tuple[str, str]:
    """Return the color and the sentence that say how the run ended."""
    left = (
        f" {count(report.left, 'asset')} {'is' if report.left == 1 else 'are'} left. The same command continues."
        * bool(report.left)
    )
    failed = f" {count(report.failed, 'asset')} failed: see below." if report.failed else ""
    if report.interrupted:
        return "review", f"Interrupted.{failed}{left}"
    if report.stopped:
        return "review", f"Stopped: {escaped(report.stopped)}.{failed}{left}"
    if report.users_elsewhere:
        return "review", f"Another run is processing {count(report.users_elsewhere, 'user')}.{failed}{left}"
    if failed or report.notes:
        return "failed", f"Finished.{failed or ' There were other errors: see below.'}"
    if not report.succeeded:
        return "linked", "There was nothing to do."
    return "linked", "Finished: every asset succeeded."


def _nothing_to_do(report: Report) -> bool:
    return not (report.assets or report.succeeded or report.failed or report.decided_again)


def _sum(name: str, value: str, more: str, color: str = "") -> str:
    kind = f" {color}" if color and value != "0" else ""
    below = f'<dd class="more">{more}</dd>' if more else ""
    return f'<div><dt>{name}</dt><dd class="sum{kind}">{value}</dd>{below}</div>'


def _faces(report: Report, rules: Backfill, *, decides: bool) -> Iterator[str]:
    yield "<section><h2>What became of the faces</h2>"
    decided = report.auto_assigned + report.needs_person
    if decided:
        new = report.needs_person - report.suggested
        parts = [("linked", report.auto_assigned, "linked to a person")]
        if decides:
            parts.append(("review", report.suggested, "to review, with suggestions"))
        parts.append(("new", new, "new, to be named" if decides else "without a person"))
        items = (f"<li class={kind}>{count(n)} {what} ({percent(n, decided)})</li>" for kind, n, what in parts)
        yield f"<figure>{plots.outcomes(report)}<ul class=legend>{''.join(items)}</ul></figure>"
    else:
        yield "<p>No faces were kept.</p>"
    yield "</section><section><h2>Similarity of all matches</h2>"
    if not decides:
        yield "<p>An application compared the faces. Its answers hold counts only.</p></section>"
        return
    if not report.similarities:
        yield f"<p>No face matched an earlier face at {rules.review:g} or more.</p></section>"
        return
    yield f"<figure>{plots.similarities(report.similarities, rules)}<figcaption>Each face is compared with the faces "
    yield "on earlier assets of the same user. "
    yield f"From {rules.assign:g} on, the face is linked to the person of the match, if it has one. "
    yield f"From {rules.review:g} on, the matches are suggestions. Matches below {rules.review:g} are not counted."
    yield "</figcaption></figure></section>"


def _course(report: Report) -> Iterator[str]:
    yield "<section><h2>Progress and throttling</h2>"
    if not report.points or report.points[-1].seconds < 0.01:
        yield "<p>The run was too short to draw.</p></section>"
        return
    throttled, calls = sum(report.throttled.values()), sum(report.calls.values())
    yield f"<figure>{plots.progress(report.points, report.assets)}<ul class=legend>"
    yield "<li class=linked>assets processed</li>"
    if report.failed:
        yield "<li class=failed>assets failed</li>"
    yield "<li class=new>calls</li>"
    if throttled:
        yield "<li class=failed>calls throttled</li>"
    caption = (
        f"{count(throttled)} of {count(calls, 'call')} were throttled ({percent(throttled, calls)})."
        if throttled
        else "No call was throttled."
    )
    yield f"</ul><figcaption>{caption} The dotted line is the number of assets to process.</figcaption></figure>"
    yield "</section>"


def _cost(report: Report, rules: Backfill) -> Iterator[str]:
    yield "<section><h2>Cost</h2>"
    yield f"<p class=quiet>Billed calls at the prices of {escaped(rules.prices_of)}. The prices are settings; "
    yield "AWS’s bill may differ.</p>"
    yield _table_of_calls(report, rules.prices)
    yield "</section>"
    if report.by_user:
        yield f"<section><h2>Cost per user</h2>{_table_of_users(report)}</section>"


def _failures(report: Report) -> Iterator[str]:
    if report.failed:
        yield f"<section><h2>Errors</h2>{_table_of_errors(report)}"
        if report.failed > min(len(report.errors), MOST_ERRORS):
            yield "<p>The journal has all of them:</p><pre><code>SELECT * FROM seedtool.backfill_assets "
            yield "WHERE state = 'failed';</code></pre>"
        yield "<p>Fix the causes, then run <code>seedtool backfill --retry-failed</code>.</p></section>"
    if report.notes:
        yield "<section><h2>Other errors</h2><ul class=notes>"
        shown = report.notes[:MOST_ERRORS]
        yield "".join(f"<li>{escaped(note, 400)}</li>" for note in shown)
        if len(report.notes) > len(shown):
            yield f"<li>and {count(len(report.notes) - len(shown))} more</li>"
        yield "</ul></section>"


def _footer(report: Report) -> Iterator[str]:
    yield "<footer>"
    if report.needs_person:
        wait = "waits" if report.needs_person == 1 else "wait"
        yield f"<p>{count(report.needs_person, 'face')} {wait} for a person: <code>seedtool faces review</code></p>"
    if report.adopted:
        yield f"<p>The faces of {count(report.adopted, 'asset')} were in the collection already. "
        yield "They were not indexed again.</p>"
    yield "<p>Written by <code>seedtool backfill --html</code>.</p></footer>"


# The tables. Each has a bounded number of rows and says how many more there are.


def _table_of_users(report: Report) -> str:
    """Return the users that cost most, each with a bar."""
    shown = report.by_user[:MOST_USERS]
    most = max((each.cost for each in shown), default=0.0) or 1.0
    head = _head(
        ("user", ""), ("assets", "number"), ("failed", "number spare"), ("faces", "number"),
        ("linked", "number spare"), ("without a person", "number spare"), ("cost", "number"),
    )  # fmt: skip

    def rows() -> Iterator[str]:
        for each in shown:
            bar = f'<span class="bar" style="width:{100 * each.cost / most:.1f}%"></span>'
            yield (
                f'<tr><th scope="row">{_user(each)}{bar}</th>'
                + _numbers(count(each.succeeded + each.failed))
                + _numbers(count(each.failed), spare=True)
                + _numbers(count(each.faces))
                + _numbers(count(each.auto_assigned), count(each.needs_person), spare=True)
                + _numbers(dollars(each.cost))
                + "</tr>"
            )
        others = report.users - len(shown)
        if others > 0:
            rest = max(0.0, report.cost - sum(each.cost for each in shown))
            yield (
                f'<tr><th scope="row">and {count(others, "more user")}</th><td></td><td class="spare"></td><td></td>'
                f'<td class="spare"></td><td class="spare"></td>{_numbers(dollars(rest))}</tr>'
            )

    if report.users > len(shown):
        return _table(f"The {count(len(shown))} of {count(report.users)} users that cost most.", head, rows())
    return _table("All users, the most expensive first.", head, rows())


def _table_of_calls(report: Report, prices: Mapping[str, float]) -> str:
    """Return the calls by operation: how many, how many of them throttled and billed, and the cost."""
    head = _head(
        ("operation", ""), ("calls", "number"), ("throttled", "number spare"), ("billed", "number"), ("cost", "number")
    )

    def rows() -> Iterator[str]:
        for name, number in report.calls.items():
            throttled = report.throttled.get(name, 0)
            share = f"{throttled:,} ({percent(throttled, number)})" if throttled else "0"
            billed = report.billed.get(name, 0)
            cost = dollars(billed * prices[name]) if prices.get(name) else "free"
            yield row(escaped(name), count(number), share, count(billed) if prices.get(name) else "", cost)
        calls, throttled, billed = (sum(each.values()) for each in (report.calls, report.throttled, report.billed))
        yield row("all", count(calls), count(throttled), count(billed), dollars(report.cost), "total")

    def row(name: str, calls: str, throttled: str, billed: str, cost: str, kind: str = "") -> str:
        cells = _numbers(calls) + _numbers(throttled, spare=True) + _numbers(billed, cost)
        return f'<tr class="{kind}"><th scope="row">{name}</th>{cells}</tr>'

    caption = (
        "Calls include retries. AWS does not bill a call that it answers with an error. "
        "A call whose answer was lost counts as billed."
    )
    return _table(caption, head, rows())


def _table_of_errors(report: Report) -> str:
    """Return the assets that failed, grouped by remedy, the most frequent remedy first."""
    shown = report.errors[:MOST_ERRORS]
    frequency = Counter(each.remedy for each in report.errors)
    by_remedy: dict[str, list[Failure]] = {}
    for each in shown:
        by_remedy.setdefault(each.remedy, []).append(each)
    head = _head(("file", ""), ("cause", ""))

    def rows() -> Iterator[str]:
        for remedy, failures in sorted(by_remedy.items(), key=lambda item: -frequency[item[0]]):
            title = escaped(remedy, 400) if remedy else "No remedy is known."
            yield f'<tr class="cure"><th colspan="2" scope="rowgroup">{title}</th></tr>'
            for each in failures:
                yield (
                    f'<tr><th scope="row"><bdi>{escaped(each.file_name)}</bdi></th><td>{escaped(each.cause, 400)}'
                    f'<span class="ids">asset <code>{escaped(each.asset_id)}</code></span>'
                    f'<span class="ids">user {_user(each)}</span></td></tr>'
                )

    which = f"{count(len(shown))} of {count(report.failed)}" if report.failed > len(shown) else count(report.failed)
    caption = f"{which} failed {'asset' if report.failed == 1 else 'assets'}, grouped by what to do about them."
    return _table(caption, head, rows(), "errors")


def _user(each: Failure | UserSum) -> str:
    code = f"<code>{escaped(each.user_id)}</code>"
    return f"<bdi>{escaped(each.user_label)}</bdi> {code}" if isinstance(each.user_label, str) else code


def _table(caption: str, head: str, rows: Iterator[str], kind: str = "") -> str:
    return f'<table class="{kind}"><caption>{caption}</caption>{head}<tbody>{"".join(rows)}</tbody></table>'


def _head(*columns: tuple[str, str]) -> str:
    cells = "".join(f'<th scope="col" class="{kind}">{escaped(name)}</th>' for name, kind in columns)
    return f"<thead><tr>{cells}</tr></thead>"


def _numbers(*texts: str, spare: bool = False) -> str:
    """Return cells of numbers; `spare` ones are hidden on a narrow screen."""
    return "".join(f'<td class="number{" spare" * spare}">{text}</td>' for text in texts)
