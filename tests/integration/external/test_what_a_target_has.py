"""What an administrator put into the target and a new database lacks, for a role that may create databases."""

import pytest

from seedtool.errors import DatabaseError, MigrationError, NotConfirmed
from seedtool.postgres import server
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.settings import load
from seedtool.workflows.prepare import prepare

ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op
revision, down_revision = "1", None
def upgrade():
    op.execute({!r})
"""
NEEDS = {
    "a function": "CREATE TABLE t (id int DEFAULT admins.number())",
    "an extension": "CREATE EXTENSION pageinspect",
    "one database, as pg_cron": "DO $$ BEGIN IF current_database() <> 'has_shop' THEN"
    " RAISE 'can only create extension in database has_shop'; END IF; END $$; CREATE TABLE t ()",
    "a grant": "DO $$ BEGIN PERFORM pg_catalog.set_config('x.y', '1', false); END $$;"
    " CREATE SCHEMA mine; CREATE TABLE admins.t ()",
}


@pytest.fixture
def shop(newest, tmp_path):
    """A target with what an administrator made in it, and a project with a revision that needs it."""
    newest.execute("CREATE DATABASE has_shop OWNER dev TEMPLATE template0")
    newest.execute(
        "CREATE SCHEMA admins",
        "CREATE FUNCTION admins.number() RETURNS int LANGUAGE sql AS 'SELECT 7'",
        "GRANT USAGE, CREATE ON SCHEMA admins TO dev",
        "CREATE EXTENSION pageinspect",
        database="has_shop",
    )

    def write(statement, name="has_shop", **variables):
        (tmp_path / "migrations" / "versions").mkdir(parents=True, exist_ok=True)
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
        (tmp_path / "migrations" / "env.py").write_text(ENV)
        (tmp_path / "migrations" / "versions" / "1.py").write_text(REVISION.format(statement))
        environ = {"HOME": str(tmp_path), "DATABASE_URL": newest.url(name), **variables}
        settings = load(tmp_path, environ=environ)
        return settings, server.find(settings), [Schema(settings)]

    yield write
    newest.drop_all()


@pytest.mark.parametrize("need", NEEDS)
def test_the_message_names_both_settings(shop, need):
    settings, target, layers = shop(NEEDS[need])
    with pytest.raises(MigrationError) as failure:
        reset(settings, target, layers, consent=Consent.NAME)
    assert "in_place = true" in failure.value.remedy
    assert "base_template" in failure.value.remedy
    with server.connect(target) as connection:
        assert connection.execute("SELECT admins.number()").fetchone() == (7,)


@pytest.mark.parametrize("need", [need for need in NEEDS if need != "an extension"])
def test_in_place_rebuilds_the_target_itself(shop, need):
    settings, target, layers = shop(NEEDS[need], SEEDTOOL_IN_PLACE="true")
    with server.connect(target) as connection:
        connection.execute("CREATE SCHEMA old; CREATE TABLE old.data ()")
    planned = plan(target, layers)
    assert planned.in_place.why == "in_place is set"
    assert "schema old" in planned.in_place.drops
    with pytest.raises(NotConfirmed):
        reset(settings, target, layers, consent=Consent.YES)
    report = reset(settings, target, layers, consent=Consent.NAME)
    assert (report.in_place.atomic, report.in_place.why, report.template) == (True, "in_place is set", None)
    with server.connect(target) as connection:
        assert connection.execute("SELECT to_regnamespace('old'), admins.number()").fetchone() == (None, 7)


def test_templates_are_built_from_the_base_template(newest, shop):
    statement = "CREATE TABLE t (id int DEFAULT admins.number()); INSERT INTO t DEFAULT VALUES"
    settings, target, layers = shop(statement, SEEDTOOL_BASE_TEMPLATE="has_base")
    with pytest.raises(DatabaseError) as missing:
        reset(settings, target, layers, consent=Consent.NAME)
    assert missing.value.place == {"setting": "base_template", "database": "has_base"}
    newest.execute("CREATE DATABASE has_base TEMPLATE has_shop", "ALTER DATABASE has_base IS_TEMPLATE true")
    built = [reset(settings, target, layers, consent=Consent.NAME).built for _ in range(2)]
    assert built == [True, False]
    with server.connect(target) as connection:
        assert connection.execute("SELECT id FROM t").fetchall() == [(7,)]
    # another base is another template, and a target that is not there yet is like the base
    newest.execute("CREATE DATABASE has_base2 TEMPLATE has_base", "ALTER DATABASE has_base2 IS_TEMPLATE true")
    settings, target, layers = shop(statement, "has_new", SEEDTOOL_BASE_TEMPLATE="has_base2")
    assert reset(settings, target, layers, consent=Consent.NONE).built
    assert prepare(settings=settings).templates[0].how == "present"


def test_a_base_template_of_another_locale_is_refused(newest, shop):
    newest.execute("CREATE DATABASE has_base TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER libc IS_TEMPLATE true")
    settings, target, layers = shop("CREATE TABLE t ()", SEEDTOOL_BASE_TEMPLATE="has_base")
    with pytest.raises(DatabaseError, match="provider") as refusal:
        reset(settings, target, layers, consent=Consent.NAME)
    assert refusal.value.place == {"setting": "base_template", "database": "has_base"}
    assert "has_shop" in refusal.value.remedy
