"""Hair: the part behind head and shoulders, and the part over the forehead."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from drawing.pen import Colour, Pen, Point, mirrored, shade

Painter = Callable[[Pen, Colour, float], None]


class Style(NamedTuple):
    """A hair style: one part is painted behind the body, one over the head."""

    behind: Painter
    over: Painter


CENTRE = ((0.86, 0.1), (0.74, -0.3), (0.42, -0.55), (0.0, -0.84), (-0.42, -0.55), (-0.74, -0.3), (-0.86, 0.1))
FRINGE = ((0.87, 0.2), (0.76, -0.2), (0.4, -0.27), (0.0, -0.3), (-0.4, -0.27), (-0.76, -0.2), (-0.87, 0.2))
SWEPT = ((0.87, 0.05), (0.79, -0.25), (0.5, -0.34), (0.0, -0.46), (-0.36, -0.76), (-0.7, -0.45), (-0.86, 0.05))
SHORT = ((0.86, -0.02), (0.78, -0.36), (0.5, -0.55), (0.0, -0.6), (-0.5, -0.55), (-0.78, -0.36), (-0.86, -0.02))
HIGH = ((0.85, -0.1), (0.78, -0.45), (0.46, -0.7), (0.0, -0.74), (-0.46, -0.7), (-0.78, -0.45), (-0.85, -0.1))


def _nothing(pen: Pen, tint: Colour, width: float) -> None:
    """Paint nothing, for a style without this part."""


def _cap(pen: Pen, tint: Colour, width: float, line: Sequence[Point], volume: float = 0.14) -> None:
    """Cover the head from temple to temple, down to a hairline, with one lighter strand."""
    crown = [(-0.88, 0.1), (-0.9, -0.35), (-0.74, -0.76), (-0.4, -0.99), (0.0, -1.05)]
    outer = [(x * width * (1 + volume / 3), y * (1 + volume * (y < 0))) for x, y in crown]
    outer += [(-x, y) for x, y in reversed(outer[:-1])]
    pen.blob([*outer, *((x * width, y) for x, y in line)], tint)
    shine = [(-0.5 * width, -0.82 - volume / 2), (-0.2 * width, -0.95 - volume / 2), (0.12 * width, -0.97 - volume / 2)]
    pen.curve(shine, 0.07, (*shade(tint, 0.28), 150))


def _fall(length: float, spread: float, waves: int = 0) -> Painter:
    """Return a painter of hair that hangs down behind the shoulders."""

    def paint(pen: Pen, tint: Colour, width: float) -> None:
        half = [(0.0, -1.12), (0.62 * width, -0.95), (1.0 * width, -0.3)]
        for step in range(1, 5):
            y = -0.3 + (length + 0.3) * step / 4
            bump = 0.09 * (step % 2 * 2 - 1) if waves else 0.0
            half.append((width * (1.0 + (spread - 1.0) * step / 4) + bump, y))
        half += [(0.5 * width, length + 0.1), (0.0, length)]
        pen.blob(mirrored(half), shade(tint, -0.18))

    return paint


def _discs(places: Sequence[tuple[float, float, float]], darker: float = -0.12) -> Painter:
    """Return a painter of buns, puffs and tails: discs at (x, y) with a radius."""

    def paint(pen: Pen, tint: Colour, width: float) -> None:
        for x, y, radius in places:
            pen.ellipse((x * width, y), radius, radius, shade(tint, darker))
            pen.ellipse((x * width - radius * 0.25, y - radius * 0.3), radius * 0.55, radius * 0.5, tint)

    return paint


def _afro(pen: Pen, tint: Colour, width: float) -> None:
    for step in range(22):
        turn = math.radians(150 + 240 * step / 21)
        pen.ellipse((1.1 * width * math.cos(turn), -0.32 + 0.98 * math.sin(turn)), 0.3, 0.3, shade(tint, -0.1))
    pen.ellipse((0, -0.35), 1.16 * width, 1.02, shade(tint, -0.1))


def _curls(pen: Pen, tint: Colour, width: float) -> None:
    _cap(pen, tint, width, HIGH)
    for step in range(13):
        turn = math.radians(188 + 164 * step / 12)
        centre = (0.84 * width * math.cos(turn), -0.32 + 0.74 * math.sin(turn))
        pen.ellipse(centre, 0.24, 0.23, shade(tint, 0.06 if step % 2 else -0.08))
    for step in range(7):
        pen.ellipse((-0.57 * width + 0.19 * width * step, -0.7 + 0.05 * (step % 2)), 0.17, 0.15, tint)


def _spikes(pen: Pen, tint: Colour, width: float) -> None:
    _cap(pen, tint, width, SHORT, 0.06)
    for step in range(8):
        x = (-0.74 + 0.21 * step) * width
        top = -1.32 + 0.5 * (x / width) ** 2
        base = -0.86 + 0.45 * (x / width) ** 2
        pen.polygon([(x - 0.19, base), (x + 0.1, top), (x + 0.22, base + 0.05)], tint)


def _quiff(pen: Pen, tint: Colour, width: float) -> None:
    _cap(pen, tint, width, HIGH, 0.05)
    wave = [(-0.6, -0.62), (-0.62, -1.05), (-0.2, -1.36), (0.35, -1.33), (0.66, -1.02), (0.5, -0.72), (0.0, -0.68)]
    pen.blob([(x * width, y) for x, y in wave], shade(tint, 0.1))
    pen.curve([(-0.42 * width, -0.95), (-0.1 * width, -1.16), (0.36 * width, -1.13)], 0.06, shade(tint, 0.3))


def _buzz(pen: Pen, tint: Colour, width: float) -> None:
    _cap(pen, (*tint[:3], 225), width, HIGH, 0.02)


def _braids(pen: Pen, tint: Colour, width: float) -> None:
    _cap(pen, tint, width, CENTRE)
    for side in (-1, 1):
        for step in range(7):
            x, y = side * (0.92 * width + 0.035 * step), 0.3 + 0.24 * step
            pen.ellipse((x, y), 0.19 - 0.008 * step, 0.16, shade(tint, -0.1 if step % 2 else 0.08))
        pen.ellipse((side * (0.92 * width + 0.26), 2.0), 0.13, 0.08, (226, 74, 96))


def _over(line: Sequence[Point], volume: float = 0.14) -> Painter:
    return lambda pen, tint, width: _cap(pen, tint, width, line, volume)


def _tail(pen: Pen, tint: Colour, width: float) -> None:
    tail = [(0.5, -0.9), (1.12, -0.95), (1.5, -0.35), (1.42, 0.5), (1.12, 1.05), (1.08, 0.3), (0.86, -0.3)]
    pen.blob([(x * width, y) for x, y in tail], shade(tint, -0.12))
    pen.curve([(1.1 * width, -0.7), (1.3 * width, -0.2), (1.26 * width, 0.4)], 0.06, shade(tint, 0.15))


def _pigtails(pen: Pen, tint: Colour, width: float) -> None:
    bunch = [(0.8, -0.3), (1.18, -0.46), (1.58, -0.12), (1.62, 0.4), (1.38, 0.86), (1.28, 0.42), (1.0, 0.12)]
    for side in (-1, 1):
        pen.blob([(side * x * width, y) for x, y in bunch], shade(tint, -0.12))
        light = [(side * 1.16 * width, -0.22), (side * 1.38 * width, 0.06), (side * 1.42 * width, 0.48)]
        pen.curve(light, 0.09, shade(tint, 0.12))
        pen.ellipse((side * 0.98 * width, -0.2), 0.13, 0.16, (64, 145, 170))


STYLES = {
    "long": Style(_fall(1.95, 1.12), _over(CENTRE)),
    "wavy": Style(_fall(1.85, 1.3, waves=1), _over(SWEPT, 0.18)),
    "fringe": Style(_fall(1.7, 1.08), _over(FRINGE)),
    "bob": Style(_fall(0.95, 1.12), _over(FRINGE, 0.16)),
    "lob": Style(_fall(1.25, 1.15, waves=1), _over(SWEPT)),
    "ponytail": Style(_tail, _over(SWEPT)),
    "pigtails": Style(_pigtails, _over(FRINGE)),
    "bun": Style(_discs([(0.0, -1.3, 0.42)]), _over(HIGH)),
    "puffs": Style(_discs([(-0.86, -0.98, 0.47), (0.86, -0.98, 0.47)]), _over(HIGH, 0.08)),
    "braids": Style(_nothing, _braids),
    "afro": Style(_afro, _over(HIGH, 0.1)),
    "curls": Style(_nothing, _curls),
    "longcurls": Style(_fall(1.5, 1.42, waves=1), _curls),
    "short": Style(_nothing, _over(SHORT, 0.1)),
    "swept": Style(_nothing, _over(SWEPT, 0.16)),
    "bowl": Style(_fall(0.42, 1.0), _over(FRINGE, 0.18)),
    "spikes": Style(_nothing, _spikes),
    "quiff": Style(_nothing, _quiff),
    "buzz": Style(_nothing, _buzz),
}
