"""The album beside four encoders: do copies and parts of labelled pictures get their names back, and do cut faces?

The numbers are counts of faces. Copies: each picture at whole, half and quarter size and each quality. Parts: each
picture without a tenth of it on the left, right, top, bottom or all sides, at sizes and qualities in turn. Cut faces:
each at its BoundingBox and with margins, at qualities in turn, sent to SearchFacesByImage with the album and without.
A part takes a tenth of a second, so the encoders share the files: each makes every fourth, in another order of sizes
and qualities. With ALBUM_EVERY=1 each makes all.
A name is right if its box covers at least half of what it and the right box cover together; any other name is wrong.
Pictures below Rekognition's 80 pixels a side, and faces below ten pixels, do not count.

OpenCV is taken from the interpreter that OPENCV_PYTHON names (this one otherwise), and sharp and @napi-rs/canvas from
where node finds them (NODE_PATH=.../node_modules). An encoder that is missing is named and left out.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain, cycle, product, repeat
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from seedtool.emulator import process
from seedtool.emulator.album import Album
from seedtool.emulator.faces import find
from seedtool.emulator.regions import Box

PHOTOS = Path(__file__).resolve().parents[1] / "seeds" / "photos"
QUALITIES = (60, 75, 85, 95)
SCALES = (1.0, 0.5, 0.25)
# left, top, width and height, in fractions of the picture
PARTS = ((0.1, 0, 0.9, 1), (0, 0, 0.9, 1), (0, 0.1, 1, 0.9), (0, 0, 1, 0.9), (0.1, 0.1, 0.8, 0.8))
MARGINS = (0.0, 0.1, 0.3)
LEAST_SIDE, LEAST_FACE = 80, 10  # pixels
RIGHT = 0.5  # of the two boxes' union
EVERY = int(os.environ.get("ALBUM_EVERY", "4"))
MISSED = 0.01  # share of the faces that may stay without a name

# Each reads a list of jobs from standard input: [source, [left, top, width, height], [width, height], quality, target].
# Each makes pictures smaller as it does unless it is told otherwise.
PILLOW = """
import json, sys
from PIL import Image
for source, (left, top, width, height), size, quality, target in json.load(sys.stdin):
    image = Image.open(source).crop((left, top, left + width, top + height))
    (image.resize(size) if image.size != tuple(size) else image).save(target, "JPEG", quality=quality)
"""
OPENCV = """
import json, sys
import cv2
for source, (left, top, width, height), size, quality, target in json.load(sys.stdin):
    image = cv2.imread(source)[top:top + height, left:left + width]
    image = cv2.resize(image, tuple(size)) if [width, height] != size else image
    cv2.imwrite(target, image, [cv2.IMWRITE_JPEG_QUALITY, quality])
