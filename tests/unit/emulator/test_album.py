"""The album: copies and parts of labelled pictures regain their names, and nobody gets a wrong one."""

import io
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image

from seedtool.emulator.album import Album
from seedtool.emulator.descriptor import similarities
from seedtool.emulator.faces import CROP, find
from seedtool.emulator.pictures import open_picture
from seedtool.emulator.process import EmulatorError

PHOTOS = Path(__file__).resolve().parents[3] / "seeds" / "photos"
PORTRAIT = PHOTOS / "students" / "student-001" / "photo-1.jpg"
OTHER = PHOTOS / "unlabelled" / "student-005-copy.jpg"
GROUP = PHOTOS / "library" / "elena" / "2025-cumple-max.jpg"


@pytest.fixture(scope="module")
def album():
    return Album.read(PHOTOS)


def upright(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, **({"format": "JPEG", "quality": 75} | options))
    return out.getvalue()


def labels(content, album):
    return {face.name for face in find(content, album)}


def expected(path):
    return {face.name for face in find(path.read_bytes())}


def cut(image, box, margin):
    """Cut a face out with so much of its width and height on each side, as far as the picture goes."""
    left, right = box.left - margin * box.width, box.left + (1 + margin) * box.width
    top, bottom = box.top - margin * box.height, box.top + (1 + margin) * box.height
    edges = (max(0, left) * image.width, max(0, top) * image.height, min(1, right) * image.width)
    return image.crop(tuple(int(edge) for edge in (*edges, min(1, bottom) * image.height)))


ENCODERS = [
    {"quality": 60},
    {"quality": 95, "subsampling": 0},
    {"quality": 80, "progressive": True, "optimize": True},
    {"format": "PNG"},
]


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_copies_without_metadata_regain_their_names(album, scale):
    random_encoder = random.Random(scale)  # noqa: S311 - a choice of encoders
    wrong, missing, total = [], [], 0
    for path in sorted(PHOTOS.rglob("*.jpg"))[::2]:
        regions = open_picture(path.read_bytes()).regions
        image = upright(path)
        small = image.resize((round(image.width * scale), round(image.height * scale)))
        if not regions or min(small.size) < 80:
            continue
        found = labels(saved(small, **random_encoder.choice(ENCODERS)), album)
        wanted = {region.name for region in regions if region.box.width * small.width >= 12}
        total += len(wanted)
        wrong += found - {region.name for region in regions}
        missing += wanted - found
    assert wrong == []
    assert total > 30
    assert len(missing) <= max(1, 0.01 * total), missing


def test_parts_regain_the_names_of_the_faces_that_they_show(album):
    places = random.Random(7)  # noqa: S311 - places of crops
    total, missing = 0, []
    for path in sorted(PHOTOS.rglob("*.jpg"))[::9]:
        regions = open_picture(path.read_bytes()).regions
        if not regions:
            continue
        image = upright(path)
        left, top = (places.uniform(0, 0.1 * side) for side in image.size)
        part = image.crop((round(left), round(top), round(left + 0.9 * image.width), round(top + 0.9 * image.height)))
        found = labels(saved(part), album)
        inside = {
            region.name
            for region in regions
            if region.box.left * image.width >= left
            and region.box.top * image.height >= top
            and (region.box.left + region.box.width) * image.width <= left + part.width
            and (region.box.top + region.box.height) * image.height <= top + part.height
            and region.box.width * image.width >= 12
        }
        assert found <= {region.name for region in regions}
        total += len(inside)
        missing += inside - found
    assert total >= 10
    assert len(missing) <= max(1, 0.01 * total), missing


@pytest.mark.parametrize("margin", [0, 0.1, 0.3, 0.43])
def test_a_face_that_was_cut_out_regains_its_name(album, margin):
    image = upright(GROUP)
    for region in open_picture(GROUP.read_bytes()).regions[::2]:
        face = cut(image, region.box, margin)
        if min(face.size) >= 80:
            assert region.name in labels(saved(face), album)


@pytest.mark.parametrize("margin", [0.1, 0.3])
def test_a_face_that_was_cut_out_is_like_the_indexed_one_without_an_album(margin):
    for number in ("003", "013", "029", "030"):
        path = PHOTOS / "students" / f"student-{number}" / "photo-1.jpg"
        (indexed,) = find(path.read_bytes())
        (searched,) = find(saved(cut(upright(path), indexed.box, margin)), cut_out=True)
        (face,) = (vector for kind, vector in indexed.descriptions if kind == CROP)
        assert searched.name is None
        assert similarities(face, [vector for _, vector in searched.cuts]).max() >= 80


def test_a_picture_on_its_side_regains_its_names(album):
    """A program that drops the EXIF orientation leaves the pixels as they were stored."""
    for turn in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270):
        turned = upright(GROUP).transpose(turn)
        found = find(saved(turned), album)
        assert {face.name for face in found} == expected(GROUP)
    boxes = {face.name: face.box for face in found}  # of ROTATE_270: what was on the left is on top
    there = {face.name: face.box for face in find(GROUP.read_bytes())}
    assert all(abs(boxes[name].top - there[name].left) < 0.01 for name in there)


def test_other_pictures_get_no_name(album):
    noise = Image.effect_noise((300, 200), 60).convert("RGB")
    gradient = Image.linear_gradient("L").resize((300, 240)).convert("RGB")
    for image in (noise, gradient):
        assert labels(saved(image), album) == {None}


def test_another_childs_portrait_gets_no_name(tmp_path):
    """The portraits are drawn to one layout: the album knows the first, and the second is searched."""
    shutil.copy(PORTRAIT, tmp_path / "a.jpg")
    album = Album.read(tmp_path)
    assert (album.pictures, album.faces) == (1, 1)
    for other in ("student-002", "student-003", "student-004"):
        assert labels(saved(upright(PHOTOS / "students" / other / "photo-1.jpg")), album) == {None}


