"""The files that shape a schema, and the fingerprint: a hash of all that shapes it.

It is taken on every reset, so it reads alembic.ini itself and imports neither Alembic nor SQLAlchemy. With env.py and
the revisions count the project's modules that they import (see `files.imports`).
"""

import configparser
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from seedtool.errors import MigrationError, SettingsError
from seedtool.files.hashing import Digest, Hashes, files_below
from seedtool.files.imports import Imports
from seedtool.settings import Settings

#: Installed packages that decide what a revision does. PostgreSQL's version is among the server's facts.
_PACKAGES = ("alembic", "sqlalchemy")
#: This program's own code: its version tells what it does.
_OURS = Path(__file__).absolute().parents[1]
#: What Python, editors and operating systems leave beside the files: these files shape nothing.
_LEFTOVER = re.compile(
    r"__pycache__|.*\.py[cod]|\..*\.sw[a-px]|.*~|\.#.*|#.*#|\.DS_Store|4913|.*\.orig|\.(?:mypy|ruff|pytest)_cache|\.git"
    r"|\.?venv|\.tox|\.nox|node_modules|\.hypothesis|\.idea|\.vscode|.*\.egg-info"
)
#: What may be read and shapes nothing; of pyproject.toml [tool.alembic] counts.
_NO_MATTER = re.compile(rf"\..*|pyproject\.toml|site-packages|{_LEFTOVER.pattern}")
# A line that may begin [tool.alembic] or one of its keys. A mere dependency on Alembic does not match: parsing the
# whole file takes milliseconds.
_MAY_BE_THERE = re.compile(rb"""^[ \t\["'.]*(?:tool[ \t"'.]*)?alembic["' \t]*[.\]=]""", re.MULTILINE)
# Alembic's path_separator (alembic.config.Config._get_file_separator_char)
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


def schema_fingerprint(settings: Settings, server_facts: Mapping[str, str]) -> str:
    """Return the hex SHA-256 of all that shapes the schema that the migrations build.

    Args:
        settings: they name alembic.ini, its `-x` arguments and further files (`fingerprint_paths`).
        server_facts: the server's version, the database's locale, encoding and owner, and the like, by name.

    Raises:
        SettingsError: a glob of `fingerprint_paths` matches no file.
        MigrationError: there is no alembic.ini (or [tool.alembic]), it cannot be read, or a folder it names is missing.
    """
    digest = Digest()
    for parts in _parts(settings, server_facts):
        digest.add(*parts)
    return digest.hexdigest()


def project_files(settings: Settings) -> Iterator[Path]:
    """Yield the files that shape the schema: alembic.ini, all below the migrations' folders, `fingerprint_paths`.

    Raises:
        SettingsError, MigrationError: as `schema_fingerprint`.
    """
    table = _read_toml(settings.alembic_folder / "pyproject.toml", settings)
    return _files(settings, _read_ini(settings.alembic_ini, settings), table)


def uncounted(settings: Settings, used: Iterable[Path]) -> list[str]:
    """Return the files of a project that were used while its schema was built, and that no fingerprint counts.

    Hidden files do not matter: what is read of `.env` counts as variables.

    Args:
        settings: the project's.
        used: files that were run as modules or read.

    Returns:
        their paths as messages show them.
    """
    table = _read_toml(settings.alembic_folder / "pyproject.toml", settings)
    written = _read_ini(settings.alembic_ini, settings)
    files = {os.path.relpath(path, settings.root) for path in _files(settings, written, table)}
    files |= _imported(settings, _imports(settings, written, table), files).keys()
    own = {os.path.relpath(path, settings.root) for path in used if not path.is_relative_to(_OURS)}
    return sorted(name for name in own - files if not any(map(_NO_MATTER.fullmatch, Path(name).parts)))


def _parts(settings: Settings, server_facts: Mapping[str, str]) -> Iterator[tuple[bytes, ...]]:
    yield b"seedtool schema 1", *(f"{name} {_version(name)}".encode() for name in _PACKAGES)
    for name, value in sorted(server_facts.items()):
        yield b"server", name.encode(), value.encode()
    yield b"alembic -x", *(argument.encode() for argument in settings.alembic_x)
    if settings.build_command is not None:
        yield b"build command", settings.build_command.encode()
    # what was not there in the first release counts only where it is used: its templates are found
    if settings.alembic_name != "alembic":
        yield b"alembic -n", settings.alembic_name.encode()
    if settings.alembic_database is not None:
        yield b"alembic database", settings.alembic_database.encode()
    table = _read_toml(settings.alembic_folder / "pyproject.toml", settings)
    yield b"[tool.alembic]", json.dumps(table, sort_keys=True, default=str).encode()
    # a file that several settings name counts once; names are relative, so that every checkout finds the same template
    written = _read_ini(settings.alembic_ini, settings)
    files = {os.path.relpath(path, settings.root) for path in _files(settings, written, table)}
    for name in sorted(files):
        yield b"file", os.fsencode(name), (settings.root / name).read_bytes()
    imports = _imports(settings, written, table)
    imported = _imported(settings, imports, files)
    for name, digest in sorted(imported.items()):
        if name not in files:
            yield b"imported", os.fsencode(name), digest.encode()
    for name, value in imports.environment().items():
        yield b"variable", name.encode(), os.fsencode(value)


