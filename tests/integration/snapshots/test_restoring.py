"""What restoring brings back, what it leaves as it is, and when it refuses."""

import threading
import time

import psycopg
import pytest

from seedtool.errors import BlockedError, NotConfirmed, Protected, SnapshotError, UsageError
from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import reset
from seedtool.schema.layer import Schema
from seedtool.snapshots import registry
from seedtool.snapshots.snapshots import restore


def test_the_database_is_as_it_was_as_often_as_one_likes(shop):
    shop.save()
    for _ in range(2):
        shop.fill("new")
        report = shop.restore()
        assert report.replaced
        assert shop.value() == "old"
    assert shop.names() == ["first"]


def test_a_missing_target_is_made_without_asking(shop):
    shop.save()
    shop.execute("DROP DATABASE {name}")
    assert not shop.restore(consent=Consent.NONE).replaced
    assert shop.value() == "old"


def test_a_database_that_we_did_not_make_needs_its_name_and_then_a_yes(shop):
    shop.save()
    shop.fill("new")
    for consent in (Consent.NONE, Consent.YES):
        with pytest.raises(NotConfirmed):
            shop.restore(consent=consent)
    assert shop.value() == "new"
    shop.restore(consent=Consent.NAME)
    with pytest.raises(NotConfirmed):
        shop.restore(consent=Consent.NONE)
    shop.restore(consent=Consent.YES)


def test_a_protected_database_is_never_replaced(shop):
    shop.save()
    shop.fill("new")
    shop.protect()
    with pytest.raises(Protected):
        shop.restore()
    shop.unprotect()
    assert shop.value() == "new"


def test_protection_set_while_the_user_thinks_is_honoured(shop):
    shop.save()
    shop.fill("new")

    def protect_meanwhile(_):
        shop.protect()
        return Consent.NAME

    with pytest.raises(Protected):
        restore(shop.settings, shop.target, "first", protect_meanwhile)
    shop.unprotect()
    assert shop.value() == "new"


def test_what_belongs_to_the_targets_name_stays(shop):
    shop.execute("COMMENT ON DATABASE {name} IS 'then'", "ALTER DATABASE {name} SET work_mem = '1MB'")
    shop.save()
    shop.execute(
        "COMMENT ON DATABASE {name} IS 'now'", "ALTER DATABASE {name} SET work_mem = '7MB'",
        "ALTER DATABASE {name} CONNECTION LIMIT 9", "REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
    )  # fmt: skip
    query = (
        "SELECT shobj_description(d.oid, 'pg_database'), datacl::text, datconnlimit, ARRAY(SELECT option"
        " FROM pg_db_role_setting, unnest(setconfig) option WHERE setdatabase = d.oid AND option NOT LIKE 'seedtool%')"
        " FROM pg_database d WHERE datname = {name}"
    )
    before = shop.execute(query)
    assert before[0][0] == "now"
    shop.restore()
    assert shop.execute(query) == before


def test_the_target_gets_no_comment_from_the_snapshot(shop):
    shop.save(note="[seedtool.protected=on for 1] } for 2] [seedtool.managed=x for 3]")
    assert shop.names() == ["first"]
    shop.restore()
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {name}"
    assert shop.execute(query) == [(None,)]


def test_there_is_a_database_at_every_moment(shop):
    shop.save()
    done, served, missing = threading.Event(), [0], []

    def client():
        while not done.is_set():
            try:
                with psycopg.connect(shop.target.conninfo) as connection:
                    connection.execute("SELECT value FROM takings")
                    served[0] += 1
            except psycopg.OperationalError as error:
                # whoever was let in as the old database and waited is told by PostgreSQL to come again
                if "does not exist" in str(error) and "just been dropped or renamed" not in str(error):
                    missing.append(str(error))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        for _ in range(5):
            seen = served[0]
            shop.restore()
            while served[0] == seen:
                time.sleep(0.002)
    finally:
        done.set()
        thread.join()
    assert missing == []


def test_what_cannot_be_freed_stays_as_it_is_and_so_does_the_snapshot(shop):
    shop.save()
    shop.fill("new")
    with server.connect(shop.target, autocommit=True) as connection:
        connection.execute("BEGIN; UPDATE takings SET value = 'x'; PREPARE TRANSACTION 'half-paid order'")
    with pytest.raises(BlockedError, match="half-paid order"):
        shop.restore()
    with server.connect(shop.target, autocommit=True) as connection:
        connection.execute("ROLLBACK PREPARED 'half-paid order'")
    assert (shop.value(), shop.names(), shop.passing()) == ("new", ["first"], [])


class TestUnknownRevisions:
    def plan(self, shop):
        plans = []
        restore(shop.settings, shop.target, "first", lambda plan: plans.append(plan) or Consent.NAME)
        return plans[0].unknown_revisions

    def test_a_revision_that_a_file_declares_is_known(self, shop):
        shop.save()
        assert self.plan(shop) == []

    def test_one_that_none_declares_is_told_before_anything_happens(self, shop):
        shop.save()
        shop.fill("new")
        (shop.settings.root / "migrations" / "versions" / "seven.py").write_text(
            "revision = '0006' # revision = '0007'\n"
        )
        seen = []

        def look(plan):
            seen.append((plan.unknown_revisions, shop.value()))
            raise NotConfirmed("no")

        with pytest.raises(NotConfirmed):
            restore(shop.settings, shop.target, "first", look)
        assert seen == [(["0007"], "new")]

    def test_where_there_are_no_migrations_all_count_as_known(self, shop):
        shop.save()
        (shop.settings.root / "alembic.ini").unlink()
        assert self.plan(shop) == []


