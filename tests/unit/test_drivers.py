"""By which addresses a connection reaches the target."""

import socket

import pytest

from seedtool.postgres.drivers import Reach
from seedtool.postgres.server import Target

TARGET = Target(conninfo="host=127.0.0.1 port=5432 dbname=shop user=u", name="shop", maintenance="postgres")


def reaches(target=TARGET, **given):
    return Reach(target, "host=127.0.0.1 port=5432 dbname=building")({"port": "5432", "dbname": "shop", **given})


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "127.0.0.2", "127.1", "0.0.0.0", "::ffff:127.0.0.1", "/run/postgresql",  # noqa: S104 - it is looked up
     "@postgres", "nowhere.invalid,localhost", ["nowhere.invalid", "localhost"], None, socket.gethostname()],
)  # fmt: skip
def test_every_name_of_this_machine_is_the_same_server(host):
    try:
        reached = (
            host is None or isinstance(host, list) or "," in host or host[0] in "/@" or socket.getaddrinfo(host, 1)
        )
    except OSError:
        pytest.skip(f"this machine does not know {host}")
    assert reached
    assert reaches(host=host, port=["5432", "5432"] if isinstance(host, list) else "5432")


@pytest.mark.parametrize(
    "given",
    [
        {"host": "localhost", "port": "5433"}, {"host": "localhost", "dbname": "shop2"}, {"host": "nowhere.invalid"},
        {"host": "192.0.2.7"}, {"host": "a,b", "port": "5433,5434"}, {"host": "localhost,b", "port": "5433,5432"},
        {"host": "\ud800"}, {"host": "x" * 300},
    ],
)  # fmt: skip
def test_another_server_port_or_database_is_not_the_target(given):
    assert not reaches(**given)


def test_an_address_beside_a_host_counts():
    assert reaches(host="nowhere.invalid", hostaddr="127.0.0.1")
    assert reaches(hostaddr="127.0.0.1")


def test_defaults_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    assert not reaches()
    monkeypatch.setenv("PGHOST", "localhost")
    monkeypatch.setenv("PGPORT", "5433")
    assert not reaches(port=None)
    monkeypatch.setenv("PGDATABASE", "shop")
    assert reaches(dbname=None)
