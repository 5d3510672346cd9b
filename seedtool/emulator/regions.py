"""Face regions in a picture's metadata: who is where, as Lightroom, digiKam, Windows and exiftool write it into XMP.

Sources: Metadata Working Group, "Guidelines for Handling Image Metadata", version 2.0, section 5.9 (the x and y of an
area are its centre); Microsoft, "People tagging overview" (`MP:RegionInfo`: a rectangle is left, top, width, height in
fractions of the picture). RDF allows a property as an attribute or as an element, and programs write both.
"""

from __future__ import annotations

import math
import re
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
_SIZE = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_MICROSOFT = "{http://ns.microsoft.com/photo/1.2/t/RegionInfo#}"
_MICROSOFT_REGION = "{http://ns.microsoft.com/photo/1.2/t/Region#}"

_RECTANGLE = f"{_MICROSOFT_REGION}Rectangle"

_LIKENESS = re.compile(r"^(?P<name>.*\S)\s*~\s*(?P<likeness>\d{1,3}(?:\.\d+)?)$")
_HINT = re.compile(r"\b(yaw|pitch|roll|confidence)\s*=\s*(-?\d+(?:\.\d+)?)")
_ASPECT_TOLERANCE = 0.02  # of the logarithm of width by height: a resized copy has whole pixels


@dataclass(frozen=True)
class Box:
    """A rectangle, in fractions of the picture's width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Region:
    """A face that the picture's metadata names or marks.

    Attributes:
        box: where it is in the upright picture.
        name: the person's name in Unicode's normal form C; None for a face without a name.
        likeness: the similarity (0 to 100) to other faces of the person that the region asks for: 88 when its name
            is written `Ana Soto~88`. None for an ordinary face.
        hints: `yaw`, `pitch`, `roll` (degrees) and `confidence` (0 to 100) from a region's description such as
            `yaw=80 confidence=40`. They let tests try quality filters.
    """

    box: Box
    name: str | None
    likeness: float | None
    hints: Mapping[str, float] = field(default_factory=dict)


def face_regions(xmp: bytes, size: tuple[int, int], orientation: int) -> list[Region] | None:
    """Read the face regions of an XMP packet. Where it has MWG's and Microsoft's, MWG's count.

    MWG says that regions refer to the picture as it is stored. Some programs refer to the upright picture instead. A
    packet is read their way when the EXIF orientation swaps the sides and its AppliedToDimensions fit only the
    swapped sides.

    Args:
        xmp: the packet. A packet that is no well-formed XML, or declares entities, has no regions.
        size: width and height of the stored picture in pixels.
        orientation: the EXIF orientation, 1 to 8.

    Returns:
        The regions of the upright picture in the packet's order, cut off at its edges. An empty list when the packet
        says that nobody is there: its list of regions is empty, or names pets alone. None when it does not say.
    """
    root = _parse(xmp)
    if root is None:
        return None
    found = []
    kinds: set[str] | None = None  # of MWG's regions; None without a list of them
    for regions in root.iter(f"{_MWG}Regions"):
        width, height = _applied_to(regions) or size
        upright = orientation >= 5 and not _fits((width, height), size) and _fits((height, width), size)
        for region_list in regions.iter(f"{_MWG}RegionList"):
            kinds = kinds or set()
            for entry in region_list.iter(f"{_RDF}li"):
                kinds.add(_text(entry, f"{_MWG}Type") or "Face")
                region = _region(entry, (width, height), 1 if upright else orientation)
                if region is not None:
                    found.append(region)
    if found:
        return found
    microsoft = [region for entry in _microsoft(root) if (region := _tagged(entry, orientation)) is not None]
    nobody = kinds is not None and kinds <= {"Pet"}
    return microsoft or ([] if nobody else None)


def _parse(xmp: bytes) -> ET.Element | None:
    # Without a document type no entity can be declared, and none expanded. No XMP has one. A packet in UTF-16 would
    # hide these words from us; XMP in a JPEG or PNG has to be UTF-8.
    if b"<!DOCTYPE" in xmp or b"<!ENTITY" in xmp or b"\0" in xmp.strip(b"\0"):
        return None
    try:
        return ET.fromstring(xmp.strip(b"\0 \t\r\n").decode("utf-8", errors="replace"))  # noqa: S314 - see above
    except (ET.ParseError, ValueError):
        return None


def _microsoft(root: ET.Element) -> Iterator[ET.Element]:
    for regions in root.iter(f"{_MICROSOFT}Regions"):
        yield from regions.iter(f"{_RDF}li")


def _holders(node: ET.Element) -> Iterator[ET.Element]:
    """Yield the elements that may hold a structure's properties: the node, and an rdf:Description in it."""
    yield node
    yield from node.findall(f"{_RDF}Description")


