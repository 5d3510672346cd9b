"""Rows in YAML: a list of mappings. Every scalar keeps the text that stands in the file, so that `no` stays `no`.

YAML 1.1 reads `no` as false, 12:30 as the number 750, and 2026-03-31 as a date. Which of these is meant, the column's
type tells, and PostgreSQL reads the text as that type.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from seedtool.files import Malformed, Tree, not_utf8, utf16

_NULL, _BOOL, _BINARY, _MAPPING, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "binary", "map", "merge")
)
_NUMBERS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float")}
_SCALARS = {_NULL, _BOOL, *_NUMBERS, *(f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "value", "merge"))}
#: How deep lists and mappings may lie in each other. libyaml's composer calls itself for each level, and some tens of
#: thousands of them take more stack than a thread has; serde_json and Go's encoding/json have such a bound, too.
DEEPEST = 200
#: How many values aliases (`*name`) and merges (`<<`) may bring in: this many, and ten for each value of the file. Nine
#: levels of nine aliases would make a billion values of a few hundred bytes. go-yaml bounds the ratio likewise
#: (`allowedAliasRatio` in its decode.go).
BROUGHT_IN, RATIO = 100_000, 10
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def read(content: bytes) -> Iterator[tuple[int, dict[str, object], dict[str, int]]]:
    """Yield the rows, each with its line, and the lines of those of its cells that stand further down.

    Raises:
        Malformed: the file is not a list of mappings in YAML and UTF-8, a row names a column twice, or what it holds is
            nested too deeply or made too many by aliases.
    """
    root, count = _compose(content)
    if root is None:
        raise Malformed("the file holds no rows", remedy="Write [] for a table without rows, or delete the file.")
    if not isinstance(root, yaml.SequenceNode):
        raise Malformed("the file is not a list of rows", remedy="Begin every row with `- `.", line=_line(root))
    values = _Values(count)
    for node in root.value:
        yield _line(node), values.row(node), _lines(node)


# libyaml's, ten times as fast, where it was built in
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Counts the values of a document and bounds their depth, in the methods that a composer calls for each."""

    count = depth = 0

    def descend_resolver(self, parent: yaml.Node | None, _: object) -> None:
        self.count += 1
        self.depth += 1
        if parent is not None and self.depth > DEEPEST:
            raise _too_deep(_line(parent))

    def ascend_resolver(self) -> None:
        self.depth -= 1


def _compose(content: bytes) -> tuple[yaml.Node | None, int]:
    """Return the tree of a document, and of how many values it is made."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise utf16()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(content.count(b"\n", 0, error.start) + 1) from error
    loader = None
    try:
        loader = _Loader(text)
        root: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Malformed(
            f"this is not YAML: {error.problem}", remedy="Correct the line.", line=mark.line + 1 if mark else None
        ) from error
    except yaml.YAMLError as error:
        raise Malformed("this is not YAML", remedy="Remove control characters.") from error
    finally:
        if loader is not None:
            loader.dispose()
    return root, loader.count


def _too_deep(line: int | None, column: str | None = None) -> Malformed:
    return Malformed(
        f"lists and mappings are nested more than {DEEPEST} levels deep",
        remedy="Is a bracket missing? Write such a value as JSON, in quotes.",
        line=line,
        column=column,
    )


class _Values:
    """Turns the nodes of a document into rows.

    Args:
        count: of how many values the document is made.
    """

    def __init__(self, count: int) -> None:
        self._constructor: Any = yaml.constructor.SafeConstructor()
        self._left = BROUGHT_IN + (RATIO + 1) * count

    def row(self, node: yaml.Node) -> dict[str, object]:
        """Return a row: its values by their columns."""
        if not isinstance(node, yaml.MappingNode):
            raise Malformed("the row is not a mapping", remedy="Write `- column: value`.", line=_line(node))
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Malformed("a column's name is not a text", remedy="Write `- column: value`.", line=_line(key))
            if key.value in seen:
                raise Malformed(
                    "the row names this column twice",
                    remedy="Remove one of the two.",
                    line=_line(key),
                    column=key.value,
                )
            seen.add(key.value)
        try:
            cells = self._merged(node)
        except Malformed:
            raise
        except (TypeError, RecursionError) as error:
            raise Malformed(
                "`<<` takes a mapping, or a list of mappings, that does not hold itself",
                remedy="Write `<<: *name`, and `&name` before the mapping that is meant.",
                line=_line(next(key for key, _ in node.value if key.tag == _MERGE)),
            ) from error
        return {column: self._value(column, value) for column, value in cells.items()}

    def _merged(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        """Return a mapping's values with those that `<<` brings in; what it says itself comes last and wins.

        Of several mappings the first wins (https://yaml.org/type/merge.html).

        Raises:
            TypeError: a key is not a text, or `<<` takes something else.
        """
        found: dict[str, yaml.Node] = {}
        own: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise TypeError(key.tag)
            if key.tag != _MERGE:
                own[str(key.value)] = value
                continue
            for each in reversed(value.value if isinstance(value, yaml.SequenceNode) else [value]):
                if not isinstance(each, yaml.MappingNode):
                    raise TypeError(each.tag)
                merged = self._merged(each)
                self._spend(len(merged) + 1, key)
                found |= merged
        return found | own

    def _value(self, column: str, node: yaml.Node) -> object:
        try:
            if isinstance(node, yaml.ScalarNode):
                return self._constructor.construct_yaml_binary(node) if node.tag == _BINARY else _text(node)
            return self._tree(node)
        except Malformed as fault:
            raise Malformed(fault.fault, remedy=fault.remedy, line=_line(node), column=column) from fault
        except RecursionError as error:
            raise _too_deep(_line(node), column) from error
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise Malformed(
                "the value is not plain YAML",
                remedy="Use texts, numbers, lists and mappings only.",
                line=_line(node),
                column=column,
            ) from error

    def _tree(self, node: yaml.Node) -> Tree | str | None:
        """Return a list or mapping with all that is in it; of a scalar its text."""
        self._spend(1, node)
        if isinstance(node, yaml.SequenceNode):
            items = [self._tree(each) for each in node.value]
            return Tree([_data(*pair) for pair in zip(node.value, items, strict=True)], items)
        if isinstance(node, yaml.MappingNode):
            if node.tag != _MAPPING:
                raise ValueError(node.tag)
            parts = {key: (value, self._tree(value)) for key, value in self._merged(node).items()}
            return Tree(
                {key: _data(*pair) for key, pair in parts.items()}, {key: part for key, (_, part) in parts.items()}
            )
        return _text(node)

    def _spend(self, count: int, node: yaml.Node) -> None:
        self._left -= count
        if self._left < 0:
            raise Malformed(
                "aliases (`*name`, `<<`) make more values of this file than seedtool reads",
                remedy="Write out what is meant, or write the rows as .csv or .py.",
                line=_line(node),
            )


def _lines(node: yaml.Node) -> dict[str, int]:
    """Return the lines of a row's own cells that stand below its first."""
    first, last = _line(node), node.end_mark.line + 1
    return {key.value: _line(key) for key, _ in node.value if key.tag != _MERGE and first < _line(key) <= last}


def _text(node: yaml.Node) -> str | None:
    if node.tag not in _SCALARS:
        raise ValueError(node.tag)
    return None if node.tag == _NULL else str(node.value)


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
