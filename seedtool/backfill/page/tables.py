"""The tables: who cost what, what was called, what failed. Each is bounded, and tells how much it leaves out."""

from collections import Counter
from collections.abc import Iterator, Mapping

from seedtool.backfill.page.values import count, dollars, escaped, percent
from seedtool.backfill.reporting.report import Failure, Report

#: Rows that are shown; the rest is counted.
MOST_USERS = 40
MOST_ERRORS = 200


def users(report: Report) -> str:
    """Return the users that cost most, each with a bar."""
    shown = report.by_user[:MOST_USERS]
    most = max((each.cost for each in shown), default=0.0) or 1.0
    head = _head(
        ("user", ""), ("assets", "number"), ("failed", "number spare"), ("faces", "number"),
        ("linked", "number spare"), ("await a person", "number spare"), ("cost", "number"),
    )  # fmt: skip

    def rows() -> Iterator[str]:
        for each in shown:
            bar = f'<span class="bar" style="width:{100 * each.cost / most:.1f}%"></span>'
            yield (
                f'<tr><th scope="row"><code>{escaped(each.user_id)}</code>{bar}</th>'
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
    return _table("All users, the costliest first.", head, rows())


def calls(report: Report, prices: Mapping[str, float]) -> str:
    """Return what was called, how often it was too much, and what it cost."""
    head = _head(("operation", ""), ("calls", "number"), ("over the quota", "number"), ("cost", "number"))

    def rows() -> Iterator[str]:
        for name, number in report.calls.items():
            throttled = report.throttled.get(name, 0)
            over = f"{throttled:,} ({percent(throttled, number)})" if throttled else "0"
            cost = dollars(number * prices[name]) if prices.get(name) else "free"
            yield f'<tr><th scope="row">{escaped(name)}</th>{_numbers(count(number), over, cost)}</tr>'
        sums = (count(sum(report.calls.values())), count(sum(report.throttled.values())), dollars(report.cost))
        yield f'<tr class="total"><th scope="row">all</th>{_numbers(*sums)}</tr>'

    return _table("Calls, retries included.", head, rows())


def errors(report: Report) -> str:
    """Return the assets that failed, those with the same cure together, the most frequent first."""
    shown = report.errors[:MOST_ERRORS]
    cures = Counter(each.remedy for each in report.errors)
    by_cure: dict[str, list[Failure]] = {}
    for each in shown:
        by_cure.setdefault(each.remedy, []).append(each)
    head = _head(("file", ""), ("cause", ""))

    def rows() -> Iterator[str]:
        for cure, failures in sorted(by_cure.items(), key=lambda item: -cures[item[0]]):
            told = escaped(cure, 400) if cure else "No cure is known."
            yield f'<tr class="cure"><th colspan="2" scope="rowgroup">{told}</th></tr>'
            for each in failures:
                yield (
                    f'<tr><th scope="row"><bdi>{escaped(each.file_name)}</bdi></th><td>{escaped(each.cause, 400)}'
                    f'<span class="ids">asset <code>{escaped(each.asset_id)}</code></span>'
                    f'<span class="ids">user <code>{escaped(each.user_id)}</code></span></td></tr>'
                )

    which = f"{count(len(shown))} of {count(report.failed)}" if report.failed > len(shown) else count(report.failed)
    told = f"{which} failed {'asset' if report.failed == 1 else 'assets'}, by what to do about them."
    return _table(told, head, rows(), "errors")


def _table(caption: str, head: str, rows: Iterator[str], kind: str = "") -> str:
    return f'<table class="{kind}"><caption>{caption}</caption>{head}<tbody>{"".join(rows)}</tbody></table>'


def _head(*columns: tuple[str, str]) -> str:
    cells = "".join(f'<th scope="col" class="{kind}">{escaped(name)}</th>' for name, kind in columns)
    return f"<thead><tr>{cells}</tr></thead>"


def _numbers(*texts: str, spare: bool = False) -> str:
    return "".join(f'<td class="number{" spare" * spare}">{text}</td>' for text in texts)
