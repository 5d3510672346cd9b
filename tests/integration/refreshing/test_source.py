"""The source: one moment of production, read only, whatever happens to it meanwhile."""

import contextlib
import re
import socket
import threading
import time

import psycopg
import pytest

from seedtool.errors import BlockedError, DatabaseError, SettingsError
from seedtool.listener import Listener
from seedtool.postgres import server
from seedtool.refreshing import schema, streams, transfer
from seedtool.refreshing.source import Source, is_lost
from seedtool.refreshing.transfer import TableCopy
from seedtool.values.cells import Cells

SMALL = (
    "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 5000) g"
)


def sessions(database, application="seedtool refresh"):
    query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
    with server.connect(database, "postgres") as connection:
        return [pid for (pid,) in connection.execute(query, [database.name, application])]


def end(database, pids):
    with server.connect(database, "postgres") as connection:
        for pid in pids:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_every_session_sees_one_moment_and_may_not_write(origin, run):
    run(origin, SMALL)
    with Source.open(origin) as source:
        run(origin, "INSERT INTO t VALUES (0, 'late')")
        with source.session() as one, source.session() as two:
            for connection in (one, two, source.holder):
                assert connection.execute("SELECT count(*) FROM t").fetchone() == (5000,)
                setting = "SELECT current_setting('row_security'), current_setting('statement_timeout')"
                assert connection.execute(setting).fetchone() == ("off", "1h")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                one.execute("INSERT INTO t VALUES (-1, 'ours')")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                two.execute("CREATE TEMPORARY TABLE mine ()")


def test_a_migration_waits_until_the_copy_is_done(origin, empty, run, rows, refresh, monkeypatch):
    """Its catalog, its rows and its sessions stay those of one moment, though the migration is queued in the middle."""
    run(origin, SMALL)
    with Source.open(origin) as source:
        migration = psycopg.connect(origin.conninfo, autocommit=True)
        thread = threading.Thread(target=migration.execute, args=["ALTER TABLE t DROP COLUMN name"])
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while rows(origin, waiting) == [(0,)]:
            time.sleep(0.01)
        monkeypatch.setattr("seedtool.refreshing.source.LOCK_TIMEOUT", 0.1)
        with pytest.raises(BlockedError) as blocked:  # a session that comes now would wait for the migration
            source.connect()
        assert blocked.value.place["code"] == "55P03"
        assert "Start again" in blocked.value.remedy
    thread.join(10)
    migration.close()
    copied, _ = refresh(origin, empty)
    assert copied["t"].rows == 5000
    assert rows(empty, "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'") == [(1,)]


def test_a_table_that_is_being_altered_is_told(origin, run):
    run(origin, SMALL)
    with psycopg.connect(origin.conninfo) as migration:
        migration.execute("ALTER TABLE t ADD COLUMN new int")
        with pytest.raises(BlockedError) as blocked, Source.open(origin, lock_timeout=0.1):
            pass
    assert "migration" in blocked.value.remedy


def of_refresh(database, condition="true"):
    with server.connect(database) as connection:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'seedtool refresh'"
            f" AND datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
        )
        return {pid for (pid,) in connection.execute(query)}


def lose(whom, source, copy):
    """End connections of a copy."""
    holder = source.holder.info.backend_pid
    ends = {
        "the snapshot": (source.target, {holder}),
        "a writer": (copy, of_refresh(copy, "state <> 'idle'")),
        "the target": (copy, of_refresh(copy)),
        "all": (source.target, of_refresh(source.target)),
    }
    end(*ends.get(whom, (source.target, of_refresh(source.target) - {holder})))


