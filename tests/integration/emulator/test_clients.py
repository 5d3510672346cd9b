"""boto3, the AWS command line client and the JavaScript SDK play one scenario and are answered the same."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seedtool.emulator import conformance
from seedtool.emulator.conformance.pictures import scenario_pictures

CLIENTS = Path(__file__).parent / "clients"
SCENARIO = Path(conformance.__file__).with_name("scenario.json")
#: The steps without those that clients refuse before they send them.
STEPS = [step for step in json.loads(SCENARIO.read_text())["steps"] if not step.get("wire")]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in scenario_pictures().items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def play(emulator, pictures, tmp_path_factory):
    """Play the scenario in an account of its own; an access key of twelve digits names one."""

    def run(account, *command):
        environment = client_environment(emulator.endpoint, tmp_path_factory.mktemp("home"), key=account)
        command = [*map(str, command), str(SCENARIO), str(pictures)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def client_environment(endpoint, home, key="test"):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "HOME": str(home),
        "AWS_ENDPOINT_URL_REKOGNITION": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="module")
def by_boto3(play):
    return play("100000000001", sys.executable, CLIENTS / "playing.py", "boto3")


def comparable(results, *, bare=False):
    """The answers without what differs from run to run: ids, tokens, times, the order that random FaceIds give."""
    return [normal(result, {}, bare=bare) for result in results]


def normal(result, names, *, bare):
    said = {key: value for key, value in result.items() if not (bare and key in {"status", "attempts"})}
    if "pages" in said:
        pages = said.pop("pages")
        said.pop("answer")
        (items,) = {key for key in pages[0] if key in {"Faces", "CollectionIds", "Users"}}
        said["sizes"] = [len(page[items]) for page in pages]
        said["answer"] = {items: [item for page in pages for item in page[items]]}
    return masked(said, names)


def by_picture(face):
    return face.get("ExternalImageId", ""), str(face.get("BoundingBox"))


def masked(value, names):
    if isinstance(value, dict):
        hidden = {"CreationTimestamp", "NextToken"}
        return {key: f"<{key}>" if key in hidden else masked(item, names) for key, item in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], dict) and "FaceId" in value[0]:
            value = sorted(value, key=by_picture)
        if value and isinstance(value[0], dict) and "Similarity" in value[0]:
            value = sorted(value, key=lambda match: (-match["Similarity"], by_picture(match.get("Face", {}))))
        return [masked(item, names) for item in value]
    if isinstance(value, str):
        value = re.sub(r":\d{12}:", ":<account>:", value)
        return UUID.sub(lambda found: names.setdefault(found[0], f"<id {len(names)}>"), value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_the_scenario_goes_as_written(by_boto3):
    for step, result in zip(STEPS, by_boto3, strict=True):
        assert result.get("error") == step.get("error"), step["name"]
        if "error" in step:
            assert (result["status"], result["attempts"]) == (400, 1), step["name"]
    answers = {result["name"]: result.get("answer") for result in by_boto3}
    assert answers["index ana twice"] == answers["index ana"]
    assert len(answers["index a group"]["FaceRecords"]) == 2
    assert [face["Reasons"] for face in answers["index a group"]["UnindexedFaces"]] == [["SMALL_BOUNDING_BOX"]]
    assert answers["index only the largest"]["UnindexedFaces"][0]["Reasons"] == ["EXCEEDS_MAX_FACES"]
    assert answers["describe when full"]["FaceCount"] == len(answers["list at once"]["Faces"]) == 5
    pages = {result["name"]: result["pages"] for result in by_boto3 if "pages" in result}
    assert [len(page["Faces"]) for page in pages["list in pages"]] == [2, 2, 1]
    assert len(answers["search"]["FaceMatches"]) == 2
    assert [len(page["Users"]) for page in pages["list users"]] == [1, 1]
    ana = answers["index ana"]["FaceRecords"][0]["Face"]["FaceId"]
    assert answers["associate"]["AssociatedFaces"] == [{"FaceId": ana}]
    assert answers["associate"]["UnsuccessfulFaceAssociations"][0]["Reasons"] == ["FACE_NOT_FOUND"]
    (other,) = answers["associate another's face"]["UnsuccessfulFaceAssociations"]
    assert (other["Reasons"], other["Confidence"] < 75) == (["LOW_MATCH_CONFIDENCE"], True)
    (taken,) = answers["associate a face of ana with beto"]["UnsuccessfulFaceAssociations"]
    assert (taken["Reasons"], taken["UserId"]) == (["ASSOCIATED_TO_A_DIFFERENT_USER"], "ana")
    assert {face["UserId"] for face in answers["list the faces of ana"]["Faces"]} == {"ana"}
    for step in ("search users by a face", "search users by a picture"):
        (match,) = answers[step]["UserMatches"]
        assert (match["User"]["UserId"], match["Similarity"] > 95) == ("ana", True)
    assert [each["Reasons"] for each in answers["search users by a picture"]["UnsearchedFaces"]] == [
        ["FACE_NOT_LARGEST"]
    ]
    assert "SearchedFace" not in answers["search users by a wall"]
    assert answers["delete a user's face"]["UnsuccessfulFaceDeletions"] == [
        {"FaceId": ana, "UserId": "ana", "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
    ]
    assert answers["disassociate"]["DisassociatedFaces"] == [{"FaceId": ana}]
    assert len(answers["compare"]["FaceMatches"]) == len(answers["compare"]["UnmatchedFaces"]) == 1
    assert answers["compare strangers"]["FaceMatches"] == []
    assert answers["list tags"]["Tags"] == {"grade": "1 A", "año": "2026"}
    assert answers["delete some"]["DeletedFaces"] == [answers["index ana"]["FaceRecords"][0]["Face"]["FaceId"]]


def test_awscli_is_answered_as_boto3_is(play, by_boto3):
    pytest.importorskip("awscli", reason="awscli is not installed in this environment")
    by_awscli = play("100000000002", sys.executable, CLIENTS / "playing.py", "awscli")
    assert comparable(by_awscli) == comparable(by_boto3, bare=True)


def test_the_javascript_sdk_is_answered_as_boto3_is(play, by_boto3, node_modules):
    by_javascript = play("100000000003", "node", CLIENTS / "playing.mjs", node_modules)
    assert comparable(by_javascript) == comparable(by_boto3)
