"""The faces of a picture: what IndexFaces, DetectFaces and SearchFacesByImage work on.

Regions in the picture's metadata are believed. A picture without regions is looked for in the album, if there is one.
Any other picture has one face in the middle, unless the whole picture has one colour; it is known by its pixels, so a
copy that was resized or compressed again is recognised and another picture is not. With `vision` such a picture has the
faces that are seen in it instead, and they are known by what they look like.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seedtool.emulator import descriptor
from seedtool.emulator.pictures import Picture, open_picture
from seedtool.emulator.regions import Box, Region
from seedtool.emulator.vision import in_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from seedtool.emulator.album import Album
    from seedtool.emulator.vision import FoundFace, Vision

_Point = tuple[float, float]

# Kinds of descriptions: of the whole picture, of a face cut out, and the numbers of a real face. Only descriptions of
# one kind are compared.
WHOLE, CROP, FACE = 0, 1, 2

# The box of the face in a picture without regions: the usual place in a portrait.
_CENTRAL = Box(left=0.225, top=0.13, width=0.55, height=0.64)
# A picture without regions may be a face that was cut out of a larger picture, with so much of its width and height
# added on each side. Programs for group photos do this before they search: most add nothing, a tenth or up to a half.
_MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
# "Guidelines and quotas": 40x40 pixels in a picture of 1920x1080 pixels, and in proportion in larger ones.
_SMALLEST_FACE, _REFERENCE = 40, (1920, 1080)
_SPECK = 10  # pixels a side; a smaller face is not even reported as unindexed
_PATCH = 96  # pixels a side of the copy that quality is measured on
_FLAT = 4  # levels of contrast (of 255); a face with less has no edge, so its sharpness is 0

# Where the landmarks of a face that looks ahead lie, as fractions of its box's width and height.
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


@dataclass(frozen=True)
class _Bar:
    """The limits of a QualityFilter. AWS publishes no numbers; these are ours."""

    brightness: float
    sharpness: float
    confidence: float
    pose: float  # degrees
    quality: float


_BARS = {
    "LOW": _Bar(brightness=5, sharpness=5, confidence=50, pose=75, quality=0),
    "MEDIUM": _Bar(brightness=8, sharpness=12, confidence=80, pose=60, quality=10),
    "HIGH": _Bar(brightness=12, sharpness=25, confidence=95, pose=45, quality=15),
}
_BARS["AUTO"] = _BARS["LOW"]  # "If you specify AUTO, Rekognition chooses the quality bar"


@dataclass(frozen=True)
class SeenFace:
    """A face in a picture.

    Attributes:
        ordinal: its number in the picture, the same each time.
        box: where it is in the upright picture.
        confidence: that it is a face, 0 to 100.
        brightness: of its pixels, 0 to 100.
        sharpness: of its pixels, 0 to 100.
        pose: roll, yaw and pitch in degrees.
        name: the person's name in the metadata, or None.
        likeness: the similarity to other faces of the person that the metadata asks for, or None.
        digest: a hash of the picture and the ordinal.
        descriptions: of its pixels, each with its kind (`WHOLE`, `CROP` or `FACE`).
        cuts: descriptions of what it would be if the picture were a face that was cut out of a larger picture. They
            are searched for, and not kept.
        small: whether it is smaller than the smallest face that Rekognition detects.
        found: the face as it was seen there; None where nothing looked, or nothing was seen.
    """

    ordinal: int
    box: Box
    confidence: float
    brightness: float
    sharpness: float
    pose: tuple[float, float, float]
    name: str | None
    likeness: float | None
    digest: bytes
    descriptions: Sequence[tuple[int, bytes]] = field(repr=False)
    cuts: Sequence[tuple[int, bytes]] = field(repr=False)
    small: bool
    found: FoundFace | None = field(default=None, repr=False)

    @property
    def area(self) -> float:
        """The box's share of the picture, 0 to 1."""
        return self.box.width * self.box.height

    @property
    def quality(self) -> float:
        """The face's quality in one number, 0 to 100."""
        return min(self.brightness, 100 - max(0.0, self.brightness - 90) * 10, self.sharpness)

    def bounding_box(self) -> dict[str, float]:
        """Return the BoundingBox structure. Six decimals, as ListFaces answers."""
        box = self.box
        edges = {"Width": box.width, "Height": box.height, "Left": box.left, "Top": box.top}
        return {name: round(value, 6) for name, value in edges.items()}

    def detail(self, wanted: Sequence[str]) -> dict[str, Any]:
        """Return the FaceDetail structure with the default attributes and those of `wanted`."""
        roll, yaw, pitch = self.pose
        default = {
            "BoundingBox": self.bounding_box(),
            "Landmarks": _landmarks(self.box, self.found, every="ALL" in wanted),
            "Pose": {"Roll": roll, "Yaw": yaw, "Pitch": pitch},
            "Quality": {"Brightness": self.brightness, "Sharpness": self.sharpness},
            "Confidence": self.confidence,
        }
        return default | _optional(self.digest, wanted)


