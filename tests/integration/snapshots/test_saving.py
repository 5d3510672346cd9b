"""What saving keeps, and how it gets along with whoever is connected."""

import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from seedtool.errors import BlockedError, DatabaseError, Protected, UsageError
from seedtool.postgres import server
from seedtool.resetting.guard import Consent
from seedtool.snapshots import registry


def test_a_snapshot_remembers_where_it_comes_from(shop):
    report = shop.save("before payments", note="Ana's año")
    (snapshot,) = registry.snapshots(shop.target)
    assert snapshot == report.snapshot
    assert (snapshot.name, snapshot.note, snapshot.revisions) == ("before payments", "Ana's año", ["0007"])
    assert (snapshot.target, snapshot.owner, snapshot.branch) == (shop.target.name, "postgres", None)
    assert snapshot.size > 5_000_000
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(snapshot.created) < timedelta(minutes=1)
    assert report.sessions_ended == 0


def test_git_tells_branch_and_commit(shop):
    def git(*arguments):
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        done = subprocess.run(["git", *identity, *arguments], cwd=shop.settings.root, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "feature/año")
    assert shop.save("unborn").snapshot.commit is None
    git("commit", "-q", "--allow-empty", "-m", "x")
    found = shop.save("born").snapshot
    assert (found.branch, found.commit) == ("feature/año", git("rev-parse", "HEAD"))
    assert shop.save(None).snapshot.name.startswith("feature/año-20")
    git("checkout", "-q", "--detach")
    found = shop.save("detached").snapshot
    assert (found.branch, found.commit) == (None, git("rev-parse", "HEAD"))


