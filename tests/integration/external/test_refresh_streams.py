"""A masked copy's streams over TLS: asyncpg is given what libpq was asked for, and never less."""

import asyncio
import socket
from urllib.parse import quote

import pytest

from seedtool.errors import DatabaseError, SnapshotError
from seedtool.postgres import server
from seedtool.refreshing import schema, streams, transfer
from seedtool.refreshing.source import Source
from seedtool.refreshing.transfer import TableCopy

from .conftest import DEBIAN


@pytest.fixture
def tables(oldest):
    oldest.drop_all()
    for name in ("app", "staging"):
        oldest.execute(f"CREATE DATABASE {name} OWNER dev")
    oldest.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name text)", "INSERT INTO t SELECT g, 'ñ' || g FROM generate_series(1, 99) g",
        "GRANT SELECT ON t TO reader", database="app",
    )  # fmt: skip
    oldest.execute("GRANT CREATE ON SCHEMA public TO dev", database="staging")
    yield oldest
    oldest.drop_all()


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require", "prefer"])
@pytest.mark.skipif(not (DEBIAN / "pg_dump").exists(), reason="the server's programs have no pg_dump, and ours no TLS")
def test_a_copy_over_tls(tables, place, mode):
    ca = f"&sslrootcert={quote(str(place / 'ca.crt'), safe='')}" if mode.startswith("verify") else ""
    staging = server.named_by(tables.url("staging", query=f"?sslmode={mode}{ca}"))
    with Source.open(tables.url("app", user="reader", query=f"?sslmode={mode}{ca}")) as source:
        assert source.holder.pgconn.ssl_in_use
        with schema.dumped(source, staging) as dump:  # Debian's programs: the wheel's have no TLS
            schema.restore(dump, "pre-data", staging)
            copied = transfer.copy(source, staging, [TableCopy(table=source.catalog.find("t"))])
            schema.restore(dump, "post-data", staging)
    assert [(each.rows, each.how) for each in copied] == [(99, "binary")]
    assert tables.execute("SELECT count(*), max(name) FROM t", database="staging") in (
        [(99, "ñ99")],
        [(99, b"\xc3\xb199")],
    )


def test_the_streams_notice_a_server_that_is_gone(tables):
    async def options():
        connection = await streams.connect(streams.parameters(source.holder), {}, "app")
        peer = connection._transport.get_extra_info("socket")
        found = (
            peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        )
        await connection.close()
        return found

    with Source.open(tables.url("app", user="reader")) as source:
        assert asyncio.run(options()) == (1, 30)


def test_another_authority_is_not_trusted_by_the_streams_either(tables, place, tmp_path):
    """libpq trusts the server by the file that was there; the streams find another one in its place."""
    authority = tmp_path / "root.crt"
    authority.write_bytes((place / "ca.crt").read_bytes())
    url = tables.url("app", user="reader", query=f"?sslmode=verify-full&sslrootcert={quote(str(authority), safe='')}")
    with Source.open(url) as source:
        authority.write_bytes((place / "oldest" / "data" / "server.crt").read_bytes())
        with pytest.raises(DatabaseError) as refusal:
            transfer.copy(source, server.named_by(tables.url("staging")), [TableCopy(table=source.catalog.find("t"))])
        assert "connect" in refusal.value.message


def test_programs_without_tls_are_not_taken(tables, newest):
    newest.execute("CREATE DATABASE staging")
    staging = server.named_by(newest.url("staging"))
    with (
        Source.open(tables.url("app", user="reader")) as source,
        pytest.raises(SnapshotError) as refusal,
        schema.dumped(source, staging),
    ):
        pass
    assert "TLS" in refusal.value.message
    assert "postgresql-client-18" in refusal.value.remedy
    newest.drop_all()
