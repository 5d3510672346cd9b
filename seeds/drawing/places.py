"""The places of the library's photos. They are painted in fractions of a picture's size, so they fit any size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import ImageDraw

from drawing.pen import Colour, Point, colour

PAPER = ("#ef476f", "#ffd166", "#06d6a0", "#118ab2", "#f78c6b")
HOUSES = ("#e63946", "#f4a261", "#2a9d8f", "#e9c46a", "#457b9d", "#f28482", "#84a59d", "#ffb703")


class Canvas(NamedTuple):
    """A drawing in fractions of its own width and height.

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
        """Fill the whole width with a colour that changes into another from top to bottom."""
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
        """Return where a point lies, in pixels."""
        return (x * self.wide, y * self.high)


def livingroom(canvas: Canvas) -> None:
    """A living room at Christmas, with a tree and a window."""
    canvas.box(0, 0, 1, 1, "#f6e7d2")
    canvas.box(0, 0.78, 1, 1, "#a9744f")
    canvas.box(0, 0.76, 1, 0.79, "#fff8ec")
    canvas.box(0.06, 0.1, 0.3, 0.52, "#ffffff")
    canvas.box(0.075, 0.13, 0.175, 0.49, "#274c77")
    canvas.box(0.185, 0.13, 0.285, 0.49, "#274c77")
    for x, y in ((0.1, 0.2), (0.15, 0.32), (0.21, 0.17), (0.25, 0.4), (0.12, 0.44), (0.265, 0.26)):
        canvas.disc(x, y, 0.008, "#ffffff")
    canvas.box(0.845, 0.74, 0.875, 0.86, "#7a4a2e")
    for top, half in ((0.5, 0.15), (0.32, 0.12), (0.15, 0.09)):
        canvas.shape([(0.86, top - 0.12), (0.86 + half, top + 0.26), (0.86 - half, top + 0.26)], "#2d6a4f")
    for place, (x, y) in enumerate(
        ((0.83, 0.3), (0.89, 0.36), (0.8, 0.5), (0.87, 0.54), (0.93, 0.52), (0.77, 0.7), (0.85, 0.7), (0.95, 0.71))
    ):
        canvas.disc(x, y, 0.02, PAPER[place % 5])
    star = [
        (0.86 + r * math.sin(turn) * 0.66, 0.05 - r * math.cos(turn))
        for turn, r in ((math.pi * step / 5, 0.045 if step % 2 == 0 else 0.018) for step in range(10))
    ]
    canvas.shape(star, "#ffd166")
    canvas.box(0.44, 0.12, 0.62, 0.34, "#c98f5f")
    canvas.box(0.452, 0.14, 0.608, 0.32, "#a9dcf5")
    canvas.shape([(0.452, 0.32), (0.5, 0.2), (0.545, 0.28), (0.575, 0.23), (0.608, 0.32)], "#5aa469")


def party(canvas: Canvas) -> None:
    """A birthday: a garland of flags, balloons, a wall."""
    canvas.box(0, 0, 1, 1, "#cdeaf2")
    for step in range(12):
        canvas.box(step / 12, 0, step / 12 + 0.04, 1, "#bfe3ee")
    for y, sag in ((0.02, 0.1), (0.05, 0.13)):
        line = [(x / 40, y + sag * (1 - (x / 20 - 1) ** 2)) for x in range(41)]
        canvas.line(line, 0.006, "#7a5a3a")
        for place in range(1, 14):
            x = place / 14
            hang = y + sag * (1 - (2 * x - 1) ** 2)
            flag = PAPER[(place + (y > 0.03) * 2) % 5]
            canvas.shape([(x - 0.022, hang), (x + 0.022, hang), (x, hang + 0.075)], flag)
    for place, (x, y) in enumerate(
        ((0.05, 0.3), (0.115, 0.42), (0.03, 0.52), (0.95, 0.32), (0.885, 0.44), (0.97, 0.55))
    ):
        canvas.line([(x, y + 0.06), (x + 0.01, y + 0.2), (x - 0.004, y + 0.34)], 0.004, "#6c757d")
        canvas.disc(x, y, 0.07, PAPER[place % 5], flat=1.18)
        canvas.disc(x - 0.014, y - 0.03, 0.014, "#ffffff", flat=1.4)


