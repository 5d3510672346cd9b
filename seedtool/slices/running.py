"""Running slices: here, in processes of this machine, or by a scheduler on many machines, through one seam: `Executor`.

A worker may die, and a scheduler may run a slice twice. Neither matters: a slice and its line in the ledger are one
transaction of the target, so that a slice is there once or not at all.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol

import msgspec

from seedtool import extras
from seedtool.errors import LoadInterrupted, UsageError
from seedtool.slices.ledger import Slice  # noqa: TC001 - msgspec reads the type of a field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

#: So many workers may die of a slice before it is named and stops the run; Dask's default
#: (`distributed.scheduler.allowed-failures`) is three, and the fourth ends it.
DEATHS = 4


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a slice.

    Args:
        slice: which.
        rows: how many rows were written; 0 where another worker had written them.
        size: bytes that were sent.
        checksum: of the rows.
        cpu: seconds of the worker's processor.
    """

    slice: Slice
    rows: int
    size: int
    checksum: str
    cpu: float


class Work(Protocol):
    """What is done with a slice. It is sent to workers, so it can be pickled."""

    def __call__(self, slice_: Slice) -> Done:
        """Write the slice, and its line in the ledger, in one transaction."""
        ...


class Workers:
    """Where slices are worked on.

    Args:
        make: makes an executor.
        count: how many workers it has.
    """

    def __init__(self, make: Callable[[], Executor], count: int) -> None:
        self._make = make
        self._executor: Executor | None = None
        self.count = count

    @property
    def executor(self) -> Executor:
        """The executor, made when it is first asked for."""
        if self._executor is None:
            self._executor = self._make()
        return self._executor

    def end(self) -> None:
        """Let go of the executor: what has not begun is not needed any more. The next one is made anew."""
        if self._executor is not None:
            # Dask's has no such argument: it cancels what was not begun itself
            options = {"cancel_futures": True} if isinstance(self._executor, ProcessPoolExecutor) else {}
            self._executor.shutdown(wait=True, **options)
            self._executor = None


def run(slices: Sequence[Slice], work: Work, workers: Workers | None) -> Iterator[Done]:
    """Do the work of each slice, and yield what became of it, in any order.

    Args:
        slices: what has to be done.
        work: does it.
        workers: where; their executor is made anew when the death of a worker has broken it. None: this process works.

    Raises:
        LoadInterrupted: a slice has killed four workers.
        Exception: what `work` raises.
    """
    if workers is None:
        yield from map(work, slices)
        return
    waiting = list(slices)
    deaths: Counter[Slice] = Counter()
    while waiting:
        done: set[Slice] = set()
        running: set[Slice] = set()
        try:
            for each in _results(workers, waiting, work, running):
                done.add(each.slice)
                yield each
        except BrokenProcessPool:
            # one of those that were running has killed its worker, and nobody can say which
            deaths.update(running - done)
            workers.end()
        except BaseException:
            workers.end()
            raise
        waiting = [each for each in waiting if each not in done]
        suspects = [each for each in waiting if deaths[each] >= DEATHS]
        if suspects:
            raise _deadly(suspects[0])
        if len(deaths) > 1 and (alone := [each for each in waiting if deaths[each] == DEATHS - 1]):
            waiting = [each for each in waiting if each not in alone]
            yield from _one_by_one(alone, work, workers)


def _one_by_one(suspects: Sequence[Slice], work: Work, workers: Workers) -> Iterator[Done]:
    """Do the slices alone that have been there at three deaths: the one that kills a worker now is the one."""
    for each in suspects:
        try:
            yield workers.executor.submit(work, each).result()
        except BrokenProcessPool as error:
            workers.end()
            raise _deadly(each) from error


def _results(workers: Workers, slices: Sequence[Slice], work: Work, running: set[Slice]) -> Iterator[Done]:
    """Yield results. No more slices are handed over than are soon worked on: so it is known which a death concerns."""
    left = iter(slices)
    futures: dict[Future[Done], Slice] = {}
    while True:
        for each in itertools.islice(left, 2 * workers.count - len(futures)):
            futures[workers.executor.submit(work, each)] = each
            running.add(each)
        if not futures:
            return
        finished, _ = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
        broken: BaseException | None = None
        for future in finished:
            each = futures.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool as error:
                broken = error  # results that came before are still taken
            except Exception as error:
                if type(error).__name__ == "KilledWorker":  # Dask has tried it on four workers
                    raise _deadly(each) from error
                raise
            else:
                running.discard(each)
                yield result
        if broken is not None:
            raise broken


def _deadly(slice_: Slice) -> LoadInterrupted:
    return LoadInterrupted(
        f"{slice_}: {DEATHS} workers died of this slice; what was written before it is kept",
        remedy="Is memory short? Go on with --resume and fewer --workers, or undo the load: seedtool seed unload.",
        table=slice_.table,
    )


@contextlib.contextmanager
def processes(count: int) -> Iterator[Workers | None]:
    """Yield processes on this machine; None for one worker, which is this process."""
    if count <= 1:
        yield None
        return
    # a forked process would share this one's connections
    context = multiprocessing.get_context("spawn")
    workers = Workers(lambda: ProcessPoolExecutor(count, mp_context=context, initializer=_begin), count)
    try:
        yield workers
    finally:
        workers.end()


def _begin() -> None:
    """Let a worker leave Ctrl+C to its parent, and end with it: a pool's processes outlive a parent that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """Yield the workers of a Dask cluster.

    Args:
        address: the scheduler's, such as `tcp://10.0.0.5:8786`.

    Raises:
        MissingExtra: Dask is not installed.
        UsageError: the scheduler does not answer.
    """
    extras.require("cluster", option="--scheduler")
    from distributed import Client

    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no scheduler answers at {address}",
            remedy="Start one: dask scheduler. Then workers: dask worker tcp://HOST:8786, where seedtool is installed.",
            option="--scheduler",
        ) from error
    with client:
        count = max(1, sum(client.nthreads().values()))
        workers = Workers(lambda: client.get_executor(pure=False), count)
        try:
            yield workers
        finally:
            workers.end()


def tables(slices: Iterable[Slice]) -> list[str]:
    """Return the tables of slices, each once, in their order."""
    return list(dict.fromkeys(each.table for each in slices))
