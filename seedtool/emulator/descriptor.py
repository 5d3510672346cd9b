"""Describes what a picture looks like in a few hundred numbers, and compares such descriptions.

A description has the averages of 16x16 cells of luminance and 8x8 cells of each chrominance. Compressing or resizing a
picture hardly changes averages; another picture has others. Portraits that were drawn to one layout differ in a few
places only (hair, skin, shirt), so the worst of sixteen tiles counts as well as the whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GRID = 16  # luminance cells a side
_CHROMA = 8  # chrominance cells a side
_SAMPLES = 64  # pixels a side of the copy that the cells are averages of
_FINE = 128  # pixels of the shorter side, at least, of the copy that insides are cut from
_LUMA_CELLS, _CHROMA_CELLS = _GRID * _GRID, _CHROMA * _CHROMA
_CELLS = _LUMA_CELLS + 2 * _CHROMA_CELLS
VECTOR_BYTES = 2 * (_CELLS + 1)  # the cells and the picture's proportions, as 16-bit floats
COARSE = 48  # numbers of the short form: 4x4 averages of each of the three planes

# A picture of one colour: the standard deviation of its levels (0 to 255) is below this in each plane.
_UNIFORM = 1.5
# The distances (root mean square of level differences) of wholes and of tiles at which the similarity is 100/e, and
# how steeply it falls. Measured on the portraits of seeds/photos: copies down to JPEG quality 10, 80 pixels or 32
# colours have whole distances below 5.4 and tile distances below 10.3; two portraits have at least 25 and 30. The
# similarity is 95 at distances of 5.8 and 12.2, and 80 at 9.5 and 20.
_WHOLE_SCALE, _TILE_SCALE, _STEEPNESS = 15.6, 33.0, 3.0
# The same for two more measures: the contrast of the difference as a share of the pictures' own contrast, which tells
# apart pictures that are almost grey, and the difference of the logarithms of width by height.
_SHARE_SCALE, _ASPECT_SCALE = 0.85, 0.15
_GREY = 128.0  # levels are stored as differences from it: 16-bit floats are finest around 0


def describe(image: Image.Image) -> bytes | None:
    """Describe an RGB picture of any number of pixels.

    Returns:
        `VECTOR_BYTES` bytes, or None when the picture has one colour.
    """
    squeezed = image.resize((_SAMPLES, _SAMPLES), Image.Resampling.BOX).convert("YCbCr")
    planes = np.asarray(squeezed, dtype=np.float32) - _GREY
    if planes.std(axis=(0, 1)).max() < _UNIFORM:
        return None
    cells = [
        _averages(planes[:, :, 0], _GRID),
        _averages(planes[:, :, 1], _CHROMA),
        _averages(planes[:, :, 2], _CHROMA),
        np.array([math.log(image.width / image.height)]),
    ]
    return np.concatenate([plane.ravel() for plane in cells]).astype(np.float16).tobytes()


def describe_insides(image: Image.Image, insets: Sequence[float]) -> list[bytes | None]:
    """Describe what is left of an RGB picture without its edges, several times.

    Args:
        image: any number of pixels.
        insets: shares of the width and of the height that are cut off on each side, below a half.

    Returns:
        As `describe` does, for each inset.
    """
    # Not in whole pixels: of a face of 100 pixels, one more on the left is enough to take it for another.
    step = max(1, min(image.size) // _FINE)
    small = image.reduce(step) if step > 1 else image
    planes = np.asarray(small.convert("YCbCr"), dtype=np.float64) - _GREY
    # Sums over whole rectangles from the upper left corner. Between two pixels they are on a line, in each direction.
    sums = np.pad(planes, ((1, 0), (1, 0), (0, 0))).cumsum(axis=0).cumsum(axis=1)
    aspect = np.array([math.log(image.width / image.height)])
    found: list[bytes | None] = []
    for inset in insets:
        shares = np.linspace(inset, 1 - inset, _GRID + 1)
        corners = _between(_between(sums, shares * image.height / step).swapaxes(0, 1), shares * image.width / step)
        cells = np.diff(np.diff(corners, axis=0), axis=1)
        cells *= (_GRID * step / (1 - 2 * inset)) ** 2 / (image.width * image.height)
        chroma = cells[:, :, 1:].reshape(_CHROMA, 2, _CHROMA, 2, 2).mean(axis=(1, 3))
        parts = [cells[:, :, 0], chroma[:, :, 0], chroma[:, :, 1], aspect]
        described = np.concatenate([part.ravel("F") for part in parts]).astype(np.float16).tobytes()
        found.append(described if cells.std(axis=(0, 1)).max() >= _UNIFORM else None)
    return found


def _between(rows: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rows at these places, which may lie between two rows."""
    below = np.minimum(at.astype(np.int64), len(rows) - 2)
    share = (at - below).reshape(-1, *(1,) * (rows.ndim - 1))
    between: NDArray[np.float64] = rows[below] * (1 - share) + rows[below + 1] * share
    return between


