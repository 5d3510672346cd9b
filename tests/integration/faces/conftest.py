"""The school's tables, a real emulator over HTTP, and a stub for the answers that no sane service gives."""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import msgspec
import psycopg
import pytest

from seedtool.emulator import process
from seedtool.faces.photos import PhotoStore, store
from seedtool.faces.rekognition.collection import Collection
from seedtool.faces.rekognition.service import Aws
from seedtool.listener import Listener
from seedtool.postgres.server import Target
from seedtool.settings import FaceBinding, Settings
from tests import processes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def endpoint(home: Path) -> Iterator[str]:
    """The emulator, running for this worker."""
    state = home / "emulator"
    with processes.unmeasured():  # tests/integration/emulator measures it
        found = process.ensure(state)
    yield found
    process.stop(state)


_ROWS = """
INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
VALUES ('guardian-01', 'Rosa', 'Soto', '1-9', '+56 9', 'rosa@example.cl');
INSERT INTO students (id, first_name, middle_name, last_name, second_last_name, identification_number, guardian_id,
    enrollment_date)
SELECT 'student-' || to_char(n, 'FM000'), 'Nombre' || n, NULL, 'Apellido' || n, 'Núñez', n::text, 'guardian-01',
    '2026-03-02' FROM generate_series(1, 12) n;
"""


@pytest.fixture
def database(schooled: Target) -> Target:
    """Tests of faces begin with the school's tables."""
    return schooled


@pytest.fixture
def school(connection: psycopg.Connection):
    """A connection to a school of twelve students without faces; committed."""
    connection.execute(_ROWS)
    connection.commit()
    return connection


@pytest.fixture
def face_rows(school: psycopg.Connection) -> Callable[..., None]:
    """Inserts rows of student_faces: external image id, or (external image id, face id)."""

    def insert(*faces: str | tuple[str | None, str]) -> None:
        for number, face in enumerate(faces):
            external, face_id = face if isinstance(face, tuple) else (face, f"placeholder:{face}")
            student = (external or "student-012").split("-photo-")[0]
            photo = f"students/{student}/photo-{(external or 'x-photo-9').rsplit('-', 1)[-1]}.jpg"
            school.execute(
                "INSERT INTO student_faces (id, student_id, face_id, external_image_id, photo_url)"
                " VALUES (%s, %s, %s, %s, %s)",
                [f"face-{number:03}-{external}", student, face_id, external, photo],
            )
        school.commit()

    return insert


@pytest.fixture
def linked(school: psycopg.Connection) -> Callable[[], dict[str, str]]:
    """Reads the rows back: external image id → face id."""

    def read() -> dict[str, str]:
        rows = school.execute("SELECT external_image_id, face_id FROM student_faces ORDER BY id").fetchall()
        school.commit()
        return dict(rows)

    return read


@pytest.fixture
def mine(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of this test alone: a collection and a photo folder of its own, and one table that is all in it."""
    return msgspec.structs.replace(
        settings,
        collection=f"test-{uuid.uuid4().hex[:12]}",
        photos_url=str(tmp_path / "photos"),
        faces=(FaceBinding(table="student_faces"),),
        face_references=(),
    )


@pytest.fixture
def aws(mine: Settings, endpoint: str) -> Aws:
    return Aws(mine, endpoint)


@pytest.fixture
def collection(aws: Aws, mine: Settings) -> Collection:
    """This test's collection, created."""
    made = aws.collection(mine.collection)
    made.ensure()
    return made


@pytest.fixture
def photos(mine: Settings, aws: Aws) -> PhotoStore:
    """This test's photo store."""
    return store(mine, aws)


@pytest.fixture
def state(school: psycopg.Connection, photos: PhotoStore, collection: Collection) -> Callable[[], tuple[list, ...]]:
    """Reads all that an enrollment may change: rows, keys in the store, faces in the collection."""

    def read() -> tuple[list, ...]:
        rows = school.execute("SELECT external_image_id, face_id, photo_url FROM student_faces ORDER BY 1").fetchall()
        school.commit()
        faces = [(f.external_image_id, f.face_id) for page in collection.list_pages() for f in page]
        return rows, list(photos.keys()), sorted(faces)

    return read


class Hearing(Listener):
    """Calls a function with the number done and the total."""

    def __init__(self, function: Callable[[int, int | None], None]) -> None:
        self._function = function

    def progress(self, what: str, done: int, total: int | None = None) -> None:  # noqa: ARG002 - a listener's
        self._function(done, total)


@pytest.fixture
def hearing() -> type[Hearing]:
    return Hearing


@pytest.fixture
def portrait() -> Callable[..., bytes]:
    """A seeded portrait's bytes: portrait(student number, photo number)."""
    return lambda student, photo=1: (
        ROOT / "seeds" / "photos" / "students" / f"student-{student:03}" / f"photo-{photo}.jpg"
    ).read_bytes()


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A server that speaks S3."""
    from moto.server import ThreadedMotoServer  # a second's import, which most tests do without

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_url: str) -> Iterator[Any]:
    """A client of our own, to look at what was really stored."""
    made = botocore.session.Session().create_client(
        "s3", region_name="us-east-1", endpoint_url=s3_url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    yield made
    made.close()


@pytest.fixture
def stub() -> Iterator[SimpleNamespace]:
    """A service that answers what a test tells it: `stub.answer(operation, request, n) → (status, body)`.

    `n` counts the requests from 1. `stub.url` is its address, `stub.requests` all it was asked, as
    (method, path, headers, body).
    """
    state = SimpleNamespace(requests=[], answer=lambda *_: (200, {}))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                state.requests.append((self.command, self.path, dict(self.headers), body))
                n = len(state.requests)
            operation = self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
            request = json.loads(body) if operation else body
            answered = state.answer(operation or f"{self.command} {self.path}", request, n)
            if answered is None:  # hang up without a word
                self.close_connection = True
                return
            status, answer = answered
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def listing(stub: SimpleNamespace) -> Callable[..., None]:
    """Makes the stub serve ListFaces over these faces: listing([(face id, external image id, confidence)], size)."""

    def serve(faces: list[tuple[str, str | None, float]], size: int = 2) -> None:
        def answer(operation: str, request: dict, n: int):
            assert operation == "ListFaces"
            start = int(request.get("NextToken", 0))
            page = {
                "Faces": [
                    {"FaceId": face_id, "Confidence": confidence, "BoundingBox": {}}
                    | ({"ExternalImageId": external} if external else {})
                    for face_id, external, confidence in faces[start : start + size]
                ]
            }
            if start + size < len(faces):
                page["NextToken"] = str(start + size)
            return 200, page

        stub.answer = answer

    return serve