class TestOfATarget:
    def test_the_newest_comes_first(self, shop):
        for name in "bca":
            shop.save(name)
        assert [snapshot.name for snapshot in registry.snapshots(shop.target)] == ["a", "c", "b"]

    def test_a_renamed_one_keeps_what_it_remembers(self, shop):
        before = shop.save(note="x").snapshot
        after = registry.rename(shop.target, "first", "second")
        assert registry.snapshots(shop.target) == [after]
        assert (after.created, after.note, after.size) == (before.created, before.note, before.size)
        shop.restore("second")

    def test_one_whose_renaming_is_interrupted_keeps_its_name(self, shop, monkeypatch):
        shop.save("first")
        monkeypatch.setattr(registry, "describe", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            registry.rename(shop.target, "first", "second")
        assert shop.names() == ["first"]

    def test_a_name_that_is_taken_is_refused(self, shop):
        shop.save("first")
        shop.save("second")
        for new_name in ("first", "second"):
            with pytest.raises(UsageError) as refusal:
                registry.rename(shop.target, "first", new_name)
            assert refusal.value.place == {"snapshot": new_name}
        assert shop.names() == ["first", "second"]

    def test_of_several_all_are_deleted_or_none(self, shop):
        for name in "abc":
            shop.save(name)
        with pytest.raises(UsageError) as refusal:
            registry.delete(shop.target, ["a", "x"])
        assert refusal.value.place == {"snapshot": "x"}
        assert shop.names() == ["a", "b", "c"]
        assert len(registry.delete(shop.target, ["a", "b", "a"])) == 2
        assert shop.names() == ["c"]

    def test_an_unknown_name_is_met_with_the_nearest(self, shop):
        with pytest.raises(UsageError) as refusal:
            shop.restore("frist")
        assert "snapshot save" in refusal.value.remedy
        shop.save()
        with pytest.raises(UsageError) as refusal:
            shop.restore("frist")
        assert "first" in refusal.value.remedy

    def test_what_somebody_has_spoilt_is_no_snapshot_and_stops_nobody(self, shop):
        spoilt = [
            "COMMENT ON DATABASE {} IS NULL",
            "COMMENT ON DATABASE {} IS 'the old one'",
            "ALTER DATABASE {} RENAME TO seedtool_snapshot_00112233445566778899",
            "ALTER DATABASE {} ALLOW_CONNECTIONS true",
        ]
        for number, spoil in enumerate(spoilt):
            shop.execute(spoil.format(shop.save(f"spoilt {number}").snapshot.database))
        shop.save()
        assert shop.names() == ["first"]

    @pytest.mark.parametrize("gone", ["deleted", "replaced"])
    def test_the_clone_made_ahead_goes_with_its_snapshot(self, shop, private, gone, listening):
        shop.save()
        shop.restore()
        assert len(private("spare")) == 1
        steps = []
        shop.restore(listener=listening(steps.append))
        assert "clone" not in steps
        if gone == "deleted":
            registry.delete(shop.target, ["first"])
        else:
            shop.save(replace=True)
        assert private("spare") == []

    def test_a_reset_sweeps_no_snapshot_away(self, shop):

        shop.save()
        reset(shop.settings, shop.target, [Schema(shop.settings, lambda _: None)], consent=Consent.NAME)
        assert shop.names() == ["first"]
        shop.restore()
        assert shop.value() == "old"


def test_rows_that_came_while_the_user_was_asked_are_not_lost(shop):
    shop.save()
    shop.execute("DROP DATABASE {name}", "CREATE DATABASE {name} TEMPLATE template0")

    def agree_slowly(plan):
        assert plan.consent is Consent.NONE
        return Consent.NONE

    def fill_meanwhile(step):
        if step == "spare":
            shop.fill("people's")

    listener = Listener()
    listener.step = fill_meanwhile
    with pytest.raises(NotConfirmed):
        restore(shop.settings, shop.target, "first", agree_slowly, listener=listener)
    assert shop.value() == "people's"


def test_a_script_runs_in_the_copy_before_it_takes_the_place(shop, tmp_path):
    script = tmp_path / "scrub.sql"
    script.write_text("UPDATE takings SET value = 'scrubbed';\nCREATE TABLE scrubbed AS SELECT 1 AS one;\n")
    shop.save(note="kept")
    shop.fill("new")
    shop.restore(then=script)
    assert shop.value() == "scrubbed"
    shop.alone()
    shop.restore()
    assert shop.value() == "old"  # the snapshot and its spare are what they were
    shop.fill("newest")
    script.write_text("UPDATE takings SET value = 'half';\nUPDATE nowhere SET a = 1;\n")
    with pytest.raises(SnapshotError) as failed:
        shop.restore(then=script)
    assert f"{script}:2: " in failed.value.message
    assert shop.value() == "newest"
    with pytest.raises(SnapshotError, match="cannot be read"):
        shop.restore(then=tmp_path / "nothing.sql")
    assert (shop.passing(), shop.names()) == ([], ["first"])
