"""seeded_database: fresh for each test, with the rows of its profile, and nothing left behind."""

import os
import re
import signal

import msgspec
import psycopg

from seedtool.settings import load
from seedtool.workflows.prepare import prepare
from seedtool.workflows.servers import servers_status, stop_servers
from tests import servers
from tests.waiting import until

COUNT = """\
import psycopg, pytest

def authors(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT count(*) FROM authors").fetchone()[0]
"""


def test_each_test_has_a_fresh_database_with_the_rows_of_its_profile(library):
    library.write(
        "test_fresh.py",
        COUNT
        + """
URLS = set()
pytestmark = pytest.mark.seed("local")

@pytest.mark.parametrize("n", range(6))
def test_rows(seeded_database, n):
    assert authors(seeded_database) == 1
    with psycopg.connect(seeded_database) as connection:
        connection.execute("DELETE FROM authors")
    URLS.add(seeded_database)

def test_a_connection_left_open_is_no_hindrance(seeded_database):
    global left_open
    left_open = psycopg.connect(seeded_database)

@pytest.mark.seed(None)
def test_the_nearest_marker_counts(seeded_database):
    assert authors(seeded_database) == 0

class TestGroup:
    pytestmark = pytest.mark.seed(None)

    def test_schema(self, seeded_database):
        assert authors(seeded_database) == 0

def test_all_were_different():
    assert len(URLS) == 6

def test_asked_for_late(request):
    assert authors(request.getfixturevalue("seeded_database")) == 1
""",
    )
    ran = library.run("-W", "ignore::ResourceWarning")
    assert ran.counts == {"passed": 11}, ran.text
    assert library.databases("test") == []
    assert library.databases("template")


def test_the_target_itself_is_never_touched(library):
    library.write("test_one.py", "def test_one(seeded_database): assert '/seedtool_test_' in seeded_database")
    assert library.run().counts == {"passed": 1}
    assert library.databases("test") == []
    with psycopg.connect(library.target.conninfo_for("postgres")) as maintenance:
        assert maintenance.execute("SELECT FROM pg_database WHERE datname = 'library'").fetchone() is None


def test_what_migrations_set_on_the_database_itself_is_there(library):
    (revision,) = (library.root / "alembic/versions").glob("2b_*.py")
    text = revision.read_text(encoding="utf-8")
    statement = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 12345', current_database()); END $$"
    revision.write_text(
        text.replace("def upgrade() -> None:\n", f'def upgrade() -> None:\n    op.execute("""{statement}""")\n'),
        encoding="utf-8",
    )
    library.write(
        "test_settings.py",
        COUNT
        + """
def test_settings(seeded_database):
    with psycopg.connect(seeded_database) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("12345kB",)
""",
    )
    assert library.run().counts == {"passed": 1}


def test_ini_options_name_the_project_and_the_profile(library):
    library.write("backend/tests/pytest.ini", "[pytest]\nseedtool_root = ../..\nseedtool_seed = local\n")
    library.write(
        "backend/tests/test_one.py",
        COUNT
        + """
def test_one(seeded_database):
    assert authors(seeded_database) == 1

def test_session(seeded_database_session):
    with psycopg.connect(seeded_database_session) as connection:
        connection.execute("INSERT INTO authors VALUES (2, 'Pablo Neruda', NULL)")

def test_session_again(seeded_database_session):
    assert authors(seeded_database_session) == 2
""",
    )
    ran = library.run("backend/tests", "--rootdir=backend/tests", "-c", "backend/tests/pytest.ini")
    assert ran.counts == {"passed": 3}, ran.text
    assert library.databases("test") == []


def test_the_database_of_a_failed_test_is_kept_and_told(library, authors):
    library.write(
        "test_kept.py",
        COUNT
        + """
@pytest.mark.seed("local")
def test_fails(seeded_database):
    global left_open
    left_open = psycopg.connect(seeded_database)
    left_open.execute("INSERT INTO authors VALUES (2, 'Pablo Neruda', NULL)")
    left_open.commit()
    assert 0

@pytest.fixture
def messy(seeded_database):
    yield
    assert 0

def test_fails_at_the_end(messy): pass

def test_passes(seeded_database): pass
""",
    )
    ran = library.run("--keep-failed", "-W", "ignore::ResourceWarning")
    assert ran.counts == {"failed": 1, "passed": 2, "error": 1}
    urls = re.findall(r"is kept: (postgresql://\S+)", ran.text)
    assert len(urls) == 2
    assert sorted(url.split("/")[3].split("?")[0] for url in urls) == sorted(library.databases("kept"))
    assert {authors(url) for url in urls} == {0, 2}
    library.run("-k", "passes")  # whoever sweeps leaves it alone
    assert len(library.databases("kept")) == 2
    assert "pytest --drop-kept" in ran.text
    kept = sorted(library.databases("kept"))
    assert library.run("--drop-kept").text.split() == kept
    assert library.databases("kept") == []
    assert library.databases("test") == []


