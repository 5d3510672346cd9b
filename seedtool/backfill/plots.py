"""The drawings of the page, as SVG.

Each drawing is made twice, for a wide screen and for a phone: the text of one drawing, scaled
down, would be too small to read.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from seedtool.backfill.formatting import duration, escaped, percent, short
from seedtool.backfill.report import BINS, Point, Report
from seedtool.settings import Backfill

Scale = Callable[[float], float]

#: Pixels. page.css shows one of the two drawings.
WIDTHS = {"wide": 720, "narrow": 340}

# More points make a line no finer on a screen. Rates over more spans than this are noise.
_MOST_POINTS = 240
_MOST_SPANS = 60

# With so many matches in one bar, a linear scale would hide the small bars.
_LOG_FROM = 50

# Pixels for the numbers of an axis at the left, and for half a number at the right.
_LEFT, _RIGHT = 42, 14


def outcomes(report: Report) -> str:
    """Draw what became of the faces, as one bar: linked, suggested, new."""
    parts = (
        ("linked", report.auto_assigned),
        ("review", report.suggested),
        ("new", report.needs_person - report.suggested),
    )
    description = ", ".join(f"{name} {number:,}" for name, number in parts)

    def bar(width: int) -> Iterator[str]:
        x = _linear(0, sum(number for _, number in parts), 0, width)
        start = 0
        for name, number in parts:
            if number:
                left, right = x(start), x(start + number)
                yield _rect(left, 0, max(1.0, right - left - 2), 22, name, f"{name}: {number:,}")
            start += number

    return _both("outcomes", 22, "What became of the faces", description, bar)


def similarities(found: Mapping[int, int], rules: Backfill) -> str:
    """Draw how similar the matches were, with the two thresholds.

    Args:
        found: the report's histogram: bin to number of matches.
        rules: the thresholds.
    """
    sure, unsure = _sure_and_unsure(found, rules)
    description = f"{sure:,} at {rules.assign:g} or more, {unsure:,} from {rules.review:g} up to {rules.assign:g}"
    return _both(
        "similarity", 270, "Similarity of all matches", description, lambda width: _histogram(found, rules, width)
    )


def _sure_and_unsure(found: Mapping[int, int], rules: Backfill) -> tuple[int, int]:
    """Return how many matches are at or above the threshold for linking, and how many are below."""
    sure = sum(number for tenth, number in found.items() if _similarity(tenth) >= rules.assign)
    return sure, sum(found.values()) - sure


def _similarity(tenth: int) -> float:
    return tenth * 100 / BINS


def _histogram(found: Mapping[int, int], rules: Backfill, width: int) -> Iterator[str]:
    top, bottom, right = 46, 226, width - _RIGHT
    low = max(0, math.floor(min([rules.review, *map(_similarity, found)])) - 2)
    step = next(each for each in (0.5, 1, 2) if (100 - low) / each <= 60 or each == 2)
    # bars begin at the upper threshold, so that no bar lies on both sides of it
    bars = Counter[int]()
    for tenth, number in found.items():
        bars[math.floor((_similarity(tenth) - rules.assign) / step + 1e-6)] += number
    most = max(bars.values(), default=0)
    log = most >= _LOG_FROM
    x = _linear(low, 100, _LEFT, right)
    y = _logarithmic(most, bottom, top) if log else _linear(0, max(most, 1), bottom, top)

    sure, unsure = _sure_and_unsure(found, rules)
    yield _rect(x(rules.review), 6, x(rules.assign) - x(rules.review), bottom - 6, "zone review")
    yield _rect(x(rules.assign), 6, right - x(rules.assign), bottom - 6, "zone linked")
    yield from _rows(_tens(most) if log else [tick for tick in _ticks(most) if tick == int(tick)], y, right)
    for place, number in sorted(bars.items()):
        start = max(float(low), rules.assign + place * step)
        end = min(100.0, rules.assign + (place + 1) * step)
        kind = "linked" if place >= 0 else "review"
        high = bottom - y(number)
        description = f"{start:.4g} to {end:.4g}: {number:,}"
        yield _rect(x(start) + 0.5, bottom - high, max(1.0, x(end) - x(start) - 1), high, kind, description)
    yield _line(_LEFT, bottom, right, bottom, "axis")
    for value in sorted({rules.review, rules.assign}):
        yield _line(x(value), 6, x(value), bottom + 5, "threshold")
        yield _text(x(value), bottom + 19, f"{value:g}", "strong middle")
    for tick in (each for each in range(0, 101, 5 if low >= 50 else 20) if each >= low):
        if all(abs(x(tick) - x(value)) > 24 for value in (rules.review, rules.assign)):
            yield _text(x(tick), bottom + 19, f"{tick}", "middle")
    yield _text((_LEFT + right) / 2, bottom + 38, "similarity", "middle")
    yield _text(0, 20, "matches", "strong")
    if log:
        yield _text(0, 35, "log scale")
    if rules.review < rules.assign:
        beside = max(x(rules.review) + 6, 62)
        yield _text(beside, 20, "to review", "strong")
        yield _text(beside, 35, f"{unsure:,}")
    yield _text(right - 4, 20, "to link", "strong end")
    yield _text(right - 4, 35, f"{sure:,}", "end")


def progress(points: Sequence[Point], assets: int) -> str:
    """Draw the course of a run, and below it the calls and the throttled calls per second.

    Args:
        points: the time series; its last point is at 0.01 seconds or later.
        assets: assets to process.
    """
    last = points[-1]
    description = (
        f"{last.succeeded:,} of {assets:,} assets done and {last.failed:,} failed in {duration(last.seconds)}; "
        f"{last.throttled:,} of {last.calls:,} calls throttled ({percent(last.throttled, last.calls)})"
    )
    series = [Point(0.0, 0, 0, 0, 0), *points]
    return _both(
        "progress", 330, "Progress and throttling over time", description, lambda w: _course(series, assets, w)
    )


def _course(series: Sequence[Point], assets: int, width: int) -> Iterator[str]:
    top, middle, below, bottom, right = 24, 176, 216, 296, width - _RIGHT
    seconds = series[-1].seconds
    x = _linear(0, seconds, _LEFT, right)
    y = _linear(0, max(assets, 1), middle, top)

    yield _text(_LEFT, 12, "assets", "strong")
    yield from _rows([tick for tick in _ticks(assets) if tick == int(tick)], y, right)
    yield _line(_LEFT, y(assets), right, y(assets), "goal")
    shown = list(_thinned(series))
    for name, heights in (
        ("linked", [y(point.succeeded + point.failed) for point in shown]),
        ("failed", [y(point.failed) for point in shown]),
    ):
        if name == "failed" and not series[-1].failed:
            continue
        line = " ".join(f"{x(point.seconds):.1f},{high:.1f}" for point, high in zip(shown, heights, strict=True))
        yield f'<polygon class="area {name}" points="{_LEFT},{middle} {line} {x(shown[-1].seconds):.1f},{middle}"/>'
        yield f'<polyline class="line {name}" points="{line}"/>'
    yield _line(_LEFT, middle, right, middle, "axis")

    yield _text(_LEFT, 204, "calls per second", "strong")
    rates = list(_rates(series))
    most = max((calls for _, _, calls, _ in rates), default=0.0)
    y = _linear(0, most or 1, bottom, below)
    yield from _rows(_ticks(most, 2), y, right)
    for start, end, calls, throttled in rates:
        wide = max(0.5, x(end) - x(start) - 0.5)
        description = f"{duration(start)}: {calls:.1f} calls per second"
        yield _rect(x(start), y(calls), wide, bottom - y(calls), "new", description)
        if throttled:
            high = max(1.5, bottom - y(throttled))
            yield _rect(x(start), bottom - high, wide, high, "failed", f"{duration(start)}: {throttled:.1f} throttled")
    yield _line(_LEFT, bottom, right, bottom, "axis")
    for moment, name in _moments(seconds, 5 if width > 400 else 3):
        yield _text(x(moment), bottom + 18, name, "middle")


def _thinned(series: Sequence[Point]) -> Iterator[Point]:
    every = -(-len(series) // _MOST_POINTS)
    yield from series[:-1:every]
    yield series[-1]


def _rates(series: Sequence[Point]) -> Iterator[tuple[float, float, float, float]]:
    """Yield spans of equal length: start, end, calls per second, throttled calls per second."""
    spans = min(_MOST_SPANS, len(series) - 1)
    length = series[-1].seconds / spans
    if length <= 0:
        return
    counted = list(_counted(series, [length * i for i in range(spans + 1)]))
    for (start, calls, throttled), (end, more_calls, more_throttled) in pairwise(counted):
        yield start, end, (more_calls - calls) / length, (more_throttled - throttled) / length


def _counted(series: Sequence[Point], moments: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Yield each moment with the calls and throttled calls until then; between two points they grow evenly."""
    at = 0
    for moment in moments:
        while at < len(series) - 2 and series[at + 1].seconds < moment:
            at += 1
        before, after = series[at], series[at + 1]
        gone = (moment - before.seconds) / ((after.seconds - before.seconds) or 1.0)
        share = min(1.0, max(0.0, gone))
        yield (
            moment,
            before.calls + share * (after.calls - before.calls),
            before.throttled + share * (after.throttled - before.throttled),
        )


