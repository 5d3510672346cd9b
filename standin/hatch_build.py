"""Makes the package `rekognition_standin` from `seedtool.emulator`, which imports nothing else but locks of files.

The files are those of seedtool with the package's name changed, so that both packages may be installed side by side.
Rekognition's service model is taken out of botocore, which has those of 400 services.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "rekognition_standin"
_NAMES = (
    ("from seedtool import locks", f"from {PACKAGE} import locks"),
    ("seedtool.emulator", PACKAGE),
    ("pip install 'seedtool[emulator]'", "pip install 'rekognition-standin[aws]'"),
    ("pip install 'seedtool[", "pip install 'rekognition-standin["),
)


def lay_out(seedtool: Path, model: Path, package: Path) -> None:
    """Write the package.

    Args:
        seedtool: the folder of the package seedtool.
        model: Rekognition's service model as botocore has it, `service-2.json.gz`.
        package: the folder to write, which is not there.

    Raises:
        ValueError: a file imports something else of seedtool.
    """
    shutil.copytree(seedtool / "emulator", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(seedtool / "locks.py", package)
    shutil.copy(seedtool.parent / "LICENSE", package)  # of the service model, too
    shutil.copy(model, package)
    (package / "py.typed").touch()
    for file in package.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for ours, its in _NAMES:
            text = text.replace(ours, its)
        if re.search(r"^\s*(from|import) seedtool\b", text, flags=re.MULTILINE):
            raise ValueError(f"{file.relative_to(package)} imports a part of seedtool that the package does not have")
        file.write_text(text, encoding="utf-8")


class Package(BuildHookInterface):  # type: ignore[type-arg] # generic in what we do not use
    """Gives the wheel its files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's form
        """Lay the package out in a temporary folder."""
        import botocore

        self._folder = tempfile.TemporaryDirectory()
        package = Path(self._folder.name, PACKAGE)
        data = Path(botocore.__file__).parent / "data" / "rekognition"
        (model,) = data.glob("*/service-2.json.gz")
        lay_out(Path(self.root).parent / "seedtool", model, package)
        build_data["force_include"][str(package)] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        self._folder.cleanup()
