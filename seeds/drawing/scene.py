"""Class photos: two rows of figures in a room."""

from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw

from drawing.pen import Pen
from drawing.person.figure import draw_figure
from drawing.person.look import Look, Pose
from drawing.places.rooms import FINER, ROOMS, SIZE, box
from drawing.regions import Region

# The jumpers of the back row lie in the shadow of the room, or the rows would melt into one.
UNIFORM = {"back": "jumper #182748 #9c1c27", "front": "jumper #243a67 #b3202c"}
# Pixels from the middle of a face to its chin: back row, front row, and far away.
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
        # Nobody stands like a post: a few pixels up or down, a head to the side.
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
    """Take caps and beanies off: it is a class photo."""
    return replace(look, extras=tuple(extra for extra in look.extras if extra.split()[0] not in {"cap", "beanie"}))


def _stand_far(draw: ImageDraw.ImageDraw, x: float) -> None:
    """Give the figure at the gate legs, which nobody in the rows shows."""
    box(draw, (x - 24, 292, x + 24, 300), "#cfe3c2")
    box(draw, (x - 24, 300, x + 24, 350), "#b7cf8a")
    for left in (x - 9, x + 3):
        box(draw, (left, 290, left + 6, 312), "#5b6270")
