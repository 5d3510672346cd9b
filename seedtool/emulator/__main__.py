"""`rekognition-standin`: a local Amazon Rekognition in the foreground, until a signal ends it."""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from seedtool.emulator import process
from seedtool.emulator.options import FOLDER, Options, rules, serve, serving_options
from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Conformance(TypedDict):
    """The options of `conformance`."""

    live: bool
    endpoint_url: str | None
    region: str
    profile: str | None
    yes: bool
    out: Path


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state-dir", metavar="FOLDER", type=FOLDER, help="Where faces are kept; without it they end with the process."
)
@click.option("--state-key", is_flag=True, help="Accept only what the key in the state folder (emulator.key) signed.")
@serving_options
@click.pass_context
def standin(context: click.Context, *, state_dir: Path | None, state_key: bool, **options: Unpack[Options]) -> None:
    """Run a local Amazon Rekognition, until Ctrl+C ends it (exit code 0).

    It answers AWS clients over AWS's own protocol and needs no account. docs/emulator.md explains how to use boto3, the
    AWS CLI and JavaScript with it. Each option has a variable, such as REKOGNITION_STANDIN_PORT; where an option is
    repeatable, blanks stand between its values.
    """
    if context.invoked_subcommand is not None:
        return
    with tempfile.TemporaryDirectory(prefix="seedtool-emulator-") as temporary:
        folder = state_dir or Path(temporary)
        serve(folder, options, rules(folder, options, key=process.key(folder) if state_key else None))


@standin.command()
@click.argument("url", default=lambda: f"http://127.0.0.1:{os.environ.get(f'{process.VARIABLES}_PORT', '4566')}")
def health(url: str) -> None:
    """Say whether a stand-in answers at URL (exit code 0) or not (1).

    For containers: an image has this program, and need not have curl. URL is http://127.0.0.1:4566 by default, or has
    the port of REKOGNITION_STANDIN_PORT.
    """
    try:
        # no proxy of the environment stands between a program and its own machine
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url.rstrip('/')}/health", timeout=5) as answer:
            found = json.load(answer)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)  # of a URLError
        why = getattr(reason, "strerror", None) or reason
        raise EmulatorError(f"No stand-in answers at {url}: {why}.", "Start it, or name its address.") from error
    except http.client.HTTPException:  # its text may hold whatever was answered
        found = None
    if found != {"status": "running"}:
        raise EmulatorError(f"What answers at {url} is no stand-in.", "Name the address of the stand-in.")
    click.echo(f"{url} is running")


@standin.command()
@click.option("--live", is_flag=True, help="Play against AWS, in collections that are deleted again.")
@click.option("--endpoint-url", metavar="URL", help="Play against this endpoint.")
@click.option(
    "--region", metavar="NAME", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], default="us-east-1", show_default=True
)
@click.option("--profile", metavar="NAME", help="AWS profile for the credentials [default: the environment's].")
@click.option("--yes", is_flag=True, help="Do not ask whether it may cost what it says.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default="rekognition-conformance.json",
    show_default=True,
    help="File for the result.",
)
def conformance(**options: Unpack[Conformance]) -> int:
    """Compare the stand-in with AWS, answer by answer.

    It plays every operation against AWS and against the stand-in. Without --live and --endpoint-url a second stand-in
    takes AWS's place, and nothing leaves this machine. The exit code is 0 when the answers differ in nothing but what
    may differ, else 1.
    """
    from seedtool.emulator.conformance import command

    return command.run(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program as the command line says.

    Args:
        arguments: the command line without the program's name; None for this process's own.

    Returns:
        The exit code: 0 when a signal ended it, 1 when it could not start, 2 for a wrong command line; that of
        `conformance`.
    """
    try:
        return standin.main(arguments, standalone_mode=False, auto_envvar_prefix=process.VARIABLES) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except EmulatorError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"The package {error.name} is not installed.\nRun pip install 'seedtool[emulator]'\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