def _imports(settings: Settings, written: Mapping[str, str], table: Mapping[str, object]) -> Imports:
    folder = settings.alembic_folder
    paths = [folder / path for path in _listed("prepend_sys_path", written, table, folder)]
    return Imports(settings.root, settings.state_dir, [*paths, folder])


def _imported(settings: Settings, imports: Imports, files: Iterable[str]) -> dict[str, str]:
    """Return the project's files that others import, by their names, and the SHA-256 of each."""
    reached = imports.reached([settings.root / name for name in files if name.endswith(".py")])
    return {os.path.relpath(path, settings.root): digest for path, digest in reached.items()}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _files(settings: Settings, written: Mapping[str, str], table: Mapping[str, object]) -> Iterator[Path]:
    """Yield alembic.ini, every file in the folders that it (or [tool.alembic]) names, and `fingerprint_paths`."""
    if settings.build_command is None:
        yield from _files_of_alembic(settings, written, table)
    elif not settings.fingerprint_paths:
        raise SettingsError(
            "setting build_command: nothing says which files shape what it builds"
            f" (from {settings.origins.get('build_command', 'given')})",
            remedy='Name them in [tool.seedtool]: fingerprint_paths = ["*/migrations/**", "uv.lock"].',
            setting="build_command",
        )
    for pattern in settings.fingerprint_paths:
        matches = list(_matches(settings.root, pattern))
        if not matches:
            raise SettingsError(
                f"setting fingerprint_paths: {pattern[:80]} matches no file "
                f"(from {settings.origins.get('fingerprint_paths', 'given')})",
                remedy="Correct the glob, which starts in the project's folder, or take it out.",
                setting="fingerprint_paths",
                origin=settings.origins.get("fingerprint_paths"),
            )
        yield from matches


def _files_of_alembic(settings: Settings, written: Mapping[str, str], table: Mapping[str, object]) -> Iterator[Path]:
    ini, folder = settings.alembic_ini, settings.alembic_folder
    if ini.is_file():
        yield ini
    location = written.get("script_location") or table.get("script_location")
    if not location and (ini.parent / "env.py").is_file():  # as Flask-Migrate has it
        location = str(ini.parent)
    if not isinstance(location, str):
        raise no_script_location(settings)
    paths = [folder, *(folder / path for path in _listed("prepend_sys_path", written, table, folder))]
    for name in (location.replace("%(here)s", str(folder)), *_listed("version_locations", written, table, folder)):
        found = _resolve(name, paths)
        if not found.is_dir():
            raise MigrationError(
                f"the folder {settings.shown(found)} does not exist",
                remedy=f"Correct script_location or version_locations in {settings.shown(ini)}.",
                file=settings.shown(ini),
            )
        # the script folder may be the project's own, with its seeds: their rows have a fingerprint of their own
        yield from files_below(found, _LEFTOVER, {settings.seeds})
        if says_where_revisions_are(found):
            yield from _revisions(settings)


def says_where_revisions_are(folder: Path) -> bool:
    """Tell whether the env.py of a script folder may set `version_locations` while it runs."""
    env = folder / "env.py"
    return env.is_file() and b"version_locations" in env.read_bytes()


def no_script_location(settings: Settings) -> MigrationError:
    """Return the error for a project in which nothing says where the migrations are."""
    ini, section = settings.alembic_ini, settings.alembic_name
    inside = "" if section == "alembic" else f" in its section [{section}]"
    remedy = "Set alembic_ini in [tool.seedtool], or begin with `alembic init migrations`."
    if inside:
        remedy = "Correct alembic_name in [tool.seedtool]: it is the section that `alembic -n` takes."
    elif not ini.is_file() and (found := elsewhere(settings)):
        remedy = f'Set alembic_ini = "{found}" in [tool.seedtool].'
    elif not ini.is_file() and (settings.root / "manage.py").is_file():
        remedy = "Is this Django? `seedtool init` writes build_command into [tool.seedtool] (docs/guides/django.md)."
    return MigrationError(
        f"{settings.shown(ini)} does not exist or names no script_location{inside}, nor does [tool.alembic]",
        remedy=remedy,
        file=settings.shown(ini),
    )


def elsewhere(settings: Settings) -> str:
    """Return an alembic.ini that is one or two folders below the project's, as in `backend/` of a monorepo; or nothing.

    Returns:
        its path from the project's folder.
    """
    found = [
        path.relative_to(settings.root)
        for pattern in ("*/alembic.ini", "*/*/alembic.ini")
        for path in sorted(settings.root.glob(pattern))
        if not _LEFTOVER.fullmatch(path.relative_to(settings.root).parts[0])
    ]
    return found[0].as_posix() if found else ""


