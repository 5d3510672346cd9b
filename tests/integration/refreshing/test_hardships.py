"""Whatever happens to a refresh, the target is the old database or the proven copy, and the next run succeeds."""

import random
import re
import signal
import tempfile
import textwrap
import threading
import time

import psycopg
import pytest

from seedtool.errors import BlockedError, DatabaseError, PolicyError
from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.workflows import refresh as workflow
from tests import processes

#: The steps between which a run may die, in their order.
STEPS = ("schema", "copy", "keys", "after", "proof", "seal", "clone", "swap", "leave")

KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from seedtool.listener import Listener
    from seedtool.postgres.server import Target
    from seedtool.settings import load
    from seedtool.workflows.refresh import refresh

    root, conninfo, name, fatal = sys.argv[1:]

    class Kills(Listener):
        def step(self, reached):
            print(reached, flush=True)
            if reached == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    refresh(
        settings=load(Path(root)),
        target=Target(conninfo=conninfo, name=name, maintenance="postgres"),
        confirm=name,
        listener=Kills(),
    )
    """
)


@pytest.fixture
def started(project, filled, production, home):
    """Start a refresh in a process of its own, which dies at a step."""
    environ = {
        "SEEDTOOL_HOME": str(home),
        "SEEDTOOL_REFRESH_KEY": project.refresh_key,
        "SEEDTOOL_REFRESH_FROM": project.refresh_from,
    }

    def start(fatal, steps=None):
        arguments = (str(project.root), filled.conninfo, filled.name, fatal)
        return processes.start(*arguments, code=KILLED, stdout=steps, env={**processes.os.environ, **environ})

    return start


@pytest.fixture
def state(filled, rows):
    """Return whether the target is the old database or the copy; nothing else may stand under its name."""

    def found():
        if rows(filled, "SELECT to_regclass('before') IS NOT NULL") == [(True,)]:
            return "old"
        assert rows(filled, "SELECT count(*) FROM students WHERE email LIKE '%@masked.invalid'") == [(40,)]
        proven = rows(filled, "SELECT report #> '{proof,findings}' FROM seedtool.refreshes")
        assert {len(each) for (each,) in proven} == {0}  # the records of the copies before it stay
        return "copy"

    return found


def run(project, target, **more):
    return workflow.refresh(settings=project, target=target, confirm=target.name, **more)


@pytest.mark.parametrize("fatal", ["copy", "proof", "swap"])
def test_a_killed_run_leaves_the_target_whole_and_the_next_one_succeeds(started, state, project, filled, fatal):
    assert started(fatal).wait(60) == -signal.SIGKILL
    assert state() == "old"
    run(project, filled)
    assert state() == "copy"
    with open_cluster(filled) as cluster:
        assert [each.kind for each in cluster.private_databases() if each.kind not in {"template", "old"}] == []


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_killed_a_thousand_times_at_random_moments(started, state, project, filled, campaign):
    draw = random.Random(3)  # noqa: S311 - the same each time
    with campaign("refresh: SIGKILL at a random moment", "the target is old or a proven copy") as told:
        points = set()
        for _ in range(told.wanted):
            with tempfile.TemporaryFile("w+") as steps:
                process = started("never", steps)
                time.sleep(draw.uniform(0, 3))
                process.kill()
                told.kills += process.wait(30) == -signal.SIGKILL
                steps.seek(0)
                points.add(tuple(steps.read().split()[-1:]))
            assert state() in {"old", "copy"}
        told.points = len(points)
        run(project, filled)
        assert state() == "copy"


def at_step(wanted, act):
    """Return a listener that does something when a step begins."""

    class Acts(Listener):
        def step(self, name):
            if name == wanted:
                act()

    return Acts()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("datname = %s", "the connection to .* was lost"),
        ("datname = 'postgres' OR %s = ''", "the session that works on .* was lost"),
    ],
    ids=["the source", "the session that holds the lock"],
)
def test_a_server_that_is_lost_leaves_the_target_as_it_was(project, filled, state, production, condition, words):
    def end():
        with psycopg.connect(production.conninfo, dbname="postgres", autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                f" AND pid <> pg_backend_pid() AND ({condition})",
                [production.name],
            )

    with pytest.raises(DatabaseError, match=words) as lost:
        run(project, filled, listener=at_step("copy", end))
    assert re.search(r"Start again|Run again", lost.value.remedy)
    assert state() == "old"


def test_a_migration_in_the_middle_is_told_and_its_column_stops_the_next_run(
    project, filled, state, production, monkeypatch
):
    monkeypatch.setattr("seedtool.refreshing.source.LOCK_TIMEOUT", 0.3)
    with psycopg.connect(production.conninfo, autocommit=True) as connection:

        def migrate():
            connection.execute("ALTER TABLE students ADD secret text DEFAULT 'x'")

        thread = threading.Thread(target=migrate)

        def begin():
            thread.start()
            time.sleep(0.1)

        with pytest.raises(BlockedError) as blocked:
            run(project, filled, listener=at_step("copy", begin))
        assert "tart again" in blocked.value.remedy
        thread.join(30)
        try:
            with pytest.raises(PolicyError) as refused:
                run(project, filled)
            assert refused.value.place["column"] == "secret"
            assert state() == "old"
        finally:
            connection.execute("ALTER TABLE students DROP secret")


def test_staging_is_used_until_the_moment_of_the_swap(project, filled, state, rows):
    seen = []

    def look():
        seen.append(state())

    with server.connect(filled) as client:
        client.execute("SELECT 1")
        done = run(project, filled, listener=at_step("proof", look))
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    assert seen == ["old"]
    assert done.reset.sessions_ended == 1
    assert state() == "copy"


def test_a_target_without_room_for_a_row_is_told_and_left(project, filled, state):
    (project.root / "after.sql").write_text("DO $$ BEGIN RAISE disk_full; END $$")
    with pytest.raises(Exception, match=r"after\.sql") as full:
        run(project, filled)
    assert full.value.place["code"] == "53100"
    assert state() == "old"
