"""The same picture is known again however it was saved; another picture is not, and a uniform one has no face."""

import io
import itertools
import os
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from seedtool.emulator import descriptor
from seedtool.emulator.faces import WHOLE, _percentile, find, select

SKINS, HAIRS, SHIRTS = (
    ("#f1c9a5", "#8d5a3a", "#c98e63"),
    ("#2b1b12", "#7a4a1f", "#d8b25a"),
    ("#b03a2e", "#2e6fb0", "#3d8b4a"),
)


def portrait(skin, hair, shirt, *, size=(240, 300), backdrop="#dfe6ee"):
    """A cartoon: every portrait has the same layout and differs in three colours only."""
    image = Image.new("RGB", (240, 300), backdrop)
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 215, 200, 380), fill=shirt)
    pen.ellipse((62, 50, 178, 190), fill=hair)
    pen.ellipse((75, 80, 165, 215), fill=skin)
    for x in (100, 140):
        pen.ellipse((x - 6, 135, x + 6, 147), fill="#222222")
    pen.arc((100, 160, 140, 190), 20, 160, fill="#993333", width=4)
    return image.resize(size)


def saved(image, file_format="JPEG", **options):
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def vector(content):
    (face,) = find(content)
    return dict(face.descriptions)[WHOLE]


def alike(one, other):
    return float(descriptor.similarities(vector(one), [vector(other)])[0])


def turned(image):
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.transpose(Image.Transpose.ROTATE_90), quality=90, exif=exif)


COPIES = {
    "as png": lambda image: saved(image, "PNG"),
    "quality 30": lambda image: saved(image, quality=30),
    "half the size": lambda image: saved(image.resize((120, 150)), quality=75),
    "80 pixels wide": lambda image: saved(image.resize((80, 100)), quality=75),
    "roughly resized": lambda image: saved(image.resize((150, 188), Image.Resampling.NEAREST), quality=75),
    "three times the size": lambda image: saved(image.resize((720, 900)), quality=60),
    "too large to decode whole": lambda image: saved(image.resize((3600, 4500)), quality=60),
    "turned by its exif orientation": turned,
    "with a palette": lambda image: saved(image.quantize(64), "PNG"),
    "with transparency": lambda image: saved(image.convert("RGBA"), "PNG"),
    "in cmyk": lambda image: saved(image.convert("CMYK"), quality=90),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_known_again(copy):
    original = portrait(SKINS[0], HAIRS[0], SHIRTS[0])
    assert alike(saved(original, quality=90), COPIES[copy](original)) > 95


def test_portraits_of_one_layout_are_distinguished():
    looks = list(itertools.product(SKINS, HAIRS, SHIRTS))
    contents = [saved(portrait(*look)) for look in looks]
    small = [saved(portrait(*look, size=(100, 125)), quality=50) for look in looks]
    for number, content in enumerate(contents):
        scores = descriptor.similarities(vector(content), [vector(other) for other in small])
        assert scores[number] > 95
        others = [score for index, score in enumerate(scores) if index != number]
        assert max(others) < 80, (looks[number], max(others))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(40, 95), st.integers(80, 400))
def test_any_two_drawings(first, second, quality, width):
    def drawing(seed):
        rng = random.Random(seed)  # noqa: S311 - a drawing
        image = Image.new("RGB", (200, 200), tuple(rng.randrange(256) for _ in "rgb"))
        pen = ImageDraw.Draw(image)
        for _ in range(12):
            x, y = rng.randrange(160), rng.randrange(160)
            pen.ellipse(
                (x, y, x + rng.randrange(30, 100), y + rng.randrange(30, 100)), fill=f"#{rng.randrange(1 << 24):06x}"
            )
        return image

    original = saved(drawing(first), "PNG")
    assert alike(original, saved(drawing(first).resize((width, width)), quality=quality)) > 95
    if first != second:
        assert alike(original, saved(drawing(second), "PNG")) < 80


def test_noise_is_distinguished():
    one, other = (Image.frombytes("RGB", (300, 300), os.urandom(270_000)) for _ in range(2))
    assert alike(saved(one, "PNG"), saved(other, "PNG")) < 80
    assert alike(saved(one, "PNG"), saved(one, quality=80)) > 95


@pytest.mark.parametrize("colour", ["white", "black", "#4080c0"])
def test_a_uniform_picture_has_no_face(colour):
    assert find(saved(Image.new("RGB", (200, 150), colour), quality=60)) == []


def test_sixteen_bit_samples_are_not_clipped():
    shades = Image.linear_gradient("L").convert("I").point(lambda level: level * 257)
    assert len(find(saved(shades.convert("I;16"), "PNG"))) == 1


def test_the_coarse_search_never_loses_a_match():
    vectors = [vector(saved(portrait(*look))) for look in itertools.product(SKINS, HAIRS, SHIRTS)]
    rows = descriptor.coarse(vectors)
    for number, one in enumerate(vectors):
        squared = ((rows - rows[number]) ** 2).sum(axis=1)
        for score, distance in zip(descriptor.similarities(one, vectors), squared, strict=True):
            assert distance <= descriptor.most_alike(float(score)) + 0.01


def test_quality_is_measured_from_the_pixels():
    image = portrait(SKINS[0], HAIRS[0], SHIRTS[0])
    (sharp,) = find(saved(image))
    (blurred,) = find(saved(image.filter(ImageFilter.GaussianBlur(6))))
    (dark,) = find(saved(image.point(lambda level: level // 30), "PNG"))
    assert sharp.sharpness > 60 > 30 > blurred.sharpness
    assert sharp.brightness > 40 > 4 > dark.brightness
    kept, refused = select([sharp, blurred, dark], quality_filter="HIGH", max_faces=None)
    assert kept == [sharp]
    assert ["LOW_SHARPNESS" in reasons for _, reasons in refused] == [True, False]
    assert ["LOW_BRIGHTNESS" in reasons for _, reasons in refused] == [False, True]
    assert select([dark], quality_filter="NONE", max_faces=None) == ([dark], [])


@pytest.mark.parametrize("size", [(300, 300), (1201, 799), (97, 640)])
def test_the_inside_of_a_picture_is_described_as_if_it_were_cut_out(size):
    image = portrait(SKINS[0], HAIRS[1], SHIRTS[2], size=size)
    insets = [0.0, 0.1, 0.25]
    for inset, described in zip(insets, descriptor.describe_insides(image, insets), strict=True):
        left, top, fine = inset * image.width, inset * image.height, (640, round(640 * image.height / image.width))
        cut = image.resize(fine, Image.Resampling.BOX, (left, top, image.width - left, image.height - top))
        (alike,) = descriptor.similarities(described, [descriptor.describe(cut)])
        assert alike > 99


def test_the_inside_of_a_frame_has_no_description():
    image = Image.new("RGB", (400, 400), "navy")
    image.paste("white", (50, 50, 350, 350))
    whole, inside = descriptor.describe_insides(image, [0.0, 0.2])
    assert whole is not None
    assert inside is None


@given(levels=st.lists(st.integers(0, 255), min_size=1, max_size=40), percent=st.sampled_from([1, 50, 99]))
def test_percentiles_are_those_of_numpy(levels, percent):
    assert _percentile(np.array(levels, dtype=np.int16), percent) == pytest.approx(np.percentile(levels, percent))
