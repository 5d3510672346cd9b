"""Syncing a million faces: the whole `seedtool sync-faces` beside what it cannot do without, in turn.

    .venv/bin/python benchmarks/sync.py [--faces 1000000] [--runs 3]

The bars are about a million; with fewer faces, starting Python weighs more. It also looks that a sync which fails on page
200 of 245 changes no row.

The pages come from a stub in a process of its own (see sync_stub.py), the rows lie on the embedded server. Before each
run that writes, the database is a fresh copy of a prepared one, so that both sides meet the same heap and indexes:
freshly loaded, vacuumed and analyzed. The stub is not AWS and answers no throttling, so the client's limiter holds
nobody up; at AWS it would let 245 pages through in 4.8 s.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from sync_stub import PAGE, external_image_id  # noqa: E402 -- needs the folder on the path

BIN = Path(sys.executable).parent
FACES = 1_000_000
RUNS = 3  # a million rows take a while
COLLECTION = "eduguard-school-default"

#: what, its rival, the bar of their ratio, and both: seconds, or GB of memory
Row = tuple[str, str, float, float, float]
RECORD = float("inf")  # no bar

#: the database that is synced, and those that it is made anew from
DATABASE, EMPTY, LINKED, PLACEHOLDERS = "bench", "bench_empty", "bench_linked", "bench_placeholders"


def main() -> int:
    """Measure, print a table, and tell by the exit code whether the bars were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=FACES)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        Path(place).chmod(0o755)
        environ = {**os.environ, "SEEDTOOL_HOME": f"{place}/home"}
        print(f"{options.runs} runs a side, load {os.getloadavg()[0]:.1f} before they began")
        print("| what | rival | what | rival | ratio | bar |\n| --- | --- | ---: | ---: | ---: | ---: |")
        for what, rival, bar, one, two in rows(environ, Path(place), options.faces, options.runs):
            print(f"| {what} | {rival} | {one:.3f} | {two:.3f} | {one / two:.2f} | {bar:g} |", flush=True)
            met &= one / two <= bar
    return 0 if met else 1


