"""The parts of a FaceDetail that nobody can see in a drawing: plausible, and the same for the same picture."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedtool.emulator.vision.regions import Box

# Places in the face's box, as fractions of its width and height, of an upright face that looks ahead.
_LANDMARKS = {
    "eyeLeft": (0.32, 0.40),
    "eyeRight": (0.68, 0.40),
    "mouthLeft": (0.36, 0.76),
    "mouthRight": (0.64, 0.76),
    "nose": (0.50, 0.58),
    "leftEyeBrowLeft": (0.20, 0.31),
    "leftEyeBrowRight": (0.42, 0.31),
    "leftEyeBrowUp": (0.31, 0.27),
    "rightEyeBrowLeft": (0.58, 0.31),
    "rightEyeBrowRight": (0.80, 0.31),
    "rightEyeBrowUp": (0.69, 0.27),
    "leftEyeLeft": (0.25, 0.40),
    "leftEyeRight": (0.39, 0.40),
    "leftEyeUp": (0.32, 0.38),
    "leftEyeDown": (0.32, 0.42),
    "rightEyeLeft": (0.61, 0.40),
    "rightEyeRight": (0.75, 0.40),
    "rightEyeUp": (0.68, 0.38),
    "rightEyeDown": (0.68, 0.42),
    "noseLeft": (0.44, 0.62),
    "noseRight": (0.56, 0.62),
    "mouthUp": (0.50, 0.72),
    "mouthDown": (0.50, 0.82),
    "leftPupil": (0.32, 0.40),
    "rightPupil": (0.68, 0.40),
    "upperJawlineLeft": (0.06, 0.42),
    "midJawlineLeft": (0.12, 0.74),
    "chinBottom": (0.50, 0.98),
    "midJawlineRight": (0.88, 0.74),
    "upperJawlineRight": (0.94, 0.42),
}
_DEFAULT_LANDMARKS = 5
_YES_OR_NO = {
    "SMILE": "Smile",
    "EYEGLASSES": "Eyeglasses",
    "SUNGLASSES": "Sunglasses",
    "BEARD": "Beard",
    "MUSTACHE": "Mustache",
    "EYES_OPEN": "EyesOpen",
    "MOUTH_OPEN": "MouthOpen",
    "FACE_OCCLUDED": "FaceOccluded",
}
_EMOTIONS = ("CALM", "HAPPY", "SURPRISED", "CONFUSED", "SAD", "FEAR", "DISGUSTED", "ANGRY")


def chances(digest: bytes) -> Iterator[float]:
    """Numbers from 0 to 1 that look random and follow from `digest` alone."""
    count = 0
    while True:
        block = hashlib.sha256(digest + count.to_bytes(4, "big")).digest()
        for start in range(0, len(block), 4):
            yield int.from_bytes(block[start : start + 4], "big") / 0xFFFFFFFF
        count += 1


def bounding_box(box: Box) -> dict[str, float]:
    """A BoundingBox structure; six decimals, as ListFaces answers."""
    return {
        "Width": round(box.width, 6),
        "Height": round(box.height, 6),
        "Left": round(box.left, 6),
        "Top": round(box.top, 6),
    }


def landmarks(box: Box, *, every: bool) -> list[dict[str, Any]]:
    """The five default landmarks or all thirty, in fractions of the picture."""
    wanted = list(_LANDMARKS.items())[: None if every else _DEFAULT_LANDMARKS]
    return [
        {"Type": kind, "X": round(box.left + x * box.width, 6), "Y": round(box.top + y * box.height, 6)}
        for kind, (x, y) in wanted
    ]


def optional(digest: bytes, wanted: Sequence[str]) -> dict[str, Any]:
    """The attributes that are only answered when asked for.

    Args:
        digest: of the face.
        wanted: the request's attributes; `ALL` means each of them.

    Returns:
        Members of a FaceDetail structure.
    """
    chance = chances(b"attributes" + digest)
    low = 5 + int(next(chance) * 12)
    found: dict[str, Any] = {
        "AGE_RANGE": ("AgeRange", {"Low": low, "High": low + 8}),
        "GENDER": ("Gender", {"Value": "Female" if next(chance) < 0.5 else "Male", "Confidence": _sure(next(chance))}),
        "EMOTIONS": ("Emotions", _emotions(chance)),
        "EYE_DIRECTION": (
            "EyeDirection",
            {
                "Yaw": round(next(chance) * 20 - 10, 4),
                "Pitch": round(next(chance) * 20 - 10, 4),
                "Confidence": _sure(next(chance)),
            },
        ),
    }
    for attribute, member in _YES_OR_NO.items():
        value = attribute == "EYES_OPEN" or (attribute == "SMILE" and next(chance) < 0.5)
        found[attribute] = (member, {"Value": value, "Confidence": _sure(next(chance))})
    return dict(pair for attribute, pair in found.items() if "ALL" in wanted or attribute in wanted)


def _emotions(chance: Iterator[float]) -> list[dict[str, Any]]:
    weights = {kind: next(chance) ** 4 for kind in _EMOTIONS}
    total = sum(weights.values())
    ranked = sorted(weights, key=weights.__getitem__, reverse=True)
    return [{"Type": kind, "Confidence": round(100 * weights[kind] / total, 4)} for kind in ranked]


def _sure(chance: float) -> float:
    return round(90 + 9.9 * chance, 4)