def kitchen(canvas: Canvas) -> None:
    """A kitchen: tiles, a shelf, a window with a plant."""
    canvas.box(0, 0, 1, 1, "#fdf0d5")
    for row in range(4):
        for column in range(12):
            left, top = column / 12, 0.44 + row * 0.085
            canvas.box(
                left + 0.003, top + 0.004, left + 0.08, top + 0.08, "#9ad1d4" if (row + column) % 3 else "#80bdc2"
            )
    canvas.box(0, 0.78, 1, 1, "#bc8a5f")
    canvas.box(0, 0.78, 1, 0.82, "#e6ccb2")
    canvas.box(0.06, 0.25, 0.42, 0.275, "#7f5539")
    for place, (left, width, tall) in enumerate(
        ((0.08, 0.04, 0.11), (0.13, 0.05, 0.08), (0.2, 0.03, 0.14), (0.25, 0.06, 0.09), (0.33, 0.05, 0.12))
    ):
        canvas.box(
            left, 0.25 - tall, left + width, 0.25, ("#e76f51", "#f4a261", "#2a9d8f", "#e9c46a", "#457b9d")[place]
        )
    canvas.box(0.6, 0.06, 0.92, 0.4, "#ffffff")
    canvas.box(0.615, 0.085, 0.755, 0.375, "#bfe3f7")
    canvas.box(0.765, 0.085, 0.905, 0.375, "#bfe3f7")
    canvas.box(0.58, 0.4, 0.94, 0.42, "#7f5539")
    for x, y in ((0.84, 0.26), (0.87, 0.22), (0.9, 0.27), (0.86, 0.3), (0.885, 0.31)):
        canvas.disc(x, y, 0.035, "#588157")
    canvas.shape([(0.83, 0.33), (0.91, 0.33), (0.895, 0.4), (0.845, 0.4)], "#d1603d")


def stage(canvas: Canvas) -> None:
    """A stage with curtains and light."""
    canvas.fade(0, 0.8, "#2b1d3f", "#5b3a70")
    for x in (0.22, 0.5, 0.78):
        canvas.shape([(x - 0.02, 0), (x + 0.02, 0), (x + 0.16, 0.8), (x - 0.16, 0.8)], "#6b4a80")
    canvas.box(0, 0.8, 1, 1, "#8a5a33")
    for side in (0, 1):
        for fold in range(4):
            left = fold * 0.032 if side == 0 else 1 - (fold + 1) * 0.032
            canvas.box(left, 0, left + 0.032, 0.82, ("#9b2226", "#7f1d1d")[fold % 2])
    canvas.box(0, 0, 1, 0.06, "#9b2226")
    for step in range(16):
        canvas.disc((step + 0.5) / 16, 0.06, 0.045, ("#9b2226", "#7f1d1d")[step % 2], flat=0.7)


def office(canvas: Canvas) -> None:
    """An office: a window over the town, a plant, a board with notes."""
    canvas.box(0, 0, 1, 1, "#e9ecef")
    canvas.box(0.05, 0.06, 0.58, 0.44, "#ffffff")
    canvas.box(0.07, 0.08, 0.56, 0.42, "#a9dcf5")
    for left, top in ((0.09, 0.25), (0.17, 0.19), (0.26, 0.29), (0.34, 0.16), (0.44, 0.24)):
        canvas.box(left, top, left + 0.075, 0.42, "#7d98b3")
        for row in range(3):
            canvas.box(left + 0.018, top + 0.02 + row * 0.04, left + 0.058, top + 0.035 + row * 0.04, "#d8e6f3")
    canvas.box(0.68, 0.08, 0.94, 0.36, "#dda15e")
    for place, (x, y) in enumerate(((0.7, 0.1), (0.83, 0.12), (0.72, 0.23), (0.84, 0.24))):
        canvas.box(x, y, x + 0.08, y + 0.08, PAPER[place])
    canvas.box(0, 0.84, 1, 1, "#adb5bd")


