"""The copy of a refresh beside `pg_dump -Fd -j2 -Z0` and `pg_restore -j2` of the same rows: in turn, on one server.

Ours: schema, rows, indexes and keys, sequences; its ANALYZE and the masks alone stand in rows of their own. The memory
is that of a process that does nothing else.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from psycopg import sql

from seedtool.postgres import programs, server
from seedtool.postgres.catalog import read_catalog
from seedtool.postgres.server import Target
from seedtool.refreshing import schema, transfer
from seedtool.refreshing.blocks import Rewriter
from seedtool.refreshing.masks import Mask, mask
from seedtool.refreshing.source import Source
from seedtool.refreshing.transfer import TableCopy
from seedtool.settings import load

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3
#: 430 MB as text, 610 MB with its indexes. SEEDTOOL_BENCH_ROWS=4800000 makes it 1 GB of text.
ROWS = int(os.environ.get("SEEDTOOL_BENCH_ROWS", "2000000"))
SECRET = b"a secret of the benchmark alone."
MASKED = {"first_name": "first_name", "last_name": "last_name", "email": "email"}
SCHEMA = """
CREATE TABLE grades (id int PRIMARY KEY, name text);
INSERT INTO grades SELECT g, 'grade ' || g FROM generate_series(1, 40) g;
CREATE TABLE people (
  id bigint PRIMARY KEY, grade int NOT NULL REFERENCES grades, first_name text, last_name text, email text, born date,
  joined timestamptz, street text, points numeric, notes text);
INSERT INTO people SELECT g, g % 40 + 1, (ARRAY['Ana','Benjamín','Catalina','Diego','Emilia','Francisco'])[g % 6 + 1],
  left(md5(g::text), 12), 'person' || g || '@mail.example', DATE '2000-01-01' + g % 6000,
  TIMESTAMPTZ '2024-01-01' + g * interval '7 s', 'Calle ' || md5((g * 7)::text) || ' ' || g % 999, g * 1.25,
  md5((g * 3)::text) || md5((g * 5)::text) FROM generate_series(1, {rows}) g;
