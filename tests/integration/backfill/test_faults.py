"""Bad days: what fails, fails alone; what concerns all stops the run; and the next run puts it right."""

import http.server
import re
import threading

import msgspec
import pytest

from seedtool.backfill import FaceProcessor, journal, library
from seedtool.errors import AccessDenied, CredentialsError, ResourceNotFound, SchemaError, SettingsError, UsageError
from seedtool.faces.photos import store
from seedtool.faces.rekognition.service import Aws
from seedtool.postgres import server

pytestmark = pytest.mark.usefixtures("impatient")


def journalled_calls(album):
    index, search = album.db.execute(
        "SELECT sum(index_calls), sum(search_calls) FROM seedtool.backfill_assets"
    ).fetchone()
    album.db.commit()
    return {"IndexFaces": index, "SearchFaces": search}


@pytest.mark.parametrize("fault", ["throttled", "throughput", "unavailable", "internal", "dropped", "truncated"])
def test_faults_in_between_are_overcome(album, faults, counters, fault):
    ana = album.user()
    for _ in range(6):
        album.photo(ana, "Ana", "small Ben")
    faults(rules=[{"fault": fault, "operation": "*", "first": 2, "every": 3, "times": None}])
    report = album.run(batch_size=4)
    assert (report.succeeded, report.failed, report.faces) == (6, 0, 6)
    assert report.calls == counters()  # every attempt, as the stand-in counts them
    lost = {"dropped", "truncated"}  # a call whose answer was lost counts as billed
    paid = {"IndexFaces": report.calls["IndexFaces"], "SearchFaces": report.calls["SearchFaces"]}
    assert report.billed == (paid if fault in lost else {"IndexFaces": 6, "SearchFaces": 5})
    assert report.cost == pytest.approx(sum(report.billed.values()) / 1000)
    assert journalled_calls(album) == report.billed
    album.consistent()


def test_an_error_that_is_cut_short_is_asked_for_again(album, faults):
    ana, ben = album.user(), album.user()
    for user in (ana, ben):
        album.photo(user, "Ana")
    # the answer of CreateCollection is an error then, and its JSON ends in the middle
    existing = album.aws.collection(f"savta-user-{ana}")
    existing.create()
    faults(rules=[{"fault": "truncated", "operation": "CreateCollection"}])
    report = album.run()
    assert (report.succeeded, report.left, report.notes) == (2, 0, ())
    album.consistent()
    # siblings: what the error says counts, not that it was cut short once
    for operation, call in (
        ("DescribeCollection", album.aws.collection("nobody").describe),
        ("ListFaces", lambda: list(album.aws.collection("nobody").list_pages())),
        ("SearchFaces", lambda: existing.search_faces("00000000-0000-4000-8000-000000000000")),
    ):
        faults(rules=[{"fault": "truncated", "operation": operation}])
        with pytest.raises(ResourceNotFound):
            call()


@pytest.mark.parametrize(("fault", "batch_size"), [(500, 1), ("drop", 10), ("lose", 1), ("lose", 10)])
def test_an_asset_that_fails_for_good_is_told_and_tried_again_on_request(album, relay, fault, batch_size):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ben", "Ana", "Ana", "Ana", "Ana")]
    album.run(limit=1)
    album.name(ana, photos[0], "Ana")
    relay.fault = lambda _, request: fault if request.get("ExternalImageId") == photos[1] else None
    report = album.run(Aws(album.settings, relay.url), batch_size=batch_size)
    assert (report.succeeded, report.failed, report.auto_assigned, report.ok) == (4, 1, 4, False)
    (error,) = report.errors
    assert (error.asset_id, error.user_id, error.file_name) == (photos[1], ana, "IMG_0003.JPG")
    assert error.cause
    assert album.journal()["IMG_0003.JPG"][0] == "failed"
    again = album.run()
    assert (again.assets, again.skipped) == (0, 6)
    last = album.run(retry_failed=True)
    assert (last.succeeded, last.adopted) == (1, fault == "lose")
    album.consistent()


