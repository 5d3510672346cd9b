"""Masks within values: the members of JSON, and the elements of arrays."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from seedtool.errors import PolicyError
from seedtool.refreshing.mask_words import MASKS, Given, token, word
from seedtool.refreshing.masks import Mask, listed, text_column, unchecked

if TYPE_CHECKING:
    from seedtool.refreshing.blocks import Column as Originals
    from seedtool.values.cells import Cells


@word
def json_(given: Given, paths: Mapping[str, object], others: str = "mask") -> Mask:
    """Values inside of JSON, each by the mask of its path.

    Args:
        given: the column and the secret.
        paths: path -> mask. `a.b` is a member of a member, `a[]` each element of an array, `*` each member, and a last
            `~` the keys of an object. A path that leads to an object or array stands for all within.
        others: what becomes of values that no path names: `mask` (a token for a text, 0 for a number), `null`, or
            `keep`.
    """
    if others not in {"mask", "null", "keep"}:
        raise PolicyError('the parameter "others" of the mask "json" must be mask, null or keep', key="others")
    if not isinstance(paths, Mapping) or not all(isinstance(path, str) for path in paths):
        raise PolicyError('the parameter "paths" of the mask "json" must be a table of paths and masks', key="paths")
    inner = {
        _path(path): None
        if line == "keep"
        else unchecked(line, text_column(given.column), given.secret, folder=given.folder)  # type: ignore[arg-type]
        for path, line in paths.items()
    }
    if any(made is not None and made.subject for made in inner.values()):
        raise PolicyError('a mask within the mask "json" cannot have a subject', key="paths")
    fallback = token(given)

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        from seedtool.values.cells import Cells

        found: dict[Mask, list[_Leaf]] = {}
        documents: list[Any] = []
        for value in listed(cells):
            document: list[Any] = [None]
            if value:
                try:
                    document = [json.loads(value, parse_float=Decimal, parse_int=Decimal)]
                    _visit(document, 0, list(inner.items()), others, fallback, found)
                except (ValueError, RecursionError):  # no JSON, or too deep: nobody knows what is in it
                    document = [value.decode()]
                    found.setdefault(fallback, []).append(_Leaf(document, 0))
            documents.append(document)
        for made, leaves in found.items():
            masked = made.of([leaf.text for leaf in leaves])
            for leaf, new in zip(leaves, masked, strict=True):
                leaf.put(new)
        return Cells.of(_dumped(document[0]) for document in documents)

    ranges = ((steps, made.reserved) for steps, made in inner.items() if made is not None)
    within = tuple((_sql_path(steps), reserved) for steps, reserved in ranges if reserved and steps[-1] != "~")
    return Mask("json", change, "lossy", frozenset({"json", "text"}), within=within)


def _sql_path(steps: "_Step") -> str:
    """The path in the language of SQL/JSON, with all that is within what it leads to."""
    written = {"[]": "[*]", "*": ".*"}
    return "strict $" + "".join(written.get(step) or f".{json.dumps(step)}" for step in steps) + ".**"


_Step = tuple[str, ...]


def _path(path: str) -> _Step:
    """`a.b[].~` as steps: names, `[]`, `*` and `~`; a name with dots stands in double quotes."""
    steps = re.findall(r'"([^"]+)"|(\[\])|([^.\[\]"]+)', path)
    if not steps or re.sub(r'"[^"]+"|\[\]|[^.\[\]"]+|\.', "", path):
        raise PolicyError(f'the path "{path}" of the mask "json" cannot be read', remedy="Write it such as a.b[].c.")
    return tuple(quoted or array or name for quoted, array, name in steps)


@dataclass(slots=True)
class _Leaf:
    """A value, or a key, within a document."""

    container: Any
    at: Any
    is_key: bool = False

    @property
    def text(self) -> str:
        value = self.at if self.is_key else self.container[self.at]
        # the type json keeps half of a surrogate pair, of which UTF-8 has no form
        return value.encode(errors="replace").decode() if isinstance(value, str) else _dumped(value)

    def put(self, new: str | None) -> None:
        if self.is_key:
            self.container[new or ""] = self.container.pop(self.at)
            return
        old = self.container[self.at]
        if isinstance(old, Decimal) and new is not None:
            try:
                self.container[self.at] = Decimal(new)
            except InvalidOperation:
                self.container[self.at] = new
            return
        self.container[self.at] = new


def _visit(
    container: Any,  # noqa: ANN401 - JSON
    at: Any,  # noqa: ANN401
    paths: "list[tuple[_Step, Mask | None]]",
    others: str,
    fallback: Mask,
    found: "dict[Mask, list[_Leaf]]",
) -> None:
    """Note which mask each leaf below `container[at]` gets. A path that is used up stands for all below."""
    value = container[at]
    ended = [made for steps, made in paths if not steps]
    if isinstance(value, dict):
        for key in list(value):
            following = [(steps[1:], made) for steps, made in paths if steps and steps[0] in {key, "*"}]
            if ended:
                following.append(((), ended[0]))
            _visit(value, key, following, others, fallback, found)
        for made in [made for steps, made in paths if steps == ("~",) and made is not None]:
            found.setdefault(made, []).extend(_Leaf(value, key, is_key=True) for key in list(value))
    elif isinstance(value, list):
        following = [(steps[1:], made) for steps, made in paths if steps and steps[0] == "[]"]
        if ended:
            following.append(((), ended[0]))
        for position in range(len(value)):
            _visit(value, position, following, others, fallback, found)
    else:
        _decide(container, at, ended, others, fallback, found)


def _decide(
    container: Any,  # noqa: ANN401 - JSON
    at: Any,  # noqa: ANN401
    ended: "list[Mask | None]",
    others: str,
    fallback: Mask,
    found: "dict[Mask, list[_Leaf]]",
) -> None:
    """Note the mask of one leaf, or do at once what needs no mask."""
    value = container[at]
    made = ended[0] if ended else fallback
    if value is None or made is None or (not ended and others == "keep"):
        return
    if not ended and others == "null":
        container[at] = None
    elif not ended and isinstance(value, bool | Decimal):
        container[at] = value if isinstance(value, bool) else Decimal(0)
    else:
        found.setdefault(made, []).append(_Leaf(container, at))


def _dumped(value: Any) -> str:  # noqa: ANN401 - JSON
    """JSON with its numbers as they were written."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{_dumped(key)}: {_dumped(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_dumped, value)) + "]"
        case _:
            text = json.dumps(value, ensure_ascii=False)
            return text if text.isprintable() else json.dumps(value)


