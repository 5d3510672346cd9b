"""The reference schema as SQLAlchemy models: Alembic's `target_metadata`.

Columns stand in the order in which the revisions made them, so that a database built from these models and one built
from the revisions have equal catalogs; tests/integration/migrations/test_catalog.py proves it.
"""

from . import photos, school  # noqa: F401 -- what they declare is in Base's metadata
from .base import Base

__all__ = ["Base"]
