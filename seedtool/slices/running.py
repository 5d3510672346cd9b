"""Running slices: here, in processes of this machine, or by a scheduler on many machines, through one seam: `Executor`.

A worker may die, and a scheduler may run a slice twice. Neither matters: a slice and its line in the ledger are one
transaction of the target, so that a slice is there once or not at all.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol

import msgspec

from seedtool.errors import LoadInterrupted
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


def run(slices: Sequence[Slice], work: Work, executors: Callable[[], Executor] | None) -> Iterator[Done]:
    """Do the work of each slice, and yield what became of it, in any order.

    Args:
        slices: what has to be done.
        work: does it.
        executors: makes an executor; it is called again when one is broken by the death of a worker. None: this
            process works itself.

    Raises:
        LoadInterrupted: a slice has killed four workers.
        Exception: what `work` raises.
    """
    if executors is None:
        yield from map(work, slices)
        return
    waiting = list(slices)
    deaths: Counter[Slice] = Counter()
    while waiting:
        done: set[Slice] = set()
        running: set[Slice] = set()
        executor = executors()
        try:
            for each in _results(executor, waiting, work, running):
                done.add(each.slice)
                yield each
        except BrokenProcessPool:
            # one of those that were running has killed its worker, and nobody can say which
            deaths.update(running - done)
        finally:
            # what has not begun is not needed any more; a broken pool has no process left to wait for
            executor.shutdown(wait=True, cancel_futures=True)
        waiting = [each for each in waiting if each not in done]
        suspects = [each for each in waiting if deaths[each] >= DEATHS]
        if suspects:
            raise _deadly(suspects[0])


def _results(executor: Executor, slices: Sequence[Slice], work: Work, running: set[Slice]) -> Iterator[Done]:
    """Yield results. No more slices are handed over than are soon worked on: so it is known which a death concerns."""
    ahead = 2 * _workers(executor)
    left = iter(slices)
    futures: dict[Future[Done], Slice] = {}
    while True:
        for each in left:
            futures[executor.submit(work, each)] = each
            running.add(each)
            if len(futures) >= ahead:
                break
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
            else:
                running.discard(each)
                yield result
        if broken is not None:
            raise broken


def _workers(executor: Executor) -> int:
    return int(getattr(executor, "_max_workers", 0) or 4)


def _deadly(slice_: Slice) -> LoadInterrupted:
    return LoadInterrupted(
        f"{slice_}: {DEATHS} workers died of this slice; what was written before it is kept",
        remedy="Is memory short? Go on with --resume and fewer --workers, or undo the load: seedtool seed unload.",
        table=slice_.table,
    )


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Callable[[], Executor] | None]:
    """Yield what makes an executor of processes on this machine; None for one worker, which is this process."""
    if workers <= 1:
        yield None
        return
    import multiprocessing

    # a forked process would share this one's connections
    context = multiprocessing.get_context("spawn")
    yield lambda: ProcessPoolExecutor(workers, mp_context=context)


def tables(slices: Iterable[Slice]) -> list[str]:
    """Return the tables of slices, each once, in their order."""
    return list(dict.fromkeys(each.table for each in slices))
