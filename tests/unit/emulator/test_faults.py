"""Quotas as AWS publishes them, and which calls meet a fault."""

import contextlib

import pytest

from seedtool.emulator import faults as module
from seedtool.emulator.faults import Faults
from seedtool.emulator.protocol import OPERATIONS, ServiceError

ACCOUNT = "123456789012"
LARGE = dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"))
FIFTY = {"IndexFaces", "ListFaces", "SearchFaces", "SearchFacesByImage"}


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def passed(faults, operation, region, attempts=200):
    """How many of so many calls at one moment are not throttled."""
    count = 0
    for _ in range(attempts):
        with contextlib.suppress(ServiceError):
            faults.count(operation, ACCOUNT, region)
            count += 1
    return count


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("region", [*LARGE, "eu-central-1", "sa-east-1"])
def test_the_published_quotas(clock, operation, region):
    faults = Faults('{"tps": "published"}')
    expected = 5
    if operation == "DetectFaces":
        expected = 100 if region in LARGE else 25
    elif operation in FIFTY and region in LARGE:
        expected = 50
    assert passed(faults, operation, region) == expected
    clock.now += 0.5
    assert passed(faults, operation, region) == expected // 2
    clock.now += 60
    assert passed(faults, operation, region) == expected


def test_quotas_of_ones_own(clock):
    faults = Faults('{"tps": {"ListFaces": 2.5}}')
    assert passed(faults, "ListFaces", "us-east-1") == 2
    assert passed(faults, "IndexFaces", "us-east-1") == 200
    with pytest.raises(ServiceError) as caught:
        faults.count("ListFaces", ACCOUNT, "us-east-1")
    assert (caught.value.code, caught.value.status) == ("ProvisionedThroughputExceededException", 400)


def test_some_calls_of_an_operation():
    faults = Faults('{"rules": [{"fault": "dropped", "operation": "ListFaces", "first": 3, "times": 2, "every": 2}]}')
    met = [faults.count("ListFaces", ACCOUNT, "us-east-1") for _ in range(8)]
    assert met == [None, None, "dropped", None, "dropped", None, None, None]
    assert faults.count("IndexFaces", ACCOUNT, "us-east-1") is None
