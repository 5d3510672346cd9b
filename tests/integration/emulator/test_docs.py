"""docs/emulator.md: each of its examples is run, in order, as a reader would."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
TEXT = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)


def blocks(language):
    return [content for kind, content in BLOCKS if kind == language]


def environment(home, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(home), "SEEDTOOL_HOME": str(home)} | more


class Emulator:
    """One started as the page says, on a free port instead of the page's."""

    def __init__(self, command, folder, home):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = str(probe.getsockname()[1])
        program, *words = command.replace("4566", self.port).split()
        # installed before its script was made, an environment has its module alone
        started = [sys.executable, "-m", "seedtool.emulator"] if program == "rekognition-standin" else [program]
        words = [*started, *words]
        with (home / "log").open("wb") as log:
            self.process = subprocess.Popen(words, cwd=folder, env=environment(home), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_seedtool/status", timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.URLError:
            return None

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader's folder, and what runs a block there with the stand-in listening."""
    folder, home = tmp_path_factory.mktemp("reader"), tmp_path_factory.mktemp("home")
    alone = Emulator(blocks("console")[0], folder, home)
    exports, *_ = blocks("shell")

    def run(language, content, node_modules=None):
        text = content.replace("4566", alone.port)
        if language == "javascript":
            (folder / "app.mjs").write_text(text)
            if not (folder / "node_modules").exists():
                (folder / "node_modules").symlink_to(node_modules / "node_modules")
            text = "node app.mjs"
        elif language == "python":
            (folder / "app.py").write_text(text)
            text = "python -W error app.py"
        script = f"{exports.replace('4566', alone.port)}\n{text}"
        command = ["bash", "-euc", script]
        done = subprocess.run(
            command, cwd=folder, env=environment(home), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{content}\n{done.stderr}"
        return done.stdout

    run("python", blocks("python")[0])  # the pictures
    run("python", blocks("python")[1])  # boto3
    yield run
    assert alone.end() == 0


def test_every_kind_of_block_is_known():
    assert {language for language, _ in BLOCKS} == {"console", "shell", "python", "javascript", "text"}
    assert [len(blocks(kind)) for kind in ("console", "shell", "python", "javascript")] == [2, 3, 3, 1]


def test_within_a_project(tmp_path):
    emulator = Emulator(blocks("console")[1], ROOT, tmp_path)
    state = Path(emulator.answers()["state"])
    assert emulator.end() == 0
    assert state.is_relative_to(tmp_path)
    assert (state / "faces.sqlite3").exists()


def test_the_clients(reader, node_modules):
    if not (BIN / "aws").exists():
        pytest.skip("awscli is not installed in this environment")
    if " " in str(BIN):
        pytest.skip("pip wrote awscli a script that cannot be run where its folder has a blank in its name")
    _, by_awscli, _ = blocks("shell")
    assert set(reader("shell", by_awscli).split()) >= {"student-001-photo-1", "student-001-photo-2"}
    (by_javascript,) = blocks("javascript")
    assert reader("javascript", by_javascript, node_modules).split() == ["student-001-photo-1", "student-001-photo-2"]


def test_faults_and_counters(reader):
    *_, by_curl = blocks("shell")
    printed = reader("shell", by_curl)
    assert '"tps":"published"' in printed
    assert '"counters"' in printed


def test_planting(reader):
    reader("python", blocks("python")[2] + 'assert plant(Path("faces"), "large", [Planted()]) == 1\n')
