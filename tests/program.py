"""A console script for shells: it asks the server of processes (tests/processes.py) for a process of its name.

It is run as `python -IS program.py ADDRESS NAME ARGUMENTS`, and imports next to nothing.
"""

import array
import json
import os
import socket
import sys


def main() -> int:
    """Return the exit code of the process."""
    address, *argv = sys.argv[1:]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {"argv": argv, "code": None, "cwd": os.getcwd(), "env": dict(os.environ), "terminal": False}  # noqa: PTH109 - costs an import
    text = json.dumps(request).encode() + b"\n"
    streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    connection.sendall(text[connection.sendmsg([text], streams) :])
    with connection.makefile("rb") as answer:
        answer.readline()  # the process's number
        code = int(answer.readline())
    return code if code >= 0 else 128 - code  # as a shell tells a signal


if __name__ == "__main__":
    sys.exit(main())