def coarse(vectors: list[bytes]) -> NDArray[np.float32]:
    """Return the short forms of descriptions: a row of `COARSE` numbers each.

    The squared distance of two rows is never larger than the mean squared difference of their descriptions, because
    averaging cannot increase a difference. So a search over short forms loses no match.
    """
    cells = _cells(vectors)
    luma = cells[:, :_LUMA_CELLS].reshape(-1, _GRID, _GRID)
    blue = cells[:, _LUMA_CELLS : _LUMA_CELLS + _CHROMA_CELLS].reshape(-1, _CHROMA, _CHROMA)
    red = cells[:, _LUMA_CELLS + _CHROMA_CELLS : _CELLS].reshape(-1, _CHROMA, _CHROMA)
    weight_luma, weight_chroma = math.sqrt(_LUMA_CELLS / 16 / _CELLS), math.sqrt(_CHROMA_CELLS / 16 / _CELLS)
    rows = [
        _blocks(luma).mean(axis=(2, 4)).reshape(-1, 16) * weight_luma,
        _blocks(blue).mean(axis=(2, 4)).reshape(-1, 16) * weight_chroma,
        _blocks(red).mean(axis=(2, 4)).reshape(-1, 16) * weight_chroma,
    ]
    return np.concatenate(rows, axis=1).astype(np.float32)


def most_alike(similarity: float) -> float:
    """Return the squared distance of short forms above which no two pictures reach `similarity` (0 to 100)."""
    if similarity <= 0:
        return math.inf
    return float(_WHOLE_SCALE**2 * (-math.log(similarity / 100)) ** (2 / _STEEPNESS)) + 1e-3


def similarities(vector: bytes, others: list[bytes]) -> NDArray[np.float32]:
    """Return the similarity of a picture to others, 0 to 100 each: above 95 to a copy, below 80 to another picture."""
    one, many = _cells([vector]), _cells(others)
    difference = (many - one) ** 2
    whole = np.sqrt(difference[:, :_CELLS].mean(axis=1))
    luma = _blocks(difference[:, :_LUMA_CELLS].reshape(-1, _GRID, _GRID)).mean(axis=(2, 4))
    chroma = difference[:, _LUMA_CELLS:_CELLS].reshape(-1, 2, _CHROMA, _CHROMA).sum(axis=1)
    tiles = np.sqrt((luma + _blocks(chroma).mean(axis=(2, 4))) / 3).reshape(len(others), -1).max(axis=1)
    share = _contrast(many - one) / np.maximum(_contrast(one), _contrast(many))
    aspect = np.sqrt(difference[:, _CELLS])
    exponent = np.max([whole / _WHOLE_SCALE, tiles / _TILE_SCALE, share / _SHARE_SCALE, aspect / _ASPECT_SCALE], axis=0)
    alike: NDArray[np.float32] = (100 * np.exp(-(exponent**_STEEPNESS))).astype(np.float32)
    return alike


def _cells(vectors: list[bytes]) -> NDArray[np.float32]:
    raw = np.frombuffer(b"".join(vectors), dtype=np.float16).reshape(len(vectors), _CELLS + 1)
    return raw.astype(np.float32)


def _contrast(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the contrast of luminance and chrominance within each picture; never 0."""
    luma, chroma = cells[:, :_LUMA_CELLS], cells[:, _LUMA_CELLS:_CELLS].reshape(len(cells), 2, -1)
    variance = (luma.var(axis=1) * _LUMA_CELLS + chroma.var(axis=2).sum(axis=1) * _CHROMA_CELLS) / _CELLS
    spread: NDArray[np.float32] = np.sqrt(variance) + 1e-3
    return spread


def _averages(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    step = _SAMPLES // side
    averages: NDArray[np.float32] = plane.reshape(side, step, side, step).mean(axis=(1, 3))
    return averages


def _blocks(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut square planes into 4x4 tiles. Axes 2 and 4 run inside a tile."""
    count, side, _ = planes.shape
    return planes.reshape(count, 4, side // 4, 4, side // 4)
