"""Who may use the emulator: host names, web pages, administrators, and who has to sign."""

import asyncio
import json
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from seedtool.emulator import objects, process
from seedtool.emulator.__main__ import main
from seedtool.emulator.access import access
from seedtool.emulator.application import application
from seedtool.emulator.faults import Faults
from seedtool.emulator.operations import Operations
from seedtool.emulator.process import EmulatorError, Key
from seedtool.emulator.server import _listen, announcement
from seedtool.emulator.store import Store

HERE, ELSEWHERE = ("127.0.0.1", 5000), ("192.168.0.9", 5000)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there
JSON = {"Content-Type": "application/json"}
LIST = {"X-Amz-Target": "RekognitionService.ListCollections", "Content-Type": "application/x-amz-json-1.1"}
TOKEN = {"Authorization": "Bearer a-long-word"}


@pytest.fixture
def ask(tmp_path):
    """Ask an application with these rules; returns status, headers and body of its answer."""
    store = Store(tmp_path / "faces.sqlite3")

    def run(method, path, headers=(), client=HERE, body=b"{}", **rules):
        app = application(Operations(store, objects.reader(None, None)), Faults(), tmp_path, access(tmp_path, **rules))
        answers = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            answers.append(message)

        given = [("Host", "127.0.0.1:4566"), *dict(headers).items()]
        if any(name == "Host" for name, _ in given[1:]):
            del given[0]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given],
            "client": client,
            "server": ("10.0.0.1", 80),
            "state": {},
        }
        asyncio.run(app(scope, receive, send))
        found = {name.decode().lower(): value.decode() for name, value in answers[0]["headers"]}
        return answers[0]["status"], found, b"".join(message.get("body", b"") for message in answers[1:])

    yield run
    store.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:4566",
        "127.8.9.10:80",
        "[::1]:4566",
        "[::1]",
        "[::ffff:127.0.0.1]:4566",
        "localhost",
        "LOCALHOST:4566",
        "Localhost.:4566",
    ],
)
def test_loopback_is_answered_by_each_of_its_names(ask, host):
    assert ask("POST", "/", LIST | {"Host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4566",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        EVERYWHERE,
        "[::]",
        "192.168.0.9:4566",
        "",
        " ",
        "localhost:4566:80",
        "localhost/evil.example",
        "::1",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("GET", "/_seedtool/status"), ("OPTIONS", "/")])
def test_another_host_name_is_refused_everywhere(ask, host, method, path):
    status, headers, body = ask(method, path, LIST | {"Host": host})
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    assert "--host-name" in json.loads(body)["Message"]


def test_names_that_were_given_are_answered(ask):
    rules = {"host_names": ["Emulator.Test", "10.1.2.3", "fd00::7"], "host": EVERYWHERE}
    for host in ("emulator.test:4566", "EMULATOR.TEST", "10.1.2.3:4566", "[fd00::7]:80", "localhost"):
        assert ask("POST", "/", LIST | {"Host": host}, **rules)[0] == 200
    for host in ("evil.example", "x.emulator.test", "0.0.0.0:4566", "10.1.2.4"):
        assert ask("POST", "/", LIST | {"Host": host}, **rules)[0] == 403


def test_the_address_that_it_listens_on_is_one_of_its_names(ask):
    assert ask("POST", "/", LIST | {"Host": "10.1.2.3:80"}, host="10.1.2.3")[0] == 200


@pytest.mark.parametrize("headers", [{}, {"Host": "10.2.0.7:4566"}, {"Host": "evil.example", "Origin": "null"}])
def test_a_probe_is_answered_by_whatever_name_it_calls(ask, headers):
    status, found, body = ask("GET", "/health", headers, client=ELSEWHERE, key=Key("someone", "secret"))
    assert (status, json.loads(body)) == (200, {"status": "running"})
    assert not any(name.startswith("access-control") for name in found)
    assert ask("POST", "/health", headers)[0] == 405


def test_between_containers_any_credentials_do_when_it_is_said(ask, tmp_path):
    rules = {"host": EVERYWHERE, "host_names": ["standin"]}
    call = LIST | {"Host": "standin:4566"}
    assert ask("POST", "/", call, client=ELSEWHERE, **rules)[0] == 400
    assert ask("POST", "/", call, client=ELSEWHERE, any_credentials=True, **rules)[0] == 200
    assert ask("POST", "/", call | {"Host": "evil.example"}, client=ELSEWHERE, any_credentials=True, **rules)[0] == 403
    assert ask("GET", "/_seedtool/status", call, client=ELSEWHERE, any_credentials=True, **rules)[0] == 403
    with pytest.raises(EmulatorError, match="any credentials"):
        access(tmp_path, key=Key("someone", "secret"), any_credentials=True)


@pytest.mark.parametrize(
    ("host", "rules", "told"),
    [
        ("127.0.0.1", {}, None),
        ("localhost", {}, None),
        ("::1", {}, None),
        (EVERYWHERE, {}, "Give it --host-name NAME"),
        (EVERYWHERE, {"host_names": ["standin", "fd00::7"]}, "use http://[fd00::7]:4566 or http://standin:4566."),
        ("10.1.2.3", {"any_credentials": True}, "use http://10.1.2.3:4566."),
    ],
)
def test_the_announcement_names_what_other_machines_need(tmp_path, host, rules, told):
    made = access(tmp_path, host=host, **rules)
    lines = announcement("http://127.0.0.1:4566", host, made, s3_objects=True)
    if told is None:
        assert not any("other machines" in line for line in lines)
    else:
        assert told in lines[2]
        assert ("They may use any credentials." if rules.get("any_credentials") else made.key.access_key_id) in lines[3]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:4566", "http://localhost:4566", "file://", ""]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("OPTIONS", "/"), ("GET", "/_seedtool/status"), ("POST", "/_seedtool/faults")],
)
def test_every_web_page_is_refused_unless_its_origin_was_given(ask, method, path, origin):
    asking = {"Access-Control-Request-Method": "POST"}
    status, headers, body = ask(method, path, JSON | LIST | asking | {"Origin": origin})
    assert status == 403
    assert not any(name.startswith("access-control") for name in headers)
    assert "--cors" in json.loads(body)["Message"]