def beach(canvas: Canvas) -> None:
    """The Pacific: sun, sea, a boat, sand and a sunshade."""
    canvas.fade(0, 0.42, "#8fd3f4", "#d9f2fb")
    canvas.disc(0.8, 0.16, 0.075, "#ffe08a")
    canvas.fade(0.42, 0.66, "#1d7fa8", "#4db6c9")
    for y in (0.47, 0.53, 0.6):
        for step in range(6):
            left = step / 6 + 0.05 * (y > 0.5)
            canvas.line([(left, y), (left + 0.04, y - 0.008), (left + 0.08, y)], 0.006, "#bfe8ee")
    canvas.shape([(0.42, 0.405), (0.56, 0.405), (0.535, 0.445), (0.445, 0.445)], "#9b2226")
    canvas.shape([(0.488, 0.24), (0.488, 0.39), (0.43, 0.39)], "#ffffff")
    canvas.shape([(0.498, 0.27), (0.498, 0.39), (0.545, 0.39)], "#ffe5d9")
    canvas.fade(0.66, 1, "#f3dcae", "#e6c58c")
    canvas.line([(0.1, 0.2), (0.12, 0.98)], 0.014, "#fff8e7")
    for place in range(4):
        left = -0.07 + place * 0.085
        canvas.shape(
            [(0.1, 0.16), (left, 0.34 - 0.02 * (place in {1, 2})), (left + 0.085, 0.34)],
            ("#e63946", "#ffffff")[place % 2],
        )


def park(canvas: Canvas) -> None:
    """A square with trees, a bench and a path."""
    canvas.fade(0, 0.6, "#a9dcf5", "#e3f5fc")
    canvas.disc(0.24, 0.14, 0.05, "#ffffff", flat=0.6)
    canvas.disc(0.29, 0.13, 0.06, "#ffffff", flat=0.7)
    canvas.disc(0.35, 0.145, 0.045, "#ffffff", flat=0.6)
    canvas.disc(0.2, 0.7, 0.36, "#8cc084", flat=0.7)
    canvas.disc(0.85, 0.72, 0.4, "#7fb77e", flat=0.7)
    canvas.box(0, 0.6, 1, 1, "#9bc978")
    canvas.shape([(0.44, 0.6), (0.56, 0.6), (0.85, 1), (0.15, 1)], "#e3c9a0")
    for x, size, crown in ((0.07, 0.14, "#4f8a53"), (0.93, 0.16, "#5f9e5b"), (0.7, 0.09, "#4f8a53")):
        canvas.box(x - size * 0.1, 0.36, x + size * 0.1, 0.36 + size * 2.2, "#7a5a3a")
        canvas.disc(x, 0.32, size, crown)
        canvas.disc(x - size * 0.45, 0.38, size * 0.7, crown)
        canvas.disc(x + size * 0.45, 0.39, size * 0.7, crown)


