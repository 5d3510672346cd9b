"""`python -m seedtool.emulator`: the stand-in in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from seedtool.emulator.process import EmulatorError


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve.

    Args:
        arguments: the command line without the program's name; the process's own when left out.

    Returns:
        The exit code: 0 after a signal ended the server, 1 when it could not start.
    """
    parser = argparse.ArgumentParser(prog="python -m seedtool.emulator", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where faces are kept between runs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback unless told)")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    options = parser.parse_args(arguments)

    from seedtool.emulator import server

    try:
        server.run(options.state_dir, host=options.host, port=options.port)
    except EmulatorError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
