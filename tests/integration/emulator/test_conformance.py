"""The scenario is played against another endpoint: what differs is found, and nobody else's faces are touched."""

import contextlib
import copy
import dataclasses
import functools
import json
import operator
import os
import random
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seedtool.emulator import process
from seedtool.emulator.__main__ import main
from seedtool.emulator.conformance import command, journal
from seedtool.emulator.conformance.comparing import MAY_DIFFER, compare
from seedtool.emulator.conformance.journal import Place
from seedtool.emulator.conformance.pictures import scenario_pictures
from seedtool.emulator.conformance.playing import Player, Scenario, Told


class Proxy(ThreadingHTTPServer):
    """Hands requests on to the emulator and changes what it answers.

    `plant[operation, n]` gets the n-th answer of an operation as (status, headers, document) and returns it changed;
    `before[operation, n]` is called before that request is handed on.
    """

    def __init__(self, endpoint):
        super().__init__(("127.0.0.1", 0), _Handing)
        self.endpoint, self.plant, self.before = endpoint, {}, {}
        self.requests = []  # (operation, members)
        self.counting = threading.Lock()

    def calls(self, *operations):
        return [members for operation, members in self.requests if operation in operations]


class _Handing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        with self.server.counting:
            self.server.requests.append((operation, json.loads(body)))
            turn = operation, len(self.server.calls(operation))
        self.server.before.get(turn, bool)()
        kept = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "content-length"}}
        request = urllib.request.Request(self.server.endpoint, body, kept)
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            told = (
                answer.status,
                {name.lower(): value for name, value in answer.headers.items()},
                json.loads(answer.read()),
            )
        status, headers, document = self.server.plant.get(turn, lambda *each: each)(*told)
        content = json.dumps(document).encode()
        try:
            self.send_response_only(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # who asked is dead

    def log_message(self, *_):
        pass


@pytest.fixture
def proxy(emulator):
    server = Proxy(emulator.endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def play(proxy, emulator, tmp_path, monkeypatch, capsys):
    """Run `conformance` in this process against the proxy; the stand-in that it compares with is the tests' own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(command.process, "ensure", lambda _: emulator.endpoint)
    file = tmp_path / "result.json"

    def run(*arguments, port=proxy.server_port):
        file.unlink(missing_ok=True)
        url = f"http://localhost:{port}"
        code = main(["conformance", "--endpoint-url", url, "--out", str(file), *arguments])
        said = capsys.readouterr()
        return code, json.loads(file.read_text()) if file.exists() else None, said.out + said.err

    return run


def own_names(proxy, rekognition):
    """The collections of runs that are there, and whether the proxy was asked about others."""
    named = [members.get("CollectionId") for _, members in proxy.requests if "CollectionId" in members]
    named += [members["ResourceArn"].rpartition("/")[2] for _, members in proxy.requests if "ResourceArn" in members]
    foreign = [name for name in named if not name.startswith("seedtool-conformance-")]
    assert foreign == []
    return [name for name in rekognition.list_collections()["CollectionIds"] if name.startswith(journal.TAG)]


def changing(change):
    """A change of an answer's document in place."""

    def plant(status, headers, document):
        change(document)
        return status, headers, document

    return plant


def with_header(name, value):
    return lambda status, headers, document: (status, {**headers, name: value}, document)


def swapped(items):
    items[0], items[1] = items[1], items[0]


FRESH = "11111111-2222-4333-8444-555555555555"
PLANTED = {
    ("CreateCollection", 1): (changing(lambda d: d.update(Extra=1)), "create", "added", "Extra"),
    ("CreateCollection", 2): (
        changing(lambda d: d.update(StatusCode="200")),
        "create another",
        "type",
        "StatusCode",
    ),
    ("CreateCollection", 3): (
        changing(lambda d: d.update(Message=d["Message"] + ".")),
        "create again",
        "value",
        "Message",
    ),
    ("DescribeCollection", 1): (changing(lambda d: d.pop("UserCount")), "describe when empty", "missing", "UserCount"),
    ("IndexFaces", 1): (with_header("content-type", "application/json"), "index ana", "header", "content-type"),
    ("IndexFaces", 2): (
        changing(lambda d: d["FaceRecords"][0]["Face"].update(FaceId=FRESH)),
        "index ana twice",
        "id",
        "FaceRecords[0].Face.FaceId",
    ),
    ("IndexFaces", 3): (
        changing(lambda d: d["FaceRecords"][1]["FaceDetail"].update(Confidence="99")),
        "index a group",
        "type",
        "FaceRecords[1].FaceDetail.Confidence",
    ),
    ("IndexFaces", 6): (changing(lambda d: d.update(FaceRecords=None)), "index no face", "type", "FaceRecords"),
    ("IndexFaces", 7): (
        changing(lambda d: d.update(Code="InvalidParameterException")),
        "index what is no picture",
        "value",
        "Code",
    ),
    ("IndexFaces", 8): (lambda _, headers, d: (403, headers, d), "index a picture too small", "status", ""),
    ("ListFaces", 1): (changing(lambda d: d["Faces"].reverse()), "list at once", "order", "Faces"),
    ("ListFaces", 2): (changing(lambda d: d.pop("NextToken")), "list in pages", "elements", "NextToken"),
    ("SearchFaces", 1): (
        changing(lambda d: d["FaceMatches"][0].update(Similarity=1)),
        "search",
        "order",
        "FaceMatches",
    ),
    ("SearchFaces", 2): (
        changing(lambda d: d.update(SearchedFaceId=FRESH)),
        "search in vain",
        "id",
        "SearchedFaceId",
    ),
    ("SearchFaces", 3): (
        lambda _, headers, __: (200, headers, {}),
        "search an unknown face",
        "status",
        "",
    ),
    ("SearchFacesByImage", 1): (
        changing(lambda d: d["SearchedFaceBoundingBox"].pop("Top")),
        "search by image",
        "missing",
        "SearchedFaceBoundingBox.Top",
    ),
    ("DetectFaces", 1): (
        changing(lambda d: swapped(d["FaceDetails"][0]["Landmarks"])),
        "detect",
        "order",
        "FaceDetails[0].Landmarks",
    ),
    ("DetectFaces", 2): (
        changing(lambda d: d["FaceDetails"][0]["Emotions"].reverse()),
        "detect everything",
        "order",
        "FaceDetails[0].Emotions",
    ),
    ("AssociateFaces", 1): (
        changing(lambda d: d["UnsuccessfulFaceAssociations"][0].update(Reasons=["LOW_MATCH_CONFIDENCE"])),
        "associate",
        "value",
        "UnsuccessfulFaceAssociations[0].Reasons[0]",
    ),
    ("SearchUsersByImage", 1): (
        changing(lambda d: d["UserMatches"][0]["User"].update(UserStatus="UPDATING")),
        "search users by a picture",
        "value",
        "UserMatches[0].User.UserStatus",
    ),
    ("CompareFaces", 1): (
        changing(lambda d: d["UnmatchedFaces"].append(d["FaceMatches"].pop()["Face"])),
        "compare",
        "elements",
        "FaceMatches",
    ),
    ("ListTagsForResource", 1): (changing(lambda d: d["Tags"].pop("grade")), "list tags", "missing", "Tags.grade"),
    ("DeleteFaces", 2): (changing(lambda d: d.update(DeletedFaces=[])), "delete some", "elements", "DeletedFaces"),
    ("ListCollections", 2): (
        changing(lambda d: d["CollectionIds"].reverse()),
        "list collections",
        "order",
        "CollectionIds",
    ),
    ("DeleteCollection", 2): (
        changing(lambda d: d.update(Logref=5)),
        "delete again",
        "type",
        "Logref",
    ),
}


def test_planted_differences_are_found_and_no_others(proxy, play, rekognition):
    proxy.plant = {turn: planted[0] for turn, planted in PLANTED.items()}
    code, result, said = play()
    expected = {planted[1:] for planted in PLANTED.values()}
    found = {(each["step"], each["kind"], each["path"]) for each in result["differences"]}
    assert len(expected) >= 20
    assert expected <= found
    # one change may show in two ways: the element that one list has too many, another has too few
    assert {each["step"] for each in result["differences"]} == {step for step, _, _ in expected}
    assert code == 1
    assert f"{len(expected)} not" in said
    assert own_names(proxy, rekognition) == []


def test_the_stand_in_under_another_name_and_port_answers_alike(proxy, play, rekognition):
    rekognition.create_collection(CollectionId="nowhere")  # the scenario has one of this name that is not there
    code, result, said = play()
    assert (code, result["differences"]) == (0, [])
    assert result["steps"] == len(Scenario.read().steps)
    assert f"{result['steps']} were answered alike" in said
    assert rekognition.describe_collection(CollectionId="nowhere")["FaceCount"] == 0
    rekognition.delete_collection(CollectionId="nowhere")
    assert own_names(proxy, rekognition) == []
    text = json.dumps(result)
    assert "123456789012" not in text
    assert 'nowhere"' not in text.replace('-nowhere"', "")
    assert {question["question"] for question in result["questions"] if question["answers"]} == set(
        Scenario.read().questions.values()
    )
    assert_that_every_change_shows([Told(**pair["there"]) for pair in result["answers"]])
    permitted = {row.path for row in MAY_DIFFER}
    assert {key.rpartition(": ")[0] for key in result["permitted"]} <= permitted


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    elif path:
        yield path


def assert_that_every_change_shows(answers):
    """Whatever value of whatever answer has another type or is not there, the comparison says so."""
    places = [(told, path) for told in answers for path in leaves(told.body)]
    assert len(places) > 1000
    for told, path in random.Random(7).sample(places, 200):  # noqa: S311 - a sample
        for change in ("type", "missing", "text"):
            body = copy.deepcopy(told.body)
            *way, last = path
            parent = functools.reduce(operator.getitem, way, body)
            if change == "type":
                parent[last] = {"of": "another type"}
            elif change == "missing" and isinstance(parent, dict):
                del parent[last]
            elif change == "text" and isinstance(parent[last], str) and not {*path} & MAY_BE_ANOTHER:
                parent[last] += " "
            else:
                continue
            found = compare([told], [dataclasses.replace(told, body=body)]).differences
            assert found, (told.step, path, change)


#: Members whose texts may differ, by the table.
MAY_BE_ANOTHER = {
    "FaceModelVersion",
    "FaceModelVersions",
    "IndexFacesModelVersion",
    "NextToken",
    "Logref",
    "Gender",
    "UnindexedFaces",
}


@pytest.mark.parametrize("turn", [("CreateCollection", 1), ("CreateCollection", 2), ("SearchFaces", 2)])
def test_ctrl_c_deletes_what_was_made(proxy, play, rekognition, turn):
    number = signal.SIGTERM if turn[0] == "SearchFaces" else signal.SIGINT
    proxy.before[turn] = lambda: os.kill(os.getpid(), number)
    code, result, said = play()
    assert (code, result) == (130, None)
    assert "Interrupted" in said
    assert len(proxy.calls("DeleteCollection")) == (2 if turn[0] == "SearchFaces" else turn[1])
    assert own_names(proxy, rekognition) == []
    assert list(journal.folder().iterdir()) == []


def test_a_killed_run_is_tidied_up_by_the_next_one(proxy, play, rekognition, emulator, tmp_path):
    arrived = threading.Event()
    proxy.before["SearchFaces", 1] = lambda: arrived.set() or killed.wait(20)
    killed = threading.Event()
    arguments = ["conformance", "--endpoint-url", f"http://localhost:{proxy.server_port}"]
    program = f"""
from seedtool.emulator.__main__ import main, process
process.ensure = lambda _: {emulator.endpoint!r}
main({arguments!r})"""
    running = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)})
    assert arrived.wait(60)
    running.kill()
    running.wait()
    killed.set()
    left = own_names(proxy, rekognition)
    assert [name.rpartition("-")[2] for name in left] == ["school", "another"]
    # somebody else's has a name of this form, too
    foreign = left[0].replace("school", "other")
    rekognition.create_collection(CollectionId=foreign)
    proxy.before["CreateCollection", len(proxy.calls("CreateCollection")) + 1] = lambda: os.kill(
        os.getpid(), signal.SIGINT
    )  # it need not play all again
    code, _, said = play()
    assert code == 130
    assert re.search(rf"Deleted what an earlier run had left: {left[0]}, {left[1]}\.", said)
    assert own_names(proxy, rekognition) == [foreign]
    rekognition.delete_collection(CollectionId=foreign)
    assert list(journal.folder().iterdir()) == []


