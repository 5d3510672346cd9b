"""What an error of the server is called, by its SQLSTATE (PostgreSQL's appendix A)."""

import psycopg
import pytest

from seedtool.postgres.psycopg_errors import translate


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("53100", "disk is full"),
        ("53200", "lacks memory"),
        ("53300", "lacks memory, connections"),
        ("53400", "or another resource"),
        ("58030", "see its log"),
        ("58P01", "see its log"),
        ("08006", "connection was lost"),
        ("57P01", "connection was lost"),
    ],
)
def test_a_server_that_lacks_something_is_no_lost_connection(code, cure):
    assert cure in translate(psycopg.errors.lookup(code)("the words of the server"), "seeding").remedy


def test_a_connection_without_an_answer_was_lost():
    error = psycopg.OperationalError("server closed the connection unexpectedly")
    assert "connection was lost" in translate(error, "seeding").remedy


def test_a_temporary_file_that_may_not_grow_is_no_lost_connection(connection):
    connection.execute("SET temp_file_limit = 0; SET work_mem = '64kB'")
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded) as caught:
        connection.execute("SELECT * FROM generate_series(1, 100000) AS g ORDER BY random()").fetchall()
    assert "or another resource" in translate(caught.value, "seeding").remedy