def test_a_page_whose_origin_was_given_asks_and_is_answered(ask):
    page, rules = {"Origin": "http://localhost:5173"}, {"origins": ["http://LOCALHOST:5173/"]}
    wanted = "authorization,content-type,x-amz-date,x-amz-target"
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    status, headers, _ = ask("OPTIONS", "/", page | asking, **rules)
    assert status == 204
    assert headers["access-control-allow-origin"] == page["Origin"]
    assert headers["access-control-allow-headers"] == wanted
    assert "POST" in headers["access-control-allow-methods"]
    for more, expected in ((LIST, 200), ({"X-Amz-Target": "none"}, 400)):
        status, headers, _ = ask("POST", "/", page | more, **rules)
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (expected, page["Origin"], "Origin")
    for other in ("http://localhost:5174", "https://localhost:5173", "http://localhost:5173.evil.example"):
        assert ask("POST", "/", LIST | {"Origin": other}, **rules)[0] == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"host_names": ["http://emulator"]},
        {"host_names": ["emulator:4566"]},
        {"host_names": [""]},
        {"origins": ["*"]},
        {"origins": ["null"]},
        {"origins": ["http://localhost:5173/page"]},
        {"admin_token": " "},
    ],
)
def test_a_name_an_origin_or_a_token_that_is_none_is_refused(tmp_path, wrong):
    with pytest.raises(EmulatorError) as caught:
        access(tmp_path, **wrong)
    assert caught.value.remedy


ADMIN = [("GET", "status"), ("POST", "reset-counters"), ("GET", "faults"), ("POST", "faults")]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_only_this_machine_administers(ask, method, path):
    path = f"/_seedtool/{path}"
    for client in (ELSEWHERE, None):
        assert ask(method, path, JSON, client)[0] == 403
        assert ask(method, path, JSON | TOKEN, client)[0] == 403  # there is no token
    for client in (HERE, ("::1", 5000), ("::ffff:127.0.0.1", 5000)):
        assert ask(method, path, JSON, client)[0] == 200


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_another_machine_administers_with_the_token(ask, method, path):
    path, rules = f"/_seedtool/{path}", {"admin_token": "a-long-word"}
    assert ask(method, path, JSON | TOKEN, ELSEWHERE, **rules)[0] == 200
    assert ask(method, path, JSON, HERE, **rules)[0] == 200
    for wrong in ("Bearer another", "Bearer ", "Basic a-long-word", "a-long-word", "Bearer ä"):
        assert ask(method, path, JSON | {"Authorization": wrong}, ELSEWHERE, **rules)[0] == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
@pytest.mark.parametrize("path", ["faults", "reset-counters"])
def test_what_a_page_can_post_without_asking_changes_nothing(ask, path, kind):
    headers = {"Content-Type": kind} if kind else {}
    status, _, body = ask("POST", f"/_seedtool/{path}", headers, body=b'{"lag": 9}')
    assert status == 415
    assert "application/json" in json.loads(body)["remedy"]
    assert ask("POST", f"/_seedtool/{path}", {"Content-Type": "Application/JSON; charset=utf-8"})[0] == 200


def test_who_has_to_sign(ask, tmp_path):
    def code(client, **rules):
        return json.loads(ask("POST", "/", LIST | {"Host": "localhost"}, client, **rules)[2]).get("Code")

    missing = "MissingAuthenticationTokenException"
    assert code(HERE) is None
    assert code(HERE, host=EVERYWHERE) is None
    assert code(ELSEWHERE, host=EVERYWHERE) == missing  # by the key of the state directory
    assert code(HERE, key=Key("a", "b")) == missing
    assert code(ELSEWHERE, key=Key("a", "b")) == missing


def test_the_key_of_a_state_directory_is_made_once_and_its_owners_alone(tmp_path):
    state = tmp_path / "state"
    before = os.umask(0)
    try:
        with ThreadPoolExecutor(8) as pool:
            keys = set(pool.map(lambda _: process.key(state), range(32)))
    finally:
        os.umask(before)
    (key,) = keys
    assert len(key.secret) >= 40
    assert process.key(tmp_path / "another") != key
    assert [path.name for path in state.iterdir()] == ["emulator.key"]
    assert stat.S_IMODE(process.key_path(state).stat().st_mode) == 0o600
    process.key_path(state).write_text("damaged")
    with pytest.raises(EmulatorError) as caught:
        process.key(state)
    assert str(process.key_path(state)) in caught.value.message


@pytest.mark.parametrize(("host", "option"), [("192.0.2.1", "--host"), ("a..b", "--host"), ("127.0.0.1", "--port")])
def test_an_address_that_cannot_be_listened_on_is_told_apart_from_a_port(host, option):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EmulatorError, match="Cannot listen") as caught:
        _listen(host, taken.getsockname()[1])
    assert option in caught.value.remedy


@pytest.mark.parametrize("option", ["--state-dir", "--album", "--photos"])
def test_a_folder_without_a_name_is_not_the_current_one(option, capsys):
    assert main([option, ""]) == 2
    assert "the folder's name is empty" in capsys.readouterr().err
