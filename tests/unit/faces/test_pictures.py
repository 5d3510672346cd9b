"""What Rekognition takes, what it would refuse, and what is made fit."""

import contextlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from seedtool.errors import ImageRefused
from seedtool.faces.pictures import MOST_PIXELS, prepare_image

PORTRAIT = (
    Path(__file__).resolve().parents[3] / "seeds" / "photos" / "students" / "student-001" / "photo-1.jpg"
).read_bytes()


def noise(width=400, height=300, mode="RGB"):
    return Image.effect_noise((width, height), 90).convert(mode)


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(picture):
    return Image.open(io.BytesIO(picture.data))


def test_a_picture_that_fits_goes_as_it_is():
    picture = prepare_image(PORTRAIT)
    assert picture.data == PORTRAIT
    assert (picture.content_type, picture.changed) == ("image/jpeg", False)
    png = encoded(noise(), "PNG")
    assert prepare_image(png).data == png
    assert prepare_image(png).content_type == "image/png"


def test_the_format_is_told_by_the_content():
    png = prepare_image(encoded(noise(), "PNG"), jpeg=True)
    assert (png.content_type, png.changed, opened(png).format) == ("image/jpeg", True, "JPEG")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "RGB"])
def test_every_kind_of_png_becomes_a_jpeg(mode):
    picture = prepare_image(encoded(noise(mode=mode), "PNG"), jpeg=True)
    assert opened(picture).mode == "RGB"
    assert opened(picture).size == (400, 300)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off():
    image = Image.new("I;16", (100, 100), 0x4000)
    picture = prepare_image(encoded(image, "PNG"), jpeg=True)
    assert abs(opened(picture).getpixel((50, 50))[0] - 0x40) <= 2


def test_what_is_transparent_becomes_white():
    picture = prepare_image(encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0)), "PNG"), jpeg=True)
    assert min(opened(picture).getpixel((50, 50))) > 250


def test_a_heavy_picture_is_scaled_under_the_limit_and_keeps_its_regions_for_the_emulator():
    big = encoded(noise(2000, 1500), quality=95, xmp=b"<x:xmpmeta>regions</x:xmpmeta>")
    assert "xmp" not in opened(prepare_image(big, limit=100_000)).info
    picture = prepare_image(big, limit=100_000, keep_regions=True)
    assert len(picture.data) <= 100_000 < len(big)
    image = opened(picture)
    assert image.size == (picture.width, picture.height)
    assert abs(image.width / image.height - 4 / 3) < 0.02
    assert b"regions" in image.info["xmp"]


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_turned_picture_is_made_upright():
    big = encoded(noise(2000, 1500), quality=95, exif=turned(6), xmp=b"<x:xmpmeta>no XML")
    picture = prepare_image(big, limit=100_000, keep_regions=True)
    image = opened(picture)
    assert image.height > image.width
    assert "xmp" not in image.info
    assert image.getexif().get(0x0112) is None
    # one that fits keeps its orientation tag, which Rekognition heeds
    assert prepare_image(big).data == big


def test_a_large_jpeg_is_not_unpacked_to_see_that_it_is_whole(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("L", (9000, 9000)).save(path)  # 80 MB of pixels
    program = f"""
import resource, pathlib
from PIL.JpegImagePlugin import JpegImageFile
from seedtool.faces.pictures import prepare_image
data = pathlib.Path({str(path)!r}).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare_image(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 20_000  # kB


def test_colours_for_print_become_colours_for_screens():
    picture = prepare_image(encoded(noise(mode="CMYK"), quality=95), limit=20_000)
    assert opened(picture).mode == "RGB"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GIF89a...", id="gif"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", id="webp"),
        pytest.param(b"\0\0\0\x18ftypheic", id="heic"),
        pytest.param(b"%PDF-1.7", id="pdf"),
        pytest.param(b"\n <!DOCTYPE html><html><body>Sign in</body></html>", id="web-page"),
        pytest.param(b"\xef\xbb\xbf<HTML>", id="web-page-with-a-mark"),
        pytest.param(b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", id="xml"),
        pytest.param(b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b'{"error": "AccessDenied"}', id="json"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(b"hello", id="text"),
        pytest.param(PORTRAIT[:700], id="a jpeg's beginning"),
        pytest.param(PORTRAIT[:-700], id="a jpeg without its end"),
        pytest.param(b"\xff\xd8\xff", id="a jpeg's first bytes"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a png's first bytes"),
        pytest.param(encoded(noise(79, 200)), id="79 x 200 pixels"),
    ],
)
def test_what_is_refused_says_why(data, approved):
    with pytest.raises(ImageRefused) as caught:
        prepare_image(data)
    assert caught.value.remedy
    approved(caught.value)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked(approved):
    side = int(MOST_PIXELS**0.5) + 1000
    bomb = bytearray(encoded(noise(100, 100, "L"), "PNG"))
    bomb[16:24] = side.to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageRefused) as caught:
        prepare_image(bytes(bomb))
    assert f"{side} x {side}" in caught.value.message
    approved(caught.value)


def test_a_picture_that_cannot_be_brought_under_the_limit(approved):
    with pytest.raises(ImageRefused) as caught:
        prepare_image(PORTRAIT, limit=100)
    approved(caught.value)


@hypothesis_settings(max_examples=150)
@given(st.data())
def test_damage_anywhere_is_either_decoded_or_refused(data):
    source = data.draw(st.sampled_from([PORTRAIT[:6000] + PORTRAIT[-2000:], encoded(noise(90, 90), "PNG"), PORTRAIT]))
    damaged = bytearray(source)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(damaged), 3000) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageRefused):
        prepare_image(bytes(damaged), limit=data.draw(st.sampled_from([5_000, 5_000_000])))
