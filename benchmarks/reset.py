"""Resets beside Alembic and bare SQL: whole processes, in turn, on the embedded server.

The project is this one, and a copy of it with a revision more that writes a gigabyte. Before each reset the spare is
awaited, as the time between two resets of a developer would do it; this is not counted.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RUNS = 7

Row = tuple[str, str, float, float, float]

#: A row fills a page of 8 kB, 125 to the MB.
FILLING = '''"""Filling for the benchmark."""

from alembic import op

revision = "bench"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("CREATE TABLE filling (id int PRIMARY KEY, name text)")
    op.execute("ALTER TABLE filling ALTER name SET STORAGE PLAIN")
    op.execute("INSERT INTO filling SELECT g, repeat(md5(g::text), 240) FROM generate_series(1, {rows}) g")


def downgrade() -> None:
    op.execute("DROP TABLE filling")
'''

BARE_CLONE = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute(f"CREATE DATABASE bare TEMPLATE {sys.argv[2]}")
"""


def rows(environ: dict[str, str], folder: Path, gigabyte: int = 1000) -> list[Row]:
    """Return what was measured: what, its rival, the bar, and the median seconds of both.

    Args:
        environ: the environment of the commands; SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the copy of the project.
        gigabyte: how many MB the large template has.
    """
    # a reset in CI makes no spares; this one is a developer's
    environ = {name: value for name, value in environ.items() if name != "CI"}
    project = Project(ROOT, environ)
    large = Project(_large_copy(folder, gigabyte), environ)
    try:
        return [*_small(project), *_large(project, large)]
    finally:
        large.run("server", "stop", "-q")
        project.run("server", "stop", "-q")


class Project:
    """A project's commands and its server."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        self.root = root
        self.environ = environ

    def command(self, *arguments: str) -> Callable[[], None]:
        """Return what runs `seedtool ...`."""
        return lambda: self.run(*arguments) and None

    def run(self, *arguments: str) -> str:
        """Run `seedtool ...` and return what it printed."""
        return self._run([BIN / "seedtool", *arguments])

    def alembic(self, *arguments: str) -> Callable[[], None]:
        """Return what runs `alembic ...`."""
        return lambda: self._run([BIN / "alembic", *arguments]) and None

    def python(self, *arguments: str) -> Callable[[], None]:
        """Return what runs `python ...`."""
        return lambda: self._run([sys.executable, *arguments]) and None

    def _run(self, command: Sequence[str | Path]) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environ, check=False, capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return done.stdout

    def url(self) -> str:
        """Return the target's address."""
        return str(json.loads(self.run("env", "--json"))["DATABASE_URL"]).replace("+psycopg", "", 1)

    def connect(self) -> psycopg.Connection:
        """Connect to the maintenance database."""
        return psycopg.connect(self.url(), dbname="postgres", autocommit=True)

    def settle(self, *, spare: bool) -> None:
        """Wait until nothing is dropped or made any more; drop the spare unless it is wanted."""
        with self.connect() as connection:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                time.sleep(0.02)
                busy = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^(CREATE|DROP) DATABASE' AND state = 'active'"
                ).fetchone()
                names = [name for (name,) in connection.execute("SELECT datname FROM pg_database")]
                if busy == (0,) and not any(name.startswith("seedtool_old_") for name in names):
                    break
            spares = [name for name in names if name.startswith("seedtool_spare_")]
            if spare and not spares:
                sys.exit("there is no spare")
            for name in spares if not spare else ():
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _small(project: Project) -> list[Row]:
    reset = project.command("db-reset", "--yes")
    reset()
    ready, gone = lambda: project.settle(spare=True), lambda: project.settle(spare=False)
    found = [
        (
            "warm `seedtool db-reset`, a spare ready",
            "`alembic current`",
            0.5,
            *in_turn((ready, reset), (_nothing, project.alembic("current"))),
        )
    ]
    with project.connect() as connection:
        template = connection.execute(
            "SELECT datname FROM pg_database WHERE datname ~ '^seedtool_template_'"
        ).fetchone()
        url = psycopg.conninfo.make_conninfo(project.url(), dbname="postgres")
        bare = project.python("-c", BARE_CLONE, url, template[0])

        def no_bare() -> None:
            connection.execute("DROP DATABASE IF EXISTS bare")

        found.append(
            (
                "warm `seedtool db-reset`, no spare",
                "`CREATE DATABASE ... TEMPLATE` by psycopg in a process",
                1.3,
                *in_turn((gone, reset), (no_bare, bare)),
            )
        )
        no_bare()
    found.append(
        ("SQL inside a warm reset, no client connected", "15 ms", 1.0, _inside(project), 0.015),
    )
    with eager_clients(project.url(), 5):
        found.append(("SQL inside a warm reset, five eager clients", "150 ms", 1.0, _inside(project), 0.150))
    found.append(_cold(project))
    found.append(
        (
            "`seedtool --help`",
            '`python -c "import click"`',
            3.0,
            *in_turn((_nothing, project.command("--help")), (_nothing, project.python("-c", "import click"))),
        )
    )
    return found


