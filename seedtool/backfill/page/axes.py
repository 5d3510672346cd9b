"""Scales: from a value to a place in a drawing, and which values an axis names."""

import math
from collections.abc import Callable

Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Return a scale that leads `low` to `start` and `high` to `end`."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(most: float, start: float, end: float) -> Scale:
    """Return a scale for counts up to `most` that leads 0 to `start`: 1 is apart from 0, and 10 from 1,000."""
    top = math.log1p(most) or 1.0
    return lambda value: start + math.log1p(value) / top * (end - start)


def ticks(high: float, about: int = 4) -> list[float]:
    """Return round values from 0 up to `high`, in about so many steps or some more."""
    if high <= 0:
        return [0.0]
    rough = high / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (5, 2, 1) if factor * size <= rough * 1.001)
    return [step * i for i in range(int(high / step + 1e-9) + 1)]


def tens(most: float) -> list[float]:
    """Return 1, 10, 100, ... up to `most`."""
    return [10.0**power for power in range(int(math.log10(most)) + 1)] if most >= 1 else []


def moments(seconds: float, about: int = 5) -> list[tuple[float, str]]:
    """Return round moments of a run of so many seconds, each with how an axis names it."""
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= 2 * size or unit == "s":
            return [(each * size, f"{each:.4g} {unit}") for each in ticks(seconds / size, about)]
    return []
