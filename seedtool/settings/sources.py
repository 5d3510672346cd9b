"""Where settings come from. A flag beats the environment beats `.env` beats pyproject.toml beats the default."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.setting import Setting, Surroundings, stripped

TABLE = "pyproject.toml, [tool.seedtool]"


class Sources(msgspec.Struct, frozen=True):
    """What each source gives, read once."""

    flags: Mapping[str, object]
    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    name: str | None
    table: Mapping[str, object]

    def candidates(self, key: str, setting: Setting) -> Iterator[tuple[object, str]]:
        """Yield the values given for a setting, the strongest first, each with where it came from.

        A variable that is empty, or holds white space alone, counts as not set.
        """
        if self.flags.get(key) is not None:
            yield self.flags[key], "command line"
        for name in setting.variables:
            if self.environ.get(name, "").strip():
                yield self.environ[name], f"environment variable {name}"
        for name in setting.variables:
            if self.dotenv.get(name):
                yield self.dotenv[name], f"{name} in .env"
        if setting.in_ci is not None and self.environ.get("CI", "").strip().lower() in {"true", "1"}:
            yield setting.in_ci, "environment variable CI"
        if key in self.table:
            yield self.table[key], TABLE


def read(
    root: Path, settings: Mapping[str, Setting], environ: Mapping[str, str], flags: Mapping[str, object]
) -> Sources:
    """Read `.env` and pyproject.toml of the project at `root`.

    Raises:
        SettingsError: a file cannot be read, or [tool.seedtool] holds a key that is no setting, or a secret.
    """
    dotenv = _read_dotenv(root / ".env", {name for each in settings.values() for name in each.variables})
    name, table = _read_pyproject(root / "pyproject.toml", settings)
    return Sources(flags, environ, dotenv, name, table)


def with_line(error: SettingsError, root: Path, key: str) -> SettingsError:
    """Return an error about [tool.seedtool] with the line of pyproject.toml, where it can be found.

    Args:
        error: what is wrong; its `path` leads into the setting's value.
        root: the project's folder.
        key: the setting.
    """
    inner = error.path or tuple(str(error.place.get("key", "")).split("."))
    line = _line_of((root / "pyproject.toml").read_text(encoding="utf-8"), (key, *inner))
    if line is None:
        return error
    place = f"pyproject.toml:{line}"
    message = error.message.replace("pyproject.toml, ", f"{place}, ")
    if message == error.message:
        message += f" ({place}, [tool.seedtool])"
    found = SettingsError(message, remedy=error.remedy)
    found.place = {**error.place, "file": "pyproject.toml", "line": line}
    return found


def _line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """Return the line in which a value of [tool.seedtool] is written, or the nearest table around it, from 1."""
    lines: dict[tuple[str | int, ...], int] = {}
    section: tuple[str | int, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", line):
            section = tuple(re.findall(r"[^\s.\"']+", header[2]))
            if header[1] == "[[":
                section = (*section, sum(each[:-1] == section for each in lines))
            lines.setdefault(section, number)
        elif assigned := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            lines.setdefault((*section, *re.findall(r"[^\s.\"']+", assigned[1])), number)
    while path:
        if found := lines.get(("tool", "seedtool", *path)):
            return found
        path = path[:-1]
    return None


def surroundings(root: Path, sources: Sources) -> Surroundings:
    """Return what defaults are computed from."""
    return Surroundings(root, sources.name, sources.environ)


def find_root(start: Path) -> Path:
    """Return the project's folder.

    It is the nearest folder, upwards from `start`, whose pyproject.toml has [tool.seedtool]; else the nearest one with
    a pyproject.toml or an alembic.ini; else `start` itself.
    """
    folders = (start, *start.parents)
    for folder in folders:
        if _has_our_table(folder / "pyproject.toml"):
            return folder
    for folder in folders:
        if (folder / "pyproject.toml").is_file() or (folder / "alembic.ini").is_file():
            return folder
    return start


def _has_our_table(path: Path) -> bool:
    """Return whether a pyproject.toml has our table. One that cannot be parsed counts: `load` reports its fault."""
    try:
        return re.search(rb"^\s*\[+\s*tool\s*\.\s*seedtool\b", path.read_bytes(), flags=re.MULTILINE) is not None
    except OSError:
        return False


def _read_pyproject(path: Path, settings: Mapping[str, Setting]) -> tuple[str | None, dict[str, object]]:
    """Return the project's name and the table [tool.seedtool]."""
    if not path.is_file():
        return None, {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}", remedy="Give this user the right to read it.", file=path.name
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", remedy="Correct the file.", file=path.name) from error
    tool = document.get("tool", {})
    table = tool.get("seedtool", {}) if isinstance(tool, dict) else tool
    if not isinstance(table, dict):
        wrong = "tool.seedtool" if isinstance(tool, dict) else "tool"
        raise SettingsError(
            f"{path}: {wrong} is not a table", remedy="Write it as [tool.seedtool].", file=path.name, key=wrong
        )
    for key in table:
        _check_key(key, path, settings)
    project = document.get("project", {})
    name = project.get("name") if isinstance(project, dict) else None
    return (name if isinstance(name, str) else None), table


def _check_key(key: str, path: Path, settings: Mapping[str, Setting]) -> None:
    if key not in settings:
        import difflib

        close = difflib.get_close_matches(key.lower().replace("-", "_"), settings, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(settings)}."
        error = SettingsError(
            f"unknown setting {key or repr(key)} ({path.name}, [tool.seedtool])",
            remedy=hint,
            setting=key,
            origin=TABLE,
        )
        raise with_line(error, path.parent, key)
    if settings[key].secret:
        error = SettingsError(
            f"setting {key} is a secret, and {path.name} is under version control",
            remedy=f"Put {settings[key].variables[0]} into the environment or .env.",
            setting=key,
            origin=TABLE,
        )
        raise with_line(error, path.parent, key)


def _read_dotenv(path: Path, variables: Collection[str]) -> dict[str, str]:
    """Return what `.env` gives. A line that is no assignment is passed over, unless it names a variable of ours."""
    if not path.is_file():
        return {}
    from io import StringIO

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}", remedy="Save it as UTF-8 text.", file=path.name
        ) from error
    parts = list(parse_stream(StringIO(text)))
    for part in parts:
        name = re.match(r"\s*(?:export\s+)?(\w+)", part.original.string) if part.error else None
        if name and name[1] in variables:
            line = part.original.line + part.original.string[: name.start(1)].count("\n")
            raise SettingsError(
                f"{path.name}:{line}: the line that begins with {name[1]} is no assignment",
                remedy=f"Write {name[1]}=VALUE, and end a quotation mark that was begun.",
                file=path.name,
                line=line,
            )
    found = dotenv_values(stream=StringIO("".join(part.original.string for part in parts if not part.error)))
    values = {name: str(stripped(value)) for name, value in found.items() if value}
    return {name: value for name, value in values.items() if value}
