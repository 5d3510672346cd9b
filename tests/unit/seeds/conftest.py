"""The committed school, read the plain way: no code of seedtool stands between the files and these tests."""

import csv
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

SEEDS = Path(__file__).parents[3] / "seeds"


@pytest.fixture(scope="session")
def seeds() -> Path:
    return SEEDS


@pytest.fixture(scope="session")
def school() -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((SEEDS / "local").iterdir()):
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                tables[path.stem] = [
                    {column: value or None for column, value in row.items()} for row in csv.DictReader(file)
                ]
        elif path.suffix == ".yaml":
            tables[path.stem] = yaml.safe_load(path.read_text(encoding="utf-8"))
        elif path.suffix == ".py":
            tables[path.stem] = list(runpy.run_path(str(path))["rows"]())
    return tables
