"""A load: the rows of a recipe come into a database that may be in use. Read `load` from top to bottom.

Nothing is remembered outside of the database. The ledger has the recipe before the first row comes, each slice in the
transaction that writes it, and each index in the transaction that drops or builds it. So after a kill at any line a
load can be resumed or undone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, LoadInterrupted, RecipeError, UsageError
from seedtool.generating import putting_off, rows
from seedtool.generating import recipe as recipes
from seedtool.generating.facts import Facts
from seedtool.generating.planning import Plan
from seedtool.generating.rehearsal import REFUSALS, refused, rehearse
from seedtool.generating.schema import read_schema
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.catalog import Catalog, Table, read_catalog
from seedtool.postgres.cluster import take_lock
from seedtool.postgres.copying import EVERY_ROW, PLAIN_TEXT, send_while_making, set_locally
from seedtool.postgres.psycopg_errors import HIDDEN_ROWS, reason, translated
from seedtool.slices import ledger, running
from seedtool.slices.ledger import Load, Slice
from seedtool.slices.running import Done
from seedtool.values import cells
from seedtool.values.version import vocabulary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from seedtool.generating.putting_off import Kept
    from seedtool.generating.recipe import Recipe
    from seedtool.generating.rows import PlannedTable
    from seedtool.postgres.server import Target

Connection = psycopg.Connection[Any]

#: Rows of a slice: a transaction of about 20 MB, half a second of work. A multiple of the rows of a block.
ROWS_A_SLICE = 48 * rows.ROWS_A_BLOCK

#: From so many rows on the start of other processes (0.3 s) is worth it. More workers do not load faster: the server
#: is the limit then (docs/scale.md).
WORTH_WORKERS, MOST_WORKERS = 500_000, 4

#: Indexes of fewer rows are built on one connection, which is quicker. Where they stay, it costs too little to be told.
WORTH_THREADS = 20_000

#: every load of a database takes this advisory lock; the number is "load" in ASCII
_LOCK = 0x6C6F6164

#: By so many of its first rows a later version tells whether it would make the same values.
_COMPARED = 64


class LoadedTable(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a table.

    Args:
        table: its name in the recipe.
        rows: how many rows of the recipe are there now.
        added: how many of them were written just now.
        checksum: of those.
    """

    table: str
    rows: int
    added: int
    checksum: str


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a load did.

    Args:
        recipe: the recipe's name.
        scale: how many times the numbers of the recipe are there.
        random_seed: the random seed.
        tables: the tables, parents first.
        rows: how many rows were written.
        size: how many bytes were sent.
        built: how many statements built indexes and foreign keys again.
        kept: the tables whose indexes stayed, and why.
        resumed: it went on with a load that had been interrupted.
        seconds: the time of each step: `plan`, `rows`, `indexes`, `analyze`.
        cpu: seconds of the workers' processors.
    """

    recipe: str
    scale: float
    random_seed: str
    tables: list[LoadedTable]
    rows: int
    size: int
    built: int
    kept: list[Kept]
    resumed: bool
    seconds: dict[str, float]
    cpu: float


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a recipe is loaded.

    Args:
        random_seed: the random seed.
        scale: how many times the numbers of the recipe are made.
        workers: how many processes of this machine work; None for one for each processor, where there are many rows.
        scheduler: the address of a Dask scheduler whose workers work instead; None for none.
        resume: go on with a load that was interrupted.
        folder: the project's, for words that read a file of it.
    """

    random_seed: str = "1"
    scale: float = 1.0
    workers: int | None = None
    scheduler: str | None = None
    resume: bool = False
    folder: Path | None = None


class Job(msgspec.Struct, frozen=True):
    """What workers need to write slices: it can be sent to another process, on another machine.

    Args:
        conninfo: where the database is.
        name: the database's name.
        recipe: the load's name in the ledger.
        plan: what the plan is made from, pickled.
        late: columns that are NULL at first, by their tables.
    """

    conninfo: str
    name: str
    recipe: str
    plan: bytes
    late: dict[str, tuple[str, ...]] = {}

    def __call__(self, slice_: Slice) -> Done:
        """Write a slice and its line in the ledger, in one transaction."""
        target = server.Target(conninfo=self.conninfo, name=self.name, maintenance="postgres")
        planned = _plan(self.plan).known[slice_.table]
        with server.connect(target, application="seedtool load") as connection:
            return write_slice(connection, self.recipe, planned, slice_, self.late.get(slice_.table, ()))