def find(
    content: bytes,
    album: Album | None = None,
    sidecar: bytes | None = None,
    *,
    cut_out: bool = False,
    vision: Vision | None = None,
) -> list[SeenFace]:
    """Find the faces of a picture.

    Args:
        content: a JPEG or PNG file.
        album: labelled pictures, of which this one may be a copy or a part.
        sidecar: the XMP packet beside the file.
        cut_out: if nothing says who is there, describe the picture as a face cut out of another picture, too.
        vision: finds real faces; None where nothing does.

    Returns:
        The faces of the picture's regions, largest first. When neither its metadata nor the album say who is there,
        those that are seen; without `vision` one face in the middle, or none when the picture has one colour.

    Raises:
        ServiceError: the file is no picture, or outside Rekognition's limits.
    """
    picture = open_picture(content, sidecar)
    whole = descriptor.describe(picture.image)
    regions = picture.regions
    if regions is None and album is not None and whole:
        regions = album.regions(picture.image, whole)
    known = regions is not None
    seen = vision.faces(picture.image) if vision is not None and regions != [] else []
    key = hashlib.sha256(content).digest()
    faces = []
    for ordinal, (region, found) in enumerate(_places(regions, seen, looked=vision is not None, blank=not whole)):
        inside = crop(picture.image, region.box)
        descriptions = [(FACE, found.numbers)] if found is not None else []
        # A portrait is known by its whole picture too, so that a copy without the region is recognised.
        if whole and (len(regions) == 1 if regions is not None else vision is None):
            descriptions.append((WHOLE, whole))
        if known:
            described = descriptor.describe(inside)
            if described:
                descriptions.append((CROP, described))
        cuts = _cuts(picture.image) if cut_out and not known and vision is None else []
        face = _face(ordinal, region, picture, inside, descriptions, cuts, key, found)
        if face is not None:
            faces.append(face)
    return sorted(faces, key=lambda face: (-face.area, face.ordinal))


def _places(
    regions: Sequence[Region] | None, seen: Sequence[FoundFace], *, looked: bool, blank: bool
) -> list[tuple[Region, FoundFace | None]]:
    """Return the regions of a picture, each with the face that was seen there."""
    if regions is not None:
        return [(region, in_region(region.box, seen)) for region in regions]
    if looked:
        hints = ({"confidence": face.confidence, "roll": face.roll} for face in seen)
        return [(Region(face.box, None, None, hint), face) for face, hint in zip(seen, hints, strict=True)]
    return [] if blank else [(Region(_CENTRAL, None, None), None)]


def _cuts(image: Image.Image) -> list[tuple[int, bytes]]:
    insets = [margin / (1 + 2 * margin) for margin in _MARGINS]
    return [(CROP, described) for described in descriptor.describe_insides(image, insets) if described]


