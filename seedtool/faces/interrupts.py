"""Ctrl+C at a bad moment: the signal waits until what was begun is finished or undone."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Held:
    """The signal that waits, if one has come."""

    def __init__(self) -> None:
        self.pending: int | None = None

    def take(self) -> bool:
        """Tell whether a signal waits, and forget it: the caller ends early by itself."""
        waited, self.pending = self.pending is not None, None
        return waited


@contextmanager
def held() -> Iterator[Held]:
    """Let SIGINT, SIGTERM and SIGHUP wait inside the block. The first is delivered at its end, a second one at once.

    Signals that the process ignores (nohup) stay ignored. Outside the main thread, where Python handles no signals,
    nothing is held.
    """
    hold = Held()
    if threading.current_thread() is not threading.main_thread():
        yield hold
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = {number: old for number, old in before.items() if old not in {signal.SIG_IGN, None}}

    def note(number: int, _frame: FrameType | None) -> None:
        if hold.pending is None:
            hold.pending = number
            return
        signal.signal(number, taken[signal.Signals(number)])
        signal.raise_signal(number)

    try:
        for number in taken:
            signal.signal(number, note)
        yield hold
    finally:
        for number, old in taken.items():
            signal.signal(number, old)
        if hold.pending is not None:
            signal.raise_signal(hold.pending)
