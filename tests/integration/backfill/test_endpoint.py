"""An application does the work, by HTTP: what it is told, what becomes of its answers and of its bad days."""

import json
import ssl
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from seedtool.backfill import Options, Run, outage
from seedtool.backfill import endpoint as endpoints
from seedtool.backfill.endpoint import Endpoint
from seedtool.errors import AccessDenied, CredentialsError, SettingsError
from seedtool.settings import load

from .conftest import OnProgress

TOKEN = "tell-nobody-7f3a"
COUNTS = {"facesDetected": 3, "autoAssigned": 1, "needsUserInput": 2}


class Application:
    """What answers at the endpoint.

    Attributes:
        asked: each request: headers, body.
        answers: asset → what it is answered, in turn; then COUNTS.
        together: requests wait until so many are there at once.
    """

    def __init__(self):
        self.asked, self.answers, self.connections = [], {}, 0
        self.together, self._here, self._gate = 1, 0, threading.Condition()
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                application.connections += 1

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                application.asked.append((time.monotonic(), self.path, dict(self.headers), body))
                application._wait()
                turn = application.answers.get(body["assetId"]) or application.answers.get("*") or []
                status, headers, answer = turn.pop(0) if turn else (200, {}, COUNTS)
                if status == "drop":
                    self.close_connection = True
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/assets/reprocess?dry=no"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _wait(self):
        with self._gate:
            self._here += 1
            self._gate.notify_all()
            assert self._gate.wait_for(lambda: self._here >= self.together, 20)

    def posted(self):
        """How often each asset was posted."""
        return Counter(body["assetId"] for *_, body in self.asked)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def application():
    running = Application()
    yield running
    running.close()


