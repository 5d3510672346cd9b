"""Photos over HTTPS: from the web, and in a bucket of R2's kind. The server is real, its certificate self-signed."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seedtool.errors import PhotoError
from seedtool.faces.enroll import enroll_all, enroll_manifest
from seedtool.faces.photos import Addresses, store, web
from seedtool.faces.rekognition.service import Aws

ROOT = Path(__file__).resolve().parents[3]
PHOTO = (ROOT / "seeds" / "photos" / "students" / "student-001" / "photo-1.jpg").read_bytes()
OTHER = (ROOT / "seeds" / "photos" / "students" / "student-002" / "photo-1.jpg").read_bytes()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost and photos.example: certificate and key, in files."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seedtool test")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.DNSName("photos.example"), x509.DNSName("account.localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def host(certificate):
    """An HTTPS server: `host.answer(handler)` answers, `host.requests` is what it was asked, with headers and body."""
    state = SimpleNamespace(requests=[], answer=None, photos={"/a.jpg": PHOTO})

    def plain(handler):
        data = state.photos.get(handler.path.split("?")[0])
        handler.send_response(404 if data is None else 200)
        handler.send_header("Content-Length", str(len(data or b"")))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data or b"")

    state.answer = plain

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            state.answer(self)

        def log_message(self, *args):
            pass

    for method in ("GET", "PUT", "HEAD", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args):
            """Clients that refuse or hang up are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    state.port = server.server_port
    state.url = f"https://localhost:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(web, "_WAITS", (0.01, 0.01))


def fetch(host, path="/a.jpg", **options):
    return web.fetch(host.url + path, private_hosts=("LOCALHOST",), **options)


def redirect(handler, location):
    handler.send_response(302)
    handler.send_header("Location", location)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_photo_is_fetched_and_one_that_is_not_there_is_none(host, trusted):
    assert fetch(host) == PHOTO
    assert fetch(host, "/b.jpg") is None
    headers = host.requests[0][2]
    assert (headers["host"], headers["accept-encoding"]) == (f"localhost:{host.port}", "identity")


def test_a_certificate_that_is_not_trusted(host):
    with pytest.raises(PhotoError) as caught:
        fetch(host)
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_this_machine_is_refused_unless_settings_allow_it(host, trusted):
    with pytest.raises(PhotoError) as caught:
        web.fetch(f"{host.url}/a.jpg")
    assert 'private_photo_hosts = ["localhost"]' in caught.value.remedy
    assert host.requests == []


def test_the_connection_goes_to_the_address_that_was_checked(host, trusted, monkeypatch):
    """DNS rebinding: the name leads to a public address when it is checked, and to this machine ever after."""
    answers = iter(["93.184.215.14"])
    connect, asked, dialled = socket.create_connection, [], []

    def look_up(name, port, *_, **__):
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    def dial(address, timeout):
        dialled.append(address)
        return connect(("127.0.0.1", host.port), timeout)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", dial)
    assert web.fetch("https://photos.example/a.jpg") == PHOTO
    assert dialled == [("93.184.215.14", 443)]
    assert asked.count("photos.example") == 1


def test_redirects_are_followed_checked_and_limited(host, trusted, approved):
    def answer(handler):
        left = int(handler.path.strip("/").partition("?")[0] or 0)
        if left:
            redirect(handler, f"/{left - 1}")
        else:
            handler.path = "/a.jpg"
            plain(handler)

    plain, host.answer = host.answer, answer
    assert fetch(host, "/5") == PHOTO
    with pytest.raises(PhotoError) as caught:
        fetch(host, "/6")
    approved(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost.example/a.jpg",
        "https://169.254.169.254/latest/meta-data/iam?secret",
        "https://127.0.0.1:1/a.jpg",
        "https://[::ffff:127.0.0.1]/a.jpg",
        "file:///etc/passwd",
        "gopher://localhost/a",
    ],
)
def test_a_redirect_to_where_photos_may_not_come_from(host, trusted, location, approved):
    host.answer = lambda handler: redirect(handler, location)
    with pytest.raises(PhotoError) as caught:
        fetch(host)
    assert "secret" not in caught.value.message
    approved(caught.value)


def test_a_photo_that_is_too_large_is_given_up_early(host, trusted, approved):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(bytes(100_000))
        except OSError:
            return
        pytest.fail("all of it was read")

    announced = host.answer
    host.photos["/big.jpg"] = bytes(20_001)
    with pytest.raises(PhotoError, match="20000") as caught:
        fetch(host, "/big.jpg", most=20_000)
    approved(caught.value)
    host.answer = endless
    with pytest.raises(PhotoError, match="20000") as caught:
        fetch(host, most=20_000)
    approved(caught.value)
    host.answer = announced
    assert web.MOST_BYTES == 15 * 1024 * 1024


def test_a_host_that_drips_is_cut_off_at_the_deadline(host, trusted, approved):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            return

    host.answer = drip
    started = time.monotonic()
    with pytest.raises(PhotoError) as caught:
        fetch(host, seconds=0.5)
    approved(caught.value)
    assert time.monotonic() - started < 8  # its answer takes ten seconds


