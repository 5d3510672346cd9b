"""The layer of a masked copy: schema, masked rows, keys, and the proof, in a database that nobody else knows.

What fails before the seal leaves the target as it is: the half-built database is dropped. So nothing unproven is ever
swapped in, and nothing raw ever written: rows are masked in this process, between the two COPYs.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import PolicyError, ProofFailed, RefreshError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.psycopg_errors import reason, translated
from seedtool.refreshing import audit
from seedtool.refreshing.check import OWN, Shape, name_of
from seedtool.refreshing.policy import TableName, script
from seedtool.refreshing.report import Proven, chosen, table_reports
from seedtool.resetting.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedtool.postgres.catalog import Table
    from seedtool.postgres.server import Target
    from seedtool.refreshing.masks import Mask
    from seedtool.refreshing.policy import Policy
    from seedtool.refreshing.proof import Finding
    from seedtool.refreshing.reindexing import Chosen
    from seedtool.refreshing.report import Report, TableReport
    from seedtool.refreshing.source import Source
    from seedtool.refreshing.subset import Places
    from seedtool.refreshing.transfer import TableCopy
    from seedtool.settings import Settings

STEP = "refresh"


class Job(NamedTuple):
    """What a masked copy is made of.

    Args:
        source: the source, in its snapshot.
        shape: its tables.
        policy: the policy, which fits them.
        masks: the mask of each masked column.
        key: the id of the masks' key.
        settings: the project's.
        report: what is known of the run before it begins.
        target: the database that the copy will replace.
    """

    source: Source
    shape: Shape
    policy: Policy
    masks: Mapping[tuple[TableName, str], Mask]
    key: str
    settings: Settings
    report: Report
    target: Target


class MaskedCopy(Layer):
    """A masked copy of another database.

    Args:
        job: what it is made of.
        listener: hears of the steps and how much is done.

    Attributes:
        report: what was done, as far as it went.
        seconds: the time of each step that has ended.
        photos: the photos to index once the copy is in place, where the policy names some.
    """

    step: ClassVar[str] = STEP
    in_place: ClassVar[bool] = False

    def __init__(self, job: Job, listener: Listener = SILENT) -> None:
        self._job = job
        self._listener = listener
        self._fingerprint = ""
        self.seconds: dict[str, float] = {}
        self.report = job.report
        self.notes: list[str] = []
        self.photos: list[Chosen] = []

    @property
    def purpose(self) -> str:
        """What the layer is, in words."""
        return f"masked copy of {self._job.source.target.name}"

    def fingerprint(self, server: Mapping[str, str]) -> str:
        """Return the digest of policy, schema, key's id and snapshot: no two runs have the same."""
        job = self._job
        parts = {
            "policy": job.policy.hash,
            "after": [hashlib.sha256(file.read_bytes()).hexdigest() for file in job.policy.after],
            "schema": _digest_of_schema(job.shape),
            "key": job.key,
            "source": str(job.source.target),
            "snapshot": job.source.snapshot,
            "began": job.report.began,
            "server": server,
        }
        self._fingerprint = hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
        self._server = digest_of_server(server)
        return self._fingerprint

    def build(self, database: Target) -> Mapping[str, object]:
        """Copy, mask and prove; returns what a later run needs to use the copy again.

        Raises:
            ProofFailed: something is in the copy that must not be, or is not as it must be.
            DatabaseError: the source was lost, or the copy cannot be made.
        """
        from seedtool.refreshing import schema, transfer

        job = self._job
        with schema.dumped(job.source, database) as dump:
            with self._timed("schema"):
                schema.restore(dump, "pre-data", database)
                audit.prepare(database)
            with self._timed("copy"):
                copied = transfer.copy(
                    job.source,
                    database,
                    list(self._copies()),
                    streams_at_once=job.settings.refresh.jobs,
                    listener=self._listener,
                )
            self._note_tables(self._gathered(copied))
            with self._timed("sequences"):
                self.notes += schema.move_sequences(job.source, database)
            if job.policy.large_objects == "copy":
                with self._timed("large objects"):
                    schema.copy_large_objects(job.source, database)
            with self._timed("keys"):
                schema.restore(dump, "post-data", database)
                schema.finish(job.source, dump, database)
        if job.policy.reindex is not None:
            from seedtool.refreshing import reindexing

            binding = reindexing.binding_of(job.settings)
            self.photos = reindexing.choose(job.source, job.shape, job.policy, job.masks, binding)
        structure = self._compare_structure(database)
        with self._timed("after"):
            self._after(database)
        with self._timed("proof"):
            proof = self._prove(database, structure)
        self.report = msgspec.structs.replace(
            self.report, proof=proof, seconds=dict(self.seconds), notes=(*self.report.notes, *self.notes)
        )
        if proof.findings:
            self.report = msgspec.structs.replace(self.report, outcome="refused by the proof")
            raise failed(proof)
        audit.write(database, self.report, before=job.target)
        return {
            "masked": self._fingerprint,
            "server": self._server,
            "policy": job.policy.hash,
            "key": job.key,
            "proof": job.settings.refresh.proof,
            "source": job.source.target.name,
            "rows": self.report.rows,
        }

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        self._listener.step(step)
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(time.monotonic() - started, 3)

    def _copies(self) -> Iterator[TableCopy]:
        """Yield what is copied of each table that holds rows itself; a partition follows its partitioned table."""
        from seedtool.refreshing.transfer import TableCopy

        job = self._job
        places = self._places()
        for table in job.shape.catalog.tables.values():
            root = job.shape.root(table)
            if table.kind != "table" or table.partitioned or not job.shape.has_rows_of_its_own(root):
                continue
            if chosen(job.policy, root) == "no rows":
                continue
            masks = {name: mask for name in table.columns if (mask := job.masks.get((name_of(root), name))) is not None}
            yield TableCopy(
                table=table,
                masks=masks,
                subjects={name: mask.subject for name, mask in masks.items() if mask.subject is not None},
                places=places.get(table.oid),
            )

    def _places(self) -> Mapping[int, Places | None]:
        """Return which rows are copied, by the oid of their table, where not all of each are."""
        from seedtool.refreshing import subset

        policy, shape = self._job.policy, self._job.shape
        drawn = any(isinstance(each.rows, Fraction) for each in policy.tables.values())
        if policy.subset is None and not drawn:
            return {}
        by_name = {name_of(table): table for table in shape.catalog.tables.values()}
        rows: dict[int, Any] = {
            by_name[name].oid: each.rows for name, each in policy.tables.items() if each.rows is not None
        }
        rows |= {by_name[name].oid: "none" for name in policy.empty}
        children = policy.subset.children if policy.subset is not None else None
        return subset.choose(
            self._job.source,
            rows,
            [
                subset.Root(table=by_name[root.table], where=root.where)
                for root in (policy.subset.roots if policy.subset is not None else ())
            ],
            children=None if children is None else [by_name[name].oid for name in children],
            virtual=[
                subset.Reference(
                    by_name[key.table].oid,
                    key.columns,
                    by_name[key.references].oid,
                    key.referenced_columns,
                    key.where,
                    f"virtual_keys in line {key.line}",
                )
                for key in policy.virtual_keys
            ],
        )

    def _gathered(self, copied: list[Any]) -> dict[tuple[str, str], Any]:
        """Add what was copied of partitions up, to what was copied of their table."""
        job = self._job
        by_name = {name_of(table): job.shape.root(table) for table in job.shape.catalog.tables.values()}
        found: dict[tuple[str, str], Any] = {}
        for each in copied:
            root = name_of(by_name[TableName(each.schema, each.name)])
            before = found.get(root)
            found[root] = (
                each
                if before is None
                else msgspec.structs.replace(
                    before,
                    rows=before.rows + each.rows,
                    bytes=before.bytes + each.bytes,
                    seconds=before.seconds + each.seconds,
                )
            )
        return found

    def _note_tables(self, copied: Mapping[tuple[str, str], Any]) -> None:
        tables: list[TableReport] = table_reports(self._job.shape, self._job.policy, copied)
        self.report = msgspec.structs.replace(self.report, tables=tuple(tables))

    def _after(self, database: Target) -> None:
        """Run the policy's SQL and empty its tables, in one transaction."""
        policy = self._job.policy
        with server.connect(database, application="seedtool refresh") as connection:
            for file in policy.after:
                try:
                    connection.execute(script(file))
                except psycopg.Error as error:
                    raise PolicyError(
                        f"{file.name}: {reason(error)}",
                        remedy="Correct the file. The target is as it was.",
                        file=file.name,
                        code=error.sqlstate,
                    ) from error
            if policy.empty:
                names = sql.SQL(", ").join(sql.Identifier(*name) for name in policy.empty)
                with translated("the tables of empty cannot be emptied"):
                    connection.execute(sql.SQL("TRUNCATE {}").format(names))

    def _compare_structure(self, database: Target) -> tuple[Finding, ...]:
        """Let the proof compare the copy's catalog, before SQL of the project changes what it means to."""
        from seedtool.refreshing.proof import Given, compare_structure

        job = self._job
        return compare_structure(job.source.connect, database, Given()) if job.policy.after else ()

    def _prove(self, database: Target, structure: tuple[Finding, ...]) -> Proven:
        """Let the proof look at the copy; it is told what the copy is meant to be, and nothing of the masks."""
        from seedtool.refreshing.proof import Given, prove

        job = self._job
        given = Given(
            rows=dict(self._expected()),
            kept=dict(self._reasons()),
            faces=job.policy.faces,
            structure=not job.policy.after,
            look=job.settings.refresh.proof,
            memory=job.settings.refresh.proof_memory * 1_000_000,
        )
        found = prove(job.source.connect, database, given)
        return Proven(
            findings=tuple(
                {
                    "kind": each.kind,
                    "table": each.table and str(TableName(each.schema or "public", each.table)),
                    "column": each.column,
                    "what": each.what,
                }
                for each in (*structure, *found.findings)
            ),
            counts={
                "rows of the source": sum(each.source for each in found.counts),
                "rows of the copy": sum(each.copy for each in found.counts),
                "values looked for": found.values,
            },
            seconds=round(found.seconds, 3),
            look=given.look,
        )

    def _expected(self) -> Iterator[tuple[tuple[str, str], int | None]]:
        """Yield how many rows of a table are expected, where it is not as many as the source has.

        What the policy's own SQL leaves there, nobody knows.
        """
        job = self._job
        for table in job.shape.catalog.tables.values():
            root = job.shape.root(table)
            if not job.shape.has_rows_of_its_own(root) or table.kind != "table":
                continue
            which = chosen(job.policy, root)
            if name_of(root) in job.policy.empty:
                yield name_of(table), 0
            elif job.policy.after:
                yield name_of(table), None
            elif which == "no rows":
                yield name_of(table), 0
            elif which != "all rows" or job.source.relations[table.oid].through is not None:
                yield name_of(table), None  # a hash of an enum is another one there, and so is the partition of a row

    def _reasons(self) -> Iterator[tuple[tuple[str, str, str], str]]:
        """Yield the columns that are kept for a reason; those of a partition follow its partitioned table."""
        job = self._job
        for table in job.shape.catalog.tables.values():
            listed = job.policy.tables.get(name_of(job.shape.root(table)))
            for name, line in listed.columns.items() if listed is not None else ():
                if line.kept and line.reason is not None:
                    yield (table.schema, table.name, name), line.reason


