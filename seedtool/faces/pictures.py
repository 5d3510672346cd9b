"""A picture that a face service takes: JPEG or PNG, at least 80 pixels a side, at most 5 MiB."""

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from seedtool.errors import ImageRefused
from seedtool.faces import regions
from seedtool.faces.port import Box

if TYPE_CHECKING:
    from PIL.Image import Image

#: Bytes that IndexFaces takes in a request (source: the service model).
LIMIT = 5 * 1024 * 1024

#: Pixels a side at least (source: the developer guide, guidelines and quotas).
SMALLEST_SIDE = 80

#: Pixels in all at most; a camera's largest pictures have 100 million. Beyond, a few kB may unpack to gigabytes.
MOST_PIXELS = 120_000_000

#: Pixels of the longer side when a picture has to be made smaller; faces of 40 pixels at 1920 stay above that.
LONGER_SIDE = 4096

#: Around a face that is cut out, a part of its box on each side: people are recognised by their hair, too.
_MARGIN = 0.35

#: The first bytes of formats that people try → their name.
_OTHERS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
)

#: What a host answers in place of a photo: how it begins, without blanks and in small letters → what it is. XML is S3's
#: answer when something is wrong, and JSON an application's.
_ANSWERS = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
    (b"<error", "XML"),
    (b"{", "JSON"),
)

#: Bytes that are looked at to tell what a file is.
_BEGINNING = 512


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that may be sent.

    Args:
        data: its bytes, at most the limit.
        content_type: `image/jpeg` or `image/png`.
        width: pixels, as stored.
        height: pixels, as stored.
        changed: it was encoded anew; `data` are not the bytes that were given.
    """

    data: bytes
    content_type: str
    width: int
    height: int
    changed: bool


def prepare_image(data: bytes, limit: int = LIMIT, *, jpeg: bool = False, keep_regions: bool = False) -> Picture:
    """Check a picture and make it fit.

    A picture that fits stays as it is. Rekognition itself applies the EXIF orientation, so its boxes are those of the
    upright picture. A picture that is too heavy is turned upright, scaled down and encoded anew, without metadata. A
    JPEG is never unpacked larger than is needed: at an eighth of its sides to see that it is whole, and under twice
    `LONGER_SIDE` to be scaled.

    Args:
        data: the file's bytes.
        limit: the most bytes that may be sent.
        jpeg: turn a PNG into a JPEG.
        keep_regions: keep the names and face regions that photo managers write into a picture when it is encoded anew.
            The embedded emulator knows people by them; a real service is not sent them.

    Raises:
        ImageRefused: wrong format, truncated, too small, or too many pixels.
    """
    image = _open(data)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageRefused(
            f"the picture has {width} x {height} pixels, more than {MOST_PIXELS // 1_000_000} million",
            remedy="Scale it down.",
        )
    if min(width, height) < SMALLEST_SIDE:
        raise ImageRefused(
            f"the picture has {width} x {height} pixels; Rekognition needs {SMALLEST_SIDE} a side",
            remedy="Use a larger picture; a face should have 40 pixels or more.",
        )
    kind = "image/png" if image.format == "PNG" else "image/jpeg"
    as_it_is = len(data) <= limit and not (jpeg and kind == "image/png")
    # libjpeg can unpack at 1/2, 1/4 and 1/8 while reading; the largest of these that is no smaller than asked is taken
    image.draft(None, (1, 1) if as_it_is else _longest(width, height))
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:  # what Pillow's decoders raise
        raise ImageRefused("the picture is truncated or damaged", remedy="Export or copy it again.") from error
    if as_it_is:
        return Picture(data=data, content_type=kind, width=width, height=height, changed=False)
    return _encode(image, (width, height), limit, keep_regions=keep_regions)


def _longest(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LONGER_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _open(data: bytes) -> "Image":
    """Open the picture by its content, whatever its file is called."""
    # the formats' own classes: Image.open would load 40 other formats, and warn of large pictures in its own way
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    try:
        if data.startswith(b"\xff\xd8\xff"):
            return JpegImageFile(io.BytesIO(data))
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return PngImageFile(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise ImageRefused("the picture is truncated or damaged", remedy="Export or copy it again.") from error
    if not data:
        raise ImageRefused("the file is empty", remedy="Export or copy it again.")
    beginning = data[:_BEGINNING].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    answer = next((name for start, name in _ANSWERS if beginning.startswith(start)), None)
    if answer == "XML" and b"<svg" in beginning:
        answer = None
    if answer is not None:
        raise ImageRefused(
            f"the file is {answer}, not JPEG or PNG",
            remedy="Whoever put it there got an error message in place of the photo: put the photo there again.",
        )
    name = _name_of(data)
    if name is None:
        raise ImageRefused(
            "the file is of an unknown format, not JPEG or PNG",
            remedy="Open it in a picture program. If it shows the photo, save it as JPEG; else copy the photo again.",
        )
    raise ImageRefused(f"the file is {name}, not JPEG or PNG", remedy="Save it as JPEG.")


def _name_of(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}.get(data[8:12], "a video or HEIF")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data.lstrip().startswith(b"<?xml"):
        return "SVG"
    return next((name for start, name in _OTHERS if data.startswith(start)), None)


def _encode(image: "Image", stored: tuple[int, int], limit: int, *, keep_regions: bool) -> Picture:
    """Encode a picture anew; `stored` is its size in pixels before it was unpacked."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    upright = ImageOps.exif_transpose(image)
    extra: dict[str, Any] = {}
    if image.info.get("icc_profile"):
        extra["icc_profile"] = image.info["icc_profile"]
    xmp = _xmp(image, stored) if keep_regions else None
    if xmp and len(xmp) < 65_000:  # one JPEG segment
        extra["xmp"] = xmp
    plain = _on_white(upright)
    if plain.mode != "RGB":
        extra.pop("icc_profile", None)  # it describes the colours that were, such as CMYK
        plain = plain.convert("RGB")
    side = min(max(plain.size), LONGER_SIDE) if image.format == "JPEG" else max(plain.size)
    while True:
        scale = side / max(plain.size)
        size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
        if min(size) < SMALLEST_SIDE:
            raise ImageRefused(
                f"the picture is larger than {limit} bytes even when it is scaled down",
                remedy="Scale it down, or save it in lower quality.",
            )
        scaled = plain if size == plain.size else plain.resize(size, Resampling.LANCZOS)
        buffer = io.BytesIO()
        # info would carry the EXIF orientation along; what is kept is given explicitly
        scaled.info.clear()
        scaled.save(buffer, "JPEG", quality=92, **extra)
        if buffer.tell() <= limit:
            return Picture(
                data=buffer.getvalue(), content_type="image/jpeg", width=size[0], height=size[1], changed=True
            )
        side = min(round(side * 0.8), LONGER_SIDE)


