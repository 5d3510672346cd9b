"""The album: labelled pictures, by which a copy or a part of one is known although it has lost its metadata.

Programs strip metadata, compress anew, resize and crop before they call Rekognition. The album learns the pixels of
labelled pictures beforehand. A picture without face regions is compared with them: as a whole, and as a part of a
picture or of a face's surroundings. The place of a part is found by normalised cross-correlation (J. P. Lewis, "Fast
Normalized Cross-Correlation", 1995), first among small copies of all windows, then in larger copies of the best ones.
The description of the part that was found decides.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import functools
import io
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from seedtool.emulator import descriptor
from seedtool.emulator.objects import sidecar
from seedtool.emulator.pictures import Picture, open_picture
from seedtool.emulator.process import EmulatorError
from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.regions import Box, Region, named, turned

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Levels = NDArray[np.float32]

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_HEADER = ("file", "name", "left", "top", "width", "height")
_SEPARATORS = ",;\t"

_COPY = 95.0  # similarity of descriptions: another picture is below 80 (see `descriptor`)
_PART = 90.0  # the same for a part, whose edges are known to a fraction of a cell only
_SURROUNDINGS = 0.75  # of a face's width and height on each side: a face is cut out with less

# Pixels of the longer side: of the copies that are all compared, of those in which a place is made exact, and of the
# smallest part that is looked for in the former. Below it anything is like anything.
_SMALL, _LARGE, _LEAST = 32, 96, 12
_SHRUNK = 256  # pixels of the longer side of the copy that those of a part are made from
_CANDIDATES = 16  # windows whose larger copies are compared
_DECIDED = 3  # of these, the best are decided by their description
_VISIBLE = 0.5  # share of a face's box that a part has to show
_FIRST_STEP, _LAST_STEP = 0.016, 0.003  # of the part's side, while its place is moved to where it fits best
_TURNS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


class _Labelled(NamedTuple):
    """A picture of the album: where it is, who is in it, and what it looks like."""

    path: Path
    regions: list[Region]
    whole: bytes


class _Window(NamedTuple):
    """A part of a picture of the album that is compared: all of it, or a face with its surroundings."""

    picture: int
    box: Box
    large: NDArray[np.uint8]


class Album:
    """Labelled pictures. Safe for concurrent threads.

    Attributes:
        pictures: how many it knows.
        faces: how many faces they have.
    """

    def __init__(self) -> None:
        self._labelled: list[_Labelled] = []
        self._windows: list[_Window] = []
        self._small = _Copies([])
        self._opened = functools.lru_cache(maxsize=8)(_open)

    @property
    def pictures(self) -> int:
        """How many pictures it knows."""
        return len(self._labelled)

    @property
    def faces(self) -> int:
        """How many faces they have."""
        return sum(len(each.regions) for each in self._labelled)

    @classmethod
    def read(cls, folder: Path) -> Album:
        """Learn the labelled pictures of a folder and the folders in it.

        A picture is labelled by a row of a csv file with the columns file, name, left, top, width and height
        (fractions of the upright picture; the file is named from the csv file's folder), by its own face regions, or
        by those of a sidecar (`a.jpg.xmp` or `a.xmp`). Other pictures are passed over.

        Args:
            folder: the folder.

        Raises:
            EmulatorError: there is no such folder, or a row of a csv file is wrong.
        """
        if not folder.is_dir():
            raise EmulatorError(
                f"The folder {folder} does not exist.",
                "Name a folder of pictures: --album FOLDER, or the setting emulator_album.",
            )
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        pictures = [each for each in files if each.suffix.lower() in _SUFFIXES]
        rows: dict[Path, list[Region]] = {}
        known = {each.resolve() for each in pictures}
        for file in files:
            if file.suffix.lower() == ".csv":
                for path, regions_of_row in _rows(file, folder, known):
                    rows.setdefault(path, []).extend(regions_of_row)
        album = cls()
        small = []
        for path in pictures:
            picture = _open(path)
            if picture is None:
                sys.stderr.write(f"{path} is no picture that Rekognition takes. The album goes without it.\n")
                continue
            regions = rows.get(path.resolve(), picture.regions)
            whole = descriptor.describe(picture.image)
            if regions is None or whole is None:
                continue
            for box in (Box(0, 0, 1, 1), *(_surroundings(region.box) for region in regions)):
                large = _levels(picture.image, _LARGE, box)
                album._windows.append(_Window(len(album._labelled), box, np.rint(large).astype(np.uint8)))
                small.append(_levels(picture.image, _SMALL, box))
            album._labelled.append(_Labelled(path, regions, whole))
        album._small = _Copies(small)
        return album

    def regions(self, image: Image.Image, whole: bytes) -> list[Region] | None:
        """Return the face regions of a picture that is a copy of one of the album, or a part of one.

        Args:
            image: the upright picture, in RGB.
            whole: its description.

        Returns:
            The regions, cut off at the picture's edges; None when the album does not know the picture.
        """
        if not self._labelled:
            return None
        found = self._copy(image, whole)
        return self._part(image, whole) if found is None else found

    def _copy(self, image: Image.Image, whole: bytes) -> list[Region] | None:
        """Look for the whole picture. A program that drops the EXIF orientation leaves it lying on its side."""
        known = [each.whole for each in self._labelled]
        for orientation, turn in _TURNS.items():
            described = whole if turn is None else descriptor.describe(image.transpose(turn))
            alike = descriptor.similarities(described, known) if described else np.zeros(1)
            if alike.max() >= _COPY:
                regions = self._labelled[int(alike.argmax())].regions
                # the picture as it lies is the upright one, turned back
                back = {6: 8, 8: 6}.get(orientation, orientation)
                return [_turned(region, back) for region in regions]
        return None

    def _part(self, image: Image.Image, whole: bytes) -> list[Region] | None:
        shrunk = image.convert("L")
        shrunk.thumbnail((_SHRUNK, _SHRUNK), Image.Resampling.BOX, reducing_gap=None)
        places = sorted((self._place(shrunk, *candidate) for candidate in self._candidates(shrunk)), reverse=True)
        for _, index, box in places[:_DECIDED]:
            labelled = self._labelled[self._windows[index].picture]
            picture = self._opened(labelled.path)
            if picture is not None and (fitted := _fitted(picture.image, box, image.size, whole)) is not None:
                return [seen for region in labelled.regions if (seen := _seen(region, fitted)) is not None]
        return None

    def _candidates(self, image: Image.Image) -> list[tuple[int, int]]:
        """Return the windows in which the picture may be a part, the likeliest first, and its side in small pixels."""
        best = np.full(len(self._windows), -1.0)
        sides = np.zeros(len(self._windows), np.int64)
        for side in range(_LEAST, _SMALL + 1):
            correlation, _, _ = self._small.within(_levels(image, side))
            # A small part is like some part of any picture, so it has to be more like it.
            likelier = correlation * (1 - 1.5 / side) > best
            best[likelier] = correlation[likelier] * (1 - 1.5 / side)
            sides[likelier] = side
        return [(int(index), int(sides[index])) for index in np.argsort(-best)[:_CANDIDATES]]

    def _place(self, image: Image.Image, index: int, small: int) -> tuple[float, int, Box]:
        """Return the highest correlation within a window, the window, and where it is in the album's picture."""
        window = self._windows[index]
        copies = _Copies([window.large.astype(np.float32)])
        best = (-1.0, index, window.box)
        height, width = window.large.shape
        times = _LARGE // _SMALL
        for side in range(times * (small - 1), min(times * (small + 1), _LARGE) + 1):
            levels = _levels(image, side)
            correlation, left, top = copies.within(levels)
            if correlation[0] > best[0]:
                frame, (part_height, part_width) = window.box, levels.shape
                box = Box(
                    frame.left + frame.width * int(left[0]) / width,
                    frame.top + frame.height * int(top[0]) / height,
                    frame.width * part_width / width,
                    frame.height * part_height / height,
                )
                best = (float(correlation[0]), index, box)
        return best


class _Copies:
    """Small copies of windows, in which parts are looked for all at once.

    Args:
        levels: the luminance of each, at most as many pixels a side as the largest has.
    """

    def __init__(self, levels: Sequence[Levels]) -> None:
        self._side = max((max(each.shape) for each in levels), default=1)
        padded = np.zeros((len(levels), self._side, self._side), np.float32)
        for copy, each in zip(padded, levels, strict=True):
            copy[: each.shape[0], : each.shape[1]] = each - 128
        self._shapes = np.array([each.shape for each in levels], dtype=np.int64).reshape(-1, 2)
        self._spectrum = np.fft.rfft2(padded)
        exact = padded.astype(np.float64)
        self._sums = _integral(exact)
        self._squares = _integral(exact**2)

    def within(self, part: Levels) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Look for a part in each copy.

        Args:
            part: its luminance.

        Returns:
            For each copy the highest correlation (-1 to 1; -1 where the part does not fit in), and the column and the
            row at which it is.
        """
        height, width = part.shape
        if height > self._side or width > self._side:
            nowhere = np.zeros(len(self._shapes), np.int64)
            return np.full(len(self._shapes), -1.0), nowhere, nowhere
        centred = part - part.mean()
        padded = np.zeros((self._side, self._side), np.float32)
        padded[:height, :width] = centred
        rows, columns = self._side - height + 1, self._side - width + 1
        products = np.fft.irfft2(self._spectrum * np.conj(np.fft.rfft2(padded)), s=padded.shape)[:, :rows, :columns]
        total, squares = _sums(self._sums, height, width), _sums(self._squares, height, width)
        variance = np.maximum(squares - total**2 / (width * height), 1e-3)
        correlation = products / (np.sqrt((centred**2).sum()) + 1e-6) / np.sqrt(variance)
        outside_rows = np.arange(rows)[None, :, None] > self._shapes[:, 0, None, None] - height
        outside_columns = np.arange(columns)[None, None, :] > self._shapes[:, 1, None, None] - width
        correlation[outside_rows | outside_columns] = -1
        flat = correlation.reshape(len(correlation), -1)
        at = flat.argmax(axis=1)
        return flat[np.arange(len(flat)), at], at % columns, at // columns


def _integral(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all that is above and left of each corner of the pixels."""
    sums = np.zeros((len(levels), levels.shape[1] + 1, levels.shape[2] + 1))
    sums[:, 1:, 1:] = levels.cumsum(axis=1).cumsum(axis=2)
    return sums


def _sums(integral: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the sum of each rectangle of this size."""
    sums: NDArray[np.float64] = (
        integral[:, height:, width:]
        - integral[:, :-height, width:]
        - integral[:, height:, :-width]
        + integral[:, :-height, :-width]
    )
    return sums


def _levels(image: Image.Image, side: int, box: Box | None = None) -> Levels:
    """Return the luminance of a part of a picture, its longer side shrunk to so many pixels."""
    frame = box or Box(0, 0, 1, 1)
    left, top = frame.left * image.width, frame.top * image.height
    width, height = frame.width * image.width, frame.height * image.height
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    edges = (left, top, min(left + width, image.width), min(top + height, image.height))
    return np.asarray(image.resize(size, Image.Resampling.BOX, box=edges).convert("L"), dtype=np.float32)


def _fitted(image: Image.Image, box: Box, size: tuple[int, int], whole: bytes) -> Box | None:
    """Move a part's place to where it fits best.

    Args:
        image: the picture of the album.
        box: the place of the part in it, to a pixel or so.
        size: width and height of the part in pixels.
        whole: the part's description.

    Returns:
        The place; None when nothing there is like the part.
    """

    def alike(place: Box) -> float:
        levels = 128, max(1, round(128 * size[1] / size[0]))
        edges = (
            max(0.0, place.left * image.width),
            max(0.0, place.top * image.height),
            min(1.0, place.left + place.width) * image.width,
            min(1.0, place.top + place.height) * image.height,
        )
        described = descriptor.describe(image.resize(levels, Image.Resampling.BOX, box=edges))
        return float(descriptor.similarities(whole, [described])[0]) if described else 0.0

    best, step = alike(box), _FIRST_STEP
    while step > _LAST_STEP and best < _COPY:
        moved = False
        for right, down, larger in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
            place = Box(
                box.left + (right - larger / 2) * step * box.width,
                box.top + (down - larger / 2) * step * box.height,
                box.width * (1 + larger * step),
                box.height * (1 + larger * step),
            )
            similarity = alike(place)
            if similarity > best:
                best, box, moved = similarity, place, True
        if not moved:
            step /= 2
    return box if best >= _PART else None


def _turned(region: Region, orientation: int) -> Region:
    box = region.box
    place = turned(box.left, box.top, box.left + box.width, box.top + box.height, orientation)
    return region if place is None else dataclasses.replace(region, box=place)


def _seen(region: Region, part: Box) -> Region | None:
    """Return a region of a picture as it is in a part of it; None when the part does not show enough of it."""
    box = region.box
    left, top = (box.left - part.left) / part.width, (box.top - part.top) / part.height
    width, height = box.width / part.width, box.height / part.height
    right, bottom = min(1.0, left + width), min(1.0, top + height)
    cut = Box(max(0.0, left), max(0.0, top), right - max(0.0, left), bottom - max(0.0, top))
    if cut.width <= 0 or cut.height <= 0 or cut.width * cut.height < _VISIBLE * width * height:
        return None
    return dataclasses.replace(region, box=cut)


def _surroundings(box: Box) -> Box:
    left, top = max(0.0, box.left - _SURROUNDINGS * box.width), max(0.0, box.top - _SURROUNDINGS * box.height)
    right = min(1.0, box.left + (1 + _SURROUNDINGS) * box.width)
    bottom = min(1.0, box.top + (1 + _SURROUNDINGS) * box.height)
    return Box(left, top, right - left, bottom - top)


def _open(path: Path) -> Picture | None:
    try:
        return open_picture(path.read_bytes(), sidecar(path))
    except (OSError, ServiceError):
        return None


def _rows(file: Path, folder: Path, pictures: Container[Path]) -> Iterator[tuple[Path, list[Region]]]:
    """Read a csv file: the picture and the regions of each row.

    A csv file with another first column is not for the album.

    Args:
        file: in UTF-8, or UTF-16 with a byte order mark; between values are commas, semicolons or tabs.
        folder: the album's folder.
        pictures: those of the album.
    """
    first, text = _text(file)
    separator = max(_SEPARATORS, key=first.count)
    header = [cell.strip(' "').lower() for cell in first.split(separator)]
    if header[0] != _HEADER[0]:
        return
    example = f"An album's first line is {','.join(_HEADER)}."
    if text is None:
        raise EmulatorError(f"{file}: its text is not in UTF-8.", "Save it as CSV in UTF-8.")
    for name in _HEADER:
        if header.count(name) != 1:
            raise EmulatorError(
                f"{file}: the column {name} is {'there twice' if name in header else 'missing'}.", example
            )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        next(reader)
        for row in reader:
            if any(cell.strip() for cell in row):
                values = dict(zip(header, (cell.strip() for cell in row), strict=False))
                place = f"{file}, line {reader.line_num}"
                if separator != ",":  # where a comma stands before decimals, spreadsheets put semicolons between values
                    values |= {name: values.get(name, "").replace(",", ".") for name in _HEADER[2:]}
                yield _picture(file, values["file"], place, folder, pictures), list(_row(values, place))
    except (csv.Error, ValueError, OSError) as error:  # of a NUL in a name, or one of more bytes than the system allows
        raise EmulatorError(f"{file}, line {reader.line_num}: it cannot be read: {error}.", example) from error


def _picture(file: Path, name: str, place: str, folder: Path, pictures: Container[Path]) -> Path:
    path = (file.parent / name).resolve()
    if not path.is_file():
        raise EmulatorError(
            f"{place}: there is no picture {name or 'named'}.",
            f"Name it as it is found from {file.parent}, or delete the line.",
        )
    if path not in pictures:
        raise EmulatorError(
            f"{place}: {name} is no JPEG or PNG file in {folder}.",
            "Move the picture there, name a folder that has both, or delete the line.",
        )
    return path


def _text(file: Path) -> tuple[str, str | None]:
    """Return a text's first line and all of it; None for the latter when it is in no Unicode."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise EmulatorError(
            f"{file} cannot be read: {error.strerror}.", "Let the stand-in read it, or move it out of the album."
        ) from error
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return next(iter(raw.decode("latin-1").splitlines()), ""), None
    return next(iter(text.splitlines()), ""), text


def _row(values: dict[str, str], place: str) -> Iterator[Region]:
    """Read a row; one without numbers says that nobody is in the picture."""
    numbers = [values.get(name, "") for name in _HEADER[2:]]
    if not any(numbers) and not values.get("name"):
        return
    try:
        left, top, width, height = (float(number) for number in numbers)
    except ValueError:
        left = top = width = height = -1.0
    if not (0 <= left < 1 and 0 <= top < 1 and 0 < width <= 1 - left + 1e-6 and 0 < height <= 1 - top + 1e-6):
        raise EmulatorError(
            f"{place}: {', '.join(numbers)} is no box in the picture.",
            "Write left, top, width and height as fractions of the upright picture, such as 0.4,0.1,0.2,0.3.",
        )
    yield Region(Box(left, top, width, height), *named(values.get("name") or None))
