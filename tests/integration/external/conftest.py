"""Servers that somebody else started: today's PostgreSQL on a port, and Debian's PostgreSQL 15 with TLS.

The variable TESTS_POSTGRES names the folder of another server's programs, which takes the place of Debian's.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg import sql

from seedtool.postgres.embedded import EmbeddedServer
from seedtool.settings import load

DEBIAN = Path(os.environ.get("TESTS_POSTGRES") or "/usr/lib/postgresql/15/bin")
PASSWORD = "p@ss/w:rd+%?#é '\\"
AS_POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def place(home):
    folder = Path(tempfile.mkdtemp(prefix="e-", dir=home))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def settings_for(tmp_path):
    """Settings of a project whose DATABASE_URL is given."""
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(f"# {tmp_path}\n")
    return lambda url: load(tmp_path, environ={"HOME": str(tmp_path), "DATABASE_URL": url})


def certify(data, ca_file):
    """Write a certificate for 127.0.0.1 (not for localhost) and its key, and the authority's that signed it."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Test CA", "database")]
    for name, key, is_authority in zip(names, keys, (True, False), strict=True):
        draft = x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
        draft = draft.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        draft = draft.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        draft = draft if is_authority else draft.add_extension(address, critical=False)
        pem = draft.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        (ca_file if is_authority else data / "server.crt").write_bytes(pem)
    private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file = data / "server.key"
    key_file.write_bytes(keys[1].private_bytes(*private))
    key_file.chmod(0o600)
    if AS_POSTGRES:
        shutil.chown(key_file, "postgres", "postgres")


class External:
    """A server on a port of 127.0.0.1, with a superuser and a role that may create databases; both have a password."""

    def __init__(self, port, boss):
        self.port = port
        self.boss = boss
        for role, rights in (
            ("boss", "SUPERUSER"),
            ("dev", "CREATEDB"),
            ("app_owner", ""),
            ("reader", ""),
            ("plain", ""),
        ):
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} ").format(sql.Identifier(role), sql.Literal(PASSWORD))
            self.execute(statement + sql.SQL(rights))
        self.execute("GRANT app_owner TO dev")

    def url(self, name, user="dev", password=PASSWORD, scheme="postgresql", query=""):
        login = f"{user}:{quote(password, safe='')}"
        return f"{scheme}://{login}@127.0.0.1:{self.port}/{quote(name, safe='')}{query}"

    def execute(self, *statements, database="postgres"):
        with psycopg.connect(self.boss, dbname=database, autocommit=True, client_encoding="utf8") as connection:
            for statement in statements:
                found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def settle(self):
        """Wait until the server has done what it was sent."""
        busy = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query ~ '^(CREATE|DROP) DATABASE'"
        while self.execute(busy):
            time.sleep(0.01)

    def drop_all(self):
        self.settle()
        names = "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
        for (name,) in self.execute(names):
            identifier = sql.Identifier(name).as_string()
            self.execute(f"ALTER DATABASE {identifier} IS_TEMPLATE false", f"DROP DATABASE {identifier} WITH (FORCE)")


@pytest.fixture(scope="session")
def newest(place):
    """The embedded binaries on a port, as if somebody else had started them."""
    embedded = EmbeddedServer(place / "newest")
    embedded.start(tcp_port=free_port())
    boss = psycopg.conninfo.make_conninfo(
        host="127.0.0.1", port=embedded.tcp_port(), user="postgres", password=embedded.password, dbname="postgres"
    )
    try:
        yield External(embedded.tcp_port(), boss)
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def oldest(place):
    """Debian's PostgreSQL 15 with TLS, in SQL_ASCII, speaking Spanish where it can."""
    if not (DEBIAN / "initdb").exists():
        pytest.skip("Debian's postgresql-15 is not installed (.ci/run installs it)")
    folder = place / "oldest"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()

    def run(*command):
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C", "LANGUAGE": "es"}
        with (folder / "out").open("ab") as out:
            done = subprocess.run(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                check=False, **AS_POSTGRES,
            )  # fmt: skip
        assert done.returncode == 0, (folder / "out").read_text() + (folder / "log").read_text()

    run(DEBIAN / "initdb", "-D", data, "-U", "postgres", "-E", "SQL_ASCII", "--locale=C", "--no-sync", "-A", "trust")
    certify(data, place / "ca.crt")
    (data / "pg_hba.conf").write_text(
        "local all all trust\nhostssl all reader 127.0.0.1/32 scram-sha-256\nhostnossl all reader 127.0.0.1/32 reject\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
    )
    with (data / "postgresql.conf").open("a") as file:
        file.write(
            f"port = {port}\nunix_socket_directories = '{folder}'\nlisten_addresses = '127.0.0.1'\nssl = on\n"
            "fsync = off\nlc_messages = 'C.UTF-8'\nmax_prepared_transactions = 5\n"
        )
    run(DEBIAN / "pg_ctl", "start", "-w", "-s", "-D", data, "-l", folder / "log")
    try:
        yield External(port, f"host={folder} port={port} user=postgres dbname=postgres")
    finally:
        run(DEBIAN / "pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", data)


@pytest.fixture(params=["newest", "oldest"])
def external(request):
    found = request.getfixturevalue(request.param)
    yield found
    found.drop_all()
