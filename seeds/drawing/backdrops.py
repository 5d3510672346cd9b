"""The backgrounds of portraits."""

import math
from collections.abc import Callable

from PIL import Image, ImageDraw

from drawing.pen import Colour, shade

Painter = Callable[[ImageDraw.ImageDraw, int, int, Colour, Colour], None]


def paint(image: Image.Image, kind: str, first: Colour, second: Colour) -> None:
    """Fill an image with a backdrop of two colours.

    Args:
        image: Is painted over completely.
        kind: A key of ``KINDS``.
        first: The colour of the ground.
        second: The colour of what stands on it.
    """
    draw = ImageDraw.Draw(image)
    wide, high = image.size
    draw.rectangle((0, 0, wide, high), fill=first)
    KINDS[kind](draw, wide, high, first, second)


def _plain(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    for y in range(high):
        part = y / high
        tint = tuple(round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
        draw.line((0, y, wide, y), fill=tint)


def _sun(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    r = wide * 0.46
    draw.ellipse((wide / 2 - r, high * 0.42 - r, wide / 2 + r, high * 0.42 + r), fill=second)
    draw.rectangle((0, high * 0.9, wide, high), fill=shade(first, -0.2))


def _corner(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    for step, tint in ((0.78, shade(second, 0.3)), (0.6, second), (0.4, shade(second, 0.3))):
        r = wide * step
        draw.ellipse((wide - r, -r, wide + r, r), fill=tint)
    draw.ellipse((-wide * 0.3, high * 0.72, wide * 0.3, high * 1.2), fill=shade(first, -0.2))


def _halves(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    del first
    draw.rectangle((wide // 2, 0, wide, high), fill=second)


def _diagonal(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    draw.polygon([(0, high), (wide, 0), (wide, high)], fill=second)
    draw.line((0, high, wide, 0), fill=shade(first, 0.5), width=wide // 26)


def _bands(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    draw.rectangle((0, high * 0.3, wide, high * 0.55), fill=second)
    draw.rectangle((0, high * 0.55, wide, high * 0.62), fill=shade(first, 0.5))
    draw.rectangle((0, high * 0.62, wide, high), fill=shade(second, -0.35))


def _stripes(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    del first
    for step in range(0, 5, 2):
        draw.rectangle((wide * step / 5, 0, wide * (step + 1) / 5, high), fill=second)


def _dots(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    r = wide * 0.07
    for row in range(6):
        for column in range(5):
            x, y = wide * (0.02 + 0.25 * column + 0.125 * (row % 2)), high * (0.06 + 0.2 * row)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=second if (row + column) % 3 else shade(first, 0.5))


def _rays(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    del first
    far = wide + high
    for step in range(0, 16, 2):
        a, b = (math.pi * 2 * (step + part) / 16 for part in (0, 1))
        at = (wide / 2, high * 0.45)
        ends = [(at[0] + far * math.cos(t), at[1] + far * math.sin(t)) for t in (a, b)]
        draw.polygon([at, *ends], fill=second)


def _hills(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    """The Andes with snow, and a meadow before them."""
    far = shade(second, 0.35)
    peaks = [(-0.1, 0.62), (0.2, 0.2), (0.42, 0.48), (0.76, 0.1), (1.15, 0.6)]
    draw.polygon([(wide * x, high * y) for x, y in [*peaks, (1.15, 1), (-0.1, 1)]], fill=far)
    for x, y in (peaks[1], peaks[3]):
        snow = [(x, y), (x + 0.1, y + 0.13), (x + 0.02, y + 0.1), (x - 0.04, y + 0.15), (x - 0.09, y + 0.12)]
        draw.polygon([(wide * a, high * b) for a, b in snow], fill=(255, 255, 255))
    draw.ellipse((-wide * 0.4, high * 0.56, wide * 1.1, high * 1.4), fill=second)
    draw.ellipse((wide * 0.3, high * 0.66, wide * 1.6, high * 1.5), fill=shade(second, -0.18))
    draw.ellipse((wide * 0.06, high * 0.05, wide * 0.2, high * 0.05 + wide * 0.14), fill=shade(first, 0.75))


def _board(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    edge = wide * 0.045
    draw.rectangle((0, high * 0.06, wide, high * 0.66), fill=shade(second, -0.3))
    draw.rectangle((edge, high * 0.06 + edge, wide - edge, high * 0.66 - edge), fill=second)
    chalk, thin = shade(second, 0.65), max(2, wide // 90)
    draw.line([(wide * 0.09, high * 0.2), (wide * 0.2, high * 0.2)], fill=chalk, width=thin)
    draw.line([(wide * 0.145, high * 0.155), (wide * 0.145, high * 0.245)], fill=chalk, width=thin)
    draw.polygon(
        [(wide * 0.8, high * 0.3), (wide * 0.92, high * 0.3), (wide * 0.86, high * 0.18)], outline=chalk, width=thin
    )
    draw.arc((wide * 0.8, high * 0.4, wide * 0.92, high * 0.5), 0, 300, fill=chalk, width=thin)
    draw.rectangle((0, high * 0.66, wide, high * 0.69), fill=shade(first, -0.3))


def _books(draw: ImageDraw.ImageDraw, wide: int, high: int, first: Colour, second: Colour) -> None:
    spines = [second, shade(second, 0.4), shade(first, 0.55), shade(second, -0.35), (214, 178, 94)]
    for shelf in range(4):
        floor, x, number = high * (0.24 + 0.26 * shelf), wide * 0.01, shelf * 3
        while x < wide:
            thick = wide * (0.05 + 0.02 * (number * 7 % 3))
            tall = high * (0.15 + 0.025 * (number * 5 % 4))
            draw.rectangle((x, floor - tall, x + thick, floor), fill=spines[number * 3 % 5])
            x, number = x + thick + wide * 0.008, number + 1
        draw.rectangle((0, floor, wide, floor + high * 0.025), fill=shade(first, -0.3))


KINDS: dict[str, Painter] = {
    "plain": _plain,
    "sun": _sun,
    "corner": _corner,
    "halves": _halves,
    "diagonal": _diagonal,
    "bands": _bands,
    "stripes": _stripes,
    "dots": _dots,
    "rays": _rays,
    "hills": _hills,
    "board": _board,
    "books": _books,
}
