"""`seedtool migrate`: one at a time on a target, whoever comes."""

import threading
import time

import psycopg
import pytest

from seedtool.database import server
from seedtool.database.cluster import open_cluster
from seedtool.database.reset import migrate
from seedtool.errors import MigrationError


@pytest.fixture
def missing(database):
    with open_cluster(database) as cluster:
        cluster.drop(database.name)
    return database


def slow_upgrade(conninfo):
    with psycopg.connect(conninfo) as connection:
        if connection.execute("SELECT to_regclass('made')").fetchone() == (None,):
            time.sleep(0.2)  # long enough for the other one to come to the same conclusion
            connection.execute("CREATE TABLE made (id int)")
            return ["0001"]
    return []


def test_a_missing_database_is_made_and_ours(missing):
    assert migrate(missing, slow_upgrade) == (True, ["0001"])
    with open_cluster(missing) as cluster:
        assert cluster.database(missing.name).managed


def test_two_at_once_run_each_revision_once(missing):
    results = []
    threads = [threading.Thread(target=lambda: results.append(migrate(missing, slow_upgrade))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(False, []), (True, ["0001"])]


def test_a_failed_one_lets_the_next_in(missing):
    def fail(conninfo):
        raise MigrationError("revision 0002 failed")

    with pytest.raises(MigrationError):
        migrate(missing, fail)
    assert migrate(missing, slow_upgrade) == (False, ["0001"])
    server.connect(missing).close()
