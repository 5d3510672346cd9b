"""seeded_connection: one database a worker, and each test in a transaction that is rolled back."""

BEGIN = """\
import psycopg, pytest
from sqlalchemy import text

COUNT = "SELECT count(*) FROM authors"
ADD = "INSERT INTO authors (id, name) VALUES (2, 'Pablo Neruda')"
DATABASES = set()
pytestmark = pytest.mark.seed("local")

def count(connection):
    return connection.execute(COUNT).fetchone()[0]
"""

WORKING = (
    BEGIN
    + """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture(autouse=True)
def begins_with_one(seeded_connection):
    assert count(seeded_connection) == 1
    DATABASES.add(seeded_connection.info.dbname)

def test_commit_and_rollback_work_within_the_test(seeded_connection):
    seeded_connection.execute(ADD)
    seeded_connection.commit()
    seeded_connection.execute("DELETE FROM authors")
    seeded_connection.rollback()
    assert count(seeded_connection) == 2
    with seeded_connection.transaction(force_rollback=True):
        seeded_connection.execute("DELETE FROM authors")
    with seeded_connection as same:
        same.execute("DELETE FROM authors WHERE id = 2")
    assert count(seeded_connection) == 1
    with pytest.raises(ZeroDivisionError), seeded_connection:
        seeded_connection.execute("DELETE FROM authors")
        1 / 0
    seeded_connection.execute("DELETE FROM authors")
    seeded_connection.close()
    assert count(seeded_connection) == 1

def test_an_error_of_a_statement_is_rolled_back_by_commit_as_the_server_does_it(seeded_connection):
    with pytest.raises(psycopg.errors.UniqueViolation):
        seeded_connection.execute("INSERT INTO authors (id, name) VALUES (1, 'X')")
    seeded_connection.commit()
    assert count(seeded_connection) == 1

def test_a_commit_checks_deferred_constraints_and_they_stay_deferred(seeded_connection):
    seeded_connection.execute("CREATE TABLE child (author int REFERENCES authors DEFERRABLE INITIALLY DEFERRED)")
    seeded_connection.commit()
    for _ in range(2):
        seeded_connection.execute("INSERT INTO child VALUES (99)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            seeded_connection.commit()
        assert seeded_connection.execute("SELECT count(*) FROM child").fetchone() == (0,)

def test_ddl_is_rolled_back_too(seeded_connection):
    assert seeded_connection.execute("SELECT to_regclass('child')").fetchone() == (None,)
    seeded_connection.execute("ALTER TABLE authors ADD COLUMN alive boolean")
    for _ in range(9):
        seeded_connection.execute("SELECT * FROM authors")
    seeded_connection.execute("PREPARE mine AS SELECT 1")
    seeded_connection.execute("SELECT pg_advisory_lock(7)")
    seeded_connection.row_factory = psycopg.rows.dict_row

def test_the_next_test_has_the_columns_and_statements_of_before(seeded_connection):
    for _ in range(9):
        (row,) = seeded_connection.execute("SELECT * FROM authors").fetchall()
    assert row[1] == "Gabriela Mistral"
    assert seeded_connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    assert seeded_connection.execute(locks).fetchone() == (0,)

def test_a_pipeline_and_copy(seeded_connection):
    with seeded_connection.pipeline():
        seeded_connection.execute(ADD)
        seeded_connection.commit()
    with seeded_connection.cursor() as cursor, cursor.copy("COPY authors (id, name) FROM STDIN") as copy:
        copy.write_row((3, "Nicanor Parra"))
    assert count(seeded_connection) == 3

def test_a_session_of_sqlalchemy(seeded_session, seeded_connection):
    seeded_session.execute(text(ADD))
    seeded_session.commit()
    seeded_session.execute(text("DELETE FROM authors"))
    seeded_session.rollback()
    with seeded_session.get_bind().begin() as connection:
        connection.execute(text("INSERT INTO authors (id, name) VALUES (3, 'Nicanor Parra')"))
    assert count(seeded_connection) == seeded_session.scalar(text(COUNT)) == 3
    seeded_session.get_bind().dispose()
    assert count(seeded_connection) == 3

@pytest.mark.anyio
async def test_asyncio(seeded_async_connection, seeded_async_session, seeded_connection):
    await seeded_async_connection.execute(ADD)
    await seeded_async_connection.commit()
    await seeded_async_session.execute(text("DELETE FROM authors"))
    await seeded_async_session.rollback()
    await seeded_async_session.execute(text("INSERT INTO authors (id, name) VALUES (3, 'Nicanor Parra')"))
    await seeded_async_session.commit()
    assert await seeded_async_session.scalar(text(COUNT)) == count(seeded_connection) == 3

@pytest.mark.anyio
async def test_asyncio_again_in_another_loop(seeded_async_connection, seeded_async_session):
    async with seeded_async_session.bind.begin() as connection:
        await connection.execute(text(ADD))
    async with seeded_async_connection as same:
        cursor = await same.execute(COUNT)
        assert await cursor.fetchone() == (2,)
    await seeded_async_session.execute(text("DELETE FROM authors"))  # and left open

def test_what_was_left_in_the_middle_of_something(seeded_connection):
    seeded_connection.pgconn.send_query(b"COPY authors FROM STDIN")

def test_a_new_database_follows():
    pass

@pytest.mark.seed(None)
class TestSchema:
    @pytest.fixture(autouse=True)
    def begins_with_one(self): pass

    def test_another_profile_has_a_database_of_its_own(self, seeded_connection):
        assert count(seeded_connection) == 0
        assert seeded_connection.info.dbname not in DATABASES

def test_all_had_one_database_and_the_last_a_new_one():
    assert len(DATABASES) == 2
"""
)


