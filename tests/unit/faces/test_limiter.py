"""The token bucket, with time standing in its arguments."""

import heapq
from types import SimpleNamespace

import pytest
from botocore.hooks import HierarchicalEmitter
from hypothesis import example, given
from hypothesis import strategies as st

from seedtool.faces.rekognition import limiter
from seedtool.faces.rekognition.limiter import Bucket, Limiter


def reserve(bucket, now):
    """Take a ticket; return how many seconds to wait before using it."""
    return bucket.wait(bucket.take(now), now)


def test_a_burst_goes_at_once_and_then_the_rate_holds():
    bucket = Bucket(rate=10, burst=3)
    waits = [reserve(bucket, 100.0) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])
    assert reserve(bucket, 200.0) == 0


@given(
    gaps=st.lists(st.floats(0, 0.5) | st.sampled_from([0.0, 5.0]), min_size=1, max_size=200),
    rate=st.sampled_from([5.0, 49.0]),
    burst=st.sampled_from([1.0, 10.0]),
)
@example(gaps=[5.0] + [0.0] * 100, rate=49.0, burst=10.0)
def test_no_second_sees_more_than_rate_and_burst(gaps, rate, burst):
    bucket, now, sent = Bucket(rate, burst), 1000.0, []
    for gap in gaps:
        now += gap
        sent.append(now + reserve(bucket, now))
    sent.sort()
    for start in sent:
        within = sum(start <= at < start + 1 for at in sent)
        assert within <= rate + burst + 1e-6


def test_a_throttling_answer_slows_down_and_time_heals():
    bucket = Bucket(rate=50, burst=10)
    for step in range(30):
        bucket.slow_down(now=100 + step)
    assert bucket.rate == 1
    reserve(bucket, 200.0)
    assert bucket.rate == 50


def test_throttling_answers_of_one_instant_count_once():
    bucket = Bucket(rate=50, burst=10)
    for _ in range(20):
        bucket.slow_down(now=100.0)
    assert bucket.rate == 35


def test_whoever_waits_already_is_slowed_down_as_well():
    bucket = Bucket(rate=10, burst=1)
    tickets = [bucket.take(now=100.0) for _ in range(11)]
    assert bucket.wait(tickets[-1], now=100.0) == pytest.approx(1.0)
    for step in range(3):
        bucket.slow_down(now=100.0 + step * 0.25)
    assert bucket.wait(tickets[-1], now=100.5) > 1.0
    assert bucket.wait(tickets[0], now=100.5) == 0


def test_it_is_not_slowed_down_below_what_is_answered():
    bucket, now = Bucket(rate=50, burst=10), 100.0
    for _ in range(60):  # a quota of five, and the news of throttling come late
        now += 0.2
        bucket.answered(now)
        reserve(bucket, now)
        bucket.slow_down(now)
    assert 4 <= bucket.rate <= 6


def test_throttling_goes_on_being_heeded_while_others_reserve():
    bucket = Bucket(rate=50, burst=10)
    for step in range(100):
        reserve(bucket, 100 + step / 100)
        bucket.slow_down(now=100 + step / 100)
    assert bucket.rate < 15


@pytest.mark.parametrize(
    ("region", "operation", "quota"),
    [
        ("us-east-1", "IndexFaces", 50),
        ("us-west-2", "ListFaces", 50),
        ("eu-west-1", "SearchFaces", 50),
        ("eu-central-1", "IndexFaces", 5),
        ("us-east-1", "DeleteFaces", 5),
        ("us-east-1", "CreateCollection", 5),
    ],
)
def test_the_rates_stay_under_the_published_quotas(region, operation, quota):
    assert 0.9 * quota <= Limiter(region).bucket(operation).rate < quota


