"""Write docs/commands.md, docs/api.md and docs/errors.md from the code. A test compares; after a change: make docs."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import click

import seedtool
from seedtool import errors
from seedtool.cli import seedtool as group
from seedtool.listener import Listener

DOCS = Path(__file__).parent
WIDTH = 100  # columns, as in all of our Markdown
HELP_WIDTH = 80

COMMANDS = """\
# Commands

<!-- written by docs/write_reference.py from each command's --help: change the texts there -->

`db-reset`, `seed` and `sync-faces` are programs of their own, too. Every command takes `--help`.
Exit codes: 0 done, 1 failed or some items failed, 2 wrong usage, 3 refused (protected or not
confirmed), 130 interrupted. [JSON](json.md) lists what `--json` prints.
"""

API = """\
# Python API

<!-- written by docs/write_reference.py from the functions' docstrings: change the texts there -->

What the commands do, as functions for scripts and tests of your own. They find the project's
settings as the commands find them, from the working folder, and take everything as an argument,
too. Everything that is not on this page is internal and may change. `help(seedtool)` shows the
same. The examples are of this repository's school with its faces; a test runs them.

```python
import seedtool

seedtool.reset("full", yes=True)  # seedtool db-reset --yes --seed full
done = seedtool.seed("local")  # seedtool seed local
print(done.seed.rows)
seedtool.sync()  # seedtool sync-faces
```
"""

ERRORS = """\
# Errors

<!-- written by docs/write_reference.py from seedtool/errors.py: change the texts there -->

Every error that a user may meet is a `SeedtoolError`. It has a `message` (what went wrong, and
where), a `remedy` (what to do), and a `place` (file, line, table, column, setting, flag ... as far
as it is about one). With `--json` a command prints the three below `error`.
"""


def pages() -> dict[str, str]:
    """Return the pages by their names."""
    return {
        "commands.md": f"{COMMANDS}\n{_joined(_commands(group, 'seedtool'))}",
        "api.md": f"{API}\n{_joined(_functions())}",
        "errors.md": f"{ERRORS}\n{_joined(_errors())}",
    }


def _joined(parts: Iterator[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _commands(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """Yield a section for a command, and one for each below it."""
    given = {**command.context_settings, "terminal_width": HELP_WIDTH, "max_content_width": HELP_WIDTH}
    command._help_option = None  # noqa: SLF001 - click keeps the names that the first context gave
    context = click.Context(command, info_name=name, parent=parent, **given)
    if parent is not None:
        yield f"## {context.command_path}"
    yield f"```text\n{command.get_help(context).rstrip()}\n```"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from _commands(found, below, context)


def _functions() -> Iterator[str]:
    for name in sorted(seedtool.__all__):
        found = getattr(seedtool, name)
        if not inspect.isfunction(found):
            continue
        yield f"## {name}"
        yield f"```python\n{_signature(name, found)}\n```"
        yield _prose(inspect.getdoc(found) or "")


def _signature(name: str, function: Callable[..., object]) -> str:
    signature = inspect.signature(function)
    parameters = []
    for each in signature.parameters.values():
        default = "" if each.default is each.empty else f" = {_default(each.default)}"
        if each.kind is each.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        parameters.append(f"{each.name}: {_annotation(each.annotation)}{default}")
    returned = _annotation(signature.return_annotation)
    line = f"{name}({', '.join(parameters)}) -> {returned}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in parameters), f") -> {returned}"])


def _annotation(annotation: object) -> str:
    """Return a type without the modules that it is in."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"(?:\w+\.)+(?=[A-Z])", "", text)


def _default(value: object) -> str:
    return value.__name__ if isinstance(value, type) else "SILENT" if isinstance(value, Listener) else repr(value)


def _prose(text: str) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    parts: list[str] = []
    section = ""
    for block in re.split(r"\n(?=(?:Args|Returns|Raises|Yields|Example):\n)", text):
        head, _, rest = block.partition("\n")
        if head == "Example:":
            parts.append(f"```pycon\n{textwrap.dedent(rest).strip()}\n```")
        elif head in {"Args:", "Returns:", "Raises:", "Yields:"}:
            section, _, behind = textwrap.dedent(rest).partition("\n\n")
            entries = re.split(r"\n(?=\S)", section.strip())
            parts.append(f"**{head.rstrip(':')}**")
            parts.append("\n".join(_filled(_entry(each), "- ") for each in entries))
            parts += [_filled(each) for each in behind.split("\n\n") if each.strip()]
        else:
            parts += [_filled(each) for each in block.split("\n\n") if each.strip()]
    return "\n\n".join(parts)


def _entry(text: str) -> str:
    name, colon, said = " ".join(text.split()).partition(": ")
    return f"`{name}`: {said}" if colon and re.fullmatch(r"[\w, ]+", name) else " ".join(text.split())


def _filled(text: str, mark: str = "") -> str:
    found = textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    # a line that begins so would be a list or a heading
    return re.sub(r"^(\s*)([#+-]) (?=.)", r"\1\\\2 ", found, flags=re.MULTILINE) if not mark else found


def _errors(kind: type[errors.SeedtoolError] = errors.SeedtoolError) -> Iterator[str]:
    text = inspect.getdoc(kind) or ""
    base = kind.__base__.__name__ if kind.__base__ is not None else ""
    code = f"exit code {kind.exit_code}"
    yield f"## {kind.__name__}"
    yield _filled(f"A `{base}`; {code}.") if base != "Exception" else _filled(f"{code.capitalize()}.")
    yield _prose(text)
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _errors(below)


if __name__ == "__main__":
    for page, content in pages().items():
        (DOCS / page).write_text(content, encoding="utf-8")
