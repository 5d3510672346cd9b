"""A pen that draws smooth shapes in the units of one figure."""

import math
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, ...]

STEPS = 10  # straight pieces between two points of a curve


class Pen:
    """Draws on an image in figure units: the origin between the eyes and the chin, y down.

    Args:
        image: An RGB image, drawn on in place.
        origin: Where the figure's (0, 0) lies, in pixels.
        unit: Pixels a figure unit.
        tilt: Degrees by which everything is turned clockwise about ``pivot``.
        pivot: The point that a tilt leaves where it is, in figure units.
    """

    def __init__(
        self, image: Image.Image, origin: Point, unit: float, tilt: float = 0.0, pivot: Point = (0.0, 1.1)
    ) -> None:
        self.image = image
        self.origin = origin
        self.unit = unit
        self.tilt = tilt
        self.pivot = pivot
        self.draw = ImageDraw.Draw(image, "RGBA")

    def tilted(self, degrees: float) -> "Pen":
        """Return a pen for the same figure that is turned by so many degrees more."""
        return Pen(self.image, self.origin, self.unit, self.tilt + degrees, self.pivot)

    def pixel(self, point: Point) -> Point:
        """Return where a point of the figure lies on the image, in pixels."""
        angle = math.radians(self.tilt)
        x, y = point[0] - self.pivot[0], point[1] - self.pivot[1]
        turned = (
            x * math.cos(angle) - y * math.sin(angle) + self.pivot[0],
            x * math.sin(angle) + y * math.cos(angle) + self.pivot[1],
        )
        return (self.origin[0] + turned[0] * self.unit, self.origin[1] + turned[1] * self.unit)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a shape with straight edges."""
        self.draw.polygon([self.pixel(point) for point in points], fill=fill)

    def blob(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill the smooth closed shape through the points."""
        self.polygon(smooth(points, closed=True), fill)

    def ellipse(self, centre: Point, rx: float, ry: float, fill: Colour) -> None:
        """Fill an ellipse, or with equal radii a disc."""
        turns = [2 * math.pi * step / 48 for step in range(48)]
        self.polygon([(centre[0] + rx * math.cos(t), centre[1] + ry * math.sin(t)) for t in turns], fill)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw a line with round ends; the width is in figure units."""
        pixels = [self.pixel(point) for point in points]
        thick = max(1, round(width * self.unit))
        self.draw.line(pixels, fill=fill, width=thick, joint="curve")
        if len(fill) == 3:
            for x, y in (pixels[0], pixels[-1]):
                r = thick / 2
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def curve(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draw the smooth line through the points."""
        self.line(smooth(points, closed=False), width, fill)

    def within(self, outline: Sequence[Point]) -> "Inside":
        """Return a pen that draws only inside a shape: ``with pen.within(body) as inner: ...``."""
        return Inside(self, outline)


class Inside:
    """A context manager whose pen draws only inside an outline."""

    def __init__(self, pen: Pen, outline: Sequence[Point]) -> None:
        self._pen = pen
        self._mask = Image.new("L", pen.image.size, 0)
        ImageDraw.Draw(self._mask).polygon([pen.pixel(point) for point in outline], fill=255)
        self._layer = pen.image.copy()

    def __enter__(self) -> Pen:
        return Pen(self._layer, self._pen.origin, self._pen.unit, self._pen.tilt, self._pen.pivot)

    def __exit__(self, *failure: object) -> None:
        self._pen.image.paste(self._layer, mask=self._mask)


def smooth(points: Sequence[Point], *, closed: bool) -> list[Point]:
    """Lay a Catmull-Rom curve through the points.

    Args:
        points: At least three of them.
        closed: Whether the last is joined to the first.

    Returns:
        The curve as many short straight pieces.
    """
    count = len(points)
    out: list[Point] = []
    for index in range(count if closed else count - 1):
        if closed:
            a, b, c, d = (points[(index + step) % count] for step in (-1, 0, 1, 2))
        else:
            a, b, c, d = (points[min(max(index + step, 0), count - 1)] for step in (-1, 0, 1, 2))
        for step in range(STEPS):
            t = step / STEPS
            out.append((_spline(a[0], b[0], c[0], d[0], t), _spline(a[1], b[1], c[1], d[1], t)))
    if not closed:
        out.append(points[-1])
    return out


def mirrored(half: Sequence[Point]) -> list[Point]:
    """Add the mirror image to a right half, whose points run from top to bottom."""
    return [*half, *((-x, y) for x, y in reversed(half) if x)]


def colour(name: str, alpha: int | None = None) -> Colour:
    """Read ``#rrggbb`` or a colour's English name."""
    rgb = ImageColor.getrgb(name)[:3]
    return rgb if alpha is None else (*rgb, alpha)


def shade(base: Colour, by: float) -> Colour:
    """Darken (``by`` below 0, to -1: black) or lighten (above 0, to 1: white) a colour."""
    towards = 255 if by > 0 else 0
    return tuple(round(part + (towards - part) * abs(by)) for part in base[:3])


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t)
