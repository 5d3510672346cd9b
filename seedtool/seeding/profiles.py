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


#: Words that stand behind `seedtool seed` where a profile's name does.
RESERVED = ("load", "unload", "recipe")


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
    if name in RESERVED:
        raise ProfileError(
            f"{path}: no profile may be called {name}: seedtool seed {name} is a command",
            remedy=f"Give the profile another name, such as [{name}-rows].",
            file=FILE,
            profile=name,
        )
    for key in table:
        if key not in _TYPES:
            close = difflib.get_close_matches(key, _TYPES, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(_TYPES)}."
            raise _fault(path, name, key, f"unknown key {key}", hint)
    if "sets" not in table:
        raise _fault(path, name, "sets", "the key sets is missing", f'Write sets = ["{name}"].')
    for key, value in table.items():
        try:
            msgspec.convert(value, Profile.__annotations__[key])
        except msgspec.ValidationError:
            raise _fault(path, name, key, f"{key} is not {_TYPES[key]}", f"Correct {key}.") from None
    profile = msgspec.convert({"name": name, **table}, Profile)
    _check_sets(path, profile)
    _refuse_control(path, name, "indexed", profile.indexed or "")
    _check_files(path, profile)
    return profile


def _fault(path: Path, profile: str, key: str, fault: str, remedy: str) -> ProfileError:
    """Return the error for what is wrong with a key of a profile."""
    return ProfileError(f"{path}, [{profile}]: {fault}", remedy=remedy, file=FILE, profile=profile, key=key)


def _refuse_control(path: Path, profile: str, key: str, text: str) -> None:
    if (fault := no_control(text)) is not None:
        raise ProfileError(
            f"{path}, [{profile}], {key}: {fault.message}", remedy=fault.remedy, file=FILE, profile=profile, key=key
        )


def _check_files(path: Path, profile: Profile) -> None:
    """Check that the files which a profile names lie below the seeds folder."""
    named = [("after", each) for each in profile.after]
    if profile.indexed is not None:
        named.append(("indexed", profile.indexed))
    for key, file in named:
        if not is_below(file):
            raise _fault(
                path,
                profile.name,
                key,
                f"{key} names {file!r}, which lies outside {path.parent}",
                "Name a file below the seeds folder.",
            )
    if profile.indexed is not None and not profile.sync_faces:
        raise _fault(
            path,
            profile.name,
            "indexed",
            "only a profile that syncs faces uses indexed, and this one does not",
            "Write sync_faces = true, or remove indexed.",
        )


def is_below(name: str) -> bool:
    """Tell whether a name means something below the seeds folder: not that folder itself, nor anything outside."""
    path = Path(name)
    return bool(path.parts) and ".." not in path.parts and not path.is_absolute()


def _check_sets(path: Path, profile: Profile) -> None:
    """Check that every set is a folder below the seeds folder, and that none is named twice."""
    seeds = path.parent
    if not profile.sets:
        raise _fault(path, profile.name, "sets", "sets is empty", "Name the folders to load.")
    for place, name in enumerate(profile.sets):
        _refuse_control(path, profile.name, "sets", name)
        if name in profile.sets[:place]:
            raise _fault(path, profile.name, "sets", f"sets names {name} twice", "Name it once.")
        folder = seeds / name
        if not is_below(name):
            raise _fault(
                path,
                profile.name,
                "sets",
                f"the set {name!r} lies outside {seeds}",
                "A set is a folder below the seeds folder.",
            )
        if not folder.is_dir():
            folders = [each.name for each in sorted(seeds.iterdir()) if each.is_dir() and each.name[0] not in "._"]
            close = difflib.get_close_matches(name, folders, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Make the folder {folder}, or remove {name} from sets."
            raise _fault(path, profile.name, "sets", f"the set {name} has no folder {folder}", hint)