def select(
    faces: Sequence[SeenFace], *, quality_filter: str, max_faces: int | None
) -> tuple[list[SeenFace], list[tuple[SeenFace, list[str]]]]:
    """Choose the faces that an operation uses.

    Args:
        faces: the faces that `find` returned.
        quality_filter: NONE, AUTO, LOW, MEDIUM or HIGH.
        max_faces: the largest number of faces to keep. Faces of low quality are dropped first, then small ones.

    Returns:
        The faces to keep, and the others with the reasons. With NONE a face below Rekognition's smallest is in
        neither list: Rekognition does not detect it.
    """
    bar = _BARS.get(quality_filter)
    kept, refused = [], []
    for face in faces:
        reasons = _reasons(face, bar) if bar else []
        if reasons:
            refused.append((face, reasons))
        elif not face.small:
            kept.append(face)
    if max_faces is not None and len(kept) > max_faces:
        # Quality counts in four grades. Else the smallest difference of sharpness would outweigh any of size.
        best = sorted(kept, key=lambda face: (-(face.quality // 25), -face.area, face.ordinal))
        dropped = {face.ordinal for face in best[max_faces:]}
        refused.extend((face, ["EXCEEDS_MAX_FACES"]) for face in kept if face.ordinal in dropped)
        kept = [face for face in kept if face.ordinal not in dropped]
    return kept, refused


def _reasons(face: SeenFace, bar: _Bar) -> list[str]:
    roll, yaw, pitch = (abs(angle) for angle in face.pose)
    checks = {
        "SMALL_BOUNDING_BOX": face.small,
        "LOW_CONFIDENCE": face.confidence < bar.confidence,
        "LOW_BRIGHTNESS": face.brightness < bar.brightness,
        "LOW_SHARPNESS": face.sharpness < bar.sharpness,
        "EXTREME_POSE": max(yaw, pitch) > bar.pose or roll > 2 * bar.pose,
        "LOW_FACE_QUALITY": face.quality < bar.quality,
    }
    return [reason for reason, applies in checks.items() if applies]


def _face(
    ordinal: int,
    region: Region,
    picture: Picture,
    inside: Image.Image,
    descriptions: Sequence[tuple[int, bytes]],
    cuts: Sequence[tuple[int, bytes]],
    key: bytes,
    found: FoundFace | None,
) -> SeenFace | None:
    width, height = region.box.width * picture.width, region.box.height * picture.height
    if min(width, height) < _SPECK:
        return None
    longer, shorter = max(picture.width, picture.height), min(picture.width, picture.height)
    smallest = _SMALLEST_FACE * max(1.0, longer / _REFERENCE[0], shorter / _REFERENCE[1])
    digest = hashlib.sha256(key + ordinal.to_bytes(4, "big")).digest()[:16]
    brightness, sharpness = _quality(inside)
    chance = _chances(digest)
    hints = region.hints
    return SeenFace(
        ordinal=ordinal,
        box=region.box,
        confidence=_within(hints.get("confidence", 99.5 + next(chance) * 0.49), 0, 100),
        brightness=brightness,
        sharpness=sharpness,
        pose=(
            _within(hints.get("roll", next(chance) * 10 - 5), -180, 180),
            _within(hints.get("yaw", next(chance) * 16 - 8), -180, 180),
            _within(hints.get("pitch", next(chance) * 16 - 8), -180, 180),
        ),
        name=region.name,
        likeness=region.likeness,
        digest=digest,
        descriptions=descriptions,
        cuts=cuts,
        small=min(width, height) < smallest - 0.5,
        found=found,
    )


def crop(image: Image.Image, box: Box) -> Image.Image:
    """Cut a box, in fractions of the picture, out of it: at least one pixel."""
    left, top = int(box.left * image.width), int(box.top * image.height)
    right = max(left + 1, round((box.left + box.width) * image.width))
    bottom = max(top + 1, round((box.top + box.height) * image.height))
    return image.crop((left, top, min(right, image.width), min(bottom, image.height)))


def _quality(face: Image.Image) -> tuple[float, float]:
    """Measure brightness and sharpness, 0 to 100 each.

    Sharpness compares the steps between neighbouring pixels with the contrast of the face, at a fixed size. An edge
    that takes two pixels counts 100; a blurred edge takes more pixels and counts less. A dark face can be as sharp as
    a light one.
    """
    levels = np.asarray(face.convert("L").resize((_PATCH, _PATCH), Image.Resampling.BILINEAR), dtype=np.int16)
    steps = np.maximum(np.abs(np.diff(levels, axis=0))[:, :-1], np.abs(np.diff(levels, axis=1))[:-1, :])
    contrast = _percentile(levels, 99) - _percentile(levels, 1)
    sharpness = 200 * _percentile(steps, 99) / contrast if contrast > _FLAT else 0.0
    return round(float(levels.mean(dtype=np.float32)) / 2.55, 4), round(min(100.0, sharpness), 4)


def _percentile(levels: NDArray[np.int16], percent: int) -> float:
    """Return numpy's percentile of levels from 0 to 255. To count them is ten times as quick."""
    counted = np.bincount(levels.ravel(), minlength=256).cumsum()
    place = (counted[-1] - 1) * percent / 100
    ranks = [math.floor(place), math.ceil(place)]
    below, above = np.searchsorted(counted, ranks, side="right").tolist()
    return float(below + (above - below) * (place - ranks[0]))


def _within(value: float, least: float, most: float) -> float:
    return round(min(max(value, least), most), 4)


def _chances(digest: bytes) -> Iterator[float]:
    """Yield numbers from 0 to 1 that look random. The same digest gives the same numbers."""
    count = 0
    while True:
        block = hashlib.sha256(digest + count.to_bytes(4, "big")).digest()
        for start in range(0, len(block), 4):
            yield int.from_bytes(block[start : start + 4], "big") / 0xFFFFFFFF
        count += 1


def _landmarks(box: Box, found: FoundFace | None, *, every: bool) -> list[dict[str, Any]]:
    """Return the five default landmarks, or with `every` all thirty, in fractions of the picture.

    Where the eyes and the nose were found, the others are laid out from these three.
    """
    origin, across, down = (box.left, box.top), (box.width, 0.0), (0.0, box.height)
    if found is not None:
        origin, across, down = _axes(*found.eyes, found.nose)
    wanted = list(_LANDMARKS.items())[: None if every else _DEFAULT_LANDMARKS]
    return [
        {
            "Type": kind,
            "X": round(origin[0] + x * across[0] + y * down[0], 6),
            "Y": round(origin[1] + x * across[1] + y * down[1], 6),
        }
        for kind, (x, y) in wanted
    ]


def _axes(left: _Point, right: _Point, nose: _Point) -> tuple[_Point, _Point, _Point]:
    """Return where the template's origin lies, and its x and y axes, when its eyes and nose lie at these places."""
    (x0, y0), (x1, _), (x2, y2) = (_LANDMARKS[kind] for kind in ("eyeLeft", "eyeRight", "nose"))
    across = (right[0] - left[0]) / (x1 - x0), (right[1] - left[1]) / (x1 - x0)
    down = tuple(
        (at_nose - at_left - step * (x2 - x0)) / (y2 - y0)
        for at_nose, at_left, step in zip(nose, left, across, strict=True)
    )
    origin = tuple(at - step * x0 - sink * y0 for at, step, sink in zip(left, across, down, strict=True))
    return (origin[0], origin[1]), across, (down[0], down[1])


def _optional(digest: bytes, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the attributes that a request has to ask for: plausible, and the same for the same picture.

    Args:
        digest: the face's digest.
        wanted: the request's attributes; `ALL` means each of them.

    Returns:
        Members of a FaceDetail structure.
    """
    chance = _chances(b"attributes" + digest)
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
