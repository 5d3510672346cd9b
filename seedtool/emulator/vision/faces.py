"""The faces of a picture: what IndexFaces, DetectFaces and SearchFacesByImage work on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seedtool.emulator.vision import attributes, descriptor
from seedtool.emulator.vision.picture import Picture, open_picture
from seedtool.emulator.vision.regions import Box, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

# Kinds of look: only looks of one kind are compared.
WHOLE, CROP = 0, 1

# Where the face of a picture without regions is said to be: a portrait's usual place.
_CENTRAL = Box(left=0.225, top=0.13, width=0.55, height=0.64)
# "Guidelines and quotas": 40x40 pixels in a picture of 1920x1080, in proportion in larger ones.
_SMALLEST_FACE, _REFERENCE = 40, (1920, 1080)
_SPECK = 10  # pixels: not even an unindexed face
_PATCH = 96  # pixels a side that quality is measured on
_FLAT = 4  # levels: less contrast is no face to focus on


@dataclass(frozen=True)
class _Bar:
    """What a QualityFilter asks of a face; no public number is known, these are the stand-in's own."""

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
        ordinal: its number in the picture, the same each time the picture is looked at.
        box: where it is, in fractions of the upright picture.
        confidence: 0 to 100, that it is a face.
        brightness: 0 to 100, from the pixels.
        sharpness: the same.
        pose: roll, yaw and pitch in degrees.
        name: whom the picture's metadata names, or None.
        likeness: the similarity that the metadata asks for, or None.
        digest: a hash of picture and ordinal.
        looks: descriptions of its pixels, (kind, vector).
        small: below the smallest face that Rekognition detects.
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
    looks: Sequence[tuple[int, bytes]] = field(repr=False)
    small: bool

    @property
    def area(self) -> float:
        """The box's share of the picture."""
        return self.box.width * self.box.height

    @property
    def quality(self) -> float:
        """One number for the face's quality, 0 to 100."""
        return min(self.brightness, 100 - max(0.0, self.brightness - 90) * 10, self.sharpness)

    def bounding_box(self) -> dict[str, float]:
        """The box as Rekognition answers it."""
        return attributes.bounding_box(self.box)

    def detail(self, wanted: Sequence[str]) -> dict[str, Any]:
        """The FaceDetail structure with the default and the wanted attributes."""
        roll, yaw, pitch = self.pose
        default = {
            "BoundingBox": self.bounding_box(),
            "Landmarks": attributes.landmarks(self.box, every="ALL" in wanted),
            "Pose": {"Roll": roll, "Yaw": yaw, "Pitch": pitch},
            "Quality": {"Brightness": self.brightness, "Sharpness": self.sharpness},
            "Confidence": self.confidence,
        }
        return default | attributes.optional(self.digest, wanted)


def look(content: bytes) -> list[SeenFace]:
    """The faces in a picture, largest first.

    Args:
        content: a JPEG or PNG file.

    Returns:
        The faces of its MWG regions; without regions one central face, or none when the picture is uniform.

    Raises:
        ServiceError: the picture is outside Rekognition's limits or no picture.
    """
    picture = open_picture(content)
    whole = descriptor.describe(picture.image)
    regions = picture.regions
    if not regions:
        regions = [Region(_CENTRAL, None, None)] if whole else []
    key = hashlib.sha256(content).digest()
    faces = []
    for ordinal, region in enumerate(regions):
        crop = _crop(picture.image, region.box)
        looks = []
        # A portrait is known by the whole picture, so that a copy that lost its region is known again.
        if len(regions) == 1 and whole:
            looks.append((WHOLE, whole))
        if picture.regions:
            described = descriptor.describe(crop)
            if described:
                looks.append((CROP, described))
        face = _face(ordinal, region, picture, crop, looks, key)
        if face is not None:
            faces.append(face)
    return sorted(faces, key=lambda face: (-face.area, face.ordinal))


def select(
    faces: Sequence[SeenFace], *, quality_filter: str, max_faces: int | None
) -> tuple[list[SeenFace], list[tuple[SeenFace, list[str]]]]:
    """Which faces are used, and why the others are not.

    Args:
        faces: as `look` gives them.
        quality_filter: NONE, AUTO, LOW, MEDIUM or HIGH.
        max_faces: keep at most so many; the lowest quality goes first, then the smallest box.

    Returns:
        The faces kept, and those refused with the reasons. A face below Rekognition's smallest is neither with
        NONE: it is not detected.
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
        # Quality in coarse grades: else a hair's breadth of sharpness would outweigh any difference of size.
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
    crop: Image.Image,
    looks: Sequence[tuple[int, bytes]],
    key: bytes,
) -> SeenFace | None:
    width, height = region.box.width * picture.width, region.box.height * picture.height
    if min(width, height) < _SPECK:
        return None
    longer, shorter = max(picture.width, picture.height), min(picture.width, picture.height)
    smallest = _SMALLEST_FACE * max(1.0, longer / _REFERENCE[0], shorter / _REFERENCE[1])
    digest = hashlib.sha256(key + ordinal.to_bytes(4, "big")).digest()[:16]
    brightness, sharpness = _quality(crop)
    chance = attributes.chances(digest)
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
        looks=looks,
        small=min(width, height) < smallest - 0.5,
    )


def _crop(image: Image.Image, box: Box) -> Image.Image:
    left, top = int(box.left * image.width), int(box.top * image.height)
    right = max(left + 1, round((box.left + box.width) * image.width))
    bottom = max(top + 1, round((box.top + box.height) * image.height))
    return image.crop((left, top, min(right, image.width), min(bottom, image.height)))


def _quality(crop: Image.Image) -> tuple[float, float]:
    """Brightness and sharpness, 0 to 100 each.

    Sharpness is the steepest hundredth of the steps between neighbouring pixels of the face at a fixed size, as
    a share of the face's contrast: an edge within two pixels counts 100, a blurred one spreads over many. A dark
    face is as sharp as a light one.
    """
    levels = np.asarray(crop.convert("L").resize((_PATCH, _PATCH), Image.Resampling.BILINEAR), dtype=np.float32)
    steps = np.maximum(np.abs(np.diff(levels, axis=0))[:, :-1], np.abs(np.diff(levels, axis=1))[:-1, :])
    contrast = float(np.percentile(levels, 99) - np.percentile(levels, 1))
    sharpness = 200 * float(np.percentile(steps, 99)) / contrast if contrast > _FLAT else 0.0
    return round(float(levels.mean()) / 2.55, 4), round(min(100.0, sharpness), 4)


def _within(value: float, least: float, most: float) -> float:
    return round(min(max(value, least), most), 4)
