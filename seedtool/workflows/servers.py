"""The servers that run in the background for a project: the embedded PostgreSQL and the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from seedtool import extras
from seedtool.errors import UsageError
from seedtool.postgres.embedded import EmbeddedServer
from seedtool.workflows.face_service import emulator_key, ensure_emulator, find_emulator, stop_emulator
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from seedtool.settings import Settings


class ServersStatus(msgspec.Struct, kw_only=True):
    """What runs, and where.

    Args:
        external: the project's database is on a server that its owner starts and stops.
        running: the embedded server runs.
        socket: folder of the embedded server's socket; None for an external one.
        port: the port of 127.0.0.1 that the embedded server listens on; None if it listens on its socket only.
        emulator: the emulator's endpoint; None if it does not run.
        state: the folder that both keep their data in.
        tests: the embedded server that tests have for themselves (the setting `test_server`) runs.
    """

    external: bool
    running: bool
    socket: str | None
    port: int | None
    emulator: str | None
    state: str
    tests: bool


class Stopped(msgspec.Struct, kw_only=True):
    """Which servers ran and were stopped."""

    server: bool
    emulator: bool
    tests: bool


def start_server(*, port: int | None = None, settings: Settings | None = None) -> ServersStatus:
    """Start the embedded PostgreSQL.

    Args:
        port: listen on this port of 127.0.0.1 too, with a password; a server that runs is started again for it.
        settings: the project's settings; None finds them from the working folder.

    Raises:
        UsageError: the project uses an external server.
    """
    settings = project_settings(settings)
    embedded = _embedded(settings)
    if port is not None and embedded.is_running() and embedded.tcp_port() != port:
        embedded.stop()
    embedded.start(tcp_port=port)
    return servers_status(settings=settings)


def stop_servers(*, settings: Settings | None = None) -> Stopped:
    """Stop the embedded PostgreSQL and the emulator. Data and faces stay. An external server is left alone."""
    settings = project_settings(settings)
    return Stopped(
        server=settings.database_url is None and _embedded(settings).stop(),
        emulator=stop_emulator(settings),
        tests=_of_tests(settings).stop(),
    )


def servers_status(*, settings: Settings | None = None) -> ServersStatus:
    """Say whether the embedded PostgreSQL and the emulator run, and where their state is."""
    settings = project_settings(settings)
    embedded = None if settings.database_url is not None else _embedded(settings)
    running = embedded is not None and embedded.is_running()
    return ServersStatus(
        external=embedded is None,
        running=running,
        socket=str(embedded.socket_dir) if embedded else None,
        port=embedded.tcp_port() if embedded and running else None,
        emulator=find_emulator(settings),
        state=str(settings.state_dir),
        tests=_of_tests(settings).is_running(),
    )


def environment(*, settings: Settings | None = None) -> dict[str, str]:
    """Return the variables by which other programs reach the same database and faces. Start what it takes."""
    from seedtool.postgres import server  # it imports psycopg, which the other functions do without

    settings = project_settings(settings)
    target = server.find(settings)
    given = settings.database_url or ""
    url = server.url_for_libpq(given) if "://" in given else target.url.replace("+psycopg", "", 1)
    variables = {"DATABASE_URL": url}
    embedded = target.embedded
    if embedded is not None:
        server.connect(target, target.maintenance).close()
        port = embedded.tcp_port()
        if port is not None:
            name = quote(target.name, safe="")
            variables["DATABASE_URL"] = f"postgresql://postgres:{embedded.password}@127.0.0.1:{port}/{name}"
    # a project without faces does without the emulator's packages
    if settings.aws == "embedded" and (settings.faces or extras.installed("emulator")):
        variables["AWS_ENDPOINT_URL_REKOGNITION"] = ensure_emulator(settings)
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"] = emulator_key(settings)
    if settings.collection:
        variables["AWS_REKOGNITION_COLLECTION"] = settings.collection
    return variables


def _of_tests(settings: Settings) -> EmbeddedServer:
    return EmbeddedServer(settings.test_server_dir, durable=False)


def _embedded(settings: Settings) -> EmbeddedServer:
    if settings.database_url is not None:
        origin = settings.origins.get("database_url", "settings")
        raise UsageError(
            f"this project uses an external server: database_url is set (from {origin})",
            remedy="Unset it to use the embedded server. The owner of an external server starts and stops it.",
            setting="database_url",
            origin=origin,
        )
    return EmbeddedServer(settings.state_dir)
