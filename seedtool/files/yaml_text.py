"""Rows in YAML: a list of mappings. Every scalar keeps the text that stands in the file, so that `no` stays `no`.

YAML 1.1 reads `no` as false, 12:30 as the number 750, and 2026-03-31 as a date. Which of these is meant, the column's
type tells, and PostgreSQL reads the text as that type.
"""

import codecs
import re
from collections.abc import Iterator

import msgspec
import yaml

from seedtool.files import Malformed, Tree, not_utf8, utf16

_NULL, _BOOL, _BINARY, _MAPPING = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "binary", "map"))
_NUMBERS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float")}
_SCALARS = {_NULL, _BOOL, *_NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value", "merge"))}
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def read(content: bytes) -> Iterator[tuple[int, dict[str, object], dict[str, int]]]:
    """Yield the rows, each with its line, and the lines of those of its cells that stand further down.

    Raises:
        Malformed: the file is not a list of mappings in YAML and UTF-8, or a row names a column twice.
    """
    root = _compose(content)
    if root is None:
        raise Malformed("the file holds no rows", remedy="Write [] for a table without rows, or delete the file.")
    if not isinstance(root, yaml.SequenceNode):
        raise Malformed("the file is not a list of rows", remedy="Begin every row with `- `.", line=_line(root))
    constructor = yaml.constructor.SafeConstructor()
    for node in root.value:
        row = _row(node, constructor)
        yield _line(node), row, _lines(node)


def _compose(content: bytes) -> yaml.Node | None:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise utf16()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(content.count(b"\n", 0, error.start) + 1) from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast, where it was built in
    try:
        root: yaml.Node | None = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Malformed(
            f"this is not YAML: {error.problem}", remedy="Correct the line.", line=mark.line + 1 if mark else None
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Malformed("this is not YAML", remedy="Remove control characters and the deepest nesting.") from error
    return root


def _row(node: yaml.Node, constructor: yaml.constructor.SafeConstructor) -> dict[str, object]:
    if not isinstance(node, yaml.MappingNode):
        raise Malformed("the row is not a mapping", remedy="Write `- column: value`.", line=_line(node))
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Malformed("a column's name is not a text", remedy="Write `- column: value`.", line=_line(key))
        if key.value in seen:
            raise Malformed(
                "the row names this column twice", remedy="Remove one of the two.", line=_line(key), column=key.value
            )
        seen.add(key.value)
    constructor.flatten_mapping(node)  # `<<: *defaults`; what the row says itself comes last and wins
    return {key.value: _value(key.value, value, constructor) for key, value in node.value}


def _lines(node: yaml.Node) -> dict[str, int]:
    """Return the lines of a row's own cells; what `<<` brought in stands elsewhere and counts as the row's first."""
    first, last = _line(node), node.end_mark.line + 1
    return {key.value: _line(key) for key, _ in node.value if first < _line(key) <= last}


def _value(column: str, node: yaml.Node, constructor: yaml.constructor.SafeConstructor) -> object:
    try:
        if isinstance(node, yaml.ScalarNode):
            return constructor.construct_yaml_binary(node) if node.tag == _BINARY else _text(node)
        return _tree(node, constructor)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise Malformed(
            "the value is not plain YAML",
            remedy="Use texts, numbers, lists and mappings only.",
            line=_line(node),
            column=column,
        ) from error


def _text(node: yaml.Node) -> str | None:
    if node.tag not in _SCALARS:
        raise ValueError(node.tag)
    return None if node.tag == _NULL else str(node.value)


def _tree(node: yaml.Node, constructor: yaml.constructor.SafeConstructor) -> Tree | str | None:
    """Return a list or mapping with all that is in it; of a scalar its text."""
    if isinstance(node, yaml.SequenceNode):
        items = [_tree(each, constructor) for each in node.value]
        return Tree([_data(*pair) for pair in zip(node.value, items, strict=True)], items)
    if isinstance(node, yaml.MappingNode):
        constructor.flatten_mapping(node)
        if node.tag != _MAPPING or not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise ValueError(node.tag)
        parts = {str(key.value): (value, _tree(value, constructor)) for key, value in node.value}
        return Tree({key: _data(*pair) for key, pair in parts.items()}, {key: part for key, (_, part) in parts.items()})
    return _text(node)


def _data(node: yaml.Node, part: Tree | str | None) -> object:
    """Return what JSON has: keys are texts, only true and false are booleans, numbers keep their digits."""
    if isinstance(part, Tree):
        return part.data
    if part is not None and isinstance(node, yaml.ScalarNode) and not node.style:
        if node.tag == _BOOL and part.lower() in {"true", "false"}:
            return part.lower() == "true"
        if node.tag in _NUMBERS and _JSON_NUMBER.fullmatch(part):
            return msgspec.Raw(part.encode())
    return part


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
