"""A photo library of drawn pictures, an emulator whose bad days a test chooses, and what is in both afterwards."""

import http.client
import importlib.util
import io
import itertools
import json
import random
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import msgspec
import psycopg
import pytest
import sqlalchemy
from PIL import Image

from seedtool.backfill import FaceProcessor, LibraryConnection, Options, Run, connect, outage
from seedtool.emulator import process
from seedtool.faces import photos
from seedtool.faces.rekognition import limiter
from seedtool.faces.rekognition.service import Aws
from seedtool.listener import Listener
from seedtool.postgres.server import Target
from seedtool.settings import Settings
from tests import processes
from tests.databases import Databases

ROOT = Path(__file__).resolve().parents[3]

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"><mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList>
<rdf:Bag>{regions}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"""

REGION = """<rdf:li><rdf:Description mwg-rs:Type="Face" mwg-rs:Name="{name}">
<mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{side}" stArea:h="{side}" stArea:unit="normalized"/>
</rdf:Description></rdf:li>"""

#: Thresholds are the defaults; a face of 42 of 160 pixels is too small, and faces are visible at once.
RULES = {"smallest_face": 0.28, "visibility": 0.0}


def picture(*names: str, seed: object = 0) -> bytes:
    """A small picture with one face a name, left to right; a name that begins with `small ` gives a small face."""
    noise = random.Random(str((seed, names))).randbytes(32 * 32)  # noqa: S311
    image = Image.frombytes("L", (32, 32), noise).resize((160, 160), Image.Resampling.NEAREST)
    regions = [
        REGION.format(
            name=name.removeprefix("small "),
            x=0.2 + 0.6 * i / max(1, len(names) - 1),
            y=0.5,
            side=0.26 if name.startswith("small ") else 0.3,
        )
        for i, name in enumerate(names)
    ]
    buffer = io.BytesIO()
    # without regions the emulator sees a face in the middle; one colour has none
    if not names:
        image = Image.new("L", (160, 160), 90)
    image.save(buffer, "JPEG", quality=80, xmp=XMP.format(regions="".join(regions)).encode())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def endpoint(home: Path) -> Iterator[str]:
    """The emulator of these tests, running for this worker."""
    state = home / "emulator-backfill"
    with processes.unmeasured():  # tests/integration/emulator measures it
        found = process.ensure(state)
    yield found
    process.stop(state)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client call as fast as it can: the stand-in has no quota unless a test sets one."""
    monkeypatch.setattr(limiter, "QUOTAS", dict.fromkeys(limiter.QUOTAS, (5000, 5000)))
    monkeypatch.setattr(limiter, "OTHER_QUOTA", 5000)


@pytest.fixture
def faults(endpoint: str) -> Iterator[Callable[..., None]]:
    """Sets the emulator's bad days; good ones come back after the test."""

    def set_faults(**settings: object) -> None:
        request = urllib.request.Request(
            f"{endpoint}/_seedtool/faults", json.dumps(settings).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).read()

    yield set_faults
    set_faults()


@pytest.fixture
def counters(endpoint: str) -> Callable[[], dict[str, int]]:
    """Calls of each operation at the emulator since the test began."""
    urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/_seedtool/reset-counters", b"{}", {"Content-Type": "application/json"})
    ).read()

    def read() -> dict[str, int]:
        with urllib.request.urlopen(f"{endpoint}/_seedtool/status") as answer:
            return {name: count for name, count in json.load(answer)["counters"].items() if count}

    return read


@pytest.fixture(scope="session")
def blank(databases: Databases) -> str:
    """A database with the library's tables, as migrations/models has them."""
    spec = importlib.util.spec_from_file_location(
        "models_of_the_library", ROOT / "migrations" / "models" / "__init__.py"
    )
    assert spec is not None
    assert spec.loader is not None
    models = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = models
    spec.loader.exec_module(models)
    names = ("users", "assets", "face_collections", "person_groups", "faces", "face_person_links")
    wanted = [models.Base.metadata.tables[name] for name in names]
    made = databases.create()
    engine = sqlalchemy.create_engine(made.url, poolclass=sqlalchemy.NullPool)
    models.Base.metadata.create_all(engine, tables=wanted)
    engine.dispose()
    return made.name


