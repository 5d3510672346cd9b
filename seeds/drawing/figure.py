"""People: what they look like, and how they are drawn from the shoulders up: head, face, hair, glasses."""

from dataclasses import dataclass, replace
from typing import Any, Self

from drawing.clothes import wear
from drawing.hair import STYLES
from drawing.pen import Colour, Pen, Point, colour, mirrored, shade, smooth

Box = tuple[float, float, float, float]

SKINS = {
    "porcelain": "#fbe0cf",
    "fair": "#f6cdb0",
    "peach": "#efba92",
    "tan": "#dca577",
    "olive": "#c98f5f",
    "brown": "#a66a41",
    "deep": "#7a4a2e",
    "ebony": "#54321f",
}

# The right half of each head, from the crown to the chin.
HEADS: dict[str, list[Point]] = {
    "round": [(0.0, -1.0), (0.5, -0.9), (0.82, -0.45), (0.89, 0.12), (0.78, 0.6), (0.42, 0.91), (0.0, 0.98)],
    "oval": [(0.0, -1.0), (0.48, -0.9), (0.76, -0.45), (0.81, 0.1), (0.69, 0.58), (0.34, 0.93), (0.0, 1.02)],
    "long": [(0.0, -1.0), (0.45, -0.9), (0.71, -0.45), (0.75, 0.1), (0.65, 0.62), (0.32, 0.98), (0.0, 1.08)],
    "square": [(0.0, -1.0), (0.5, -0.9), (0.79, -0.45), (0.82, 0.1), (0.78, 0.58), (0.46, 0.93), (0.0, 1.0)],
}
BREADTH = {"kinder": 0.74, "child": 0.86, "teen": 1.0, "adult": 1.08}
INK: Colour = (46, 32, 30)
TEETH: Colour = (255, 253, 248)
TONGUE: Colour = (226, 104, 112)


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person appears in one picture.

    Attributes:
        backdrop: Kind and two colours: ``sun #fff3c4 #ffb703``.
        clothes: Kind and two colours: ``hoodie #e63946 #ffffff``.
        mouth: smile, open, laugh, grin, gap, smirk or tongue.
        eyes: open, happy, wink or side.
        turn: How far the face looks to the right, -0.2 to 0.2 of half a head.
        tilt: Degrees by which the head leans, clockwise.
        zoom: Size of the figure; 1 fills the picture well.
        shift: How far right of the middle it stands, in pixels of a portrait.
        lift: How far above its usual place, in the same pixels.
    """

    backdrop: str = "plain #cfe8ff #9cc9f0"
    clothes: str = "tee #4477aa #ffffff"
    mouth: str = "smile"
    eyes: str = "open"
    turn: float = 0.0
    tilt: float = 0.0
    zoom: float = 1.0
    shift: float = 0.0
    lift: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What stays the same of a person from picture to picture.

    Attributes:
        skin: A key of ``SKINS``.
        hair: Its colour.
        style: A key of ``hair.STYLES``.
        shape: Of the head: round, oval, long or square.
        age: kinder, child, teen or adult.
        glasses: Kind (round, square, cat) and colour, or empty.
        extras: Any of freckles, earrings, mole, and ``bow``, ``band``, ``clip``, ``cap``, ``beanie``, ``beard``,
            ``moustache`` with a colour.
        photos: The poses of the person's own portraits.
    """

    skin: str
    hair: str
    style: str
    shape: str = "oval"
    age: str = "child"
    glasses: str = ""
    extras: tuple[str, ...] = ()
    photos: tuple[Pose, ...] = ()

    @classmethod
    def read(cls, entry: dict[str, Any]) -> Self:
        """Build a look from its mapping in the yaml file."""
        photos = tuple(Pose(**pose) for pose in entry.get("photos", ()))
        look = cls(**{key: value for key, value in entry.items() if key not in {"photos", "extras"}})
        return replace(look, photos=photos, extras=tuple(entry.get("extras", ())))

    def worn(self, kind: str) -> str | None:
        """Return the colour of an extra; an empty text for one without colour, None for one that is not worn."""
        for extra in self.extras:
            name, _, tint = extra.partition(" ")
            if name == kind:
                return tint
        return None


