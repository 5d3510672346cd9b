"""Recipes: `seeds/NAME.toml` says how many rows of which tables are made, and what stands in their columns.

::

    description = "A district of 40 schools"
    locale = "es_CL"
    units = 40                                  # so that --scale may be a multiple of 1/40

    [rows]
    schools = "40 imagined"                     # no table: they hold the rows of a school together
    grades = "given"                            # rows that are in the database already
    legal_guardians = 16000
    students = "1..2 per legal_guardians"
    student_faces = "2 per students"

    [tables.students]
    id = "student-{n:06}"
    status = { kind = "choice", values = ["active", "inactive"], weights = [95, 5] }

What a recipe leaves out is inferred from the catalog (see inference.py).
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from seedtool.errors import RecipeError, UsageError
from seedtool.files import Malformed, toml_text
from seedtool.files.shown import shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A deck of numbers of children is laid out for each so many parents; one of a longer deck would not stay in memory.
LONGEST_DECK = 10_000

_KEYS = ("description", "locale", "units", "rows", "tables")
_ROW_KEYS = ("per", "count", "weights", "sizes", "through")


class Place(NamedTuple):
    """Where something stands in a recipe: line and character, both from 1."""

    line: int
    character: int


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a table there are.

    Args:
        rows: at a scale of 1; None where it goes by parent rows or where the rows are given.
        scaled: `--scale` multiplies it.
        per: the table whose rows have so many children each; None for none.
        deck: the numbers of children that parent rows have, dealt out anew to each so many parents.
        shuffled: the deck is shuffled for each deal; else the first parent has the first number, and so on.
        through: the column, of several, that refers to the parent.
        given: the rows are in the database already.
        imagined: there is no such table; its rows only hold others together, as the schools of a district do.
        place: where the line stands.
    """

    rows: int | None = None
    scaled: bool = True
    per: str | None = None
    deck: tuple[int, ...] = ()
    shuffled: bool = True
    through: str | None = None
    given: bool = False
    imagined: bool = False
    place: Place


class ColumnLine(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a column.

    Args:
        kind: a word of the vocabulary.
        parameters: what else the line says.
        nulls: the share of rows that have NULL there, in millionths.
        place: where the line stands.
    """

    kind: str
    parameters: dict[str, object] = {}
    nulls: int = 0
    place: Place


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe as it was read.

    Args:
        name: the file's name without its suffix.
        file: its path, as messages show it.
        content: the file's text: what was loaded by it can be found again when the file has changed.
        description: one line for people.
        locale: the language of names and addresses.
        units: of how many equal parts the rows are; `--scale` is a multiple of one of them.
        rows: the number of rows of each table.
        tables: the columns of tables, as far as they are written.
        places: where each table of `tables` begins.
    """

    name: str
    file: str
    content: str
    description: str = ""
    locale: str = "es_CL"
    units: int = 1
    rows: dict[str, Count]
    tables: dict[str, dict[str, ColumnLine]]
    places: dict[str, Place]

    @property
    def hash(self) -> str:
        """The hex digest of what the recipe says: comments, blanks and the order of lines do not count."""
        said = {
            "locale": self.locale,
            "units": self.units,
            "rows": {name: msgspec.structs.replace(each, place=_NOWHERE) for name, each in self.rows.items()},
            "tables": {
                table: {name: msgspec.structs.replace(line, place=_NOWHERE) for name, line in lines.items()}
                for table, lines in self.tables.items()
            },
        }
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()

    @property
    def files(self) -> list[str]:
        """The files of the project that lines name: own pools, and own kinds."""
        lines = [line for columns in self.tables.values() for line in columns.values()]
        pools = {str(line.parameters["file"]) for line in lines if "file" in line.parameters}
        functions = {str(line.parameters.get("name")).rpartition(":")[0] for line in lines if line.kind == "function"}
        return sorted(pools | functions)

    def fault(self, fault: str, remedy: str, place: Place | None = None, **where: str | None) -> RecipeError:
        """Return the error for what is wrong at a place of the recipe.

        Args:
            fault: what is wrong.
            remedy: what to do.
            place: where; None for the whole file.
            where: `table` and `column` that it is about.
        """
        line, character = place or (None, None)
        at = "" if line is None else f":{line}:{character}"
        return RecipeError(
            f"{self.file}{at}: {fault}",
            remedy=remedy,
            file=self.file,
            line=line,
            character=character,
            table=where.get("table"),
            column=where.get("column"),
            key=where.get("key"),
        )

    def place_of(self, table: str, column: str | None = None) -> Place | None:
        """Return where a column's line stands, or where its table begins, or where its rows are counted."""
        line = self.tables.get(table, {}).get(column or "")
        if line is not None:
            return line.place
        return self.places.get(table) or (self.rows[table].place if table in self.rows else None)


_NOWHERE = Place(0, 0)


def find(seeds: Path, name: str, root: Path) -> Recipe:
    """Read the recipe of this name.

    Args:
        seeds: the folder of the seeds.
        name: the recipe's name, or the path of its file.
        root: the project's folder, to which messages show paths.

    Raises:
        UsageError: there is none of this name.
        RecipeError: it cannot be read.
    """
    path = Path(name) if name.endswith(".toml") else seeds / f"{name}.toml"
    if not path.is_file() or path.name == "profiles.toml":
        known = names(seeds)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        listed = f"The recipes are: {', '.join(known)}." if known else "seedtool seed recipe TABLE... drafts one."
        raise UsageError(f"there is no recipe {path}", remedy=f"{hint}{listed}", option="RECIPE")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read: {error.strerror}",
            remedy="Give this user the right to read it.",
            file=shown_path(path, root),
        ) from error
    return read(content, path.stem, shown_path(path.absolute(), root))


