"""The pytest plugin: a seeded database for every test, a stand-in for Rekognition, photos.

pytest loads this module in every project that has seedtool installed, so at the top it imports pytest and nothing
else; what a fixture needs is imported when the fixture is asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    import psycopg
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from seedtool.settings import Settings
    from seedtool.testing.databases import Databases, Lease
    from seedtool.testing.standin import Process, StandIn
    from seedtool.testing.transactions import Shared

_EXPECTED = pytest.StashKey[dict[str | None, int]]()
_DATABASES = pytest.StashKey["Databases"]()
_LEASE = pytest.StashKey["_Held"]()

_FIXTURE = "seeded_database"
_TRANSACTION = "_seedtool_transaction"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    parser.addini("seedtool_root", "the project's folder, from the rootdir [default: the rootdir]", default="")
    parser.addini("seedtool_seed", "the profile of tests without a seed marker [default: the bare schema]", default="")
    group = parser.getgroup("seedtool")
    group.addoption(
        "--keep-failed", action="store_true", help="keep the databases of failed tests and tell their addresses"
    )
    group.addoption(
        "--drop-kept", action="store_true", help="drop the databases that --keep-failed kept here, and run no tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "seed(profile): rows of the seeded_ fixtures, and faces of enroll_seeds(); None for the bare schema",
    )


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Serve --drop-kept."""
    if not config.getoption("--drop-kept"):
        return None
    from seedtool.errors import SeedtoolError
    from seedtool.testing.databases import drop_kept

    try:
        dropped = drop_kept(_load_settings(config))
    except SeedtoolError as error:
        raise pytest.UsageError(_message(error)) from None
    for name in dropped or ["nothing was kept"]:
        print(name)  # noqa: T201 - what the option is for
    return 0


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests that will ask for a database, so that no more are made than that."""
    expected: dict[str | None, int] = {}
    for item in session.items:
        if _FIXTURE in getattr(item, "fixturenames", ()):
            with contextlib.suppress(pytest.fail.Exception):  # the test itself will tell
                name = _profile_name(item)
                expected[name] = expected.get(name, 0) + 1
    session.config.stash[_EXPECTED] = expected


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Drop all databases: only here, for the last test's is given back after the fixtures of the session are gone."""
    databases = session.config.stash.get(_DATABASES, None)
    if databases is not None:
        for trouble in databases.close():
            session.config.issue_config_time_warning(pytest.PytestWarning(f"seedtool: {trouble}"), stacklevel=1)


@pytest.fixture(scope="session")
def seedtool_settings(pytestconfig: pytest.Config) -> Settings:
    """The project's settings. Override this fixture to change some of them for your tests."""
    with _errors_reported():
        return _load_settings(pytestconfig)


@pytest.fixture(scope="session")
def _seedtool_databases(pytestconfig: pytest.Config, seedtool_settings: Settings) -> Databases:
    from seedtool.testing.databases import Databases

    with _errors_reported():
        databases = Databases(seedtool_settings)
    pytestconfig.stash[_DATABASES] = databases
    return databases


@pytest.fixture
def seeded_database(request: pytest.FixtureRequest, _seedtool_databases: Databases) -> str:
    """The address (`postgresql://...`) of a fresh database, with the schema and the rows of the test's seed marker.

    It was made while earlier tests ran, and is dropped while later ones do. A profile that ends in a sync is synced
    when the test asks for `rekognition`, too: the seeds' faces are enrolled there then.
    """
    item = request.node
    name = _profile_name(item)
    expected = request.config.stash.get(_EXPECTED, {})
    expected[name] = max(0, expected.get(name, 0) - 1)
    with _errors_reported():
        lease = _seedtool_databases.lease(name, expected[name])
    item.stash[_LEASE] = _Held(_seedtool_databases, lease, item)
    if lease.profile is not None and lease.profile.sync_faces and "rekognition" in request.fixturenames:
        rekognition: StandIn = request.getfixturevalue("rekognition")
        with _errors_reported():
            rekognition.enroll_seeds()
            rekognition.sync(lease.target.conninfo)
    return lease.url


@pytest.fixture(scope="session")
def _seedtool_shared(_seedtool_databases: Databases) -> Iterator[dict[str | None, Shared]]:
    shared: dict[str | None, Shared] = {}
    yield shared
    for each in shared.values():
        each.close()


@pytest.fixture
def _seedtool_transaction(
    request: pytest.FixtureRequest, _seedtool_databases: Databases, _seedtool_shared: dict[str | None, Shared]
) -> Iterator[Shared]:
    from seedtool.testing.transactions import Shared

    name = _profile_name(request.node)
    if name not in _seedtool_shared:
        _seedtool_shared[name] = Shared(_seedtool_databases, name)
    shared = _seedtool_shared[name]
    with _errors_reported():
        shared.begin(request.config.stash.get(_EXPECTED, {}).get(name, 0))
    profile = shared.lease.profile
    if profile is not None and profile.sync_faces and "rekognition" in request.fixturenames:
        rekognition: StandIn = request.getfixturevalue("rekognition")
        with _errors_reported():
            rekognition.enroll_seeds()
            rekognition.sync(shared.connection)
            shared.connection.commit()
    yield shared
    with _errors_reported():
        shared.end()


@pytest.fixture
def seeded_connection(_seedtool_transaction: Shared) -> psycopg.Connection:
    """A psycopg connection to a database with the rows of the test's seed marker; what the test does is rolled back.

    The database is one for all tests of the worker. `commit()` and `rollback()` work, within the test's transaction. A
    test that connects by itself, or needs no transaction around it (VACUUM), asks for `seeded_database`.
    """
    return _seedtool_transaction.connection


