"""What tests of resets share: waiting for what the server does on its own, and looking at what is left."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seedtool.listener import Listener
from seedtool.postgres.cluster import Cluster, PrivateDatabase, open_cluster
from seedtool.postgres.server import Target
from seedtool.settings import Settings, load


@pytest.fixture
def listening() -> Callable[[Callable[[str], object]], Listener]:
    """Return a listener that calls a function with the name of each step."""

    def listener(step: Callable[[str], object]) -> Listener:
        made = Listener()
        made.step = step  # type: ignore[method-assign]
        return made

    return listener


@pytest.fixture
def private(target: Target) -> Callable[..., list[str]]:
    """Return the private databases of the given kinds, once the server has done what it was sent."""

    def names(*kinds: str) -> list[str]:
        with open_cluster(target) as cluster:
            return [each.name for each in settled(cluster) if each.kind in kinds]

    return names


def settled(cluster: Cluster) -> list[PrivateDatabase]:
    """Wait until no session creates or drops a database, and return the private ones that are there."""
    deadline = time.monotonic() + 30
    quiet = 0
    while quiet < 3:  # on a busy machine the server may not have read yet what it was sent
        busy = cluster.connection.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'active' AND query ~ '^(CREATE|DROP) DATABASE'"
        ).fetchall()
        quiet = 0 if busy else quiet + 1
        assert time.monotonic() < deadline, busy
        time.sleep(0.01)
    return cluster.private_databases()


@pytest.fixture
def nothing_private_left(target: Target, private: Callable[..., list[str]]) -> Iterator[None]:
    """Afterwards no database may be left on the way; templates and spares are dropped."""
    yield
    left = private("building", "clone", "old")
    with open_cluster(target) as cluster:
        for each in cluster.private_databases():
            cluster.drop(each.name)
    assert left == []


@pytest.fixture
def project(tmp_path: Path, nothing_private_left: None) -> Settings:
    """A project whose fingerprint is its own: its templates meet no other test's."""
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(f"# {tmp_path}\n")
    return load(tmp_path, environ={"HOME": str(tmp_path)})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        # without its sandbox, which needs privileges that containers do not give; it only opens our own pages
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()
