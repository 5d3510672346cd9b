"""The page of a report: one file of HTML that needs nothing else, and holds no value of any row."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from seedtool.files.shown import shown_size
from seedtool.refreshing.report import total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedtool.refreshing.report import Report, TableReport

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d7dbe0, #3a4048); --soft: light-dark(#5c6670, #a3adb8);
  --back: light-dark(#fff, #16191d); --text: light-dark(#1b1f24, #e8ecf0); --good: light-dark(#13693b, #6fd39b);
  --bad: light-dark(#a31622, #ff8f96); --card: light-dark(#f5f7f9, #1e2329); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
table { overflow-wrap: normal; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.125rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); } code { font-size: .9em; overflow-wrap: anywhere; }
.verdict { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: .75rem 1.5rem;
  margin: 1rem 0; padding: 1rem; background: var(--card); border-radius: .5rem; }
dl div { min-width: 0; } dt { color: var(--soft); font-size: .875rem; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem 1.25rem .4rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } th.number { text-align: right; }
details summary { cursor: pointer; } summary:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
@media print { body { max-width: none; } details > * { display: block; } }
"""


def page(report: Report) -> str:
    """Return the page of a report."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Refresh of {_text(report.database)}</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>Refresh of {_text(report.database)}</h1>"
    when = f'<time datetime="{_text(report.began)}">{_when(report)}</time>'
    yield f'<p class="soft">from {_text(report.source)}, {when}</p>'
    yield from _verdict(report)
    yield from _facts(report)
    yield from _findings(report)
    yield from _notes(report)
    yield from _tables(report)
    yield from _kept(report)
    yield from _steps(report)
    yield "</main></body></html>"


def _verdict(report: Report) -> Iterator[str]:
    proof = report.proof
    if report.faces == "share":
        yield '<p class="verdict bad">This database reads production’s face collection (faces = "share").</p>'
    if proof is None:
        yield '<p class="verdict bad">The copy was not proven.</p>'
    elif proof.findings:
        many = len(proof.findings)
        yield (
            f'<p class="verdict bad">The proof refused the copy: {many} finding{"" if many == 1 else "s"}.'
            " The database was not replaced.</p>"
        )
    elif proof.look == "cells":
        yield (
            '<p class="verdict good">The proof found nothing personal in whole cells of the copy.'
            " It did not look within texts.</p>"
        )
    else:
        yield '<p class="verdict good">The proof found nothing personal in the copy.</p>'


def _facts(report: Report) -> Iterator[str]:
    rows, size, _ = total(report.tables)
    masked = sum(len(each.masked) for each in report.tables)
    kept = sum(len(each.kept) for each in report.tables)
    facts = {
        "Outcome": _text(report.outcome),
        "Copied": f"{rows:,} rows, {shown_size(size)}, {len(report.tables)} tables",
        "Columns": f"{masked} masked, {kept} kept",
        "Faces": _text(report.faces),
        "Policy": f"{_text(report.policy)}<br><code>{_text(report.policy_hash)}</code>",
        "Key": f"<code>{_text(report.key)}</code>",
        "Run by": _text(report.by),
    }
    yield "<dl>"
    for name, value in facts.items():
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>"
    yield "</dl>"


def _findings(report: Report) -> Iterator[str]:
    if report.proof is None or not report.proof.findings:
        return
    yield '<h2>Findings</h2><div class="wide"><table>'
    yield "<thead><tr><th>Table</th><th>Column</th><th>Kind</th><th>What</th></tr></thead><tbody>"
    for each in report.proof.findings:
        cells = (each.get("table"), each.get("column"), each.get("kind"), each.get("what"))
        yield "<tr>" + "".join(f"<td>{_text(str(cell or ''))}</td>" for cell in cells) + "</tr>"
    yield "</tbody></table></div>"


def _notes(report: Report) -> Iterator[str]:
    if report.notes:
        yield "<h2>Notes</h2><ul>" + "".join(f"<li>{_text(note)}</li>" for note in report.notes) + "</ul>"


def _tables(report: Report) -> Iterator[str]:
    if not report.tables:
        return
    yield '<h2>Tables</h2><div class="wide"><table><thead><tr><th>Table</th><th>Rows</th>'
    yield '<th class="number">Copied</th><th class="number">Size</th><th class="number">Seconds</th><th>Masked</th>'
    yield "<th>Kept</th></tr></thead><tbody>"
    for each in report.tables:
        yield (
            f"<tr><td>{_text(each.table)}</td><td>{_text(each.chosen)}</td>"
            f'<td class="number">{each.rows:,}</td><td class="number">{shown_size(each.bytes)}</td>'
            f'<td class="number">{each.seconds:.1f}</td><td>{_masked(each)}</td><td>{_passed(each)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _masked(each: TableReport) -> str:
    return _list([f"{_text(column)}: <code>{_text(mask)}</code>" for column, mask in each.masked.items()])


def _passed(each: TableReport) -> str:
    return _list([_text(kept.column) for kept in each.kept])


def _list(items: list[str]) -> str:
    if not items:
        return '<span class="soft">none</span>'
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f"<details><summary>{len(items)}</summary><ul>{listed}</ul></details>"


def _kept(report: Report) -> Iterator[str]:
    reasons = [
        (each.table, kept.column, kept.reason)
        for each in report.tables
        for kept in each.kept
        if kept.reason is not None
    ]
    if not reasons:
        return
    yield '<h2>Kept for a reason</h2><div class="wide"><table>'
    yield "<thead><tr><th>Table</th><th>Column</th><th>Reason</th></tr></thead><tbody>"
    for row in reasons:
        yield "<tr>" + "".join(f"<td>{_text(str(cell))}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"


def _steps(report: Report) -> Iterator[str]:
    if not report.seconds:
        return
    yield '<h2>Time</h2><table><thead><tr><th>Step</th><th class="number">Seconds</th></tr></thead><tbody>'
    for step, seconds in report.seconds.items():
        yield f'<tr><td>{_text(step)}</td><td class="number">{seconds:.1f}</td></tr>'
    yield "</tbody></table>"
    if report.proof is not None:
        counted = ", ".join(f"{_text(name)}: {count:,}" for name, count in report.proof.counts.items())
        yield f'<p class="soft">The proof looked at {counted}.</p>' if counted else ""


def _when(report: Report) -> str:
    return _text(report.began[:16].replace("T", " ")) + " UTC"


def _text(text: str) -> str:
    return html.escape(text)
