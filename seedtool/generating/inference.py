"""What stands in a column that a recipe does not mention: inferred from its checks, its type, its name and its keys.

The guess is a line as a recipe would have it, so that `seedtool seed recipe` can write it down and a person can change
it.
"""

from __future__ import annotations

import graphlib
import re
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from seedtool.values import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedtool.postgres.catalog import Check, Column, Table

Guess = dict[str, Any]

#: What a column of this name holds, for the names that databases use again and again. The first that matches counts.
_NAMES: Sequence[tuple[str, Guess]] = (
    (r"(first|given|fore)_?name|nombres?|vorname|prenom", {"kind": "first_name"}),
    (r"middle_?name|segundo_nombre", {"kind": "first_name", "nulls": 0.4}),
    (r"(second_last|last|family)_?name|surname|apellidos?(_\w+)?|nachname", {"kind": "last_name"}),
    (r"full_?name|nombre_completo|(contact|customer|person|author|owner)_?name", {"kind": "full_name"}),
    (r"e_?mail(_address)?|correo", {"kind": "email"}),
    (r"(user_?name|login|nickname|handle)", {"kind": "username"}),
    (r"(mobile|cell|tele)?_?phone(_number)?|telefono|celular|mobile", {"kind": "phone"}),
    (r"rut|run|identification_number|national_id", {"kind": "rut"}),
    (r"(street_|postal_|home_)?address(_line_?1)?|direccion", {"kind": "address"}),
    (r"street(_name)?|calle", {"kind": "street"}),
    (r"city|town|ciudad|comuna", {"kind": "city"}),
    (r"region|state|province|provincia", {"kind": "region"}),
    (r"post_?code|zip(_?code)?|postal_code", {"kind": "postcode"}),
    (r"country|pais", {"kind": "country"}),
    (r"country_code", {"kind": "country_code"}),
    (r"company(_name)?|employer|empresa", {"kind": "company"}),
    (r"job(_title)?|occupation|profession|profesion", {"kind": "job"}),
    (r"colou?r", {"kind": "color"}),
    (r"sex|gender|sexo", {"kind": "sex"}),
    (r"description|notes?|comments?|bio|about|summary|body|content|message", {"kind": "text", "nulls": 0.7}),
    (r"url|website|link|homepage", {"kind": "url"}),
    (r"ip(_address)?", {"kind": "ip"}),
)

#: What a column of this family of types holds when its name says nothing. Numbers and texts are not guessed: a wrong
#: range is worse than a question.
_FAMILIES: Mapping[str, Guess] = {
    "uuid": {"kind": "uuid"},
    "boolean": {"kind": "boolean"},
    "date": {"kind": "date"},
    "timestamp": {"kind": "timestamp"},
    "inet": {"kind": "ip"},
}

_TYPES = {
    "text": "text", "varchar": "text", "bpchar": "text", "citext": "text", "name": "text",
    "int2": "integer", "int4": "integer", "int8": "integer",
    "numeric": "numeric", "float4": "numeric", "float8": "numeric", "money": "numeric",
    "bool": "boolean", "date": "date", "timestamp": "timestamp", "timestamptz": "timestamp", "time": "time",
    "timetz": "time", "uuid": "uuid", "json": "json", "jsonb": "json", "inet": "inet", "cidr": "inet",
    "interval": "interval", "bytea": "bytea",
}  # fmt: skip


def family(column: Column) -> str:
    """Return the family of a column's type, as kinds name it; the type's own name where it has none."""
    if column.value.kind == "array":
        return "array"
    return _TYPES.get(column.value.name, column.value.name)