def of_elements(element: Mask) -> Mask:
    """The mask of each element of an array, whatever its dimensions."""
    from seedtool.values.cells import Cells

    def change(cells: "Originals", subject: "Originals | None") -> "Cells":
        values = [None if value is None else value.decode() for value in listed(cells)]
        pieces = [_ELEMENTS.split(_without_bounds(value)) if value else [] for value in values]
        # split gives what stands between, and each element, in turn
        flat = [_element(piece) for parts in pieces for piece in parts[1::2]]
        whose = None
        if subject is not None:  # each element of a row has the row's
            of_rows = [None if value is None else value.decode() for value in listed(subject)]
            whose = [of for of, parts in zip(of_rows, pieces, strict=True) for _ in parts[1::2]]
        masked = iter(element.of(flat, whose))
        for parts in pieces:
            parts[1::2] = [_quoted(next(masked)) for _ in parts[1::2]]
        return Cells.of(None if value is None else "".join(parts) for value, parts in zip(values, pieces, strict=True))

    return Mask(
        element.word,
        change,
        element.uniqueness,
        element.families,
        longest=element.longest,
        subject=element.subject,
        reserved=element.reserved,
        within=element.within,
        identifying=element.identifying,
    )


_ELEMENTS = re.compile(r'("(?:[^"\\]|\\.)*"|[^{},"\s][^{},"]*)')


def _without_bounds(value: str) -> str:
    """An array literal without `[0:2]=` before it."""
    return value[value.index("{") :] if value.startswith("[") else value


def _element(piece: str) -> str | None:
    if piece.startswith('"'):
        return re.sub(r"\\(.)", r"\1", piece[1:-1], flags=re.DOTALL)
    return None if piece.upper() == "NULL" else piece


def _quoted(value: str | None) -> str:
    return "NULL" if value is None else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


__all__ = ["MASKS", "of_elements"]
