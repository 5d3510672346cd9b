"""The proof beside the copy that it proves: in turn, on one server, and its memory at three sizes.

The copy is that of benchmarks/refresh.py with fewer rows, so that the section is short; copy and proof both grow with
them. Schema, rows, indexes and keys, three of ten columns masked. The proof looks at all words of texts in any writing,
or at whole cells, and compares the catalogs. The rival of its memory is the setting; with 50 MB it looks at a part of
the values at a time.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import refresh

from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.refreshing.proof import Given, Proof, prove
from seedtool.settings import load

RUNS = 3
#: 130 MB as text; SEEDTOOL_BENCH_ROWS makes it fewer.
ROWS = min(refresh.ROWS, 600_000)
#: The copy of the benchmark keeps these, as a policy would with a reason.
KEPT = {("public", "people", name): "measured" for name in ("born", "street")}
#: MB of memory that the proof may take.
SETTING = 400

Row = tuple[str, str, float, float, float]


def rows(environ: Mapping[str, str], folder: Path) -> Iterator[Row]:  # noqa: ARG001 - as all sections
    """Yield what was measured: what, its rival, the bar, and both.

    Args:
        environ: SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: not needed.
    """
    os.environ["SEEDTOOL_HOME"] = f"{environ['SEEDTOOL_HOME']}/proof"
    target = server.find(load(refresh.ROOT))
    try:
        refresh._make(target, "origin", ROWS)
        masks = refresh._masks(target.at("origin"))  # noqa: SLF001 - the same copy
        copies: list[float] = []
        proofs: dict[str, list[float]] = {"words": [], "cells": []}
        for _ in range(RUNS):
            copies.append(refresh._ours(target, "origin", masks)[0])  # noqa: SLF001 - the same copy
            for look, times in proofs.items():
                started = time.perf_counter()
                proof = _proof(target, "origin", "made", look=look)
                times.append(time.perf_counter() - started)
                if proof.findings:
                    sys.exit(f"the proof found something: {proof.findings}")
        size = f"{ROWS:,} rows of 10 columns with 4 indexes"
        for look, bar in (("words", 1.0), ("cells", 0.4)):
            proven = statistics.median(proofs[look])
            yield f"proof of {look}: {size}", "copy, 3 of 10 columns masked", bar, proven, statistics.median(copies)
        memory = {}
        for count in (ROWS // 4, ROWS // 2, ROWS):
            refresh._make(target, "sized", count)
            refresh._ours(target, "sized", masks)  # noqa: SLF001 - the same copy
            memory[count] = _memory(target, SETTING)
            yield f"memory of the proof, {count:,} rows", f"{SETTING} MB", 1.0, memory[count], SETTING / 1000
        least = _memory(target, 50)
        yield f"memory of the proof, {ROWS:,} rows, 50 MB for its hashes", "200 MB", 1.0, least, 0.2
    finally:
        if target.embedded is not None:
            target.embedded.stop()


def _proof(target: Target, origin: str, copy: str, memory: int = SETTING, look: str = "words") -> Proof:
    source = target.at(origin).conninfo
    given = Given(kept=KEPT, memory=memory * 1_000_000, look=look)
    return prove(lambda: psycopg.connect(source), target.at(copy), given)


def _memory(target: Target, setting: int) -> float:
    """Return the peak memory (GB) of a process that proves the last copy."""
    done = subprocess.run(
        [sys.executable, __file__, target.conninfo, str(setting)],
        capture_output=True,
        text=True,
        check=False,
        cwd=refresh.ROOT,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


if __name__ == "__main__":
    _proof(server.named_by(sys.argv[1]), "sized", "made", int(sys.argv[2]))
    # not ru_maxrss: a process begins with that of the one that started it
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e6)
