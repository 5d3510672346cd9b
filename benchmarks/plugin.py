"""A fresh seeded database for each of 200 tests, beside a bare clone and drop and beside pytest-postgresql.

All run on one embedded server, in turn, with the schema of this repository and 10 MB of rows. `measure` gives the rows,
`python benchmarks/plugin.py` prints them. The rival comes with `pip install -e '.[bench]'`.

What counts for us is the whole process: pytest's start, the filling of the pool, the dropping of all databases. What
counts for pytest-postgresql is only what lies between its first test and its last: not its template, nor its start.
Its fixture gives a connection, so where the two are compared, our tests connect, too.

Tests in a transaction wait for nothing, so they are measured in seconds of the processors, which other work on the
machine does not change: those of pytest between its first test and its last, and those of the server.
"""

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from generate import _processors

from seedtool.postgres import server
from seedtool.settings import load

ROOT = Path(__file__).resolve().parents[1]
TESTS = 200
ROLLED_BACK_TESTS = 1000
ROUNDS = 3
#: The bars: of the wait in seconds, and of the ratios.
WAIT, BARE, RIVAL, ROLLED_BACK, NO_FSYNC = 0.008, 1.5, 1 / 1.5, 1.5, 0.95

GUARDIANS = """\
def rows():
    for n in range(9_000):
        yield {
            "id": f"guardian-{n:06}", "first_name": "Rosa", "last_name": "Soto", "identification_number": str(n),
            "phone": "+56 9 0000 0000", "email": f"guardian-{n}@example.org", "address": "Calle Larga 100, " * 8,
        }
"""

OURS = """\
import time
import psycopg, pytest

@pytest.mark.seed("bench")
@pytest.mark.parametrize("n", range({tests}))
def test_empty(seeded_database, n): pass

@pytest.mark.seed("bench")
@pytest.mark.parametrize("n", range({tests}))
def test_connect(seeded_database, n): psycopg.connect(seeded_database).close()

@pytest.mark.seed("bench")
@pytest.mark.parametrize("n", range({rolled_back}))
def test_rolled_back(seeded_connection, n): seeded_connection.execute("SELECT 1")

@pytest.fixture(scope="session")
def connection(seeded_database_session):
    with psycopg.connect(seeded_database_session, autocommit=True) as connection:
        yield connection

@pytest.fixture
def transaction(connection):
    connection.execute("BEGIN")
    yield connection
    connection.execute("ROLLBACK")

@pytest.mark.parametrize("n", range({rolled_back}))
def test_begin(transaction, n): transaction.execute("SELECT 1")

@pytest.mark.seed("bench")
@pytest.mark.parametrize("n", range({tests} // 2))
def test_work(seeded_database, n): time.sleep(0.06)
"""

THEIRS = """\
import pytest
from pytest_postgresql import factories

def fill(*, host, port, user, dbname, **_):
    import psycopg
    from seedtool.postgres.server import named_by
    from seedtool.schema.migrations import upgrade
    from seedtool.seeding.fixtures import read_fixtures
    from seedtool.seeding.merge import seed
    from seedtool.settings import load
    settings = load()
    conninfo = f"host={{host}} port={{port}} user={{user}} dbname={{dbname}}"
    upgrade(named_by(conninfo), settings)
    with psycopg.connect(conninfo) as connection:
        seed(connection, read_fixtures(settings.seeds, ["local", "bench"], settings.root), bindings=settings.faces)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ANALYZE")

noproc = factories.postgresql_noproc(host={host!r}, port=5432, user="postgres", load=[fill])
database = factories.postgresql("noproc")

@pytest.mark.parametrize("n", range({tests} // 2 + 1))
def test_theirs(database, n): pass
"""

CONFTEST = """\
import time
TIMES, PROCESSOR = [], []

def pytest_runtest_logfinish():
    TIMES.append(time.perf_counter())
    PROCESSOR.append(time.process_time())

def pytest_runtest_logreport(report):
    if report.when == "setup":
        print(f"\\nwait {report.duration}")

def pytest_unconfigure():
    if TIMES[1:]:
        print(f"\\nbetween {(TIMES[-1] - TIMES[0]) / (len(TIMES) - 1)}")
        print(f"\\nprocessor {(PROCESSOR[-1] - PROCESSOR[0]) / (len(TIMES) - 1)}")
"""


def measure(rounds: int = ROUNDS, tests: int = TESTS) -> list[tuple[str, str, float, float, float]]:
    """Return rows of: what, its rival, the bar of their ratio, and the median seconds a test of both."""
    if importlib.util.find_spec("pytest_postgresql") is None:
        sys.exit("the rival is missing: pip install -e '.[bench]' -c constraints.txt")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        Path(folder).chmod(0o755)
        suite = Suite(Path(folder), tests)
        try:
            return list(suite.measure(rounds))
        finally:
            assert suite.target.embedded is not None
            suite.target.embedded.stop()
            suite.of_tests.embedded.stop()