def test_a_test_works_within_a_transaction_that_is_rolled_back(library):
    library.write("test_working.py", WORKING)
    plugins = "seedtool.pytest_plugin,anyio.pytest_plugin"
    ran = library.run("-W", "error", PYTEST_PLUGINS=plugins)
    assert ran.counts == {"passed": 13}, ran.text
    assert library.databases("test") == []


def test_a_test_that_cannot_be_rolled_back_is_told_what_to_do(library):
    library.write(
        "test_failing.py",
        BEGIN
        + """
def test_commits_by_itself(seeded_connection):
    seeded_connection.execute("INSERT INTO authors (id, name) VALUES (7, 'Stays')")
    seeded_connection.execute("COMMIT")

def test_a_connection_of_its_own(seeded_connection):
    assert count(seeded_connection) == 1
    psycopg.connect(seeded_connection.info.dsn)

def test_outside_transactions(seeded_connection):
    seeded_connection.execute("VACUUM authors")

def test_autocommit(seeded_session):
    seeded_session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

def test_another_failure(seeded_connection):
    assert count(seeded_connection) == 2
""",
    )
    ran = library.run()
    assert ran.counts == {"passed": 1, "failed": 4, "error": 1}, ran.text
    assert "by a COMMIT or ROLLBACK of its own in SQL" in ran.text
    assert ran.text.count("\nThe test, or what it calls, opened a connection of its own to the database") == 1
    assert ran.text.count("\nThe test runs a statement that PostgreSQL allows outside transactions only.") == 1
    assert ran.text.count("\nThe test changes how transactions begin (autocommit, an isolation level)") == 1
    assert ran.text.count("Use seeded_database for this test") == 4
    assert library.databases("test") == []


def test_each_worker_of_xdist_has_a_database(library):
    library.write(
        "test_workers.py",
        BEGIN
        + """
@pytest.mark.parametrize("n", range(20))
def test_add(seeded_connection, n):
    assert count(seeded_connection) == 1
    seeded_connection.execute(ADD)
    seeded_connection.commit()
""",
    )
    assert library.run("-n", "2").counts == {"passed": 20}
    assert library.databases("test") == []
