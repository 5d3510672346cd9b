"""Answers about large libraries are kept, asked for again in the background, and forgotten after a change."""

import threading

import pytest

from seedtool.review_page import kept
from tests.waiting import until


class Question:
    """Answers how often it was asked."""

    def __init__(self):
        self.asked, self.done = 0, threading.Event()

    def __call__(self):
        self.asked += 1
        self.done.set()
        return self.asked


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(kept, "time", clock)
    return clock


def test_an_answer_about_little_is_never_kept():
    answers, ask = kept.Kept(lambda answer: answer > 2), Question()
    assert [answers.get("users", ask) for _ in range(5)] == [1, 2, 3, 3, 3]


def test_the_answers_that_were_asked_for_last_are_kept():
    answers, ask = kept.Kept(bool), Question()
    for user in range(10):
        answers.get(user, ask)
    assert [user for user in range(10) if answers.look(user, ask) is not None] == list(range(2, 10))


def test_an_answer_about_much_is_kept_refreshed_and_at_last_asked_for_again(clock):
    answers, ask = kept.Kept(bool), Question()
    assert [answers.get("users", ask) for _ in range(3)] == [1, 1, 1]
    clock.now += 11
    ask.done.clear()
    assert answers.get("users", ask) == 1
    assert ask.done.wait(5)
    until(lambda: answers.look("users", ask) == 2)
    clock.now += 1000
    assert answers.get("users", ask) == 3


def test_a_change_makes_all_answers_worthless_also_those_that_are_on_their_way():
    answers, ask = kept.Kept(bool), Question()
    answers.get("users", ask)
    answers.drop()
    assert answers.look("users", ask) is None

    def asked_before_the_change():
        answers.drop()
        return ask()

    assert answers.get("users", asked_before_the_change) == 2
    assert answers.look("users", ask) is None


def test_an_error_in_the_background_leaves_the_answer_to_whoever_asks_next(clock):
    answers, ask, failed = kept.Kept(bool), Question(), threading.Event()
    answers.get("users", ask)
    clock.now += 11

    def fails():
        failed.set()
        raise OSError

    assert answers.look("users", fails) == 1
    assert failed.wait(5)
    until(lambda: answers.look("users", ask) is None)
    assert answers.get("users", ask) == 2
