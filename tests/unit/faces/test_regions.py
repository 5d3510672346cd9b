"""Regions stay on their faces when a picture is turned: the stand-in sees the same before and after."""

import io
import itertools

import pytest
from PIL import Image

from seedtool.emulator.regions import face_regions
from seedtool.faces.pictures import prepare_image
from seedtool.faces.regions import turned

SIZE = (2000, 1200)
AREAS = [("Ana Soto", 0.2, 0.3, 0.1, 0.2), ("Bruno Díaz", 0.7, 0.6, 0.3, 0.25)]


def as_attributes(unit, dimensions):
    scale = dimensions if unit == "pixel" else (1, 1)
    return "".join(
        f'<rdf:li><rdf:Description mwg-rs:Name="{name}" mwg-rs:Type="Face"><mwg-rs:Area stArea:x="{x * scale[0]}"'
        f' stArea:y="{y * scale[1]}" stArea:w="{w * scale[0]}" stArea:h="{h * scale[1]}" stArea:unit="{unit}"/>'
        "</rdf:Description></rdf:li>"
        for name, x, y, w, h in AREAS
    )


def as_elements(unit, dimensions):
    scale = dimensions if unit == "pixel" else (1, 1)
    return "".join(
        f'<rdf:li rdf:parseType="Resource"><mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type><mwg-rs:Area>'
        f"<rdf:Description><stArea:x>{x * scale[0]}</stArea:x><stArea:y>{y * scale[1]}</stArea:y>"
        f"<stArea:w>{w * scale[0]}</stArea:w><stArea:h>{h * scale[1]}</stArea:h><stArea:unit>{unit}</stArea:unit>"
        "</rdf:Description></mwg-rs:Area></rdf:li>"
        for name, x, y, w, h in AREAS
    )


def packet(areas, dimensions, orientation=6):
    applied = f'<mwg-rs:AppliedToDimensions stDim:w="{dimensions[0]}" stDim:h="{dimensions[1]}" stDim:unit="pixel"/>'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description tiff:Orientation="{orientation}" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        ' xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
        ' xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"'
        ' xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"><mwg-rs:Regions rdf:parseType="Resource">'
        f"{applied}<mwg-rs:RegionList><rdf:Bag>{areas}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def seen(xmp, size, orientation):
    return [
        (
            region.name,
            *(round(part, 4) for part in (region.box.left, region.box.top, region.box.width, region.box.height)),
        )
        for region in face_regions(xmp, size, orientation)
    ]


@pytest.mark.parametrize(
    ("orientation", "spell", "unit"),
    list(itertools.product(range(1, 9), [as_attributes, as_elements], ["normalized", "pixel"])),
)
def test_regions_are_turned_with_the_picture(orientation, spell, unit):
    written = packet(spell(unit, SIZE), SIZE)
    upright = SIZE[::-1] if orientation >= 5 else SIZE
    there = turned(written, SIZE, orientation)
    assert seen(there, upright, 1) == seen(written, SIZE, orientation)
    assert len(seen(there, upright, 1)) == 2
    assert b'Orientation="1"' in there


def test_regions_of_the_picture_as_shown_stay():
    as_shown = packet(as_attributes("normalized", SIZE[::-1]), SIZE[::-1])
    assert seen(as_shown, SIZE, 6) == seen(as_shown, SIZE[::-1], 1)
    assert seen(turned(as_shown, SIZE, 6), SIZE[::-1], 1) == seen(as_shown, SIZE, 6)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_heavy_picture_that_lies_on_its_side_keeps_who_is_on_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    written = packet(as_attributes("normalized", SIZE), SIZE)
    buffer = io.BytesIO()
    Image.effect_noise(SIZE, 90).convert("RGB").save(buffer, "JPEG", quality=90, exif=exif, xmp=written)
    picture = prepare_image(buffer.getvalue(), limit=100_000, keep_regions=True)
    with Image.open(io.BytesIO(picture.data)) as image:
        assert seen(image.info["xmp"], image.size, 1) == seen(written, SIZE, orientation)


@pytest.mark.parametrize(
    "xmp", [b"", b"<a>", b"\xff\xfe<\0a\0/\0>\0", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"\xff<a/>"]
)
def test_a_packet_that_cannot_be_read_is_dropped(xmp):
    assert turned(xmp, SIZE, 6) is None


def test_areas_that_are_none_stay_as_they_are():
    areas = as_attributes("normalized", SIZE).replace('stArea:x="0.2"', 'stArea:x="left"').replace("0.25", "-1")
    there = turned(packet(areas, (0, 0)), SIZE, 6)
    assert b'x="left"' in there
    assert b'h="-1"' in there
