"""The faces of real people: where they are in a picture, and how like they are. This needs the extra `vision`.

dlib's detector by histograms of oriented gradients (HOG) finds faces that look ahead, its 5-point predictor finds the
eyes and the nose, and its ResNet makes 128 numbers of a face. Two faces are the more alike the smaller the Euclidean
distance of their numbers is. dlib has a second detector, a network, which takes 30 s on a CPU in place of 0.3.

Sources: dlib's `python_examples/face_recognition.py` (0.6 is the distance at which its author calls two faces one
person's; it is right for 99.38 % of the pairs of "Labeled Faces in the Wild"), and the answers of CompareFaces and
DetectFaces in the AWS CLI's reference (where Rekognition's box lies around eyes and mouth).
"""

from __future__ import annotations

import importlib.util
import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from seedtool.emulator.process import EmulatorError
from seedtool.emulator.regions import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: What may be asked for by name.
KINDS = ("dlib",)
#: Numbers that describe a face; 32-bit floats.
NUMBERS = 128

# The similarity is 100 at distance 0, 95 at 0.5, 80 (Rekognition's default threshold) at 0.6, and 3 at 0.85: it is
# 100 * exp(-(distance / _SCALE) ** _STEEPNESS). Two people are some 0.8 apart.
_STEEPNESS = math.log(math.log(0.80) / math.log(0.95)) / math.log(0.6 / 0.5)
_SCALE = 0.6 / (-math.log(0.80)) ** (1 / _STEEPNESS)

# The detector takes no face below 40 pixels a side in a picture that it doubles. At most so many pixels of the longer
# side are shown to it, and at least so many of the shorter one: a face that was cut out may be small.
_LONGEST, _SHORTEST = 1200, 400
# Of the faces of six photographs, whole, cut out and tilted, the least had 0.5; what is none had 0.13 twice.
_LEAST_SCORE = 0.3
# Rekognition's box: the distance of the eyes and the line on which they lie, as shares of its width and of its height,
# and its width by its height.
_EYES_APART, _EYE_LINE, _PROPORTION = 0.45, 0.41, 0.72
_TIP = 0.7  # of the way from the eyes to the base of the nose, which dlib gives: the tip, which Rekognition gives
_OVERLAP = 0.2  # share of the smaller box; a region that somebody drew by hand is larger than the face, or smaller

_MODELS = "face_recognition_models"
_POINTS, _DESCRIBER = "shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"


class FoundFace(NamedTuple):
    """A face that was found in a picture.

    Attributes:
        box: where it is, in fractions of the picture, within its edges.
        confidence: that it is a face, 0 to 100.
        eyes: the middles of the eye on the left of the picture and of the other one, in fractions of the picture.
        nose: the tip of the nose.
        roll: degrees; above 0 when the eye on the right is the lower one.
        numbers: what it looks like, `NUMBERS` 32-bit floats.
    """

    box: Box
    confidence: float
    eyes: tuple[tuple[float, float], tuple[float, float]]
    nose: tuple[float, float]
    roll: float
    numbers: bytes


class Vision(Protocol):
    """Finds the faces of people in pictures. Safe for concurrent threads."""

    def faces(self, image: Image.Image) -> list[FoundFace]:
        """Find the faces of an upright RGB picture, the largest first."""


def open_vision(kind: str | None) -> Vision | None:
    """Load what finds faces.

    Args:
        kind: one of `KINDS`; None for none.

    Raises:
        EmulatorError: the extra is not installed, or there is no such kind.
    """
    if kind is None:
        return None
    if kind not in KINDS:
        raise EmulatorError(f"There is no vision {kind!r}.", f"Use {' or '.join(KINDS)}.")
    try:
        return _Dlib()
    except ModuleNotFoundError as error:
        raise EmulatorError(
            f"The recognition of real faces needs the package {error.name}, which is not installed.",
            "Run pip install 'seedtool[vision]'",
        ) from error


