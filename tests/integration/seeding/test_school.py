"""This repository's own seeds, in its own schema."""

from collections.abc import Iterator

import psycopg
import pytest

from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.seeding.dump import dump
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed
from seedtool.seeding.profiles import load_profiles


@pytest.fixture
def school(schooled: Target) -> Iterator[psycopg.Connection]:
    with server.connect(schooled) as connection:
        yield connection


def everything(school, tables):
    with school.transaction():
        return {
            table: school.execute(
                f"SELECT to_jsonb(t) - 'created_at' - 'indexed_at' - 'marked_at' FROM {table} AS t ORDER BY 1"
            ).fetchall()
            for table in tables
        }


def test_the_school_is_seeded_again_without_a_change_and_dumped_without_a_loss(school, settings, tmp_path):
    sets = load_profiles(settings.seeds)["local"].sets
    fixtures = read_fixtures(settings.seeds, sets, settings.root)
    first = seed(school, fixtures, bindings=settings.faces)
    assert sum(table.inserted for table in first.tables) == first.rows > 500
    again = seed(school, fixtures, bindings=settings.faces)
    assert sum(table.unchanged for table in again.tables) == first.rows

    tables = [table.table for table in first.tables]
    before = everything(school, tables)
    dump(school, tables, tmp_path, "dumped", root=tmp_path, bindings=settings.faces)
    with school.transaction():
        school.execute(f"TRUNCATE {', '.join(tables)}, seedtool.ledger")
    seed(school, read_fixtures(tmp_path, ["dumped"], tmp_path), bindings=settings.faces)
    assert everything(school, tables) == before