def test_it_costs_nothing_until_somebody_agrees(play, proxy, capsys, tmp_path):
    assert main(["conformance", "--live"]) == 1
    said = capsys.readouterr()
    assert re.search(r"costs at most 0\.0\d USD: \d\d calls", said.out)
    assert "Nothing was sent" in said.err
    assert play("--live")[0] == play("--out", str(tmp_path / "nowhere" / "file"))[0] == 1
    assert proxy.requests == []


def test_what_the_endpoint_does_not_allow_is_said(play, proxy, rekognition):
    denied = {"__type": "AccessDeniedException", "Code": "AccessDeniedException", "Message": "no", "Logref": FRESH}
    proxy.plant["CreateCollection", 1] = lambda _, headers, __: (400, headers, denied)
    proxy.plant["ListCollections", 1] = proxy.plant["CreateCollection", 1]
    assert "ListCollections was answered AccessDeniedException: no." in play()[2]
    assert list(journal.folder().iterdir()) == []
    code, result, said = play()
    assert (code, result) == (1, None)
    assert "CreateCollection was answered AccessDeniedException: no." in said
    assert proxy.calls("DeleteCollection") == proxy.calls("DeleteFaces") == []
    (made,) = own_names(proxy, rekognition)  # the proxy has handed the request on, and lies
    rekognition.delete_collection(CollectionId=made)
    proxy.before["CreateCollection", 3] = lambda: os.kill(os.getpid(), signal.SIGINT)
    proxy.plant["DeleteCollection", 1] = proxy.plant["CreateCollection", 1]
    code, _, said = play()
    (left,) = (members["CollectionId"] for members in proxy.calls("DeleteCollection")[:1])
    assert f"These collections could not be deleted: {left}" in said
    assert code == 130
    # elsewhere the next run leaves it alone, and says so
    proxy.before["CreateCollection", 5] = lambda: os.kill(os.getpid(), signal.SIGINT)
    _, _, said = play("--region", "eu-west-1")
    assert f"An earlier run may have left {left} at http://localhost:{proxy.server_port} in us-east-1" in said


