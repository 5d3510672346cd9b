"""The URL that env.py gets: any driver and any settings class takes it, on a port and on a socket."""

import subprocess
import sys
import uuid

import pytest
from psycopg import sql

from seedtool.errors import MigrationError
from seedtool.postgres import server
from seedtool.schema import migrations
from seedtool.schema.redirecting import url
from seedtool.settings import load
from seedtool.workflows.servers import environment

PASSWORD = "p@ss/w:rd+%?#é '\\"
RUN = """
def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
RAW = """
import os, {driver}
from alembic import context
from sqlalchemy import NullPool, create_engine
engine = create_engine("postgresql+{driver}://", creator=lambda: {driver}.connect(os.environ["DATABASE_URL"]), poolclass=NullPool)
with engine.connect() as connection:
    run(connection)
"""
ENGINE = """
import os
from alembic import context
from sqlalchemy import NullPool, create_engine
with create_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect() as connection:
    run(connection)
"""
ASYNC = """
import asyncio, os
from alembic import context
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine
async def main():
    async with create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect() as connection:
        await connection.run_sync(run)
asyncio.run(main())
"""
PYDANTIC = """
import os
from urllib.parse import quote
from alembic import context
from pydantic import BaseModel, PostgresDsn
from sqlalchemy import NullPool, create_engine
class Settings(BaseModel):
    url: PostgresDsn
url = Settings(url={url}).url
with create_engine({used}, poolclass=NullPool).connect() as connection:
    run(connection)
"""
FROM_VARIABLE = 'os.environ["DATABASE_URL"]'
FROM_PARTS = """PostgresDsn.build(
    scheme="postgresql+psycopg", username=os.environ["POSTGRES_USER"],
    password=quote(os.environ["POSTGRES_PASSWORD"], safe=""),
    host=os.environ["POSTGRES_SERVER"], port=int(os.environ["POSTGRES_PORT"]), path=os.environ["POSTGRES_DB"])"""
TAKEN_APART = """(
    f"postgresql+psycopg://{url.hosts()[0]['username']}:{url.hosts()[0]['password']}"
    f"@{url.hosts()[0]['host']}:{url.hosts()[0]['port'] or 5432}{url.path}")"""
#: how env.py connects → the scheme of the project's DATABASE_URL, and env.py
WAYS = {
    "psycopg": ("postgresql", RAW.format(driver="psycopg")),
    "psycopg2": ("postgresql", RAW.format(driver="psycopg2")),
    "SQLAlchemy and psycopg": ("postgresql+psycopg", ENGINE),
    "SQLAlchemy and psycopg2": ("postgresql+psycopg2", ENGINE),
    "SQLAlchemy and asyncpg": ("postgresql+asyncpg", ASYNC),
    "pydantic": ("postgresql+psycopg", PYDANTIC.format(url=FROM_VARIABLE, used="str(url)")),
    "pydantic and asyncpg": ("postgresql+asyncpg", ASYNC.replace(
        'os.environ["DATABASE_URL"]', 'str(TypeAdapter(PostgresDsn).validate_python(os.environ["DATABASE_URL"]))'
    ).replace("import asyncio, os", "import asyncio, os\nfrom pydantic import PostgresDsn, TypeAdapter")),
    "pydantic, from its parts": ("postgresql+psycopg", PYDANTIC.format(url=FROM_PARTS, used="str(url)")),
    "pydantic, taken apart": ("postgresql+psycopg", PYDANTIC.format(url=FROM_VARIABLE, used=TAKEN_APART)),
}  # fmt: skip
REVISION = """
from alembic import op
revision, down_revision = "r1", None
def upgrade():
    op.execute("CREATE TABLE built (id int)")
