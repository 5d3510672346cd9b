"""A wrong copy is found out beside its source, and a masked one is not accused."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from seedtool.postgres import server
from seedtool.postgres.server import Target
from tests.integration.refreshing import proof_pair
from tests.integration.refreshing.proof_pair import Pair, said


@pytest.fixture(scope="module")
def pair(target: Target) -> Iterator[Pair]:
    source, copy = (proof_pair.create(target, f"proof_{name}") for name in ("source", "copy"))
    for each, seed in ((source, "production"), (copy, "first")):
        with server.connect(each) as connection:
            connection.execute(proof_pair.SCHEMA)
            proof_pair.fill(connection, seed)
    yield Pair(source, copy)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        for each in (source, copy):
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each.name)))


def test_a_masked_copy_whose_pools_hold_the_sources_own_names_is_clean(pair: Pair) -> None:
    proof = pair.prove()

    assert proof.holds, said(proof)
    assert proof.values > 10_000


def test_values_of_the_source_are_found_in_text_columns(pair: Pair) -> None:
    with server.connect(pair.copy) as connection:
        connection.execute("UPDATE events SET note = 'write to PERSONA17@liceo.cl' WHERE id = 3")
        connection.commit()
        proof = pair.prove()
        connection.execute("UPDATE events SET note = 'the bus was late' WHERE id = 3")

    assert said(proof) == [("leak", "events", "note")]


def test_a_table_that_lacks_rows_is_found(pair: Pair) -> None:
    assert pair.prove(rows={("public", "settings"): 3}).findings[0].kind == "count"
    assert pair.prove(rows={("public", "settings"): None}).holds
