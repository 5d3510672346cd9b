"""Write docs/settings.md from the fields of seedtool/settings/. A test compares; run it after a change: make docs."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from seedtool.settings import Settings
from seedtool.settings.setting import Setting, settings_of, texts_of

PAGE = Path(__file__).with_name("settings.md")
WIDTH = 100  # columns, as in all of our Markdown

INTRODUCTION = """\
# Settings

<!-- written by docs/write_settings.py from seedtool/settings/: change the texts there -->

seedtool looks for a setting in this order and takes the first that it finds: a flag of the
command, an environment variable, the file `.env`, the table `[tool.seedtool]` in pyproject.toml,
the default.
`seedtool config` shows every setting and where it was found.

White space around a value does not count. An empty variable counts as not set. AWS credentials are
botocore's: `AWS_...` in the environment or in `.env`, a profile, a role.
"""


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    every = settings_of(Settings)
    for wing in reversed(Settings.__mro__):
        names = [name for name in getattr(wing, "__annotations__", {}) if name in every]
        if names:
            parts.append(f"## {(wing.__doc__ or '').splitlines()[0].rstrip('.')}\n")
            defaults = {field.name: field.default for field in msgspec.structs.fields(Settings)}
            parts += [entry(name, *every[name], defaults[name]) for name in names]
            parts[-1] += "\n"
    return "\n".join(parts).rstrip("\n") + "\n"


def entry(name: str, hint: Any, setting: Setting, default: object) -> str:
    """Return the line of one setting, and a line for each of its keys when it is a table."""
    where = (
        [f"environment: {', '.join(f'`{variable}`' for variable in setting.variables)}"] if setting.variables else []
    )
    if setting.secret:
        where.append("in the environment or `.env` only")
    struct = table_of(hint)
    said = setting.default or ("" if struct else shown(default))
    where += [f"default: {said}"] if said else []
    head = f"`{name}`" + (f" ({'; '.join(where)})" if where else "")
    if struct is None:
        return filled(f"{head}: {setting.text}.", "- ")
    lines = keys(struct, f"tool.seedtool.{name}")
    return "\n".join([filled(f"{head}: {setting.text}. Its keys, in {written(name, hint)}:", "- "), *lines])


def keys(struct: type[msgspec.Struct], table: str, indent: str = "  ") -> Iterator[str]:
    """Yield a line of the list for each key of a table, and those of the tables in it."""
    texts = texts_of(struct)
    for field in msgspec.structs.fields(struct):
        value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if isinstance(value, msgspec.Struct):
            inner = f"{table}.{field.name}"
            yield filled(f"`{field.name}`: {texts[field.name]}. Its keys, in `[{inner}]`:", f"{indent}- ")
            yield from keys(type(value), inner, f"{indent}  ")
            continue
        said = " (required)" if field.required else f" ({shown(value)})" if shown(value) else ""
        yield filled(f"`{field.name}`{said}: {texts[field.name]}.", f"{indent}- ")


def table_of(hint: Any) -> type[msgspec.Struct] | None:
    """Return the struct of a setting that is a table or a list of tables."""
    kind = get_args(hint)[0]
    kind = get_args(kind)[0] if get_origin(kind) is tuple else kind
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def written(name: str, hint: Any) -> str:
    """Return how the table is opened in pyproject.toml."""
    return f"`[[tool.seedtool.{name}]]`" if get_origin(get_args(hint)[0]) is tuple else f"`[tool.seedtool.{name}]`"


def shown(value: object) -> str:
    """Return a default as TOML has it, in backticks; nothing for none."""
    if value is None or value == () or value is msgspec.NODEFAULT:
        return ""
    if isinstance(value, dict):
        return f"`{{{', '.join(f'{key} = {each}' for key, each in value.items())}}}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def filled(text: str, mark: str = "") -> str:
    """Return a paragraph of at most 100 columns."""
    lines = textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False)
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