def test_throttling_beyond_all_attempts_is_waited_out(album, faults):
    ana = album.user()
    album.photo(ana, "Ana")
    album.photo(ana, "Ana")
    faults(
        rules=[
            {"fault": "throttled", "operation": "CreateCollection", "times": 5},
            {"fault": "throughput", "operation": "IndexFaces", "times": 6},
            {"fault": "unavailable", "operation": "SearchFaces", "times": 6},
        ]
    )
    report = album.run(batch_size=1)
    assert (report.succeeded, report.failed) == (2, 0)
    assert report.throttled == {"CreateCollection": 5, "IndexFaces": 6, "SearchFaces": 6}


def test_photos_that_cannot_be_had_or_read_fail_alone(album, stub_host):
    ana = album.user()
    good = album.photo(ana, "Ana")
    bad = {
        "it was never uploaded": album.photo(ana, storage_url="nobody/there.jpg"),
        "not JPEG or PNG": album.photo(ana, data=b"RIFF....WEBP"),
        "truncated or damaged": album.photo(ana, data=album.store.get(album.url(good))[:1000]),
        "no photo at": album.photo(ana, storage_url=f"{stub_host}/404.jpg"),
        "HTTP status 403": album.photo(ana, storage_url=f"{stub_host}/403.jpg"),
        "ftp": album.photo(ana, storage_url="ftp://photos.example/1.jpg"),
        "cannot be a photo's key": album.photo(ana, storage_url="../../../etc/passwd"),
        "pixels": album.photo(ana, data=tiny()),
    }
    last = album.photo(ana, "Ana")
    album.settings = msgspec.structs.replace(album.settings, private_photo_hosts=("127.0.0.1",))
    report = album.run()
    assert (report.succeeded, report.failed) == (2, len(bad))
    causes = {error.asset_id: error.cause for error in report.errors}
    for words, asset in bad.items():
        assert words in causes[asset] or words == "it was never uploaded"
    assert {asset for asset, _ in album.indexed(ana)} == {good, last}
    for asset in bad.values():
        album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [album.url(good), asset])
    assert album.run(retry_failed=True).succeeded == len(bad)


def test_a_web_address_and_a_path_in_the_project_are_read(album, stub_host):
    ana = album.user()
    album.settings = msgspec.structs.replace(album.settings, private_photo_hosts=("127.0.0.1",))
    album.photo(ana, storage_url=f"{stub_host}/photo.jpg")
    album.photo(ana, storage_url="seeds/photos/students/student-001/photo-1.jpg")
    assert album.run().faces == 2


def test_a_failing_statement_fails_its_asset_alone(album):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ben", "Ana")]
    album.db.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.asset_id = '{photos[1]}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON faces FOR EACH ROW EXECUTE FUNCTION refuse()""")
    report = album.run()
    assert (report.succeeded, report.failed, report.suggested) == (2, 1, 1)
    assert report.errors[0].asset_id == photos[1]
    assert report.errors[0].cause.endswith(": not this one")
    assert album.faces(photos[1]) == []
    album.db.execute("DROP TRIGGER refuse ON faces")
    report = album.run(retry_failed=True)
    assert (report.succeeded, report.adopted) == (1, 1)
    assert "IndexFaces" not in report.calls
    album.consistent()


def test_a_row_that_somebody_sits_on_fails_its_asset_alone(album, another_connection, monkeypatch):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ben")]
    another_connection.execute("SELECT FROM assets WHERE id = %s FOR UPDATE", [photos[0]])
    monkeypatch.setattr(journal, "LOCK_TIMEOUT", "300ms")
    report = album.run()
    assert (report.succeeded, report.failed) == (1, 1)
    assert "lock timeout" in report.errors[0].cause
    another_connection.rollback()
    assert album.run(retry_failed=True).succeeded == 1


def stub_credentials(stub, code, after=0):
    """Answer like Rekognition at first, then refuse the credentials."""
    answers = {
        "CreateCollection": {"StatusCode": 200, "CollectionArn": "aws:rekognition:x"},
        "IndexFaces": {"FaceRecords": [], "FaceModelVersion": "7.0"},
    }

    def answer(operation, request, n):
        return (200, answers[operation]) if n <= after else (400, {"__type": code, "message": "no"})

    stub.answer = answer


