"""External image ids: the id under which a photo is indexed, which we choose and the face service keeps."""

import re

from seedtool.settings.faces import EXTERNAL_ID

PLACEHOLDER_PREFIX = "placeholder:"

#: The application indexes a class photo's faces under this prefix while attendance is taken.
TEMPORARY_PREFIX = "temp_attendance_"

_NUMBER = "([0-9]{1,9})"


def is_temporary(external_image_id: str) -> bool:
    """Tell whether a face was indexed only for the duration of an attendance run."""
    return external_image_id.startswith(TEMPORARY_PREFIX)


def filled(template: str, person: str, number: int) -> str:
    """Return a template of a face binding, filled in.

    Args:
        template: it holds `{person}` and `{n}` (see `FaceBinding.id_template`).
        person: the person's key.
        number: the photo's number, counted from 1.
    """
    return template.replace("{n}", str(number)).replace("{person}", person)


def external_id_of(template: str, person: str, number: int) -> str:
    """Return the external image id of a person's photo.

    Args:
        template: `FaceBinding.id_template`, such as `{person}-photo-{n}`.
        person: the person's key.
        number: the photo's number, counted from 1.

    Raises:
        ValueError: the face service would not take it: only letters, digits and `_.-:` are allowed, at most 255.
    """
    external_id = filled(template, person, number)
    if not EXTERNAL_ID.fullmatch(external_id):
        msg = f"{external_id!r} cannot be an ExternalImageId: it may have letters, digits and _.-:, at most 255"
        raise ValueError(msg)
    return external_id


def person_pattern(template: str) -> str:
    """Return a regular expression that matches the ids of a template and captures the person.

    It means the same to Python and to PostgreSQL.
    """
    return f"^{_id_pattern(template, person='(.+)', number='[0-9]+')}$"


def number_of_id(template: str, external_id: str) -> int | None:
    """Return the photo's number in an id that was made by a template; None where it was not."""
    found = re.search(f"^{_id_pattern(template, person='.+', number=_NUMBER)}$", external_id)
    return int(found[1]) if found else None


def number_of_photo(template: str, key: str) -> int | None:
    """Return the photo's number in a key of the photo store that a template has named; None where there is none.

    The folders before it and the file's extension do not count: photos are moved and converted.

    Args:
        template: `FaceBinding.photo_template`, such as `students/{person}/photo-{n}.jpg`.
        key: the key.
    """
    last = template.rpartition("/")[2]
    name, beginning = (last, "(?:^|/)") if "{n}" in last else (template, "^")
    stem = re.escape(re.sub(r"\.\w+$", "", name)).replace(r"\{person\}", ".+").replace(r"\{n\}", _NUMBER)
    found = re.search(f"{beginning}{stem}(?:\\.\\w+)?$", key)
    return int(found[1]) if found else None


def _id_pattern(template: str, *, person: str, number: str) -> str:
    # the alphabet of ids has one character with a meaning in regular expressions
    return template.replace(".", "[.]").replace("{person}", person).replace("{n}", number)