def test_an_endpoint_that_is_no_rekognition_is_said(play, proxy):
    proxy.plant["ListCollections", 1] = lambda _, headers, __: (200, headers, ["<html>"])
    code, _, said = play()
    assert (code, "status 200" in said, "<html>" in said, "Name the endpoint" in said) == (1, True, True, True)
    assert [operation for operation, _ in proxy.requests] == ["ListCollections"]


def test_a_collection_of_which_nothing_is_known_stays_written_down(proxy, tmp_path, rekognition):
    """It may have been made, and nobody may look."""
    place = Place(f"http://localhost:{proxy.server_port}", "us-east-1")
    player = Player(place, key=process.Key("test", "test"))
    denied = {"__type": "AccessDeniedException", "Code": "AccessDeniedException", "Message": "no"}
    proxy.plant["DescribeCollection", 1] = lambda _, headers, __: (400, headers, denied)
    with contextlib.closing(journal.Journal(tmp_path / f"{'4' * 32}.jsonl", place)) as own:
        name, foreign = f"{own.prefix}school", f"{own.prefix}foreign"
        rekognition.create_collection(CollectionId=name, Tags={journal.TAG: own.run})
        rekognition.create_collection(CollectionId=foreign, Tags={journal.TAG: "another run"})
        own.note(name, "asked")
        assert player.delete(own, sure=True) == [name]
        own.note(foreign, "asked")
        own.note(f"{own.prefix}gone", "asked")
        assert player.delete(own, sure=False) == [foreign, f"{own.prefix}gone"]
        assert player.delete(own, sure=True) == [foreign]
        assert own_names(proxy, rekognition) == [foreign]
        rekognition.delete_collection(CollectionId=foreign)
    assert own.path.exists()


