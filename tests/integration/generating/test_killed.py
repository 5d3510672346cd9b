"""A load or an unload that is killed between any two statements is resumed or undone."""

import os
import signal

import psycopg
import pytest

from seedtool.errors import LoadInterrupted
from seedtool.slices import ledger

TABLES = ("families", "pupils", "photos")


def killed(work, at):
    """Do the work in a fork of this process that is killed before its so-manieth statement; tell whether it was."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status)
    count = 0

    def counting(method):
        def call(self, *arguments, **options):
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(self, *arguments, **options)

        return call

    try:
        psycopg.Cursor.execute = counting(psycopg.Cursor.execute)
        psycopg.Cursor.copy = counting(psycopg.Cursor.copy)
        psycopg.Connection.commit = counting(psycopg.Connection.commit)
        psycopg.Copy.write = counting(psycopg.Copy.write)
        work()
    finally:
        os._exit(0)


def in_progress(school):
    """Tell whether a load is written down as begun."""
    with school.connect() as connection:
        found = ledger.find(connection.cursor(), "district")
        return found is not None and found.state == "loading"


@pytest.fixture
def finished(school):
    """What a load leaves that nobody has killed: rows and structure."""
    school.load()
    found = [school.checksum(table) for table in TABLES], school.structure()
    school.unload()
    school.execute("ALTER TABLE photos ALTER COLUMN id RESTART")
    return found


def go_through(school, finished, points):
    """Kill a load before each of these statements, and resume and undo it by turns."""
    rows, structure = finished
    for number, at in enumerate(points):
        if not killed(school.load, at):
            return
        if number % 2:
            if school.value("SELECT count(*) FROM seedtool.loads"):
                school.unload()
            assert [school.value(f"SELECT count(*) FROM {table}") for table in TABLES] == [0, 0, 0], at
        else:
            begun = in_progress(school)
            if begun:
                with pytest.raises(LoadInterrupted):
                    school.load()
            school.load(resume=begun)
            assert [school.checksum(table) for table in TABLES] == rows, at
            assert school.structure() == structure, at
            killed(school.unload, at)
            if school.value("SELECT count(*) FROM seedtool.loads"):
                school.unload()
        assert [school.value(f"SELECT count(*) FROM {table}") for table in TABLES] == [0, 0, 0], at
        assert school.structure() == structure, at
        assert school.value("SELECT count(*) FROM seedtool.put_off") == 0
        school.execute("ALTER TABLE photos ALTER COLUMN id RESTART")
    assert len(points) < 100, "there is no statement left"


def test_a_kill_at_some_statements_is_resumed_or_undone(school, finished):
    go_through(school, finished, range(22, 99, 9))


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_kill_at_every_statement_is_resumed_or_undone(school, finished):
    go_through(school, finished, range(1, 1000))
    go_through(school, finished, range(2, 1000))
