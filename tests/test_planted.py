"""The suite catches faults: each fault of planted.toml is planted in a copy of the program, and its test has to fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAULTS = tomllib.loads((ROOT / "tests" / "planted.toml").read_text(encoding="utf-8"))["fault"]
faults = pytest.mark.parametrize("fault", FAULTS, ids=[each["what"] for each in FAULTS])


@faults
def test_it_can_be_planted(fault):
    assert (ROOT / fault["file"]).read_text(encoding="utf-8").count(fault["old"]) == 1
    path, *test = fault["test"].split("::")
    assert all(f" {name}" in (ROOT / path).read_text(encoding="utf-8") for name in test)


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    """A copy of the program and its tests, without what is made from them."""
    folder = tmp_path_factory.mktemp("planted") / "copy"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "benchmarks"))
    return folder


@pytest.mark.torture
@pytest.mark.timeout(600)
@faults
def test_it_is_caught(fault, copy):
    planted = copy / fault["file"]
    whole = planted.read_text(encoding="utf-8")
    planted.write_text(whole.replace(fault["old"], fault["new"]), encoding="utf-8")
    try:
        # the copy comes before an installed checkout; no byte code, for the file changes within a second
        environ = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", fault["test"]]
        done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, check=False)
    finally:
        planted.write_text(whole, encoding="utf-8")
    assert done.returncode == 1, done.stdout[-2000:]  # the tests could be run
    assert "1 failed" in done.stdout.splitlines()[-1], done.stdout[-2000:]
