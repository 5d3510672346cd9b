"""Servers that DATABASE_URL names: behind a password, behind TLS, behind a pooler, of PostgreSQL 15, of few rights."""

import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from seedtool.errors import BlockedError, DatabaseError, NotConfirmed, PoolerError, Protected, SettingsError
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.schema.migrations import upgrade

PASSWORD = "p@ss/w:rd+%?#é '\\"
AS_POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


OWN_ENGINE = """
import os
from alembic import context
from sqlalchemy import NullPool, create_engine
with create_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (id int)")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TestUrl:
    @pytest.mark.parametrize(
        "scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"]
    )
    def test_each_style_of_url_connects(self, newest, settings_for, scheme):
        target = server.find(settings_for(newest.url("postgres2", scheme=scheme)))
        with server.connect(target, "postgres") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("dev",)

    def test_libpqs_own_style_connects(self, newest, settings_for):
        text = psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=newest.port, user="dev", password=PASSWORD, dbname="x"
        )
        server.connect(server.find(settings_for(text)), "postgres").close()

    def test_the_url_of_a_target_connects_through_sqlalchemy_and_libpq(self, newest, settings_for):
        import sqlalchemy

        newest.execute('CREATE DATABASE "O\'Higgins ñ+%" OWNER dev')
        url = newest.url("O'Higgins ñ+%", query="?options=-c%20work_mem%3D7MB")
        target = server.find(settings_for(url))
        engine = sqlalchemy.create_engine(target.url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT current_database(), current_setting('work_mem')").one() == (
                "O'Higgins ñ+%",
                "7MB",
            )
        with psycopg.connect(target.url.replace("+psycopg", "", 1)) as connection:
            assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        newest.drop_all()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://dev:s3cret/s3cret@host:5432/app",
            "postgresql://dev:12/s3cret@host:5432/app",
            "postgresql://dev:s3cret@s3cret@host:5432/app",
            "postgresql://dev:s3cret@host:5432s3cret/app",
            "postgresql://dev:s3cret@host:5432/app?sslmod=s3cret",
            "postgresql+psycopg://dev:s3cret%zz@host/app",
            "host=h password=s3cret dbname",
        ],
    )
    def test_a_url_that_cannot_be_read_is_told_without_its_password(self, settings_for, url):
        with pytest.raises(SettingsError) as refusal:
            server.find(settings_for(url))
        assert "s3cret" not in f"{refusal.value.message} {refusal.value.remedy}"
        assert refusal.value.place["setting"] == "database_url"
        assert refusal.value.place["origin"] == "environment variable DATABASE_URL"

    def test_a_name_that_postgresql_would_cut_off_is_refused(self, settings_for):
        with pytest.raises(SettingsError) as refusal:
            server.find(settings_for("postgresql://host/" + "ñ" * 32))
        assert refusal.value.place["setting"] == "database_url"
        assert "63 bytes" in refusal.value.remedy


class TestRefusals:
    """No error shows the password, and each tells what the server said."""

    def refusal(self, settings, database="postgres"):
        with pytest.raises(DatabaseError) as raised:
            server.connect(server.find(settings), database)
        chain = [raised.value, raised.value.__cause__, raised.value.__context__]
        for secret in (PASSWORD, quote(PASSWORD, safe=""), "wr0ng"):
            assert not any(secret in f"{error} {getattr(error, 'remedy', '')}" for error in chain)
        return raised.value

    def test_a_wrong_password(self, external, settings_for):
        self.refusal(settings_for(external.url("app", password="wr0ng")))

    def test_nobody_there(self, settings_for):
        found = self.refusal(settings_for(f"postgresql://dev:wr0ng@127.0.0.1:{free_port()}/app"))
        assert os.strerror(errno.ECONNREFUSED) in found.message
        assert "DATABASE_URL" in found.remedy

    def test_a_missing_database_in_any_language(self, external, settings_for):
        found = self.refusal(settings_for(external.url("Sin ñ")), None)
        assert found.place == {"database": "Sin ñ"}
        assert "db-reset" in found.remedy

    def test_a_missing_maintenance_database(self, external, settings_for):
        external.execute("CREATE DATABASE app OWNER dev")
        target = server.find(settings_for(external.url("app")))
        with pytest.raises(DatabaseError) as refusal:
            server.connect(type(target)(conninfo=target.conninfo, name="app", maintenance="elsewhere"), "elsewhere")
        assert refusal.value.place == {"database": "elsewhere"}
        assert "maintenance_database" in refusal.value.remedy

    def test_pg_hba_demands_tls(self, oldest, settings_for):
        self.refusal(settings_for(oldest.url("app", user="reader", query="?sslmode=disable")))

    def test_tls_where_the_server_has_none(self, newest, settings_for):
        found = self.refusal(settings_for(newest.url("app", query="?sslmode=require")))
        assert "does not support SSL" in found.message

    def test_a_certificate_of_nobody_we_know(self, oldest, settings_for, tmp_path):
        missing = quote(str(tmp_path / "root.crt"), safe="")
        self.refusal(settings_for(oldest.url("app", query=f"?sslmode=verify-full&sslrootcert={missing}")))

    def test_a_server_that_starts_is_waited_for(self, oldest, settings_for):
        """As docker compose has it: the application comes up before the database."""
        target = server.find(settings_for(oldest.url("app")))
        query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        ((before,),) = oldest.execute(query)
        os.kill(before, signal.SIGKILL)  # PostgreSQL ends all sessions and recovers
        deadline, after = time.monotonic() + 30, []
        while after in ([], [(before,)]):  # a busy server notices late
            assert time.monotonic() < deadline
            server.connect(target, "postgres").close()
            with contextlib.suppress(psycopg.OperationalError):  # this one does not wait
                after = oldest.execute(query)


class TestReset:
    """The whole path as a role that may create databases and owns the target through membership."""

    def test_carries_over_what_belongs_to_the_name(self, external, settings_for):
        name = 'Año "2026" o\'clock'
        quoted = sql.Identifier(name).as_string()
        external.execute(
            f"CREATE DATABASE {quoted} OWNER app_owner ENCODING 'UTF8' TEMPLATE template0",
            f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {quoted} TO reader WITH GRANT OPTION",
            f"ALTER DATABASE {quoted} CONNECTION LIMIT 9",
            f"COMMENT ON DATABASE {quoted} IS 'la base de Ana'",
            f'ALTER DATABASE {quoted} SET search_path = app, "Odd, name", public',
            f"ALTER ROLE dev IN DATABASE {quoted} SET statement_timeout = '50s'",
        )
        external.execute("CREATE TABLE old (id int)", database=name)
        settings = settings_for(external.url(name))
        target = server.find(settings)
        with pytest.raises(NotConfirmed):
            reset(settings, target, [Schema(settings, build)], consent=Consent.YES)
        for consent, comments in (Consent.NAME, 1), (Consent.YES, 1):
            reset(settings, target, [Schema(settings, build)], consent=consent)
            described = (
                "SELECT datconnlimit, datacl::text, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),"
                " ARRAY(SELECT setrole::regrole || ' ' || option FROM pg_db_role_setting, unnest(setconfig) option"
                "       WHERE setdatabase = oid ORDER BY 1)"
                f" FROM pg_database WHERE datname = {sql.Literal(name).as_string()}"
            )
            ((limit, acl, owner, comment, options),) = external.execute(described)
            assert (limit, owner) == (9, "app_owner")
            assert acl == "{app_owner=CTc/app_owner,reader=c*/app_owner}"
            assert comment.startswith("la base de Ana\n[seedtool.managed=")
            assert comment.count("seedtool") == comments
            assert options == ['- search_path=app, "Odd, name", public', "dev statement_timeout=50s"]
        with server.connect(target) as connection:
            assert connection.execute(
                "SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r'"
            ).fetchall() == [("made_by_build",)]

    def test_over_tls_with_an_authority_of_ones_own(self, oldest, settings_for, place):
        ca = quote(str(place / "ca.crt"), safe="")
        settings = settings_for(oldest.url("app", query=f"?sslmode=verify-full&sslrootcert={ca}"))
        target = server.find(settings)
        for replaced in (False, True):
            assert reset(settings, target, [Schema(settings, build)], consent=Consent.YES).replaced is replaced
        with server.connect(target) as connection:
            assert connection.pgconn.ssl_in_use
        oldest.drop_all()

    @pytest.mark.parametrize("text", ["postgresql:///app", "postgresql:///app?service=team", "service=team dbname=app"])
    def test_with_a_service_file_and_a_password_file(self, oldest, settings_for, tmp_path, monkeypatch, place, text):
        """Neither host nor password stand in DATABASE_URL; env.py and the errands on their own connections find them too."""
        (tmp_path / "services").write_text(
            f"[team]\nhost=127.0.0.1\nport={oldest.port}\nuser=dev\nsslmode=verify-full\nsslrootcert={place / 'ca.crt'}\n"
        )
        secret = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        (tmp_path / "passwords").write_text(f"127.0.0.1:{oldest.port}:*:dev:{secret}\n", encoding="utf-8")
        (tmp_path / "passwords").chmod(0o600)
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
        if "service" not in text:
            monkeypatch.setenv("PGSERVICE", "team")
        settings = settings_for(text)
        (tmp_path / "migrations" / "env.py").write_text(OWN_ENGINE)
        (tmp_path / "migrations" / "versions").mkdir()
        (tmp_path / "migrations" / "versions" / "1.py").write_text(
            "from alembic import op\nrevision, down_revision = '1', None\n"
            "def upgrade():\n    op.execute('CREATE TABLE made (id int)')\n"
        )
        target = server.find(settings)
        reset(settings, target, [Schema(settings, lambda made: upgrade(made, settings))], consent=Consent.NAME)
        assert reset(settings, target, [Schema(settings, build)], consent=Consent.YES).replaced
        with server.connect(target) as connection:
            assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)
        oldest.drop_all()

    @pytest.mark.parametrize("led_by", ["service", "PGHOST", "PGHOSTADDR", "hosts", "hostaddr"])
    def test_messages_name_the_server_that_answered(self, newest, settings_for, tmp_path, monkeypatch, led_by):
        """A person agrees to lose a database of the server that stands in the question."""
        closed = free_port()
        (tmp_path / "services").write_text(f"[team]\nhost=127.0.0.1\nport={newest.port}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        monkeypatch.setenv("PGUSER", "dev")
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        text = "postgresql:///app"
        if led_by == "service":
            text += "?service=team"
        elif led_by == "hosts":
            text = f"postgresql://localhost:{closed},127.0.0.1:{newest.port}/app"
        elif led_by == "hostaddr":
            text += f"?hostaddr=127.0.0.1&port={newest.port}"
        else:
            monkeypatch.setenv(led_by, "127.0.0.1")
            monkeypatch.setenv("PGPORT", str(newest.port))
        newest.execute("CREATE DATABASE app OWNER dev")
        newest.execute("CREATE TABLE people (id int)", database="app")
        settings = settings_for(text)
        try:
            with pytest.raises(NotConfirmed, match=rf"app on (127\.0\.0\.1|localhost):{newest.port} ") as refusal:
                reset(settings, server.find(settings), [Schema(settings, build)], consent=Consent.YES)
            assert "--confirm app" in refusal.value.remedy
        finally:
            newest.drop_all()

    def test_limits_that_are_meant_for_an_application_do_not_stop_it(self, external, settings_for):
        limits = ("statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout")
        for limit in limits:
            external.execute(f"ALTER ROLE dev IN DATABASE postgres SET {limit} = '60ms'")
        external.execute("ALTER ROLE dev IN DATABASE postgres SET default_transaction_read_only = on")
        try:
            settings = settings_for(external.url("app"))

            def build_slowly(made):
                build(made)
                time.sleep(0.15)

            assert reset(settings, server.find(settings), [Schema(settings, build_slowly)], consent=Consent.NONE).built
        finally:
            external.execute("ALTER ROLE dev IN DATABASE postgres RESET ALL")

    def test_protection_by_a_role_that_may_only_comment(self, external, settings_for):
        external.execute("CREATE DATABASE app OWNER dev", "COMMENT ON DATABASE app IS 'ours'")
        settings = settings_for(external.url("app"))
        target = server.find(settings)
        with open_cluster(target) as cluster:
            guard.protect(cluster, "app")
            guard.protect(cluster, "app")
            assert cluster.database("app").protected
            with pytest.raises(Protected):
                reset(settings, target, [Schema(settings, build)], consent=Consent.NAME)
            guard.unprotect(cluster, "app")
            assert not cluster.database("app").protected
        assert external.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app'"
        ) == [("ours",)]

    def test_a_database_of_somebody_else_is_refused_and_stays(self, external, settings_for):
        external.execute("CREATE DATABASE app OWNER boss")
        settings = settings_for(external.url("app"))
        with pytest.raises(BlockedError, match="dev"):
            reset(settings, server.find(settings), [Schema(settings, build)], consent=Consent.NAME)
        assert external.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == [("boss",)]

    def test_what_another_roles_crash_left_does_not_stop_it(self, external, settings_for):
        left = "seedtool_old_00112233445566778899"
        external.execute(f"CREATE DATABASE {left} OWNER boss IS_TEMPLATE true")
        settings = settings_for(external.url("app"))
        assert reset(settings, server.find(settings), [Schema(settings, build)], consent=Consent.NONE).swept == []
        assert external.execute(f"SELECT count(*) FROM pg_database WHERE datname = '{left}'") == [(1,)]


@pytest.mark.parametrize("databases", ["*", "pooled"])
def test_a_transaction_pooler_is_refused_with_the_cure(newest, settings_for, place, databases):
    """PgBouncer as it is set up: for every database, or for the application's only, without a maintenance database."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed (.ci/run installs it)")
    newest.execute("CREATE DATABASE pooled OWNER dev")
    port, folder = free_port(), Path(tempfile.mkdtemp(dir=place))
    secret = PASSWORD.replace("'", "''")
    (folder / "users").write_text(f'"dev" "{PASSWORD}"\n')
    (folder / "ini").write_text(
        f"[databases]\n{databases} = host=127.0.0.1 port={newest.port} user=dev password='{secret}'\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npool_mode = transaction\n"
        f"auth_type = plain\nauth_file = {folder / 'users'}\n"
    )
    folder.chmod(0o755)
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([program, "-q", folder / "ini"], **quiet, **AS_POSTGRES)
    try:
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        settings = settings_for(newest.url("pooled").replace(f":{newest.port}/", f":{port}/"))
        target = server.find(settings)
        with pytest.raises(PoolerError) as refusal:
            plan(target, [Schema(settings)])
        assert "5432" in refusal.value.remedy
        with server.connect(target) as connection, pytest.raises(PoolerError):
            guard.consent_to_seed(target, connection)
    finally:
        process.terminate()
        process.wait()
        newest.drop_all()
