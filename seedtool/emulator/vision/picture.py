"""From bytes to an upright picture and the face regions that its metadata tells of, within AWS's limits."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps

from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.vision.regions import Region, face_regions

# "Guidelines and quotas in Amazon Rekognition": smallest side in pixels.
MINIMUM_SIDE = 80
# Pixels beyond which a small file is taken for an attack on memory rather than a photograph.
_MOST_PIXELS = 100_000_000
# A JPEG decodes several times faster at a fraction of its size, and nothing here looks closer than this.
_WORKING_SIDE = 1024
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        width: pixels, once upright, before any reduction.
        height: the same.
        image: upright, RGB, perhaps reduced.
        regions: face regions in the upright picture's coordinates.
    """

    width: int
    height: int
    image: Image.Image
    regions: list[Region]


def open_picture(content: bytes) -> Picture:
    """Decode a JPEG or PNG.

    Args:
        content: the file.

    Returns:
        The upright picture.

    Raises:
        ServiceError: InvalidImageFormatException for other formats and damaged files, ImageTooLargeException
            for too many pixels, InvalidParameterException for less than 80 pixels a side.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of big pictures and odd metadata
            return _decode(content)
    except Image.DecompressionBombError:
        raise _too_large() from None
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError):
        # Pillow's decoders raise all of these on damaged files.
        raise ServiceError("InvalidImageFormatException", "Request has invalid image format") from None


def _decode(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as source:
        size = source.size
        if size[0] * size[1] > _MOST_PIXELS:
            raise _too_large()
        if min(size) < MINIMUM_SIDE:
            # Rekognition's words; it does not say which parameter, or that the picture is too small.
            raise ServiceError("InvalidParameterException", "Request has invalid parameters")
        source.draft("RGB", (_WORKING_SIDE, _WORKING_SIDE))
        source.load()  # text chunks behind the pixels of a PNG are only known now
        orientation = source.getexif().get(_ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        xmp = source.info.get("xmp") or source.info.get("XML:com.adobe.xmp") or b""
        regions = face_regions(xmp.encode() if isinstance(xmp, str) else xmp, size, orientation)
        upright = ImageOps.exif_transpose(_rgb(source))
    width, height = size if orientation < 5 else (size[1], size[0])
    return Picture(width, height, upright, regions)


def _rgb(image: Image.Image) -> Image.Image:
    """The picture in RGB, transparent parts over white, still carrying its EXIF data."""
    exif = image.getexif()
    if image.mode.startswith("I"):
        image = image.point(lambda level: level / 257).convert("L")  # 16 bits a sample, which convert() clips
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    image = image.convert("RGB") if image.mode != "RGB" else image.copy()
    image.getexif().update(exif)
    return image


def _too_large() -> ServiceError:
    return ServiceError("ImageTooLargeException", "Image size is too large")