@functools.lru_cache(maxsize=2)
def _plan(pickled: bytes) -> Plan:
    """Return the plan of a job: a worker makes it once."""
    recipe, tables, search_path, *rest = pickle.loads(pickled)  # noqa: S301 - our own
    return Plan(recipe, Catalog(tables, search_path), *rest)


def write_slice(
    connection: Connection, recipe: str, planned: PlannedTable, slice_: Slice, late: Collection[str] = ()
) -> Done:
    """Write a slice and its line in the ledger, and commit.

    Args:
        connection: to the database.
        recipe: the load's name in the ledger.
        planned: the table.
        slice_: the slice.
        late: columns that are NULL at first.
    """
    began = time.process_time()
    checksum, size = rows.Checksum(), 0
    with connection.transaction(), connection.cursor() as cursor:
        set_locally(cursor, PLAIN_TEXT | EVERY_ROW | {"synchronous_commit": "off"})
        if not ledger.record(cursor, recipe, slice_, ""):
            return Done(slice=slice_, rows=0, size=0, checksum="", cpu=time.process_time() - began)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            planned.table.identifier, sql.SQL(", ").join(map(sql.Identifier, planned.written))
        )
        with cursor.copy(statement) as copy:
            send_while_making(connection)
            for block in rows.blocks(planned, slice_.first, slice_.last, late=late):
                checksum.add(block.data)
                size += len(block.data)
                copy.write(block.data)
        ledger.correct(cursor, recipe, slice_, str(checksum))
    return Done(
        slice=slice_,
        rows=slice_.last - slice_.first,
        size=size,
        checksum=str(checksum),
        cpu=time.process_time() - began,
    )


class Sessions:
    """Opens transactions of a database, one after the other on one connection; those of other threads on their own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._thread = threading.get_ident()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, which is committed at the end."""
        if threading.get_ident() != self._thread:
            with server.connect(self.target, application="seedtool load") as connection:
                yield connection
            return
        if self._connection is None or self._connection.closed:
            self._connection = server.connect(self.target, application="seedtool load")
        try:
            with self._connection.transaction():
                self._connection.execute("SET idle_session_timeout = 0")  # it waits for workers
                yield self._connection
        except BaseException:  # it may be within a COPY, or lost
            self._connection.close()
            raise


