"""Face regions in a picture's metadata (XMP, ``mwg-rs:Regions``), as photo managers write them.

The names and the meaning of the fields are those of the Metadata Working Group's "Guidelines for Handling
Image Metadata", version 2.0, section 5.9: an area is given by its *centre* and its size, each a part of the
picture's width or height. RDF allows several spellings of the same statement, and programs differ:
digiKam and Lightroom put simple fields into attributes, exiftool and Apple's Photos write each as an element.
"""

from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}


class Region(NamedTuple):
    """One face in a picture.

    Attributes:
        name: The person's full name; empty for a face without a name.
        box: Left, top, right and bottom in pixels.
    """

    name: str
    box: tuple[float, float, float, float]


def packet(regions: list[Region], size: tuple[int, int], *, attributes: bool) -> bytes:
    """Write the XMP packet of a picture.

    Args:
        regions: Its faces.
        size: Its width and height in pixels.
        attributes: Spell fields as attributes (digiKam, Lightroom), else as elements (exiftool, Apple).

    Returns:
        The packet, to be embedded as it is.
    """
    spell = _as_attributes if attributes else _as_elements
    spaces = "\n".join(f'    xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if prefix != "rdf")
    body = "\n".join(spell(region, size) for region in regions)
    width, height = size
    if attributes:
        applied = f'<mwg-rs:AppliedToDimensions stDim:w="{width}" stDim:h="{height}" stDim:unit="pixel"/>'
    else:
        applied = (
            '<mwg-rs:AppliedToDimensions rdf:parseType="Resource">'
            f"<stDim:w>{width}</stDim:w><stDim:h>{height}</stDim:h><stDim:unit>pixel</stDim:unit>"
            "</mwg-rs:AppliedToDimensions>"
        )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">
  <rdf:Description rdf:about=""
{spaces}>
   <mwg-rs:Regions rdf:parseType="Resource">
    {applied}
    <mwg-rs:RegionList>
     <rdf:Bag>
{body}
     </rdf:Bag>
    </mwg-rs:RegionList>
   </mwg-rs:Regions>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def area(region: Region, size: tuple[int, int]) -> tuple[str, str, str, str]:
    """Return a region's centre, width and height as they are written: fractions of the picture."""
    left, top, right, bottom = region.box
    width, height = size
    parts = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    # Four decimals are a tenth of a pixel here. More would differ between machines, whose cosines differ.
    x, y, w, h = (f"{part:.4f}" for part in parts)
    return x, y, w, h


def _fields(region: Region, size: tuple[int, int]) -> dict[str, str]:
    return dict(zip("xywh", area(region, size), strict=True)) | {"unit": "normalized"}


def _as_attributes(region: Region, size: tuple[int, int]) -> str:
    fields = " ".join(f'stArea:{key}="{value}"' for key, value in _fields(region, size).items())
    name = f"mwg-rs:Name={quoteattr(region.name)} " if region.name else ""
    return f"""      <rdf:li>
       <rdf:Description {name}mwg-rs:Type="Face">
        <mwg-rs:Area {fields}/>
       </rdf:Description>
      </rdf:li>"""


def _as_elements(region: Region, size: tuple[int, int]) -> str:
    fields = "".join(f"<stArea:{key}>{value}</stArea:{key}>" for key, value in _fields(region, size).items())
    return f"""      <rdf:li rdf:parseType="Resource">
       <mwg-rs:Name>{escape(region.name)}</mwg-rs:Name>
       <mwg-rs:Type>Face</mwg-rs:Type>
       <mwg-rs:Area rdf:parseType="Resource">{fields}</mwg-rs:Area>
      </rdf:li>"""