@pytest.mark.parametrize(
    ("whom", "again"),
    [("the snapshot", None), ("a stream", True), ("a writer", True), ("all", False),
     ("the target", False), ("streams each time", False)],
)  # fmt: skip
def test_a_connection_that_is_lost_in_the_middle(origin, empty, run, rows, monkeypatch, whom, again):
    """xataio/pgstream 973 (rows dropped, exit 0) and 881 (a resume that mixed two moments)."""
    run(origin, SMALL.replace("5000", "100000"))  # more than the buffers between us and the server hold
    monkeypatch.setattr(transfer, "BLOCK", 10_000)
    lost, notes = [], []

    class Mask:
        def apply(self, cells, _=None):
            if not lost or whom == "streams each time":
                lost.append(1)
                lose(whom, source, empty)
            return Cells.constant(b"A", len(cells.starts))

    class Told(Listener):
        def note(self, text):
            notes.append(text)

    with Source.open(origin) as source, schema.dumped(source, empty) as dump:
        schema.restore(dump, "pre-data", empty)
        table = TableCopy(table=source.catalog.find("t"), masks={"name": Mask()})
        if again is False:
            with pytest.raises(DatabaseError) as failure:
                transfer.copy(source, empty, [table], listener=Told())
            assert "Start again" in failure.value.remedy
            assert len(notes) == (2 if whom == "streams each time" else 0)
        else:  # the streams read on in the snapshot that they have; a part whose connection was lost is begun anew
            run(origin, "DELETE FROM t WHERE id > 90000")
            (copied,) = transfer.copy(source, empty, [table], listener=Told())
            assert (copied.rows, copied.bytes < 2_000_000) == (100_000, True)
            assert len(notes) == (1 if again else 0)
            assert all(re.fullmatch(r"the connection to .* was lost while t was copied: it is begun anew", each)
                       for each in notes)  # fmt: skip
            assert rows(empty, "SELECT count(*), count(DISTINCT id), min(name), max(name) FROM t") == [
                (100_000, 100_000, "A", "A")
            ]
        if whom == "the snapshot":  # nobody can join it any more
            for step in (source.connect, lambda: schema.move_sequences(source, empty)):
                with pytest.raises(DatabaseError) as failure:
                    step()
                assert "Start again" in failure.value.remedy


def test_a_part_that_was_written_before_its_connection_was_lost_is_not_written_again(
    origin, empty, run, rows, refresh, monkeypatch
):
    run(origin, SMALL)
    copy = transfer._Work._copy

    async def lost_after_its_commit(work, part, ends):
        await copy(work, part, ends)
        raise transfer._Lost(DatabaseError("the answer was lost"))

    monkeypatch.setattr(transfer._Work, "_copy", lost_after_its_commit)
    copied, _ = refresh(origin, empty)
    assert copied["t"].rows == 5000
    assert rows(empty, "SELECT count(*) FROM t") == [(5000,)]


@pytest.mark.parametrize(("standby", "words"), [(False, "was lost"), (True, "is a hot standby")])
def test_a_snapshot_that_ends_before_the_schema_is_dumped(origin, empty, standby, words):
    with Source.open(origin) as source:
        source.standby = standby
        with server.connect(origin, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [source.holder.info.backend_pid])
        with pytest.raises(DatabaseError, match=words) as lost, schema.dumped(source, empty):
            pass
        assert "Start again" in lost.value.remedy
        assert ("hot_standby_feedback" in lost.value.remedy) is standby
        assert is_lost("40001")  # a standby's "conflict with recovery"


def test_an_address_that_spreads_connections_over_servers(target, seedtool_settings, tmp_path, run):
    """The first connection goes to one server, the next to another that holds a database of the same name."""
    other = server.find(seedtool_settings)
    from tests.integration.refreshing.conftest import database

    with (
        database(target, "spread", SMALL) as first,
        database(other, "spread", SMALL) as second,
        _spreading(tmp_path, [_socket(first), _socket(second)]) as folder,
        Source.open(f"host={folder} user=postgres dbname=spread") as source,
    ):
        table = TableCopy(table=source.catalog.find("t"))
        for step in (source.connect, lambda: transfer.copy(source, first, [table])):
            with pytest.raises(DatabaseError) as failure:
                step()
            assert "several servers" in failure.value.message
            assert "reader" in failure.value.remedy


def _socket(database):
    return f"{psycopg.conninfo.conninfo_to_dict(database.conninfo)['host']}/.s.PGSQL.5432"