@pytest.fixture
def shared(album, monkeypatch):
    """An album whose photos are web addresses; attempts follow one another at once."""
    monkeypatch.setattr(endpoints, "_WAIT", 0.001)
    monkeypatch.setattr(outage, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(outage, "_LONGEST_WAIT", 0.05)
    put = album.photo
    monkeypatch.setattr(
        album, "photo", lambda user, **columns: put(user, **{"storage_url": "https://cdn.example/1.jpg"} | columns)
    )
    return album


def new_run(album, application, **options):
    album.db.commit()
    processor = Endpoint(application.url, TOKEN, options.get("batch_size", 10))
    return Run(album.settings, album.target, processor, Options(**options))


def go(album, application, **options):
    return new_run(album, application, **options).execute()


def test_the_application_is_told_what_it_needs_and_its_counts_are_summed(shared, application):
    ana, ben = shared.user(), shared.user()
    assets = {shared.photo(ana): ana, shared.photo(ana, storage_url="s3://bucket/2.jpg"): ana, shared.photo(ben): ben}
    report = go(shared, application)
    assert (report.mode, report.users, report.succeeded, report.failed) == ("endpoint", 2, 3, 0)
    assert (report.faces, report.auto_assigned, report.needs_person) == (9, 3, 6)
    assert (report.calls, report.throttled, report.cost, report.similarities) == ({"POST": 3}, {}, 0.0, {})
    for _, path, headers, body in application.asked:
        assert path == "/api/assets/reprocess?dry=no"
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["X-User-Id"] == assets[body["assetId"]]
        assert headers["Content-Type"] == "application/json"
        assert body.keys() == {"imageUrl", "assetId", "reprocessOptions"}
        assert body["reprocessOptions"] == {"faces": True}
    assert max(body["imageUrl"] for *_, body in application.asked) == "s3://bucket/2.jpg"
    rows = shared.db.execute("SELECT state, faces FROM seedtool.backfill_assets").fetchall()
    assert rows == [("done", 3)] * 3
    assert shared.db.execute("SELECT count(*) FROM faces").fetchone() == (0,)
    shared.db.commit()
    assert go(shared, application).skipped == 3
    assert len(application.asked) == 3


PASSING = [
    (503, {}, b"<html>busy</html>"),
    (500, {}, {"error": "oops"}),
    (408, {}, b""),
    ("drop", {}, b""),
    (429, {"Retry-After": "0"}, b""),
    (429, {"Retry-After": formatdate(time.time() - 60, usegmt=True)}, b""),
    (503, {"Retry-After": "soon"}, b""),
]


def test_what_may_pass_is_tried_again(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in PASSING]
    application.answers |= {asset: [bad] * 4 for asset, bad in zip(assets, PASSING, strict=True)}
    report = go(shared, application)
    assert (report.succeeded, report.failed) == (7, 0)
    assert application.posted() == dict.fromkeys(assets, 5)
    assert (report.calls, report.throttled) == ({"POST": 35}, {"POST": 8})


def test_as_long_as_it_says_nobody_asks_again(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in range(3)]
    application.answers[assets[0]] = [(429, {"Retry-After": "1"}, b"")]
    go(shared, application, batch_size=1)
    first, *later = [at for at, *_ in application.asked]
    assert len(later) == 3
    assert min(later) - first >= 1


LASTING = [
    ((404, {}, {"message": "no such asset\x1b[2J"}), "answered 404: no such asset [2J"),
    ((422, {}, {"error": {"detail": "x" * 999}}), "answered 422: " + "x" * 200 + "..."),
    ((400, {}, b"<html>" + b"y" * 100_000), "answered 400"),
    ((200, {}, b"<html>log in</html>"), "the answer is not {facesDetected, autoAssigned, needsUserInput}"),
    ((200, {}, {"facesDetected": -1, "autoAssigned": 0, "needsUserInput": 0}), "Expected `int` >= 0"),
    ((200, {}, {"facesDetected": 1}), "missing required field `autoAssigned`"),
    ((200, {}, b"\xff"), "the answer is not"),
]


def test_what_concerns_one_photo_fails_it_alone(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in LASTING]
    well = shared.photo(ana)
    application.answers |= {asset: [answer] for asset, (answer, _) in zip(assets, LASTING, strict=True)}
    report = go(shared, application)
    assert (report.succeeded, report.failed) == (1, 7)
    failures = {each.asset_id: each for each in report.errors}
    assert application.posted() == dict.fromkeys([*assets, well], 1)
    for asset, (_, cause) in zip(assets, LASTING, strict=True):
        assert cause in failures[asset].cause
        assert failures[asset].remedy
        for secret in (TOKEN, "\x1b", "dry=no"):
            assert secret not in failures[asset].cause + failures[asset].remedy
    report = go(shared, application, retry_failed=True)
    assert (report.succeeded, report.failed) == (7, 0)


def test_a_photo_that_always_ends_in_an_error_fails_alone(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in range(3)]
    application.answers[assets[1]] = [(503, {}, {"message": "maintenance"})] * 99
    report = go(shared, application)
    assert [each.cause for each in report.errors] == [f"{application.url.split('?')[0]} answered 503: maintenance"]
    assert report.succeeded == 2


@pytest.mark.parametrize("bad", [(503, {}, b""), ("drop", {}, b"")])
def test_an_application_that_restarts_is_waited_for(shared, application, bad):
    ana = shared.user()
    for _ in range(8):
        shared.photo(ana)
    application.answers["*"] = [(200, {}, COUNTS), (200, {}, COUNTS), *[bad] * 60]
    report = go(shared, application, batch_size=2)
    assert (report.succeeded, report.failed) == (8, 0)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 10), (3, 1), (60, 10)])
@pytest.mark.parametrize("answer", [(404, {}, b""), (200, {}, b"<html>"), (422, {}, {"error": "no"}), (200, {}, {})])
def test_an_address_that_accepts_no_photo_at_all_ends_the_run(shared, application, answer, count, batch_size):
    ana = shared.user()
    for _ in range(count):
        shared.photo(ana)
    application.answers["*"] = [answer] * 99
    with pytest.raises(SettingsError) as ended:
        go(shared, application, batch_size=batch_size)
    assert ended.value.place == {"option": "--endpoint"}
    assert ended.value.remedy
    assert len(application.asked) <= 40
    assert {state for state, _ in shared.journal().values()} == {"started"}
    application.answers.clear()
    assert go(shared, application).succeeded == count


def test_photos_that_were_refused_before_the_first_was_accepted_fail(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in range(5)]
    application.answers |= {asset: [(404, {}, b"")] for asset in assets[:4]}
    report = go(shared, application, batch_size=1)
    assert (report.succeeded, report.failed) == (1, 4)


def test_an_answer_may_be_a_megabyte(shared, application):
    shared.photo(shared.user())
    application.answers["*"] = [(200, {}, {**COUNTS, "log": "x" * 1_000_000})]
    assert go(shared, application).succeeded == 1