def draw_figure(pen: Pen, look: Look, pose: Pose) -> Box:
    """Draw one person.

    Args:
        pen: Stands where the middle of the face shall be.
        look: Who it is.
        pose: Clothes and expression; its backdrop is not drawn here.

    Returns:
        Left, top, right and bottom of the face in pixels, from the forehead to the chin, without hair.
    """
    skin, tint = colour(SKINS[look.skin]), colour(look.hair)
    head = HEADS[look.shape]
    width = max(x for x, _ in head) / 0.84
    style = STYLES[look.style]
    tilted = pen.tilted(pose.tilt)

    style.behind(tilted, tint, width)
    kind, main, second = pose.clothes.split()
    wear(pen, kind, colour(main), colour(second), skin, BREADTH[look.age])
    for side in (-1, 1):
        # The cheek hides a part of the ear that the face turns to.
        ear = (side * 0.83 * width - pose.turn * 0.35, 0.16)
        tilted.ellipse(ear, 0.15, 0.22, shade(skin, -0.08))
        tilted.ellipse(ear, 0.08, 0.13, shade(skin, -0.2))
        if look.worn("earrings") is not None:
            tilted.ellipse((ear[0] + side * 0.03, 0.42), 0.06, 0.06, (255, 209, 92))
    outline = smooth(mirrored(head), closed=True)
    tilted.polygon(outline, skin)
    _beard(tilted, look, outline)
    _face(tilted, look, pose, skin)
    _moustache(tilted, look, pose)
    style.over(tilted, tint, width)
    _glasses(tilted, look, pose, width)
    _headwear(tilted, look, width)

    pixels = [tilted.pixel(point) for point in outline if point[1] > -0.82]
    xs, ys = [x for x, _ in pixels], [y for _, y in pixels]
    return (min(xs), min(ys), max(xs), max(ys))


def _eye_height(look: Look) -> float:
    return {"kinder": 0.2, "child": 0.14, "teen": 0.08, "adult": 0.04}[look.age]


def _face(pen: Pen, look: Look, pose: Pose, skin: Colour) -> None:
    turn, height = pose.turn, _eye_height(look)
    big = {"kinder": 1.22, "child": 1.12, "teen": 1.0, "adult": 0.92}[look.age]
    blush = (*shade((232, 88, 84), -0.25 if look.skin in {"deep", "ebony"} else 0.0), 70)
    for side in (-1, 1):
        pen.ellipse((side * 0.5 + turn, height + 0.3), 0.2, 0.13, blush)
    if look.worn("freckles") is not None:
        for x, y in ((-0.56, 0.2), (-0.43, 0.27), (-0.5, 0.34), (0.56, 0.2), (0.43, 0.27), (0.5, 0.34), (-0.1, 0.2)):
            pen.ellipse((x + turn, height + y), 0.026, 0.026, shade(skin, -0.32))
    if look.worn("mole") is not None:
        pen.ellipse((0.36 + turn, height + 0.5), 0.035, 0.035, shade(skin, -0.6))
    brow = shade(colour(look.hair), -0.3)
    for side in (-1, 1):
        x = side * 0.34 + turn
        lift = 0.05 if pose.eyes == "wink" and side == 1 else 0.0
        # A brow is higher at the nose than at the temple. The other way round the face looks angry.
        arc = [(x - side * 0.15, -0.31), (x + side * 0.02, -0.35), (x + side * 0.19, -0.24)]
        pen.curve([(x, height + y - lift) for x, y in arc], 0.06, brow)
        _eye(pen, (x, height), side, pose.eyes, big)
    nose = 0.11 if look.age in {"kinder", "child"} else 0.15
    tip = (turn * 1.35, height + 0.33)
    pen.curve(
        [(tip[0] - nose, tip[1] - 0.03), (tip[0], tip[1] + 0.06), (tip[0] + nose, tip[1] - 0.03)],
        0.055,
        shade(skin, -0.27),
    )
    _mouth(pen, (turn * 1.1, height + 0.57), pose.mouth, skin)


