import subprocess
import sys
from pathlib import Path

import pytest

import seedtool

ROOT = Path(__file__).resolve().parents[2]


def test_every_public_name_can_be_imported():
    for name in seedtool.__all__:
        assert getattr(seedtool, name) is not None


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError) as caught:
        _ = seedtool.seeed
    assert "'seeed'" in str(caught.value)


def test_importing_the_package_imports_nothing_heavy():
    code = "import seedtool, sys; print(sorted(name for name in sys.modules if name.startswith('seedtool')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['seedtool', 'seedtool.version']"


def test_the_version_is_that_of_the_package():
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == seedtool.__version__
