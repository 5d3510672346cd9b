"""A masked copy's streams over TLS: asyncpg is given what libpq was asked for, and never less."""

import asyncio
import socket
from urllib.parse import quote

import psycopg
import pytest

from seedtool.errors import DatabaseError, SnapshotError
from seedtool.postgres import server
from seedtool.refreshing import check, preflight, schema, streams, transfer
from seedtool.refreshing.masks import mask
from seedtool.refreshing.policy import parse_policy
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


def test_what_is_compared_without_case_is_looked_at_for_what_is_reserved_too(tables, tmp_path):
    """A nondeterministic collation of ICU refuses regular expressions, and so did the look before a row is copied."""
    tables.execute("CREATE DATABASE spoken TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    try:
        tables.execute(
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            database="spoken",
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server has no ICU")
    tables.execute(
        "CREATE TABLE people (mail text COLLATE loose, fon text[] COLLATE loose, note text COLLATE loose, old text COLLATE loose)",
        """INSERT INTO people VALUES ('a@mail.example', '{+56912345678}', '{"ip": "10.0.0.1"}', 'b@masked.invalid')""",
        "GRANT SELECT ON people TO reader", database="spoken",
    )  # fmt: skip
    text = b'[tables.people]\nmail = "email"\nfon = "phone"\nnote = { mask = "json", paths = { ip = "ip" } }\nold = "email"\n'
    policy = parse_policy(text, "policy.toml", tmp_path)
    with Source.open(tables.url("spoken", user="reader")) as source:
        shape = check.read_shape(source.holder, source.catalog, source.relations)
        made = check.check(shape, policy, lambda line, column: mask(line, column, b"k" * 32)).masks
        assert [each.column for each in preflight.reserved(source, shape, policy, made)] == ["old"]


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
