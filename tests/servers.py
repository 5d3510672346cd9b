"""Data folders for servers of tests: initdb runs once a worker, and a copy of what it made takes a fifth of its time."""

import functools
import subprocess
from pathlib import Path

from seedtool.postgres.embedded import EmbeddedServer


def prepare(state_dir: Path) -> None:
    """Put a data folder where the server of a project looks for its own; it starts as one that was made before."""
    made = _made(state_dir.parent / "made")
    state_dir.mkdir(parents=True, exist_ok=True)
    state_dir.chmod(0o711)  # as the server does it: its user passes through
    subprocess.run(["cp", "-a", made / "postgres", made / "password", state_dir], check=True)


@functools.cache
def _made(state_dir: Path) -> Path:
    server = EmbeddedServer(state_dir)
    server.start()
    server.stop()
    server.log.unlink()
    return state_dir
