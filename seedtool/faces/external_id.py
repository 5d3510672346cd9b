"""External image ids: the name under which a photo is indexed, chosen by us and kept by Rekognition."""

import re

#: Rekognition's alphabet for ExternalImageId, 1 to 255 characters (source: the service model).
PATTERN = re.compile(r"[a-zA-Z0-9_.\-:]{1,255}")

PLACEHOLDER_PREFIX = "placeholder:"

#: The application indexes a class photo's faces under this prefix while attendance is taken.
TEMPORARY_PREFIX = "temp_attendance_"


def for_photo(student_id: str, number: int) -> str:
    """Return the external image id of a student's photo, `{student_id}-photo-{number}`.

    Args:
        student_id: the student's key; only letters, digits and `_.-:` survive the trip to Rekognition.
        number: the photo's number, counted from 1.

    Raises:
        ValueError: the result is not in Rekognition's alphabet.
    """
    external_image_id = f"{student_id}-photo-{number}"
    if not PATTERN.fullmatch(external_image_id):
        msg = f"{external_image_id!r} cannot be an ExternalImageId: only letters, digits and _.-: are allowed"
        raise ValueError(msg)
    return external_image_id


def is_temporary(external_image_id: str) -> bool:
    """Tell whether a face was indexed only for the duration of an attendance run."""
    return external_image_id.startswith(TEMPORARY_PREFIX)