def _beard(pen: Pen, look: Look, outline: list[Point]) -> None:
    if (tint := look.worn("beard")) is None:
        return
    with pen.within(outline) as inner:
        mouth = _eye_height(look) + 0.4
        cheek = [
            (-1.0, 0.12),
            (-0.66, 0.22),
            (-0.5, mouth),
            (0.0, mouth - 0.04),
            (0.5, mouth),
            (0.66, 0.22),
            (1.0, 0.12),
        ]
        inner.blob([*cheek, (1.0, 1.3), (-1.0, 1.3)], colour(tint))
        inner.ellipse((0.0, mouth + 0.2), 0.4, 0.17, shade(colour(SKINS[look.skin]), -0.06))


def _moustache(pen: Pen, look: Look, pose: Pose) -> None:
    if (tint := look.worn("moustache")) is None:
        return
    x, y = pose.turn * 1.2, _eye_height(look) + 0.47
    for side in (-1, 1):
        half = [(0.0, -0.06), (0.2, -0.08), (0.4, 0.06), (0.2, 0.05), (0.0, 0.03)]
        pen.blob([(x + side * a, y + b) for a, b in half], colour(tint))


def _eye(pen: Pen, at: Point, side: int, kind: str, big: float) -> None:
    x, y = at
    if kind == "happy" or (kind == "wink" and side == -1):
        pen.curve([(x - 0.14, y + 0.04), (x, y - 0.08), (x + 0.14, y + 0.04)], 0.065, INK)
        return
    gaze = 0.05 if kind == "side" else 0.0
    pen.ellipse((x, y), 0.15 * big, 0.165 * big, (255, 255, 255))
    pen.ellipse((x + gaze, y + 0.01), 0.1 * big, 0.125 * big, INK)
    pen.ellipse((x + gaze + 0.035, y - 0.045), 0.04 * big, 0.045 * big, (255, 255, 255))
    pen.curve([(x - 0.16 * big, y - 0.06), (x, y - 0.18 * big), (x + 0.16 * big, y - 0.06)], 0.04, INK)


def _mouth(pen: Pen, at: Point, kind: str, skin: Colour) -> None:
    x, y = at
    lips = shade(skin, -0.5) if sum(skin) > 330 else (58, 22, 22)
    inside: Colour = (142, 36, 46)
    if kind in {"smile", "smirk"}:
        rise = 0.07 if kind == "smirk" else 0.0
        arc = [
            (x - 0.32, y - 0.07),
            (x - 0.17, y + 0.06),
            (x, y + 0.1),
            (x + 0.17, y + 0.06),
            (x + 0.32, y - 0.07 - rise),
        ]
        pen.curve(arc, 0.06, lips)
        return
    wide, deep = {
        "open": (0.22, 0.2),
        "laugh": (0.32, 0.3),
        "grin": (0.32, 0.15),
        "gap": (0.28, 0.2),
        "tongue": (0.27, 0.18),
    }[kind]
    cup = smooth(
        [
            (x - wide, y - 0.05),
            (x, y - 0.02),
            (x + wide, y - 0.05),
            (x + wide * 0.7, y + deep * 0.65),
            (x, y + deep),
            (x - wide * 0.7, y + deep * 0.65),
        ],
        closed=True,
    )
    pen.polygon(cup, TEETH if kind == "grin" else inside)
    with pen.within(cup) as inner:
        if kind == "grin":
            inner.line([(x - wide, y + 0.045), (x + wide, y + 0.045)], 0.02, (214, 206, 198))
        else:
            inner.ellipse((x, y + deep), wide * 0.6, deep * 0.45, TONGUE)
            inner.polygon([(x - 1, y - 0.2), (x + 1, y - 0.2), (x + 1, y + 0.05), (x - 1, y + 0.05)], TEETH)
        if kind == "gap":
            inner.polygon(
                [(x - 0.02, y - 0.2), (x + 0.1, y - 0.2), (x + 0.1, y + 0.055), (x - 0.02, y + 0.055)], inside
            )
    if kind == "tongue":
        pen.ellipse((x + 0.05, y + deep), 0.12, 0.13, TONGUE)
        pen.line([(x + 0.05, y + deep - 0.04), (x + 0.05, y + deep + 0.06)], 0.02, shade(TONGUE, -0.2))


