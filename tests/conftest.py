"""What every test may ask for: a state folder of its own run, a server, a fresh database."""

import contextlib
import functools
import gc
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import msgspec
import psycopg
import pytest
from botocore.loaders import create_loader
from hypothesis import is_hypothesis_test
from psycopg.conninfo import conninfo_to_dict

from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings, load
from tests import messages, processes, servers, unmeasured
from tests.databases import Databases

ROOT = Path(__file__).resolve().parents[1]

# A shell's job in the background ignores Ctrl+C, and so would every command that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# make test draws few examples of each property, make torture many (--hypothesis-profile). With forty, some of the faults
# in planted.toml are not caught each time.
# Examples share the test's fixtures, and neither an example nor drawing them is too slow on a busy machine.
_PATIENT = {
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("test", max_examples=100, **_PATIENT)
hypothesis.settings.register_profile("torture", max_examples=2000, **_PATIENT)
hypothesis.settings.load_profile("test")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=1000, help="how many processes a campaign of make torture kills")
    parser.addoption("--measure-all", action="store_true", help="measure the tests of tests/unmeasured.txt, too")
    parser.addoption(
        "--approve", action="store_true", help="write the messages of the tests into tests/cli/messages.txt"
    )


#: What runs also as root, with the lowest versions of what we depend on, and in make matrix: one story of each room.
EVERYWHERE = (
    "cli/test_main_job.py", "integration/test_reset.py", "integration/seeding/test_merge.py",
    "integration/migrations/test_up_and_down.py", "integration/faces/test_sync.py", "unit/test_settings.py",
)  # fmt: skip


#: What runs without the measuring of coverage, which makes Python half as fast again: here commands and kills repeat
#: what other tests measure, and pictures are drawn.
UNMEASURED = re.compile(
    r"/docs/|/programs/|/cli/test_imports|/integration/backfill/test_(kills|decided_again)|/integration/snapshots/test_killed"
    r"|/integration/test_interrupts|/integration/emulator/test_(browser|clients|docs|durability)|/unit/seeds/"
    r"|/integration/migrations/test_(projects|external_image_id)|/plugin/test_mistakes"
)


#: Where a test without coverage has fixtures that others need to be measured.
FIXTURES_ARE_MEASURED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    spared = frozenset() if config.getoption("measure_all") else unmeasured.listed()
    for item in items:
        if "approved" in getattr(item, "fixturenames", ()):
            item.add_marker("approved")
        if item.path.as_posix().endswith(EVERYWHERE) and not item.get_closest_marker("torture"):
            item.add_marker("everywhere")
        if UNMEASURED.search(item.path.as_posix()) or is_hypothesis_test(getattr(item, "function", None)):
            item.add_marker("no_cover")
        elif not spared.isdisjoint({item.nodeid.partition("::")[0], unmeasured.function_of(item.nodeid)}):
            item.add_marker("no_cover")
            item.stash[FIXTURES_ARE_MEASURED] = True
    if config.getoption("approve") and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        messages.keep({messages.case_of(item.nodeid) for item in items})


def pytest_collection_finish() -> None:
    """Let no garbage collection look at what stays to the end: modules and thousands of collected tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # 700, 10, 10 is for programs that live in less memory


def measured(item: pytest.Item, *, fixtures: bool) -> contextlib.AbstractContextManager[None]:
    """Let the processes of a test without coverage do without it, too; those of its fixtures may be others' as well."""
    if item.get_closest_marker("no_cover") and fixtures is not item.stash.get(FIXTURES_ARE_MEASURED, False):
        return processes.unmeasured()
    return contextlib.nullcontext()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with measured(item, fixtures=True):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with measured(item, fixtures=False):
        return (yield)


@pytest.fixture
def approved(
    request: pytest.FixtureRequest, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., None]:
    """Compare the words of an error with tests/cli/messages.txt, or with --approve write them there.

    An error's case has the name of its test; a second one of the same test has the number 2, and so on.
    """
    test = messages.case_of(request.node.nodeid)
    folders = {str(tmp_path_factory.getbasetemp()): "TMP", str(home): "HOME", sys.executable: "PYTHON"}
    count = itertools.count(1)

    def compare(error: object, exit_code: int | None = None) -> None:
        number = next(count)
        name = test if number == 1 else f"{test} {number}"
        text = messages.shown(error, exit_code, folders)
        if request.config.getoption("approve"):
            messages.write(name, text)
        else:
            assert text == messages.read().get(name), "another wording than in tests/cli/messages.txt: make approve"

    return compare


