"""server, env, emulator: what runs in the background, and how other programs reach it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Unpack

import click

from seedtool import extras
from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.emulator.options import FOLDER, Options, rules, serve, serving_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from seedtool.settings import Settings
    from seedtool.workflows.servers import ServersStatus


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
@click.option("--state-dir", metavar="FOLDER", type=FOLDER, help="Where faces are kept [default: the project's].")
@serving_options
@functools.partial(common_options, anywhere=True)
def emulator(*, state_dir: Path | None, console: Console, settings: Settings, **options: Unpack[Options]) -> None:
    """Run the local Rekognition for other programs, until Ctrl+C ends it (exit code 0).

    Programs on this machine may use any credentials. If the project's emulator runs in the background, it is stopped
    first; this one has the same faces. The settings emulator_album and emulator_vision are the defaults of --album and
    --vision. docs/emulator.md explains how to use boto3, the AWS CLI and JavaScript with it.
    """
    extras.require("emulator")
    options["vision"] = options["vision"] or settings.emulator_vision
    if options["vision"] is not None:
        extras.require("vision", option="--vision")
    from seedtool.emulator import process
    from seedtool.workflows.face_service import emulator_dir

    folder = state_dir or emulator_dir(settings)
    options["album"] = options["album"] or settings.emulator_album
    try:
        access = rules(folder, options)
    except process.EmulatorError as error:
        raise UsageError(error.message, remedy=error.remedy) from error
    if process.stop(folder):
        console.note("stopped the emulator in the background; this one has its faces")

    def announce(endpoint: str, lines: list[str]) -> None:
        report = {"endpoint": endpoint, "state": str(folder)}
        console.report(report, lambda: [*lines, f"Its faces are in {folder}."], now=True)

    serve(folder, options, access, announce)
    console.note(f"stopped; the faces stay in {folder}")
