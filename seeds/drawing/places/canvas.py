"""A canvas that is painted in parts of its own width and height, so that a place fits any picture."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import ImageDraw

from drawing.pen import Colour, Point, colour


class Canvas(NamedTuple):
    """What a place is painted on.

    Attributes:
        draw: Of an RGB image.
        wide: The image's width in pixels.
        high: Its height.
    """

    draw: ImageDraw.ImageDraw
    wide: int
    high: int

    def box(self, left: float, top: float, right: float, bottom: float, fill: str) -> None:
        """Fill a rectangle."""
        self.draw.rectangle([*self.at(left, top), *self.at(right, bottom)], fill=colour(fill))

    def fade(self, top: float, bottom: float, upper: str, lower: str) -> None:
        """Fill the whole width with one colour that becomes another from top to bottom."""
        first, last = round(top * self.high), round(bottom * self.high)
        for y in range(first, last + 1):
            part = (y - first) / max(1, last - first)
            tint: Colour = tuple(round(a + (b - a) * part) for a, b in zip(colour(upper), colour(lower), strict=True))
            self.draw.line((0, y, self.wide, y), fill=tint)

    def disc(self, x: float, y: float, radius: float, fill: str, flat: float = 1.0) -> None:
        """Fill a disc; the radius is a part of the height, `flat` its height as a part of its width."""
        (px, py), r = self.at(x, y), radius * self.high
        self.draw.ellipse((px - r, py - r * flat, px + r, py + r * flat), fill=colour(fill))

    def shape(self, points: Sequence[Point], fill: str) -> None:
        """Fill a shape with straight edges."""
        self.draw.polygon([self.at(*point) for point in points], fill=colour(fill))

    def line(self, points: Sequence[Point], width: float, fill: str) -> None:
        """Draw a line; its width is a part of the height."""
        pixels = [self.at(*point) for point in points]
        self.draw.line(pixels, fill=colour(fill), width=max(1, round(width * self.high)), joint="curve")

    def at(self, x: float, y: float) -> Point:
        """Tell where a point lies, in pixels."""
        return (x * self.wide, y * self.high)