def rows(environ: dict[str, str], folder: Path, faces: int = FACES, runs: int = RUNS) -> Iterator[Row]:
    """Measure, and yield what, its rival, the bar and the medians of both.

    Args:
        environ: the environment of the commands; SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder, for 0.4 GB of pages.
        faces: how many faces the collection has, and rows the table; memory is measured at a tenth of them, too.
        runs: how often each side runs.
    """
    what = f"sync-faces, {faces:,} faces"
    with school(environ) as database:
        memory = {}
        for count in (faces // 10, faces):
            with stub(folder / f"pages-{count}", count) as (url, listed):
                database.environ["AWS_ENDPOINT_URL"] = url
                database.prepare(count, listed)
                database.reset(PLACEHOLDERS)
                memory[count] = max(database.sync_memory() for _ in ("every row to change", "nothing to change"))
                database.check(count)
                if count == faces:
                    check_all_or_nothing(database, listed.with_name("sick"), faces)
                    yield from _beside_rivals(database, url, what, runs)
        yield (f"{what}: peak memory, MB", "300 MB", 1.0, memory[faces], 0.3)
        yield (f"{what}: peak memory, MB", f"{faces // 10:,} faces", 1.25, memory[faces], memory[faces // 10])
        yield from _beside_stand_in(database, faces, what)


def _beside_rivals(database: "Database", url: str, what: str, runs: int) -> Iterator[Row]:
    script = (sys.executable, ROOT / "benchmarks" / "sync_rivals.py")
    database.reset(LINKED)
    yield (
        f"{what}, nothing to change",
        "boto3's paginator, pages thrown away",
        0.7,
        *in_turn(database.sync, database.command(*script, "paginator", url), runs, lambda: None),
    )
    for table, order in (("rival.listed", "as listed"), ("rival.ordered", "in the rows' own order")):
        bare = database.command(*script, "update", url, database.conninfo, table)
        yield (
            f"{what}, every row to change",
            f"our parser, pages thrown away, and a bare UPDATE ... FROM a table {order}",
            1.3,
            *in_turn(database.sync, bare, runs, lambda: database.reset(PLACEHOLDERS)),
        )


def _beside_stand_in(database: "Database", faces: int, what: str) -> Iterator[Row]:
    from seedtool.emulator import planting, process
    from seedtool.workflows.face_service import emulator_dir

    database.environ["SEEDTOOL_AWS"] = "embedded"
    state = emulator_dir(database.settings)
    planting.plant(state, COLLECTION, (planting.Planted(external_image_id(number)) for number in range(faces)))
    database.reset(PLACEHOLDERS)
    process.ensure(state)
    try:
        everything, nothing = timed(database.sync), timed(database.sync)
    finally:
        process.stop(state)
    database.check(faces)
    rival = "the same again, nothing to change"
    yield f"{what}, against the stand-in, every row to change", rival, RECORD, everything, nothing


def check_all_or_nothing(database: "Database", sick: Path, faces: int) -> None:
    """Stop unless a sync that fails on page 200 of 245 changes no row, and the next one is complete."""
    database.reset(PLACEHOLDERS)
    before = database.state()
    sick.write_text(str(-(-faces // PAGE) * 200 // 245 - 1), encoding="ascii")
    command = [BIN / "seedtool", "sync-faces"]
    failed = subprocess.run(command, cwd=ROOT, env=database.environ, capture_output=True, check=False)
    if failed.returncode != 1 or database.state() != before:
        sys.exit("a sync met a page that could not be listed, and went on or changed rows")
    sick.unlink()
    database.sync()
    database.check(faces)


def in_turn(one: Callable[[], None], two: Callable[[], None], runs: int, before: Callable[[], None]) -> list[float]:
    """Return the median seconds of both, run in turn, each after `before`, which does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for command, seconds in zip((one, two), times, strict=True):
            before()
            seconds.append(timed(command))
    for seconds in times:
        print("  ", *(f"{each:.2f}" for each in seconds), "s", file=sys.stderr)
    return [statistics.median(seconds) for seconds in times]


def timed(command: Callable[[], None]) -> float:
    """Return how many seconds it takes."""
    started = time.perf_counter()
    command()
    return time.perf_counter() - started


@contextmanager
def stub(folder: Path, faces: int) -> Iterator[tuple[str, Path]]:
    """A stub that serves a collection of so many faces: its address, and a file of what it serves."""
    command = [sys.executable, ROOT / "benchmarks" / "sync_stub.py", folder, "--faces", str(faces)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", folder / "faces.tsv"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def school(environ: dict[str, str]) -> Iterator["Database"]:
    """This project's schema on a server of its own."""
    settings = {
        "SEEDTOOL_AWS": "live",
        "SEEDTOOL_DATABASE": DATABASE,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",  # where the quota is 50 calls a second
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REKOGNITION_COLLECTION": COLLECTION,
    }
    foreign = ("AWS_", "PG", "DATABASE_URL")
    database = Database({**{name: each for name, each in environ.items() if not name.startswith(foreign)}, **settings})
    try:
        yield database
    finally:
        database.seedtool("server", "stop", "-q")()


class Database:
    """The database that is synced, made anew from a prepared one before each run that writes."""

    def __init__(self, environ: dict[str, str]) -> None:
        from seedtool.postgres import server
        from seedtool.settings import load

        self.environ = environ
        self.seedtool("db-reset", "--yes", "-q")()
        self.settings = load(ROOT, environ=environ)
        self.conninfo = server.find(self.settings).conninfo
        self._copy(DATABASE, EMPTY)

    def command(self, *arguments: str | Path) -> Callable[[], None]:
        """Return what runs a command in this environment."""
        return lambda: subprocess.run(arguments, cwd=ROOT, env=self.environ, check=True, stdout=subprocess.DEVNULL)

    def seedtool(self, *arguments: str) -> Callable[[], None]:
        """Return what runs `seedtool ...`."""
        return self.command(BIN / "seedtool", *arguments)

    def sync(self) -> None:
        """Run `seedtool sync-faces`."""
        self.seedtool("sync-faces", "-q")()

    def sync_memory(self) -> float:
        """Run it, and return the most memory that it or a child of its had, in GB."""
        # from a process that is small: Linux counts what the parent had, too
        launched = [sys.executable, "-c", LAUNCH, BIN / "seedtool", "sync-faces", "-q"]
        told = subprocess.run(launched, cwd=ROOT, env=self.environ, check=True, stdout=subprocess.PIPE).stdout
        return int(told.split()[-1]) * 1024 / 1e9

    def prepare(self, faces: int, listed: Path) -> None:
        """Make the two prepared databases: every row with a placeholder, and every row linked.

        Args:
            faces: how many rows.
            listed: ExternalImageId and FaceId of each, as the collection lists them.
        """
        for prepared, face_id in ((PLACEHOLDERS, "'placeholder:' || l.external_image_id"), (LINKED, "l.face_id")):
            self._copy(EMPTY, prepared)
            with self._connect(prepared) as connection:
                connection.execute(RIVALS)
                with listed.open("rb") as lines, connection.cursor().copy("COPY rival.listed FROM STDIN") as copy:
                    while block := lines.read(1 << 16):
                        copy.write(block)
                connection.execute("CREATE TABLE rival.ordered AS SELECT * FROM rival.listed ORDER BY 1")
                connection.execute("ANALYZE rival.ordered")
                connection.execute(STUDENTS, {"last": (faces - 1) // 2})
                connection.execute(FACE_ROWS.replace("{face_id}", face_id))
                connection.execute("VACUUM ANALYZE")

    def reset(self, prepared: str) -> None:
        """Make the database a copy of a prepared one, with nothing left for the server to write."""
        self._copy(prepared, DATABASE)
        with self._connect("postgres") as maintenance:
            maintenance.execute("CHECKPOINT")

    def state(self) -> object:
        """Return what changes when a row does."""
        with self._connect(DATABASE) as connection:
            return connection.execute("SELECT count(*), sum(hashtext(id || face_id)) FROM student_faces").fetchone()

    def check(self, faces: int) -> None:
        """Stop unless so many rows are linked."""
        with self._connect(DATABASE) as connection:
            linked = connection.execute(
                "SELECT count(*) FROM student_faces WHERE NOT starts_with(face_id, 'placeholder:')"
            ).fetchone()
        if linked != (faces,):
            sys.exit(f"{linked} of {faces} rows are linked")

    def _copy(self, source: str, target: str) -> None:
        with self._connect("postgres") as maintenance:
            maintenance.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            maintenance.execute(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY file_copy")

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self.conninfo, dbname=name), autocommit=True)


LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

RIVALS = "CREATE SCHEMA rival; CREATE TABLE rival.listed (external_image_id text, face_id text)"

STUDENTS = """
WITH guardian AS (
    INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
    VALUES ('guardian', 'Rosa', 'Soto', '1-9', '+56 9', 'rosa@example.cl') RETURNING id
)
INSERT INTO students (id, first_name, last_name, identification_number, guardian_id, enrollment_date)
SELECT 'student-' || to_char(n, 'FM0000000'), 'Nombre', 'Apellido', n::text, guardian.id, '2026-03-02'
FROM generate_series(0, %(last)s) n, guardian"""

FACE_ROWS = """
INSERT INTO student_faces (id, student_id, external_image_id, face_id, photo_url)
SELECT 'face-' || l.external_image_id, student_id, l.external_image_id, {face_id},
    'students/' || student_id || '/photo-' || right(l.external_image_id, 1) || '.jpg'
FROM rival.ordered l, split_part(l.external_image_id, '-photo-', 1) student_id ORDER BY l.external_image_id"""


if __name__ == "__main__":
    sys.exit(main())
