"""Opens a picture: decodes it within AWS's limits, turns it upright and reads the face regions of its metadata."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps

from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.regions import Region, face_regions

# "Guidelines and quotas in Amazon Rekognition": pixels of the shorter side.
MINIMUM_SIDE = 80
# A small file with more pixels than this is taken for an attack on our memory.
_MOST_PIXELS = 100_000_000
# Pixels a side that are enough for us. A JPEG decodes several times faster at a fraction of its size.
_WORKING_SIDE = 1024
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        image: the upright picture in RGB, with fewer pixels when it is large.
        regions: the face regions of the upright picture; None when its metadata does not say who is there.
    """

    width: int
    height: int
    image: Image.Image
    regions: list[Region] | None


def open_picture(content: bytes, sidecar: bytes | None = None) -> Picture:
    """Open a JPEG or PNG file.

    Args:
        content: the file's bytes.
        sidecar: the XMP packet beside the file, which counts where the file itself has no face regions.

    Returns:
        The upright picture.

    Raises:
        ServiceError: InvalidImageFormatException for another format or a damaged file, ImageTooLargeException for
            too many pixels, InvalidParameterException for a side below 80 pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large pictures and odd metadata
            return _decode(content, sidecar)
    except Image.DecompressionBombError:
        raise _too_large() from None
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError):
        # Pillow's decoders raise any of these on damaged files.
        raise ServiceError("InvalidImageFormatException", "Request has invalid image format") from None


def _decode(content: bytes, sidecar: bytes | None) -> Picture:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as source:
        size = source.size
        if size[0] * size[1] > _MOST_PIXELS:
            raise _too_large()
        if min(size) < MINIMUM_SIDE:
            # Rekognition's words. They name neither the parameter nor the reason.
            raise ServiceError("InvalidParameterException", "Request has invalid parameters")
        source.draft("RGB", (_WORKING_SIDE, _WORKING_SIDE))
        source.load()  # a PNG may have text chunks behind its pixels
        orientation = source.getexif().get(_ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        xmp = source.info.get("xmp") or source.info.get("XML:com.adobe.xmp") or b""
        regions = face_regions(xmp.encode() if isinstance(xmp, str) else xmp, size, orientation)
        if regions is None and sidecar is not None:
            regions = face_regions(sidecar, size, orientation)
        image = _rgb(source)
        upright = image if orientation == 1 else ImageOps.exif_transpose(image)
    width, height = size if orientation < 5 else (size[1], size[0])
    return Picture(width, height, upright, regions)


def _rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to RGB, transparent parts over white. The EXIF data stays."""
    exif = image.getexif()
    if image.mode.startswith("I"):
        image = image.point(lambda level: level / 257).convert("L")  # 16 bits a sample; convert() alone would clip them
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
        image.getexif().update(exif)
    if image.mode != "RGB":
        image = image.convert("RGB")
        image.getexif().update(exif)
    return image


def _too_large() -> ServiceError:
    return ServiceError("ImageTooLargeException", "Image size is too large")
