"""Connections that a project's code makes by itself while we run it: through psycopg, psycopg2 or asyncpg.

Everything above these drivers (SQLAlchemy, pools, psycopg's async side) ends in one function of each, and that one is
replaced meanwhile. Other threads of the process are left alone, but for those that the code starts.
"""

import contextlib
import functools
import importlib
import importlib.util
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool.postgres.server import Target

#: Is given the parameters of a connection by libpq's words, and returns those that are changed.
Decide = Callable[[Mapping[str, str]], Mapping[str, str]]

# the drivers are the process's: of two who replace their functions, the first to end would put back the second's
_ONE_AT_A_TIME = threading.RLock()
#: How the folder of a socket begins, or an abstract socket; and what stands for each address of this machine.
_SOCKETS, _HERE = ("/", "@"), "here"


class Reach:
    """Which connections reach the database of a target, by whatever name its server is called.

    Args:
        target: the target.
        conninfo: libpq connection string of any database of its server, with one host and its port.
    """

    def __init__(self, target: Target, conninfo: str) -> None:
        self._name = target.name
        self._servers = {server for text in (conninfo, target.conninfo) for server in _servers(_whole(text))}
        port = target.embedded.tcp_port() if target.embedded is not None else None
        if port is not None:
            self._servers.add(("localhost", str(port)))
        # another server may listen on the port of the embedded one's socket, which is not open to TCP
        self._sockets_are_apart = target.embedded is not None

    def __call__(self, given: Mapping[str, Any]) -> bool:
        """Tell whether a connection with these parameters, by libpq's words, reaches the target."""
        return _name(given) == self._name and any(
            port == other_port and self._same(host, other)
            for host, port in _servers(given)
            for other, other_port in self._servers
        )

    def _same(self, host: str, other: str) -> bool:
        if host == other:
            return True
        if host.startswith(_SOCKETS) or other.startswith(_SOCKETS):
            return not self._sockets_are_apart and all(
                each.startswith(_SOCKETS) or _HERE in _resolved(each) for each in (host, other)
            )
        return bool(_resolved(host) & _resolved(other))


@contextlib.contextmanager
def intercepted(decide: Decide) -> Iterator[Callable[[], bool]]:
    """Ask before each connection that the code within `with` makes; yields a test for threads that run such code.

    Args:
        decide: returns what is changed of a connection's parameters, or raises what the code is to meet.
    """
    thread, started = threading.get_ident(), weakref.WeakSet[threading.Thread]()

    def concerns_us() -> bool:
        return threading.get_ident() == thread or threading.current_thread() in started

    def ask(given: Mapping[str, str]) -> Mapping[str, str]:
        return decide(given) if concerns_us() else {}

    start = threading.Thread.start

    def remembered(new: threading.Thread) -> None:
        if concerns_us():
            started.add(new)
        start(new)

    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(threading.Thread, "start", remembered))
        for name, replace in _DRIVERS.items():
            if (module := _module(name)) is not None:
                stack.enter_context(replace(module, ask))
        yield concerns_us


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _module(name: str) -> Any:  # noqa: ANN401 - a driver that may not be installed has no types here
    """Return a driver, or None where it is not installed or cannot be loaded."""
    with contextlib.suppress(ImportError):
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            return importlib.import_module(name)
    return None


def _psycopg(_: Any, ask: Decide) -> contextlib.AbstractContextManager[None]:  # noqa: ANN401 - as `_module`
    base: Any = psycopg.Connection.__mro__[1]  # BaseConnection, the async one's too
    original = vars(base)["_connect_gen"].__func__

    def connect(cls: type, /, conninfo: str = "", *arguments: object, **named: object) -> object:
        return original(cls, _changed(conninfo, ask), *arguments, **named)

    return _replaced(base, "_connect_gen", classmethod(connect))


def _psycopg2(module: Any, ask: Decide) -> contextlib.AbstractContextManager[None]:  # noqa: ANN401 - as `_module`
    original = module._connect  # noqa: SLF001 - psycopg2.connect() calls it, however that was imported

    def connect(dsn: str, *arguments: object, **named: object) -> object:
        return original(_changed(dsn, ask), *arguments, **named)

    return _replaced(module, "_connect", connect)


def _asyncpg(module: Any, ask: Decide) -> contextlib.AbstractContextManager[None]:  # noqa: ANN401 - as `_module`
    original = module._connect_addr  # noqa: SLF001 - every way to connect ends there, once for each host

    async def connect(*, addr: Any, params: Any, **named: Any) -> object:  # noqa: ANN401 - asyncpg's own
        if isinstance(addr, str):
            host, _, port = addr.rpartition("/.s.PGSQL.")
        else:
            host, port = addr[0], str(addr[1])
        changes = ask({"host": host, "port": port, "dbname": params.database or params.user})
        if changes:
            params = params._replace(database=changes["dbname"])
            host, port = changes.get("host", host), changes.get("port", port)
            addr = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
        return await original(addr=addr, params=params, **named)

    return _replaced(module, "_connect_addr", connect)


_DRIVERS: Mapping[str, Callable[[Any, Decide], contextlib.AbstractContextManager[None]]] = {
    "psycopg": _psycopg,
    "psycopg2": _psycopg2,
    "asyncpg.connect_utils": _asyncpg,
}


def _changed(conninfo: str, ask: Decide) -> str:
    """Return a connection string with the changes that are asked for."""
    changes = ask(_whole(conninfo))
    if "host" in changes:
        changes = {"hostaddr": "", **changes}
    return make_conninfo(conninfo, **changes) if changes else conninfo


def _whole(conninfo: str) -> dict[str, str]:
    """Return what a connection string says, and what libpq takes from the environment and of a service file."""
    given = {key: str(value) for key, value in conninfo_to_dict(conninfo).items() if value}
    before, service = os.environ.get("PGSERVICE"), given.get("service")
    if service:
        os.environ["PGSERVICE"] = service
    try:
        found = psycopg.pq.Conninfo.get_defaults()
    finally:
        if service:
            os.environ.pop("PGSERVICE") if before is None else os.environ.update(PGSERVICE=before)
    return {each.keyword.decode(): each.val.decode() for each in found if each.val} | given


def _servers(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each host and port that connection parameters mean, libpq's defaults included.

    Of a host with an address beside it (`hostaddr`) both count.
    """
    hosts, addresses, ports = (_listed(given.get(name)) for name in ("host", "hostaddr", "port"))
    hosts = hosts or ([] if addresses else [os.environ.get("PGHOST") or "localhost"])
    ports = ports or [os.environ.get("PGPORT") or "5432"]
    return [
        (host, ports[min(number, len(ports) - 1)]) for each in (hosts, addresses) for number, host in enumerate(each)
    ]


def _listed(value: object) -> list[str]:
    """Return the parts of a list as libpq writes it, or as SQLAlchemy hands it to a driver."""
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return str(value).split(",") if value else []


def _name(given: Mapping[str, Any]) -> str:
    name = given.get("dbname") or given.get("database") or os.environ.get("PGDATABASE") or given.get("user")
    return str(name or "")


@functools.cache
def _resolved(host: str) -> frozenset[str]:
    """Return the addresses of a host, all of this machine as one; none where the host is unknown."""
    try:
        return frozenset(map(_place, socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError):
        return frozenset()


def _place(found: tuple[Any, ...]) -> str:
    """Return an address; an address of this machine is one that a socket can be bound to."""
    family, _, _, _, place = found
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((place[0], 0, *place[2:]))
    except OSError:
        return str(place[0])
    return _HERE
