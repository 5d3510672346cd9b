"""A look at what a recipe would make, without making it; and a picture of it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import msgspec

from seedtool.generating import rows
from seedtool.generating.columns import Referring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedtool.generating.planning import Plan
    from seedtool.generating.rows import PlannedTable

#: Rows that are shown of each table, and rows by which its size is estimated.
SHOWN, MEASURED = 5, 2000
#: Bytes that PostgreSQL keeps for each row beside its values: the header and the pointer to it
#: (https://www.postgresql.org/docs/current/storage-page-layout.html).
_ROW = 28


class TablePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be made of a table.

    Args:
        table: its name in the recipe.
        rows: how many rows it would have.
        size: how many bytes its rows would take on the server, roughly and without indexes.
        references: for each column of a reference the table that it refers to.
        inferred: the lines that the recipe leaves out, as it would have them, by their columns.
        sample: the first rows, as texts by their columns.
    """

    table: str
    rows: int
    size: int
    references: dict[str, str]
    inferred: dict[str, str]
    sample: list[dict[str, str | None]]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a load would make.

    Args:
        recipe: the recipe's name.
        description: its description.
        rows: how many rows in all.
        size: how many bytes, roughly and without indexes.
        tables: the tables, in the order in which they are written.
    """

    recipe: str
    description: str
    rows: int
    size: int
    tables: list[TablePreview]


def preview(plan: Plan) -> Preview:
    """Return what a plan would make."""
    tables = [_table(plan, planned) for planned in plan.tables]
    return Preview(
        recipe=plan.recipe.name,
        description=plan.recipe.description,
        rows=sum(each.rows for each in tables),
        size=sum(each.size for each in tables),
        tables=tables,
    )


def _table(plan: Plan, planned: PlannedTable) -> TablePreview:
    count = plan.rows(planned)
    measured = min(count, MEASURED)
    size = sum(len(block.data) for block in rows.blocks(planned, 0, measured))
    return TablePreview(
        table=planned.name,
        rows=count,
        size=round((size / measured + _ROW) * count) if measured else 0,
        references={
            name: planned.relations[maker.relation].target.name
            for name, maker in planned.makers.items()
            if isinstance(maker, Referring)
        },
        inferred=planned.guessed,
        sample=rows.sample(planned, min(count, SHOWN)),
    )


_WIDTH, _HEIGHT, _GAP, _STEP = 210, 46, 36, 70


def picture(tables: Sequence[TablePreview]) -> str:
    """Return the tables of a recipe as SVG: a box for each with its rows, and an arrow for each reference.

    A table stands to the right of those that it refers to.
    """
    names = {each.table: each for each in tables}
    columns: dict[str, int] = {}
    for each in tables:  # parents come first; what refers to a later one, in a circle, stays where it is
        columns[each.table] = 1 + max(
            (columns.get(to, -1) for to in each.references.values() if to in names), default=-1
        )
    places: dict[str, tuple[int, int]] = {}
    filled: dict[int, int] = {}
    for each in tables:
        column = columns[each.table]
        places[each.table] = (20 + column * (_WIDTH + _STEP), 20 + filled.get(column, 0) * (_HEIGHT + _GAP))
        filled[column] = filled.get(column, 0) + 1
    width = 20 + (max(filled, default=0) + 1) * (_WIDTH + _STEP)
    height = 20 + max(filled.values(), default=0) * (_HEIGHT + _GAP)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
            f' font-family="sans-serif" font-size="14"><title>The tables of the recipe, with their rows</title>'
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
            ' orient="auto"><polygon points="0,0 8,4 0,8" fill="#98a"/></marker></defs>'
        )
    ]
    for each in tables:
        left, top = places[each.table]
        for to in dict.fromkeys(each.references.values()):
            if to == each.table:  # a loop at the right side
                right = left + _WIDTH
                lines.append(
                    f'<path d="M{right} {top + 12} C{right + 30} {top + 2} {right + 30} {top + 44} {right} {top + 34}"'
                    ' fill="none" stroke="#98a" stroke-width="1.5" marker-end="url(#head)"/>'
                )
            elif to in places:
                right, other = places[to][0] + _WIDTH, places[to][1] + _HEIGHT // 2
                middle = (left + right) // 2
                lines.append(
                    f'<path d="M{left} {top + _HEIGHT // 2} C{middle} {top + _HEIGHT // 2} {middle} {other}'
                    f' {right} {other}" fill="none" stroke="#98a" stroke-width="1.5" marker-end="url(#head)"/>'
                )
    for each in tables:
        left, top = places[each.table]
        lines.append(
            f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f4f1ea" stroke="#545"/>'
            f'<text x="{left + 12}" y="{top + 20}" font-weight="bold">{html.escape(each.table)}</text>'
            f'<text x="{left + 12}" y="{top + 38}" fill="#545">{each.rows:,} rows</text>'
        )
    return "\n".join([*lines, "</svg>"])


def page(shown: Preview, loaded: Sequence[tuple[str, str]]) -> str:
    """Return the report of a load as a page that needs nothing else.

    Args:
        shown: what the recipe makes.
        loaded: lines of what the load did, each a word and a text.
    """
    facts = "".join(f"<tr><th>{html.escape(word)}</th><td>{html.escape(text)}</td></tr>" for word, text in loaded)
    tables = "".join(_sample(each) for each in shown.tables)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(shown.recipe)}</title>'
        "<style>body{font:16px/1.5 sans-serif;margin:2rem;color:#212}th{text-align:left;padding-right:1.5rem}"
        "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #dcd;padding:.2rem .6rem}"
        "div{overflow-x:auto}svg{max-width:100%}</style>"
        f"<h1>{html.escape(shown.recipe)}</h1><p>{html.escape(shown.description)}</p><table>{facts}</table>"
        f"{picture(shown.tables)}{tables}</html>\n"
    )


def _sample(each: TablePreview) -> str:
    names = list(each.sample[0]) if each.sample else []
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row[name] or '')}</td>" for name in names) + "</tr>" for row in each.sample
    )
    return f"<h2>{html.escape(each.table)}: {each.rows:,} rows</h2><div><table><tr>{head}</tr>{body}</table></div>"
