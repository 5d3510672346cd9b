"""The rooms of the school, 960 units wide and 640 high."""

from collections.abc import Callable

from PIL import ImageDraw

from drawing.pen import colour, shade

SIZE = (960, 640)
FINER = 3  # pixels a unit, before the picture is scaled down


def box(draw: ImageDraw.ImageDraw, edges: tuple[float, float, float, float], fill: str) -> None:
    """Fill a rectangle: left, top, right and bottom in units."""
    draw.rectangle([edge * FINER for edge in edges], fill=colour(fill))


def _classroom(draw: ImageDraw.ImageDraw) -> None:
    box(draw, (0, 0, 960, 640), "#f3e6c8")
    box(draw, (0, 430, 960, 640), "#c79a6b")
    box(draw, (200, 34, 760, 286), "#8a5a33")
    box(draw, (212, 46, 748, 274), "#2f5d50")
    chalk = shade(colour("#2f5d50"), 0.7)
    for points in (
        [(250, 70), (262, 110), (274, 70), (286, 110), (298, 70)],
        [(330, 110), (348, 66), (366, 110)],
        [(470, 66), (470, 112), (520, 112), (470, 66)],
        [(600, 90), (626, 70), (652, 96), (678, 64), (704, 84)],
    ):
        draw.line([(x * FINER, y * FINER) for x, y in points], fill=chalk, width=3 * FINER, joint="curve")
    for left in (28, 800):
        box(draw, (left, 60, left + 132, 250), "#ffffff")
        box(draw, (left + 8, 68, left + 62, 242), "#bfe3f7")
        box(draw, (left + 70, 68, left + 124, 242), "#bfe3f7")
    _flag(draw, 30, 270)


def _flag(draw: ImageDraw.ImageDraw, left: float, top: float) -> None:
    box(draw, (left, top, left + 96, top + 64), "#ffffff")
    box(draw, (left, top + 32, left + 96, top + 64), "#d52b1e")
    box(draw, (left, top, left + 32, top + 32), "#0039a6")
    draw.regular_polygon(((left + 16) * FINER, (top + 16) * FINER, 4 * FINER), 5, fill="#ffffff")


def _library(draw: ImageDraw.ImageDraw) -> None:
    box(draw, (0, 0, 960, 640), "#e9d3b4")
    box(draw, (0, 480, 960, 640), "#7a4f33")
    spines = ("#9b2226", "#e9a03b", "#2a7f86", "#31572c", "#5f4b8b", "#d8c3a5", "#33415c")
    for shelf in range(4):
        floor, left, number = 96 + 108 * shelf, 14, shelf * 5
        while left < 940:
            thick, tall = 20 + number * 11 % 13, 58 + number * 7 % 27
            box(draw, (left, floor - tall, left + thick, floor), spines[number * 3 % 7])
            left, number = left + thick + (26 if number % 9 == 8 else 4), number + 1
        box(draw, (0, floor, 960, floor + 14), "#6b4428")
    for left in (0, 474, 948):
        box(draw, (left, 0, left + 12, 440), "#6b4428")


def _yard(draw: ImageDraw.ImageDraw) -> None:
    box(draw, (0, 0, 960, 640), "#a9dcf5")
    far = [(0, 230), (150, 90), (270, 190), (430, 40), (600, 190), (760, 80), (960, 220), (960, 400), (0, 400)]
    draw.polygon([(x * FINER, y * FINER) for x, y in far], fill="#8fa6bd")
    for x, y in ((150, 90), (430, 40), (760, 80)):
        snow = [(x, y), (x + 44, y + 42), (x + 14, y + 34), (x - 10, y + 50), (x - 40, y + 38)]
        draw.polygon([(a * FINER, b * FINER) for a, b in snow], fill="#ffffff")
    box(draw, (0, 270, 960, 640), "#b7cf8a")
    box(draw, (0, 400, 960, 640), "#d9b48a")
    for left in range(6, 960, 34):
        box(draw, (left, 236, left + 7, 300), "#5b7f5e")
    box(draw, (0, 252, 960, 258), "#5b7f5e")
    box(draw, (836, 226, 902, 300), "#cfe3c2")
    for edge in (832, 900):
        box(draw, (edge, 218, edge + 8, 304), "#7a5a3a")
    draw.ellipse([edge * FINER for edge in (40, 96, 200, 236)], fill="#5f9e5b")
    box(draw, (112, 220, 128, 300), "#7a5a3a")


ROOMS: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "classroom": _classroom,
    "library": _library,
    "yard": _yard,
}
