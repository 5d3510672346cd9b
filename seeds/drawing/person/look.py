"""What a person looks like, as ``seeds/looks.yaml`` writes it down."""

from dataclasses import dataclass, replace
from typing import Any, Self

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


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person is met in one picture.

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
    """What of a person stays the same from picture to picture.

    Attributes:
        skin: A key of ``SKINS``.
        hair: Its colour.
        style: A key of ``hair.STYLES``.
        shape: Of the head: round, oval, long or square.
        age: kinder, child, teen or adult.
        glasses: Kind (round, square, cat) and colour, or empty.
        extras: Any of freckles, earrings, mole, and ``bow``, ``band``, ``clip``, ``cap``, ``beanie``, ``beard``,
            ``moustache`` with a colour.
        photos: The poses of the own pictures.
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
        """Give the colour of an extra, an empty text if it has none, None if there is no such extra."""
        for extra in self.extras:
            name, _, tint = extra.partition(" ")
            if name == kind:
                return tint
        return None