def names(seeds: Path) -> list[str]:
    """Return the names of the recipes of a project: files of TOML in its seeds folder, but for profiles.toml."""
    if not seeds.is_dir():
        return []
    return sorted(each.stem for each in seeds.glob("*.toml") if each.name != "profiles.toml")


#: Row numbers have 64 bits, and a unit up to some millions of rows.
_MOST_UNITS = 10**12

#: A recipe counts rows with twelve digits; more rows than that are a mistake.
_MOST_ROWS = 10**12 - 1
_DIGITS = re.compile(r"[0-9]{1,12}")


def units_of(recipe: Recipe, scale: float) -> int:
    """Return how many units a scale means.

    Raises:
        UsageError: it is no multiple of a unit, or no number that rows can be counted by.
    """
    units = scale * recipe.units
    if not units <= _MOST_UNITS:  # nor NaN
        raise UsageError(
            f"--scale {scale:g} is no number by which rows can be counted",
            remedy=f"Write one up to {_MOST_UNITS // recipe.units:,}.",
            option="--scale",
        )
    if units < 1 or abs(units - round(units)) > 1e-6:
        smallest = "1" if recipe.units == 1 else f"1/{recipe.units} = {1 / recipe.units:g}"
        raise UsageError(
            f"--scale {scale:g} is no multiple of {smallest}, the smallest scale of {recipe.name}",
            remedy=f"Write a multiple, or units = N at the top of {recipe.file}, where rows are N equal parts.",
            option="--scale",
        )
    return round(units)


def read(content: bytes, name: str, file: str) -> Recipe:
    """Read a recipe.

    Args:
        content: the file's.
        name: the recipe's name.
        file: the file's path, as messages show it.

    Raises:
        RecipeError: it is not TOML, or says something that is not understood; with line and character.
    """
    try:
        document = toml_text.read(content)
    except Malformed as error:
        character = getattr(error, "character", None)
        place = Place(error.line, character or 1) if error.line else None
        empty = Recipe(name=name, file=file, content="", rows={}, tables={}, places={})
        raise empty.fault(error.fault, error.remedy, place) from error
    return _Reading(document, name, file, content.decode("utf-8-sig")).recipe()


