"""What tests of resets share: waiting for what the server does on its own, and looking at what is left."""

import time
from collections.abc import Callable

import pytest

from seedtool.database.cluster import Cluster, PrivateDatabase, open_cluster
from seedtool.database.server import Target


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
    while True:
        busy = cluster.connection.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'active' AND query ~ '^(CREATE|DROP) DATABASE'"
        ).fetchall()
        if not busy:
            return cluster.private_databases()
        assert time.monotonic() < deadline, busy
        time.sleep(0.01)
