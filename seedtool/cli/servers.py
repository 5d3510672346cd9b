"""server, env, emulator: what runs in the background, and how other programs reach it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool import extras
from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from seedtool.settings import Settings
    from seedtool.workflows.servers import ServersStatus

_FOLDER = click.Path(file_okay=False, path_type=Path)


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
    from seedtool.workflows.servers import start_server

    _report_status(start_server(port=port, settings=settings), console)


@server.command("stop", short_help="Stop the embedded server and the emulator.")
@common_options
def server_stop(*, console: Console, settings: Settings) -> None:
    """Stop the embedded server, that of tests, and the emulator. Data and faces stay."""
    from seedtool.workflows.servers import stop_servers

    stopped = stop_servers(settings=settings)
    ran = {"server": stopped.server, "emulator": stopped.emulator, "server of tests": stopped.tests}
    names = [name for name in ran if ran[name]]
    console.report(stopped, lambda: [f"stopped: {' and '.join(names)}" if names else "nothing was running"])


@server.command("status", short_help="Say what runs.")
@common_options
def server_status(*, console: Console, settings: Settings) -> int:
    """Say whether the embedded server and the emulator run, and where their state is.

    The exit code is 1 when the embedded server is stopped.
    """
    from seedtool.workflows.servers import servers_status

    status = servers_status(settings=settings)
    _report_status(status, console)
    return 0 if status.running or status.external else 1


def _report_status(status: ServersStatus, console: Console) -> None:
    def lines() -> list[str]:
        port = f" and 127.0.0.1:{status.port} (with a password)" if status.port else ""
        state = f"{'running' if status.running else 'stopped'}; socket in {status.socket}{port}"
        return [
            f"server    {'external: its owner starts and stops it' if status.external else state}",
            f"emulator  {status.emulator or 'stopped'}",
            *(["tests     running: the server of their own"] if status.tests else []),
            f"state     {status.state}",
        ]

    console.report(status, lines)


@click.command(short_help="Print how other programs reach the servers.", context_settings=CONTEXT)
@common_options
def env(*, console: Console, settings: Settings) -> None:
    """Print shell lines by which other programs reach the same database: eval "$(seedtool env)"."""
    import shlex

    from seedtool.workflows.servers import environment

    variables = environment(settings=settings)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # the lines are what a shell evaluates: --quiet takes notes away, not these
    console.report(variables, lambda: lines, always=True)


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
@click.option(
    "--album",
    metavar="FOLDER",
    type=_FOLDER,
    help="Labelled pictures to learn: copies and parts of them regain their names [default: emulator_album].",
)
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
    album: Path | None,
    faults: str,
    require_signature: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Run the local Rekognition for other programs, until Ctrl+C ends it (exit code 0).

    Programs on this machine may use any credentials. If the project's emulator runs in the background, it is stopped
    first; this one has the same faces. docs/emulator.md explains how to use boto3, the AWS CLI and JavaScript with it.
    """
    extras.require("emulator")
    from seedtool.emulator import process
    from seedtool.emulator import server as emulators
    from seedtool.emulator.access import access
    from seedtool.workflows.face_service import emulator_dir

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
        console.report(report, lambda: [*lines, f"Its faces are in {folder}."], now=True)

    emulators.run(
        folder,
        host=host,
        port=port,
        photos=photos,
        s3_endpoint=s3_endpoint,
        faults=faults,
        album=album or settings.emulator_album,
        access=rules,
        announce=announce,
    )
    console.note(f"stopped; the faces stay in {folder}")
