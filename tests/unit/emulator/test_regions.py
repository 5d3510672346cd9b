"""MWG face regions in every spelling that Lightroom, digiKam and exiftool use, and what is not believed."""

import io

import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from seedtool.emulator.faces import find
from seedtool.emulator.regions import face_regions

HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#">"""
TAIL = """</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

LIGHTROOM = f"""{HEAD}<mwg-rs:Regions rdf:parseType="Resource">
<mwg-rs:AppliedToDimensions stDim:w="400" stDim:h="300" stDim:unit="pixel"/>
<mwg-rs:RegionList><rdf:Bag>
<rdf:li><rdf:Description mwg-rs:Rotation="0.0" mwg-rs:Name="Ana Soto" mwg-rs:Type="Face">
<mwg-rs:Area stArea:h="0.4" stArea:w="0.2" stArea:x="0.3" stArea:y="0.5" stArea:unit="normalized"/>
</rdf:Description></rdf:li>
<rdf:li><rdf:Description mwg-rs:Name="Toby" mwg-rs:Type="Pet">
<mwg-rs:Area stArea:h="0.1" stArea:w="0.1" stArea:x="0.1" stArea:y="0.1"/></rdf:Description></rdf:li>
</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>{TAIL}"""

DIGIKAM = f"""{HEAD}<mwg-rs:Regions><rdf:Description>
<mwg-rs:AppliedToDimensions><rdf:Description><stDim:w>400</stDim:w><stDim:h>300</stDim:h></rdf:Description>
</mwg-rs:AppliedToDimensions>
<mwg-rs:RegionList><rdf:Bag><rdf:li><rdf:Description mwg-rs:Name="Ana Soto" mwg-rs:Type="Face">
<mwg-rs:Area><rdf:Description stArea:x="0.3" stArea:y="0.5" stArea:w="0.2" stArea:h="0.4"/></mwg-rs:Area>
</rdf:Description></rdf:li></rdf:Bag></mwg-rs:RegionList></rdf:Description></mwg-rs:Regions>{TAIL}"""

EXIFTOOL = f"""{HEAD}<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Bag>
<rdf:li rdf:parseType='Resource'><mwg-rs:Area rdf:parseType='Resource'>
<stArea:h>0.4</stArea:h><stArea:unit>normalized</stArea:unit>
<stArea:w>0.2</stArea:w><stArea:x>0.3</stArea:x><stArea:y>0.5</stArea:y></mwg-rs:Area>
<mwg-rs:Name>Ana Soto</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type></rdf:li>
</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>{TAIL}"""


def one(*, name="Ana", area="stArea:x='0.3' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4'", extra="", applied=""):
    return (
        f"{HEAD}<mwg-rs:Regions rdf:parseType='Resource'>{applied}<mwg-rs:RegionList><rdf:Seq><rdf:li>"
        f"<rdf:Description mwg-rs:Name='{name}' mwg-rs:Type='Face' {extra}><mwg-rs:Area {area}/></rdf:Description>"
        f"</rdf:li></rdf:Seq></mwg-rs:RegionList></mwg-rs:Regions>{TAIL}"
    )


def read(xmp, size=(400, 300), orientation=1):
    return face_regions(xmp.encode(), size, orientation)


def numbers(box):
    return tuple(round(value, 6) for value in (box.left, box.top, box.width, box.height))


@pytest.mark.parametrize("xmp", [LIGHTROOM, DIGIKAM, EXIFTOOL], ids=["lightroom", "digikam", "exiftool"])
def test_every_spelling_says_the_same(xmp):
    (region,) = read(xmp)
    assert region.name == "Ana Soto"
    assert numbers(region.box) == (0.2, 0.3, 0.2, 0.4)  # x and y are the centre


def test_areas_in_pixels_and_beyond_the_edge():
    applied = "<mwg-rs:AppliedToDimensions stDim:w='400' stDim:h='300' stDim:unit='pixel'/>"
    area = "stArea:x='380' stArea:y='150' stArea:w='80' stArea:h='120' stArea:unit='pixel'"
    (region,) = read(one(area=area, applied=applied))
    assert numbers(region.box) == (0.85, 0.3, 0.15, 0.4)
    assert read(one(area="stArea:x='1.5' stArea:y='0.5' stArea:w='0.2' stArea:h='0.2'")) is None


@pytest.mark.parametrize(
    "area",
    [
        "",
        "stArea:x='0.3'",
        "stArea:x='a' stArea:y='0.5' stArea:w='0.2' stArea:h='0.4'",
        "stArea:x='nan' stArea:y='.5' stArea:w='.2' stArea:h='.4'",
    ],
)
def test_an_area_that_is_none_is_left_out(area):
    assert read(one(area=area)) is None


def test_names_are_normalised_and_may_ask_for_a_likeness():
    assert read(one(name="Nun\u0303ez"))[0].name == "Nu\u00f1ez"
    region = read(one(name="Ana Soto~88.5"))[0]
    assert (region.name, region.likeness) == ("Ana Soto", 88.5)
    assert read(one(name="Ana~101"))[0].name == "Ana~101"
    assert read(one(name=" "))[0].name is None


def test_a_description_may_hint_at_pose_and_confidence():
    region = read(one(extra="mwg-rs:Description='yaw=-80 confidence=40'"))[0]
    assert region.hints == {"yaw": -80, "confidence": 40}


@pytest.mark.parametrize(
    "xmp",
    [
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" + one(),
        one().replace("<x:xmpmeta", "<!ENTITY a 'b'><x:xmpmeta"),
        one()[:-30],
        "not xml",
        "",
    ],
)
def test_what_is_no_honest_packet_has_no_regions(xmp):
    assert read(xmp) is None


def test_entities_hidden_by_an_encoding_are_not_read():
    assert face_regions(("<!DOCTYPE x [<!ENTITY a 'b'>]>" + one()).encode("utf-16"), (400, 300), 1) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_answered_lies_on_the_face_as_shown(orientation):
    """A red head drawn where the region is: it must be where the box of the upright picture is."""
    shown = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(shown).rectangle((40, 60, 119, 179), fill="red")
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    stored = shown
    for operation in undo:
        stored = stored.transpose(operation)
    box = _red(stored)
    x, y = (box[0] + box[2]) / 2 / stored.width, (box[1] + box[3]) / 2 / stored.height
    w, h = (box[2] - box[0]) / stored.width, (box[3] - box[1]) / stored.height
    exif = Image.Exif()
    exif[0x0112] = orientation
    xmp = one(area=f"stArea:x='{x}' stArea:y='{y}' stArea:w='{w}' stArea:h='{h}'")
    for options in (
        {"format": "JPEG", "quality": 95, "xmp": xmp.encode()},
        {"format": "PNG", "pnginfo": _itxt(xmp)},
    ):
        out = io.BytesIO()
        stored.save(out, exif=exif, **options)
        (face,) = find(out.getvalue())
        assert numbers(face.box) == pytest.approx((0.1, 0.2, 0.2, 0.4), abs=0.01)


def test_regions_of_the_upright_picture_are_known_by_their_dimensions():
    applied = "<mwg-rs:AppliedToDimensions stDim:w='300' stDim:h='400' stDim:unit='pixel'/>"
    as_shown = read(one(applied=applied), size=(400, 300), orientation=6)
    assert numbers(as_shown[0].box) == (0.2, 0.3, 0.2, 0.4)


def _red(image):
    return image.convert("RGB").split()[1].point(lambda level: 255 if level < 128 else 0).getbbox()


def _itxt(xmp):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    return info


BAG = one()[one().index("<rdf:li>") : one().index("</rdf:Seq>")]


@pytest.mark.parametrize("bag", ["", BAG.replace("'Face'", "'Pet'"), 2 * BAG.replace("'Face'", "'Pet'")])
def test_a_picture_says_that_nobody_is_there(bag):
    assert read(one().replace(BAG, bag)) == []


def test_a_region_of_another_kind_does_not_say_who_is_there():
    assert read(one().replace("'Face'", "'Focus'")) is None


MICROSOFT = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"><MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag>
{entries}</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo></rdf:Description></rdf:RDF></x:xmpmeta>"""
ATTRIBUTES = (
    "<rdf:li><rdf:Description MPReg:Rectangle='0.2, 0.3, 0.2, 0.4' MPReg:PersonDisplayName='Ana Soto'/></rdf:li>"
)
ELEMENTS = """<rdf:li rdf:parseType="Resource"><MPReg:PersonDisplayName>Ana Soto</MPReg:PersonDisplayName>
<MPReg:Rectangle>0.2,0.3,0.2,0.4</MPReg:Rectangle></rdf:li>"""
NOWHERE = "<rdf:li><rdf:Description MPReg:PersonDisplayName='Beto Paz'/></rdf:li>"


@pytest.mark.parametrize("entries", [ATTRIBUTES, ELEMENTS, NOWHERE + ELEMENTS])
def test_a_region_as_windows_writes_it(entries):
    (region,) = read(MICROSOFT.format(entries=entries))
    assert region.name == "Ana Soto"
    assert numbers(region.box) == (0.2, 0.3, 0.2, 0.4)  # left and top, not the centre


@pytest.mark.parametrize("rectangle", ["", "0.2,0.3,0.2", "a,b,c,d", "nan,0,1,1", "2,2,1,1"])
def test_a_rectangle_that_is_none_is_left_out(rectangle):
    assert read(MICROSOFT.format(entries=ATTRIBUTES.replace("0.2, 0.3, 0.2, 0.4", rectangle))) is None


def test_a_turned_picture_has_its_windows_region_where_it_is_shown():
    (region,) = read(MICROSOFT.format(entries=ATTRIBUTES), orientation=6)  # stored on its side
    assert numbers(region.box) == (0.3, 0.2, 0.4, 0.2)
