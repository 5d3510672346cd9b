"""Rows in YAML: a list of mappings. Every scalar keeps the text that stands in the file, so that `no` stays `no`.

YAML 1.1 would make of it false, of 12:30 the number 750 and of 2026-03-31 a date; which of these is meant, the
column's type says, and PostgreSQL reads it.
"""

from collections.abc import Iterator

import yaml

from seedtool.seeding.formats import Malformed, Tree
from seedtool.seeding.formats.csv_text import not_utf8

_NULL = "tag:yaml.org,2002:null"
_BINARY = "tag:yaml.org,2002:binary"


def read(content: bytes) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the rows, each with its line.

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
        yield _line(node), _row(node, constructor)


def _compose(content: bytes) -> yaml.Node | None:
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
            f"this is not YAML: {error.problem}", remedy="Mend the line.", line=mark.line + 1 if mark else None
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


def _value(column: str, node: yaml.Node, constructor: yaml.constructor.SafeConstructor) -> object:
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _NULL:
            return None
        return constructor.construct_yaml_binary(node) if node.tag == _BINARY else node.value
    try:
        return Tree(constructor.construct_object(node, deep=True), _texts(node))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise Malformed(
            "the value is not plain YAML",
            remedy="Use texts, lists and mappings only.",
            line=_line(node),
            column=column,
        ) from error


def _texts(node: yaml.Node) -> object:
    if isinstance(node, yaml.SequenceNode):
        return [_texts(each) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_texts(key): _texts(value) for key, value in node.value}
    return None if node.tag == _NULL else node.value


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
