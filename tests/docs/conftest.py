import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedtool.settings import load
from tests import processes, servers

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def checkout(home, tmp_path_factory):
    """A copy of what a command reads in this repository, with servers of its own."""
    folder = tmp_path_factory.mktemp("checkout") / "seedtool"
    folder.mkdir()
    for name in ("pyproject.toml", "alembic.ini"):
        shutil.copy(ROOT / name, folder)
    for name in ("migrations", "seeds", "staging"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    servers.prepare(load(folder).state_dir)
    yield folder
    assert processes.run("seedtool", "server", "stop", "-q", cwd=folder).returncode == 0


@pytest.fixture(scope="module")
def shell(checkout, tmp_path_factory):
    """Runs a line as a user's shell would, with seedtool on PATH; returns what it printed on stdout."""
    programs = tmp_path_factory.mktemp("programs")
    processes.programs(programs)

    def run(line):
        path = os.pathsep.join([str(programs), str(BIN), os.environ["PATH"]])
        environ = {**os.environ, "PATH": path, "NO_COLOR": "1"}
        done = subprocess.run(
            ["bash", "-ec", line], cwd=checkout, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr}{done.stdout}"
        return done.stdout

    return run