def test_without_the_option_nothing_is_kept(library):
    library.write("test_fails.py", "def test_fails(seeded_database): assert 0")
    assert library.run().counts == {"failed": 1}
    assert library.databases("kept") == library.databases("test") == []


MANY = (
    COUNT
    + """
@pytest.mark.seed("local")
@pytest.mark.parametrize("n", range(60))
def test_many(seeded_database, n):
    assert authors(seeded_database) == 1
"""
)


def test_workers_share_one_template_and_leave_no_database_behind(library):
    library.write("test_many.py", MANY)
    before = set(library.databases("template"))
    ran = library.run("-n", "3")
    assert ran.counts == {"passed": 60}, ran.text
    assert library.databases("test") == []
    assert len(set(library.databases("template")) - before) <= 2  # the schema's and the profile's


SLOW = """
import pathlib, time
def test_slow(seeded_database):
    pathlib.Path("started").touch()
    while not pathlib.Path("finish").exists():
        time.sleep(0.01)
def test_next(seeded_database): pass
"""


def test_what_a_killed_run_leaves_is_swept_by_the_next_and_a_living_run_is_let_be(library):
    library.write("test_slow.py", SLOW)
    library.write("test_quick.py", "def test_quick(seeded_database): pass")
    killed = library.start("test_slow.py")
    until((library.root / "started").exists)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    left = set(library.databases("test"))
    assert left
    (library.root / "started").unlink()

    living = library.start("test_slow.py")
    until((library.root / "started").exists)
    until(lambda: not left & set(library.databases("test")))
    its_own = set(library.databases("test"))
    assert its_own
    assert library.run("test_quick.py").counts == {"passed": 1}
    assert its_own <= set(library.databases("test"))
    (library.root / "finish").touch()
    text, _ = living.communicate(timeout=60)
    assert "2 passed" in text
    assert library.databases("test") == []


ENDED = """\
import time

import psycopg, pytest

@pytest.mark.parametrize("n", range(4))
def test_many(seeded_database, seeded_database_session, n):
    with psycopg.connect(seeded_database_session) as connection:
        connection.execute("INSERT INTO authors VALUES (%s, 'Pablo Neruda', NULL)", [n])
        assert connection.execute("SELECT count(*) FROM authors").fetchone() == (n + 1,)
    deadline = time.monotonic() + 60  # ended by the test before, the worker may still be opening its next connection
    with psycopg.connect(seeded_database, autocommit=True) as connection:
        while not (ended := connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
        ).fetchall()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (True,) in ended
"""


def test_the_tests_go_on_when_the_server_ends_our_connection(library):
    library.write("test_ended.py", ENDED)
    ran = library.run()
    assert ran.counts == {"passed": 4}, ran.text
    assert library.databases("test") == []


def test_an_interrupted_run_drops_its_databases(library):
    library.write("test_slow.py", SLOW)
    interrupted = library.start("test_slow.py")
    until((library.root / "started").exists)
    os.kill(interrupted.pid, signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert interrupted.returncode == 2
    assert library.databases("test") == []


def test_tests_may_have_a_server_of_their_own_that_does_not_wait_for_the_disk(library, settings, monkeypatch):
    del library.environ["DATABASE_URL"]
    library.write(
        "test_one.py",
        """
        import psycopg, pytest

        @pytest.mark.seed("local")
        def test_one(seeded_database):
            with psycopg.connect(seeded_database) as connection:
                assert connection.execute("SHOW fsync").fetchone() == ("off",)
        """,
    )
    found = msgspec.structs.replace(settings, root=library.root, aws="real")
    assert not load(library.root).test_server
    servers.prepare(found.test_server_dir)
    try:
        report = prepare(["local"], settings=msgspec.structs.replace(found, test_server=True))
        assert report.server.endswith("on the embedded server of tests")
        assert library.run(CI="true").counts == {"passed": 1}  # CI turns it on
        status = servers_status(settings=found)
        assert (status.running, status.tests) == (False, True)
    finally:
        stopped = stop_servers(settings=found)
    assert (stopped.server, stopped.tests) == (False, True)