class Suite:
    """A copy of this project with a set of rows more, and the two suites."""

    def __init__(self, folder: Path, tests: int) -> None:
        self.tests = tests
        self.root = folder / "project"
        self.root.mkdir()
        for name in ("alembic.ini", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        (self.root / "pytest.ini").write_text("[pytest]\n")  # not ours
        left_out = shutil.ignore_patterns("__pycache__", "photos", "school", "drawing")
        for name in ("migrations", "seeds"):
            shutil.copytree(ROOT / name, self.root / name, ignore=left_out)
        (self.root / "seeds/bench").mkdir()
        (self.root / "seeds/bench/legal_guardians.py").write_text(GUARDIANS)
        (self.root / "seeds/profiles.toml").write_text('[bench]\nsets = ["local", "bench"]\n')
        self.environ = {**os.environ, "SEEDTOOL_HOME": str(folder / "home"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        self.target = server.find(load(self.root, environ=self.environ))
        self.tests_environ = {**self.environ, "SEEDTOOL_TEST_SERVER": "true"}
        self.of_tests = server.find_for_tests(load(self.root, environ=self.tests_environ))
        (self.root / "conftest.py").write_text(CONFTEST)
        (self.root / "test_ours.py").write_text(OURS.format(tests=tests, rolled_back=ROLLED_BACK_TESTS))
        host = str(self.target.embedded.socket_dir)
        (self.root / "test_theirs.py").write_text(THEIRS.format(host=host, tests=tests))

    def measure(self, rounds: int) -> Iterator[tuple[str, str, float, float, float]]:
        """Run everything in turn, after one uncounted run that builds the template."""
        self.ours("empty[0]")
        with server.connect(self.target, "postgres", autocommit=True) as connection:
            template, size = self.template(connection)
            empty, connecting, bare, theirs = [], [], [], []
            for _ in range(rounds):
                empty.append(self.ours("empty")[0])
                bare.append(self.bare(connection, template))
                connecting.append(self.ours("connect")[0])
                theirs.append(self.theirs())
            rolled_back, begin = [], []
            for _ in range(rounds):
                rolled_back.append(self.processors("test_rolled_back"))
                begin.append(self.processors("test_begin"))
        waits = self.ours("work")[1]
        self.environ = self.tests_environ
        self.ours("empty[0]")
        quick, quick_bare = [], []
        with server.connect(self.of_tests, "postgres", autocommit=True) as connection:
            template, _ = self.template(connection)
            for _ in range(rounds):
                quick.append(self.between("test_ours.py", "-k", "test_empty"))
                quick_bare.append(self.bare(connection, template))
        yield f"wait for a fresh database of {size}, tests of 60 ms", "8 ms", 1.0, statistics.median(waits), WAIT
        yield (
            "an empty test, whole run",
            "a bare clone and drop",
            BARE,
            statistics.median(empty),
            statistics.median(bare),
        )
        ratio = statistics.median(connecting), statistics.median(theirs)
        yield "a test that connects, whole run", "`pytest-postgresql`, between tests", RIVAL, *ratio
        yield (
            "an empty test without fsync, between tests",
            "a bare clone and drop on that server",
            NO_FSYNC,
            statistics.median(quick),
            statistics.median(quick_bare),
        )
        yield (
            "a test of seeded_connection, processors of client and server",
            "a test with a bare BEGIN and ROLLBACK, the same",
            ROLLED_BACK,
            statistics.median(rolled_back),
            statistics.median(begin),
        )

    def ours(self, tests: str) -> tuple[float, list[float]]:
        """Return the whole run's seconds a test, and how long each waited in the fixture."""
        started = time.perf_counter()
        said = self.pytest("seedtool.pytest_plugin", "test_ours.py", "-k", f"test_{tests}")
        seconds = (time.perf_counter() - started) / self.tests
        return seconds, [float(line.split()[1]) for line in said.splitlines() if line.startswith("wait ")]

    def theirs(self) -> float:
        """Return the seconds a test between the end of the first and of the last."""
        return self.between("test_theirs.py", plugin="pytest_postgresql.plugin")

    def between(self, *arguments: str, plugin: str = "seedtool.pytest_plugin") -> float:
        """Return the seconds a test between the end of the first and of the last."""
        said = self.pytest(plugin, *arguments)
        return said_number(said, "between")

    def processors(self, tests: str) -> float:
        """Return the seconds of the processors a test: pytest's between the first and the last, and the server's."""
        said: list[str] = []
        _, served = _processors(
            self.target, lambda: said.append(self.pytest("seedtool.pytest_plugin", "test_ours.py", "-k", tests))
        )
        return said_number(said[0], "processor") + served / ROLLED_BACK_TESTS

    def bare(self, connection: psycopg.Connection, template: str) -> float:
        """Return the median seconds of a clone and its removal, on an open connection."""
        times = []
        for _ in range(30):
            started = time.perf_counter()
            connection.execute(f"CREATE DATABASE bare TEMPLATE {template}")
            connection.execute("DROP DATABASE bare")
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def template(self, connection: psycopg.Connection) -> tuple[str, str]:
        """Return the seeded template, the larger of the two there are, and its size."""
        return connection.execute(
            "SELECT datname, pg_size_pretty(pg_database_size(oid)) FROM pg_database"
            " WHERE datname LIKE 'seedtool_template_%' ORDER BY pg_database_size(oid) DESC LIMIT 1"
        ).fetchone()

    def pytest(self, plugin: str, *arguments: str) -> str:
        """Run a suite and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", plugin, "-p", "no:cacheprovider", *arguments],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stdout[-2000:] + done.stderr)
        return done.stdout


def said_number(said: str, name: str) -> float:
    """Return the number that conftest.py printed under a name."""
    (number,) = [float(line.split()[1]) for line in said.splitlines() if line.startswith(f"{name} ")]
    return number


def main() -> None:
    """Measure and print; an argument is the number of rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for what, rival, bar, one, two in measure(rounds):
        met = "met" if one / two <= bar else "missed"
        print(f"{what}: {one * 1000:.1f} ms; {rival}: {two * 1000:.1f} ms; {one / two:.2f}, bar {bar:.2f}, {met}")


if __name__ == "__main__":
    main()
