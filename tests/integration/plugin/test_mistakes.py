"""What is wrong with a project is told by each test that suffers from it, with the remedy and without our traceback."""

import errno
import os

import pytest

ASKS = "import pytest\n\n@pytest.mark.parametrize('n', range(3))\ndef test_asks(seeded_database, n): pass\n"


def told(suite, **environ):
    """Run tests that all fail the same way; return what each says."""
    ran = suite.run("-q", **environ)
    assert ran.counts == {"error": 3}, ran.text
    assert "Traceback" not in ran.text
    assert "site-packages" not in ran.text
    assert "/seedtool/" not in ran.text.replace(str(suite.root), "")
    return ran.text


def test_a_misspelt_profile(library):
    library.write("test_asks.py", ASKS.replace("\n@", "\n@pytest.mark.seed('locl')\n@", 1))
    text = told(library)
    assert "locl" in text
    assert "local" in text


def test_a_misspelt_marker(library):
    library.write("test_asks.py", ASKS.replace("\n@", "\n@pytest.mark.seed\n@", 1))
    assert 'write the marker as @pytest.mark.seed("PROFILE")' in told(library)


def test_a_migration_that_fails_runs_once(library):
    (revision,) = (library.root / "alembic/versions").glob("2b_*.py")
    text = revision.read_text(encoding="utf-8")
    run = "def upgrade():\n    open('ran', 'a').write('x')\n    op.execute('SELECT nonsense')\n"
    revision.write_text(text.split("def upgrade")[0] + run, encoding="utf-8")
    library.write("test_asks.py", ASKS)
    said = told(library)
    assert "revision 2b" in said
    assert "nonsense" in said
    assert (library.root / "ran").read_text() == "x"
    assert library.databases("test") == library.databases("building") == []


def test_a_fixture_with_a_wrong_cell(library):
    library.write("seeds/local/authors.csv", "id,name,born\n1,Gabriela Mistral,soon\n")
    library.write("test_asks.py", ASKS.replace("\n@", "\n@pytest.mark.seed('local')\n@", 1))
    assert "authors.csv:2, column born" in told(library)


def test_a_project_without_migrations(library):
    (library.root / "alembic.ini").unlink()
    library.write("test_asks.py", ASKS)
    assert "alembic.ini" in told(library)


def test_no_project_at_all(library):
    for name in ("alembic.ini", "pyproject.toml"):
        (library.root / name).unlink()
    library.write("test_asks.py", ASKS)
    assert "seedtool_root" in told(library, DATABASE_URL="")


PASSWORD = "hunter2"
FAILS = """
import pytest

def raises(url):
    raise RuntimeError("it failed")

def test_compares(seeded_database):
    assert seeded_database == "postgresql://elsewhere/library"

def test_compares_the_other_way(seeded_database):
    assert "postgresql://postgres:another@/library?host=%2Ftmp" != seeded_database and 0

def test_compares_in_a_list(seeded_database):
    assert [seeded_database] == ["postgresql://elsewhere/library"]

def test_looks_inside(seeded_database):
    assert "elsewhere" in seeded_database

def test_raises(seeded_database_session):
    raises(seeded_database_session)

@pytest.fixture
def connected(seeded_database):
    raises(seeded_database)

def test_asks_a_fixture_that_raises(connected):
    pass

def test_gets_the_whole_address(seeded_database):
    import psycopg

    assert ":" + "hun" + "ter2@" in seeded_database
    psycopg.connect(seeded_database).close()
"""


@pytest.mark.parametrize("options", ["-q", "-vv", "--showlocals"])
def test_no_password_of_a_database_is_in_a_report(library, options):
    library.write("test_fails.py", FAILS)
    ran = library.run(
        options, DATABASE_URL=library.environ["DATABASE_URL"].replace("postgres@", f"postgres:{PASSWORD}@")
    )
    assert ran.counts == {"failed": 5, "error": 1, "passed": 1}, ran.text
    assert PASSWORD not in ran.text
    assert "postgres:***@" in ran.text


def test_a_server_that_is_not_there(library):
    library.write("test_asks.py", ASKS)
    text = told(library, DATABASE_URL="postgresql://me:s3cret@127.0.0.1:1/app")
    assert "127.0.0.1:1" in text
    assert os.strerror(errno.ECONNREFUSED) in text
    assert "s3cret" not in text
