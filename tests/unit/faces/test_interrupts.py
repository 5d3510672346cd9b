"""Ctrl+C, held back for a moment."""

import os
import signal
import threading

import pytest

from seedtool.faces.interrupts import held


def hold_through(times, steps):
    """Send so many signals while they are held, and note what was done."""
    with held() as hold:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
        steps.append(hold.pending)


def test_the_first_one_waits_until_the_end():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        hold_through(1, steps)
    assert steps == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_one_does_not_wait():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        hold_through(2, steps)
    assert steps == []


def test_one_that_was_taken_is_not_delivered():
    with held() as hold:
        os.kill(os.getpid(), signal.SIGTERM)
        assert hold.take()
    assert not hold.take()


def test_what_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with held() as hold:
            os.kill(os.getpid(), signal.SIGHUP)
            assert hold.pending is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_nothing_is_held():
    outcome = []

    def work():
        with held() as hold:
            outcome.append(hold.pending)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == [None]