def test_a_host_that_says_nothing_is_cut_off_at_the_deadline(trusted, approved):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection and never speaks TLS
        with pytest.raises(PhotoError) as caught:
            web.fetch(f"https://localhost:{mute.getsockname()[1]}/a", private_hosts=("localhost",), seconds=0.4)
        approved(caught.value)


def test_a_host_that_stumbles_is_asked_again(host, trusted, hasty):
    def answer(handler):
        if len(host.requests) < 3:
            handler.send_response(503)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            plain(handler)

    plain, host.answer = host.answer, answer
    assert fetch(host) == PHOTO
    assert len(host.requests) == 3


@pytest.mark.parametrize(("status", "asked"), [(500, 3), (429, 3), (403, 1), (418, 1)])
def test_a_host_that_refuses(host, trusted, hasty, status, asked):
    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    host.answer = answer
    with pytest.raises(PhotoError, match=str(status)) as caught:
        fetch(host, "/a.jpg?token=secret")
    assert len(host.requests) == asked
    assert "secret" not in caught.value.message


def test_an_answer_cut_short_is_no_photo(host, trusted, hasty, approved):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    host.answer = answer
    with pytest.raises(PhotoError) as caught:
        fetch(host)
    approved(caught.value)


def test_photos_of_rows_and_manifests_may_be_web_addresses(
    school, mine, endpoint, aws, face_rows, host, trusted, tmp_path
):
    settings = msgspec.structs.replace(mine, private_photo_hosts=("localhost",))
    photos = store(settings, aws)
    face_rows("student-001-photo-1", "student-003-photo-1")
    school.execute(
        "UPDATE student_faces SET photo_url = %s WHERE student_id = 'student-001'", [f"{host.url}/a.jpg?s=1"]
    )
    school.execute("UPDATE student_faces SET photo_url = 'gopher://x/y' WHERE student_id = 'student-003'")
    school.commit()
    report = enroll_all(school, settings, aws, photos)
    assert [photo.outcome for photo in report.photos] == ["enrolled", "failed"]
    assert "gopher" in report.photos[1].reason
    assert report.photos[0].source == f"{host.url}/a.jpg"  # without what may be a signature
    assert report.uploads == 0
    host.photos["/b.jpg"] = OTHER
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"student_id,photo\nstudent-002,{host.url}/b.jpg\nstudent-004,{host.url}/c.jpg\n")
    report = enroll_manifest(school, settings, aws, photos, manifest)
    assert [photo.outcome for photo in report.photos] == ["enrolled", "failed"]
    assert photos.get("students/student-002/photo-1.jpg") == OTHER


def test_an_address_of_another_kind_is_refused(mine, aws):
    addresses = Addresses(mine, aws, store(mine, aws))
    with pytest.raises(PhotoError, match="gopher") as caught:
        addresses.get("gopher://user:secret@x/y")
    assert "secret" not in caught.value.message
    assert addresses.get("students/nobody/photo-1.jpg") is None


def test_a_bucket_over_https_is_sent_neither_trailers_nor_checksums(host, trusted, mine, tmp_path, monkeypatch):
    """Over HTTPS botocore sends `aws-chunked` bodies with a checksum behind them unless told; R2 has refused those."""
    objects = host.photos

    def answer(handler):
        method, path, _, body = host.requests[-1]
        if method == "PUT":
            objects[path] = body
        status = 200 if path in objects or method == "DELETE" else 404
        data = objects.get(path, b"") if method == "GET" else b""
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(objects.get(path, b"")) if method == "HEAD" else len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    host.answer = answer
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = msgspec.structs.replace(
        mine,
        aws="live",
        region="us-east-1",
        photos_url="s3://photos/school",
        s3_endpoint_url=f"https://localhost:{host.port}",
        aws_variables={"AWS_S3_ACCESS_KEY_ID": "r2", "AWS_S3_SECRET_ACCESS_KEY": "secret"},
    )
    bucket = store(settings, Aws(settings))
    bucket.put("a/b.jpg", PHOTO)
    assert objects["/photos/school/a/b.jpg"] == PHOTO  # by path, and as it is: no chunk marks in it
    assert bucket.get("a/b.jpg") == PHOTO
    assert bucket.holds("a/b.jpg", PHOTO)
    assert not bucket.holds("a/b.jpg", OTHER)
    bucket.delete("a/b.jpg")
    for _, _, headers, _ in host.requests:
        assert "aws-chunked" not in headers.get("content-encoding", "")
        assert "chunked" not in headers.get("transfer-encoding", "")
        assert "trailer" not in headers.get("x-amz-content-sha256", "").lower()
        assert not any(
            name.startswith(("x-amz-sdk-checksum", "x-amz-checksum", "x-amz-trailer", "x-amz-decoded"))
            for name in headers
        )
    assert {method for method, *_ in host.requests} >= {"PUT", "GET", "HEAD", "DELETE"}
