"""What a picture looks like, in a few hundred numbers, and how alike two such descriptions are.

The picture is squeezed into a grid of 16x16 luminance cells and 8x8 cells of each chrominance, averages of what
is there. Encoding and resizing hardly move averages; another picture does. Portraits drawn to one layout
differ in a few patches only (hair, skin, shirt), so the worst of sixteen tiles counts beside the whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GRID = 16  # luminance cells a side
_CHROMA = 8  # chrominance cells a side
_SAMPLES = 64  # pixels a side that cells are averaged from
_LUMA_CELLS, _CHROMA_CELLS = _GRID * _GRID, _CHROMA * _CHROMA
_CELLS = _LUMA_CELLS + 2 * _CHROMA_CELLS
VECTOR_BYTES = 2 * (_CELLS + 1)  # the cells and the picture's proportions, as 16-bit floats
COARSE = 48  # numbers of the coarse form: 4x4 averages of each of the three planes

# A picture whose levels (0 to 255) spread less than this everywhere shows nothing.
_UNIFORM = 1.5
# Distances (root mean square of level differences) at which the similarity is 1/e of 100; how steeply it falls.
# Measured on the portraits of seeds/photos: copies down to JPEG quality 10, 80 pixels or 32 colours keep whole
# distances below 5.4 and tile distances below 10.3; two portraits have at least 25 and 30. Similarity 95 is at 5.8
# and 12.2, 80 at 9.5 and 20.
_WHOLE_SCALE, _TILE_SCALE, _STEEPNESS = 15.6, 33.0, 3.0
# The same for the difference's contrast as a share of the pictures' own, which tells apart pictures that are almost
# grey; and for the logarithm of the proportions.
_SHARE_SCALE, _ASPECT_SCALE = 0.85, 0.15
_GREY = 128.0  # levels are kept as differences from it, where 16-bit floats are finest


def describe(image: Image.Image) -> bytes | None:
    """Describe an RGB picture.

    Args:
        image: at least a few pixels a side; anything larger is averaged down.

    Returns:
        `VECTOR_BYTES` bytes, or None when the picture is uniform and shows no face.
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


def coarse(vectors: list[bytes]) -> NDArray[np.float32]:
    """Descriptions in short: rows of `COARSE` numbers.

    The squared distance of two rows never exceeds the mean squared difference of their descriptions, because
    averaging cannot increase a difference; so a search over the rows loses no match.
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
    """The squared distance of coarse rows above which no two pictures reach `similarity` (0 to 100)."""
    if similarity <= 0:
        return math.inf
    return float(_WHOLE_SCALE**2 * (-math.log(similarity / 100)) ** (2 / _STEEPNESS)) + 1e-3


def similarities(vector: bytes, others: list[bytes]) -> NDArray[np.float32]:
    """How alike a picture is to others: 0 to 100 each, above 95 for a copy, below 80 for another picture."""
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
    """How far luminance and chrominance spread within each picture; never 0."""
    luma, chroma = cells[:, :_LUMA_CELLS], cells[:, _LUMA_CELLS:_CELLS].reshape(len(cells), 2, -1)
    variance = (luma.var(axis=1) * _LUMA_CELLS + chroma.var(axis=2).sum(axis=1) * _CHROMA_CELLS) / _CELLS
    spread: NDArray[np.float32] = np.sqrt(variance) + 1e-3
    return spread


def _averages(plane: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    step = _SAMPLES // side
    averages: NDArray[np.float32] = plane.reshape(side, step, side, step).mean(axis=(1, 3))
    return averages


def _blocks(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square planes cut into 4x4 tiles: axes 2 and 4 run inside a tile."""
    count, side, _ = planes.shape
    return planes.reshape(count, 4, side // 4, 4, side // 4)
