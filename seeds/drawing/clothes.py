"""Clothes: the shoulders of a figure and what it wears on them."""

from collections.abc import Callable

from drawing.pen import Colour, Pen, Point, mirrored, shade, smooth

WHITE: Colour = (250, 250, 247)


def wear(pen: Pen, kind: str, main: Colour, second: Colour, skin: Colour, breadth: float) -> None:
    """Dress the shoulders.

    Args:
        pen: Stands at the head; the neck ends near y = 1.4.
        kind: A key of ``KINDS``.
        main: The colour of most of it.
        second: The colour of its details.
        skin: Shown at the neck.
        breadth: Of the shoulders; 1 for a teenager.
    """
    if kind == "hoodie":
        pen.blob(mirrored([(0.0, 0.95), (0.7, 1.05), (0.86, 1.5), (0.0, 1.95)]), shade(main, -0.25))
    _neck(pen, skin)
    body = _body(breadth)
    pen.polygon(body, main)
    # Without a shadow under each arm a plain garment looks flat.
    for side in (-1, 1):
        pen.curve(
            [(side * 1.08 * breadth, 2.3), (side * 1.02 * breadth, 2.9), (side * 1.05 * breadth, 3.8)],
            0.06,
            shade(main, -0.2),
        )
    KINDS[kind](pen, main, second, skin, body)


def _body(breadth: float) -> list[Point]:
    half = [(0.0, 1.38), (0.36, 1.36), (0.8 * breadth, 1.56), (1.3 * breadth, 1.82), (1.55 * breadth, 2.5)]
    half += [(1.66 * breadth, 3.6), (1.7 * breadth, 6.0), (1.7 * breadth, 9.0), (0.0, 9.0)]
    return smooth(mirrored(half), closed=True)


def _neck(pen: Pen, skin: Colour, end: float = 1.55) -> None:
    pen.polygon([(-0.33, 0.6), (0.33, 0.6), (0.35, end), (-0.35, end)], shade(skin, -0.16))


def _tee(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    del main, body
    pen.blob([(-0.5, 1.37), (-0.34, 1.6), (0.0, 1.7), (0.34, 1.6), (0.5, 1.37), (0.0, 1.3)], second)
    pen.blob([(-0.36, 1.34), (-0.24, 1.51), (0.0, 1.57), (0.24, 1.51), (0.36, 1.34), (0.0, 1.2)], shade(skin, -0.16))
    # The neck again, over the back of the collar, so that neck and neckline join.
    _neck(pen, skin, 1.4)


def _stripes(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    with pen.within(body) as inner:
        for step in range(7):
            y = 1.75 + 0.52 * step
            inner.polygon([(-2, y), (2, y), (2, y + 0.25), (-2, y + 0.25)], second)
    _tee(pen, main, main, skin, body)


def _star(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    pen.ellipse((0, 2.45), 0.5, 0.5, second)
    pen.ellipse((0.16, 2.33), 0.42, 0.42, main)
    _tee(pen, main, shade(main, -0.2), skin, body)


def _hoodie(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    del body
    pen.blob([(-0.5, 1.36), (0.0, 1.86), (0.5, 1.36), (0.72, 1.52), (0.0, 2.12), (-0.72, 1.52)], shade(main, -0.18))
    pen.blob([(-0.36, 1.32), (0.36, 1.32), (0.0, 1.74)], shade(skin, -0.16))
    for side in (-1, 1):
        pen.line([(side * 0.24, 1.88), (side * 0.27, 2.45)], 0.06, second)


def _shirt(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    del body
    pen.polygon([(-0.36, 1.3), (0.36, 1.3), (0.0, 1.85)], shade(skin, -0.16))
    pen.line([(0, 1.85), (0, 5)], 0.03, shade(main, -0.25))
    for step in range(3):
        pen.ellipse((0.0, 2.1 + 0.45 * step), 0.05, 0.05, second)
    _collar(pen, second)


def _jumper(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    """The school uniform: a jumper over shirt and tie."""
    del body, skin
    pen.polygon([(-0.5, 1.34), (0.5, 1.34), (0.0, 2.35)], WHITE)
    pen.polygon([(-0.1, 1.55), (0.1, 1.55), (0.15, 2.15), (0.0, 2.32), (-0.15, 2.15)], second)
    pen.polygon([(-0.13, 1.5), (0.13, 1.5), (0.08, 1.68), (-0.08, 1.68)], shade(second, -0.2))
    pen.line([(-0.52, 1.38), (0.0, 2.38), (0.52, 1.38)], 0.07, shade(main, 0.22))
    pen.ellipse((0.72, 2.25), 0.16, 0.18, shade(second, 0.15))
    _collar(pen, WHITE)


def _collar(pen: Pen, tint: Colour) -> None:
    for side in (-1, 1):
        wing = [(side * 0.36, 1.22), (side * 0.06, 1.6), (side * 0.34, 1.86), (side * 0.6, 1.46)]
        pen.polygon(wing, tint)
        pen.line([wing[1], wing[2], wing[3]], 0.025, shade(tint, -0.2))


def _dungarees(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    pen.polygon(body, second)
    _tee(pen, second, shade(second, -0.15), skin, body)
    for side in (-1, 1):
        pen.line([(side * 0.68, 1.5), (side * 0.56, 2.3)], 0.24, main)
    pen.polygon([(-0.78, 2.2), (0.78, 2.2), (0.9, 9), (-0.9, 9)], main)
    for side in (-1, 1):
        pen.ellipse((side * 0.56, 2.36), 0.09, 0.09, (245, 215, 120))
    pen.line([(-0.36, 2.75), (0.36, 2.75)], 0.04, shade(main, 0.3))


def _track(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    with pen.within(body) as inner:
        for side in (-1, 1):
            inner.line([(side * 0.6, 1.4), (side * 1.25, 2.1), (side * 1.36, 5.0)], 0.2, second)
    pen.polygon([(-0.4, 1.2), (0.4, 1.2), (0.12, 1.72), (-0.12, 1.72)], shade(skin, -0.16))
    for side in (-1, 1):
        pen.polygon(
            [(side * 0.42, 1.1), (side * 0.56, 1.5), (side * 0.04, 1.95), (side * 0.06, 1.7)], shade(main, -0.2)
        )
    pen.line([(0, 1.9), (0, 5)], 0.05, second)


def _cardigan(pen: Pen, main: Colour, second: Colour, skin: Colour, body: list[Point]) -> None:
    with pen.within(body) as inner:
        inner.polygon([(-0.5, 1.2), (0.5, 1.2), (0.36, 9), (-0.36, 9)], second)
    _tee(pen, main, shade(second, -0.15), skin, body)
    for side in (-1, 1):
        pen.line([(side * 0.54, 1.5), (side * 0.38, 9.0)], 0.08, shade(main, -0.25))


KINDS: dict[str, Callable[[Pen, Colour, Colour, Colour, list[Point]], None]] = {
    "tee": _tee,
    "stripes": _stripes,
    "star": _star,
    "hoodie": _hoodie,
    "shirt": _shirt,
    "jumper": _jumper,
    "dungarees": _dungarees,
    "track": _track,
    "cardigan": _cardigan,
}
