"""A small school that recipes fill."""

from pathlib import Path

import pytest

from seedtool.postgres.server import Target
from seedtool.settings import Settings, load
from tests.integration.generating.school import RECIPE, SCHEMA, School


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return load(tmp_path, environ={"HOME": str(tmp_path)})


@pytest.fixture
def school(project: Settings, database: Target) -> School:
    found = School(project, database)
    found.execute(SCHEMA)
    found.write(RECIPE)
    return found
