"""Whole commands beside named rivals, in the same run: `make bench`. Writes benchmarks/RESULTS.md.

    .venv/bin/python benchmarks/run.py [SECTION ...]

Machines are noisy, so only ratios count: each pair runs in turn, A B A B ..., and the ratio is that of the medians.
State lies in memory where there is room (/dev/shm): on ext4, making and dropping many databases slows down file
creation for minutes and would measure the kernel. With sections named, the others keep what was measured before.
"""

import math
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import album
import backfill
import daily
import enroll
import generate
import large
import plugin
import proof
import real_faces
import refresh
import reset
import snapshot
import sync

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
#: what, its rival, the bar of their ratio (infinite: none), and both: seconds, GB of memory, or thousands of faces
Row = tuple[str, str, float, float, float]

#: heading → how its rows are measured, given an environment and a folder of the section's own
SECTIONS: dict[str, Callable[[dict[str, str], Path], Iterable[Row]]] = {
    "reset": reset.rows,
    "daily": daily.rows,
    "snapshot": snapshot.rows,
    "plugin": lambda environ, folder: plugin.measure(),  # noqa: ARG005 - it makes its own
    "large": large.rows,
    "sync": sync.rows,
    "enroll": enroll.rows,
    "backfill": backfill.rows,
    "real_faces": real_faces.rows,
    "album": album.rows,
    "refresh": refresh.rows,
    "generate": generate.rows_of,
    "proof": proof.rows,
}


def main(names: list[str]) -> None:
    """Measure the named sections, or all, and write the results."""
    unknown = set(names) - set(SECTIONS)
    if unknown:
        sys.exit(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    pages = _earlier()
    for name in names or SECTIONS:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
            Path(place).chmod(0o755)
            environ = {**os.environ, "SEEDTOOL_HOME": f"{place}/home"}
            pages[name] = _section(name, SECTIONS[name](environ, Path(place)))
        RESULTS.write_text(HEAD + "\n".join(pages[each] for each in SECTIONS if each in pages), encoding="utf-8")
        print(pages[name])


HEAD = "# Results\n\nWritten by `make bench`. Only ratios count: each pair was run in turn.\n\n"


def _earlier() -> dict[str, str]:
    """Return the sections of the page as it is."""
    parts = re.split(r"^(?=## )", RESULTS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.split(maxsplit=2)[1]: part.rstrip("\n") + "\n" for part in parts if part.startswith("## ")}


def _section(name: str, rows: Iterable[Row]) -> str:
    lines = [
        f"## {name}",
        "",
        (
            f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {platform.system()},"
            f" Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before it began."
        ),
        "",
        "| what | rival | what, ms (memory: MB; faces: how many) | rival | ratio | bar | |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for what, rival, bar, one, two in rows:
        told = ("", "for the record") if math.isinf(bar) else (f"{bar:.3g}", "met" if one / two <= bar else "missed")
        lines.append(
            f"| {what} | {rival} | {_thousandths(one)} | {_thousandths(two)} | {one / two:.2f} | {told[0]} | {told[1]} |"
        )
    return "\n".join(lines) + "\n"


def _thousandths(value: float) -> str:
    return f"{value * 1000:,.0f}" if value >= 0.1 else f"{value * 1000:.1f}"


if __name__ == "__main__":
    if shutil.which("alembic", path=str(Path(sys.executable).parent)) is None:
        sys.exit("run it by `make bench`: it needs the virtual environment")
    main(sys.argv[1:])
