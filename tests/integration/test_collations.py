"""After an upgrade of ICU or glibc: another version of the collation than indexes were built under.

Only the server's libraries can bring that about. What the catalog says of a database can be set back.
"""

import msgspec
import pytest

from seedtool.errors import DatabaseError
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.cache import prune
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.snapshots.snapshots import restore, save
from seedtool.workflows.doctor import _outdated

pytestmark = pytest.mark.usefixtures("nothing_private_left")


def build(made):
    with server.connect(made) as connection:
        connection.execute("CREATE TABLE made_by_build (name text PRIMARY KEY)")


def set_back(target, pattern):
    """Let databases be of an older version, as they are after an upgrade."""
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        connection.execute("UPDATE pg_database SET datcollversion = '0.9' WHERE datname LIKE %s", [pattern])


def names(target, pattern):
    with server.connect(target, target.maintenance, autocommit=True) as connection:
        return connection.execute("SELECT oid FROM pg_database WHERE datname LIKE %s", [pattern]).fetchall()


def test_templates_and_spares_are_built_anew(project, database, private):
    settings = msgspec.structs.replace(project, spares=1)
    layers = [Schema(settings, build)]
    with open_cluster(database) as cluster:
        prune(cluster, settings, everything=True)  # what other tests left
    assert reset(settings, database, layers, consent=Consent.NAME).built
    assert len(private("template", "spare")) == 2
    before = names(database, r"seedtool\_template\_%")
    set_back(database, r"seedtool\_%")
    set_back(database, database.name)
    assert plan(database, layers).template is None
    report = reset(settings, database, layers, consent=Consent.NAME)
    assert (report.built, report.spare) == (True, False)
    after = names(database, r"seedtool\_template\_%")
    assert len(after) == 1
    assert after != before
    with open_cluster(database) as cluster:
        assert not cluster.database(database.name).outdated
    private()
    report = reset(settings, database, layers, consent=Consent.NAME)
    assert (report.built, report.spare) == (False, True)


def test_a_target_that_cannot_be_saved_names_both_cures(project, database):
    set_back(database, database.name)
    with server.connect(database, autocommit=True) as client:
        with pytest.raises(DatabaseError, match=r"version 0\.9 of its collation") as refusal:
            save(project, database, "a")
        assert client.execute("SELECT 1").fetchone() == (1,)  # no session was ended
        assert f'REINDEX DATABASE "{database.name}"' in refusal.value.remedy
        assert f'ALTER DATABASE "{database.name}" REFRESH COLLATION VERSION' in refusal.value.remedy
        for statement in refusal.value.remedy.partition("run: ")[2].split("; "):
            client.execute(statement.encode())
    save(project, database, "a")
    drop_snapshots(database)


@pytest.mark.parametrize("spares", [0, 1])
def test_a_snapshot_that_cannot_be_restored_names_both_cures(project, database, private, spares):
    settings = msgspec.structs.replace(project, spares=spares)
    with server.connect(database) as connection:
        connection.execute("CREATE TABLE kept (name text PRIMARY KEY)")
    save(settings, database, "a")
    restore(settings, database, "a", lambda _: Consent.NAME)
    assert len(private("spare")) == spares
    set_back(database, r"seedtool\_%")
    with pytest.raises(DatabaseError, match=r"version 0\.9 of its collation") as refusal:
        restore(settings, database, "a", lambda _: Consent.NAME)
    assert "REINDEX DATABASE" in refusal.value.remedy
    statement = refusal.value.remedy.partition("Run ")[2].partition(";")[0]
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        connection.execute(statement.encode())
    report = restore(settings, database, "a", lambda _: Consent.NAME)
    assert report.replaced
    with open_cluster(database) as cluster:
        assert not cluster.database(database.name).outdated
    private()
    drop_snapshots(database)


def test_the_doctor_looks_at_the_target_its_snapshots_and_collations_of_columns(project, database):
    def told():
        with open_cluster(database) as cluster:
            found = _outdated(cluster)
        return found and f"{found.state}: {found.detail} {found.cure}"

    assert told() is None
    save(project, database, "a")
    set_back(database, r"seedtool\_snapshot\_%")
    assert "REFRESH COLLATION VERSION" in told()
    drop_snapshots(database)
    set_back(database, database.name)
    assert f"wrong: the indexes of {database.name} were built under version 0.9" in told()
    assert "REINDEX DATABASE" in told()
    with server.connect(database, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" REFRESH COLLATION VERSION')
        assert told() is None
        connection.execute("CREATE COLLATION mine (provider = builtin, locale = 'C.UTF-8')")
        connection.execute("UPDATE pg_collation SET collversion = '0.9' WHERE collname = 'mine'")
        assert told() is None  # nothing was built under it
        connection.execute("CREATE TABLE words (word text COLLATE mine PRIMARY KEY)")
        assert "under the collation mine" in told()
        for statement in told().partition("Run: ")[2].strip(";").split("; "):
            connection.execute(statement.encode())
    assert told() is None


def drop_snapshots(database):
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        found = connection.execute(r"SELECT datname FROM pg_database WHERE datname LIKE 'seedtool\_snapshot\_%'")
        for (name,) in found.fetchall():
            connection.execute(f"DROP DATABASE {name}")