def gate(canvas: Canvas) -> None:
    """In front of a school on its first day."""
    canvas.fade(0, 0.3, "#bfe3f7", "#e6f4fb")
    canvas.box(0, 0.2, 1, 0.74, "#f2cc8f")
    canvas.shape([(-0.02, 0.22), (0.5, 0.02), (1.02, 0.22)], "#bc4749")
    canvas.box(0, 0.7, 1, 0.75, "#d9a066")
    for left in (0.05, 0.2, 0.7, 0.85):
        canvas.box(left, 0.32, left + 0.1, 0.52, "#ffffff")
        canvas.box(left + 0.008, 0.335, left + 0.046, 0.505, "#8ecae6")
        canvas.box(left + 0.054, 0.335, left + 0.092, 0.505, "#8ecae6")
    canvas.box(0.4, 0.34, 0.6, 0.74, "#6d4c41")
    canvas.box(0.415, 0.36, 0.495, 0.74, "#8d6e63")
    canvas.box(0.505, 0.36, 0.585, 0.74, "#8d6e63")
    canvas.disc(0.5, 0.15, 0.045, "#ffffff")
    canvas.line([(0.5, 0.15), (0.5, 0.12)], 0.007, "#343a40")
    canvas.line([(0.5, 0.15), (0.513, 0.16)], 0.007, "#343a40")
    canvas.box(0, 0.75, 1, 1, "#b9bfc6")


def harbour(canvas: Canvas) -> None:
    """Valparaíso: houses of all colours up the hills, and the bay."""
    canvas.fade(0, 0.74, "#9ad4f2", "#e8f6fc")
    canvas.disc(0.12, 0.52, 0.4, "#7c9a6d", flat=0.8)
    canvas.disc(0.75, 0.56, 0.52, "#8aa878", flat=0.75)
    number = 0
    for row in range(5):
        y = 0.3 + row * 0.085
        for column in range(15):
            x = column / 14 + 0.03 * (row % 2)
            hill = 0.25 + 0.14 * abs(x - 0.4) ** 0.5 if x < 0.4 else 0.44 - 0.32 * min(1.0, (x - 0.4) / 0.3)
            number += 7 if column % 2 else 3
            if y < hill:
                continue
            canvas.box(x - 0.03, y - 0.055, x + 0.03, y + 0.05, HOUSES[number % 8])
            canvas.shape([(x - 0.036, y - 0.055), (x + 0.036, y - 0.055), (x, y - 0.09)], "#8d5b4c")
            canvas.box(x - 0.014, y - 0.03, x + 0.002, y, "#fff8e7")
    canvas.fade(0.74, 1, "#2a6f97", "#61a5c2")
    canvas.box(0, 0.9, 1, 0.915, "#5c4033")
    for step in range(21):
        canvas.box(step / 20 - 0.004, 0.9, step / 20 + 0.004, 1, "#5c4033")


def mountain(canvas: Canvas) -> None:
    """The volcano Osorno above its lake."""
    canvas.fade(0, 0.67, "#6fb7e9", "#dff1fb")
    canvas.shape([(-0.1, 0.64), (0.16, 0.42), (0.32, 0.55), (0.7, 0.45), (1.1, 0.64)], "#7f9bb3")
    canvas.shape([(0.12, 0.66), (0.47, 0.13), (0.53, 0.13), (0.9, 0.66)], "#5d6f86")
    snow = [(0.47, 0.13), (0.53, 0.13), (0.66, 0.32), (0.6, 0.3), (0.57, 0.38), (0.52, 0.31), (0.47, 0.4), (0.43, 0.3)]
    canvas.shape([*snow, (0.36, 0.3)], "#ffffff")
    for step in range(34):
        x, tall = step / 33, 0.05 + 0.02 * (step * 7 % 4)
        canvas.shape([(x - 0.022, 0.68), (x + 0.022, 0.68), (x, 0.67 - tall)], ("#2f5d50", "#3a7d5c")[step % 2])
    canvas.fade(0.67, 0.92, "#3f88b5", "#8fc6dd")
    for x, y, length in ((0.3, 0.72, 0.2), (0.55, 0.76, 0.14), (0.4, 0.81, 0.24), (0.7, 0.7, 0.1)):
        canvas.line([(x, y), (x + length, y)], 0.006, "#c9e6f0")
    canvas.shape([(0, 0.9), (0.25, 0.85), (0.6, 0.89), (1, 0.84), (1, 1), (0, 1)], "#7fae6b")


