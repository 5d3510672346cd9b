"""Answers about large libraries, kept for a while and then asked for again in the background.

An answer about a small library is never kept, so that its pages show what the database holds at this moment.
"""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

_T = TypeVar("_T")

# Answers that are kept; the order of 100,000 faces takes 10 MB.
_MOST = 8

# Seconds after which a kept answer is asked for again in the background, and after which it is not used any more.
_FRESH, _USABLE = 10.0, 120.0


class _Answer(NamedTuple):
    value: Any
    asked: float


class Kept:
    """Keeps answers by their questions. Safe for threads.

    Args:
        large: tells whether an answer is about so much that it is kept.
    """

    def __init__(self, large: Callable[[Any], bool]) -> None:
        self._large = large
        self._answers: dict[Hashable, _Answer] = {}
        self._asking: set[Hashable] = set()
        self._round = 0  # an answer to a question that was asked before `drop` is not kept
        self._lock = threading.Lock()

    def get(self, question: Hashable, ask: Callable[[], _T]) -> _T:
        """Return the answer to a question: a kept one, else ask.

        Args:
            question: what is asked.
            ask: asks the database. It is called in another thread, too.
        """
        kept = self.look(question, ask)
        return self._ask(question, ask) if kept is None else kept

    def look(self, question: Hashable, ask: Callable[[], _T]) -> _T | None:
        """Return the kept answer to a question; None when there is none."""
        kept = self._answers.get(question)
        age = time.monotonic() - kept.asked if kept else 0.0
        if kept is None or age > _USABLE:
            return None
        if age > _FRESH:
            self.ask_aside(question, ask)
        value: _T = kept.value
        return value

    def ask_aside(self, question: Hashable, ask: Callable[[], _T]) -> None:
        """Ask in the background, so that the answer is kept for whoever looks for it next."""
        with self._lock:
            if question in self._asking:
                return
            self._asking.add(question)
        # a daemon: the end of the program does not wait for an answer that nobody needs
        threading.Thread(target=self._ask_now, args=(question, ask), name="review-page-ask", daemon=True).start()

    def drop(self) -> None:
        """Forget all answers: something was changed."""
        with self._lock:
            self._answers.clear()
            self._round += 1

    def _ask_now(self, question: Hashable, ask: Callable[[], Any]) -> None:
        try:
            self._ask(question, ask)
        except Exception:  # noqa: BLE001 - whoever asks next is told
            self._answers.pop(question, None)
        finally:
            with self._lock:
                self._asking.discard(question)

    def _ask(self, question: Hashable, ask: Callable[[], _T]) -> _T:
        began, began_in = time.monotonic(), self._round
        value = ask()
        with self._lock:
            if self._large(value) and began_in == self._round:
                self._answers.pop(question, None)
                self._answers[question] = _Answer(value, began)  # behind the others
                while len(self._answers) > _MOST:
                    del self._answers[next(iter(self._answers))]
            else:
                self._answers.pop(question, None)
        return value