@pytest.fixture
def seeded_async_connection(_seedtool_transaction: Shared) -> psycopg.AsyncConnection:
    """The same for asyncio: a psycopg.AsyncConnection within the test's transaction."""
    return _seedtool_transaction.async_connection()


@pytest.fixture
def seeded_session(_seedtool_transaction: Shared) -> Iterator[Session]:
    """The same for SQLAlchemy: an orm.Session; `get_bind()` is its engine."""
    with _seedtool_transaction.session() as session:
        yield session


@pytest.fixture
def seeded_async_session(_seedtool_transaction: Shared) -> Iterator[AsyncSession]:
    """The same for SQLAlchemy's asyncio: an AsyncSession; `bind` is its engine."""
    from seedtool.testing.transactions import end_async

    session = _seedtool_transaction.async_session()
    yield session
    end_async(session)


@pytest.fixture(scope="session")
def seeded_database_session(request: pytest.FixtureRequest, _seedtool_databases: Databases) -> Iterator[str]:
    """The address of one database for all tests of the session (under xdist: of the worker).

    It is seeded with the profile of the ini option seedtool_seed; what one test writes, the next one sees.
    """
    with _errors_reported():
        lease = _seedtool_databases.lease(_default_profile(request.config))
    yield lease.url
    _seedtool_databases.release(lease)


@pytest.fixture(scope="session")
def _seedtool_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    from seedtool.testing.standin import Process

    with _errors_reported():
        process = Process(tmp_path_factory.mktemp("seedtool-rekognition"))
    yield process
    process.stop()


@pytest.fixture
def rekognition(
    request: pytest.FixtureRequest, seedtool_settings: Settings, _seedtool_standin: Process
) -> Iterator[StandIn]:
    """A Rekognition of the test's own, without collections; it knows people by names written into pictures.

    `client()` is a boto3 client for it and `environ` leads others there; `enroll_seeds()` puts the faces in it that the
    seeded rows name.
    """
    from seedtool.testing.standin import StandIn

    yield StandIn(
        _seedtool_standin,
        seedtool_settings,
        lambda: request.getfixturevalue("_seedtool_databases"),
        _profile_name(request.node),
    )
    _seedtool_standin.clear()


@pytest.fixture
def photos(seedtool_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own with copies of the seeds' photos, under the keys by which rows name them."""
    import shutil

    folder = tmp_path_factory.mktemp("photos")
    seeded = seedtool_settings.seeds / "photos"
    if seeded.is_dir():
        shutil.copytree(seeded, folder, dirs_exist_ok=True)
    return folder


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison with a database's address by what may be shown: pytest's own explanation has the texts."""
    from seedtool.testing.address import Address

    if isinstance(left, Address) or isinstance(right, Address):
        return [f"{left!r} {op} {right!r}"]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell where the database of a failed test is kept; once the test is over, give its database back."""
    report = yield
    held = item.stash.get(_LEASE, None)
    if held is not None:
        if report.failed and item.config.getoption("--keep-failed"):
            report.sections.append(("seedtool", held.keep()))
        if report.when == "teardown":
            del item.stash[_LEASE]
            held.give_back()
    if report.failed and call.excinfo is not None and _TRANSACTION in getattr(item, "fixturenames", ()):
        from seedtool.testing.transactions import hint

        if said := hint(call.excinfo.value):
            report.sections.append(("seedtool", said))
    return report


class _Held:
    """The database of the test that runs."""

    def __init__(self, databases: Databases, lease: Lease, item: pytest.Item) -> None:
        self._databases = databases
        self._lease = lease
        self._item = item
        self._kept: str | None = None

    def keep(self) -> str:
        """Note that the database is to be kept; return what the report says of that."""
        from seedtool.testing.databases import shown_url

        if self._kept is None:
            self._kept = self._databases.kept_name()
        where = shown_url(self._databases.at(self._kept))
        return (
            f"the test's database is kept: {where}\n"
            f"pytest --drop-kept drops all that were kept here; this one: DROP DATABASE {self._kept}"
        )

    def give_back(self) -> None:
        """Drop it, or keep it."""
        from seedtool.testing.pool import Kept

        kept = None
        if self._kept is not None:
            kept = Kept(name=self._kept, comment=f"kept by seedtool's pytest plugin, after {self._item.nodeid} failed")
        self._databases.release(self._lease, kept)


def _profile_name(item: pytest.Item) -> str | None:
    """Return the profile that a test's seed marker names; the nearest marker counts."""
    marker = item.get_closest_marker("seed")
    if marker is None:
        return _default_profile(item.config)
    name = marker.args[0] if len(marker.args) == 1 and not marker.kwargs else 0
    if name is not None and not isinstance(name, str):
        pytest.fail('seedtool: write the marker as @pytest.mark.seed("PROFILE"), or (None)', pytrace=False)
    return name


def _default_profile(config: pytest.Config) -> str | None:
    return config.getini("seedtool_seed") or None


def _load_settings(config: pytest.Config) -> Settings:
    from seedtool.settings import load

    root: Path = config.rootpath / config.getini("seedtool_root")
    return load(root)


@contextlib.contextmanager
def _errors_reported() -> Iterator[None]:
    """Fail with an error's message and remedy, and without a traceback of ours."""
    from seedtool.errors import SeedtoolError

    try:
        yield
    except SeedtoolError as error:
        raise pytest.fail.Exception(_message(error), pytrace=False) from None


def _message(error: Exception) -> str:
    from seedtool.printable import printable

    remedy = getattr(error, "remedy", "")
    return printable(f"seedtool: {error}" + (f"\n  {remedy}" if remedy else ""))
