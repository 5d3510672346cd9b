"""Draw the photos of the school and of the photo library into ``seeds/photos/``, or into another folder.

Run it as ``python seeds/draw_photos.py [FOLDER]``. It needs Pillow. Students' looks are in ``looks.yaml``, class photos
in ``scenes.yaml``, names in ``local/students.csv``, the library in ``albums.yaml``. Nothing is random: the same Pillow
draws the same files.

``drawn.txt`` beside the photos holds a digest of each picture and of what it was drawn from. So a test sees in no time
that one of them was changed alone.
"""

import csv
import hashlib
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from drawing import backdrops
from drawing.album import draw_photo, load_library, owner
from drawing.figure import Look, Pose, draw_figure
from drawing.pen import Pen, colour
from drawing.regions import Region, packet
from drawing.scene import draw_scene
from PIL import Image

HERE = Path(__file__).parent
SIZE = (216, 270)
FINER = 4  # portraits are drawn this many times larger and then scaled down, which makes their edges smooth
UNIT = 56  # pixels from the middle of a face to its chin
COPIED = "student-005"  # this student's first photo has an unlabelled copy
UNLABELLED_SIZE = (180, 225)


def draw_photos(folder: Path) -> None:
    """Draw every picture of the seeds.

    Args:
        folder: Where the pictures are written. Files of the same names are replaced.
    """
    looks, scenes, names = load_looks(), _yaml("scenes.yaml"), load_names()
    for number, student_id in enumerate(names):
        for photo, pose in enumerate(looks[student_id].photos, 1):
            image, box = portrait(looks[student_id], pose)
            # Every fifth student has the other spelling, so that programs meet both.
            xmp = packet([Region(names[student_id], box)], image.size, attributes=number % 5 != 4)
            _save(image, folder / "students" / student_id / f"photo-{photo}.jpg", 60, xmp)
    for number, (name, scene) in enumerate(scenes.items()):
        image, regions = draw_scene(scene, looks, names)
        _save(image, folder / "classes" / f"{name}.jpg", 58, packet(regions, image.size, attributes=number != 2))
    draw_library(folder / "library")
    _draw_unlabelled(folder / "unlabelled", looks[COPIED])


def digests(photos: Path) -> str:
    """Write down what was drawn, and from what.

    Args:
        photos: The folder of the pictures.

    Returns:
        A line for each file: its SHA-256, and its name below ``seeds/`` or, for a picture, below ``photos``.
    """
    sources = [HERE / "local" / "students.csv", HERE / "draw_photos.py", *(HERE / "drawing").glob("*.py")]
    sources += [HERE / name for name in ("looks.yaml", "scenes.yaml", "albums.yaml")]
    files = {path.relative_to(HERE): path for path in sources}
    files |= {path.relative_to(photos): path for path in photos.rglob("*.jpg")}
    return "".join(f"{hashlib.sha256(files[name].read_bytes()).hexdigest()} {name}\n" for name in sorted(files))


def draw_library(folder: Path) -> None:
    """Draw the photos of the library, in one folder for each user."""
    library = load_library()
    for album in library.albums:
        for number, photo in enumerate(album["photos"]):
            if "place" in photo:
                image, regions = draw_photo(photo, library.people, number)
                _save(image, folder / owner(album) / photo["file"], 55, packet(regions, image.size, attributes=True))


def portrait(look: Look, pose: Pose) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Draw one portrait.

    Args:
        look: The person.
        pose: The person's clothes, expression and backdrop.

    Returns:
        The picture, and the left, top, right and bottom of its face in pixels.
    """
    image = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER))
    kind, first, second = pose.backdrop.split()
    backdrops.paint(image, kind, colour(first), colour(second))
    middle = (SIZE[0] / 2 + pose.shift, 128 - pose.lift)
    pen = Pen(image, (middle[0] * FINER, middle[1] * FINER), UNIT * pose.zoom * FINER)
    left, top, right, bottom = (edge / FINER for edge in draw_figure(pen, look, pose))
    return image.resize(SIZE, Image.Resampling.LANCZOS), (left, top, right, bottom)


def load_looks() -> dict[str, Look]:
    """Read ``looks.yaml``: the look of each student by id."""
    return {key: Look.read(entry) for key, entry in _yaml("looks.yaml").items()}


def load_names() -> dict[str, str]:
    """Read the students' full names by id, as a photo manager writes them."""
    with (HERE / "local" / "students.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["id"]: " ".join(filter(None, (row[part] for part in ("first_name", "last_name", "second_last_name"))))
            for row in csv.DictReader(file)
        }


def _draw_unlabelled(folder: Path, look: Look) -> None:
    """Draw the pictures without metadata: a smaller copy of a portrait, and a picture without a face."""
    image, _ = portrait(look, look.photos[0])
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=80)
    again = Image.open(encoded).resize(UNLABELLED_SIZE, Image.Resampling.BICUBIC)
    _save(again, folder / f"{COPIED}-copy.jpg", 68)
    _save(Image.new("RGB", SIZE, (98, 146, 190)), folder / "no-face.jpg", 80)


def _save(image: Image.Image, path: Path, quality: int, xmp: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "JPEG", quality=quality, optimize=True, progressive=True, xmp=xmp)


def _yaml(name: str) -> dict[str, Any]:
    with (HERE / name).open(encoding="utf-8") as file:
        entries: dict[str, Any] = yaml.safe_load(file)
    return entries


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "photos"
    draw_photos(target)
    (target / "drawn.txt").write_text(digests(target), encoding="utf-8")