def guess(table: Table, column: Column) -> Guess | None:
    """Return the line that a recipe would have for a column; None where nothing says what stands in it.

    Args:
        table: the table.
        column: one that is neither a reference nor given its values by a sequence.
    """
    if column.default is not None and not _has_to_be_made(table, column):
        return None
    if column.labels:
        return {"kind": "choice", "values": list(column.labels)}
    checked = _of_checks(table, column) or _of_partitions(table, column)
    if checked is not None:
        return checked
    of = family(column)
    for pattern, found in _NAMES:
        if re.fullmatch(pattern, column.name, re.IGNORECASE) and _fits(table, column, of, found):
            return {key: value for key, value in found.items() if key != "nulls" or not column.not_null}
    if not column.not_null and column.default is None:
        return None
    usual = _FAMILIES.get(of)
    return usual if usual is not None and usual["kind"] in kinds.WORDS else None


def _has_to_be_made(table: Table, column: Column) -> bool:
    """Tell whether the database's own default will not do: others refer to the value, or it must differ."""
    unique = any(column.name in key.columns for key in table.keys)
    return unique or family(column) in {"timestamp", "date"}


def _fits(table: Table, column: Column, of: str, found: Guess) -> bool:
    """Tell whether a column can hold the values of a kind."""
    if found["kind"] not in kinds.WORDS:
        return False
    kind = kinds.kind(found["kind"])
    length = room(table, column)
    too_long = length is not None and of == "text" and kind.longest > length
    return kind.fits(of) and not too_long


def room(table: Table, column: Column) -> int | None:
    """Return how many characters a column takes, by its type or by a check of its length; None for any number."""
    found = [int(each) for each in re.findall(r"\((\d+)\)$", column.type)]
    name = re.escape(column.name)
    for check in table.checks:
        if check.columns == (column.name,) and not re.search(r"\b(NOT|OR|CASE)\b", check.expression):
            listed = re.findall(rf'length\(\(?"?{name}"?\)?(?:::text)?\) (<=|<|=) (\d+)', check.expression)
            found += [int(number) - (operator == "<") for operator, number in listed]
    return min(found, default=None)


#: The name of a check that stands for the bounds of partitions (see `schema`).
PARTITIONS = "seedtool_partitions"

_NUMBER = r"'?\(?(-?\d+(?:\.\d+)?)\)?'?(?:::[\w ]+)?"


def _of_checks(table: Table, column: Column) -> Guess | None:
    """Return what the checks of a column allow: a list of values, or a range of numbers."""
    least: Decimal | None = None
    most: Decimal | None = None
    of = family(column)
    places = _places(column) if of == "numeric" else 0
    step = Decimal(1).scaleb(-places)
    for check in table.checks:
        if check.columns != (column.name,):
            continue
        name = rf'\(?"?{re.escape(column.name)}"?\)?(?:::[\w ]+)?\)*'
        expression = re.sub(rf"\(?{name} IS NULL\)? OR ", "", check.expression)
        if re.search(r"\b(NOT|OR|CASE)\b", expression):
            continue  # what stands within it may be just what is not allowed
        listed = re.search(rf"{name} = ANY \(+ARRAY\[(.*?)\]", expression)
        if listed:
            values = re.findall(r"'((?:[^']|'')*)'(?:::[\w ]+(?:\(\d+\))?)?|(-?\d+)", listed[1])
            return {
                "kind": "choice",
                "values": [text.replace("''", "'") if not number else int(number) for text, number in values],
            }
        if of not in {"integer", "numeric"}:
            continue
        for operator, number in re.findall(rf"{name} (>=|>|<=|<) {_NUMBER}", expression):
            bound = Decimal(number)
            if operator in {">=", ">"}:
                lower = _rounded(bound, step, up=True) + (step if operator == ">" and bound % step == 0 else 0)
                least = max(lower, least if least is not None else lower)
            else:
                upper = _rounded(bound, step, up=False) - (step if operator == "<" and bound % step == 0 else 0)
                most = min(upper, most if most is not None else upper)
    if least is None or most is None or most < least or not column.not_null:
        return None
    if least % 1 == 0 and most % 1 == 0:
        return {"kind": "integer", "min": int(least), "max": int(most)}
    return {"kind": "decimal", "min": float(least), "max": float(most), "places": places}


