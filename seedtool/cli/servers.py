"""server, env, emulator: what runs in the background, and how other programs reach it."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from seedtool.postgres.embedded import EmbeddedServer
    from seedtool.settings import Settings

_FOLDER = click.Path(file_okay=False, path_type=Path)


def _embedded(settings: Settings) -> EmbeddedServer:
    if settings.database_url is not None:
        origin = settings.origins.get("database_url", "settings")
        raise UsageError(
            f"this project uses an external server (DATABASE_URL, from {origin})",
            remedy="Unset it to use the embedded server; an external one is started and stopped by its owner.",
        )
    from seedtool.postgres.embedded import EmbeddedServer

    return EmbeddedServer(settings.state_dir)


@click.group(short_help="Start and stop the embedded PostgreSQL.", context_settings=CONTEXT)
def server() -> None:
    """Start and stop the embedded PostgreSQL. Commands start it when they need it, and leave it running."""


@server.command("start", short_help="Start the embedded server.")
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65535), help="Listen on this port of 127.0.0.1 too, with a password."
)
@common_options
def server_start(*, port: int | None, console: Console, settings: Settings) -> None:
    """Start the embedded server. With --port, a server that runs is started again to listen there."""
    embedded = _embedded(settings)
    if port is not None and embedded.is_running() and embedded.tcp_port() != port:
        embedded.stop()
    embedded.start(tcp_port=port)
    _report_status(embedded, console, settings)


@server.command("stop", short_help="Stop the embedded server and the emulator.")
@common_options
def server_stop(*, console: Console, settings: Settings) -> None:
    """Stop the embedded server and the emulator. Data and faces stay."""
    from seedtool.emulator import process
    from seedtool.workflows.aws import emulator_dir

    external = settings.database_url is not None  # then only the emulator is ours to stop
    stopped = {
        "server": not external and _embedded(settings).stop(),
        "emulator": process.stop(emulator_dir(settings)),
    }
    names = [name for name, was_running in stopped.items() if was_running]
    console.report(stopped, lambda: [f"stopped: {' and '.join(names)}" if names else "nothing was running"])


@server.command("status", short_help="Say what runs.")
@common_options
def server_status(*, console: Console, settings: Settings) -> None:
    """Say whether the embedded server and the emulator run, and where their state is."""
    _report_status(None if settings.database_url is not None else _embedded(settings), console, settings)


def _report_status(embedded: EmbeddedServer | None, console: Console, settings: Settings) -> None:
    """Report on the embedded server, or that there is none because an external one is used."""
    from seedtool.emulator import process
    from seedtool.workflows.aws import emulator_dir

    running = embedded is not None and embedded.is_running()
    report = {
        "external": embedded is None,
        "running": running,
        "socket": str(embedded.socket_dir) if embedded else None,
        "port": embedded.tcp_port() if embedded and running else None,
        "emulator": process.find(emulator_dir(settings)),
        "state": str(settings.state_dir),
    }

    def lines() -> list[str]:
        port = f" and 127.0.0.1:{report['port']} (with a password)" if report["port"] else ""
        state = f"{'running' if running else 'stopped'}; socket in {report['socket']}{port}"
        return [
            f"server    {state if embedded else 'external: its owner starts and stops it'}",
            f"emulator  {report['emulator'] or 'stopped'}",
            f"state     {report['state']}",
        ]

    console.report(report, lines)


@click.command(short_help="Print how other programs reach the servers.", context_settings=CONTEXT)
@common_options
def env(*, console: Console, settings: Settings) -> None:
    """Print shell lines by which other programs reach the same database: eval "$(seedtool env)"."""
    import shlex
    from urllib.parse import quote

    from seedtool.postgres import server as servers

    target = servers.find(settings)
    given = settings.database_url or ""
    url = f"postgresql://{given.split('://', 1)[1]}" if "://" in given else target.url.replace("+psycopg", "", 1)
    variables = {"DATABASE_URL": url}
    embedded = target.embedded
    if embedded is not None:
        servers.connect(target, target.maintenance).close()
        port = embedded.tcp_port()
        if port is not None:
            name = quote(target.name, safe="")
            variables["DATABASE_URL"] = f"postgresql://postgres:{embedded.password}@127.0.0.1:{port}/{name}"
    if settings.aws == "embedded":
        from seedtool.workflows.aws import emulator_key, ensure_emulator

        variables["AWS_ENDPOINT_URL_REKOGNITION"] = ensure_emulator(settings)
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"] = emulator_key(settings)
    if settings.collection:
        variables["AWS_REKOGNITION_COLLECTION"] = settings.collection
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # the lines are what a shell evaluates: --quiet takes notes away, not these
    Console(as_json=console.as_json, quiet=False).report(variables, lambda: lines)


@click.command(short_help="Run the local Rekognition.", context_settings=CONTEXT)
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one]."
)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Address to listen on [default: 127.0.0.1].")
@click.option("--host-name", metavar="NAME", multiple=True, help="One more name that clients may use; repeatable.")
@click.option("--cors", metavar="ORIGIN", multiple=True, help="Answer web pages of this origin; repeatable.")
@click.option("--admin-token", metavar="TOKEN", help="Let other machines that send TOKEN use /_seedtool.")
@click.option("--state-dir", metavar="FOLDER", type=_FOLDER, help="Where faces are kept [default: the project's].")
@click.option("--photos", metavar="FOLDER", type=_FOLDER, help="Folder that S3Objects are read from, as BUCKET/KEY.")
@click.option("--s3-endpoint", metavar="URL", help="S3 endpoint that S3Objects are read from.")
@click.option("--faults", metavar="JSON", default="", help='Faults, such as {"tps": "published", "lag": 2}.')
@click.option("--require-signature", is_flag=True, help="Accept only what AWS_ACCESS_KEY_ID and its secret signed.")
@functools.partial(common_options, anywhere=True)
def emulator(
    *,
    port: int,
    host: str,
    host_name: tuple[str, ...],
    cors: tuple[str, ...],
    admin_token: str | None,
    state_dir: Path | None,
    photos: Path | None,
    s3_endpoint: str | None,
    faults: str,
    require_signature: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Run the local Rekognition for other programs, until Ctrl+C ends it (exit code 0).

    Programs on this machine may use any credentials. If the project's emulator runs in the background, it is stopped
    first; this one has the same faces. docs/emulator.md explains how to use boto3, the AWS CLI and JavaScript with it.
    """
    from seedtool.emulator import process
    from seedtool.emulator import server as emulators
    from seedtool.emulator.access import access
    from seedtool.workflows.aws import emulator_dir

    folder = state_dir or emulator_dir(settings)
    try:
        key = process.key_of_environment() if require_signature else None
        rules = access(folder, host=host, host_names=host_name, origins=cors, admin_token=admin_token, key=key)
    except process.EmulatorError as error:
        raise UsageError(error.message, remedy=error.remedy) from error
    if process.stop(folder):
        console.note("stopped the emulator in the background; this one has its faces")

    def announce(endpoint: str) -> None:
        report = {"endpoint": endpoint, "state": str(folder)}
        lines = emulators.announcement(endpoint, s3_objects=bool(photos or s3_endpoint))
        console.report(report, lambda: [*lines, f"Its faces are in {folder}."])
        sys.stdout.flush()

    emulators.run(
        folder,
        host=host,
        port=port,
        photos=photos,
        s3_endpoint=s3_endpoint,
        faults=faults,
        access=rules,
        announce=announce,
    )
    console.note(f"stopped; the faces stay in {folder}")