class _Dlib:
    def __init__(self) -> None:
        # The package's own module imports pkg_resources, which is not everywhere. So its files are found without it.
        package = importlib.util.find_spec(_MODELS)
        if package is None or package.origin is None:
            raise ModuleNotFoundError(name=_MODELS)
        import dlib

        models = Path(package.origin).parent / "models"
        self._detector: Any = dlib.get_frontal_face_detector()
        self._points: Any = dlib.shape_predictor(str(models / _POINTS))
        self._describer: Any = dlib.face_recognition_model_v1(str(models / _DESCRIBER))
        self._lock = threading.Lock()  # its objects have working memory of their own

    def faces(self, image: Image.Image) -> list[FoundFace]:
        scale = min(_LONGEST / max(image.size), max(1.0, _SHORTEST / min(image.size)))
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        shown = image if scale == 1 else image.resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(shown)
        found = []
        with self._lock:
            boxes, scores, _ = self._detector.run(pixels, 1, _LEAST_SCORE)
            for box, score in zip(boxes, scores, strict=True):
                points = self._points(pixels, box)
                places = np.array([(point.x, point.y) for point in points.parts()], dtype=np.float64)
                numbers = np.array(self._describer.compute_face_descriptor(pixels, points), dtype=np.float32)
                found.append(found_face(places, size, float(score), numbers.tobytes()))
        return sorted(found, key=lambda face: -face.box.width * face.box.height)


def found_face(points: NDArray[np.float64], size: tuple[int, int], score: float, numbers: bytes) -> FoundFace:
    """Make a face of what dlib says.

    Args:
        points: in pixels, of shape (5, 2): outer and inner corner of the eye on the right of the picture, the same of
            the eye on the left, and the base of the nose.
        size: width and height of the picture in pixels.
        score: the detector's; above `_LEAST_SCORE`, and some 2 for a face that looks straight ahead.
        numbers: what the face looks like.
    """
    right, left, base = points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
    middle, across = (left + right) / 2, right - left
    width = max(1.0, float(np.hypot(*across))) / _EYES_APART
    height = width / _PROPORTION
    corner = middle - np.array([width / 2, height * _EYE_LINE])
    start = np.clip(corner / size, 0.0, 1.0)
    end = np.clip((corner + np.array([width, height])) / size, 0.0, 1.0)
    sides = np.maximum(end - start, 0.0)
    tip = middle + _TIP * (base - middle)
    fractions = [(float(x), float(y)) for x, y in (left / size, right / size, tip / size)]
    return FoundFace(
        box=Box(float(start[0]), float(start[1]), float(sides[0]), float(sides[1])),
        confidence=100 / (1 + math.exp(-2 - 2 * score)),
        eyes=(fractions[0], fractions[1]),
        nose=fractions[2],
        roll=math.degrees(math.atan2(across[1], across[0])),
        numbers=numbers,
    )


def in_region(box: Box, faces: Iterable[FoundFace]) -> FoundFace | None:
    """Return the face that a region of a picture is around; None where none was found there."""
    face = max(faces, key=lambda each: _shared(box, each.box), default=None)
    return face if face is not None and _shared(box, face.box) >= _OVERLAP else None


def similarities(numbers: bytes, others: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the similarity of a face to others, 0 to 100 each: 80 and more where dlib's author says one person."""
    many = np.frombuffer(b"".join(others), dtype=np.float32).reshape(len(others), NUMBERS)
    distance = np.sqrt(((many - np.frombuffer(numbers, dtype=np.float32)) ** 2).sum(axis=1, dtype=np.float64))
    alike: NDArray[np.float32] = (100 * np.exp(-((distance / _SCALE) ** _STEEPNESS))).astype(np.float32)
    return alike


def most_distant(similarity: float) -> float:
    """Return the squared distance above which no two faces reach `similarity` (0 to 100)."""
    if similarity <= 0:
        return math.inf
    return float((_SCALE * (-math.log(similarity / 100)) ** (1 / _STEEPNESS)) ** 2) + 1e-4  # for rounding


def _shared(one: Box, other: Box) -> float:
    """Return how much two boxes share: 1 where one lies within the other."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    smaller = min(one.width * one.height, other.width * other.height)
    return max(0.0, width) * max(0.0, height) / smaller if smaller > 0 else 0.0