def test_a_sidecar_and_a_csv_file_label_a_picture(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "plain.jpg").write_bytes(saved(upright(PORTRAIT)))
    with Image.open(PORTRAIT) as labelled:
        (tmp_path / "plain.jpg.xmp").write_bytes(labelled.info["xmp"])
    (tmp_path / "deep" / "other.JPEG").write_bytes(saved(upright(OTHER)))
    (tmp_path / "deep" / "who.csv").write_text(
        "file,name,left,top,width,height\nother.JPEG,Beto Paz,0.1,0.2,0.3,0.4\n\nother.JPEG,,0.6,0.2,0.3,0.4\n"
    )
    (tmp_path / "numbers.csv").write_text("year,total\n2025,3\n")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    album = Album.read(tmp_path)
    assert (album.pictures, album.faces) == (2, 3)
    assert labels(saved(upright(PORTRAIT)), album) == expected(PORTRAIT)
    assert labels(saved(upright(OTHER)), album) == {"Beto Paz", None}


def test_a_csv_file_may_say_that_nobody_is_there(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(upright(OTHER)))
    (tmp_path / "who.csv").write_text("file,name,left,top,width,height\na.jpg,,,,,\n")
    assert find(saved(upright(OTHER)), Album.read(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("file,name,left,top,width\na.jpg,Ana,0,0,1\n", "", "height"),
        ("file,name,left,top,width,height\nb.jpg,Ana,0,0,1,1\n", "line 2", "b.jpg"),
        ("file,name,left,top,width,height\n\na.jpg,Ana,10,20,100,100\n", "line 3", "10, 20, 100, 100"),
        ("file,name,left,top,width,height\na.jpg,Ana,0.9,0,0.2,1\n", "line 2", "0.9"),
        ("file,name,left,top,width,height\na.jpg,Ana,x,0,1,1\n", "line 2", "x"),
        ("file,name,left,top,width,height\na.jpg,Ana\n", "line 2", "no box"),
        ("file,name,name,left,top,width,height\na.jpg,Ana,B,0,0,1,1\n", "", "name is there twice"),
        ("file,name,left,top,width,height\nwho.csv,Ana,0,0,1,1\n", "line 2", "who.csv is no JPEG or PNG"),
        (
            f"file,name,left,top,width,height\n{OTHER},Ana,0,0,1,1\n",
            "line 2",
            "student-005-copy.jpg is no JPEG or PNG file in",
        ),
        ("file,name,left,top,width,height\n" + "a" * 200_000 + ",Ana,0,0,1,1\n", "line 2", "field larger"),
        ("file,name,left,top,width,height\n" + "a" * 300 + ",Ana,0,0,1,1\n", "line 2", "a"),
        ("file,name,left,top,width,height\na\0.jpg,Ana,0,0,1,1\n", "line 2", "who.csv"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, text, line, named):
    shutil.copy(PORTRAIT, tmp_path / "a.jpg")
    (tmp_path / "who.csv").write_text(text)
    with pytest.raises(EmulatorError) as caught:
        Album.read(tmp_path)
    for part in ("who.csv", line, named):
        assert part in caught.value.message
    assert caught.value.remedy


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(EmulatorError, match="gone"):
        Album.read(tmp_path / "gone")


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding", "suffix"),
    [
        (",", ".", "utf-8-sig", ".csv"),
        (";", ",", "utf-8", ".CSV"),
        ("\t", ",", "utf-16", ".csv"),
        (";", ".", "utf-8", ".csv"),
    ],
)
def test_a_csv_file_of_a_spreadsheet_is_read(tmp_path, separator, decimal, encoding, suffix):
    (tmp_path / "a.jpg").write_bytes(saved(upright(OTHER)))
    rows = [["file", "name", "left", "top", "width", "height"], ["a.jpg", "Ñusta Paz"]]
    rows[1] += [number.replace(".", decimal) for number in ("0.1", "0.2", "0.3", "0.4")]
    text = "\r\n".join(separator.join(f'"{cell}"' if decimal == separator else cell for cell in row) for row in rows)
    (tmp_path / f"who{suffix}").write_bytes(text.encode(encoding))
    assert labels(saved(upright(OTHER)), Album.read(tmp_path)) == {"Ñusta Paz"}


def test_two_csv_files_may_label_one_picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(upright(OTHER)))
    for number, name in enumerate(("Ana", "Beto")):
        text = f"file,name,left,top,width,height\na.jpg,{name},{number / 2},0,0.4,0.5\n"
        (tmp_path / f"{name}.csv").write_text(text)
    assert labels(saved(upright(OTHER)), Album.read(tmp_path)) == {"Ana", "Beto"}


def test_a_csv_file_in_another_encoding_is_named_if_it_is_for_the_album(tmp_path):
    shutil.copy(PORTRAIT, tmp_path / "a.jpg")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "gone.csv").symlink_to("nowhere")
    (tmp_path / "other.csv").write_bytes("año;total\n2025;3\n".encode("latin-1"))
    assert Album.read(tmp_path).pictures == 1
    text = "file,name,left,top,width,height\na.jpg,Ñusta,0.1,0.1,0.5,0.5\n"
    (tmp_path / "who.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(EmulatorError, match=r"who\.csv: its text is not in UTF-8"):
        Album.read(tmp_path)


def test_a_csv_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "who.csv").write_text("file\n")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(EmulatorError, match=r"who\.csv cannot be read: Permission denied"):
        Album.read(tmp_path)
