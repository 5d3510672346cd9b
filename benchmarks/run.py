"""Whole commands beside named rivals, in the same run: `make bench`. Writes benchmarks/RESULTS.md.

Machines are noisy, so only ratios count: each pair runs in turn, A B A B ..., and the ratio is that of the medians.
State lies in memory where there is room (/dev/shm): on ext4, making and dropping many databases slows down file
creation for minutes and would measure the kernel.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RUNS = 7


def main() -> None:
    """Run every pair and write the results."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        Path(folder).chmod(0o755)
        environ = {**os.environ, "SEEDTOOL_HOME": folder}
        try:
            rows = list(pairs(environ))
        finally:
            subprocess.run([BIN / "seedtool", "server", "stop", "-q"], cwd=ROOT, env=environ, check=False)
    text = render(rows)
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)


def pairs(environ: dict[str, str]) -> "list[tuple[str, str, float, float, float]]":
    """Return rows of: what, its rival, the bar, and the median seconds of both."""
    subprocess.run([BIN / "seedtool", "db-reset", "--yes", "-q"], cwd=ROOT, env=environ, check=True)
    python = sys.executable
    return [
        (
            "warm `seedtool db-reset` (template cached)",
            "`alembic current`",
            1.0,
            *in_turn([BIN / "seedtool", "db-reset", "--yes"], [BIN / "alembic", "current"], environ),
        ),
        (
            "`seedtool --help`",
            '`python -c "import click"`',
            3.0,
            *in_turn([BIN / "seedtool", "--help"], [python, "-c", "import click"], environ),
        ),
    ]


def in_turn(one: Sequence[str | Path], two: Sequence[str | Path], environ: dict[str, str]) -> tuple[float, float]:
    """Return the median seconds of two commands as whole processes, run in turn after one uncounted run each."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(RUNS + 1):
        for command, seconds in zip((one, two), times, strict=True):
            started = time.perf_counter()
            subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
            if number:
                seconds.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def render(rows: list[tuple[str, str, float, float, float]]) -> str:
    """Return the results as a page."""
    lines = [
        "# Results",
        "",
        (
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {platform.system()},"
            f" Python {platform.python_version()}, medians of {RUNS} whole processes in turn. Only ratios count."
        ),
        "",
        "| what | rival | what, ms | rival, ms | ratio | bar | |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for what, rival, bar, one, two in rows:
        met = "met" if one / two <= bar else "missed"
        lines.append(
            f"| {what} | {rival} | {one * 1000:.0f} | {two * 1000:.0f} | {one / two:.2f} | {bar:.1f} | {met} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if shutil.which("alembic", path=str(BIN)) is None:
        sys.exit("run it by `make bench`: it needs the virtual environment")
    main()
