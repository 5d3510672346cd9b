"""Over real sockets: a page of a stranger, another user of the machine, and IPv6."""

import http.client
import json
import socket
import stat
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from seedtool.cli.servers import emulator as emulator_command
from seedtool.emulator import process
from seedtool.emulator.__main__ import main, standin

LIST = {"X-Amz-Target": "RekognitionService.ListCollections", "Content-Type": "text/plain"}


def send(endpoint, path="/", headers=LIST, body="{}"):
    """Send a request with exactly these headers; returns the status, the headers and the JSON of the answer."""
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.putrequest("POST", path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    found = answer.status, answer.headers, json.loads(answer.read())
    connection.close()
    return found


def code_of(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def test_a_page_of_a_stranger_reaches_nothing(emulator, admin):
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    for headers in (rebound, {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        status, answered, body = send(emulator.endpoint, headers=LIST | headers)
        assert (status, body["Code"]) == (403, "AccessDeniedException")
        assert answered["Server"] == "seedtool-emulator"
    before = admin(emulator.endpoint, "faults")
    simple = {"Content-Type": "text/plain"}
    assert send(emulator.endpoint, "/_seedtool/faults", simple, '{"lag": 9}')[0] == 415
    assert send(emulator.endpoint, "/_seedtool/faults", simple | {"Origin": "http://a.example"}, '{"lag": 9}')[0] == 403
    assert admin(emulator.endpoint, "faults") == before
    forwarded = LIST | {"X-Forwarded-Host": "localhost", "Host": "evil.example"}
    assert send(emulator.endpoint, headers=forwarded)[0] == 403
    assert send(emulator.endpoint)[0] == 200


@pytest.fixture
def background(tmp_path):
    """The project's emulator as commands start it."""
    yield process.ensure(tmp_path, verify=True)
    process.stop(tmp_path)


def test_another_user_of_the_machine_needs_the_key(background, tmp_path, connect):
    key = process.key(tmp_path)
    ours = connect(background, key=key.access_key_id, secret=key.secret)
    ours.create_collection(CollectionId="kept")
    assert code_of(connect(background).list_collections) == "UnrecognizedClientException"
    assert code_of(connect(background, key=key.access_key_id).list_collections) == "InvalidSignatureException"
    assert code_of(connect(background, key="123456789012").list_collections) == "UnrecognizedClientException"
    assert send(background)[2]["Code"] == "MissingAuthenticationTokenException"
    assert ours.list_collections()["CollectionIds"] == ["kept"]
    assert stat.S_IMODE(process.key_path(tmp_path).stat().st_mode) == 0o600
    assert process.ensure(tmp_path, verify=True) == background
    process.stop(tmp_path)
    again = process.ensure(tmp_path, verify=True)
    assert process.key(tmp_path) == key
    assert connect(again, key=key.access_key_id, secret=key.secret).list_collections()["CollectionIds"] == ["kept"]


def _has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_loopback(own, connect):
    endpoint = own("--host", "::1")
    assert endpoint.startswith("http://[::1]:")
    assert connect(endpoint).list_collections()["CollectionIds"] == []
    assert send(endpoint, headers=LIST | {"Host": "[fd00::1]:80"})[0] == 403


def test_on_all_addresses_it_names_one_that_works_and_takes_any_credentials_there(own, connect):
    page = {"Origin": "http://localhost:5173"}
    endpoint = own("--host", "0.0.0.0", "--host-name", "emulator", "--cors", page["Origin"])  # noqa: S104 - for the length of a test
    assert endpoint.startswith("http://127.0.0.1:")
    assert connect(endpoint, key="whatever", secret="x").list_collections()["CollectionIds"] == []
    assert send(endpoint, headers=LIST | {"Host": "EMULATOR:4566"})[0] == 200
    assert send(endpoint, headers=LIST | {"Host": "other:4566"})[0] == 403
    status, headers, _ = send(endpoint, headers=LIST | page)
    assert (status, headers["access-control-allow-origin"]) == (200, page["Origin"])
    assert send(endpoint, headers=LIST | {"Origin": "http://localhost:5174"})[0] == 403


def test_the_program_asks_after_the_health_of_another(emulator, capsys, monkeypatch):
    monkeypatch.setenv("REKOGNITION_STANDIN_PORT", emulator.endpoint.rpartition(":")[2])
    assert main(["health"]) == 0
    assert capsys.readouterr().out == f"{emulator.endpoint} is running\n"


@pytest.mark.parametrize("answer", [None, b"SSH-2.0-OpenSSH_9.2\r\n", b'HTTP/1.1 200 OK\r\n\r\n{"status": "up"}'])
def test_what_is_no_stand_in_is_not_healthy(answer, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        if answer is None:
            other.close()
            assert main(["health", address]) == 1
        else:
            with ThreadPoolExecutor(1) as pool:
                code = pool.submit(main, ["health", address])
                connection, _ = other.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)
                assert code.result(10) == 1
    told = capsys.readouterr().err
    assert address in told
    assert len(told.splitlines()) == 2


def test_both_programs_take_the_same_options():
    ours, seedtools = ({each.name for each in command.params} for command in (standin, emulator_command))
    assert ours - seedtools == {"state_key"}
    assert seedtools - ours == {"as_json", "quiet", "verbose", "debug"}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("--host-name", "http://x"), 1),
        (("--cors", "*"), 1),
        (("--admin-token", ""), 1),
        (("--any-credentials", "--state-key"), 1),
        (("--require-signature",), 1),
        (("--port", "65536"), 2),
        (("--no-such-option",), 2),
    ],
)
def test_an_option_that_is_not_valid_is_refused_at_start(capsys, wrong, code):
    assert main(list(wrong)) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert wrong[0] in told.err


def test_a_variable_gives_an_option(capsys, monkeypatch):
    monkeypatch.setenv("REKOGNITION_STANDIN_HOST_NAME", "standin http://x")
    assert main([]) == 1
    assert "'http://x' is not a host name" in capsys.readouterr().err