@pytest.mark.parametrize(
    ("code", "kind", "cure"),
    [
        ("ExpiredTokenException", CredentialsError, "aws sso login"),
        ("UnrecognizedClientException", CredentialsError, "aws sts get-caller-identity"),
        ("AccessDeniedException", AccessDenied, "IAM"),
    ],
)
def test_what_concerns_all_stops_the_run_and_marks_nothing_failed(album, stub, code, kind, cure):
    ana = album.user()
    for _ in range(20):
        album.photo(ana, "Ana")
    stub_credentials(stub, code, after=4)  # the collection, and three photos without faces
    with pytest.raises(kind) as caught:
        album.run(Aws(album.settings, stub.url), batch_size=3)
    assert cure in caught.value.remedy
    assert len(stub.requests) < 15
    states = [state for state, _ in album.journal().values()]
    assert "failed" not in states
    assert states.count("done") <= 3
    assert album.run().ok
    assert {state for state, _ in album.journal().values()} == {"done"}
    assert len(album.journal()) == 20


@pytest.mark.parametrize(
    ("code", "named"), [("NoSuchBucket", "key"), ("NoSuchBucket", "address"), ("AccessDenied", "key")]
)
def test_a_bucket_that_is_missing_concerns_all_photos_of_the_store_and_others_their_own(album, stub, code, named):
    ana = album.user()
    for number in range(8):
        key = f"{number}.jpg"
        album.photo(ana, storage_url=key if named == "key" else f"s3://elsewhere/{key}")
    good = album.settings, album.aws, album.store
    keys = {"AWS_S3_ACCESS_KEY_ID": "minio", "AWS_S3_SECRET_ACCESS_KEY": "secret"}
    album.settings = msgspec.structs.replace(
        album.settings, photos_url="s3://photos/2026", s3_endpoint_url=stub.url, aws_variables=keys
    )
    album.aws = Aws(album.settings, album.endpoint)
    album.store = store(album.settings, album.aws)
    stub.answer = lambda *_: (403 if code == "AccessDenied" else 404, f"<Error><Code>{code}</Code></Error>".encode())
    if (code, named) == ("NoSuchBucket", "key"):
        with pytest.raises(SettingsError) as caught:
            album.run(batch_size=2)
        assert caught.value.place == {"setting": "photos_url"}
        assert re.search(r"s3://photos/2026/[01]\.jpg", caught.value.message)  # two are read at once
        assert {state for state, _ in album.journal().values()} == {"started"}
    else:
        report = album.run()
        assert (report.failed, report.cost) == (8, 0.0)
        bucket = "s3://photos/2026" if named == "key" else "s3://elsewhere"
        assert all(f"{bucket}/" in each.cause and each.remedy for each in report.errors)
    album.settings, album.aws, album.store = good


def test_lag_beyond_the_window_is_waited_for(album, faults):
    ana = album.user()
    album.photo(ana, "Ana")
    album.photo(ana, "Ana")
    faults(lag=0.5)
    report = album.run()  # the window is 0 here
    assert report.succeeded == 2
    assert report.calls["SearchFaces"] > 1


def test_an_asset_deleted_meanwhile_leaves_no_face_behind(album):
    ana = album.user()
    photos = [album.photo(ana, "Ana") for _ in range(3)]

    def delete(_):
        album.db.execute("UPDATE assets SET deleted = true WHERE id = %s", [photos[1]])
        album.db.commit()

    album.during_each_record(delete, before=True)
    report = album.run(batch_size=10)
    assert (report.succeeded, report.failed, report.assets) == (2, 0, 2)
    album.consistent()
    assert {asset for asset, _ in album.indexed(ana)} == {photos[0], photos[2]}
    assert sorted(state for state, _ in album.journal().values()) == ["done", "done", "skipped"]


def delete_user(album, user):
    album.db.execute("UPDATE users SET deleted = true WHERE id = %s", [user])
    album.db.commit()


def test_a_user_deleted_before_a_decision_leaves_no_face_behind(album):
    ana, ben = album.user(), album.user()
    for user in (ana, ben):
        for _ in range(3):
            album.photo(user, "Ana", "small Eva")
    album.during_each_record(lambda progress: progress.succeeded == 2 and delete_user(album, ana), before=True)
    report = album.run(batch_size=2)
    assert (report.succeeded, report.failed, report.left) == (4, 0, 0)
    assert [asset for asset, _ in album.indexed(ana)] == [album.faces_of(ana)[0]]
    assert len(album.indexed(ben)) == 3
    assert {state for state, _ in album.journal().values()} <= {"done", "skipped"}
    assert album.run().assets == 0