def _of_partitions(table: Table, column: Column) -> Guess | None:
    """Return the days that a table's partitions are for, where it is partitioned by days."""
    of = family(column)
    bounds = next((each.expression for each in table.checks if each.name == PARTITIONS), "")
    days = [date.fromisoformat(each) for each in re.findall(r"'(\d{4}-\d\d-\d\d)", bounds)]
    if of not in {"date", "timestamp"} or len(days) != 2 or not bounds.startswith(f"{column.name} >="):
        return None
    # the first of the days may have begun within a time zone, and the last ends before the bound
    first, last = days[0] + timedelta(days=of == "timestamp"), days[1] - timedelta(days=1)
    return {"kind": of, "min": first, "max": last} if first <= last else None


def _places(column: Column) -> int:
    """Return how many decimals a column of numbers keeps: those of its type, else two; `decimal` makes up to nine."""
    scale = re.search(r"\(\d+,(-?\d+)\)$", column.type)
    if scale is not None:
        return min(max(int(scale[1]), 0), 9)
    return 0 if re.search(r"\(\d+\)$", column.type) else 2


def _rounded(number: Decimal, step: Decimal, *, up: bool) -> Decimal:
    """Return the nearest multiple of a step that is not below a number, or not above it."""
    return (number / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step


#: The families of types whose values can be put in order.
ORDERED = frozenset({"integer", "numeric", "date", "timestamp", "time"})


class Comparison(NamedTuple):
    """A check demands that one column's value is not above another one's.

    Args:
        below: the column with the smaller value.
        above: the one with the larger value.
        strict: they may not be equal.
    """

    below: str
    above: str
    strict: bool


_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[a-z_][\w$]*)'
_COMPARED = re.compile(rf"\(?({_IDENTIFIER}) (<=|<|>=|>) ({_IDENTIFIER})\)?")


def comparisons(table: Table) -> list[Comparison]:
    """Return what the checks of a table demand of two columns: `starts_at < ends_at`."""
    found = []
    for check in table.checks:
        if len(check.columns) < 2 or re.search(r"\b(NOT|CASE)\b", check.expression):
            continue
        for one, operator, two in _COMPARED.findall(check.expression):
            first, second = _unquoted(one), _unquoted(two)
            below, above = (first, second) if operator[0] == "<" else (second, first)
            if below != above and {below, above} <= table.columns.keys():
                found.append(Comparison(below, above, strict=len(operator) == 1))
    return found


def chains(found: Sequence[Comparison]) -> list[list[str]]:
    """Return columns that belong together, each list from the smallest value to the largest.

    Columns that demand of each other to be smaller are left out: no row obeys them but one of equal values.
    """
    above: dict[str, set[str]] = {}
    for each in found:
        above.setdefault(each.below, set()).add(each.above)
        above.setdefault(each.above, set())
    together: dict[str, set[str]] = {name: {name} for name in above}
    for each in found:
        joined = together[each.below] | together[each.above]
        for name in joined:
            together[name] = joined
    ordered = []
    for group in {tuple(sorted(each)) for each in together.values()}:
        sorter = graphlib.TopologicalSorter(
            {name: sorted(each for each in group if name in above[each]) for name in group}
        )
        try:
            ordered.append(list(sorter.static_order()))
        except graphlib.CycleError:
            continue
    return sorted(ordered)


def is_obeyed(table: Table, check: Check) -> bool:
    """Tell whether a check over several columns only compares some that can be put in order: it needs no line then."""
    compared = comparisons(msgspec.structs.replace(table, checks=(check,)))
    in_keys = {name for key in table.keys for name in key.columns}
    for each in compared:
        families = {family(table.columns[each.below]), family(table.columns[each.above])}
        if len(families) > 1 or not families <= ORDERED or {each.below, each.above} <= in_keys:
            return False
    rest = _COMPARED.sub("", check.expression)
    without = re.sub(rf"\(?{_IDENTIFIER} IS NULL\)?", "", rest)
    if without != rest and "AND" in without:
        return False
    return bool(compared) and not re.sub(r"[()\s]|\bAND\b|\bOR\b", "", without)


