"""docs/guides/django.md: its settings, commands and tests work in a Django project."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from seedtool.settings import load
from tests import servers

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/django.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def bakery(tmp_path):
    """The project, which knows nothing of seedtool."""
    root = tmp_path / "bakery"
    shutil.copytree(ROOT / "tests/projects/bakery", root, ignore=shutil.ignore_patterns("__pycache__"))
    servers.prepare(load(root).state_dir)
    yield root
    subprocess.run([BIN / "seedtool", "server", "stop", "-q"], cwd=root, check=True)


def test_the_guide_leads_a_django_project_to_its_tests(bakery):
    pytest.importorskip("pytest_django", reason="the dev dependencies have it")
    for block in blocks("python"):
        name = block.partition("\n")[0].removeprefix("# ")
        if name == "settings.py":
            (there,) = list(bakery.glob("*/settings.py"))
            assert block.partition("_ADDRESS")[2] in there.read_text(encoding="utf-8")
        else:
            (bakery / name).write_text(block, encoding="utf-8")
    (ini,) = blocks("ini")
    (bakery / "pytest.ini").write_text(ini, encoding="utf-8")
    environ = {
        **os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "seedtool.pytest_plugin,pytest_django.plugin",
    }  # fmt: skip
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    script = "\n".join([*lines, "pytest -q"])
    done = subprocess.run(["bash", "-ec", script], cwd=bakery, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b2 passed", done.stdout)
    written = tomllib.loads((bakery / "pyproject.toml").read_text(encoding="utf-8"))
    assert written == tomllib.loads(blocks("toml")[0])