class OnProgress(Listener):
    """Calls a function with what it hears of progress: what, done, total."""

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def progress(self, *heard: object) -> None:
        self._call(*heard)


class Album:
    """A library under test: put users and photos in, run, look."""

    def __init__(self, connection: LibraryConnection, target: Target, settings: Settings, endpoint: str) -> None:
        self.db, self.target, self.settings, self.endpoint = connection, target, settings, endpoint
        self.aws = Aws(settings, endpoint)
        self.store = photos.store(settings, self.aws)
        self._count = 0
        self.record_call: tuple[Callable | None, bool] = (None, False)

    def _eventful(self, processor: FaceProcessor, call: Callable, *, before: bool) -> FaceProcessor:
        record, count = processor.record, itertools.count(1)

        def eventful(*arguments: object):
            if before:
                call(SimpleNamespace(succeeded=next(count)))
            outcome = record(*arguments)
            if not before:
                call(SimpleNamespace(succeeded=next(count)))
            return outcome

        processor.record = eventful
        return processor

    def user(self, name: str = "") -> str:
        """Make a user, younger than those before."""
        self._count += 1
        return self._insert(
            "INSERT INTO users (email, created_at) VALUES (%s, timestamptz '2026-01-01' + %s * interval '1 hour')"
            " RETURNING id::text",
            f"{name}-{self._count}@example.cl",
            self._count,
        )

    def photo(self, user: str, *names: str, data: bytes | None = None, **columns: object) -> str:
        """Put a photo of these people into the store and its row into the database; younger than those before."""
        self._count += 1
        key = f"{user}/{self._count}.jpg"
        values = {
            "user_id": user,
            "storage_url": key,
            "file_name": f"IMG_{self._count:04}.JPG",
            "mime_type": "image/jpeg",
            "approved": True,
            "created_at": datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=self._count),
        } | columns
        self.store.put(key, data if data is not None else picture(*names, seed=self._count))
        names_sql, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        return self._insert(f"INSERT INTO assets ({names_sql}) VALUES ({marks}) RETURNING id::text", *values.values())

    def url(self, asset: str) -> str:
        """Return what an asset's row says of where its photo is."""
        return self.db.execute("SELECT storage_url FROM assets WHERE id = %s", [asset]).fetchone()[0]

    def during_each_record(self, call: Callable | None, *, before: bool = False) -> None:
        """Have something done after (or before) each asset is recorded in runs to come."""
        self.record_call = (call, before)

    def photo_and_run(self, user: str, *names: str) -> str:
        """Put a photo in and process it."""
        asset = self.photo(user, *names)
        assert self.run().ok
        return asset

    def put(self, key: str, *names: str) -> None:
        """Put another picture in the place of one."""
        self.store.put(key, picture(*names, seed=f"again {key}"))

    def rules(self, **changed: float) -> None:
        """Change thresholds and the like."""
        rules = msgspec.structs.replace(self.settings.backfill, **changed)
        self.settings = msgspec.structs.replace(self.settings, backfill=rules)

    def name(self, user: str, asset: str, person: str, number: int = 0) -> str:
        """Name a face, counted from the left, as a user of the application would; returns the person."""
        found = self.db.execute(
            "SELECT id FROM person_groups WHERE user_id = %s AND name = %s", [user, person]
        ).fetchone()
        group = (
            found[0]
            if found
            else self._insert("INSERT INTO person_groups (user_id, name) VALUES (%s, %s) RETURNING id", user, person)
        )
        face = self.db.execute(
            "SELECT id FROM faces WHERE asset_id = %s AND NOT deleted ORDER BY bounding_box -> 'Left' OFFSET %s LIMIT 1",
            [asset, number],
        ).fetchone()[0]
        self.db.execute(
            "INSERT INTO face_person_links (face_id, person_group_id, confidence, assigned_by) VALUES (%s, %s, 1, 'user')",
            [face, group],
        )
        self.db.execute("UPDATE faces SET needs_assignment = false WHERE id = %s", [face])
        self.db.commit()
        return str(group)

    def run(self, aws: Aws | None = None, **options: object):
        """Run a backfill to its end."""
        return self.new_run(aws, **options).execute()

    def new_run(self, aws: Aws | None = None, **options: object) -> Run:
        """Return a run that is not executed yet."""
        self.db.commit()
        processor = FaceProcessor(self.settings, aws or self.aws, self.store)
        call, before = self.record_call
        if call is not None:
            processor = self._eventful(processor, call, before=before)
        return Run(self.settings, self.target, processor, Options(**options))

    def run_and_stop_after_one(self, **options: object):
        """Run a backfill and stop it once one asset has succeeded."""
        run = self.new_run(**options)
        return run.execute(OnProgress(lambda _what, done, _total: done and run.stop()))

    def faces(self, asset: str | None = None) -> list[tuple]:
        """(file, left, person, needs, auto, confidence of the link) of each live face, in order."""
        rows = self.db.execute(
            """
            SELECT a.file_name, round((f.bounding_box ->> 'Left')::numeric, 2)::float8, p.name, f.needs_assignment,
                f.auto_assigned, l.confidence::float8
            FROM faces f JOIN assets a ON a.id = f.asset_id
            LEFT JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted
            LEFT JOIN person_groups p ON p.id = l.person_group_id
            WHERE NOT f.deleted AND (%(asset)s::uuid IS NULL OR f.asset_id = %(asset)s::uuid)
            ORDER BY a.created_at, a.id, 2""",
            {"asset": asset},
        ).fetchall()
        self.db.commit()
        return rows

    def faces_of(self, user: str) -> list[str]:
        """The asset of each live face of a user, in order."""
        rows = self.db.execute(
            "SELECT a.id::text FROM faces f JOIN assets a ON a.id = f.asset_id WHERE f.user_id = %s AND NOT f.deleted"
            " ORDER BY a.created_at, a.id",
            [user],
        ).fetchall()
        self.db.commit()
        return [asset for (asset,) in rows]

    def indexed(self, user: str) -> list[tuple[str, float]]:
        """(asset, left) of each face in the user's collection."""
        pages = self.aws.collection(f"savta-user-{user}").list_pages()
        return sorted((face.external_image_id, round(face.box.left, 2)) for page in pages for face in page)

    def indexed_in(self, collection_id: str) -> int:
        """How many faces a collection has."""
        return sum(len(page) for page in self.aws.collection(collection_id).list_pages())

    def consistent(self) -> None:
        """Assert that rows and collections hold the same faces, and each once."""
        rows: dict[str, list] = {}
        for user, asset, face_id in self.db.execute(
            "SELECT user_id::text, asset_id::text, rekognition_face_id FROM faces WHERE NOT deleted"
        ):
            rows.setdefault(user, []).append((asset, face_id))
        for user, expected in rows.items():
            pages = self.aws.collection(f"savta-user-{user}").list_pages()
            assert sorted((f.external_image_id, f.face_id) for page in pages for f in page) == sorted(expected)
        counts = self.db.execute(
            "SELECT user_id::text, face_count FROM face_collections WHERE face_count > 0"
        ).fetchall()
        assert dict(counts) == {user: len(faces) for user, faces in rows.items()}
        self.db.commit()

    def consistent_so_far(self) -> None:
        """Assert that every row's face is in its collection, which may hold faces of assets that are not finished."""
        for user, asset, face_id in self.db.execute(
            "SELECT user_id::text, asset_id::text, rekognition_face_id FROM faces WHERE NOT deleted"
        ).fetchall():
            pages = self.aws.collection(f"savta-user-{user}").list_pages()
            assert (asset, face_id) in {(f.external_image_id, f.face_id) for page in pages for f in page}
        self.db.commit()

    def wait_until(self, query: str) -> None:
        """Wait until a query says so."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.db.rollback()
            try:
                if self.db.execute(query).fetchone()[0]:
                    self.db.rollback()
                    return
            except psycopg.errors.UndefinedTable:
                pass  # the run has not made its journal yet
            time.sleep(0.02)
        raise TimeoutError(query)

    def journal(self) -> dict[str, tuple[str, str | None]]:
        """State and cause by file name."""
        rows = self.db.execute(
            "SELECT a.file_name, j.state, j.cause FROM seedtool.backfill_assets j JOIN assets a ON a.id = j.asset_id"
        ).fetchall()
        self.db.commit()
        return {name: (state, cause) for name, state, cause in rows}

    def _insert(self, statement: str, *values: object) -> str:
        found = self.db.execute(statement, values).fetchone()[0]
        self.db.commit()
        return found


@pytest.fixture
def mine(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of this test alone."""
    return msgspec.structs.replace(
        settings,
        photos_url=str(tmp_path / "photos"),
        backfill=msgspec.structs.replace(settings.backfill, **RULES),
    )


