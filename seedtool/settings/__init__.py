"""Settings: built once, frozen, passed explicitly. A flag beats the environment beats `.env` beats pyproject.toml.

A setting is one annotated field (see `setting.Setting`) in the file of its wing. A struct has one base, so the wings'
structs build on each other: database, project, cache, faces, backfill, refresh, and last `Settings`, which is all of
them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from seedtool.errors import SettingsError
from seedtool.files.shown import shown_path
from seedtool.settings.backfill import Backfill
from seedtool.settings.database import slug
from seedtool.settings.faces import COLLECTION_ID, FaceBinding
from seedtool.settings.refresh import Refresh, RefreshSettings
from seedtool.settings.setting import Setting, converted, redacted, settings_of
from seedtool.settings.sources import TABLE, find_root, read, surroundings, with_line

__all__ = [
    "COLLECTION_ID",
    "SETTINGS",
    "Backfill",
    "FaceBinding",
    "Refresh",
    "Setting",
    "Settings",
    "find_root",
    "load",
    "redacted",
]


class Settings(RefreshSettings, frozen=True, kw_only=True):
    """Everything that can be set, with its default.

    Args:
        root: the project's folder.
        aws_variables: the `AWS_...` of `.env` that the environment does not have.
        origins: where each setting's value came from, by its name.
    """

    root: Path
    aws_variables: dict[str, str] = msgspec.field(default_factory=dict)
    origins: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def state_dir(self) -> Path:
        """The folder of this project's server, emulator and photos: outside the working tree."""
        import hashlib  # 2 ms that completion does not need

        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:10]
        return self.home / f"{slug(self.root.name)}-{digest}"

    @property
    def test_server_dir(self) -> Path:
        """The folder of the embedded server that tests have for themselves (`test_server`)."""
        return self.state_dir.with_name(f"{self.state_dir.name}-tests")

    @property
    def alembic_folder(self) -> Path:
        """The folder in which `alembic` is called: alembic.ini's, or the project's where `flask db` is called instead.

        Flask-Migrate's alembic.ini lies beside env.py and names no script_location.
        """
        folder = self.alembic_ini.parent
        if not self.alembic_ini.is_file():
            return self.root
        if (folder / "env.py").is_file() and b"\nscript_location" not in b"\n" + self.alembic_ini.read_bytes():
            return self.root
        return folder

    def shown(self, path: Path) -> str:
        """Return a path as messages show it: from the project's folder, when it lies there."""
        return shown_path(path, self.root)


_TYPED = settings_of(Settings)

#: All settings by name: what `seedtool config` and docs/settings.md show.
SETTINGS: dict[str, Setting] = {key: setting for key, (_, setting) in _TYPED.items()}


def load(
    start: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Build the settings of the project that `start` lies in.

    Args:
        start: a folder of the project; the working folder when None (see `find_root`).
        environ: the environment; `os.environ` when None. An empty value counts as not set.
        flags: values given on the command line, by key; None values are ignored.

    Raises:
        SettingsError: a value is wrong; the message names the key, the fault and where it came from.

    Example:
        >>> seedtool.load_settings().collection
        'eduguard-school-default'
    """
    environ = os.environ if environ is None else environ
    root = find_root((start or Path.cwd()).resolve())
    sources = read(root, SETTINGS, environ, flags or {})
    at = surroundings(root, sources)
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, "default")
    for key, (hint, setting) in _TYPED.items():
        given = next(sources.candidates(key, setting), None)
        if given is not None:
            try:
                values[key] = converted(key, hint, setting, given[0], origin=given[1], root=root)
            except SettingsError as error:
                raise (with_line(error, root, key) if given[1] == TABLE else error) from None
            origins[key] = given[1]
        elif setting.found is not None:
            values[key] = setting.found(at)
    aws_variables = {
        name: value for name, value in sources.dotenv.items() if name.startswith("AWS_") and name not in environ
    }
    return Settings(root=root, aws_variables=aws_variables, origins=origins, **cast("dict[str, Any]", values))