@pytest.mark.parametrize("published", [True, False])
def test_where_no_quota_is_known_nobody_waits_until_a_throttling_answer_tells_of_one(monkeypatch, published):
    clock = SimpleNamespace(now=100.0, slept=0.0)

    def sleep(seconds):
        clock.now += max(seconds, 1e-6)
        clock.slept += seconds

    monkeypatch.setattr(limiter, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    events = HierarchicalEmitter()
    Limiter("eu-central-1", published=published).attach(SimpleNamespace(meta=SimpleNamespace(events=events)))

    def list_faces(code=None):
        events.emit("before-sign.rekognition.ListFaces", operation_name="ListFaces")
        events.emit("response-received.rekognition.ListFaces", parsed_response={"Error": {"Code": code}})

    for _ in range(20):
        list_faces()
    assert (clock.slept > 3) == published
    list_faces("ThrottlingException")
    for _ in range(20):
        list_faces()
    assert clock.slept > 3


def served(bucket, quota, calls, latency, workers=100):
    """Send calls to a service that allows fewer than we think; return the seconds, and the share that was throttled.

    The service counts a call when it answers it, and throttled calls are sent again.
    """
    now, tokens, at, throttled, left = 1000.0, quota, 1000.0, 0, calls
    answers = [(now, number) for number in range(workers)]  # when each worker's answer comes; at first there is none
    heapq.heapify(answers)
    waiting = {}
    while left:
        now, worker = heapq.heappop(answers)
        if waiting.get(worker) == "sent":
            tokens, at = min(quota, tokens + (now - at) * quota), now
            if tokens >= 1:
                tokens -= 1
                left -= 1
                bucket.answered(now)
            else:
                throttled += 1
                bucket.slow_down(now)
            waiting[worker] = None
        if waiting.get(worker) is None:
            waiting[worker] = bucket.take(now)
        pause = bucket.wait(waiting[worker], now)
        if pause > 0:
            heapq.heappush(answers, (now + min(max(pause, 0.001), 0.25), worker))
        else:
            waiting[worker] = "sent"
            heapq.heappush(answers, (now + latency, worker))
    return now - 1000.0, throttled / (calls + throttled)


@pytest.mark.parametrize("latency", [0.25, 1.5])
def test_a_quota_that_was_learned_is_used_and_hardly_exceeded(latency):
    bucket = Bucket(rate=50 * limiter.SHARE, burst=10)
    bucket.begin_at(5 * limiter.SHARE, 1.0, 1000.0)
    seconds, throttled = served(bucket, quota=5, calls=400, latency=latency)
    assert seconds <= 1.1 * 400 / 5 + latency
    assert throttled < 0.05


def test_a_quota_that_was_learned_wrongly_is_left_behind_soon():
    bucket = Bucket(rate=50 * limiter.SHARE, burst=10)
    bucket.begin_at(5 * limiter.SHARE, 1.0, 1000.0)
    for second in range(70):
        reserve(bucket, 1000.0 + second)
    assert bucket.rate == 50 * limiter.SHARE


def test_throttling_of_the_first_calls_tells_the_quota_of_the_like_operations():
    events = HierarchicalEmitter()
    made = Limiter("us-east-1")
    made.attach(SimpleNamespace(meta=SimpleNamespace(events=events)))
    events.emit("response-received.rekognition.ListFaces", parsed_response={})
    assert made.bucket("IndexFaces").rate > 40
    events.emit(
        "response-received.rekognition.DescribeCollection", parsed_response={"Error": {"Code": "ThrottlingException"}}
    )
    assert made.bucket("IndexFaces").rate > 40
    events.emit("response-received.rekognition.ListFaces", parsed_response={"Error": {"Code": "ThrottlingException"}})
    assert made.bucket("IndexFaces").rate < 5.1
    assert made.bucket("SearchFaces").rate < 5.1
    assert made.bucket("CreateCollection").rate < 5.1


def test_throttling_after_many_answers_tells_nothing_of_other_operations():
    events = HierarchicalEmitter()
    made = Limiter("us-east-1")
    made.attach(SimpleNamespace(meta=SimpleNamespace(events=events)))
    for _ in range(40):
        events.emit("response-received.rekognition.IndexFaces", parsed_response={})
    events.emit("response-received.rekognition.IndexFaces", parsed_response={"Error": {"Code": "ThrottlingException"}})
    assert made.bucket("SearchFaces").rate > 40