@pytest.fixture
def another_connection(database: Target, mine: Settings) -> Iterator[LibraryConnection]:
    """A second session in the library's database."""
    with connect(mine.backfill, database) as open_connection:
        yield open_connection


@pytest.fixture
def stub() -> Iterator[SimpleNamespace]:
    """A service that answers what a test tells it: `stub.answer(operation, request, n) → (status, body)`."""
    state = SimpleNamespace(requests=[], answer=lambda *_: (200, {}))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1], json.loads(body))

        def do_GET(self) -> None:
            self.answer(f"GET {self.path}", None)

        def answer(self, operation: str, request: object) -> None:
            with lock:
                state.requests.append(operation)
                n = len(state.requests)
            status, answer = state.answer(operation, request, n)
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            pass

    stubbed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stubbed.daemon_threads = True
    thread = threading.Thread(target=stubbed.serve_forever, args=[0.01], daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{stubbed.server_port}"
    yield state
    stubbed.shutdown()
    stubbed.server_close()
    thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits before another attempt, botocore's and ours."""
    from botocore.retries import standard

    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01)
    monkeypatch.setattr(outage, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(outage, "_LONGEST_WAIT", 0.1)


@pytest.fixture
def relay(endpoint: str, impatient: None) -> Iterator[SimpleNamespace]:
    """A way to the emulator that a test can cut: `relay.fault(operation, request)` returns what is answered instead.

    None lets the request pass; "drop" closes the connection; "lose" lets it pass and closes the connection then;
    a number is the status of an empty answer, and a pair the code and the message of an error.
    """
    state = SimpleNamespace(fault=lambda *_: None, asked=[])
    address = endpoint.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", "").rsplit(".", 1)[-1]
            state.asked.append(operation)
            fault = state.fault(operation, json.loads(body))
            status, answer = (fault, b"{}") if isinstance(fault, int) else (0, b"")
            if isinstance(fault, tuple):
                status, answer = 400, json.dumps({"__type": fault[0], "message": fault[1]}).encode()
            if fault is None or fault == "lose":
                connection = http.client.HTTPConnection(address)
                connection.request("POST", "/", body, dict(self.headers))
                response = connection.getresponse()
                status, answer = response.status, response.read()
                connection.close()
            if fault in {"drop", "lose"}:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    thread = threading.Thread(target=served.serve_forever, args=[0.01], daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{served.server_port}"
    yield state
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.fixture
def another_album(databases: Databases, blank: str, mine: Settings, endpoint: str, tmp_path: Path) -> Iterator[Album]:
    """A second library, with a database and photos of its own."""
    made = databases.create(blank)
    with connect(mine.backfill, made) as connection:
        yield Album(connection, made, msgspec.structs.replace(mine, photos_url=str(tmp_path / "others")), endpoint)
    databases.drop(made)


@pytest.fixture
def album(database: Target, mine: Settings, endpoint: str) -> Iterator[Album]:
    with connect(mine.backfill, database) as connection:
        yield Album(connection, database, mine, endpoint)
