"""A liveness session answers what a test has chosen, and then keeps it."""

import base64
import json

import pytest

from seedtool.emulator.faults import Faults
from seedtool.emulator.liveness import LIFETIME, MOST_BYTES, Liveness
from seedtool.emulator.process import EmulatorError
from seedtool.emulator.protocol import ServiceError, ServiceModel
from tests.integration.emulator.conftest import draw_picture

OWNER = ("123456789012", "us-east-1")


@pytest.fixture
def chosen():
    return Faults()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def sessions(chosen, clock):
    return Liveness(chosen.liveness, lambda: clock[0])


def begin(sessions, owner=OWNER, **members):
    return sessions.create(owner, members)["SessionId"]


def result(sessions, session, owner=OWNER):
    return sessions.results(owner, {"SessionId": session})


def choose(chosen, **outcome):
    chosen.set(json.dumps({"liveness": outcome}))


def test_a_session_waits_until_an_outcome_is_chosen_and_keeps_it(sessions, chosen):
    first = begin(sessions)
    assert result(sessions, first) == {"SessionId": first, "Status": "CREATED"}
    choose(chosen, status="IN_PROGRESS")
    assert result(sessions, first)["Status"] == "IN_PROGRESS"
    choose(chosen, status="SUCCEEDED", confidence=31.5)
    told = result(sessions, first)
    assert (told["Status"], told["Confidence"], told["AuditImages"]) == ("SUCCEEDED", 31.5, [])
    choose(chosen, status="FAILED")
    assert result(sessions, first) == told
    second = begin(sessions)
    assert result(sessions, second) == {"SessionId": second, "Status": "FAILED"}
    chosen.set("")
    assert result(sessions, second)["Status"] == "FAILED"


def test_a_session_expires_after_three_minutes(sessions, chosen, clock):
    choose(chosen, status="SUCCEEDED")
    session = begin(sessions)
    clock[0] = LIFETIME - 1
    assert result(sessions, session)["Status"] == "SUCCEEDED"
    clock[0] = LIFETIME
    assert result(sessions, session) == {"SessionId": session, "Status": "EXPIRED"}


def test_images_are_the_tests_own_or_in_the_bucket_of_the_session(sessions, chosen):
    content = draw_picture(1, "Ana", boxes=[(0.5, 0.5, 0.4, 0.6)])
    choose(chosen, status="SUCCEEDED", image=base64.b64encode(content).decode())
    told = result(sessions, begin(sessions, Settings={"AuditImagesLimit": 2}))
    assert base64.b64decode(told["ReferenceImage"]["Bytes"]) == content
    assert told["ReferenceImage"]["BoundingBox"] == {"Left": 0.3, "Top": 0.2, "Width": 0.4, "Height": 0.6}
    assert told["AuditImages"] == [told["ReferenceImage"]] * 2
    assert told["Challenge"]["Type"] == "FaceMovementAndLightChallenge"
    settings = {
        "OutputConfig": {"S3Bucket": "checks", "S3KeyPrefix": "a/"},
        "AuditImagesLimit": 1,
        "ChallengePreferences": [{"Type": "FaceMovementChallenge"}],
    }
    session = begin(sessions, Settings=settings)
    told = result(sessions, session)
    assert told["ReferenceImage"]["S3Object"] == {"Bucket": "checks", "Name": f"a/{session}/reference.jpg"}
    assert [set(image) for image in told["AuditImages"]] == [{"S3Object", "BoundingBox"}]
    assert told["Challenge"]["Type"] == "FaceMovementChallenge"


def test_a_token_gives_the_same_session_and_strangers_find_none(sessions, monkeypatch):
    session = begin(sessions, ClientRequestToken="t")
    assert begin(sessions, ClientRequestToken="t") == session
    assert begin(sessions, ClientRequestToken="u") != session
    elsewhere = (OWNER[0], "eu-west-1")
    assert begin(sessions, owner=elsewhere, ClientRequestToken="t") != session
    with pytest.raises(ServiceError, match=session) as caught:
        result(sessions, session, owner=elsewhere)
    assert caught.value.code == "SessionNotFoundException"
    monkeypatch.setattr("seedtool.emulator.liveness._MOST_SESSIONS", 2)
    begin(sessions, ClientRequestToken="v")
    with pytest.raises(ServiceError):
        result(sessions, session)
    assert begin(sessions, ClientRequestToken="t") != session


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ({"confidence": 101}, "0 to 100"),
        ({"image": base64.b64encode(bytes(MOST_BYTES + 1)).decode()}, "204,800 bytes"),
        ({"image": base64.b64encode(b"no picture").decode()}, "invalid image format"),
        ({"image": base64.b64encode(draw_picture(1, uniform=True)).decode()}, "has no face"),
        ({"status": "LIVE"}, "LIVE"),
    ],
)
def test_an_outcome_that_is_none_is_refused(chosen, outcome, said):
    with pytest.raises(EmulatorError) as caught:
        choose(chosen, **outcome)
    assert said in caught.value.message


def test_every_limit_of_a_session_is_the_models():
    model = ServiceModel()
    request = {
        "Settings": {
            "OutputConfig": {"S3Bucket": "a!", "S3KeyPrefix": "a b"},
            "AuditImagesLimit": 5,
            "ChallengePreferences": [{"Type": "FaceMovementChallenge"}, {"Type": "Dance"}, {}],
        },
        "ClientRequestToken": "",
    }
    if "ChallengePreferences" not in model._shapes["CreateFaceLivenessSessionRequestSettings"]["members"]:
        pytest.skip("this botocore is older than the preferences")
    with pytest.raises(ServiceError) as caught:
        model.request("CreateFaceLivenessSession", json.dumps(request).encode())
    assert caught.value.message.startswith("8 validation errors detected: ")
    for path in ("outputConfig.s3Bucket", "outputConfig.s3KeyPrefix", "auditImagesLimit"):
        assert f"'settings.{path}'" in caught.value.message
    assert "'settings.challengePreferences.2.member.type'" in caught.value.message
    assert "Value null at 'settings.challengePreferences.3.member.type'" in caught.value.message
    whole = {"Settings": {"ChallengePreferences": [{"Type": "FaceMovementChallenge"}]}}
    assert model.request("CreateFaceLivenessSession", json.dumps(whole).encode()) == whole
