"""Waiting in tests: for exactly what a test asserts next, however busy the machine is."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def until(condition: Callable[[], Answer], seconds: float = 60) -> Answer:
    """Ask again until a condition holds.

    Args:
        condition: Asked about a hundred times a second; what it raises ends the waiting.
        seconds: After these the test fails. No test passes later than it could, so this can be long.

    Returns:
        The first answer that is true.

    Raises:
        AssertionError: It never held; the message shows the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.01)
    return answer