"""
SHARP = """
const sharp = require("sharp");
const jobs = JSON.parse(require("fs").readFileSync(0));
(async () => {
  for (const [source, [left, top, width, height], [w, h], quality, target] of jobs) {
    const part = sharp(source).extract({ left, top, width, height });
    await (w === width && h === height ? part : part.resize(w, h, { fit: "fill" })).jpeg({ quality }).toFile(target);
  }
})();
"""
CANVAS = """
const { createCanvas, loadImage } = require("@napi-rs/canvas");
const fs = require("fs");
(async () => {
  for (const [source, [left, top, width, height], [w, h], quality, target] of JSON.parse(fs.readFileSync(0))) {
    const canvas = createCanvas(w, h);
    canvas.getContext("2d").drawImage(await loadImage(source), left, top, width, height, 0, 0, w, h);
    fs.writeFileSync(target, canvas.toBuffer("image/jpeg", quality));
  }
})();
"""

Row = tuple[str, str, float, float, float]
Count = dict[str, int]
#: name → a program that reads jobs
Encoders = dict[str, list[str]]


class Labelled(NamedTuple):
    """A picture: its file, a copy of its upright pixels without metadata, its size, and who is where."""

    path: Path
    source: Path
    size: tuple[int, int]
    people: list[tuple[str, Box]]


class Copy(NamedTuple):
    """A file to make: of which picture, which part in pixels, what size, and how it is compressed."""

    picture: Labelled
    part: tuple[int, int, int, int]
    size: tuple[int, int]
    quality: int

    def visible(self) -> Iterator[tuple[str, Box, bool]]:
        """Yield the people whom the file shows, their boxes in it, and whether they have to be named."""
        left, top, width, height = self.part
        for name, box in self.picture.people:
            x, y = (box.left * self.picture.size[0] - left) / width, (box.top * self.picture.size[1] - top) / height
            right, bottom = x + box.width * self.picture.size[0] / width, y + box.height * self.picture.size[1] / height
            inside = min(x, y) > -1e-3 and max(right, bottom) < 1 + 1e-3
            x, y, right, bottom = max(x, 0), max(y, 0), min(right, 1), min(bottom, 1)
            if right > x and bottom > y:
                large = min((right - x) * self.size[0], (bottom - y) * self.size[1]) >= LEAST_FACE
                yield name, Box(x, y, right - x, bottom - y), inside and large


def rows(environ: Mapping[str, str], folder: Path) -> Iterator[Row]:
    """Yield what was measured: what, its rival, the bar, and both, a thousandth for each face.

    Args:
        environ: names the encoders; see above.
        folder: a temporary folder.
    """
    pictures = list(labelled(folder))
    encoders = available(environ)
    album = Album.read(PHOTOS)
    wrong, named = 0, 0
    for turn, (name, program) in enumerate(encoders.items()):
        for what, copies in (("copies", whole(pictures, turn)), ("parts", parts(pictures, turn))):
            count = told(album, program, copies, folder)
            wrong, named = wrong + count["wrong"], named + count["all"]
            yield _missed(f"faces without their names, {what} by {name}", count)
    yield "faces with wrong names", f"none of {named:,}", 0.0, wrong / 1000, 1 / 1000
    for known in (True, False):
        yield from searched(encoders, pictures, folder, known=known)


def _missed(what: str, count: Count) -> Row:
    return what, f"1 % of {count['all']:,}", 1.0, count["missed"] / 1000, count["all"] * MISSED / 1000


def available(environ: Mapping[str, str]) -> Encoders:
    """Return the encoders that are here. The others are named on standard error."""
    python = environ.get("OPENCV_PYTHON", sys.executable)
    every = {
        "Pillow": [sys.executable, "-c", PILLOW],
        "OpenCV": [python, "-c", OPENCV],
        "sharp": ["node", "-e", SHARP],
        "canvas": ["node", "-e", CANVAS],
    }
    found = {}
    for name, program in every.items():
        here = shutil.which(program[0]) is not None
        if here and subprocess.run(program, input="[]", text=True, capture_output=True, check=False).returncode == 0:
            found[name] = program
        else:
            print(f"{name} is missing. Its rows are left out.", file=sys.stderr)
    return found


def labelled(folder: Path) -> Iterator[Labelled]:
    """Yield the pictures that have named faces."""
    for number, path in enumerate(sorted(PHOTOS.rglob("*.jpg"))):
        people = [(face.name, face.box) for face in find(path.read_bytes()) if face.name is not None]
        if people:
            source = folder / f"{number}.png"
            with Image.open(path) as image:
                image.convert("RGB").save(source, compress_level=1)
                yield Labelled(path, source, image.size, people)


def whole(pictures: list[Labelled], turn: int) -> Iterator[Copy]:
    """Yield an encoder's share of the pictures at each size and quality."""
    for number, (picture, scale, quality) in enumerate(product(pictures, SCALES, QUALITIES)):
        # 12 copies a picture: without the second term an encoder would always make the same quality
        if (number + number // len(QUALITIES) - turn) % EVERY == 0:
            yield from _copy(picture, (0, 0, *picture.size), scale, quality)


def parts(pictures: list[Labelled], turn: int) -> Iterator[Copy]:
    """Yield an encoder's share of the pictures' parts, at sizes and qualities in turn."""
    every = list(product(pictures, PARTS))
    for number, (picture, part) in enumerate(every[turn % EVERY :: EVERY]):
        left, top, width, height = (round(share * side) for share, side in zip(part, picture.size * 2, strict=True))
        scale = SCALES[number % len(SCALES)] if min(picture.size) >= 4 * LEAST_SIDE else 1.0
        yield from _copy(picture, (left, top, width, height), scale, QUALITIES[number % len(QUALITIES)])


def _copy(picture: Labelled, part: tuple[int, int, int, int], scale: float, quality: int) -> Iterator[Copy]:
    size = round(part[2] * scale), round(part[3] * scale)
    if min(size) >= LEAST_SIDE:
        yield Copy(picture, part, size, quality)


def encoded(program: list[str], copies: list[Copy], folder: Path) -> Iterator[tuple[Copy, bytes]]:
    """Yield files and their bytes, made by an encoder."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        targets = [Path(place) / f"{number}.jpg" for number in range(len(copies))]
        jobs = [
            (str(copy.picture.source), copy.part, copy.size, copy.quality, str(target))
            for copy, target in zip(copies, targets, strict=True)
        ]
        subprocess.run(program, input=json.dumps(jobs), text=True, check=True)
        for copy, target in zip(copies, targets, strict=True):
            yield copy, target.read_bytes()


def told(album: Album, program: list[str], copies: Iterator[Copy], folder: Path) -> Count:
    """Count the faces that copies show, those that stay without their names, and wrong names."""
    count = {"all": 0, "missed": 0, "wrong": 0}
    for copy, content in encoded(program, list(copies), folder):
        found = [(face.name, face.box) for face in find(content, album) if face.name is not None]
        visible = list(copy.visible())
        wrong = [each for each in found if not any(_same(each, (name, box)) for name, box, _ in visible)]
        missed = [name for name, box, asked in visible if asked and not any(_same(each, (name, box)) for each in found)]
        count["all"] += sum(asked for _, _, asked in visible)
        count["missed"] += len(missed)
        count["wrong"] += len(wrong)
        _tell(copy, missed, [name for name, _ in wrong])
    return count


def _tell(copy: Copy, missed: list[str], wrong: list[str]) -> None:
    if os.environ.get("ALBUM_TELL") and (missed or wrong):
        print(f"{copy.picture.path.relative_to(PHOTOS)} {copy[1:]}: missed {missed}, wrong {wrong}", file=sys.stderr)


def _same(one: tuple[str, Box], other: tuple[str, Box]) -> bool:
    (name, a), (other_name, b) = one, other
    across = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    down = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    common = max(0.0, across) * max(0.0, down)
    return name == other_name and common >= RIGHT * (a.width * a.height + b.width * b.height - common)


def searched(encoders: Encoders, pictures: list[Labelled], folder: Path, *, known: bool) -> Iterator[Row]:
    """Yield how many cut faces SearchFacesByImage does not find, and how many it takes for somebody else."""
    state = folder / f"state-{known}"
    address = process.ensure(state, album=PHOTOS if known else None)
    try:
        client = _client(address)
        people = indexed(client, pictures)
        wrong, asked = 0, 0
        for margin in MARGINS:
            count = {"all": 0, "missed": 0, "wrong": 0}
            for turn, program in enumerate(encoders.values()):
                cut = list(faces(pictures, margin))[turn % EVERY :: EVERY]
                for key, value in answered(client, people, program, cut, folder).items():
                    count[key] += value
            wrong, asked = wrong + count["wrong"], asked + count["all"]
            how = f"with {margin * 100:.0f} % around" if margin else "exactly"
            yield _missed(f"faces cut {how} and not found, {'with' if known else 'without'} the album", count)
        where = "with the album" if known else "without it"
        yield f"cut faces taken for somebody else, {where}", f"none of {asked:,}", 0.0, wrong / 1000, 1 / 1000
    finally:
        process.stop(state)


def _client(address: str) -> Any:
    import boto3

    return boto3.client(
        "rekognition",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="benchmark",
        aws_secret_access_key="benchmark",
    )


def indexed(client: Any, pictures: list[Labelled]) -> dict[str, str]:
    """Index the pictures as they are. Returns who each FaceId is."""
    client.create_collection(CollectionId="album")
    people = {}
    for picture in pictures:
        answer = client.index_faces(CollectionId="album", Image={"Bytes": picture.path.read_bytes()})
        for record in answer["FaceRecords"]:
            edges = {side.lower(): value for side, value in record["Face"]["BoundingBox"].items()}
            for name, box in picture.people:
                if _same((name, box), (name, Box(**edges))):
                    people[record["Face"]["FaceId"]] = name
    return people


def faces(pictures: list[Labelled], margin: float) -> Iterator[Copy]:
    """Yield each face, cut out with so much of its width and height on each side, as far as the picture goes."""
    qualities = chain.from_iterable(repeat(quality, EVERY) for quality in cycle(QUALITIES))
    for picture in pictures:
        for name, box in picture.people:
            width, height = picture.size
            left, top = max(0, box.left - margin * box.width), max(0, box.top - margin * box.height)
            right = min(1, box.left + (1 + margin) * box.width)
            bottom = min(1, box.top + (1 + margin) * box.height)
            edges = int(left * width), int(top * height), int(right * width), int(bottom * height)
            part = edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]
            if min(part[2:]) >= LEAST_SIDE:
                yield Copy(picture._replace(people=[(name, box)]), part, part[2:], next(qualities))


def answered(client: Any, people: dict[str, str], program: list[str], cut: list[Copy], folder: Path) -> Count:
    """Count the faces that are searched, those whose person is not found, and those for whom others are found."""
    count = {"all": 0, "missed": 0, "wrong": 0}
    for copy, content in encoded(program, cut, folder):
        matches = client.search_faces_by_image(CollectionId="album", Image={"Bytes": content})["FaceMatches"]
        found = {people.get(match["Face"]["FaceId"], "nobody") for match in matches}
        ((name, _),) = copy.picture.people
        count["all"] += 1
        count["missed"] += name not in found
        count["wrong"] += bool(found - {name})
        _tell(copy, [] if name in found else [name], sorted(found - {name}))
    return count