def stadium(canvas: Canvas) -> None:
    """A full stand: rows of people as far as one can see, and the grass."""
    canvas.fade(0, 0.1, "#9ad4f2", "#d9f0fb")
    canvas.box(0, 0.1, 1, 0.7, "#8d99ae")
    shirts = ("#d62828", "#d62828", "#ffffff", "#d62828", "#fcbf49", "#c1121f", "#e9ecef")
    skins = ("#f6cdb0", "#dca577", "#a66a41", "#efba92", "#7a4a2e")
    for row in range(11):
        y = 0.13 + row * 0.052
        canvas.box(0, y + 0.028, 1, y + 0.052, "#778299")
        for column in range(28):
            x, number = (column + 0.5 * (row % 2)) / 27.5, row * 31 + column * 17
            if number % 9 == 0:
                continue
            canvas.disc(x, y + 0.034, 0.0145, shirts[number % 7])
            canvas.disc(x, y + 0.012, 0.0085, skins[number % 5], flat=1.15)
    canvas.box(0, 0.7, 1, 0.73, "#f1faee")
    for step in range(10):
        canvas.box(step / 10, 0.73, step / 10 + 0.1, 1, ("#4f9d5d", "#5bb06a")[step % 2])
    canvas.line([(0, 0.8), (1, 0.78)], 0.006, "#ffffff")


def pool(canvas: Canvas) -> None:
    """A swimming pool in a garden."""
    canvas.fade(0, 0.46, "#a9dcf5", "#e3f5fc")
    canvas.box(0, 0.3, 1, 0.46, "#5f9e5b")
    for step in range(14):
        canvas.disc((step + 0.5) / 14, 0.3, 0.055, ("#5f9e5b", "#6dad68")[step % 2])
    canvas.box(0, 0.46, 1, 0.52, "#efe3cf")
    canvas.fade(0.52, 1, "#39b4cf", "#7fd6e3")
    for row in range(6):
        for step in range(7):
            left, y = step / 7 + 0.06 * (row % 2), 0.57 + row * 0.075
            canvas.line(
                [(left, y), (left + 0.03, y - 0.012), (left + 0.06, y), (left + 0.09, y - 0.012)], 0.007, "#c5eff5"
            )
    canvas.disc(0.9, 0.64, 0.085, "#ef476f", flat=0.5)
    canvas.disc(0.9, 0.64, 0.045, "#5cc4d8", flat=0.5)


def wedding(canvas: Canvas) -> None:
    """A wedding in the open: an arch of flowers, lights and hills of vines."""
    canvas.fade(0, 0.66, "#f9dcc4", "#fff3e6")
    canvas.disc(0.15, 0.75, 0.42, "#a3b18a", flat=0.6)
    canvas.disc(0.9, 0.78, 0.46, "#8ba074", flat=0.6)
    canvas.box(0, 0.66, 1, 1, "#b5c99a")
    canvas.line([(0.22, 0.95), (0.22, 0.22)], 0.022, "#a98467")
    canvas.line([(0.78, 0.95), (0.78, 0.22)], 0.022, "#a98467")
    canvas.line([(0.2, 0.17), (0.8, 0.17)], 0.022, "#a98467")
    flowers = ("#ffffff", "#f4acb7", "#588157", "#ffcad4", "#588157", "#e5989b")
    for step in range(27):
        x = 0.2 + 0.6 * step / 26
        canvas.disc(x, 0.165 + 0.02 * (step * 5 % 3 - 1), 0.03, flowers[step % 6])
    for step in range(8):
        for x in (0.22, 0.78):
            canvas.disc(x + 0.01 * (step % 3 - 1), 0.2 + step * 0.045, 0.024, flowers[(step + 3) % 6])
    line = [(x / 20, 0.02 + 0.07 * (1 - (x / 10 - 1) ** 2)) for x in range(21)]
    canvas.line(line, 0.004, "#7f5539")
    for x, y in line[1::2]:
        canvas.disc(x, y + 0.012, 0.011, "#ffd166")