def _unquoted(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def key_template(recipe: str, table: Table, column: Column) -> Guess:
    """Return the line of a text key: where there is room, the recipe's name keeps its rows apart from people's."""
    one = singular(table.name)
    width = room(table, column)
    for prefix in (f"{recipe}-{one}-", f"{one}-", f"{one[:1]}-", ""):
        if width is None or len(prefix) + 6 <= width:
            break
    number = "{n:06}" if width is None or width >= 6 else "{n}"
    return {"kind": "template", "format": f"{prefix}{number}".replace("_", "-")}


def singular(table: str) -> str:
    """Return what one row of a table is called: `families` has a `family`, `classes` a `class`."""
    for pattern, ending in ((r"ies$", "y"), (r"(ss|x|ch|sh)es$", r"\1"), (r"(?<=[^s])s$", "")):
        found, count = re.subn(pattern, ending, table)
        if count:
            return found
    return table


def proposal(table: Table, column: Column) -> str:
    """Return what a person could write for a column of which nothing is known, as TOML."""
    of, name = family(column), key(column.name)
    if of == "text" and re.search("name|title|label|code", column.name):
        return f'{name} = "{singular(table.name).replace("_", " ").capitalize()} {{n}}"'
    if of in {"integer", "numeric"} and table.unique_alone(column.name):
        return f'{name} = "{{n}}"'
    precision = re.search(r"\((\d+),(\d+)\)$", column.type)
    if of == "numeric" and precision and int(precision[1]) - int(precision[2]) < 3:
        places = int(precision[2])
        most = Decimal(10) ** (int(precision[1]) - places) - Decimal(1).scaleb(-places)
        return f'{name} = {{ kind = "decimal", min = 0, max = {most}, places = {min(places, 9)} }}'
    if of == "bit":
        return f"{name} = {_constant('0' * (room(table, column) or 1))}"
    found = _EXAMPLES.get(of)
    if found is None and column.value.kind == "range":
        part = column.value.part.name if column.value.part else ""
        type_ = {"date": "date", "timestamp": "timestamp", "timestamptz": "timestamp"}.get(part, "integer")
        found = f'{{ kind = "range", type = "{type_}" }}'
    return f"{name} = {found or _constant('...')}"


def _constant(value: str) -> str:
    return f"{{ kind = \"constant\", value = '{value}' }}"


#: A line for each type that nothing is guessed of; a constant is written as PostgreSQL reads it.
_EXAMPLES = {
    "text": '"word"',
    "integer": '{ kind = "integer", min = 1, max = 100 }',
    "numeric": '{ kind = "integer", min = 1, max = 100 }',
    "json": _constant("{}"),
    "array": "{ kind = \"choice\", values = ['{}'] }",
    "time": '{ kind = "choice", values = ["08:00", "09:45"] }',
    "interval": '{ kind = "choice", values = ["1 hour", "1 day"] }',
    "date": '"date"',
    "timestamp": '"timestamp"',
    "boolean": '"boolean"',
    "uuid": '"uuid"',
    "inet": '"ip"',
    "bytea": "{ kind = \"constant\", value = '\\x00' }",
    "varbit": _constant("0"),
    "xml": _constant("<a/>"),
    "macaddr": _constant("08:00:2b:01:02:03"),
    "point": _constant("(0,0)"),
    "tsvector": _constant("word"),
    "hstore": _constant("a=>1"),
    "oid": '"{n}"',
}


def key(name: str) -> str:
    """Return a key as TOML writes it."""
    if name.replace("_", "").replace("-", "").isalnum() and name.isascii():
        return name
    return _toml(name)


def line(found: Guess) -> str:
    """Return a guess as a recipe writes it."""
    if set(found) == {"kind"}:
        return f'"{found["kind"]}"'
    if set(found) == {"kind", "format"} and found["kind"] == "template":
        return f'"{found["format"]}"'
    return "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in found.items()) + " }"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float, date)):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
