"""`seedtool seed` of large csv files beside `psql \\copy` of the same files into the same tables: whole processes, in turn.

    .venv/bin/python benchmarks/large.py [--rows 300000] [--runs 3]

The rows have eight columns: a primary key, a unique e-mail, a foreign key, an index. psql is the embedded server's own, so
that both sides speak to the server in the same way; its copy has no ledger, finds no rows that differ and names no line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from snapshot import BIN, _free_port

RUNS = 2  # a million rows take a while; the two sides run in turn
ROWS = (300_000, 1_000_000)
#: One of so many rows is another one in the changed files.
CHANGED = 100

#: what, its rival, the bar of their ratio, and both: seconds, or GB of memory
Row = tuple[str, str, float, float, float]

SCHEMA = """
DROP TABLE IF EXISTS people, towns;
DROP SCHEMA IF EXISTS seedtool CASCADE;
CREATE TABLE towns (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE people (
    id bigint PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    town_id int NOT NULL REFERENCES towns,
    born date,
    score numeric(6, 2),
    active boolean NOT NULL DEFAULT true,
    note text
);
CREATE INDEX people_town ON people (town_id);
"""

PROFILES = """
[first]
sets = ["first"]
"""


def rows(environ: dict[str, str], folder: Path, sizes: Iterable[int] = ROWS, runs: int = RUNS) -> Iterator[Row]:
    """Measure, and yield what, its rival, the bar and the medians of both.

    Args:
        environ: the environment of the commands; SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the project; 0.2 GB for a million rows.
        sizes: how many rows the large table has.
        runs: how often each side runs.
    """
    environ = {**environ, "SEEDTOOL_HOME": f"{environ['SEEDTOOL_HOME']}/large"}
    (folder / "seeds" / "first").mkdir(parents=True)
    (folder / "seeds" / "profiles.toml").write_text(PROFILES)
    (folder / "pyproject.toml").write_text('[project]\nname = "large"\nversion = "0"\n')
    _run([BIN / "seedtool", "server", "start", "--port", str(_free_port()), "-q"], environ, folder)
    try:
        told = json.loads(_run([BIN / "seedtool", "env", "--json"], environ, folder))
        url = str(told["DATABASE_URL"]).replace("+psycopg", "", 1)
        with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("bench_large")))
        bench = Bench(environ, folder, url)
        memory = {}
        for count in sizes:
            yield from bench.measure(count, runs)
            memory[count] = bench.memory
        least, most = min(memory), max(memory)
        yield (f"`seedtool seed`, {most:,} rows: peak memory, MB", f"{least:,} rows", 1.25, memory[most], memory[least])
    finally:
        _run([BIN / "seedtool", "server", "stop", "-q"], environ, folder)


class Bench:
    """A project with two tables and their files.

    Args:
        environ: the environment of the commands.
        folder: the project's.
        url: the server's.
    """

    def __init__(self, environ: dict[str, str], folder: Path, url: str) -> None:
        self.environ = {**environ, "DATABASE_URL": _renamed(url, "bench_large")}
        self.folder = folder
        self.psql = next(Path(environ["SEEDTOOL_HOME"]).parent.glob("**/bin/psql"), Path("psql"))
        self.memory = 0.0

    def measure(self, count: int, runs: int) -> Iterator[Row]:
        """Measure with so many rows."""
        times: dict[str, list[float]] = {"copy": [], "first": [], "again": [], "changed": []}
        files = self.folder / "seeds" / "first"
        for _ in range(runs):
            _write(files, count, changed=False)
            self.empty()
            times["copy"].append(self.copy(files))
            self.empty()
            times["first"].append(self.seed(count, f"{count + 1000} inserted"))
            times["again"].append(self.seed(count, f"{count + 1000} unchanged"))
            _write(files, count, changed=True)
            times["changed"].append(self.seed(count, f"{count // CHANGED} updated"))
        middle = {name: statistics.median(each) for name, each in times.items()}
        for name, what, bar in (
            ("first", "the first `seedtool seed`", 2.2),
            ("again", "the same again, nothing changed", 0.9),
            ("changed", "1 % of the rows changed", 1.1),
        ):
            yield (f"{what}, {count:,} rows", "`psql \\copy` into empty tables", bar, middle[name], middle["copy"])

    def empty(self) -> None:
        """Make the tables anew."""
        with psycopg.connect(self.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(SCHEMA)
            connection.execute("CHECKPOINT")

    def copy(self, files: Path) -> float:
        """Copy the files in by psql; return the seconds."""
        copies = [f"\\copy {name} FROM '{files / name}.csv' CSV HEADER" for name in ("towns", "people")]
        command = [self.psql, self.environ["DATABASE_URL"], "-X", "-q", "-c", copies[0], "-c", copies[1]]
        started = time.perf_counter()
        _run(command, self.environ, self.folder)
        return time.perf_counter() - started

    def seed(self, count: int, expected: str) -> float:
        """Seed the files; return the seconds."""
        started = time.perf_counter()
        process = subprocess.Popen(
            [BIN / "seedtool", "seed", "first"],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status or expected not in output:
            sys.exit(f"seedtool seed of {count} rows: not {expected}, but {output}")
        self.memory = max(self.memory, used.ru_maxrss / 1e6)
        return seconds


def _write(folder: Path, count: int, *, changed: bool) -> None:
    """Write the files; the same every time."""
    with (folder / "towns.csv").open("w") as file:
        file.write("id,name\n")
        file.writelines(f"{number},Town {number}\n" for number in range(1, 1001))
    with (folder / "people.csv").open("w") as file:
        file.write("id,email,name,town_id,born,score,active,note\n")
        for number in range(1, count + 1):
            name = f"Person {number * 7919 % count}" + " again" * (changed and number % CHANGED == 0)
            born = f"{1950 + number % 60}-{number % 12 + 1:02}-{number % 28 + 1:02}"
            note = "" if number % 3 == 0 else f'"likes, commas, ""{number}"""' if number % 50 == 0 else f"note {number}"
            file.write(
                f"{number},person{number}@school.example,{name},{number % 1000 + 1},{born},{number % 10000 / 100:.2f},"
                f"{'true' if number % 2 else 'false'},{note}\n"
            )


def _renamed(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + f"/{name}"


def _run(command: Sequence[str | Path], environ: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temporary:
        Path(temporary).chmod(0o755)
        environment = {**os.environ, "SEEDTOOL_HOME": f"{temporary}/home"}
        for what, rival, bar, mine, theirs in rows(environment, Path(temporary), options.rows, options.runs):
            print(f"{what}: {mine:.2f}, {rival} {theirs:.2f}: {mine / theirs:.2f} (bar {bar})", flush=True)