def test_a_user_deleted_before_the_photo_is_indexed_costs_no_call(album, counters, monkeypatch):
    ana, ben = album.user(), album.user()
    album.photo(ana, "Ana")
    album.photo(ben, "Ben")
    still_eligible = library.still_eligible

    def delete_and_look(*arguments):
        delete_user(album, ana)
        return still_eligible(*arguments)

    monkeypatch.setattr(library, "still_eligible", delete_and_look)
    before = counters().get("IndexFaces", 0)
    report = album.run()
    assert (report.succeeded, report.failed, report.assets) == (1, 0, 1)
    assert counters()["IndexFaces"] - before == 1
    assert album.indexed(ana) == []


@pytest.mark.parametrize("rows_too", [False, True])
@pytest.mark.parametrize("collection", ["kept", "forgotten", "gone"])
def test_faces_that_a_killed_run_left_of_a_user_who_was_deleted_since_leave_the_collection(
    album, counters, rows_too, collection
):
    ana = album.user()
    album.photo(ana, "Ana", "Ben")
    album.run()
    # what a kill between IndexFaces and the decision leaves
    album.db.execute("UPDATE seedtool.backfill_assets SET state = 'started', finished_at = NULL")
    for table in ("seedtool.face_matches", "faces"):
        album.db.execute(f"DELETE FROM {table}")
    if collection != "kept" or rows_too:
        album.db.execute("DELETE FROM face_collections")
    if collection == "gone":
        album.aws.rekognition().delete_collection(CollectionId=f"savta-user-{ana}")
    delete_user(album, ana)
    if rows_too:
        album.db.execute("DELETE FROM assets")
        album.db.execute("DELETE FROM users")
    before = counters().get("CreateCollection", 0)
    report = album.run()
    assert (report.assets, report.succeeded, report.failed, report.notes) == (0, 0, 0, ())
    assert counters().get("CreateCollection", 0) == before
    if collection != "gone":
        assert album.indexed(ana) == []
    rows = album.db.execute("SELECT state, dropping FROM seedtool.backfill_assets").fetchall()
    assert rows == [("skipped", None)]


def test_a_photo_that_goes_together_with_its_row_is_no_failure(album, monkeypatch):
    ana = album.user()
    album.photo(ana, "Ana")
    gone = album.photo(ana, "Ben")
    url = album.url(gone)
    index = FaceProcessor.index

    def delete_and_index(processor, collection_id, asset, left_behind):
        if asset.id == gone:
            album.store.delete(url)
            with server.connect(album.target, autocommit=True) as connection:
                connection.execute("UPDATE assets SET deleted = true WHERE id = %s", [gone])
        return index(processor, collection_id, asset, left_behind)

    monkeypatch.setattr(FaceProcessor, "index", delete_and_index)
    report = album.run()
    assert (report.succeeded, report.failed, report.left, report.ok) == (1, 0, 0, True)
    assert album.run().assets == 0
    assert sorted(state for state, _ in album.journal().values()) == ["done", "skipped"]


def test_wrong_users_and_missing_tables_are_told(album, connection, approved):
    def refused(user_id):
        with pytest.raises(UsageError, match=user_id) as caught:
            album.run(user_id=user_id)
        assert caught.value.place == {"option": "--user-id"}
        approved(caught.value)

    refused("00000000-0000-4000-8000-000000000000")
    refused("ana")
    ana = album.user()
    album.db.execute("UPDATE users SET deleted = true")
    refused(ana)
    album.db.execute("DROP TABLE face_person_links")
    with pytest.raises(SchemaError) as caught:
        album.run()
    assert caught.value.place == {"table": "face_person_links"}


def tiny() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def stub_host():
    """A web server: /photo.jpg, and every other path answers with the status that it is named for."""
    from .conftest import picture

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            good = self.path == "/photo.jpg"
            body = picture("Ana") if good else b""
            self.send_response(200 if good else int(self.path[1:4]))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