@contextlib.contextmanager
def _spreading(folder, places):
    """A socket whose first connection reaches the first place, and each later one the last."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / ".s.PGSQL.5432"))
        listener.listen()
        opened = []

        def pump(one, other):
            with contextlib.suppress(OSError):
                while data := one.recv(65536):
                    other.sendall(data)
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)

        def serve():
            for number in range(100):
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                far = socket.socket(socket.AF_UNIX)
                far.connect(places[min(number, len(places) - 1)])
                opened.extend([near, far])
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield folder
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in opened:
                each.close()


def test_the_session_of_the_snapshot_says_something_from_time_to_time(origin, rows):
    with Source.open(origin, alive=0.05) as source:
        query = f"SELECT query_start FROM pg_stat_activity WHERE pid = {source.holder.info.backend_pid}"
        before = rows(origin, query)
        time.sleep(0.2)
        assert rows(origin, query) > before


def test_rows_that_a_policy_hides_are_an_error_and_not_left_out(origin, empty, run, refresh, role):
    run(origin, SMALL)
    run(
        origin,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (id < 10); GRANT SELECT ON t TO reader",
    )
    with pytest.raises(DatabaseError) as refusal:
        refresh(role(origin), empty)
    assert refusal.value.place["code"] == "42501"
    assert "BYPASSRLS" in refusal.value.remedy


def test_a_sequence_that_may_not_be_read_does_not_begin_with_1(origin, empty, run, rows, refresh, role):
    """GreenmaskIO/greenmask 469 and 340."""
    run(origin, "CREATE TABLE t (id serial PRIMARY KEY, name text); CREATE SEQUENCE alone START 7")
    run(
        origin,
        "CREATE TABLE d (id int GENERATED ALWAYS AS IDENTITY (START -1 INCREMENT -1 MINVALUE -100), e numeric DEFAULT nextval('t_id_seq'))",
    )
    run(
        origin,
        "INSERT INTO t (name) SELECT 'x' FROM generate_series(1, 40); DELETE FROM t WHERE id > 30; INSERT INTO d DEFAULT VALUES",
    )
    run(origin, "SELECT nextval('alone'); GRANT SELECT ON t, d TO reader")
    _, notes = refresh(role(origin), empty)
    assert len(notes) == 1
    assert "public.t_id_seq" in notes[0]
    assert rows(empty, "SELECT nextval('t_id_seq'), nextval('d_id_seq')") == [(42, -2)]  # d.e holds 41
    run(empty, "DROP TABLE t, d CASCADE; DROP SEQUENCE alone")
    run(origin, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
    _, notes = refresh(role(origin), empty)
    assert notes == []
    assert rows(empty, "SELECT nextval('t_id_seq'), nextval('d_id_seq'), nextval('alone')") == [(42, -2, 8)]


@pytest.fixture
def role(target, run):
    """Return a database's target for a role that owns nothing."""
    run(target.at("postgres"), "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    made = []

    def as_reader(database):
        import msgspec
        from psycopg.conninfo import make_conninfo

        made.append(database)
        return msgspec.structs.replace(database, conninfo=make_conninfo(database.conninfo, user="reader"))

    yield as_reader
    for database in made:
        with contextlib.suppress(DatabaseError):
            run(database, "DROP OWNED BY reader")
    run(target.at("postgres"), "DROP ROLE reader")


@pytest.mark.parametrize("asked", ["require_auth=none", "sslcrl=/tmp/revoked", "sslkeylogfile=/tmp/keys", "sslsni=0"])
def test_what_asyncpg_cannot_do_is_refused_and_not_left_out(origin, asked):
    name = asked.partition("=")[0]
    if not any(each.keyword.decode() == name for each in psycopg.pq.Conninfo.get_defaults()):
        pytest.skip("this libpq does not know it")
    with psycopg.connect(f"{origin.conninfo} {asked}") as connection, pytest.raises(SettingsError) as refusal:
        streams.parameters(connection)
    assert refusal.value.place == {"key": name}


def test_asyncpg_is_given_what_libpq_resolved(origin, tmp_path, monkeypatch):
    given = psycopg.conninfo.conninfo_to_dict(origin.conninfo)
    (tmp_path / "services").write_text(
        f"[team]\nhost={given['host']}\nport=5432\nuser=postgres\ndbname={origin.name}\noptions=-c work_mem=5MB\n"
    )
    (tmp_path / "passwords").write_text(f"*:*:{origin.name}:postgres:s3 c:ret\n".replace("c:", "c\\:"))
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    with psycopg.connect("service=team") as connection:
        found = streams.parameters(connection)
    assert (found["host"], found["port"], found["user"], found["database"]) == (
        given["host"],
        5432,
        "postgres",
        origin.name,
    )
    assert found["password"] == "s3 c:ret"
    assert found["ssl"] is False
    assert found["server_settings"]["options"] == "-c work_mem=5MB"


def test_large_objects_keep_their_oids(origin, empty, run, rows, refresh):
    """dimitri/pgcopydb 14."""
    run(origin, "CREATE TABLE t (id int, picture oid); SELECT lo_create(4242424242), lo_create(77777)")
    run(origin, "SELECT lo_from_bytea(88888, decode(repeat('00ff10', 700000), 'hex')); INSERT INTO t VALUES (1, 88888)")
    run(origin, "SELECT lo_put(77777, 0, 'short')")
    refresh(origin, empty)
    with Source.open(origin) as source:
        assert schema.copy_large_objects(source, empty) == (3, 2_100_005)
    query = "SELECT m.oid, md5(lo_get(m.oid)) FROM pg_largeobject_metadata m ORDER BY 1"
    assert rows(empty, query) == rows(origin, query)
    assert rows(empty, "SELECT length(lo_get(picture)) FROM t") == [(2_100_000,)]
