"""No network, a service or a database that does not answer: the run waits, continues, and marks nothing as failed."""

import http.server
import itertools
import threading

import msgspec
import psycopg
import pytest
from botocore import exceptions

from seedtool.backfill import connect, outage
from seedtool.errors import AccessDenied, CredentialsError, DatabaseError, ServiceUnavailable
from seedtool.faces import aws_session
from seedtool.faces.rekognition.service import Aws
from seedtool.postgres import server

from .conftest import OnProgress, picture

pytestmark = pytest.mark.usefixtures("impatient")

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'seedtool backfill%%'"
    " AND datname = current_database()"
)


def library(album, users=2, photos=6):
    """Users with photos; returns how many photos there are."""
    for user in [album.user() for _ in range(users)]:
        for number in range(photos):
            album.photo(user, "Ana", f"Stranger {number}")
    return users * photos


def states(album):
    return {state for state, _ in album.journal().values()}


@pytest.mark.parametrize(("fault", "batch_size"), [("drop", 1), ("drop", 10), (500, 1), (503, 10)])
def test_an_outage_is_waited_out(album, relay, fault, batch_size):
    count = library(album)
    told = set()
    relay.fault = lambda *_: fault if len(relay.asked) > 12 and not any(told) else None
    run = album.new_run(Aws(album.settings, relay.url), batch_size=batch_size)
    report = run.execute(OnProgress(lambda *_: told.add(run.progress.outage)))
    assert (report.succeeded, report.failed, report.ok) == (count, 0, True)
    assert any("rekognition" in each for each in told)
    assert run.progress.outage == ""
    album.consistent()


#: What botocore raises where no answer comes; and None, where one comes.
NO_ANSWERS = (
    exceptions.SSLError(endpoint_url="https://aws", error="certificate verify failed"),
    exceptions.ReadTimeoutError(endpoint_url="https://aws"),
    None,
    exceptions.ProxyConnectionError(proxy_url="http://proxy"),
    exceptions.ConnectTimeoutError(endpoint_url="https://aws"),
    exceptions.ConnectionClosedError(endpoint_url="https://aws"),
)


def failing(album, url, error):
    """An AWS side whose requests fail before they are sent: `error(body)` returns what is raised."""

    def raise_it(request, **_):
        if (found := error(request.body)) is not None:
            raise found

    aws = Aws(album.settings, url)
    aws.rekognition().meta.events.register("before-send.rekognition.*", raise_it)
    return aws


def test_tls_timeouts_proxies_and_errors_of_the_service_in_turn_are_one_outage(album, relay):
    count = library(album)
    told, number = set(), itertools.count()

    def error(_body):
        return NO_ANSWERS[next(number) % len(NO_ANSWERS)] if len(relay.asked) > 12 and not any(told) else None

    relay.fault = lambda *_: 503 if len(relay.asked) > 12 and not any(told) else None
    run = album.new_run(failing(album, relay.url, error), batch_size=4)
    report = run.execute(OnProgress(lambda *_: told.add(run.progress.outage)))
    assert (report.succeeded, report.failed, report.ok) == (count, 0, True)
    album.consistent()


def test_an_endpoint_that_is_too_slow_for_one_photo_fails_this_photo_alone(album, impatient, monkeypatch):
    monkeypatch.setattr(aws_session, "ATTEMPTS", 1)
    ana = album.user()
    photos = [album.photo(ana, "Ana") for _ in range(8)]
    slow = exceptions.ReadTimeoutError(endpoint_url="https://aws")
    aws = failing(album, album.endpoint, lambda body: slow if photos[2].encode() in body else None)
    report = album.run(aws, batch_size=3)
    assert (report.succeeded, [each.asset_id for each in report.errors]) == (7, [photos[2]])
    assert "timeout" in report.errors[0].cause.lower()
    assert album.run(retry_failed=True).succeeded == 1


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        (("ExpiredTokenException", "The security token included in the request is expired"), CredentialsError, "Renew"),
        (("InvalidSignatureException", "Signature expired: 1 is now earlier than 2"), CredentialsError, "clock"),
        (("AccessDeniedException", "no"), AccessDenied, "IAM"),
    ],
)
def test_credentials_that_end_in_the_middle_end_the_run_and_the_same_command_continues(
    album, relay, answer, kind, remedy
):
    """Nobody but the operator can renew them. Those of a profile, a role or a container renew themselves in botocore."""
    count = library(album)
    relay.fault = lambda *_: answer if len(relay.asked) > 12 else None
    run = album.new_run(Aws(album.settings, relay.url), batch_size=4)
    with pytest.raises(kind) as caught:
        run.execute()
    assert remedy in caught.value.remedy
    assert (run.report.failed, run.report.stopped) == (0, caught.value.message)
    assert "failed" not in states(album)
    assert album.run().succeeded == count - run.report.succeeded
    album.consistent()