def _inside(project: Project) -> float:
    """Return the median seconds of all that a reset does from the lock to the end."""
    times = []
    for _ in range(RUNS):
        project.settle(spare=True)
        report = json.loads(project.run("db-reset", "--yes", "--json"))["reset"]
        times.append(sum(spent for step, spent in report["milliseconds"].items() if step != "connect") / 1000)
    return statistics.median(times)


def _cold(project: Project) -> Row:
    with project.connect() as connection:
        url = psycopg.conninfo.make_conninfo(project.url(), dbname="rival")
        rival = Project(project.root, {**project.environ, "DATABASE_URL": url})

        def empty() -> None:
            connection.execute("DROP DATABASE IF EXISTS rival WITH (FORCE)")
            connection.execute("CREATE DATABASE rival TEMPLATE template0")

        return (
            "cold `seedtool db-reset` (`--fresh`)",
            "`alembic upgrade head` on an empty database",
            1.3,
            *in_turn(
                (lambda: project.settle(spare=False), project.command("db-reset", "--yes", "--fresh")),
                (empty, rival.alembic("upgrade", "head")),
            ),
        )


def _large(project: Project, large: Project) -> list[Row]:
    large.run("db-reset", "--yes", "--seed", "local", "-q")
    reset = large.command("db-reset", "--yes", "--seed", "local")
    small = project.command("db-reset", "--yes")
    small()
    with large.connect() as connection:
        (size,) = connection.execute(
            "SELECT max(pg_database_size(oid)) FROM pg_database WHERE datname ~ '^seedtool_template_'"
        ).fetchone()
    return [
        (
            f"warm `db-reset --seed`, a seeded template of {size / 1e9:.1f} GB, a spare ready",
            "the same without `--seed`, the empty template",
            1.2,
            *in_turn((lambda: large.settle(spare=True), reset), (lambda: project.settle(spare=True), small)),
        )
    ]


def _large_copy(folder: Path, megabytes: int) -> Path:
    root = folder / "large"
    root.mkdir()
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    left_out = shutil.ignore_patterns("__pycache__", "photos", "school", "drawing")
    for name in ("migrations", "seeds"):
        shutil.copytree(ROOT / name, root / name, ignore=left_out)
    head = max(path.stem for path in (root / "migrations/versions").glob("0*.py"))[:4]
    (root / "migrations/versions/bench.py").write_text(FILLING.format(head=head, rows=megabytes * 125))
    return root


class eager_clients:  # noqa: N801 - used as a function
    """Clients that connect again as soon as they are sent away."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(number)]

    def _client(self) -> None:
        while not self._over.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._over.is_set():
                        connection.execute("SELECT 1")
                        time.sleep(0.005)
            except psycopg.Error:
                continue

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _nothing() -> None:
    pass


Side = tuple[Callable[[], None], Callable[[], None]]


def in_turn(one: Side, two: Side, runs: int = RUNS) -> tuple[float, float]:
    """Return the median seconds of two works run in turn; each is a preparation, not counted, and the work."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(runs + 1):
        for (prepare, work), seconds in zip((one, two), times, strict=True):
            prepare()
            started = time.perf_counter()
            work()
            if number:
                seconds.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        Path(place).chmod(0o755)
        for what, rival, bar, ours, theirs in rows({**os.environ, "SEEDTOOL_HOME": f"{place}/home"}, Path(place)):
            print(f"{what} | {rival} | {ours * 1000:.1f} | {theirs * 1000:.1f} | {ours / theirs:.2f} | {bar}")
