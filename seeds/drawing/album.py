"""Photos of the library: people together in a place, as ``seeds/albums.yaml`` describes them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from PIL import Image, ImageDraw

from drawing import places
from drawing.figure import Box, Look, Pose, draw_figure
from drawing.pen import Pen
from drawing.places import Canvas
from drawing.regions import Region

SIZE = (840, 560)
FINER = 3
LARGE = 1200  # pixels a side; larger photos are drawn less fine, to save memory
# How far below an adult's face a face is, in units of a figure, and its size compared with an adult's.
STATURE = {"adult": (0.0, 1.0), "teen": (0.35, 0.97), "child": (1.0, 0.92), "kinder": (1.35, 0.88)}
MOUTHS = ("smile", "laugh", "grin", "smile", "open", "smirk", "laugh", "gap")
EYES = ("open", "happy", "open", "open", "wink", "open", "happy", "side")
CROWD = 25.5  # pixels a unit: such a face has 42 by 47 pixels, less than 3 % of a large picture
FAR = 3.0  # pixels a unit: such a face has 6 pixels, too few to be a face

PLACES: dict[str, Callable[[Canvas], None]] = {
    place.__name__: place
    for place in (
        places.livingroom, places.party, places.kitchen, places.stage, places.office,
        places.beach, places.park, places.gate, places.harbour, places.mountain, places.stadium,
        places.pool, places.wedding,
    )
}  # fmt: skip


class Person(NamedTuple):
    """A person in the library.

    Attributes:
        name: The name that a photo manager writes; empty for a face without a name.
        look: What stays the same from photo to photo.
        wears: Clothes. Each photo shows the next ones.
    """

    name: str
    look: Look
    wears: tuple[str, ...]

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        """Build a person from the mapping in the yaml file."""
        look = Look.read({key: value for key, value in entry.items() if key not in {"name", "wears"}})
        return cls(entry["name"], look, tuple(entry["wears"]))


class Library(NamedTuple):
    """The content of ``albums.yaml``.

    Attributes:
        people: All people, by the word that photos name them with.
        albums: One mapping for each user, the oldest user first.
    """

    people: dict[str, Person]
    albums: list[dict[str, Any]]


def load_library() -> Library:
    """Read ``albums.yaml``."""
    with (Path(__file__).parents[1] / "albums.yaml").open(encoding="utf-8") as file:
        document = yaml.safe_load(file)
    return Library({word: Person.read(entry) for word, entry in document["people"].items()}, document["albums"])


def owner(album: Mapping[str, Any]) -> str:
    """Return the name of the folder of a user's photos."""
    name: str = album["user"]["email"].partition(".")[0]
    return name


class _Place(NamedTuple):
    """Where a person stands: the middle of the face and the figure's unit, in pixels of the finished photo."""

    who: str
    x: float
    y: float
    unit: float


def draw_photo(photo: Mapping[str, Any], people: Mapping[str, Person], number: int) -> tuple[Image.Image, list[Region]]:
    """Draw one photo.

    Args:
        photo: An entry of an album. ``place`` is a key of ``PLACES``, ``size`` in pixels; ``back`` and ``front`` are
            rows of people from left to right, ``crowd`` small faces in the background, ``far`` somebody far away.
        people: Everybody in the library.
        number: The photo's in its album: clothes and expressions change with it.

    Returns:
        The picture and the regions of its faces, in the order in which they were drawn.
    """
    wide, high = photo.get("size", SIZE)
    finer = FINER if max(wide, high) < LARGE else FINER - 1
    image = Image.new("RGB", (wide * finer, high * finer))
    PLACES[photo["place"]](Canvas(ImageDraw.Draw(image), wide * finer, high * finer))
    regions = []
    for count, place in enumerate(_places(photo, people, wide, high)):
        who = people[place.who]
        pen = Pen(image, (place.x * finer, place.y * finer), place.unit * finer)
        box = draw_figure(pen, who.look, _pose(who, number, count))
        if place.unit == CROWD:
            _hold_flag(Canvas(pen.draw, wide * finer, high * finer), place, wide, high)
        left, top, right, bottom = (edge / finer for edge in box)
        regions.append(Region(who.name, _within((left, top, right, bottom), wide, high)))
    return image.resize((wide, high), Image.Resampling.LANCZOS), regions


def _places(photo: Mapping[str, Any], people: Mapping[str, Person], wide: int, high: int) -> list[_Place]:
    """Return who stands where. People in the back come first."""
    crowd = photo.get("crowd", ())
    out = [
        _Place(who, (place + 0.5) / len(crowd) * wide, high * (0.3 + 0.05 * (place % 2)), CROWD)
        for place, who in enumerate(crowd)
    ]
    if "far" in photo:
        out.append(_Place(photo["far"], wide * 0.27, high * 0.855, FAR))
    back, front = photo.get("back", ()), photo.get("front", ())
    if front:
        out += _row(back, people, wide, high, y=0.32, largest=0.105)
        out += _row(front, people, wide, high, y=0.61, largest=0.115)
    else:
        out += _row(back, people, wide, high, y=0.45, largest=0.15)
    return out


def _row(
    row: list[str], people: Mapping[str, Person], wide: int, high: int, *, y: float, largest: float
) -> list[_Place]:
    """Place people over the whole width. Small people come last, so they are drawn over tall ones."""
    if not row:
        return []
    # Shoulders are 3.4 units wide and overlap a little, as in a real group photo.
    unit = min(high * largest, wide / (len(row) * 2.75), wide * 0.17)
    step = min(wide / len(row), unit * 3.5)
    out = []
    for place, who in enumerate(row):
        lower, size = STATURE[people[who].look.age]
        nudge = ((place * 37 + len(who) * 11) % 9 - 4) * 0.035
        x = wide / 2 + (place - (len(row) - 1) / 2) * step
        out.append(_Place(who, x, high * y + (lower * 0.55 + nudge) * unit, unit * size))
    return sorted(out, key=lambda each: each.y)


def _pose(who: Person, number: int, count: int) -> Pose:
    lean = ((number * 5 + count * 37) % 11) - 5
    turn = number * 3 + count
    mouth = MOUTHS[turn % len(MOUTHS)]
    return Pose(
        clothes=who.wears[number % len(who.wears)],
        mouth="smile" if mouth == "gap" and who.look.age in {"teen", "adult"} else mouth,
        eyes=EYES[(turn * 3 + number) % len(EYES)],
        turn=0.015 * lean,
        tilt=-1.4 * lean,
    )


def _hold_flag(canvas: Canvas, place: _Place, wide: int, high: int) -> None:
    """Draw a flag before a person in a stand, because figures have no legs."""
    across, down = place.unit / wide, place.unit / high
    x, y = place.x / wide, place.y / high + 2.4 * down
    for stripe, fill in enumerate(("#d62828", "#ffffff", "#d62828")):
        top = y + stripe * 2.25 * down
        canvas.box(x - 2.9 * across, top, x + 2.9 * across, top + 2.25 * down, fill)


def _within(box: Box, wide: int, high: int) -> Box:
    return (max(0.0, box[0]), max(0.0, box[1]), min(wide, box[2]), min(high, box[3]))
