"""What a test can only do to a server that is nobody else's: another wal_level, a postmaster that is killed."""

import contextlib
import os
import signal
import threading
import time

import msgspec
import psycopg
import pytest

from seedtool.errors import DatabaseError
from seedtool.postgres import server
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.snapshots import snapshots
from tests.conftest import started
from tests.waiting import until


@pytest.fixture(scope="module")
def own(settings, home):
    """A server that decodes its log for logical replication."""
    target = started(msgspec.structs.replace(settings, home=home / "of_its_own"))
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_level = logical")
    target.embedded.stop()
    yield target
    target.embedded.stop()


def build(database):
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


def test_a_replication_slot_that_goes_with_a_database_is_told(project, own):
    layers = [Schema(project, build)]
    for consent in (Consent.NAME, Consent.YES):
        report = reset(project, own, layers, consent=consent)
        assert report.slots_dropped == []
        with server.connect(own, autocommit=True) as connection:
            for name in ("search_index", "analytics"):
                connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        assert plan(own, layers).slots == ["analytics", "search_index"]
        report = reset(project, own, layers, consent=Consent.YES)
        assert report.slots_dropped == ["analytics", "search_index"]
        with server.connect(own, own.maintenance) as connection:
            # the server drops the old database by itself
            until(lambda: not connection.execute("SELECT FROM pg_replication_slots").fetchall())


def test_slots_that_go_with_a_restored_database_are_told(project, own):
    reset(project, own, [Schema(project, build)], consent=Consent.NAME)
    snapshots.save(project, own, "before")
    with server.connect(own, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('mirror', 'pgoutput')")
    report = snapshots.restore(project, own, "before", lambda _: Consent.NAME)
    assert report.slots_dropped == ["mirror"]


@pytest.mark.parametrize("step", ["connect", "lock", "clone", "look"])
def test_a_postmaster_that_is_killed_during_a_save_is_one_error(project, own, listening, monkeypatch, step):
    reset(project, own, [Schema(project, build)], consent=Consent.NAME)
    threads = []
    monkeypatch.setattr(threading, "excepthook", threads.append)
    killed = []

    def kill(name):
        if name == step and not killed:
            killed.append(int((own.embedded.data_dir / "postmaster.pid").read_text().split()[0]))
            os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.2)  # its children notice

    # a session has to be ended, so that there is a second connection; a later one may have started the server again
    with contextlib.closing(server.connect(own)), contextlib.suppress(DatabaseError, psycopg.Error):
        snapshots.save(project, own, f"killed-{step}", listener=listening(kill))
    assert killed
    assert threads == []