def test_an_endpoint_that_does_not_answer_is_said(play):
    code, _, said = play(port=1)
    assert (code, "Could not connect" in said, "Check the credentials" in said) == (1, True, True)


def test_a_step_waits_until_a_user_is_taken_in_and_a_foreign_arn_is_not_used(proxy, tmp_path):
    scenario = Scenario.read()
    wanted = ("create", "create a user", "list users", "describe for its arn", "tag")
    few = Scenario(scenario.questions, tuple(step for step in scenario.steps if step["name"] in wanted))
    foreign = "arn:aws:rekognition:us-east-1:123456789012:collection/school"
    proxy.plant["DescribeCollection", 1] = changing(lambda d: d.update(CollectionARN=foreign))
    proxy.plant["ListUsers", 1] = changing(lambda d: d["Users"][0].update(UserStatus="CREATING"))
    place = Place(f"http://localhost:{proxy.server_port}", "us-east-1")
    player = Player(place, key=process.Key("test", "test"), pause=0.01)
    with contextlib.closing(journal.Journal(tmp_path / f"{'0' * 32}.jsonl", place)) as own:
        told = list(player.play(few, {}, own))
        assert player.delete(own, sure=True) == []
    assert [each.status for each in told] == [200, 200, 200, 200, 0]
    assert len(proxy.calls("ListUsers")) == 3  # twice to see that the user is taken in, then the step
    assert proxy.calls("TagResource") == []