def _revisions(settings: Settings) -> Iterator[Path]:
    """Yield all revisions of a project whose env.py says only while it runs where they are."""
    known = Hashes(settings.state_dir / "revisions.json", lambda _, content: b"down_revision" in content, bool, least=0)
    for place, folders, names in os.walk(settings.root):  # links are not followed: one may lead back
        folder = Path(place)
        folders[:] = [name for name in folders if not _LEFTOVER.fullmatch(name) and folder / name != settings.seeds]
        yield from (folder / name for name in names if name.endswith(".py") and known.of(folder / name).answer)
    known.save()


def _read_ini(ini: Path, settings: Settings) -> Mapping[str, str]:
    if not ini.is_file():
        return {}
    parser = configparser.ConfigParser({"here": ini.parent.absolute().as_posix()})
    try:
        parser.read_string(ini.read_text(encoding="utf-8"))
        if not parser.has_section(settings.alembic_name):
            return {}
        keys = "script_location", "version_locations", "prepend_sys_path", "path_separator", "version_path_separator"
        section = settings.alembic_name
        return {key: parser.get(section, key) for key in keys if parser.has_option(section, key)}
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0]
        raise MigrationError(
            f"{settings.shown(ini)} cannot be read: {reason}", remedy="Correct the file.", file=settings.shown(ini)
        ) from error


def _read_toml(toml: Path, settings: Settings) -> Mapping[str, object]:
    """Return [tool.alembic]; the whole file is parsed only when it may be there."""
    content = toml.read_bytes() if toml.is_file() else b""
    if not _MAY_BE_THERE.search(content):
        return {}
    try:
        table = tomllib.loads(content.decode("utf-8")).get("tool", {}).get("alembic", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MigrationError(
            f"{settings.shown(toml)} cannot be read: {error}", remedy="Correct the file.", file=settings.shown(toml)
        ) from error
    return table if isinstance(table, dict) else {}


def _listed(key: str, written: Mapping[str, str], table: Mapping[str, object], here: Path) -> list[str]:
    """Split a list of paths by Alembic's rules (get_version_locations_list and its sibling in alembic.config)."""
    text = written.get(key)
    if not text:
        listed = table.get(key)
        return [str(name).replace("%(here)s", str(here)) for name in listed] if isinstance(listed, list) else []
    separator = written.get("path_separator")
    if separator is None and key == "version_locations":
        separator = written.get("version_path_separator")
    if separator is None:
        return [
            name for name in re.split(r", *|(?: +)" if key == "version_locations" else r", *|(?: +)|:", text) if name
        ]
    return [name.strip() for name in text.split(_SEPARATORS.get(separator, os.pathsep)) if name.strip()]


def _resolve(name: str, paths: list[Path]) -> Path:
    """Return the folder that a location names: a path, or `package:folder` (alembic.util.pyfiles)."""
    if Path(name).is_absolute() or ":" not in name:
        return paths[0] / name
    package, *inner = name.split(":")
    top, *below = package.split(".")
    # the project's own package first; nothing of it is imported
    place = next((path / top for path in paths if (path / top).is_dir()), paths[0] / top)
    if not place.is_dir():
        from importlib.util import find_spec

        spec = find_spec(top)
        place = Path(next(iter(spec.submodule_search_locations or ()), "")) if spec is not None else place
    return place.joinpath(*below, *inner)


def _no_glob(pattern: str, reason: str) -> SettingsError:
    return SettingsError(
        f"setting fingerprint_paths: {pattern[:80]} is no glob: {reason}",
        remedy="Write it as pathlib reads it, such as models/**/*.py.",
        setting="fingerprint_paths",
    )


def _matches(root: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that a glob matches, and those below the folders that it matches.

    Raises:
        SettingsError: it is no glob, or matches a folder around the project, in which is everything.
    """
    if any("**" in part and part != "**" for part in pattern.split("/")):  # Python 3.13 would read **models as *models
        raise _no_glob(pattern, "** stands alone between slashes")
    try:
        found = list(root.glob(pattern))
    except OSError:  # a name that is too long, for one: from Python 3.13 on, glob finds nothing, too
        return
    except (ValueError, IndexError, NotImplementedError) as error:
        raise _no_glob(pattern, str(error)) from error
    for path in found:
        if any(_LEFTOVER.fullmatch(part) for part in path.relative_to(root).parts):
            continue
        if path.is_dir():
            if root.resolve().parent.is_relative_to(path.resolve()):
                raise SettingsError(
                    f"setting fingerprint_paths: {pattern} matches {path.resolve()}, a folder around the project",
                    remedy="Name the folders beside the project that are meant: ../models/**/*.py.",
                    setting="fingerprint_paths",
                )
            yield from files_below(path, _LEFTOVER)
        elif path.is_file():  # not a pipe, whose reader would wait
            yield path