def _both(name: str, height: int, title: str, description: str, draw: Callable[[int], Iterable[str]]) -> str:
    return "".join(
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-{kind}" aria-describedby="{name}-{kind}-description">'
        f'<title id="{name}-{kind}">{escaped(title)}</title>'
        f'<desc id="{name}-{kind}-description">{escaped(description)}.</desc>'
        f"{''.join(draw(width))}</svg>"
        for kind, width in WIDTHS.items()
    )


def _rows(values: Iterable[float], y: Scale, right: float) -> Iterator[str]:
    for value in values:
        yield _line(_LEFT, y(value), right, y(value), "row")
        yield _text(_LEFT - 6, y(value) + 4, short(value), "end")


def _rect(x: float, y: float, width: float, height: float, kind: str, description: str = "") -> str:
    inner = f"><title>{escaped(description)}</title></rect>" if description else "/>"
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{inner}'


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escaped(text)}</text>'


# Scales: from a value to a place in a drawing, and the values that an axis names.


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return a scale that maps `low` to `start` and `high` to `end`."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _logarithmic(most: float, start: float, end: float) -> Scale:
    """Return a scale for counts that maps 0 to `start` and `most` to `end`."""
    top = math.log1p(most) or 1.0
    return lambda value: start + math.log1p(value) / top * (end - start)


def _ticks(high: float, about: int = 4) -> list[float]:
    """Return round values from 0 to `high`, in about so many steps or a few more."""
    if high <= 0:
        return [0.0]
    rough = high / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (5, 2, 1) if factor * size <= rough * 1.001)
    return [step * i for i in range(int(high / step + 1e-9) + 1)]


def _tens(most: float) -> list[float]:
    """Return 1, 10, 100, ... up to `most`."""
    return [10.0**power for power in range(int(math.log10(most)) + 1)] if most >= 1 else []


def _moments(seconds: float, about: int = 5) -> list[tuple[float, str]]:
    """Return round moments of a run of so many seconds, each with its label."""
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * size or unit == "s":
            return [(each * size, f"{each:.4g} {unit}") for each in _ticks(seconds / size, about)]
    return []