class OneSession:
    """The same on one connection, within the transaction that is open there."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Connection]:
        """Yield the connection in a savepoint."""
        with self._connection.transaction():
            yield self._connection


def load(target: Target, recipe: Recipe, options: Options, listener: Listener = SILENT) -> LoadReport:
    """Load a recipe into a database.

    Args:
        target: the database.
        recipe: the recipe.
        options: how.
        listener: hears of the steps, and how many rows are there.

    Raises:
        RecipeError: the recipe does not fit the database; nothing was written.
        LoadInterrupted: the load stopped on the way; what is there can be resumed or undone.
    """
    with locked(target, recipe.name, listener) as sessions:
        return _Loading(sessions, recipe, options, listener, target).run()


def load_apart(database: Target, recipe: Recipe, options: Options, listener: Listener = SILENT) -> LoadReport:
    """Load a recipe into a database that nobody else uses: a failure leaves what is there, and the caller drops it."""
    with translated(recipe.name), Sessions(database) as sessions:
        return _Loading(sessions, recipe, options, listener, database, alone=True).run()


def load_within(connection: Connection, recipe: Recipe, options: Options, listener: Listener = SILENT) -> LoadReport:
    """Load a recipe on one connection, within its transaction."""
    with translated(recipe.name):
        return _Loading(OneSession(connection), recipe, options, listener, None).run()


def look(target: Target, recipe: Recipe, options: Options) -> Plan:
    """Return what a load would make of an empty database of the target's schema; nothing is written.

    Raises:
        RecipeError: the recipe does not fit the database.
    """
    units = recipes.units_of(recipe, options.scale)
    with translated(recipe.name), server.connect(target, application="seedtool load") as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        set_locally(connection.cursor(), PLAIN_TEXT | EVERY_ROW)
        catalog = read_schema(connection)
        plan = Plan(recipe, catalog, Facts(connection), options.random_seed, units, 0, options.folder)
        connection.rollback()  # a transaction that only reads can make no temporary table
        set_locally(connection.cursor(), PLAIN_TEXT | EVERY_ROW)
        rehearse(connection, plan)
        connection.rollback()
        return plan


@contextlib.contextmanager
def locked(target: Target, recipe: str, listener: Listener) -> Iterator[Sessions]:
    """Yield what opens sessions of a database while no other load or unload runs there.

    Args:
        target: the database.
        recipe: the recipe's name, for messages.
        listener: hears who is waited for.
    """
    with server.connect(target, autocommit=True, application="seedtool load") as control, translated(recipe):
        take_lock(control, _LOCK, "loads", listener, session=True)
        with Sessions(target) as sessions:
            yield sessions


class _Loading:
    """One load."""

    def __init__(
        self,
        sessions: Sessions | OneSession,
        recipe: Recipe,
        options: Options,
        listener: Listener,
        target: Target | None,
        *,
        alone: bool = False,
    ) -> None:
        self._alone = alone
        self._sessions = sessions
        self._recipe = recipe
        self._options = options
        self._listener = listener
        self._target = target
        self._units = recipes.units_of(recipe, options.scale)
        self._seconds: dict[str, float] = {}

    def run(self) -> LoadReport:
        with self._step("plan"), self._sessions() as connection:
            earlier = ledger.find(connection.cursor(), self._recipe.name)
            self._refuse_other(earlier)
            before = 0 if earlier is None else earlier.units if earlier.state == "loaded" else earlier.facts["before"]
            plan, facts = self._plan(connection, earlier, before)
            if earlier is not None:
                refuse_other_values(plan, earlier)
            refuse_lacking(connection, plan)
            if earlier is None or earlier.state == "loaded":
                rehearse(connection, plan)
        kept: list[Kept] = []
        with self._sessions() as connection:
            cursor = connection.cursor()
            ledger.make(cursor)
            if earlier is None or (earlier.state == "loaded" and earlier.units < self._units):
                ledger.write(cursor, self._load(plan, facts, before))
                kept = putting_off.put_off(cursor, self._recipe.name, plan.tables, filled=self._alone)
            all_put_off = earlier is None and not kept
            late = {} if all_put_off else late_columns(plan)  # what it refuses is not begun
            there = ledger.slices(cursor, self._recipe.name)
        count = sum(map(plan.rows, plan.tables))
        for why in dict.fromkeys(each.why for each in kept if count >= WORTH_THREADS):  # few rows are quick with them
            names = [each.table for each in kept if each.why == why]
            told = why.replace("it has", "they have") if len(names) > 1 else why
            self._listener.note(f"indexes stay while rows come, which is slower: {', '.join(names)} ({told})")
        with self._undone(plan, earlier, there):
            done = self._write(plan, facts, there, before, late, all_put_off=all_put_off)
            self._fill(plan, late)
            with self._step("indexes"):
                parallel = 4 if self._target is not None and count >= WORTH_THREADS else 1
                built = putting_off.build(self._sessions, self._recipe.name, parallel=parallel)
            with self._step("analyze"):
                self._conclude(plan)
        return self._report(plan, done, kept, built, resumed=earlier is not None and earlier.state == "loading")

    @contextlib.contextmanager
    def _undone(self, plan: Plan, earlier: Load | None, there: Mapping[Slice, str]) -> Iterator[None]:
        """Take what was written away again when the database refuses a row.

        What only interrupts (a lost connection, Ctrl+C, a killed worker) leaves what is there, to be resumed.

        Raises:
            RecipeError: the database refuses a row; the rows of this load were taken away.
            LoadInterrupted: the connection was lost.
        """
        try:
            yield
        except KeyboardInterrupt:
            self._listener.note(
                f"what is there of {self._recipe.name} stays: --resume goes on, seedtool seed unload undoes it"
            )
            raise
        except (psycopg.Error, LoadInterrupted) as error:
            cause = error if isinstance(error, psycopg.Error) else error.__cause__
            if not isinstance(cause, psycopg.Error):
                raise
            state = cause.sqlstate or ""
            if state[:2] not in REFUSALS or self._target is None:
                raise LoadInterrupted(
                    f"{self._recipe.name}: {reason(cause)}",
                    remedy=f"--resume goes on. seedtool seed unload {self._recipe.name} undoes what was written.",
                    code=cause.sqlstate,
                ) from error
            self._undo(plan, earlier, there)
            fault = refused(plan, cause)
            fault.remedy = f"{fault.remedy} The rows of this load were taken away again."
            raise fault from error

    def _undo(self, plan: Plan, earlier: Load | None, there: Mapping[Slice, str]) -> None:
        from seedtool.generating.unload import remove  # it imports this module

        name = self._recipe.name
        with self._sessions() as connection:
            cursor = connection.cursor()
            ledger.stop(cursor, name)
            new = {each: checksum for each, checksum in ledger.slices(cursor, name).items() if each not in there}
            remove(connection, plan, new, (), late_columns(plan))
            ledger.take_out(cursor, name, new)
        putting_off.build(self._sessions, name, parallel=1)
        with self._sessions() as connection:
            if earlier is None or earlier.state != "loaded":
                ledger.forget(connection.cursor(), name)
            else:
                ledger.write(connection.cursor(), earlier)

    def _refuse_other(self, earlier: Load | None) -> None:
        """Refuse to go on with a load that was not the same.

        Raises:
            LoadInterrupted: it was interrupted, and `resume` is not given.
            UsageError: it was another one.
        """
        name = self._recipe.name
        if earlier is None:
            if self._options.resume:
                raise UsageError(f"no load of {name} was interrupted", remedy="Leave --resume out.", option="--resume")
            return
        undo = f"seedtool seed unload {name} takes its rows away; then load it anew."
        if earlier.hash != self._recipe.hash:
            raise RecipeError(
                f"{self._recipe.file} has changed since its rows were loaded", remedy=undo, file=self._recipe.file
            )
        if earlier.random_seed != self._options.random_seed:
            raise UsageError(
                f"{name} was loaded with --random-seed {earlier.random_seed}", remedy=undo, option="--random-seed"
            )
        refuse_other_vocabulary(earlier)
        if earlier.state == "unloading":
            raise LoadInterrupted(f"an unload of {name} was interrupted", remedy=f"Run seedtool seed unload {name}.")
        if earlier.state == "loading" and not self._options.resume:
            raise LoadInterrupted(
                f"a load of {name} was interrupted", remedy=f"--resume goes on. seedtool seed unload {name} undoes it."
            )
        if self._units < earlier.units or (earlier.state == "loading" and self._units != earlier.units):
            raise UsageError(
                f"{name} {'is' if earlier.state == 'loaded' else 'was to be'} loaded at a scale of"
                f" {earlier.units / self._recipe.units:g}",
                remedy=f"Write --scale {earlier.units / self._recipe.units:g}, or a larger one. {undo}",
                option="--scale",
            )

    def _plan(self, connection: Connection, earlier: Load | None, before: int) -> tuple[Plan, Facts]:
        set_locally(connection.cursor(), PLAIN_TEXT | EVERY_ROW)
        facts = Facts(connection, earlier.facts if earlier is not None else None)
        catalog = catalog_of(connection, earlier)
        return Plan(
            self._recipe, catalog, facts, self._options.random_seed, self._units, before, self._options.folder
        ), facts

    def _load(self, plan: Plan, facts: Facts, before: int) -> Load:
        return Load(
            recipe=self._recipe.name,
            content=self._recipe.content,
            hash=self._recipe.hash,
            random_seed=self._options.random_seed,
            vocabulary=vocabulary(),
            units=self._units,
            state="loading",
            facts={
                **facts.lasting,
                "before": before,
                "catalog": tables_of(plan),
                "values": values_of(plan, self._units),
            },
        )

    def _write(
        self,
        plan: Plan,
        facts: Facts,
        there: dict[Slice, str],
        before: int,
        late: dict[str, tuple[str, ...]],
        *,
        all_put_off: bool,
    ) -> list[Done]:
        slices = [
            each
            for planned in plan.tables
            for each in ledger.missing(there, planned.name, plan.rows(planned), ROWS_A_SLICE)
        ]
        total = sum(each.last - each.first for each in slices)
        names = running.tables(slices)
        done: list[Done] = []
        count = 0
        with self._step("rows"):
            # a row needs those that it refers to, unless the foreign keys were put off: then all may come at once
            stages = [slices] if all_put_off else [[one for one in slices if one.table == name] for name in names]
            with self._workers(total) as workers:
                for stage in stages:
                    # rows that refer to their own table come in their order, and so in one process
                    here = None if not all_put_off and stage and _refers_to_itself(plan, stage[0]) else workers
                    work = self._work(plan, facts, before, late, sent=here is not None)
                    for each in running.run(stage, work, here):
                        done.append(each)
                        count += each.slice.last - each.slice.first
                        self._listener.progress("rows", count, total)
        return done

    def _workers(self, total: int) -> AbstractContextManager[running.Workers | None]:
        """Return where so many rows are made: in this process where another would not be worth its start."""
        if self._target is None:
            return contextlib.nullcontext()
        if self._options.scheduler is not None:
            return running.cluster(self._options.scheduler)
        count = self._options.workers
        if count is None:
            count = min(os.cpu_count() or 1, MOST_WORKERS) if total >= WORTH_WORKERS else 1
        return running.processes(count)

    def _work(
        self, plan: Plan, facts: Facts, before: int, late: dict[str, tuple[str, ...]], *, sent: bool
    ) -> running.Work:
        if sent and self._target is not None:
            options = self._options
            stuff = (
                self._recipe, plan.catalog.tables, plan.catalog.search_path, facts, options.random_seed, self._units,
                before, options.folder,
            )  # fmt: skip
            return Job(self._target.conninfo, self._target.name, self._recipe.name, pickle.dumps(stuff), late)

        def work(slice_: Slice) -> Done:
            with self._sessions() as connection:
                columns = late.get(slice_.table, ())
                return write_slice(connection, self._recipe.name, plan.known[slice_.table], slice_, columns)

        return work

    def _fill(self, plan: Plan, late: dict[str, tuple[str, ...]]) -> None:
        """Write the references that had to wait for the rows that they mean, in the rows that are new."""
        import numpy as np

        for name, columns in late.items():
            planned = plan.known[name]
            table, key = planned.table, planned.table.primary_key
            sent = sql.SQL(", ").join(map(sql.Identifier, (*key, *columns)))
            with self._sessions() as connection, connection.cursor() as cursor:
                set_locally(cursor, PLAIN_TEXT | EVERY_ROW)
                waiting = sql.Identifier("pg_temp", "seedtool_waiting")
                cursor.execute(
                    sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                        waiting, sent, table.identifier
                    )
                )
                with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(waiting, sent)) as copy:
                    first, last = planned.numbering.total(plan.before), plan.rows(planned)
                    for start in range(first, last, ROWS_A_SLICE):
                        batch = planned.batch(np.arange(start, min(start + ROWS_A_SLICE, last), dtype=np.int64))
                        copy.write(cells.block([batch.cells(column) for column in (*key, *columns)]))
                cursor.execute(
                    sql.SQL("UPDATE {} AS t SET {} FROM {} AS w WHERE {} AND ({})").format(
                        table.stored,
                        sql.SQL(", ").join(sql.SQL("{0} = w.{0}").format(sql.Identifier(each)) for each in columns),
                        waiting,
                        sql.SQL(" AND ").join(sql.SQL("t.{0} = w.{0}").format(sql.Identifier(each)) for each in key),
                        sql.SQL(" OR ").join(sql.SQL("t.{} IS NULL").format(sql.Identifier(each)) for each in columns),
                    )
                )

    def _conclude(self, plan: Plan) -> None:
        """Move sequences past the ids, look at the new rows for the planner, and close the ledger's line."""
        with self._sessions() as connection:
            cursor = connection.cursor()
            for planned in plan.tables:
                for name in planned.serials:
                    column = planned.table.columns[name]
                    cursor.execute(
                        sql.SQL(
                            "SELECT setval({sequence}::regclass, highest) FROM pg_sequence AS s,"
                            " LATERAL (SELECT max({column})::bigint AS highest FROM {table}) AS t"
                            " WHERE s.seqrelid = {sequence}::regclass"
                            " AND highest > coalesce(pg_sequence_last_value(s.seqrelid), s.seqstart - 1)"
                        ).format(
                            sequence=sql.Literal(column.sequence),
                            column=sql.Identifier(name),
                            table=planned.table.identifier,
                        )
                    )
            tables = sql.SQL(", ").join(planned.table.identifier for planned in plan.tables)
            cursor.execute(sql.SQL("ANALYZE {}").format(tables))
            ledger.finish(cursor, self._recipe.name)

    def _report(self, plan: Plan, done: list[Done], kept: list[Kept], built: int, *, resumed: bool) -> LoadReport:
        tables = []
        for planned in plan.tables:
            own = [each for each in done if each.slice.table == planned.name]
            total = sum(int(each.checksum or "0", 16) for each in own) % 2**64
            added = sum(each.rows for each in own)
            tables.append(
                LoadedTable(table=planned.name, rows=plan.rows(planned), added=added, checksum=f"{total:016x}")
            )
        return LoadReport(
            recipe=self._recipe.name,
            scale=self._units / self._recipe.units,
            random_seed=self._options.random_seed,
            tables=tables,
            rows=sum(each.rows for each in done),
            size=sum(each.size for each in done),
            built=built,
            kept=kept,
            resumed=resumed,
            seconds=self._seconds,
            cpu=sum(each.cpu for each in done),
        )

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._listener.step(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = time.perf_counter() - began


def values_of(plan: Plan, units: int) -> dict[str, dict[str, str]]:
    """Return a hash of each column's first values, by the tables: it changes when other values would be made.

    Args:
        plan: of the recipe.
        units: how many units are, or will be, in the database.
    """
    import numpy as np

    found: dict[str, dict[str, str]] = {}
    for planned in plan.tables:
        batch = planned.batch(np.arange(min(planned.numbering.total(units), _COMPARED), dtype=np.int64))
        texts = {
            name: b"\0".join(b"\\N" if value is None else value for value in batch.cells(name).tolist())
            for name in planned.written
        }
        found[planned.name] = {name: hashlib.sha256(text).hexdigest()[:16] for name, text in texts.items()}
    return found


def refuse_other_vocabulary(load: Load) -> None:
    """Refuse rows that another version of the words has made.

    Raises:
        RecipeError: this version makes other values.
    """
    if load.vocabulary != vocabulary():
        raise RecipeError(
            f"{load.recipe} was loaded with another version of the vocabulary ({load.vocabulary}; this one is"
            f" {vocabulary()}), which makes other values",
            remedy="Unload it with the version of seedtool that loaded it:"
            f" seedtool seed unload {load.recipe}.{_by_hand(load)}",
        )


def _by_hand(load: Load) -> str:
    """Return how a person forgets a load: not while its line alone knows how indexes are built again."""
    if load.state != "loaded":
        return ""
    forget = sql.SQL("DELETE FROM seedtool.loads WHERE recipe = {};").format(sql.Literal(load.recipe)).as_string()
    return f" Or delete its rows by hand, and then its line: {forget}"


def refuse_other_values(plan: Plan, load: Load) -> None:
    """Refuse to go on with rows of which this version, or the schema as it is now, would make others.

    A column that came or went since changes no other one, and is not asked for.

    Raises:
        RecipeError: a column would get other values; with table and column.
    """
    before: dict[str, dict[str, str]] = load.facts.get("values", {})
    for table, columns in values_of(plan, load.units).items():
        for name, found in columns.items():
            if before.get(table, {}).get(name, found) != found:
                raise RecipeError(
                    f"{table}.{name}: other values would be made now than {load.recipe} was loaded with",
                    remedy="The column's type or checks, a function that the recipe names, or seedtool has changed."
                    f" Bring back what was, and run seedtool seed unload {load.recipe}.{_by_hand(load)}",
                    file=plan.recipe.file,
                    table=table,
                    column=name,
                )


def refuse_lacking(connection: Connection, plan: Plan) -> None:
    """Refuse to begin what the role could not end.

    Raises:
        BlockedError: a policy may hide rows of a table, or this role may not move a sequence past the new ids.
        RecipeError: a sequence ends before the ids do.
    """
    for planned in plan.tables:
        hidden = connection.execute("SELECT row_security_active(%s::oid)", [planned.table.oid]).fetchone()
        if hidden == (True,):
            raise BlockedError(
                f"row-level security is active on {planned.table} for this role",
                remedy=HIDDEN_ROWS,
                table=str(planned.table),
            )
        for name in planned.serials:
            sequence = planned.table.columns[name].sequence
            may = connection.execute("SELECT has_sequence_privilege(%s, 'UPDATE')", [sequence]).fetchone()
            if may == (False,):
                raise BlockedError(
                    f"this role may not move the sequence {sequence} past the new ids",
                    remedy=f"Let its owner run: GRANT UPDATE ON SEQUENCE {sequence} TO {connection.info.user}.",
                    table=str(planned.table),
                    column=name,
                )
            _refuse_short_sequence(connection, plan, planned, name)


def _refuse_short_sequence(connection: Connection, plan: Plan, planned: PlannedTable, column: str) -> None:
    """Refuse ids that the sequence cannot reach: it could not go on behind them."""
    import numpy as np

    sequence = planned.table.columns[column].sequence
    row = connection.execute("SELECT seqmax FROM pg_sequence WHERE seqrelid = %s::regclass", [sequence]).fetchone()
    last = planned.batch(np.array([max(plan.rows(planned) - 1, 0)], dtype=np.int64)).cells(column)
    (highest,) = cells.whole(last)[0]
    if row is not None and highest > row[0]:
        raise plan.recipe.fault(
            f"{planned.name} would have ids up to {highest:,} in {column}, and {sequence} ends at {row[0]:,}",
            f"Make fewer rows, or widen both: ALTER TABLE {planned.table} ALTER {column} TYPE bigint;"
            f" ALTER SEQUENCE {sequence} AS bigint NO MAXVALUE;",
            plan.recipe.place_of(planned.name, column),
            table=planned.name,
            column=column,
        )


def late_columns(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the columns that refer to rows which come later, by their tables: where tables refer to each other.

    Raises:
        RecipeError: such a column takes no NULL, or its table has no key.
    """
    order = {planned.name: place for place, planned in enumerate(plan.tables)}
    found: dict[str, tuple[str, ...]] = {}
    for planned in plan.tables:
        for key in planned.table.foreign_keys:
            target = plan.of(key.references)
            if target is None or order.get(target.name, -1) <= order[planned.name]:
                continue
            columns = [name for name in key.columns if name in planned.makers]
            free = [name for name in columns if not planned.table.columns[name].not_null]
            if columns and not (free and set(planned.table.primary_key) <= set(planned.written) - set(free)):
                raise plan.recipe.fault(
                    f"{planned.name} and {target.name} refer to each other, and neither can come first",
                    f"Let {planned.name}.{columns[0]} take NULL, or load into tables that are empty.",
                    plan.recipe.place_of(planned.name, columns[0]),
                    table=planned.name,
                    column=columns[0],
                )
            found[planned.name] = tuple(dict.fromkeys([*found.get(planned.name, ()), *free]))
    return {name: columns for name, columns in found.items() if columns}


def _refers_to_itself(plan: Plan, slice_: Slice) -> bool:
    table = plan.known[slice_.table].table
    return any(key.references == table.oid for key in table.foreign_keys)


def catalog_of(connection: Connection, earlier: Load | None) -> Catalog:
    """Return the catalog of a load: of one that was interrupted, as it was before keys and indexes were put off."""
    if earlier is None or earlier.state == "loaded":
        return read_schema(connection)
    tables = msgspec.convert(earlier.facts["catalog"], dict[int, Table], strict=False)
    return Catalog(tables, read_catalog(connection, []).search_path)


def plan_of(connection: Connection, load: Load, folder: Path | None) -> Plan:
    """Return the plan of what was loaded, whatever has become of the recipe's file since."""
    recipe = recipes.read(load.content.encode(), load.recipe, f"{load.recipe}.toml, as it was loaded")
    facts = Facts(connection, load.facts)
    before = load.units if load.state == "loaded" else load.facts["before"]
    catalog = catalog_of(connection, load)
    return Plan(recipe, catalog, facts, load.random_seed, load.units, before, folder)


def made_column(
    target: Target, recipe: str, table: str, column: str, numbers: range, folder: Path | None
) -> Iterator[str]:
    """Yield a column's values in rows that a recipe has loaded, by the rows' numbers; NULL is left out."""
    import numpy as np

    with server.connect(target, application="seedtool load") as connection:
        load = ledger.find(connection.cursor(), recipe)
        assert load is not None  # noqa: S101 - it was loaded just now
        planned = plan_of(connection, load, folder).known[table]
    for start in range(numbers.start, numbers.stop, ROWS_A_SLICE):
        batch = planned.batch(np.arange(start, min(start + ROWS_A_SLICE, numbers.stop), dtype=np.int64))
        yield from (value.decode() for value in batch.cells(column).tolist() if value is not None)


def tables_of(plan: Plan) -> dict[str, Any]:
    """Return what the catalog knows of a plan's tables, and of those that they refer to, as JSON."""
    oids = {oid for each in plan.known.values() for oid in (each.table.oid, *_referenced(each.table))}
    tables = {oid: table for oid, table in plan.catalog.tables.items() if oid in oids}
    found: dict[str, Any] = msgspec.to_builtins(tables, str_keys=True)
    return found


def _referenced(table: Table) -> list[int]:
    return [key.references for key in table.foreign_keys]
