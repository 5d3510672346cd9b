"""server, env, emulator: what runs in the background, and how other programs reach it."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from seedtool.emulator.signature import Key
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
        from seedtool.workflows.aws import ensure_emulator

        variables["AWS_ENDPOINT_URL_REKOGNITION"] = ensure_emulator(settings)
    if settings.collection:
        variables["AWS_REKOGNITION_COLLECTION"] = settings.collection
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # the lines are what a shell evaluates: --quiet takes notes away, not these
    Console(as_json=console.as_json, quiet=False).report(variables, lambda: lines)


@click.command(short_help="Run the local Rekognition.", context_settings=CONTEXT)
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 picks a free one."
)
@click.option("--state-dir", metavar="FOLDER", type=_FOLDER, help="Where faces are kept [default: the project's].")
@click.option("--photos", metavar="FOLDER", type=_FOLDER, help="Where S3Objects are read from: BUCKET/KEY below it.")
@click.option("--s3-endpoint", metavar="URL", help="The S3 endpoint that S3Objects are read from otherwise.")
@click.option("--faults", metavar="JSON", default="", help='Bad days, such as {"tps": "published", "lag": 2}.')
@click.option("--require-signature", is_flag=True, help="Verify signatures against AWS_ACCESS_KEY_ID and its secret.")
@functools.partial(common_options, anywhere=True)
def emulator(
    *,
    port: int,
    state_dir: Path | None,
    photos: Path | None,
    s3_endpoint: str | None,
    faults: str,
    require_signature: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Run the local Rekognition on a port, for other programs, until Ctrl+C ends it (exit code 0).

    With the project's own state, the one that commands started in the background is ended first: the faces
    are the same. docs/emulator.md tells how to point boto3, the AWS CLI and JavaScript at it.
    """
    from seedtool.emulator import process
    from seedtool.emulator import server as emulators
    from seedtool.workflows.aws import emulator_dir

    folder = state_dir or emulator_dir(settings)
    key = _key_of_environment() if require_signature else None
    if process.stop(folder):
        console.note("ended the emulator in the background; its faces are here now")

    def announce(endpoint: str) -> None:
        report = {"endpoint": endpoint, "state": str(folder)}
        console.report(report, lambda: [*emulators.announcement(endpoint), f"Its faces are in {folder}."])
        sys.stdout.flush()

    emulators.run(
        folder,
        port=port,
        photos=photos,
        s3_endpoint=s3_endpoint,
        faults=faults,
        required_key=key,
        announce=announce,
    )
    console.note(f"stopped; the faces stay in {folder}")


def _key_of_environment() -> Key:
    from seedtool.emulator.signature import Key

    try:
        return Key(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    except KeyError as error:
        raise UsageError(
            f"{error.args[0]} is not set, so there is no key to verify signatures against",
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or leave --require-signature out.",
        ) from error