"""


@pytest.fixture(params=["port", "socket"])
def found(request, newest, database):
    """A database to build, and what DATABASE_URL has around the name of the project's own: on a port, on a socket."""
    if request.param == "socket":
        with server.connect(database) as connection:
            yield database, "{scheme}://postgres@/app?host=" + connection.info.host.replace("/", "%2F")
        return
    name = f"test_{uuid.uuid4().hex[:12]}"
    newest.execute(sql.SQL("CREATE DATABASE {} OWNER dev").format(sql.Identifier(name)).as_string())
    given = newest.url("app", scheme="{scheme}")
    yield server.named_by(newest.url(name)), given
    newest.drop_all()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose env.py and DATABASE_URL are given."""

    def write(env, url):
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/db\npath_separator = os\n")
        (tmp_path / "db/versions").mkdir(parents=True)
        (tmp_path / "db/env.py").write_text(RUN + env)
        (tmp_path / "db/versions/r1.py").write_text(REVISION)
        monkeypatch.delenv("DATABASE_URL", raising=False)
        return load(tmp_path, environ={"HOME": str(tmp_path), "DATABASE_URL": url})

    return write


def tables(database):
    with server.connect(database) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


@pytest.mark.parametrize("way", WAYS)
def test_every_driver_and_settings_class_takes_it(found, project, way):
    database, url = found
    scheme, env = WAYS[way]
    assert migrations.upgrade(database, project(env, url.format(scheme=scheme))) == ["r1"]
    assert tables(database) == {"built", "alembic_version"}


@pytest.mark.parametrize("given", ["?service=shop", "?host=127.0.0.1:1&host=127.0.0.1:{port}", ""])
def test_a_service_file_a_list_of_hosts_and_libpqs_variables_become_one_host(
    newest, project, tmp_path, monkeypatch, given
):
    (tmp_path / "services").write_text(f"[shop]\nhost=127.0.0.1\nport={newest.port}\nuser=boss\ndbname=app\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    if not given:
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(newest.port))
    newest.execute("CREATE DATABASE building")
    url = f"postgresql+psycopg://boss@/app{given.format(port=newest.port)}"
    settings = project(WAYS["pydantic"][1], url)
    assert migrations.upgrade(server.find(settings).at("building"), settings) == ["r1"]
    newest.drop_all()


def test_parameters_of_the_projects_driver_stay():
    given = "postgresql+asyncpg://u@h/app?prepared_statement_cache_size=0&ssl=require"
    conninfo = "host=h port=6 user=u dbname=building sslmode=require connect_timeout=3 application_name=x"
    assert url(conninfo, given) == "postgresql+asyncpg://u@h:6/building?ssl=require&prepared_statement_cache_size=0"
    assert url("host=::1 user=u dbname=b", None) == "postgresql+psycopg://u@[::1]/b"
    assert url("host=/run/p user=u dbname=b", "postgres://x") == "postgres://u@localhost/b?host=%2Frun%2Fp"


def test_what_a_settings_class_says_in_several_lines_is_shown_whole_and_without_passwords(database, project):
    env = """
import os
from alembic import context
from pydantic import BaseModel, PostgresDsn, SecretStr
class Settings(BaseModel):
    secret_key: str
    url: PostgresDsn
Settings(url="postgresql://u:hidden-word@/db", token="hidden-too")
"""
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, project(env, "postgresql://postgres@/app?host=%2Ftmp"))
    assert "2 validation errors for Settings\nsecret_key\n  Field required" in raised.value.message
    assert "url\n  Input should be a valid URL, empty host" in raised.value.message
    assert "hidden" not in raised.value.message


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_the_lines_in_which_a_driver_quotes_a_row_stay_unsaid(database, project, driver):
    env = WAYS[f"SQLAlchemy and {driver}"][1]
    settings = project(env, f"postgresql+{driver}://postgres@/app?host=%2Ftmp")
    body = "\"CREATE TABLE t (a text UNIQUE)\"); op.execute(\"INSERT INTO t VALUES ('ana@x'), ('ana@x')\""
    (settings.root / "db/versions/r1.py").write_text(REVISION.replace('"CREATE TABLE built (id int)"', body))
    with pytest.raises(MigrationError) as raised:
        migrations.upgrade(database, settings)
    assert raised.value.place["code"] == "23505"  # unique_violation
    assert "ana@x" not in raised.value.message


def test_env_prints_a_url_that_asyncpg_takes_as_it_is(settings):
    code = (
        "import asyncio, sys, asyncpg\n"
        "async def main():\n"
        "    connection = await asyncpg.connect(sys.argv[1], database='postgres')\n"
        "    print(await connection.fetchval('SELECT current_database()'))\n"
        "    await connection.close()\n"
        "asyncio.run(main())"
    )
    found = environment(settings=settings)["DATABASE_URL"]
    done = subprocess.run([sys.executable, "-c", code, found], capture_output=True, text=True, check=False)
    assert done.stdout == "postgres\n", done.stderr
