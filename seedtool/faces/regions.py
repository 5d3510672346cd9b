"""Face regions in a picture's XMP, as photo managers write them, moved along when the picture is turned.

Rekognition does not read them. The embedded emulator knows people by them.

Source: Metadata Working Group, "Guidelines for Handling Image Metadata", version 2.0, section 5.9. An area's x and y
are its centre. Any property may stand as an attribute or as an element, in the structure itself or in an
rdf:Description inside it.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
_AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
_SIZE = "{http://ns.adobe.com/xap/1.0/sType/Dimensions#}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_ORIENTATION = "{http://ns.adobe.com/tiff/1.0/}Orientation"

# Sizes of resized copies are rounded to whole pixels.
_ASPECT_TOLERANCE = 0.02


def turned(xmp: bytes, size: tuple[int, int], orientation: int) -> bytes | None:
    """Return an XMP packet as it has to be once the picture is turned upright; None when it cannot be read.

    Regions refer to the picture as stored. Where the turn swaps the sides and only the swapped ones fit the size that
    the regions were written for, their writer meant the picture as shown, and they stay.

    Args:
        xmp: the packet.
        size: the picture's width and height as stored, in pixels.
        orientation: its EXIF orientation, 1 to 8.
    """
    # no XMP has a document type; without one no entity can be declared, let alone expanded
    if b"<!DOCTYPE" in xmp or b"<!ENTITY" in xmp or b"\0" in xmp.strip(b"\0"):
        return None
    try:
        root = ET.fromstring(xmp.strip(b"\0 \t\r\n").decode())  # noqa: S314 -- see above
    except (ET.ParseError, ValueError):
        return None
    for regions in root.iter(f"{_MWG}Regions"):
        applied = next(regions.iter(f"{_MWG}AppliedToDimensions"), None)
        written_for = _numbers(applied, _SIZE, "wh") or size
        if orientation >= 5 and not _fit(written_for, size) and _fit(written_for[::-1], size):
            continue
        for area in regions.iter(f"{_MWG}Area"):
            _turn(area, written_for, orientation)
        if applied is not None and orientation >= 5:
            _write(applied, _SIZE, w=f"{written_for[1]:g}", h=f"{written_for[0]:g}")
    for element in root.iter():
        if _ORIENTATION in element.attrib:
            element.set(_ORIENTATION, "1")
        if element.tag == _ORIENTATION:
            element.text = "1"
    return ET.tostring(root)


def _turn(area: ET.Element, size: tuple[float, ...], orientation: int) -> None:
    numbers = _numbers(area, _AREA, "xywh")
    if numbers is None:
        return
    x, y, w, h = numbers
    if _read(area, f"{_AREA}unit") == "pixel":
        x, y, w, h = x / size[0], y / size[1], w / size[0], h / size[1]
    x, y = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }.get(orientation, (x, y))
    if orientation >= 5:
        w, h = h, w
    _write(area, _AREA, x=f"{x:.6f}", y=f"{y:.6f}", w=f"{w:.6f}", h=f"{h:.6f}", unit="normalized")


def _holders(node: ET.Element) -> Iterator[ET.Element]:
    yield node
    yield from node.findall(f"{_RDF}Description")


def _read(node: ET.Element, name: str) -> str | None:
    for holder in _holders(node):
        found = holder.get(name) or holder.findtext(name)
        if found:
            return found.strip()
    return None


def _numbers(node: ET.Element | None, namespace: str, names: str) -> tuple[float, ...] | None:
    """Return a structure's numbers; None when one is missing, none, or a size that is not positive."""
    if node is None:
        return None
    try:
        numbers = tuple(float(_read(node, namespace + name) or "") for name in names)
    except ValueError:
        return None
    sizes = [number for name, number in zip(names, numbers, strict=True) if name in "wh"]
    return numbers if all(map(math.isfinite, numbers)) and min(sizes) > 0 else None


def _write(node: ET.Element, namespace: str, **values: str) -> None:
    """Write properties where they stand, each as attribute or element; one that stood nowhere becomes an attribute."""
    for name, value in values.items():
        tag = namespace + name
        for holder in _holders(node):
            child = holder.find(tag)
            if tag in holder.attrib:
                holder.set(tag, value)
                break
            if child is not None:
                child.text = value
                break
        else:
            node.set(tag, value)


def _fit(dimensions: tuple[float, ...], size: tuple[int, int]) -> bool:
    return abs(math.log((dimensions[0] / dimensions[1]) / (size[0] / size[1]))) < _ASPECT_TOLERANCE
