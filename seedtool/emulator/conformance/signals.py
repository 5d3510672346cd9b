"""Ctrl+C and its like: they end a run, but no request that makes a collection, and not the deleting."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Ctrl+C, the end that a process manager asks for, and a terminal that closes. Windows has no SIGHUP.
_NUMBERS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Let each of the signals raise KeyboardInterrupt."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Let the signals wait until the block has ended.

    Raises:
        KeyboardInterrupt: one came.
    """
    came: list[object] = []
    with _handling(lambda *signals: came.append(signals)):
        yield
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore the signals."""
    with _handling(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handling(handler: Callable[..., None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    before = {number: signal.signal(number, handler) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