class _Reading:
    """Reads one recipe."""

    def __init__(self, document: toml_text.Document, name: str, file: str, content: str) -> None:
        self._document = document
        self._bare = Recipe(name=name, file=file, content=content, rows={}, tables={}, places={})

    def recipe(self) -> Recipe:
        data = self._document.data
        for key in data:
            if key not in _KEYS:
                raise self._unknown(key, _KEYS, key)
        description = self._text("description", default="")
        locale = self._text("locale", default="es_CL")
        units = data.get("units", 1)
        if not _whole(units) or units < 1:
            raise self._fault("units is not a whole number from 1", "Write units = 40, say.", "units")
        rows = {table: self._count(table, each, units) for table, each in self._table("rows").items()}
        if not rows:
            raise self._fault("no table has rows", "Write [rows] and below it students = 1000, or the like.", "rows")
        tables: dict[str, dict[str, ColumnLine]] = {}
        for table, lines in self._table("tables").items():
            if table not in rows:
                close = difflib.get_close_matches(table, rows, n=1)
                hint = f"Did you mean {close[0]}? Else write" if close else "Write"
                raise self._fault(
                    f"[rows] does not say how many rows {table} has", f"{hint} {table} = 1000 below [rows].",
                    "tables", table, table=table,
                )  # fmt: skip
            if not isinstance(lines, dict):
                raise self._fault(f"{table} is not a table", f"Write [tables.{table}].", "tables", table, table=table)
            tables[table] = {column: self._line(table, column, value) for column, value in lines.items()}
        places = {table: Place(*self._document.place("tables", table)) for table in tables}
        recipe = msgspec.structs.replace(
            self._bare, description=description, locale=locale, units=units, rows=rows, tables=tables, places=places
        )
        self._check_parents(recipe)
        return recipe

    def _check_parents(self, recipe: Recipe) -> None:
        """Refuse parents that have no rows, and tables that are each other's parents."""
        for table, count in recipe.rows.items():
            if count.per is None:
                continue
            if count.per not in recipe.rows:
                close = difflib.get_close_matches(count.per, recipe.rows, n=1)
                hint = f"Did you mean {close[0]}? Else write" if close else "Write"
                raise self._fault(
                    f"{table} has rows for each row of {count.per}, and [rows] does not say how many rows that has",
                    f'{hint} {count.per} = 1000 below [rows], or {count.per} = "given" for the rows that are in the'
                    " database.",
                    "rows", table, table=table,
                )  # fmt: skip
            chain = [table]
            while (above := recipe.rows[chain[-1]].per) is not None:
                if above in chain:
                    raise self._fault(
                        f"{' per '.join([*chain, above])} has no beginning",
                        f"Give one of them a number of its own: {table} = 1000.",
                        "rows", table, table=table,
                    )  # fmt: skip
                chain.append(above)

    def _count(self, table: str, value: object, units: int) -> Count:
        place = Place(*self._document.place("rows", table))
        example = f'{table} = 1000, "14 in all", "2 per PARENT", "20..35 per PARENT" or "given"'
        if _whole(value) and isinstance(value, int):
            return self._absolute(table, value, units, place)
        if isinstance(value, str):
            return self._count_of_text(table, value, example, units, place)
        if not isinstance(value, dict):
            raise self._fault(f"{value!r} is no number of rows", f"Write {example}.", "rows", table, table=table)
        for key in value:
            if key not in _ROW_KEYS:
                raise self._unknown(key, _ROW_KEYS, "rows", table, key)
        per = value.get("per")
        ways = [key for key in ("count", "weights", "sizes") if key in value]
        if not isinstance(per, str) or len(ways) != 1:
            raise self._fault(
                "a table of this line has per, and one of count, weights and sizes",
                f'Write {table} = {{ per = "PARENT", weights = {{ 1 = 60, 2 = 30, 3 = 10 }} }}, say.',
                "rows", table, table=table,
            )  # fmt: skip
        through = value.get("through")
        if through is not None and not isinstance(through, str):
            raise self._fault("through is not the name of a column", "Write it in quotes.", "rows", table, "through")
        deck = getattr(self, f"_deck_of_{ways[0]}")(table, value[ways[0]])
        if len(deck) > LONGEST_DECK:
            raise self._fault(
                f"{ways[0]} deals out {len(deck):,} numbers at once, and {LONGEST_DECK:,} is the most",
                "Write smaller weights, or a narrower range.", "rows", table, ways[0], table=table,
            )  # fmt: skip
        if not any(deck):
            raise self._fault(f"no row of {per} has a child", "Write a number above 0.", "rows", table, table=table)
        return Count(per=per, deck=deck, shuffled=ways[0] != "sizes", through=through, place=place)

    def _absolute(self, table: str, rows: int, units: int, place: Place) -> Count:
        if not 1 <= rows <= _MOST_ROWS:
            cure = "Write 1 or more." if rows < 1 else f"Write {_MOST_ROWS:,} or less."
            raise self._fault(f"{rows:,} is no number of rows", cure, "rows", table, table=table)
        if rows % units:
            down, up = rows // units * units, -(-rows // units) * units
            raise self._fault(
                f"{rows:,} rows cannot be divided into {units} equal units",
                f'Write {f"{down} or " if down else ""}{up}, or "{rows} in all" for rows that no scale multiplies.',
                "rows", table, table=table,
            )  # fmt: skip
        return Count(rows=rows, place=place)

    def _count_of_text(self, table: str, value: str, example: str, units: int, place: Place) -> Count:
        words = value.split()
        if words == ["given"]:
            return Count(given=True, scaled=False, place=place)
        match words:
            case [number, "in", "all"] if _DIGITS.fullmatch(number) and int(number) > 0:
                return Count(rows=int(number), scaled=False, place=place)
            case [number, "imagined"] if _DIGITS.fullmatch(number) and int(number) > 0:
                count = self._absolute(table, int(number), units, place)
                return msgspec.structs.replace(count, imagined=True)
            case [children, "per", *parts]:
                parent = value.partition(" per ")[2].strip() if parts else ""
                deck = self._deck_of_count(table, children)
                if not any(deck):
                    raise self._fault(f"no row of {parent} has a child", "Write a number above 0.", "rows", table)
                return Count(per=parent, deck=deck, place=place)
        raise self._fault(f"{value!r} is no number of rows", f"Write {example}.", "rows", table, table=table)

    def _deck_of_count(self, table: str, value: object) -> tuple[int, ...]:
        found = re.fullmatch(r"(\d{1,12})(?:\.\.(\d{1,12}))?", str(value), re.ASCII)
        if found is None or not isinstance(value, (str, int)):
            raise self._fault(
                f"{value!r} is no number of children", 'Write 2, or a range such as "20..35".', "rows", table,
                table=table,
            )  # fmt: skip
        least, most = int(found[1]), int(found[2] or found[1])
        if most < least or most - least >= LONGEST_DECK:
            raise self._fault(
                f"the range {value} is {'empty' if most < least else 'too wide'}",
                f"Write the smaller number first, at most {LONGEST_DECK:,} apart.", "rows", table, table=table,
            )  # fmt: skip
        return tuple(range(least, most + 1))

    def _deck_of_weights(self, table: str, value: object) -> tuple[int, ...]:
        example = "Write weights = { 1 = 60, 2 = 30, 3 = 10 }: numbers of children, each with its weight."
        if not isinstance(value, dict) or not value:
            raise self._fault("weights is not a table", example, "rows", table, "weights", table=table)
        for number, weight in value.items():
            if not re.fullmatch(r"\d+", number) or not _whole(weight) or weight < 0:
                raise self._fault(f"{number} = {weight!r} is no weight", example, "rows", table, "weights", number)
        common = math.gcd(*value.values()) or 1
        return tuple(int(number) for number, weight in value.items() for _ in range(min(weight // common, 10**6)))

    def _deck_of_sizes(self, table: str, value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or not value or not all(_whole(each) and each >= 0 for each in value):
            raise self._fault(
                "sizes is not a list of numbers",
                "Write sizes = [1200, 800, 300]: the first parent has 1200 rows, the second 800, and the fourth as many"
                " as the first.",
                "rows", table, "sizes", table=table,
            )  # fmt: skip
        return tuple(value)

    def _line(self, table: str, column: str, value: object) -> ColumnLine:
        place = Place(*self._document.place("tables", table, column))
        if isinstance(value, str):
            if "{" in value:
                return ColumnLine(kind="template", parameters={"format": value}, place=place)
            return ColumnLine(kind=value, place=place)
        if isinstance(value, list):
            return ColumnLine(kind="choice", parameters={"values": value}, place=place)
        if not isinstance(value, dict):
            return ColumnLine(kind="constant", parameters={"value": value}, place=place)
        line = dict(value)
        nulls = line.pop("nulls", 0)
        if isinstance(nulls, bool) or not isinstance(nulls, (int, float)) or not 0 <= nulls <= 1:
            raise self._fault(
                f"nulls = {nulls!r} is no share", "Write nulls = 0.2 for a fifth of the rows.",
                "tables", table, column, "nulls", table=table, column=column,
            )  # fmt: skip
        kind = line.pop("kind", "")
        if not isinstance(kind, str):
            raise self._fault(
                "kind is not a word", 'Write kind = "first_name", say.', "tables", table, column, table=table,
                column=column,
            )  # fmt: skip
        return ColumnLine(kind=kind, parameters=line, nulls=round(nulls * 1_000_000), place=place)

    def _table(self, key: str) -> dict[str, object]:
        found = self._document.data.get(key, {})
        if not isinstance(found, dict):
            raise self._fault(f"{key} is not a table", f"Write [{key}].", key)
        return found

    def _text(self, key: str, *, default: str) -> str:
        found = self._document.data.get(key, default)
        if not isinstance(found, str):
            raise self._fault(f"{key} is not a text", f'Write {key} = "...".', key)
        return found

    def _unknown(self, key: str, known: Iterable[str], *path: str) -> RecipeError:
        known = tuple(known)
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"The keys are: {', '.join(known)}."
        if len(path) == 1 and isinstance(self._document.data[key], dict):
            hint = f"Write [tables.{key}] for the columns of a table." if not close else hint
        return self._fault(f"unknown key {key}", hint, *path)

    def _fault(self, fault: str, remedy: str, *path: str, **where: str) -> RecipeError:
        return self._bare.fault(fault, remedy, Place(*self._document.place(*path)), key=".".join(path), **where)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
