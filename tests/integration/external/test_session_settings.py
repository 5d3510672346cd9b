"""Whatever sets up a session on the target, a template is built under it, and is another one when it changes."""

import msgspec
import pytest
from psycopg import sql

from seedtool.postgres import server
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema

NAME = "session shop"
CLEAN = (
    "ALTER ROLE dev RESET ALL", "ALTER ROLE ALL RESET ALL", "ALTER ROLE dev IN DATABASE postgres RESET ALL",
)  # fmt: skip


def build(made):
    """Do what Alembic would do on the target: nothing is qualified, and one value is read from the session."""
    with server.connect(made) as connection:
        connection.execute("CREATE SCHEMA app AUTHORIZATION app_owner")
        connection.execute("CREATE TABLE thing (tenant text, day text)")
        connection.execute(
            "INSERT INTO thing SELECT coalesce(current_setting('app.tenant', true), ''), date '2026-02-01'::text"
        )


@pytest.fixture
def shop(newest, settings_for):
    """A target of dev's with both schemas."""
    newest.execute(f'CREATE DATABASE "{NAME}" OWNER dev')
    newest.execute("GRANT CREATE ON SCHEMA public TO PUBLIC", database=NAME)

    class Shop:
        settings = settings_for(newest.url(NAME))
        target = server.find(settings)

        def alter(self, *statements):
            newest.execute(*(each.replace("DB", f'"{NAME}"') for each in statements))

        def url(self, **parts):
            self.settings = msgspec.structs.replace(self.settings, database_url=newest.url(NAME, **parts))
            self.target = server.find(self.settings)

        def layers(self):
            return [Schema(self.settings, build)]

        def reset(self):
            """Reset, and return whether a template was built, and where and what the table is."""
            report = reset(self.settings, self.target, self.layers(), consent=Consent.NAME)
            with server.connect(self.target) as connection:
                place = connection.execute("SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'thing'")
                found = place.fetchone()
                query = sql.SQL("SELECT tenant, day FROM {}.thing").format(sql.Identifier(found[0]))
                return report.built, found, connection.execute(query).fetchone()

    yield Shop()
    newest.settle()
    newest.execute(*CLEAN)
    newest.drop_all()


WAYS = {
    "ALTER ROLE IN DATABASE": ["ALTER ROLE dev IN DATABASE DB SET search_path = app"],
    "ALTER ROLE": ["ALTER ROLE dev SET search_path = app"],
    "ALTER ROLE ALL": ["ALTER ROLE ALL SET search_path = app"],
    "the stronger of two": [
        "ALTER DATABASE DB SET search_path = public",
        "ALTER ROLE dev IN DATABASE DB SET search_path = app",
    ],
}


@pytest.mark.parametrize("way", [*WAYS, "options", "PGOPTIONS"])
def test_what_is_built_lands_where_a_session_on_the_target_puts_it(shop, way, monkeypatch):
    assert shop.reset() == (True, ("public", "dev"), ("", "2026-02-01"))
    assert shop.reset()[0] is False
    if way in WAYS:
        shop.alter(*WAYS[way])
    elif way == "options":
        shop.url(query="?options=-csearch_path%3Dapp")
    else:
        monkeypatch.setenv("PGOPTIONS", "--search-path=app -c jit=off")
    assert shop.reset() == (True, ("app", "dev"), ("", "2026-02-01"))
    assert shop.reset() == (False, ("app", "dev"), ("", "2026-02-01"))


@pytest.mark.parametrize(
    ("statement", "where", "row"),
    [
        ("ALTER ROLE dev IN DATABASE DB SET role = app_owner", ("public", "app_owner"), ("", "2026-02-01")),
        ("ALTER ROLE boss IN DATABASE DB SET app.tenant = 'a, b'", ("public", "boss"), ("a, b", "2026-02-01")),
        ("ALTER ROLE dev SET DateStyle = 'SQL, DMY'", ("public", "dev"), ("", "01/02/2026")),
    ],
)
def test_the_role_custom_names_and_the_style_of_dates_count(shop, statement, where, row):
    shop.alter("ALTER DATABASE DB OWNER TO app_owner")
    if "boss" in statement:  # no other role may set a custom name
        shop.url(user="boss")
    assert shop.reset()[0] is True
    shop.alter(statement)
    assert shop.reset() == (True, where, row)
    assert shop.reset() == (False, where, row)


def test_what_shapes_nothing_does_not_count(shop, monkeypatch):
    shop.reset()
    shop.alter(
        "ALTER ROLE dev SET statement_timeout = '1h'",
        "ALTER ROLE dev IN DATABASE DB SET application_name = 'mine'",
        "ALTER ROLE dev SET lock_timeout = '1h'",
        "ALTER ROLE dev IN DATABASE postgres SET search_path = app",
        "ALTER DATABASE DB SET client_min_messages = error",
    )
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=1h -c client_min_messages=error")
    monkeypatch.setenv("PGAPPNAME", "mine")
    assert shop.reset()[0] is False


def test_a_target_that_is_not_there_yet(newest, shop):
    """What belongs to the role counts, and what belongs to the database of another name does not."""
    shop.alter("DROP DATABASE DB", "ALTER ROLE dev SET search_path = public, app")
    assert shop.reset() == (True, ("public", "dev"), ("", "2026-02-01"))
    assert shop.reset()[0] is False


def test_what_a_revision_sets_for_the_role_builds_nothing_anew(shop):
    def sets(made):
        build(made)
        with server.connect(made) as connection:
            connection.execute(
                sql.SQL("ALTER ROLE dev IN DATABASE {} SET search_path = app, public").format(sql.Identifier(made.name))
            )

    layers = [Schema(shop.settings, sets)]
    built = [reset(shop.settings, shop.target, layers, consent=Consent.NAME).built for _ in range(3)]
    assert built == [True, False, False]
    assert plan(shop.target, layers).template is not None
    with server.connect(shop.target) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app, public",)
