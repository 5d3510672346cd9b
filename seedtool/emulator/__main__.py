"""A local Amazon Rekognition, in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from seedtool.emulator import process
from seedtool.emulator.process import EmulatorError, Key


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator as the command line says.

    Args:
        arguments: the command line without the program's name; None for this process's own.

    Returns:
        The exit code: 0 when a signal ended it, 1 when it could not start.
    """
    parser = argparse.ArgumentParser(prog="python -m seedtool.emulator", description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="where faces are kept; without it they end with the process")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [default: 127.0.0.1]")
    parser.add_argument("--port", type=int, default=0, help="port to listen on [default: a free one]")
    parser.add_argument("--photos", type=Path, help="folder that S3Objects are read from, as BUCKET/KEY")
    parser.add_argument("--s3-endpoint", help="URL of an S3 endpoint that S3Objects are read from")
    parser.add_argument("--album", type=Path, help="folder of labelled pictures to learn: copies regain their names")
    parser.add_argument("--faults", default="", help='faults as JSON, such as {"tps": "published"}')
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="accept only requests that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment signed",
    )
    parser.add_argument(
        "--state-key",
        action="store_true",
        help="accept only requests that the key in the state directory (emulator.key) signed",
    )
    parser.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="one more name that clients may use; repeatable",
    )
    parser.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="answer web pages of this origin; repeatable"
    )
    parser.add_argument(
        "--admin-token", metavar="TOKEN", help="let clients on other machines that send TOKEN use /_seedtool"
    )
    options = parser.parse_args(arguments)

    try:
        from seedtool.emulator import server
        from seedtool.emulator.access import access
    except ModuleNotFoundError as error:
        sys.stderr.write(f"The package {error.name} is not installed.\nRun pip install 'seedtool[emulator]'\n")
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="seedtool-emulator-") as temporary:
            state_dir = options.state_dir or Path(temporary)
            server.run(
                state_dir,
                host=options.host,
                port=options.port,
                photos=options.photos,
                s3_endpoint=options.s3_endpoint,
                faults=options.faults,
                album=options.album,
                access=access(
                    state_dir,
                    host=options.host,
                    host_names=options.host_name,
                    origins=options.cors,
                    admin_token=options.admin_token,
                    key=_key(options, state_dir),
                ),
            )
    except EmulatorError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    return 0


def _key(options: argparse.Namespace, state_dir: Path) -> Key | None:
    if options.require_signature:
        return process.key_of_environment()
    return process.key(state_dir) if options.state_key else None


if __name__ == "__main__":
    sys.exit(main())
