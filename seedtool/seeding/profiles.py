"""Profiles: the named lists of seed sets in `profiles.toml`."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from seedtool.errors import ProfileError
from seedtool.settings.setting import no_control

FILE = "profiles.toml"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What `seedtool seed NAME` loads.

    Args:
        name: the profile's name.
        description: one line for `seedtool seed --list`.
        sets: folders below the seeds folder, loaded together.
        sync_faces: link the faces again after the rows are loaded.
        indexed: a file below the seeds folder that lists photos which were indexed before the database was made (see
            indexed.py); None for none.
        triggers: `off` writes the rows without the triggers of their tables.
        after: files of SQL below the seeds folder that run after the rows are written, in the same transaction.
        refresh_materialized_views: fill the materialized views that show the rows.
    """

    name: str
    description: str = ""
    sets: tuple[str, ...]
    sync_faces: bool = False
    indexed: str | None = None
    triggers: Literal["on", "off"] = "on"
    after: tuple[str, ...] = ()
    refresh_materialized_views: bool = True


_TYPES = {
    "description": "a text",
    "sets": "a list of folder names",
    "sync_faces": "true or false",
    "indexed": "a path",
    "triggers": '"on" or "off"',
    "after": "a list of paths",
    "refresh_materialized_views": "true or false",
}


def load_profiles(seeds: Path) -> dict[str, Profile]:
    """Read the profiles of a project, in the order of the file.

    Args:
        seeds: the folder that holds `profiles.toml` and the seed sets.

    Raises:
        ProfileError: the file is missing or cannot be read, a key is unknown or has the wrong type, or a set's
            folder does not exist.
    """
    path = seeds / FILE
    if path.exists() and not path.is_file():  # the reader of a pipe would wait
        raise ProfileError(f"{path} is not a file", remedy="Take it away, and run seedtool init.", file=FILE)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(
            f"{path} does not exist",
            remedy='Run seedtool init, or write into it:\n[local]\ndescription = "..."\nsets = ["local"]',
            file=FILE,
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProfileError(
            f"{path} cannot be read: {error}", remedy="Correct the file; it is TOML, in UTF-8.", file=FILE
        ) from error
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read: {error.strerror}", remedy="Give this user the right to read it.", file=FILE
        ) from error
    return {name: _profile(path, name, table) for name, table in document.items()}


def find_profile(profiles: Mapping[str, Profile], name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        ProfileError: there is none; the message lists the profiles there are.
    """
    if name in profiles:
        return profiles[name]
    known = ", ".join(profiles) or "none"
    close = difflib.get_close_matches(name, profiles, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise ProfileError(
        f"there is no profile {name} in {FILE}", remedy=f"{hint}The profiles are: {known}.", file=FILE, profile=name
    )


def _profile(path: Path, name: str, table: object) -> Profile:
    if not isinstance(table, dict):
        raise ProfileError(
            f"{path}: {name} is not a profile",
            remedy=f'Write [{name}] and below it sets = ["..."].',
            file=FILE,
            profile=name,
        )
    for key in table:
        if key not in _TYPES:
            close = difflib.get_close_matches(key, _TYPES, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(_TYPES)}."
            raise ProfileError(f"{path}, [{name}]: unknown key {key}", remedy=hint, file=FILE, profile=name, key=key)
    if "sets" not in table:
        raise ProfileError(
            f"{path}, [{name}]: the key sets is missing",
            remedy=f'Write sets = ["{name}"].',
            file=FILE,
            profile=name,
            key="sets",
        )
    for key, value in table.items():
        try:
            msgspec.convert(value, Profile.__annotations__[key])
        except msgspec.ValidationError:
            raise ProfileError(
                f"{path}, [{name}]: {key} is not {_TYPES[key]}",
                remedy=f"Correct {key}.",
                file=FILE,
                profile=name,
                key=key,
            ) from None
    profile = msgspec.convert({"name": name, **table}, Profile)
    _check_sets(path, profile)
    fault = no_control(profile.indexed or "")
    if fault:
        raise ProfileError(
            f"{path}, [{name}], indexed: {fault.message}", remedy=fault.remedy, file=FILE, profile=name, key="indexed"
        )
    _check_files(path, profile)
    return profile


def _check_files(path: Path, profile: Profile) -> None:
    """Check that the files which a profile names lie below the seeds folder."""
    named = [("after", each) for each in profile.after]
    if profile.indexed is not None:
        named.append(("indexed", profile.indexed))
    for key, file in named:
        if not is_below(file):
            raise ProfileError(
                f"{path}, [{profile.name}]: {key} names {file!r}, which lies outside {path.parent}",
                remedy="Name a file below the seeds folder.",
                file=FILE,
                profile=profile.name,
                key=key,
            )
    if profile.indexed is not None and not profile.sync_faces:
        raise ProfileError(
            f"{path}, [{profile.name}]: only a profile that syncs faces uses indexed, and this one does not",
            remedy="Write sync_faces = true, or remove indexed.",
            file=FILE,
            profile=profile.name,
            key="indexed",
        )


def is_below(name: str) -> bool:
    """Tell whether a name means something below the seeds folder: not that folder itself, nor anything outside."""
    path = Path(name)
    return bool(path.parts) and ".." not in path.parts and not path.is_absolute()


def _check_sets(path: Path, profile: Profile) -> None:
    """Check that every set is a folder below the seeds folder, and that none is named twice."""
    seeds = path.parent
    if not profile.sets:
        raise ProfileError(
            f"{path}, [{profile.name}]: sets is empty",
            remedy="Name the folders to load.",
            file=FILE,
            profile=profile.name,
            key="sets",
        )
    for place, name in enumerate(profile.sets):
        fault = no_control(name)
        if fault:
            raise ProfileError(
                f"{path}, [{profile.name}], sets: {fault.message}",
                remedy=fault.remedy,
                file=FILE,
                profile=profile.name,
                key="sets",
            )
        if name in profile.sets[:place]:
            raise ProfileError(
                f"{path}, [{profile.name}]: sets names {name} twice",
                remedy="Name it once.",
                file=FILE,
                profile=profile.name,
                key="sets",
            )
        folder = seeds / name
        if not is_below(name):
            raise ProfileError(
                f"{path}, [{profile.name}]: the set {name!r} lies outside {seeds}",
                remedy="A set is a folder below the seeds folder.",
                file=FILE,
                profile=profile.name,
                key="sets",
            )
        if not folder.is_dir():
            folders = [each.name for each in sorted(seeds.iterdir()) if each.is_dir() and each.name[0] not in "._"]
            close = difflib.get_close_matches(name, folders, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Make the folder {folder}, or remove {name} from sets."
            raise ProfileError(
                f"{path}, [{profile.name}]: the set {name} has no folder {folder}",
                remedy=hint,
                file=FILE,
                profile=profile.name,
                key="sets",
            )