def _xmp(image: "Image", stored: tuple[int, int]) -> bytes | None:
    """Return the picture's XMP packet as it is to be once the picture is upright."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not xmp:
        return None
    packet: bytes = xmp.encode() if isinstance(xmp, str) else xmp
    orientation = image.getexif().get(0x0112, 1)
    return regions.turned(packet, stored, orientation) if orientation in range(2, 9) else packet


def _on_white(image: "Image") -> "Image":
    """Return the picture without transparency, and with 8 bits a channel."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey; convert() would cut them off instead of scaling
        return image.convert("I").point([value // 256 for value in range(65536)], "L")
    if "transparency" not in image.info and image.mode not in {"RGBA", "LA", "PA", "La", "RGBa"}:
        return image
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB")


# Pictures for people to look at: upright, without metadata, and never larger than asked.


def cut_out(data: bytes, box: Box, side: int) -> bytes:
    """Return a face with a margin as a JPEG whose longer side has at most `side` pixels.

    Args:
        data: the picture's file.
        box: where the face is on the upright picture.
        side: pixels.

    Raises:
        ImageRefused: the picture cannot be read, has too many pixels, or the box is outside it.
    """
    width, height = box.width * (1 + 2 * _MARGIN), box.height * (1 + 2 * _MARGIN)
    image = _upright(data, lambda size: side / max(1.0, width * size[0], height * size[1]))
    left, top = box.left - _MARGIN * box.width, box.top - _MARGIN * box.height
    edges = (
        max(0, math.floor(left * image.width)),
        max(0, math.floor(top * image.height)),
        min(image.width, math.ceil((left + width) * image.width)),
        min(image.height, math.ceil((top + height) * image.height)),
    )
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise ImageRefused("the face's box is outside the picture", remedy="Correct the row's bounding_box.")
    return _small_jpeg(image.crop(edges), side)


def framed(data: bytes, box: Box, side: int) -> bytes:
    """Return the whole picture as a JPEG of at most `side` pixels a side, with a frame around the face.

    Args:
        data: the picture's file.
        box: where the face is on the upright picture.
        side: pixels.

    Raises:
        ImageRefused: the picture cannot be read, or has too many pixels.
    """
    from PIL import ImageDraw

    image = _upright(data, lambda size: side / max(size))
    image.thumbnail((side, side))
    draw = ImageDraw.Draw(image)
    line = max(2, max(image.size) // 300)
    left, top = box.left * image.width, box.top * image.height
    right, bottom = left + box.width * image.width, top + box.height * image.height
    # a white line between black ones is seen on any picture
    for grow, color, wide in ((2 * line, "black", 3 * line), (line, "white", line)):
        draw.rectangle((left - grow, top - grow, right + grow, bottom + grow), outline=color, width=wide)
    return _small_jpeg(image, side)


def _upright(data: bytes, scale: Callable[[tuple[int, int]], float]) -> "Image":
    """Return the picture upright and in RGB, unpacked no larger than its size times `scale(size)` needs."""
    from PIL import ImageOps

    image = _open(data)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageRefused(
            f"the picture has {width} x {height} pixels, more than {MOST_PIXELS // 1_000_000} million",
            remedy="Scale it down.",
        )
    try:
        turned = image.getexif().get(0x0112, 1) in range(5, 9)
        factor = min(1.0, scale((height, width) if turned else (width, height)))
        image.draft(None, (max(1, math.ceil(width * factor)), max(1, math.ceil(height * factor))))
        return _on_white(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise ImageRefused("the picture is truncated or damaged", remedy="Export or copy it again.") from error


def _small_jpeg(image: "Image", side: int) -> bytes:
    image.thumbnail((side, side))
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
