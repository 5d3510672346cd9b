"""Counting without end in bounded memory, and money."""

import time

import msgspec
import pytest

from seedtool.backfill.reporting.report import MOST_ERRORS, MOST_USERS, POINTS, Failure, Outcome, Tally
from seedtool.backfill.reporting.spending import Meter, OverBudget


def leave(meter, operation, times=1):
    for _ in range(times):
        meter.leave(f"before-send.rekognition.{operation}")


def test_the_call_that_would_cost_too_much_does_not_leave():
    meter = Meter({"IndexFaces": 0.001, "SearchFaces": 0.001}, 0.005)
    leave(meter, "IndexFaces", 3)
    leave(meter, "SearchFaces", 2)
    leave(meter, "ListFaces", 10)  # free
    with pytest.raises(OverBudget):
        leave(meter, "SearchFaces")
    assert meter.cost() == 0.005
    assert meter.calls == {"IndexFaces": 3, "SearchFaces": 2, "ListFaces": 10}
    assert meter.affords(0)
    assert not meter.affords(0.001)


def test_a_thread_is_told_its_own_calls():
    meter = Meter({}, None)
    leave(meter, "IndexFaces", 2)
    assert meter.take() == {"IndexFaces": 2}
    assert meter.take() == {}
    meter.heed("response-received.rekognition.IndexFaces", {"Error": {"Code": "ThrottlingException"}})
    meter.heed("response-received.rekognition.IndexFaces", {"Error": {"Code": "InternalServerError"}})
    assert meter.throttled == {"IndexFaces": 1}


def test_a_report_does_not_grow_with_the_library(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tally = Tally(total=100_000)
    outcome = Outcome(faces=2, auto_assigned=1, needs_person=1, suggested=1, similarities=(100.0, 95.0, 80.04))
    for i in range(20_000):
        clock[0] += 0.2
        tally.success(f"user-{i:05}", outcome, cost=i / 1000)
        failure = Failure(asset_id=str(i), user_id="somebody", file_name="x", cause="broken")
        tally.failure(failure, cost=0.0)
        tally.point({"IndexFaces": i}, {"IndexFaces": i // 100})
        tally.note("user", ValueError("x"))
    assert len(tally.points) < POINTS
    assert [point.seconds for point in tally.points] == sorted(point.seconds for point in tally.points)
    assert (len(tally.errors), len(tally.notes), len(tally.by_user)) == (MOST_ERRORS, MOST_ERRORS, MOST_USERS)
    assert tally.by_user[0].cost == 19.999
    assert (tally.succeeded, tally.failed) == (20_000, 20_000)
    assert tally.similarities == {999: 20_000, 950: 20_000, 800: 20_000}
    told = tally.progress(elsewhere=20_000)
    assert (told.done, told.total) == (40_000, 80_000)
    assert told.seconds_left == pytest.approx(4000)
    assert msgspec.json.encode(tally.points)
