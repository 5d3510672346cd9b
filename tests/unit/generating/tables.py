"""A catalog without a database."""

import numpy as np

from seedtool.generating.columns import Segment
from seedtool.postgres.catalog import Column, ForeignKey, Table, UniqueKey, ValueType


class NoDatabase:
    """Facts of a database in which no table has a row."""

    def segments(self, *_):
        return [Segment(0, 1)]

    def taken(self, *_):
        return frozenset()

    def moved(self, _table, _column, found):
        return np.array(found, dtype=np.int64)


def column(name, type_="text", *, not_null=True):
    return Column(
        name=name, type=type_, not_null=not_null, value=ValueType(kind="scalar", name=type_), default=None,
        default_has_effects=False, generated=False, identity="", is_text=type_ == "text", sequence=None, labels=(),
    )  # fmt: skip


def unique(*names, primary=False):
    return UniqueKey(
        name=f"{'_'.join(names)}_key", primary=primary, columns=names, expressions=names, predicate=None,
        immediate=True, nulls_distinct=True,
    )  # fmt: skip


def foreign_key(name, *, of, references):
    return ForeignKey(
        name=f"{name}_fkey", table=of, columns=(name,), references=references, referenced_columns=("id",),
        on_delete="no action", deferrable=False, match_full=False,
    )  # fmt: skip


def table(oid, name, columns, keys, foreign_keys=()):
    return Table(
        oid=oid, schema="public", name=name, kind="table", partitioned=False, plain=True, ancestors=(), triggers=(),
        rules=(), columns={each.name: each for each in columns}, keys=keys, checks=(), foreign_keys=foreign_keys,
    )  # fmt: skip