CREATE INDEX ON people (grade);
CREATE UNIQUE INDEX ON people (email);
CREATE INDEX ON people (born);
VACUUM ANALYZE people;
"""

Row = tuple[str, str, float, float, float]


def rows(environ: Mapping[str, str], folder: Path) -> Iterator[Row]:
    """Yield what was measured: what, its rival, the bar, and both.

    Args:
        environ: SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the rival's dump.
    """
    os.environ["SEEDTOOL_HOME"] = f"{environ['SEEDTOOL_HOME']}/refresh"
    target = server.find(load(ROOT))
    try:
        _make(target, "origin", ROWS)
        masks = _masks(target.at("origin"))
        times: dict[str, list[float]] = {name: [] for name in ("rival", "masked", "plain", "analyze")}
        for _ in range(RUNS):
            times["rival"].append(_rival(target, folder))
            for name, chosen in (("masked", masks), ("plain", {})):
                seconds, analyzing = _ours(target, "origin", chosen)
                times[name].append(seconds)
            times["analyze"].append(analyzing)
        rival, masked, plain, analyze = (statistics.median(times[name]) for name in times)
        size = f"{ROWS:,} rows of 10 columns with 4 indexes"
        restore = "`pg_dump -Fd -j2 -Z0` and `pg_restore -j2`"
        yield f"copy, 3 of 10 columns masked: {size}", restore, 0.65, masked, rival
        yield f"copy, nothing masked: {size}", restore, 0.55, plain, rival
        yield "ANALYZE of the copy", restore, float("inf"), analyze, rival
        for arrow, bar in ((False, 600_000), (True, 1_400_000)):
            alone = _masks_alone(target, masks, arrow=arrow)
            with_what = "pyarrow" if arrow else "numpy"
            yield f"masks alone, 1,000,000 rows, {with_what}, one core", f"{bar:,} rows a second", 1.0, alone, 1e6 / bar
        memory = [_memory(target, count) for count in (ROWS // 4, ROWS // 2, ROWS)]
        yield f"memory of the copy, {ROWS:,} rows", "300 MB", 1.0, memory[2], 0.3
        for count, used in zip((ROWS // 2, ROWS), memory[1:], strict=True):
            yield f"memory of the copy, {count:,} rows", f"{ROWS // 4:,} rows", 1.1, used, memory[0]
    finally:
        if target.embedded is not None:
            target.embedded.stop()


def _make(target: Target, name: str, count: int) -> None:
    _fresh(target, name)
    with server.connect(target, name, autocommit=True) as connection:
        for statement in SCHEMA.format(rows=count).split(";\n"):
            connection.execute(statement)


def _fresh(target: Target, name: str) -> Target:
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        connection.execute("CHECKPOINT")
    return target.at(name)


def _masks(origin: Target) -> dict[str, Mask]:
    with server.connect(origin) as connection:
        columns = read_catalog(connection, ["people"]).find("people").columns
    return {name: mask(word, columns[name], SECRET) for name, word in MASKED.items()}


def _ours(target: Target, origin: str, masks: Mapping[str, Mask]) -> tuple[float, float]:
    """Copy, and return the seconds of the copy and of ANALYZE."""
    made = _fresh(target, "made")
    started = time.perf_counter()
    with Source.open(target.at(origin)) as source, schema.dumped(source, made) as dump:
        schema.restore(dump, "pre-data", made)
        tables = [
            TableCopy(table=table, masks=masks if table.name == "people" else {})
            for table in source.catalog.tables.values()
        ]
        transfer.copy(source, made, tables)
        schema.restore(dump, "post-data", made)
        schema.move_sequences(source, made)
    copied = time.perf_counter()
    schema.analyze(made)
    return copied - started, time.perf_counter() - copied


def _rival(target: Target, folder: Path) -> float:
    _fresh(target, "theirs")
    with server.connect(target, target.maintenance) as connection:
        tools = programs.fitting(connection.info.server_version)[0]
    file = folder / "dump"
    started = time.perf_counter()
    for command, database in (
        (("pg_dump", "-Fd", "-j2", "-Z0", "-f", file), "origin"),
        (("pg_restore", "-j2", file), "theirs"),
    ):
        done = programs.run(tools, *command, target=target, database=database)
        if done.code:
            sys.exit(done.errors)
    seconds = time.perf_counter() - started
    shutil.rmtree(file)
    return seconds


def _masks_alone(target: Target, masks: Mapping[str, Mask], *, arrow: bool) -> float:
    """Return the seconds of CPU that a million rows take, in blocks of 1 MB that are in memory."""
    with server.connect(target, "origin") as connection, connection.cursor() as cursor:
        names = list(read_catalog(connection, ["people"]).find("people").columns)
        with cursor.copy("COPY (SELECT * FROM people WHERE id <= 20000) TO STDOUT") as copy:
            content = b"".join(copy)
    blocks = [content[place : place + transfer.BLOCK] for place in range(0, len(content), transfer.BLOCK)]
    measured = []
    for _ in range(10):
        rewriter = Rewriter(len(names), {names.index(name): each for name, each in masks.items()}, arrow=arrow)
        started = time.process_time()
        for block in blocks:
            rewriter.feed(block)
        measured.append((time.process_time() - started) / 20_000 * 1e6)
    return statistics.median(measured)


def _memory(target: Target, count: int) -> float:
    """Return the peak memory (GB) of a process that copies so many rows, three columns masked."""
    _make(target, "sized", count)
    done = subprocess.run(
        [sys.executable, __file__, target.conninfo], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


def _in_a_process_of_its_own(conninfo: str) -> None:
    target = server.named_by(conninfo)
    _ours(target, "sized", _masks(target.at("sized")))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


if __name__ == "__main__":
    _in_a_process_of_its_own(sys.argv[1])
