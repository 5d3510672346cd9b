"""The ready-made tests of pytest-alembic, on a fresh database each."""

import pytest
import sqlalchemy
from alembic.config import Config
from pytest_alembic.tests import (  # noqa: F401 - collected here: its own collector does not know pytest 9.2
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from pytest_alembic.tests.experimental import test_downgrade_leaves_no_trace  # noqa: F401
from sqlalchemy.pool import NullPool

from seedtool.postgres import server


@pytest.fixture
def alembic_config(settings) -> Config:
    return Config(str(settings.alembic_ini))


@pytest.fixture
def alembic_engine(database):
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: server.connect(database), poolclass=NullPool
    )
    yield engine
    engine.dispose()