def _glasses(pen: Pen, look: Look, pose: Pose, width: float) -> None:
    if not look.glasses:
        return
    kind, tint = look.glasses.split()
    frame, y, turn = colour(tint), _eye_height(look) + 0.02, pose.turn
    for side in (-1, 1):
        x = side * 0.34 + turn
        if kind == "round":
            rim = [(x - 0.26, y), (x - 0.18, y - 0.18), (x, y - 0.26), (x + 0.18, y - 0.18), (x + 0.26, y)]
            rim += [(x + 0.18, y + 0.18), (x, y + 0.26), (x - 0.18, y + 0.18)]
        else:
            top = y - (0.28 if kind == "cat" else 0.2)
            inner_x, outer_x = x - side * 0.23, x + side * (0.31 if kind == "cat" else 0.26)
            rim = [
                (inner_x, y - 0.2),
                (x, y - 0.22),
                (outer_x, top),
                (outer_x - side * 0.03, y + 0.12),
                (x, y + 0.23),
                (inner_x, y + 0.15),
            ]
        pen.blob(rim, (255, 255, 255, 46))
        closed = smooth(rim, closed=True)
        pen.line([*closed, *closed[:2]], 0.06, frame)
        pen.line([(x + side * 0.26, y - 0.05), (side * 0.8 * width, y - 0.1)], 0.05, frame)
    pen.curve([(turn - 0.1, y - 0.03), (turn, y - 0.09), (turn + 0.1, y - 0.03)], 0.055, frame)


def _headwear(pen: Pen, look: Look, width: float) -> None:
    if (tint := look.worn("bow")) is not None:
        bow, x, y = colour(tint), 0.5 * width, -0.92
        for side in (-1, 1):
            pen.blob([(x, y), (x + side * 0.34, y - 0.24), (x + side * 0.36, y + 0.2)], bow)
        pen.ellipse((x, y), 0.1, 0.1, shade(bow, -0.25))
    if (tint := look.worn("band")) is not None:
        arc = [(-0.86, -0.42), (-0.6, -0.86), (0.0, -1.04), (0.6, -0.86), (0.86, -0.42)]
        pen.curve([(x * width, y) for x, y in arc], 0.15, colour(tint))
    if (tint := look.worn("clip")) is not None:
        pen.line([(-0.66 * width, -0.5), (-0.4 * width, -0.68)], 0.11, colour(tint))
    if (tint := look.worn("cap")) is not None:
        cap = colour(tint)
        dome = [(-0.88, -0.42), (-0.84, -0.86), (-0.4, -1.2), (0.2, -1.24), (0.76, -0.96), (0.9, -0.42), (0.0, -0.52)]
        pen.blob([(x * width, y) for x, y in dome], cap)
        pen.blob(
            [(x * width, y) for x, y in ((-0.3, -0.56), (0.6, -0.6), (1.3, -0.36), (0.8, -0.32))], shade(cap, -0.22)
        )
        pen.ellipse((0.02, -1.22), 0.09, 0.06, shade(cap, -0.22))
    if (tint := look.worn("beanie")) is not None:
        wool = colour(tint)
        dome = [(-0.92, -0.36), (-0.9, -0.86), (-0.45, -1.26), (0.0, -1.34), (0.45, -1.26), (0.9, -0.86), (0.92, -0.36)]
        pen.blob([(x * width, y) for x, y in dome], wool)
        pen.ellipse((0, -1.42), 0.24, 0.22, shade(wool, 0.4))
        arc = [(-0.92, -0.4), (-0.5, -0.52), (0.0, -0.56), (0.5, -0.52), (0.92, -0.4)]
        pen.curve([(x * width, y) for x, y in arc], 0.28, shade(wool, -0.2))
