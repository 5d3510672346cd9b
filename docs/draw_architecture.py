"""Draw docs/architecture.svg: the rooms of seedtool/, from what they import. Run it after a change: make docs.

A room is a package or a module directly below seedtool/. The rows are the layers of import-linter's first contract in
pyproject.toml, so an arrow never leads up. An arrow is left out where others already lead from the one room to the
other, and where it leads to a room of the bottom row, which all may import.
"""

import ast
import functools
import html
import itertools
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "seedtool"
PICTURE = Path(__file__).with_name("architecture.svg")

LOWEST = "postgres"  # the rooms of the layers below this one serve all: one row, without arrows
FACE = "__init__"  # the package's own module: it imports lazily, and all import it

BOX, HEIGHT = 208, 88  # pixels
GAP, LANE = 36, 20  # between boxes, and the width of an arrow that passes a row
STEP = 140  # from one row to the next
MARGIN = 24
LETTERS = 32  # that fit into a line of a box
SWEEPS = 12  # after which the order of these few boxes changes no more


class Place(NamedTuple):
    """What stands in a row: a room, or an arrow on its way through (`source target`)."""

    name: str
    lane: bool = False


# --- what imports what


@functools.cache
def rooms() -> dict[str, str]:
    """Return the rooms with the first sentence of each docstring."""
    found = {}
    for path in sorted(PACKAGE.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.is_file() and not path.name.startswith("__"):
            text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            found[path.stem] = text.split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
    return found


@functools.cache
def imports() -> set[tuple[str, str]]:
    """Return which room imports which, inside functions too, but not for types alone."""
    known = rooms()
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            target = module.split(".")[1] if "." in module else FACE
            if source in known and target in known and source != target:
                found.add((source, target))
    return found


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the modules of seedtool that a piece of code imports."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "seedtool")
    elif isinstance(node, ast.ImportFrom) and node.module == "seedtool":
        yield from (f"seedtool.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seedtool."):
        yield str(node.module)
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def layers() -> list[list[str]]:
    """Return the rows: the contract's layers, those below `LOWEST` as one, and the rooms that it does not name."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    known = rooms()
    named = [[name.strip().removeprefix("seedtool.") for name in layer.split("|")] for layer in contract["layers"]]
    rows = [[name for name in row if name in known] for row in named]
    lowest = next(place for place, row in enumerate(rows) if LOWEST in row)
    rows = [*rows[: lowest + 1], [name for row in rows[lowest + 1 :] for name in row]]
    for name in sorted(set(known) - {name for row in rows for name in row}):
        users = [place for place, row in enumerate(rows) for room in row if (room, name) in imports()]
        rows[min(max(users, default=0) + 1, lowest)].append(name)
    return rows


def arrows(rows: list[list[str]]) -> set[tuple[str, str]]:
    """Return the imports that are drawn."""
    level = {name: place for place, row in enumerate(rows) for name in row}
    found = {(source, target) for source, target in imports() if target not in rows[-1] and source not in rows[-1]}
    up = sorted(f"{source} imports {target}" for source, target in found if level[source] >= level[target])
    if up:
        sys.exit(f"the layers of pyproject.toml forbid it: {', '.join(up)}")
    return {
        (source, target)
        for source, target in found
        if not any((source, other) in found and reaches(other, target, found) for _, other in found if other != target)
    }


def reaches(source: str, target: str, found: set[tuple[str, str]]) -> bool:
    """Return whether arrows lead from one room to another."""
    return source == target or any(reaches(other, target, found) for one, other in found if one == source)


# --- where it stands


def arranged(rows: list[list[str]], drawn: set[tuple[str, str]]) -> list[list[Place]]:
    """Return the rows in an order with few crossings, with a lane in each row that an arrow passes.

    The order is Sugiyama's: each row by the mean place of its neighbours, downwards and upwards in turn.
    """
    level = {name: place for place, row in enumerate(rows) for name in row}
    table = [[Place(name) for name in row] for row in rows]
    parts = []
    for source, target in sorted(drawn):
        way = [Place(source)]
        for row in range(level[source] + 1, level[target]):
            way.append(Place(f"{source} {target}", lane=True))
            table[row].append(way[-1])
        way.append(Place(target))
        parts += [(way[i], way[i + 1], level[source] + i) for i in range(len(way) - 1)]
    for sweep in range(SWEEPS):
        order = range(1, len(table)) if sweep % 2 == 0 else range(len(table) - 2, -1, -1)
        for row in order:
            near = row - 1 if sweep % 2 == 0 else row + 1
            where = {place: index / max(len(table[near]) - 1, 1) for index, place in enumerate(table[near])}
            table[row].sort(key=functools.partial(mean, row=row, near=near, where=where, parts=parts))
    return table


def mean(
    place: Place, *, row: int, near: int, where: dict[Place, float], parts: list[tuple[Place, Place, int]]
) -> float:
    """Return the mean position of a place's neighbours in the row `near`, the middle when it has none."""
    upper = min(row, near)
    found = [
        where[above if near < row else below]
        for above, below, level in parts
        if level == upper and place == (below if near < row else above)
    ]
    return sum(found) / len(found) if found else 0.5


def positions(table: list[list[Place]]) -> tuple[dict[tuple[int, Place], float], float]:
    """Return the middle of each place by its row, in pixels, and the picture's width."""
    widths = [sum(size(place) for place in row) + GAP * (len(row) - 1) for row in table]
    width = max(widths) + 2 * MARGIN
    found = {}
    for level, row in enumerate(table):
        x = (width - widths[level]) / 2
        for place in row:
            found[level, place] = x + size(place) / 2
            x += size(place) + GAP
    return found, width


def size(place: Place) -> int:
    """Return the width of a place, in pixels."""
    return LANE if place.lane else BOX


# --- how it looks


def picture() -> str:
    """Return the picture as SVG."""
    captions = rooms()
    rows = layers()
    drawn = arrows(rows)
    table = arranged(rows, drawn)
    found, width = positions(table)
    height = MARGIN * 2 + STEP * (len(rows) - 1) + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif">',
        "<title>The rooms of seedtool and what they import</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    level = {place: row for row, places in enumerate(table) for place in places if not place.lane}
    for source, target in sorted(drawn):
        lines.append(arrow(way(source, target, level, found)))
    for row, places in enumerate(table):
        lines += [box(found[row, place], row, place.name, captions[place.name]) for place in places if not place.lane]
    y = MARGIN + STEP * (len(rows) - 1) - 14
    lines.append(f'<text x="{MARGIN}" y="{y}" font-size="13" fill="#456">Every room may import these:</text>')
    return "\n".join([*lines, "</svg>", ""])


def way(
    source: str, target: str, level: dict[Place, int], found: dict[tuple[int, Place], float]
) -> list[tuple[float, float]]:
    """Return the points of an arrow: below its source, through its lanes, above its target."""
    first, last = level[Place(source)], level[Place(target)]
    points = [(found[first, Place(source)], MARGIN + STEP * first + HEIGHT)]
    lane = Place(f"{source} {target}", lane=True)
    for row in range(first + 1, last):
        points += [(found[row, lane], MARGIN + STEP * row), (found[row, lane], MARGIN + STEP * row + HEIGHT)]
    return [*points, (found[last, Place(target)], MARGIN + STEP * last)]


def arrow(points: list[tuple[float, float]]) -> str:
    """Return an arrow as a curve that leaves and reaches each row upright."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        middle = (y + next_y) / 2
        path += f" C{x:g} {middle:g} {next_x:g} {middle:g} {next_x:g} {next_y:g}"
    return f'<path d="{path}" fill="none" stroke="#456" stroke-width="1.4" marker-end="url(#tip)"/>'


def box(x: float, row: int, name: str, caption: str) -> str:
    """Return a room."""
    y = MARGIN + STEP * row
    text = "".join(written(caption, x, y + 36))
    return (
        f'<rect x="{x - BOX / 2:g}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#eef3f8" stroke="#456"/>'
        f'<text x="{x:g}" y="{y + 20}" text-anchor="middle" font-size="14" font-weight="bold">{name}</text>{text}'
    )


def written(caption: str, x: float, y: float) -> Iterable[str]:
    """Yield the lines of a caption."""
    for place, line in enumerate(textwrap.wrap(caption, LETTERS, max_lines=4, placeholder=" ...")):
        yield (
            f'<text x="{x:g}" y="{y + 14 * place:g}" text-anchor="middle" font-size="11.5" fill="#333">'
            f"{html.escape(line)}</text>"
        )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