@pytest.mark.parametrize(
    ("operation", "batch_size"), [("*", 1), ("*", 10), ("IndexFaces", 10), ("SearchFaces", 10), ("CreateCollection", 1)]
)
def test_one_that_lasts_too_long_ends_the_run_and_the_same_command_continues(album, relay, operation, batch_size):
    count = library(album)
    album.rules(longest_outage=0.4)
    relay.fault = lambda name, _: 500 if operation in {"*", name} else None
    run = album.new_run(Aws(album.settings, relay.url), batch_size=batch_size)
    with pytest.raises(ServiceUnavailable) as caught:
        run.execute()
    assert "tried again for 0.4 s" in caught.value.message
    assert "same command" in caught.value.remedy
    assert (run.report.failed, run.report.notes, run.report.stopped) == (0, (), caught.value.message)
    assert "failed" not in states(album)
    relay.fault = lambda *_: None
    assert album.run().succeeded == count - run.report.succeeded
    assert states(album) == {"done"}
    album.consistent()


@pytest.mark.parametrize("url", ["http://nowhere.invalid", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_no_name_no_tls_and_no_connection_are_outages(album, relay, url):
    library(album, users=1, photos=3)
    album.rules(longest_outage=0.2)
    with pytest.raises(ServiceUnavailable):
        album.run(Aws(album.settings, url.format(port=relay.url.rsplit(":", 1)[1])))
    assert "failed" not in states(album)


def test_dropped_connections_here_and_there_fail_no_asset(album, relay):
    """All threads share botocore's quota of retries: once it is used up, each drop fails a call."""
    count = library(album, users=3, photos=12)
    relay.fault = lambda *_: "drop" if len(relay.asked) % 3 == 0 else None
    report = album.run(Aws(album.settings, relay.url), batch_size=12)
    assert (report.succeeded, report.failed) == (count, 0)
    album.consistent()


def test_a_search_that_was_answered_is_not_paid_for_again_when_the_next_one_is_not(album, relay, monkeypatch):
    monkeypatch.setattr(aws_session, "ATTEMPTS", 1)
    ana = album.user()
    for _ in range(2):
        album.photo(ana, "Ana", "Ben", "Caro", "Dani")
    # without what it has found, an asset of four faces would never get through
    number = itertools.count()
    relay.fault = lambda operation, _: 500 if operation == "SearchFaces" and next(number) % 2 else None
    report = album.run(Aws(album.settings, relay.url))
    assert (report.succeeded, report.failed, report.ok) == (2, 0, True)
    assert report.billed["SearchFaces"] == 4  # those of the second photo
    assert report.calls["SearchFaces"] == 7
    album.consistent()


def test_the_last_asset_that_fails_by_itself_is_no_outage(album, relay):
    ana = album.user()
    photos = [album.photo(ana, "Ana") for _ in range(3)]
    relay.fault = lambda _, request: 500 if request.get("ExternalImageId") == photos[2] else None
    report = album.run(Aws(album.settings, relay.url))
    assert (report.succeeded, report.failed) == (2, 1)
    assert report.errors[0].asset_id == photos[2]


def test_a_user_whose_collection_fails_by_itself_is_left_out_alone(album, relay):
    users = [album.user() for _ in range(6)]
    for user in users:
        album.photo(user, "Ana")
    relay.fault = lambda _, request: 500 if request["CollectionId"].endswith(users[1]) else None
    report = album.run(Aws(album.settings, relay.url), batch_size=1)
    assert (report.succeeded, report.failed) == (5, 0)
    assert [users[1] in note for note in report.notes] == [True]
    assert album.run().succeeded == 1


def test_a_stop_during_an_outage_is_heeded(album, relay):
    library(album)
    relay.fault = lambda *_: 500
    run = album.new_run(Aws(album.settings, relay.url))
    report = run.execute(OnProgress(lambda *_: run.progress.outage and run.stop()))
    assert (report.interrupted, report.failed, report.succeeded) == (True, 0, 0)
    assert "failed" not in states(album)


def test_faces_that_cannot_be_deleted_for_a_while_are_deleted_later(album, relay):
    ana = album.user()
    for _ in range(3):
        album.photo(ana, "Ana", "small Ben")
    relay.fault = lambda name, _: 500 if name == "DeleteFaces" and relay.asked.count(name) < 12 else None
    report = album.run(Aws(album.settings, relay.url))
    assert (report.succeeded, report.notes) == (3, ())
    album.consistent()


def test_a_host_of_photos_that_is_down_is_waited_for(album, monkeypatch):
    from seedtool.faces.photos import web

    monkeypatch.setattr(web, "_WAITS", (0.01, 0.01))
    good = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = picture("Ana") if good.is_set() else b""
            self.send_response(200 if good.is_set() else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=host.serve_forever, args=[0.01], daemon=True).start()
    album.settings = msgspec.structs.replace(album.settings, private_photo_hosts=("127.0.0.1",))
    ana = album.user()
    for number in range(8):
        album.photo(ana, storage_url=f"http://127.0.0.1:{host.server_port}/{number}.jpg")
    run = album.new_run(batch_size=4)
    report = run.execute(OnProgress(lambda *_: run.progress.outage and good.set()))
    host.shutdown()
    host.server_close()
    assert good.is_set()
    assert (report.succeeded, report.failed) == (8, 0)


@pytest.mark.parametrize("options", [{}, {"limit": 4}, {"reindex": True}])
def test_connections_that_are_cut_again_and_again_lose_nothing(album, another_connection, options):
    count = library(album, users=2, photos=6)
    if "reindex" in options:
        album.run()
    cut = []

    def now_and_then(progress):
        if progress.succeeded % 3 == 0:
            another_connection.execute(CUT)
            another_connection.commit()
            cut.append(progress)

    album.during_each_record(now_and_then)
    report = album.run(batch_size=2, **options)
    assert len(cut) > 1
    expected = 2 * options.get("limit", count // 2)
    assert (report.succeeded, report.failed, report.left, report.assets) == (expected, 0, 0, expected)
    assert states(album) == {"done"}
    assert len(album.faces()) == 2 * expected
    album.consistent()


def test_a_database_that_restarts_is_waited_for(album, target):
    count = library(album)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:

        def closed(doors):
            maintenance.execute(f"ALTER DATABASE {album.target.name} ALLOW_CONNECTIONS {not doors}")

        def shut(progress):
            if progress.succeeded == 3:
                closed(True)
                maintenance.execute(CUT.replace("current_database()", f"'{album.target.name}'"))

        told = set()

        def hear(*_):
            told.add(run.progress.outage)
            if run.progress.outage:
                closed(False)

        album.during_each_record(shut)
        run = album.new_run(batch_size=2)
        report = run.execute(OnProgress(hear))
    assert (report.succeeded, report.failed) == (count, 0)
    assert len(told) > 1
    album.consistent()


def test_a_database_that_stays_away_ends_the_run(album, target):
    count = library(album)
    album.rules(longest_outage=0.3)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:

        def shut(progress):
            if progress.succeeded == 3:
                maintenance.execute(f"ALTER DATABASE {album.target.name} ALLOW_CONNECTIONS false")
                maintenance.execute(CUT.replace("current_database()", f"'{album.target.name}'"))

        album.during_each_record(shut)
        run = album.new_run(batch_size=2)
        with pytest.raises(DatabaseError) as caught:
            run.execute()
        maintenance.execute(f"ALTER DATABASE {album.target.name} ALLOW_CONNECTIONS true")
    assert "tried again for 0.3 s" in caught.value.message
    assert "same command" in caught.value.remedy
    assert run.report.failed == 0
    album.during_each_record(None)
    assert album.run().succeeded == count - run.report.succeeded
    album.consistent()


def test_what_the_server_has_no_room_for_fails_no_asset(album, another_connection):
    """Disk full, out of memory: each statement of each asset would meet it."""
    count = library(album, users=1, photos=5)
    album.db.execute("""
        CREATE TABLE room (full_until timestamptz);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF clock_timestamp() < (SELECT full_until FROM room)
            THEN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON faces FOR EACH ROW EXECUTE FUNCTION refuse();
        INSERT INTO room VALUES (clock_timestamp() + interval '0.5 s')""")
    report = album.run()
    assert (report.succeeded, report.failed) == (count, 0)
    album.consistent()


def test_a_table_that_may_not_be_written_ends_the_run_before_any_asset_fails(album):
    library(album, users=1, photos=5)
    album.db.execute(
        "ALTER TABLE faces DROP auto_assigned, ADD auto_assigned boolean GENERATED ALWAYS AS (false) STORED"
    )
    with pytest.raises(DatabaseError, match="auto_assigned"):
        album.run()
    assert "failed" not in states(album)
    album.db.execute("ALTER TABLE faces ALTER auto_assigned DROP EXPRESSION")
    album.db.commit()
    assert album.run().ok


def test_another_database_in_its_place_is_left_alone(album, another_album, target):
    library(album)
    library(another_album)
    names = album.target.name, another_album.target.name

    def replace(progress):
        if progress.succeeded == 3:
            another_album.db.close()
            with server.connect(target, target.maintenance, autocommit=True) as maintenance:
                maintenance.execute(CUT.replace("current_database()", f"'{names[0]}'"))
                for old, new in ((names[0], "set_aside"), (names[1], names[0]), ("set_aside", names[1])):
                    ended = psycopg.sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
                    maintenance.execute(ended.format(old))
                    maintenance.execute(f"ALTER DATABASE {old} RENAME TO {new}")

    album.db.close()
    album.during_each_record(replace)
    album.db = connect(album.settings.backfill, album.target)
    run = album.new_run(batch_size=2)
    album.db.close()
    with pytest.raises(DatabaseError) as ended:
        run.execute()
    assert "--dry-run" in ended.value.remedy
    album.db = connect(album.settings.backfill, album.target)
    assert album.db.execute("SELECT count(*) FROM faces").fetchone() == (0,)
    album.db.close()


def test_pauses_grow_and_one_answer_ends_them():
    known = outage.Outages(600)
    for _ in range(3):
        known.unanswered(ServiceUnavailable("no"))
    assert (known.attempts, known.lasts, known.cause) == (1, True, "no")
    assert known.too_long() is None
    known.answered("index")
    assert (known.attempts, known.lasts, known.cause) == (0, False, "")
