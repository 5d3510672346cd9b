"""Counting without end in bounded memory, and money."""

import time
from types import SimpleNamespace

import msgspec
import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError
from botocore.hooks import HierarchicalEmitter

from seedtool.backfill.calls import Meter, OverBudget
from seedtool.backfill.report import MOST_ERRORS, MOST_POINTS, MOST_USERS, Failure, Outcome, Tally
from seedtool.faces.rekognition.service import Aws
from seedtool.settings import load


def leave(meter, operation, times=1):
    for _ in range(times):
        meter.count(operation)


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
    assert meter.take_billed_of_thread() == {"IndexFaces": 2}
    assert meter.take_billed_of_thread() == {}


ANSWERS = [
    ({"parsed_response": {"FaceRecords": []}}, True, False),
    ({"parsed_response": {"Error": {"Code": "ThrottlingException"}}}, False, True),
    ({"parsed_response": {"Error": {"Code": "InternalServerError"}}}, False, False),
    ({"parsed_response": {"Error": {"Code": "InvalidImageFormatException"}}}, False, False),
    ({"parsed_response": None, "exception": EndpointConnectionError(endpoint_url="x")}, False, False),
    ({"parsed_response": None, "exception": ReadTimeoutError(endpoint_url="x")}, True, False),
    ({"parsed_response": None, "exception": ConnectionClosedError(endpoint_url="x")}, True, False),
]


@pytest.mark.parametrize(("answer", "billed", "throttled"), ANSWERS)
def test_a_call_is_billed_unless_it_is_answered_with_an_error_or_was_never_sent(
    monkeypatch, tmp_path, answer, billed, throttled
):
    events = HierarchicalEmitter()
    aws = Aws(load(tmp_path, environ={"HOME": str(tmp_path), "SEEDTOOL_AWS": "live", "AWS_REGION": "us-east-1"}))
    monkeypatch.setattr(aws, "rekognition", lambda: SimpleNamespace(meta=SimpleNamespace(events=events)))
    meter = Meter({"IndexFaces": 0.001}, 0.001)
    with aws.metered(meter):
        events.emit("before-send.rekognition.ListFaces")
        events.emit("before-send.rekognition.IndexFaces")
        assert meter.billed == {"IndexFaces": 1}  # until there is an answer
        with pytest.raises(OverBudget):
            events.emit("before-send.rekognition.IndexFaces")
        events.emit("response-received.rekognition.IndexFaces", **answer)
        assert meter.affords(0.001) is not billed
        calls = {"ListFaces": 1, "IndexFaces": 1}
        assert (meter.calls, meter.billed, meter.cost()) == (calls, {"IndexFaces": int(billed)}, 0.001 * billed)
        assert meter.throttled == ({"IndexFaces": 1} if throttled else {})
        assert meter.take_billed_of_thread() == ({"ListFaces": 1, "IndexFaces": 1} if billed else {"ListFaces": 1})
    events.emit("before-send.rekognition.IndexFaces")
    assert meter.calls == calls


def test_assets_of_which_none_was_adopted_are_counted_as_a_number():
    tally = Tally(total=1)
    tally.add_success("user", Outcome(faces=1), cost=0.0)
    report = tally.report(
        mode="live",
        region="",
        users_elsewhere=0,
        calls={},
        billed={},
        throttled={},
        cost=0.0,
        interrupted=False,
        stopped="",
    )
    assert b'"adopted":0' in msgspec.json.encode(report)


def test_a_report_does_not_grow_with_the_library(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tally = Tally(total=100_000)
    outcome = Outcome(faces=2, auto_assigned=1, needs_person=1, suggested=1, similarities=(100.0, 95.0, 80.04))
    for i in range(20_000):
        clock[0] += 0.2
        tally.add_success(f"user-{i:05}", outcome, cost=i / 1000)
        failure = Failure(asset_id=str(i), user_id="somebody", file_name="x", cause="broken")
        tally.add_failure(failure, cost=0.0)
        tally.add_point({"IndexFaces": i}, {"IndexFaces": i // 100})
        tally.add_note("user", ValueError("x"))
    assert len(tally.points) < MOST_POINTS
    assert [point.seconds for point in tally.points] == sorted(point.seconds for point in tally.points)
    assert (len(tally.errors), len(tally.notes), len(tally.by_user)) == (MOST_ERRORS, MOST_ERRORS, MOST_USERS)
    assert tally.by_user[0].cost == 19.999
    assert (tally.succeeded, tally.failed) == (20_000, 20_000)
    assert tally.similarities == {999: 20_000, 950: 20_000, 800: 20_000}
    progress = tally.progress(of_other_runs=20_000)
    assert (progress.done, progress.total) == (40_000, 80_000)
    assert progress.seconds_left == pytest.approx(4000)
    assert msgspec.json.encode(tally.points)
