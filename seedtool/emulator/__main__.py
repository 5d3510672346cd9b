"""A local Amazon Rekognition, in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from seedtool.emulator.signature import Key


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
    parser.add_argument("--faults", default="", help='faults as JSON, such as {"tps": "published"}')
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="accept only requests that AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment signed",
    )
    options = parser.parse_args(arguments)

    from seedtool.emulator import server

    try:
        with tempfile.TemporaryDirectory(prefix="seedtool-emulator-") as temporary:
            server.run(
                options.state_dir or Path(temporary),
                host=options.host,
                port=options.port,
                photos=options.photos,
                s3_endpoint=options.s3_endpoint,
                faults=options.faults,
                required_key=_required_key() if options.require_signature else None,
            )
    except EmulatorError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    return 0


def _required_key() -> Key:
    from seedtool.emulator.signature import Key

    try:
        return Key(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    except KeyError as error:
        raise EmulatorError(
            f"{error.args[0]} is not set, so signatures cannot be verified.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or omit --require-signature.",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