def failed(proof: Proven) -> ProofFailed:
    """Return the error of a proof that found something: tables and columns, never a value."""
    first = proof.findings[0]
    where = ".".join(str(first[key]) for key in ("table", "column") if first.get(key))
    more = f" ({len(proof.findings)} findings in all)" if len(proof.findings) > 1 else ""
    return ProofFailed(
        f"the proof refuses the copy: {where}{': ' if where else ''}{first.get('what', '')}{more}",
        remedy="Mask what it names, give the reason for keeping it in the policy, or change a definition in after.sql."
        " The target is as it was.",
        findings=proof.findings,
        table=first.get("table"),
        column=first.get("column"),
    )


class ProvenCopy(Layer):
    """A masked copy that was proven before, and is used once more.

    Args:
        result: what its build returned.
        purpose: what is noted with its template.
    """

    step: ClassVar[str] = STEP
    in_place: ClassVar[bool] = False

    def __init__(self, result: Mapping[str, object], purpose: str) -> None:
        self._result = result
        self._purpose = purpose

    @property
    def purpose(self) -> str:
        """What the layer is, in words."""
        return self._purpose

    def fingerprint(self, server: Mapping[str, str]) -> str:
        """Return the fingerprint that the copy was built with.

        Raises:
            RefreshError: the target's locale, owner or settings are not those of then.
        """
        if self._result.get("server") != digest_of_server(server):
            raise RefreshError(
                "the target's owner, locale or settings have changed since the last copy was proven",
                remedy="Run seedtool refresh without --reuse.",
            )
        return str(self._result["masked"])

    def build(self, database: Target) -> Mapping[str, object]:
        """Refuse: what was proven is gone."""
        raise RefreshError(
            f"the last proven copy was dropped before it could be used for {database.name}",
            remedy="Run seedtool refresh without --reuse.",
        )


def digest_of_server(facts: Mapping[str, str]) -> str:
    """Return a digest of the facts of server and target that a copy was built for."""
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def _digest_of_schema(shape: Shape) -> str:
    tables: list[Table] = sorted(shape.catalog.tables.values(), key=lambda each: each.qualified)
    ours = [msgspec.to_builtins(table) for table in tables if table.schema != OWN]
    return hashlib.sha256(msgspec.json.encode(ours, order="sorted")).hexdigest()