def test_a_path_is_nothing_to_an_application_elsewhere(shared, application):
    shared.photo(shared.user(), storage_url="2026/1.jpg")
    report = go(shared, application)
    assert "is a path" in report.errors[0].cause
    assert "without --endpoint" in report.errors[0].remedy
    assert application.asked == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, {}, {"message": "expired"}), CredentialsError),
        ((403, {}, b""), AccessDenied),
        ((302, {"Location": "https://elsewhere.example/login"}, b""), SettingsError),
    ],
)
def test_what_concerns_every_photo_stops_the_run_and_the_same_command_goes_on(shared, application, answer, error):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in range(20)]
    application.answers["*"] = [(200, {}, COUNTS), (200, {}, COUNTS), *[answer] * 20]
    run = new_run(shared, application, batch_size=2)
    with pytest.raises(error) as raised:
        run.execute()
    assert (run.report.failed, run.report.stopped) == (0, raised.value.message)
    assert run.report.succeeded <= 2
    assert TOKEN not in raised.value.message + raised.value.remedy
    assert raised.value.remedy
    assert len(application.asked) <= 4
    states = {state for state, _ in shared.journal().values()}
    assert states <= {"done", "started"}
    application.answers.clear()
    report = go(shared, application)
    assert (report.failed, report.left) == (0, 0)
    done = [state for state, _ in shared.journal().values()]
    assert done == ["done"] * len(assets)


def test_an_address_at_which_nobody_ever_answers_stops_the_run(shared, application, approved):
    asset = shared.photo(shared.user())
    application.close()
    with pytest.raises(SettingsError) as ended:
        go(shared, application)
    assert ended.value.place == {"option": "--endpoint"}
    approved(ended.value)
    assert shared.journal().popitem()[1][0] == "started"
    assert asset


def test_a_certificate_of_nobody_known_stops_the_run_before_the_token_is_sent(shared, application, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "both.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    plain = application.server.socket
    application.server.socket = context.wrap_socket(plain, server_side=True)
    application.url = application.url.replace("http://127.0.0.1", "https://localhost")
    shared.photo(shared.user())
    with pytest.raises(SettingsError, match="certificate") as ended:
        go(shared, application)
    assert ended.value.place == {"option": "--endpoint"}
    assert application.asked == []


def test_who_is_interrupted_does_not_wait_as_long_as_it_says(shared, application):
    ana = shared.user()
    assets = [shared.photo(ana) for _ in range(4)]
    application.answers["*"] = [(429, {"Retry-After": "250"}, b"")] * 9
    run = new_run(shared, application, batch_size=2)
    report = run.execute(OnProgress(lambda *_: application.asked and run.stop()))
    assert report.interrupted
    assert (report.failed, report.left) == (0, 4)
    application.answers.clear()
    assert go(shared, application).succeeded == len(assets)


def test_so_many_are_asked_for_at_once_by_connections_that_are_kept(shared, application):
    ana = shared.user()
    for _ in range(24):
        shared.photo(ana)
    application.together = 6
    assert go(shared, application, batch_size=6).succeeded == 24
    assert application.connections == 6


@pytest.mark.parametrize(
    "url",
    [
        "ftp://app.example/x",
        "app.example",
        "https://",
        "https://app.example:notaport/",
        "https://user:secret@app.example/x",
        "http://app.example/x",
        "http://127.0.0.1.app.example/x",
    ],
)
def test_an_address_that_would_not_do_is_refused(url, approved):
    with pytest.raises(SettingsError) as refused:
        Endpoint(url, TOKEN, 1)
    assert refused.value.place == {"option": "--endpoint"}
    assert refused.value.remedy
    approved(refused.value)
    assert "secret" not in refused.value.message


def test_without_a_token_nothing_begins():
    with pytest.raises(SettingsError) as refused:
        Endpoint("https://app.example/x", None, 1)
    assert refused.value.place == {"setting": "backfill_token"}
    assert "SEEDTOOL_BACKFILL_TOKEN" in refused.value.remedy


def test_the_token_is_a_secret_of_the_environment(tmp_path, approved):
    environ = {"HOME": str(tmp_path), "SEEDTOOL_BACKFILL_TOKEN": TOKEN}
    assert load(tmp_path, environ=environ).backfill_token == TOKEN
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, environ={**environ, "SEEDTOOL_BACKFILL_TOKEN": "a\nX-Admin: 1"})
    assert "X-Admin" not in refused.value.message
    assert refused.value.place["origin"] == "environment variable SEEDTOOL_BACKFILL_TOKEN"
    approved(refused.value)
    (tmp_path / "pyproject.toml").write_text(f'[tool.seedtool]\nbackfill_token = "{TOKEN}"\n')
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, environ=environ)
    assert (refused.value.place["setting"], refused.value.place["file"]) == ("backfill_token", "pyproject.toml")
    assert TOKEN not in refused.value.message
