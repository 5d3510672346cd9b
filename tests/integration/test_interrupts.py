"""Ctrl+C at every line of the work that ends other people's sessions leaves no session and no thread of ours."""

import contextlib
import sys
import threading
import time

import psycopg
import pytest

from seedtool.postgres import server, sessions
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import swap
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import reset
from seedtool.schema.layer import Schema
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("nothing_private_left")

#: The code in whose lines Ctrl+C is sent: the swap, and the ending of sessions around its rename.
TRACED = (swap.swap, sessions.ended.__wrapped__, sessions._Watcher.start, sessions._Watcher.stop)
FILES = {function.__code__.co_filename for function in TRACED}
NAMES = {"swap", "ended", "start", "stop", "__init__", "on_database"}


def build(database):
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS made_by_build (id int)")


class Interrupting:
    """Raises KeyboardInterrupt when the so-manieth line of the traced code is reached, and at the next ones."""

    def __init__(self, at, times):
        self.lines = 0
        self.at = at
        self.times = times

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in FILES or frame.f_code.co_name not in NAMES:
            return None
        if event == "line":
            self.lines += 1
            if self.at <= self.lines < self.at + self.times:
                raise KeyboardInterrupt
        return self


def interrupted(project, database, at, times):
    """Reset with an interruption; tell whether the line was reached."""
    hook = Interrupting(at, times)
    before = sys.gettrace()  # coverage's: without it nothing that this worker does later would be counted
    with contextlib.suppress(KeyboardInterrupt):
        sys.settrace(hook)
        try:
            reset(project, database, [Schema(project, build)], consent=Consent.NAME)
        finally:
            sys.settrace(before)
    return hook.lines >= at


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "seedtool-end-sessions" and thread.is_alive()]


def left_over(maintenance):
    return maintenance.execute(
        "SELECT query FROM pg_stat_activity WHERE application_name = 'seedtool' AND pid <> pg_backend_pid()"
        " AND query !~ '^(CREATE|DROP) DATABASE'"
    ).fetchall()


def test_nobody_is_ended_any_more_once_the_statement_has_returned(target):
    with open_cluster(target) as cluster:
        obstacles = sessions.on_database(cluster.database("postgres").oid, seen=True)
        with sessions.ended(target, cluster.connection, obstacles):
            pass
        assert watchers() == []


@pytest.mark.parametrize("times", [1, 2])
def test_at_every_line_of_the_swap_once_and_twice(project, database, times):
    reset(project, database, [Schema(project, build)], consent=Consent.NAME)
    at = 1
    with contextlib.ExitStack() as clients:
        while True:
            # a session that has to be ended, so that the watching thread has work
            clients.enter_context(contextlib.suppress(psycopg.OperationalError))
            client = server.connect(database, application="a client")
            if not interrupted(project, database, at, times):
                client.close()
                break
            until(lambda: not watchers())
            client.close()
            # nobody ends a session that comes now, and the target is whole
            with server.connect(database, application="afterwards") as connection:
                time.sleep(0.02)
                assert connection.execute("SELECT count(*) FROM made_by_build").fetchone() == (0,)
            at += 1
    assert at > 20
    with server.connect(database, database.maintenance, autocommit=True) as maintenance:
        until(lambda: not left_over(maintenance))  # a session that its client has closed needs a moment to end
