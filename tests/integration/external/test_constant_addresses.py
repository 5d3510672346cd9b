"""The database of DATABASE_URL is not touched while something is built, whatever address the project's code connects to."""

import textwrap
from pathlib import Path

import psycopg
import pytest

from seedtool.errors import FixtureError, MigrationError
from seedtool.settings import load
from seedtool.workflows.prepare import prepare

ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
import os
revision, down_revision = "{name}", {down!r}
DSN = {dsn!r}
def upgrade():
{body}
"""
WAYS = {
    "psycopg": "import psycopg\nwith psycopg.connect(DSN) as c: c.execute('CREATE TABLE stray ()')",
    "psycopg's async side": """
        import asyncio, psycopg
        async def main():
            async with await psycopg.AsyncConnection.connect(DSN) as c:
                await c.execute('CREATE TABLE stray ()')
        asyncio.run(main())
    """,
    "parameters": """
        import psycopg
        parts = psycopg.conninfo.conninfo_to_dict(DSN)
        with psycopg.connect(**parts) as c: c.execute('CREATE TABLE stray ()')
    """,
    "psycopg2": """
        import psycopg2
        with psycopg2.connect(DSN) as c: c.cursor().execute('CREATE TABLE stray ()')
        c.close()
    """,
    "asyncpg": """
        import asyncio, asyncpg
        async def main():
            c = await asyncpg.connect(DSN)
            await c.execute('CREATE TABLE stray ()')
            await c.close()
        asyncio.run(main())
    """,
    "asyncpg's pool": """
        import asyncio, asyncpg
        async def main():
            async with asyncpg.create_pool(DSN, min_size=2) as pool:
                await pool.execute('CREATE TABLE stray ()')
        asyncio.run(main())
    """,
    "SQLAlchemy": """
        import sqlalchemy
        engine = sqlalchemy.create_engine(DSN.replace('postgresql:', 'postgresql+psycopg2:'))
        with engine.begin() as c: c.execute(sqlalchemy.text('CREATE TABLE stray ()'))
        engine.dispose()
    """,
    "a thread": """
        import concurrent.futures, psycopg
        def work():
            with psycopg.connect(DSN) as c: c.execute('CREATE TABLE stray ()')
        with concurrent.futures.ThreadPoolExecutor() as executor: executor.submit(work).result()
    """,
    "a service file": """
        import psycopg
        with psycopg.connect('service=constant') as c: c.execute('CREATE TABLE stray ()')
    """,
    "another program": """
        import subprocess, sys
        code = "import os, psycopg; psycopg.connect(os.environ['DATABASE_URL'], autocommit=True).execute('CREATE TABLE stray ()')"
        subprocess.run([sys.executable, '-c', code], check=True)
    """,
}


@pytest.fixture
def shop(newest, tmp_path, monkeypatch):
    """A database full of somebody's data, and a project with a given revision whose DATABASE_URL names it."""
    newest.execute("CREATE DATABASE constant_shop OWNER dev")
    file = tmp_path / "services.conf"
    parts = psycopg.conninfo.conninfo_to_dict(newest.url("constant_shop"))
    file.write_text("[constant]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    def write(body, dsn, *, url=None, fixture=""):
        versions = tmp_path / "migrations" / "versions"
        versions.mkdir(parents=True)
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        (tmp_path / "migrations" / "env.py").write_text(ENV)
        first = "    from alembic import op\n    op.execute('CREATE TABLE first (n int)')"
        body = textwrap.indent(textwrap.dedent(body), "    ")
        for name, down, each in (("r1", None, first), ("r2", "r1", body)):
            (versions / f"{name}.py").write_text(REVISION.format(name=name, down=down, dsn=dsn, body=each))
        (tmp_path / "seeds" / "base").mkdir(parents=True)
        (tmp_path / "seeds" / "profiles.toml").write_text('[base]\nsets = ["base"]\n')
        if fixture:
            (tmp_path / "seeds" / "base" / "first.py").write_text(fixture)
        return load(tmp_path, environ={"HOME": str(tmp_path), "DATABASE_URL": url or newest.url("constant_shop")})

    yield write
    newest.drop_all()


def tables(newest, database):
    found = newest.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=database)
    return {name for (name,) in found}