def test_without_git_and_name_it_is_called_after_the_database(shop, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert shop.save(None).snapshot.name.startswith(f"{shop.target.name}-20")


def test_revisions_are_found_whatever_the_version_tables_are_called(shop):
    shop.execute(
        "CREATE SCHEMA tenant",
        'CREATE TABLE tenant."Odd versions" (version_num varchar(32), CONSTRAINT "Odd versions_pkc" PRIMARY KEY (version_num))',
        "INSERT INTO tenant.\"Odd versions\" VALUES ('a'), ('b')",
        "CREATE TABLE other (version_num text PRIMARY KEY)",
        "INSERT INTO other VALUES ('no revision')",
        database=shop.target.name,
    )
    assert shop.save().snapshot.revisions == ["0007", "a", "b"]


@pytest.mark.parametrize(
    "name", ["-x", "a/b", "quo\"te's", "100%s {0} \\", "año 漢字 👨‍👩‍👧", "x" * 100, "ñ" * 100, "postgres"]
)
def test_names_may_be_anything_that_can_be_shown(shop, name):
    shop.save(name)
    assert shop.names() == [name]
    shop.restore(name)
    assert [snapshot.name for snapshot in registry.delete(shop.target, [name])] == [name]
    assert shop.names() == []


@pytest.mark.parametrize(
    "name", ["", "  ", " x", "x ", "a\nb", "\x1b[31mred", "\u202egnp", "a\0b", "\udcff", "x" * 101]
)
def test_names_that_cannot_be_shown_are_refused(shop, name):
    for use in (shop.save, shop.restore, lambda name: registry.rename(shop.target, "x", name)):
        with pytest.raises(UsageError) as refusal:
            use(name)
        assert refusal.value.remedy
        assert refusal.value.message.isprintable()
    assert shop.names() == []


@pytest.mark.parametrize("note", [" ", "a\nb", "\x1b[31mred", "x" * 501])
def test_a_note_is_one_line_that_can_be_shown(shop, note):
    with pytest.raises(UsageError) as refusal:
        shop.save(note=note)
    assert refusal.value.place == {"option": "--note"}


def test_what_looks_the_same_is_the_same_name(shop):
    shop.save("an\u0303o")
    assert shop.names() == ["año"]
    shop.restore("a\u00f1o")


def test_a_name_is_taken_once_unless_it_is_to_be_replaced(shop):
    first = shop.save().snapshot
    shop.fill("new")
    with pytest.raises(UsageError) as refusal:
        shop.save()
    assert refusal.value.place == {"snapshot": "first"}
    assert "--replace" in refusal.value.remedy
    second = shop.save(replace=True).snapshot
    assert second.created > first.created
    assert shop.names() == ["first"]
    shop.fill("newest")
    shop.restore()
    assert shop.value() == "new"


def test_each_target_has_snapshots_of_its_own(shop, target):
    other = shop.also(f"{shop.target.name}_2")
    shop.execute(f"CREATE DATABASE {other.target.name}")
    try:
        other.fill("other's")
        shop.save()
        assert other.names() == []
        other.save()
        registry.rename(other.target, "first", "theirs")
        other.save()
        registry.delete(other.target, ["first"])
        assert (shop.names(), other.names()) == (["first"], ["theirs"])
        shop.restore()
        assert shop.value() == "old"
    finally:
        shop.execute(f"DROP DATABASE {other.target.name} WITH (FORCE)")


def test_nobody_gets_into_a_snapshot(shop):
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(shop.target.conninfo_for(shop.save().snapshot.database))


def test_a_missing_target_cannot_be_saved(shop):
    missing = shop.also("nowhere")
    with pytest.raises(DatabaseError) as refusal:
        missing.save()
    assert refusal.value.place == {"database": "nowhere"}
    assert "db-reset" in refusal.value.remedy


def test_in_an_encoding_of_its_own(shop):
    latin = shop.also(f"{shop.target.name}_latin")
    shop.execute(
        f"CREATE DATABASE {latin.target.name} TEMPLATE template0 ENCODING LATIN1 LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        latin.fill("old")
        latin.save("漢字 🙂", note="¿qué?")
        latin.fill("new")
        latin.restore("漢字 🙂")
        assert latin.value() == "old"
        assert registry.snapshots(latin.target)[0].note == "¿qué?"
    finally:
        shop.execute(f"DROP DATABASE {latin.target.name} WITH (FORCE)")


class TestClients:
    def test_five_eager_ones_are_ended_and_find_their_database_again(self, shop):
        done, served, missing = threading.Event(), [0] * 5, []

        def client(number):
            while not done.is_set():
                try:
                    with psycopg.connect(shop.target.conninfo) as connection:
                        while not done.is_set():
                            connection.execute("SELECT value FROM takings")
                            served[number] += 1
                except psycopg.OperationalError as error:
                    if "does not exist" in str(error):
                        missing.append(str(error))

        threads = [threading.Thread(target=client, args=[number]) for number in range(5)]
        for thread in threads:
            thread.start()
        try:
            while not all(served):
                time.sleep(0.01)
            reports = [shop.save(f"{number}") for number in range(3)]
            before = sum(served)
            while sum(served) < before + 5:
                time.sleep(0.01)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert all(report.sessions_ended >= 1 for report in reports)
        assert missing == []
        assert shop.names() == ["0", "1", "2"]

    def test_what_was_not_committed_is_not_saved(self, shop):
        with psycopg.connect(shop.target.conninfo) as connection:
            connection.execute("UPDATE takings SET value = 'half-paid'")
            assert shop.save().sessions_ended == 1
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert shop.value() == "old"

    def test_a_prepared_transaction_is_named(self, shop):
        with server.connect(shop.target, autocommit=True) as connection:
            connection.execute("BEGIN; UPDATE takings SET value = 'x'; PREPARE TRANSACTION 'half-paid order'")
            try:
                with pytest.raises(BlockedError, match="half-paid order"):
                    shop.save()
                assert connection.execute("SELECT 1").fetchone() == (1,)  # nobody was ended for nothing
            finally:
                connection.execute("ROLLBACK PREPARED 'half-paid order'")
        assert shop.names() == []

    def test_those_of_a_protected_database_are_left_alone(self, shop):
        shop.protect()
        with psycopg.connect(shop.target.conninfo) as connection:
            with pytest.raises(Protected, match="1 session"):
                shop.save()
            assert connection.execute("SELECT 1").fetchone() == (1,)
        shop.alone()
        shop.save()
        shop.unprotect()
        shop.restore()
        shop.restore(consent=Consent.YES)  # the mark did not come with the snapshot

    def test_a_mightier_roles_session_is_named_and_nothing_is_left(self, shop, weak):
        with server.connect(shop.target, application="psql of the boss") as connection:
            connection.execute("SELECT 1")
            with pytest.raises(BlockedError, match="psql of the boss"):
                weak.save()
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert (weak.names(), weak.passing()) == ([], [])


def test_a_role_without_superuser_saves_restores_renames_and_deletes(weak):
    assert weak.save(note="mine").snapshot.owner == "weak"
    weak.fill("new")
    weak.save("second")
    registry.rename(weak.target, "first", "renamed")
    weak.restore("renamed")
    assert weak.value() == "old"
    assert "snapshot" not in str(
        weak.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {name}")
    )
    registry.delete(weak.target, ["second"])
    assert weak.names() == ["renamed"]


def test_a_role_that_may_not_create_databases_is_told_before_a_session_ends(shop, weak):
    shop.execute("ALTER ROLE weak NOCREATEDB")
    with server.connect(weak.target) as connection:
        with pytest.raises(DatabaseError) as refusal:
            weak.save()
        connection.execute("SELECT 1")
    assert "CREATEDB" in refusal.value.remedy


def test_ten_at_once_all_succeed_in_turn(shop):
    errors = []

    def run(number):
        try:
            shop.save(f"{number}")
        except Exception as error:  # noqa: BLE001 - any failure fails the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(5)]
    threads += [threading.Thread(target=run, args=[0]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [UsageError, UsageError]
    assert shop.names() == ["0", "1", "2", "3", "4"]
