"""Class photos: two rows of figures in a room of the school."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw

from drawing.figure import Look, Pose, draw_figure
from drawing.pen import Pen, colour, shade
from drawing.regions import Region

SIZE = (960, 640)  # units of a room, and pixels of the finished picture
FINER = 3  # pixels a unit, before the picture is scaled down
# The back row wears a darker jumper, so that the two rows can be distinguished.
UNIFORM = {"back": "jumper #182748 #9c1c27", "front": "jumper #243a67 #b3202c"}
# Pixels from the middle of a face to its chin: in the back row, in the front row, and far away.
BACK, FRONT, FAR = 50.0, 58.0, 9.5
MOUTHS = ("smile", "open", "laugh", "grin", "smile", "smirk", "laugh")
EYES = ("open", "open", "happy", "open", "happy")


def draw_scene(
    scene: dict[str, Any], looks: dict[str, Look], names: dict[str, str]
) -> tuple[Image.Image, list[Region]]:
    """Draw one class photo.

    Args:
        scene: An entry of ``scenes.yaml``.
        looks: Everybody's look by id.
        names: The students' full names by id.

    Returns:
        The picture and the regions of all faces, back row first.
    """
    names = names | {"visitor": scene.get("visitor", "")}
    image = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER))
    ROOMS[scene["room"]](ImageDraw.Draw(image))
    regions: list[Region] = []
    places = [(scene["far"], 0.905, 256.0, FAR)] if "far" in scene else []
    for row, y, unit in (("back", 218.0, BACK), ("front", 410.0, FRONT)):
        count = len(scene[row])
        inset = 0.5 / count if row == "front" else 0.62 / count
        step = (1 - 2 * inset) / (count - 1)
        places += [(who, inset + step * place, y, unit) for place, who in enumerate(scene[row])]
    for place, (who, x, y, unit) in enumerate(places):
        # Everybody stands a few pixels higher or lower, and leans the head a little.
        lean = (place * 37 % 11) - 5
        grown = 6 if looks[who].age == "adult" else 0
        at = (x * SIZE[0] * FINER, (y + lean - grown) * FINER)
        pose = Pose(
            clothes="cardigan #7f5539 #e6ccb2" if who == "visitor" else UNIFORM["front" if unit == FRONT else "back"],
            mouth=MOUTHS[place % len(MOUTHS)],
            eyes=EYES[place % len(EYES)],
            turn=0.016 * lean,
            tilt=-1.3 * lean,
        )
        edges = draw_figure(Pen(image, at, unit * FINER), _for_school(looks[who]), pose)
        if unit == FAR:
            _stand_far(ImageDraw.Draw(image), x * SIZE[0])
        left, top, right, bottom = (edge / FINER for edge in edges)
        regions.append(Region(names[who], (left, top, right, bottom)))
    return image.resize(SIZE, Image.Resampling.LANCZOS), regions


def _for_school(look: Look) -> Look:
    """Return the look without cap and beanie, as for a class photo."""
    return replace(look, extras=tuple(extra for extra in look.extras if extra.split()[0] not in {"cap", "beanie"}))


def _stand_far(draw: ImageDraw.ImageDraw, x: float) -> None:
    """Draw legs for the figure at the gate; those of people in the rows are hidden."""
    _box(draw, (x - 24, 292, x + 24, 300), "#cfe3c2")
    _box(draw, (x - 24, 300, x + 24, 350), "#b7cf8a")
    for left in (x - 9, x + 3):
        _box(draw, (left, 290, left + 6, 312), "#5b6270")


def _box(draw: ImageDraw.ImageDraw, edges: tuple[float, float, float, float], fill: str) -> None:
    """Fill a rectangle, given by its left, top, right and bottom in units."""
    draw.rectangle([edge * FINER for edge in edges], fill=colour(fill))


def _classroom(draw: ImageDraw.ImageDraw) -> None:
    _box(draw, (0, 0, 960, 640), "#f3e6c8")
    _box(draw, (0, 430, 960, 640), "#c79a6b")
    _box(draw, (200, 34, 760, 286), "#8a5a33")
    _box(draw, (212, 46, 748, 274), "#2f5d50")
    chalk = shade(colour("#2f5d50"), 0.7)
    for points in (
        [(250, 70), (262, 110), (274, 70), (286, 110), (298, 70)],
        [(330, 110), (348, 66), (366, 110)],
        [(470, 66), (470, 112), (520, 112), (470, 66)],
        [(600, 90), (626, 70), (652, 96), (678, 64), (704, 84)],
    ):
        draw.line([(x * FINER, y * FINER) for x, y in points], fill=chalk, width=3 * FINER, joint="curve")
    for left in (28, 800):
        _box(draw, (left, 60, left + 132, 250), "#ffffff")
        _box(draw, (left + 8, 68, left + 62, 242), "#bfe3f7")
        _box(draw, (left + 70, 68, left + 124, 242), "#bfe3f7")
    _flag(draw, 30, 270)


def _flag(draw: ImageDraw.ImageDraw, left: float, top: float) -> None:
    _box(draw, (left, top, left + 96, top + 64), "#ffffff")
    _box(draw, (left, top + 32, left + 96, top + 64), "#d52b1e")
    _box(draw, (left, top, left + 32, top + 32), "#0039a6")
    draw.regular_polygon(((left + 16) * FINER, (top + 16) * FINER, 4 * FINER), 5, fill="#ffffff")


def _library(draw: ImageDraw.ImageDraw) -> None:
    _box(draw, (0, 0, 960, 640), "#e9d3b4")
    _box(draw, (0, 480, 960, 640), "#7a4f33")
    spines = ("#9b2226", "#e9a03b", "#2a7f86", "#31572c", "#5f4b8b", "#d8c3a5", "#33415c")
    for shelf in range(4):
        floor, left, number = 96 + 108 * shelf, 14, shelf * 5
        while left < 940:
            thick, tall = 20 + number * 11 % 13, 58 + number * 7 % 27
            _box(draw, (left, floor - tall, left + thick, floor), spines[number * 3 % 7])
            left, number = left + thick + (26 if number % 9 == 8 else 4), number + 1
        _box(draw, (0, floor, 960, floor + 14), "#6b4428")
    for left in (0, 474, 948):
        _box(draw, (left, 0, left + 12, 440), "#6b4428")


def _yard(draw: ImageDraw.ImageDraw) -> None:
    _box(draw, (0, 0, 960, 640), "#a9dcf5")
    far = [(0, 230), (150, 90), (270, 190), (430, 40), (600, 190), (760, 80), (960, 220), (960, 400), (0, 400)]
    draw.polygon([(x * FINER, y * FINER) for x, y in far], fill="#8fa6bd")
    for x, y in ((150, 90), (430, 40), (760, 80)):
        snow = [(x, y), (x + 44, y + 42), (x + 14, y + 34), (x - 10, y + 50), (x - 40, y + 38)]
        draw.polygon([(a * FINER, b * FINER) for a, b in snow], fill="#ffffff")
    _box(draw, (0, 270, 960, 640), "#b7cf8a")
    _box(draw, (0, 400, 960, 640), "#d9b48a")
    for left in range(6, 960, 34):
        _box(draw, (left, 236, left + 7, 300), "#5b7f5e")
    _box(draw, (0, 252, 960, 258), "#5b7f5e")
    _box(draw, (836, 226, 902, 300), "#cfe3c2")
    for edge in (832, 900):
        _box(draw, (edge, 218, edge + 8, 304), "#7a5a3a")
    draw.ellipse([edge * FINER for edge in (40, 96, 200, 236)], fill="#5f9e5b")
    _box(draw, (112, 220, 128, 300), "#7a5a3a")


ROOMS: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "classroom": _classroom,
    "library": _library,
    "yard": _yard,
}