def built(newest, settings):
    """Build the template, and return the tables of the target and those of a clone of the template."""
    (made,) = prepare(settings=settings).templates
    newest.execute(f"CREATE DATABASE constant_look TEMPLATE {made.template}")
    return tables(newest, "constant_shop"), tables(newest, "constant_look")


@pytest.mark.parametrize("way", WAYS)
def test_a_revision_that_connects_by_itself_reaches_what_is_built(newest, shop, way):
    settings = shop(WAYS[way], newest.url("constant_shop"))
    assert built(newest, settings) == (set(), {"first", "stray", "alembic_version"})


@pytest.mark.parametrize(
    ("way", "address"),
    [
        ("psycopg", "localhost:{port}"),
        ("asyncpg", "localhost:{port}"),
        ("psycopg", "localhost:{port},127.0.0.1:{port}"),
        ("asyncpg", "127.0.0.1:{port},localhost:{port}"),
    ],
)
def test_another_name_of_the_same_server(newest, shop, way, address):
    written = newest.url("constant_shop")
    settings = shop(WAYS[way], written.replace(f"127.0.0.1:{newest.port}", address.format(port=newest.port)))
    assert built(newest, settings) == (set(), {"first", "stray", "alembic_version"})


def test_a_service_names_the_target(newest, shop):
    settings = shop(WAYS["psycopg"], newest.url("constant_shop"), url="service=constant")
    assert built(newest, settings) == (set(), {"first", "stray", "alembic_version"})


def test_other_databases_are_reached_as_they_are(newest, shop):
    newest.execute("CREATE DATABASE constant_other OWNER dev")
    settings = shop(WAYS["psycopg"], newest.url("constant_other"))
    assert built(newest, settings) == (set(), {"first", "alembic_version"})
    assert tables(newest, "constant_other") == {"stray"}


FIXTURE = """
import asyncio, psycopg
def rows():
    {0}
    yield {{"n": 1}}
"""


@pytest.mark.parametrize(
    "code",
    [
        "psycopg.connect({dsn!r}).execute('DROP TABLE precious')",
        "import psycopg2; psycopg2.connect({dsn!r}).cursor().execute('DROP TABLE precious')",
        "import asyncpg; asyncio.run(asyncpg.connect({dsn!r}))",
        "import sqlalchemy; sqlalchemy.create_engine({dsn!r}).connect()",
        "import os; psycopg.connect(os.environ.get('DATABASE_URL', {dsn!r}))",
    ],
    ids=["psycopg", "psycopg2", "asyncpg", "SQLAlchemy", "environment"],
)
def test_a_fixture_that_connects_to_the_target_is_refused_with_its_line(newest, shop, code):
    newest.execute("CREATE TABLE precious ()", database="constant_shop")
    dsn = newest.url("constant_shop")
    settings = shop("    pass", dsn, fixture=FIXTURE.format(code.format(dsn=dsn)))
    with pytest.raises(FixtureError, match="constant_shop") as refusal:
        prepare(["base"], settings=settings)
    assert (Path(refusal.value.file).name, refusal.value.line) == ("first.py", 4)
    assert "seedtool seed" in refusal.value.remedy
    assert tables(newest, "constant_shop") == {"precious"}


def test_the_drivers_are_as_before_afterwards(newest, shop):
    import asyncpg
    import psycopg2

    before = (psycopg2._connect, asyncpg.connect_utils._connect_addr, psycopg.Connection._connect_gen.__func__)
    settings = shop("    1 / 0", newest.url("constant_shop"))
    with pytest.raises(MigrationError) as failure:
        prepare(settings=settings)
    assert failure.value.place["revision"] == "r2"
    after = (psycopg2._connect, asyncpg.connect_utils._connect_addr, psycopg.Connection._connect_gen.__func__)
    assert after == before