def test_an_answer_that_no_client_can_read_is_a_difference_and_so_is_a_step_that_needs_it(proxy, tmp_path):
    scenario = Scenario.read()
    wanted = ("create", "index ana", "list at once", "search")
    few = Scenario(scenario.questions, tuple(step for step in scenario.steps if step["name"] in wanted))
    place = Place(f"http://localhost:{proxy.server_port}", "us-east-1")
    player = Player(place, key=process.Key("test", "test"))
    sides = []
    for number in ("1", "2"):
        with contextlib.closing(journal.Journal(tmp_path / f"{number * 32}.jsonl", place)) as own:
            sides.append([told.without(own.account) for told in player.play(few, scenario_pictures(), own)])
            player.delete(own, sure=True)
        proxy.plant["ListFaces", 2] = lambda _, headers, __: (200, headers, {"Faces": "none"})
        proxy.plant["IndexFaces", 2] = changing(lambda d: d["FaceRecords"].clear())
    found = {(each.step, each.kind, each.path) for each in compare(*sides).differences if each.step != "create"}
    assert found == {
        ("index ana", "elements", "FaceRecords"),
        ("list at once", "type", "Faces"),
        ("list at once", "missing", "FaceModelVersion"),
        ("search", "played", ""),
    }


def test_a_run_that_goes_on_is_left_alone_and_a_damaged_journal_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place("http://localhost:1", "us-east-1")
    with contextlib.closing(journal.begin(place)) as running:
        running.note("a", "asked")
        assert list(journal.unfinished()) == []
    with running.path.open("ab") as file:
        file.write(b'{"collection": "b", "st')  # killed while it wrote
    (old,) = journal.unfinished()
    assert (old.place, old.collections, old.left()) == (place, {"a": "asked"}, ["a"])
    old.note("a", "deleted")
    old.close()
    assert list(journal.unfinished()) == []
    (journal.folder() / f"{'3' * 32}.jsonl").write_text('{"endpoint": 1}\n[]\n')
    with pytest.raises(process.EmulatorError, match="damaged") as caught:
        list(journal.unfinished())
    assert "3" * 32 in caught.value.remedy


GUIDE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")


def test_the_guide_lists_the_open_questions():
    guide = " ".join(GUIDE.split())
    for question in Scenario.read().questions.values():
        assert f"- {question}" in guide


def test_the_guides_policy_allows_every_step_in_the_runs_own_collections_alone():
    own, every = json.loads(re.search(r"\{\"Version\".*?\]\}\]\}", GUIDE, re.DOTALL)[0])["Statement"]
    steps = Scenario.read().steps
    named = {step["operation"] for step in steps if {"CollectionId", "ResourceArn"} & set(step["members"])}
    assert {action.partition(":")[2] for action in own["Action"]} == named
    assert own["Resource"].endswith(f":collection/{journal.TAG}-*")
    assert {action.partition(":")[2] for action in every["Action"]} == {step["operation"] for step in steps} - named
