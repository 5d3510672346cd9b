"""The plan: a recipe and a catalog become tables in order, with a maker for each column.

What a recipe leaves out is inferred here and in inference.py. What cannot be inferred is an error that names table and
column and proposes the line.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec

from seedtool.errors import SchemaError, SeedError
from seedtool.generating import columns as makers
from seedtool.generating import inference, keys
from seedtool.generating.columns import Drawn, Field, Given, Parent, Referring, Serial, Template, Through
from seedtool.generating.numbering import Numbering
from seedtool.generating.recipe import ColumnLine
from seedtool.generating.rows import PlannedTable
from seedtool.postgres.catalog import Table
from seedtool.values import hashing, kinds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from seedtool.generating.facts import Facts
    from seedtool.generating.recipe import Recipe
    from seedtool.generating.rows import Maker, Relation
    from seedtool.postgres.catalog import Catalog, Column, ForeignKey

_SECOND = re.compile("middle|second|maiden|segundo", re.IGNORECASE)

#: The words of a line that makes a foreign key's column a drawn reference.
REFERENCE = "reference"
_REFERENCE_PARAMETERS = ("skewed", "each")


class Plan:
    """What a recipe makes in a database.

    Args:
        recipe: the recipe.
        catalog: of the database.
        facts: what else has to be known of the database.
        random_seed: the random seed.
        units: how many units are made: the scale times the recipe's units.
        before: how many of them are there already.
        folder: the project's, for words that read a file of it.

    Attributes:
        tables: the tables that get rows, parents first.
        known: these, and those whose rows are given, by their names in the recipe.

    Raises:
        RecipeError: the recipe does not fit the database; with line and character, table and column.
    """

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        facts: Facts,
        random_seed: str,
        units: int,
        before: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.recipe = recipe
        self.catalog = catalog
        self.units = units
        self.before = before
        self.folder = folder
        self.seed = random_seed.encode()
        self._facts = facts
        self.known: dict[str, PlannedTable] = {}
        found = {name: self._find(name) for name in recipe.rows}
        numberings: dict[str, Numbering] = {}
        for name in recipe.rows:
            self._number(name, found, numberings)
        for name, table in found.items():
            self.known[name] = PlannedTable(name, table, numberings[name])
        self._by_oid = {each.table.oid: each for each in self.known.values()}
        self.tables = [
            self._by_oid[table.oid]
            for table in _in_order(catalog, found.values())
            if self._is_made(self._by_oid[table.oid].name)
        ]
        for planned in self.known.values():
            if recipe.rows[planned.name].imagined:
                continue
            if recipe.rows[planned.name].given:
                self._give(planned)
            else:
                _Filling(self, planned).relations()
        for planned in self.tables:
            _Filling(self, planned).overlaps()
        for planned in self.tables:
            _Filling(self, planned).columns()
        for planned in self.tables:
            self._settle(planned)
        for planned in self.tables:
            self._try(planned)

    def _settle(self, planned: PlannedTable) -> None:
        """Make unique keys hold, or refuse the recipe before a row is made."""
        rows = planned.numbering.total(self.recipe.units)
        fault = keys.settle(planned, self.key(planned.name), rows, self.units, self.recipe.units)
        if fault is not None:
            place = self.recipe.place_of(planned.name, fault.column)
            raise self.recipe.fault(fault.fault, fault.remedy, place, table=planned.name, column=fault.column)
        for name, dealt in keys.dealt_kinds(planned):
            total, before = planned.numbering.total(self.units), planned.numbering.total(self.before)
            taken = self._facts.taken(planned.table, name, before)
            found = keys.collisions(planned, dealt, taken, before, total) if taken else []
            dealt.moved = self._facts.moved(planned.table, name, found)

    def _try(self, planned: PlannedTable) -> None:
        """Make the first row: so given rows are read, and what a value cannot be made from is found."""
        import numpy as np

        if self.rows(planned):
            batch = planned.batch(np.zeros(1, dtype=np.int64))
            for column in planned.written:
                batch.cells(column)

    def key(self, *names: str) -> bytes:
        """Return the key of a stream."""
        return hashing.key_of(self.seed, "rows", *names)

    def rows(self, planned: PlannedTable) -> int:
        """Return how many rows of a table are made."""
        return planned.numbering.total(self.units)

    def of(self, oid: int) -> PlannedTable | None:
        """Return the table of this oid, where the recipe knows it."""
        return self._by_oid.get(oid)

    def facts(self) -> Facts:
        """Return what is known of the database."""
        return self._facts

    def _find(self, name: str) -> Table:
        if self.recipe.rows[name].imagined:
            return _imagined(self.catalog, name, self.recipe)
        try:
            return self.catalog.find(name)
        except SchemaError as error:
            place = self.recipe.rows[name].place
            raise self.recipe.fault(error.message, error.remedy, place, table=name) from error

    def _is_made(self, name: str) -> bool:
        return not (self.recipe.rows[name].given or self.recipe.rows[name].imagined)

    def _number(self, name: str, found: Mapping[str, Table], numberings: dict[str, Numbering]) -> Numbering:
        if name not in numberings:
            count = self.recipe.rows[name]
            parent = self._number(count.per, found, numberings) if count.per is not None else None
            given = self._facts.count(found[name]) if count.given else 0
            if count.given and not given:
                raise self.recipe.fault(
                    f"{name} has no row that could be given",
                    f'Load its rows first (seedtool seed PROFILE), or write {name} = "14 in all", say.',
                    count.place,
                    table=name,
                )
            units = self.recipe.units
            numberings[name] = Numbering(name, count, units, parent, seed=self.seed, given=given)
        return numberings[name]

    def _give(self, planned: PlannedTable) -> None:
        """Let columns of given rows be read when they are asked for."""
        planned.makers = _GivenColumns(self._facts, planned.table)


def _in_order(catalog: Catalog, tables: Iterable[Table]) -> list[Table]:
    """Return the tables, parents first. Of tables that refer to each other, that one first which can do with NULL."""
    chosen = {table.oid: table for table in tables}
    ordered = catalog.parents_first(chosen.values())
    place = {table.oid: number for number, table in enumerate(ordered)}
    inner = [
        (table, key)
        for table in ordered
        for key in table.foreign_keys
        if key.references in chosen and key.references != table.oid
    ]
    if not any(_is_needed(table, key) and place[key.references] > place[table.oid] for table, key in inner):
        return ordered
    above: dict[int, set[int]] = {oid: {oid} for oid in chosen}
    for _ in chosen:  # in each turn the tables that are one step further above
        for table, key in inner:
            above[table.oid] |= above[key.references]
    closing = [key for table, key in inner if not _is_needed(table, key) and table.oid in above[key.references]]
    return catalog.parents_first(chosen.values(), without=closing)


def _is_needed(table: Table, key: ForeignKey) -> bool:
    return all(table.columns[column].not_null for column in key.columns)


def _imagined(catalog: Catalog, name: str, recipe: Recipe) -> Table:
    """Return a table without columns for rows that only hold others together."""
    if catalog.named(name) is not None:
        raise recipe.fault(
            f"{name} is a table of the database, and imagined rows have none",
            f"Write {name} = {recipe.rows[name].rows}, or give the imagined rows another name.",
            recipe.rows[name].place,
            table=name,
        )
    return Table(
        oid=-1 - list(recipe.rows).index(name), schema="", name=name, kind="table", partitioned=False, plain=True,
        ancestors=(), triggers=(), rules=(), columns={}, keys=(), checks=(), foreign_keys=(),
    )  # fmt: skip


class _GivenColumns(dict[str, "Maker"]):
    def __init__(self, facts: Facts, table: Table) -> None:
        super().__init__()
        self._facts = facts
        self._table = table

    def __missing__(self, column: str) -> Maker:
        self[column] = found = Given(self._facts.given(self._table, column))
        return found


class _Filling:
    """Finds the makers of one table."""

    def __init__(self, plan: Plan, planned: PlannedTable) -> None:
        self._plan = plan
        self._recipe = plan.recipe
        self._planned = planned
        self._table = planned.table
        self._lines = plan.recipe.tables.get(planned.name, {})
        self._chosen: dict[str, ColumnLine] = {}
        self._check_names()

    def _check_names(self) -> None:
        for name, line in self._lines.items():
            column = self._table.columns.get(name)
            if column is None:
                close = difflib.get_close_matches(name, self._table.columns, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"It has {', '.join(self._table.columns)}."
                raise self._fault(f"{self._planned.name} has no column {name}", hint, name)
            if column.generated:
                raise self._fault(f"{self._planned.name}.{name} is computed by the database", "Remove the line.", name)
            del line

    def relations(self) -> None:
        """Find which rows the foreign keys refer to."""
        planned, driver = self._planned, self._driver()
        taken: set[str] = set()
        keys = [key for key in self._table.foreign_keys if not any(self._is_written(each) for each in key.columns)]
        derived = {key.name: self._carriers(key) for key in keys if key is not driver}
        for key in sorted(keys, key=lambda key: (key is not driver, bool(derived.get(key.name)), key.name)):
            if taken.issuperset(key.columns):
                continue
            relation = self._relation(key, derived.get(key.name, []), is_driver=key is driver)
            if relation is not None:
                planned.relations[key.name] = relation
                taken.update(key.columns)

    def _carriers(self, key: ForeignKey) -> list[tuple[ForeignKey, ForeignKey]]:
        """Return the foreign keys to rows that have the same reference, each with that of theirs.

        A session's teacher is its class's: both tables have `teacher_id`, and `sessions` refers to `classes`.
        """
        if any(column in self._lines for column in key.columns):
            return []
        found = []
        for other in self._table.foreign_keys:
            beyond = self._plan.of(other.references)
            if other is key or beyond is None or beyond is self._planned:
                continue
            theirs = (each for each in beyond.table.foreign_keys if each.columns == key.columns)
            found += [(other, each) for each in theirs if each.references == key.references]
        return found

    def _is_written(self, column: str) -> bool:
        """Tell whether a line says what stands in a column, and not only how its reference is drawn."""
        line = self._lines.get(column)
        return line is not None and line.kind not in {REFERENCE, ""}

    def _driver(self) -> ForeignKey | None:
        """Return the foreign key to the parent."""
        count = self._recipe.rows[self._planned.name]
        if count.per is None or self._recipe.rows[count.per].imagined:
            return None
        parent = self._plan.known[count.per].table
        keys = [key for key in self._table.foreign_keys if key.references in {parent.oid, *parent.ancestors}]
        columns = [", ".join(key.columns) for key in keys]
        if count.through is not None:
            keys = [key for key in keys if count.through in key.columns]
        name = self._planned.name
        if not keys:
            missing = f" through {count.through}" if count.through else ""
            raise self._recipe.fault(
                f"{name} has no foreign key to {count.per}{missing}",
                f"Its foreign keys to it are: {'; '.join(columns)}." if columns else f"Give {name} a number of rows.",
                count.place,
                table=name,
            )
        if len(keys) > 1:
            raise self._recipe.fault(
                f"{name} refers to {count.per} in several columns: {'; '.join(columns)}",
                f'Say which one: {name} = {{ per = "{count.per}", count = ..., through = "{keys[0].columns[0]}" }}.',
                count.place,
                table=name,
            )
        return keys[0]

    def _relation(
        self, key: ForeignKey, carriers: list[tuple[ForeignKey, ForeignKey]], *, is_driver: bool
    ) -> Relation | None:
        planned, plan = self._planned, self._plan
        line = next((self._lines[column] for column in key.columns if column in self._lines), None)
        needed = all(self._table.columns[column].not_null for column in key.columns)
        target = plan.of(key.references)
        if target is None:
            self._refuse_unknown(key, needed=needed, asked=line is not None)
            return None
        if is_driver:
            return Parent(target)
        if line is None and target is not planned:
            if target.numbering in planned.numbering.chain:
                return Parent(target)
            for other, theirs in carriers:
                if other.name in planned.relations:
                    return self._through(key, target, other, theirs)
        parameters = dict(line.parameters) if line else {}
        for name in parameters:
            if name not in _REFERENCE_PARAMETERS:
                raise self._fault(
                    f"a reference has no {name}",
                    "It may have nulls = 0.1, skewed = true, and each = 2: then rows refer to the others in turn.",
                    key.columns[0],
                )
        nulls = line.nulls if line else 0
        if nulls and needed:
            raise self._fault(f"{key.columns[0]} takes no NULL", "Remove nulls from the line.", key.columns[0])
        return Drawn(
            target,
            plan.key(planned.name, *key.columns),
            skewed=bool(parameters.get("skewed")),
            each=_whole(parameters.get("each", 0)),
            nulls=nulls,
            own=target is planned,
            needed=needed,
        )

    def _through(self, key: ForeignKey, target: PlannedTable, other: ForeignKey, theirs: ForeignKey) -> Relation | None:
        beyond = self._planned.relations[other.name].target
        written = self._recipe.tables.get(beyond.name, {})
        if not self._recipe.rows[beyond.name].given and not any(column in written for column in theirs.columns):
            return Through(target, other.name, theirs.name)
        for column in key.columns:  # its value is known there, and not which row is meant
            self._planned.makers[column] = Template([Field(other.name, column, 0)])
        return None

    def _refuse_unknown(self, key: ForeignKey, *, needed: bool, asked: bool) -> None:
        table = self._plan.catalog.tables[key.references]
        if needed or asked:
            column = ", ".join(key.columns)
            raise self._fault(
                f"{self._planned.name}.{column} refers to {table}, and [rows] does not say how many rows that has",
                f'Write {table} = "given" below [rows] for the rows that are in the database, or {table} = 1000.',
                key.columns[0],
            )

    def overlaps(self) -> None:
        """Let a foreign key that shares a column with another one refer to rows that have the same value there.

        An order has a customer and an address of the same tenant: `(tenant, customer)` and `(tenant, address)`.
        """
        keys = {key.name: key for key in self._table.foreign_keys}
        before: dict[str, str] = {}
        for name, relation in list(self._planned.relations.items()):
            key = keys[name]
            shared = [column for column in key.columns if column in before]
            if shared and isinstance(relation, Drawn) and relation.target is not self._planned:
                first = before[shared[0]]
                other = self._planned.relations[first].target
                above = [
                    each
                    for each in _anchors(other, _referenced(keys[first], shared[0]))
                    if each in _anchors(relation.target, _referenced(key, shared[0]))
                ]
                if above:
                    self._planned.relations[name] = makers.Beside(relation, first, above[0])
                elif self._recipe.rows[relation.target.name].given:
                    theirs, own = _referenced(keys[first], shared[0]), _referenced(key, shared[0])
                    self._planned.relations[name] = makers.Matching(relation, first, theirs, own)
            for column in key.columns:
                before.setdefault(column, name)

    def columns(self) -> None:
        """Find what makes each column."""
        planned = self._planned
        keys = {key.name: key for key in self._table.foreign_keys}
        for key in (keys[name] for name in planned.relations):
            if key.name in planned.relations:
                for own, theirs in zip(key.columns, key.referenced_columns, strict=True):
                    planned.makers.setdefault(own, Referring(key.name, theirs))
        self._chosen = self._all_lines()
        for name, line in self._chosen.items():
            planned.makers[name] = self._written(self._table.columns[name], line)
        if not planned.makers:  # COPY has to name a column
            for name, column in self._table.columns.items():
                if not (column.generated or column.not_null or column.default):
                    planned.makers[name] = makers.Made(kinds.kind("null"), b"")
                    break
            else:
                self._refuse_empty()
        self._order()
        planned.written = tuple(name for name in self._table.columns if name in planned.makers)

    def _refuse_empty(self) -> None:
        """Refuse a table of which the database fills in each column."""
        columns = [each for each in self._table.columns.values() if not each.generated]
        if not columns:
            raise self._recipe.fault(
                f"{self._planned.name} has no column that a row could be written into",
                f"Remove {self._planned.name} from [rows].",
                self._recipe.place_of(self._planned.name),
                table=self._planned.name,
            )
        raise self._fault(
            f"each column of {self._planned.name} has a default, and COPY has to write one",
            f"Write below [tables.{self._planned.name}]: {inference.proposal(self._table, columns[0])}",
            columns[0].name,
        )

    def _order(self) -> None:
        """Let rows obey checks that compare columns: values that stand the wrong way round change places."""
        planned, table = self._planned, self._table
        in_keys = {name for key in table.keys for name in key.columns}

        def is_drawn(name: str) -> bool:
            maker = planned.makers.get(name)
            maker = maker.maker if isinstance(maker, makers.WithNulls) else maker
            return isinstance(maker, makers.Made) and not maker.kind.needs

        found = [each for each in inference.comparisons(table) if is_drawn(each.below) and is_drawn(each.above)]
        self._put_in_order([each for each in found if not {each.below, each.above} & in_keys], frozenset())
        # a column of a unique key keeps its value, and the others go by it
        self._put_in_order([each for each in found if not {each.below, each.above} <= in_keys], in_keys)

    def _put_in_order(self, found: Sequence[inference.Comparison], fixed: Collection[str]) -> None:
        """Order columns that checks compare, of which some may be fixed; without these, values change places."""
        planned, table = self._planned, self._table
        # a value is above all that are before it where it is above the one just before it
        strict = {each.above for each in found if each.strict}
        for columns in inference.chains(found):
            family = inference.family(table.columns[columns[0]])
            if family not in inference.ORDERED or (fixed and not set(fixed) & set(columns)):
                continue
            if any(inference.family(table.columns[each]) != family for each in columns):
                continue
            order = makers.Order(
                [makers.Other(name) if name in fixed else planned.makers[name] for name in columns],
                [name in strict for name in columns[1:]],
                family,
                [self._most(name) for name in columns],
                [name in fixed for name in columns],
            )
            for place, name in enumerate(columns):
                if name not in fixed:
                    planned.makers[name] = makers.Ordered(order, place)

    def _most(self, name: str) -> float | None:
        """Return the largest number that a column may have, where a line or a guess says so."""
        found = self._chosen[name].parameters.get("max") if name in self._chosen else None
        return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None

    def _all_lines(self) -> dict[str, ColumnLine]:
        """Return the lines of all columns that need one: as they are written, or guessed."""
        lines: dict[str, ColumnLine] = {}
        for name, column in self._table.columns.items():
            if column.generated or name in self._planned.makers:
                continue
            line = self._lines.get(name) or self._guessed(column)
            if line is not None:
                lines[name] = line
        # a second first name belongs to the same person
        persons = {name: (line.kind, line.parameters) for name, line in lines.items() if not _SECOND.match(name)}
        for name, (_, parameters) in kinds.agree(persons).items():
            lines[name] = msgspec.structs.replace(lines[name], parameters=parameters)
        return lines

    def _written(self, column: Column, line: ColumnLine) -> Maker:
        if line.nulls and column.not_null:
            raise self._fault(f"{column.name} takes no NULL", "Remove nulls from the line.", column.name)
        try:
            match line.kind:
                case "template":
                    maker: Maker = self._template(column, line.parameters.get("format"))
                case "cycle":
                    maker = self._cycle(column, line)
                case _:
                    maker = self._made(column, line)
        except ValueError as error:
            fault, remedy = error.args if len(error.args) > 1 else (str(error), "Correct the line.")
            raise self._fault(fault, remedy, column.name) from error
        except SeedError as error:
            remedy = (
                error.remedy or f'The guide to recipes (docs/guides/recipes.md) shows "{line.kind}" with an example.'
            )
            if line.kind not in kinds.WORDS:
                remedy += f' For the text itself: {column.name} = {{ kind = "constant", value = "{line.kind}" }}.'
            raise self._fault(error.message, remedy, column.name) from error
        if line.nulls:
            maker = makers.WithNulls(maker, line.nulls, self._plan.key(self._planned.name, column.name, "nulls"))
        return maker

    def _made(self, column: Column, line: ColumnLine) -> Maker:
        """Return the maker of a word of the vocabulary."""
        parameters = dict(line.parameters)
        word = kinds.WORDS.get(line.kind)
        if word is not None and "locale" in word.parameters:
            parameters.setdefault("locale", self._recipe.locale)
        kind = kinds.kind(line.kind, folder=self._plan.folder, **parameters)  # type: ignore[arg-type] # nulls is apart
        for name in kind.needs:
            if name not in self._table.columns or name == column.name:
                raise ValueError(
                    f"{self._planned.name} has no other column {name}", f"It has {', '.join(self._table.columns)}."
                )
        return makers.Made(kind, self._plan.key(self._planned.name, column.name))

    def _template(self, column: Column, text: object) -> Template:
        if not isinstance(text, str):
            raise ValueError(  # noqa: TRY004 - a wrong line
                "a template has a format", f'Write {column.name} = "student-{{n:06}}", say.'
            )
        try:
            parts = makers.fields(text)
        except ValueError as error:
            raise ValueError(
                str(error),
                f"Write {{{{ and }}}} twice for themselves, or {inference.key(column.name)} ="
                " { kind = \"constant\", value = '...' } for the text as it stands.",
            ) from error
        return Template([part if isinstance(part, str) else self._field(column, part) for part in parts])

    def _cycle(self, column: Column, line: ColumnLine) -> makers.Cycle:
        listed, each = line.parameters.get("values"), line.parameters.get("each", 1)
        if not isinstance(listed, list) or not listed or set(line.parameters) - {"values", "each"}:
            raise ValueError("a cycle has values, and may have each", 'Write values = ["A", "B"].')
        if not _whole(each):
            raise ValueError("each is not a whole number from 1", "Write each = 2: each value comes twice in a row.")
        texts = [kinds.patterns.written(value) for value in listed]
        return makers.Cycle(
            [None if text is None else self._template(column, text.decode()) for text in texts],
            _whole(each),
            per_parent=self._planned.numbering.parent is not None,
        )

    def _field(self, column: Column, field: Field) -> Field:
        """Check a field of a template, and name the foreign key of `{column.other}`."""
        known = (
            "A field is {n}, {k}, a column of the row, a column of a row that it refers to ({parent_id.name}), or a"
            " table above, which means the number of its row."
        )
        if field.relation is None:
            if field.name == "k" and self._planned.numbering.parent is None:
                raise ValueError(f"{{k}} counts a parent's children, and {self._planned.name} has no parent", known)
            if field.name in {"n", "k"}:
                return field
            for above in self._planned.numbering.chain[1:]:
                if above.table == field.name and field.name not in self._table.columns:
                    return field._replace(above=above)
            if field.name not in self._table.columns or field.name == column.name:
                raise ValueError(f"{self._planned.name} has no other column {field.name}", known)
            return field
        for key in self._table.foreign_keys:
            if field.relation in key.columns and key.name in self._planned.relations:
                target = self._planned.relations[key.name].target
                if field.name not in target.table.columns:
                    raise ValueError(f"{target.name} has no column {field.name}", known)
                return field._replace(relation=key.name)
        raise ValueError(f"{field.relation} refers to no row", known)

    def _guessed(self, column: Column) -> ColumnLine | None:
        """Return the line of a column that the recipe does not mention; None where the database fills it in."""
        planned, table = self._planned, self._table
        if column.sequence is not None and column.value.name in {"int2", "int4", "int8"}:
            planned.serials.append(column.name)
            before = planned.numbering.total(self._plan.before)
            planned.makers[column.name] = Serial(self._plan.facts().segments(table, column.name, before))
            return None
        found = inference.guess(table, column)
        of = inference.family(column)
        if any(column.name in key.columns for key in table.foreign_keys):
            return None  # `relations` has refused it where it is needed
        is_key = column.not_null and column.default is None and table.unique_alone(column.name)
        if found is None and of == "integer" and is_key:
            before = planned.numbering.total(self._plan.before)
            planned.makers[column.name] = Serial(self._plan.facts().segments(table, column.name, before))
            return None
        if found is None and of == "text" and table.unique_alone(column.name):
            found = inference.key_template(self._recipe.name, table, column)
        if found is not None:
            planned.guessed[column.name] = inference.line(found)
            parameters = {name: value for name, value in found.items() if name not in {"kind", "nulls"}}
            nulls = round(found.get("nulls", 0) * 1_000_000)
            place = self._recipe.rows[planned.name].place
            return ColumnLine(kind=found["kind"], parameters=parameters, nulls=nulls, place=place)
        if column.default is not None or not column.not_null:
            return None
        raise self._fault(
            f"nothing says what stands in {planned.name}.{column.name}, of type {column.type}",
            f"Write below [tables.{planned.name}]: {inference.proposal(table, column)}",
            column.name,
        )

    def _fault(self, fault: str, remedy: str, column: str) -> Exception:
        place = self._recipe.place_of(self._planned.name, column)
        return self._recipe.fault(fault, remedy, place, table=self._planned.name, column=column)


def _referenced(key: ForeignKey, column: str) -> str:
    return key.referenced_columns[key.columns.index(column)]


def _anchors(planned: PlannedTable, column: str) -> list[Numbering]:
    """Return the tables whose row says what stands in a column: the own one, and the parent where it is from there."""
    found = [planned.numbering]
    for key in planned.table.foreign_keys:
        relation = planned.relations.get(key.name)
        if column in key.columns and isinstance(relation, Parent):
            found += _anchors(relation.target, _referenced(key, column))
    return found


def _whole(value: object) -> int:
    """Return a whole number that is given in a line; 0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
