"""The pictures of the scenario: photographs in which AWS sees faces too, with names for the stand-in.

Both photographs are works of the United States' government and in the public domain: Eileen Collins (NASA, as
scikit-image ships it) and Grace Hopper (US Navy, as matplotlib ships it), cut and made smaller.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

_HERE = Path(__file__).parent


class Area(NamedTuple):
    """A face: the centre and the size of its box, in fractions of the picture."""

    x: float
    y: float
    width: float
    height: float

    def within(self, left: float, top: float, width: float, height: float) -> Area:
        """Return the area in a picture into which its own picture was pasted at this box."""
        return Area(left + self.x * width, top + self.y * height, self.width * width, self.height * height)


_COLLINS = Area(0.455, 0.4, 0.31, 0.4)
_HOPPER = Area(0.51, 0.5, 0.45, 0.5)


def scenario_pictures() -> dict[str, bytes]:
    """Return each picture of the scenario by its name.

    Returns:
        `ana`, one person; `group`, three people of whom one is too small; `stranger`, somebody without a name; `wall`,
        nobody; `tiny`, below the smallest size; `text`, no picture.
    """
    collins, hopper = (Image.open(_HERE / name) for name in ("collins.jpg", "hopper.jpg"))
    group = Image.new("RGB", (640, 400), "gray")
    people = []
    for name, source, area, (left, top, side) in (
        ("Ana Soto", collins, _COLLINS, (0, 0, 400)),
        ("Beto Díaz", hopper, _HOPPER, (440, 20, 180)),
        ("small", ImageOps.mirror(hopper), _HOPPER, (540, 320, 50)),
    ):
        group.paste(source.resize((side, side)), (left, top))
        people.append((name, area.within(left / 640, top / 400, side / 640, side / 400)))
    return {
        "ana": _jpeg(collins, [("Ana Soto", _COLLINS)]),
        "group": _jpeg(group, people),
        "stranger": _png(ImageOps.mirror(hopper)),
        "wall": _jpeg(Image.new("RGB", (240, 200), "tan")),
        "tiny": _jpeg(collins.resize((79, 200))),
        "text": b"no picture",
    }


def _jpeg(image: Image.Image, people: list[tuple[str, Area]] | None = None) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, **({"xmp": _regions(people)} if people else {}))
    return file.getvalue()


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _regions(people: list[tuple[str, Area]]) -> bytes:
    """Return an XMP packet with face regions, as the Metadata Working Group describes them."""
    entries = "".join(
        f"<rdf:li><rdf:Description mwg-rs:Type='Face' mwg-rs:Name='{name}'><mwg-rs:Area stArea:x='{area.x}' "
        f"stArea:y='{area.y}' stArea:w='{area.width}' stArea:h='{area.height}' stArea:unit='normalized'/>"
        "</rdf:Description></rdf:li>"
        for name, area in people
    )
    return (
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        "<rdf:Description xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/' "
        "xmlns:stArea='http://ns.adobe.com/xmp/sType/Area#'>"
        "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Bag>"
        f"{entries}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()