@dataclass
class Campaign:
    """Figures of a campaign.

    Args:
        wanted: how many processes it is to kill.
        kills: how many were killed.
        points: between how many different steps they died.
    """

    wanted: int
    kills: int = 0
    points: int = 0


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Callable[..., contextlib.AbstractContextManager[Campaign]]:
    """Time a campaign and write its figures into docs/reliability.md, in the place of those of its last run."""

    @contextlib.contextmanager
    def running(name: str, promise: str) -> Iterator[Campaign]:
        told, started, outcome = Campaign(request.config.getoption("kills")), time.monotonic(), "failed"
        try:
            yield told
            outcome = "held"
        finally:
            seconds = time.monotonic() - started
            file = ROOT / "docs" / "reliability.md"
            row = f"| {name} | {told.kills} | {told.points} | {seconds:.0f} | {promise}: {outcome} |"
            text, found = re.subn(rf"^\| {re.escape(name)} \|.*$", lambda _: row, file.read_text(), flags=re.MULTILINE)
            file.write_text(text if found else text.replace(FIRST_ROW, f"{FIRST_ROW}{row}\n"), encoding="utf-8")

    return running


FIRST_ROW = "| --- | ---: | ---: | ---: | --- |\n"


@pytest.fixture(scope="session", autouse=True)
def home(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A state folder for this worker; no test ever meets the developer's own server, settings or credentials."""
    # not below pytest's own temporary folder: as root that is closed to the user PostgreSQL runs as;
    # in memory where there is room, for on ext4 making and dropping many databases slows down file creation
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * 2**30
    folder = servers.folder(memory if roomy else Path(tempfile.gettempdir()))
    folder.chmod(0o755)
    # after all else: the plugin drops its databases when the fixtures of the session are gone
    pytestconfig.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    before = dict(os.environ)
    for name in list(os.environ):
        # CI=true turns spares off, which a test has to say itself
        if name.startswith(("AWS_", "SEEDTOOL_", "PG")) or name in {
            "CI",
            "DATABASE_URL",
            "PHOTOS_URL",
            "S3_ENDPOINT_URL",
        }:
            del os.environ[name]
    os.environ["SEEDTOOL_HOME"] = str(folder)
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    yield folder
    processes.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def one_reader_of_botocores_models() -> Iterator[None]:
    """Let the sessions of all tests share what botocore reads: each would parse a megabyte of JSON anew, in 70 ms."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("botocore.session.create_loader", functools.cache(create_loader))
        yield


@pytest.fixture(scope="session")
def settings(home: Path) -> Settings:
    """The settings of this repository, with their state in the test's home."""
    return load(ROOT)


@pytest.fixture(scope="session")
def target(settings: Settings) -> Iterator[Target]:
    """The embedded server's target, started; its database does not exist until a test makes it."""
    found = started(settings)
    yield found
    found.embedded.stop()


@pytest.fixture(scope="session")
def seedtool_settings(settings: Settings, home: Path, pytestconfig: pytest.Config) -> Settings:
    """What the pytest plugin works with: a server apart from the one that tests of resets stop, sweep and empty."""
    apart = msgspec.structs.replace(settings, home=home / "plugin")
    # stopped before, it would be started again by the plugin, which drops its databases at the very end
    servers.prepare(apart.state_dir)
    pytestconfig.add_cleanup(started(apart).embedded.stop)
    return apart


def started(settings: Settings) -> Target:
    """Start the embedded server, and return its target."""
    found = server.find(settings)
    with server.connect(found, found.maintenance, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # nothing of a test has to outlive a power cut
        connection.execute("SELECT pg_reload_conf()")
    return found


@pytest.fixture
def schooled(seeded_database: str, seedtool_settings: Settings) -> Target:
    """A database of this repository's schema: a clone, made ahead."""
    found = server.find(seedtool_settings)
    name = str(conninfo_to_dict(seeded_database)["dbname"])
    return msgspec.structs.replace(found, conninfo=found.conninfo_for(name), name=name)


@pytest.fixture(scope="session")
def databases(target: Target) -> Iterator[Databases]:
    """Makes and drops databases of the embedded server."""
    made = Databases(target)
    yield made
    made.close()


@pytest.fixture(scope="session")
def blank() -> str:
    """What `database` is a copy of; a folder whose tests all begin with the same tables has another."""
    return "template0"


@pytest.fixture
def database(databases: Databases, blank: str) -> Iterator[Target]:
    """An empty database with a name of its own, dropped after the test."""
    made = databases.create(blank)
    yield made
    databases.drop(made)


@pytest.fixture
def connection(database: Target) -> Iterator[psycopg.Connection]:
    """A connection to a fresh empty database."""
    with server.connect(database) as open_connection:
        yield open_connection