def _text(node: ET.Element, tag: str) -> str | None:
    for holder in _holders(node):
        value = holder.get(tag)
        if value is None:
            child = holder.find(tag)
            if child is not None:
                # The text may be in an rdf:Alt, as one of several languages.
                value = "".join(child.itertext())
        if value is not None and value.strip():
            return value.strip()
    return None


def _struct(node: ET.Element, tag: str) -> ET.Element | None:
    for holder in _holders(node):
        child = holder.find(tag)
        if child is not None:
            return child
    return None


def _number(node: ET.Element, tag: str) -> float | None:
    try:
        value = float(_text(node, tag) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _applied_to(regions: ET.Element) -> tuple[int, int] | None:
    dimensions = _struct(regions, f"{_MWG}AppliedToDimensions")
    if dimensions is None:
        return None
    width, height = _number(dimensions, f"{_SIZE}w"), _number(dimensions, f"{_SIZE}h")
    return (round(width), round(height)) if width and height and min(width, height) >= 1 else None


def _fits(dimensions: tuple[int, int], size: tuple[int, int]) -> bool:
    return abs(math.log((dimensions[0] / dimensions[1]) / (size[0] / size[1]))) < _ASPECT_TOLERANCE


def _region(entry: ET.Element, applied_to: tuple[int, int], orientation: int) -> Region | None:
    if (_text(entry, f"{_MWG}Type") or "Face") != "Face":
        return None
    area = _struct(entry, f"{_MWG}Area")
    if area is None:
        return None
    x, y, width, height = (_number(area, f"{_AREA}{part}") for part in ("x", "y", "w", "h"))
    if x is None or y is None or width is None or height is None:
        return None
    if _text(area, f"{_AREA}unit") == "pixel":
        x, width = x / applied_to[0], width / applied_to[0]
        y, height = y / applied_to[1], height / applied_to[1]
    box = turned(x - width / 2, y - height / 2, x + width / 2, y + height / 2, orientation)
    if box is None:
        return None
    name, likeness = named(_text(entry, f"{_MWG}Name"))
    hints = {key: float(value) for key, value in _HINT.findall(_text(entry, f"{_MWG}Description") or "")}
    return Region(box, name, likeness, hints)


def _tagged(entry: ET.Element, orientation: int) -> Region | None:
    """Read a region as Microsoft's programs write it. A tag without a rectangle says who is there, not where."""
    try:
        left, top, width, height = (float(part) for part in (_text(entry, _RECTANGLE) or "").split(","))
    except ValueError:
        return None
    if not all(math.isfinite(part) for part in (left, top, width, height)):
        return None
    box = turned(left, top, left + width, top + height, orientation)
    if box is None:
        return None
    return Region(box, *named(_text(entry, f"{_MICROSOFT_REGION}PersonDisplayName")))


def named(written: str | None) -> tuple[str | None, float | None]:
    """Return the person that a region names, and the likeness that it asks for (see `Region`)."""
    if written is None:
        return None, None
    name = unicodedata.normalize("NFC", written)
    match = _LIKENESS.match(name)
    if match and float(match["likeness"]) <= 100:
        return match["name"], float(match["likeness"])
    return name, None


def turned(left: float, top: float, right: float, bottom: float, orientation: int) -> Box | None:
    """Return a stored box in the upright picture, cut off at the edges; None when nothing of it is inside.

    Args:
        left: its left edge, in fractions of the stored picture.
        top: its top edge.
        right: its right edge.
        bottom: its bottom edge.
        orientation: the EXIF orientation, 1 to 8.
    """
    corners = [_upright_point(x, y, orientation) for x, y in ((left, top), (right, bottom))]
    xs = sorted(min(max(x, 0.0), 1.0) for x, _ in corners)
    ys = sorted(min(max(y, 0.0), 1.0) for _, y in corners)
    box = Box(xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0])
    return box if box.width > 0 and box.height > 0 else None


def _upright_point(x: float, y: float, orientation: int) -> tuple[float, float]:
    """Return where a point of the stored picture lies once the EXIF orientation (1 to 8) is applied."""
    return {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }.get(orientation, (x, y))
