"""The next run of the tests ends what a killed one has left: its servers and its folder in memory."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests import servers

RUN = """
import subprocess, sys, time
from pathlib import Path
from tests import servers
folder = servers.folder(Path(sys.argv[1]))
server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", folder], start_new_session=True)
print(folder, server.pid, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def run(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    with subprocess.Popen([sys.executable, "-c", RUN, parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder, server = process.stdout.readline().split()
        try:
            yield process, Path(folder), int(server)
        finally:
            process.kill()
            if lives(int(server)):
                os.kill(int(server), signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for has no command line any more."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def test_its_servers_and_its_folder_are_ended_and_those_of_a_living_run_are_not(tmp_path: Path) -> None:
    with run(tmp_path) as (killed, left, server), run(tmp_path) as (_, kept, other_server):
        assert left.is_dir()
        assert lives(server)
        killed.kill()
        killed.wait()
        servers.folder(tmp_path)
        assert not left.exists()
        assert not lives(server)
        assert kept.is_dir()
        assert lives(other_server)
