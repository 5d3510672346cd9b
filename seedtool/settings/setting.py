"""What a setting is: one annotated field, with its name outside, its text and its check beside its type.

A field such as ::

    spares: Annotated[Count, Setting("how many clones ...", variables=("SEEDTOOL_SPARES",))] = 1

is all that a new setting needs. `load`, `seedtool config`, the error messages and docs/settings.md read it from there.
"""

import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from seedtool.errors import SettingsError

_SECRET = re.compile("passw|secret|token", re.IGNORECASE)
#: `name=value` in a query or in libpq's key=value form; the value may be quoted. Nothing in it is tried twice.
_ASSIGNED = re.compile(r"(?<!\w)(\w++)\s*+=\s*+(?:(?:'(?:[^'\\]|\\.)*+'?)++|(?:\\.|[^\s&\\])++)", re.DOTALL)
#: What Python makes of bytes of the environment that are not UTF-8 (PEP 383).
_BYTES = re.compile(r"[\udc80-\udcff]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # source: Unicode's category Cc

Amount = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Fault(NamedTuple):
    """What is wrong with a value (the message goes on after the setting's name), what to do about it, and where in it.

    `path` leads into a table or a list: keys, and numbers from 0.
    """

    message: str
    remedy: str
    path: tuple[str | int, ...] = ()


class Surroundings(NamedTuple):
    """What a default may depend on: the project's folder, the name in its pyproject.toml, the environment."""

    root: Path
    name: str | None
    environ: Mapping[str, str]


class Setting(msgspec.Struct, frozen=True):
    """What is known about a setting apart from its type and its default.

    Args:
        text: what it is for, as docs/settings.md says it.
        variables: the environment variables that give it, the strongest first.
        default: what the documentation calls the default, where the value itself does not say it.
        found: computes the default from the project, where it depends on one.
        check: returns what is wrong with a text, or with each text of a list.
        written: how it is written, as the remedy for a value of a wrong type.
        in_ci: the value that `CI=true` gives, unless a variable gives another.
        secret: it is never shown, and pyproject.toml may not hold it.
        lines: it may hold several lines; any other setting holds no control character.
    """

    text: str
    variables: tuple[str, ...] = ()
    default: str = ""
    found: Callable[[Surroundings], object] | None = None
    check: Callable[[str], Fault | None] | None = None
    written: str = ""
    in_ci: object = None
    secret: bool = False
    lines: bool = False


def settings_of(struct: type[msgspec.Struct]) -> dict[str, tuple[Any, Setting]]:
    """Return the type and the `Setting` of each field that has one, in the order in which they are defined."""
    found: dict[str, tuple[Any, Setting]] = {}
    for base in reversed(struct.__mro__):
        for name, hint in getattr(base, "__annotations__", {}).items():  # a class's own: not those of its bases
            for extra in getattr(hint, "__metadata__", ()):
                if isinstance(extra, Setting):
                    found[name] = (hint, extra)
    return found


def stripped(value: object) -> object:
    """Return a value without the white space around its texts, in lists and tables too.

    A line end comes along easily: from `$(cat file)` in a container, from a file that was written on Windows.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple):
        return [stripped(each) for each in value]
    if isinstance(value, dict):
        return {key: stripped(each) for key, each in value.items()}
    return value


def converted(key: str, hint: object, setting: Setting, value: object, *, origin: str, root: Path) -> object:
    """Return a given value in the type of its setting.

    Args:
        key: the setting's name.
        hint: its annotated type.
        setting: its check and its words.
        value: what was given: a text from a variable, any value of TOML, a flag's.
        origin: where it was given, as a message shows it.
        root: the project's folder, from which relative paths count.

    Raises:
        SettingsError: the value is wrong; the message names the key, the fault and the origin.
    """
    kind = _bare(hint)
    value = stripped(value)
    found: object
    if kind in {int, float, bool}:
        found = _number(key, hint, setting, value)
    elif kind == tuple[str, ...]:
        found = _texts(key, setting, value)
    elif kind is Path or _is_text(kind):
        found = _text(key, kind, setting, value, root)
    else:
        found = _table(hint, setting, value)
    if isinstance(found, Fault):
        message = redacted(found.message)  # an address may hold a password
        error = SettingsError(
            f"setting {key}: {message} (from {origin})", remedy=found.remedy, setting=key, origin=origin
        )
        error.path = found.path
        raise error
    return found


def _number(key: str, hint: object, setting: Setting, value: object) -> object:
    try:
        return msgspec.convert(value, hint, strict=False)  # a variable's comes as text
    except msgspec.ValidationError as error:
        message, _ = _in_words(error)
        return Fault(f"the value {value!r} cannot be used: {message}", setting.written or f"Write {key} = 1.")


def _texts(key: str, setting: Setting, value: object) -> tuple[str, ...] | Fault:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return Fault("the value is not a list of texts", f'Write {key} = ["...", "..."].')
    faults = (_text_fault(each, str, setting) for each in value)
    return next((fault for fault in faults if fault), None) or tuple(value)


def _text(key: str, kind: object, setting: Setting, value: object, root: Path) -> str | Path | Fault:
    if not isinstance(value, str | Path):
        return Fault(f"the value {value!r} is not a text", f'Write {key} = "...".')
    fault = _text_fault(str(value), kind, setting)
    if fault or kind is not Path:
        return fault or str(value)
    try:
        return root / Path(value).expanduser()
    except RuntimeError:  # `~` without a home folder, `~name` where there is no such user
        return Fault(f"{value} names a home folder that does not exist", "Write the whole path.")


def _table(hint: object, setting: Setting, value: object) -> object:
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        message, path = _in_words(error)
        where = f"in number {path[0] + 1}, " if path and isinstance(path[0], int) else ""
        return Fault(where + message, setting.written, path)


#: msgspec's names of what stands in TOML.
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}


def _in_words(error: msgspec.ValidationError) -> tuple[str, tuple[str | int, ...]]:
    """Return what is wrong in plain words, and the path to it; msgspec speaks to programmers.

    Source: msgspec's messages, `Expected `int`, got `str` - at `$[0].jobs``; another one is given as it is.
    """
    text, _, at = str(error).partition(" - at ")
    steps = re.findall(r"\[(\d+)\]|\.(\w+)", at)
    path: tuple[str | int, ...] = tuple(int(number) if number else name for number, name in steps)
    of = f"{path[-1]}: " if path and isinstance(path[-1], str) else ""
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", text):
        return f"there is no key {found[1]}", (*path, found[1])
    if found := re.fullmatch(r"Object missing required field `(.*)`", text):
        return f"the key {found[1]} is missing", path
    if found := re.fullmatch(r"Expected `([\w |]+)`(?: ([<>]=?) ([\d.]+?)(?:\.0)?)?(?:, got `(\w+)`)?", text):
        kinds = " or ".join(_KINDS.get(kind, kind) for kind in found[1].split(" | "))
        bound = f" {_BOUNDS[found[2]]} {float(found[3]):,.10g}" if found[2] else ""
        given = f", not {_KINDS.get(found[4], found[4])}" if found[4] else ""
        return f"{of}it has to be {kinds}{bound}{given}", path
    return f"{of}{text}", path


def _bare(hint: object) -> Any:  # noqa: ANN401 - a type form: a class, a union, a Literal
    """Return a type without the notes of `Annotated`, and without None: what is given is something."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if isinstance(kind, types.UnionType):
        given = [each for each in get_args(kind) if each is not types.NoneType]
        return given[0] if len(given) == 1 else kind
    return kind


def _is_text(kind: object) -> bool:
    return kind is str or get_origin(kind) is Literal


def _text_fault(text: str, kind: object, setting: Setting) -> Fault | None:
    if get_origin(kind) is Literal and text not in get_args(kind):
        return Fault(f"the value {text!r} is unknown", f"Use {' or '.join(get_args(kind))}.")
    if kind is not Path and _BYTES.search(text):  # libpq and AWS take UTF-8; a file may have any name
        return Fault("the value is not UTF-8", "Write it in UTF-8.")
    fault = None if setting.lines else no_control(text, shown=False)
    return fault or (setting.check(text) if setting.check else None)


def no_control(text: str, *, shown: bool = True) -> Fault | None:
    """Refuse control characters: nobody sees them in a message, and a name that holds one is another name.

    Args:
        text: a name, or the value of a setting.
        shown: the fault may hold the text. A setting's may be a secret.
    """
    found = CONTROL.search(text)
    if found is None:
        return None
    what = repr(text) if shown else "the value"
    return Fault(f"{what} holds a control character (U+{ord(found[0]):04X})", "Take it out.")


def redacted(value: object) -> object:
    """Return a setting's value as it may be shown: without the password of a database or other URL."""
    if not isinstance(value, str):
        return value
    # the time grows with the length alone: a password may be 100 kB long, and there is one `@` to look for
    login, at, rest = value.rpartition("@")
    login = re.sub(r"(://[^:/@\s]*):.*", r"\1:***", login, count=1, flags=re.DOTALL)
    return _ASSIGNED.sub(lambda found: f"{found[1]}=***" if _SECRET.search(found[1]) else found[0], login + at + rest)


def texts_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the text of each field of a table, such as [tool.seedtool.backfill], by the field's name."""
    found: dict[str, str] = {}
    for name, hint in struct.__annotations__.items():
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, msgspec.Meta) and extra.description:
                found[name] = extra.description
    return found
