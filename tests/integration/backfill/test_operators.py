"""What an operator does: two at once, Ctrl+C, a budget, a limit, one user, a look beforehand."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedtool.backfill import Options, connect, counts, listing, plan, run
from seedtool.errors import DatabaseError, UsageError
from seedtool.faces.rekognition import limiter

ROOT = Path(__file__).resolve().parents[3]

_RUN = """
import json, sys
import msgspec
from pathlib import Path
from seedtool.backfill import FaceProcessor, Options, Run
from seedtool.postgres.server import Target
from seedtool.faces import photos
from seedtool.faces.rekognition.service import Aws
from seedtool.settings import load

given = json.loads(sys.argv[1])
settings = load(Path.cwd())
settings = msgspec.structs.replace(
    settings, photos_url=given["photos"], backfill=msgspec.structs.replace(settings.backfill, **given["rules"])
)
target = Target(conninfo=given["conninfo"], name=given["name"], maintenance="postgres")
aws = Aws(settings, given["endpoint"])
aws.rekognition()
print("ready", flush=True)
sys.stdin.readline()
try:
    processor = FaceProcessor(settings, aws, photos.store(settings, aws))
    report = Run(settings, target, processor, Options(**given["options"])).execute()
except KeyboardInterrupt:
    sys.exit(7)
print(msgspec.json.encode(report).decode(), flush=True)
"""


@pytest.fixture
def operator(album):
    """Starts a run in a process of its own; it begins when a line is written to it."""
    started = []

    def start(**options):
        given = {
            "conninfo": album.target.conninfo,
            "name": album.target.name,
            "endpoint": album.endpoint,
            "photos": album.settings.photos_url,
            "rules": {"smallest_face": 0.28, "visibility": album.settings.backfill.visibility},
            "options": options,
        }
        child = subprocess.Popen(
            [sys.executable, "-c", _RUN, json.dumps(given)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def begin(child):
    child.stdin.write("\n")
    child.stdin.flush()


def test_two_operators_share_the_work_by_user(album, operator, faults, counters):
    users = [album.user() for _ in range(6)]
    for user in users:
        for name in ("Ana", "Ben", "Ana", "Caro"):
            album.photo(user, name, f"Stranger {user}")
    faults(latency={"IndexFaces": 0.05})
    before = counters().get("IndexFaces", 0)
    children = [operator(batch_size=4) for _ in range(2)]
    for child in children:
        begin(child)
    reports = [json.loads(child.stdout.readline()) for child in children]
    assert [child.wait() for child in children] == [0, 0]
    assert sum(report["succeeded"] for report in reports) == 24
    # whoever ends first may leave a user to the other one, who is at work on it
    assert [0, max(report["left"] for report in reports)] == sorted(report["left"] for report in reports)
    assert max(report["left"] for report in reports) <= 4
    assert all(report["succeeded"] for report in reports)
    assert counters()["IndexFaces"] - before == 24
    shared = [{each["user_id"] for each in report["by_user"]} for report in reports]
    assert not shared[0] & shared[1]
    album.consistent()
    assert len(album.faces()) == 48
    attempts = album.db.execute("SELECT DISTINCT attempts FROM seedtool.backfill_assets").fetchall()
    assert attempts == [(1,)]


@pytest.mark.parametrize("stops", [False, True])
def test_what_another_operator_has_done_meanwhile_is_not_left(album, stops):
    one, two, three = album.user(), album.user(), album.user()
    for user in (one, two, three):
        for _ in range(3):
            album.photo(user, "Ana")
    run = album.new_run(batch_size=1)
    record, nested = run.processor.record, []

    def record_while_another_run_works(*arguments):
        if not nested:
            nested.append(album.run(user_id=two))
            if stops:
                run.stop()
        return record(*arguments)

    run.processor.record = record_while_another_run_works
    report = run.execute()
    assert (nested[0].succeeded, nested[0].left) == (3, 0)
    assert (report.succeeded, report.interrupted) == ((1, True) if stops else (6, False))
    assert (report.assets, report.left) == (6, 5 if stops else 0)
    assert run.progress.total == 6


def test_a_user_whom_somebody_is_at_work_on_is_left_and_taken_once_that_one_is_gone(album, another_connection):
    one, two = album.user(), album.user()
    album.photo(one, "Ana")
    album.photo(two, "Ana")
    album.run(user_id=two)
    album.photo(two, "Ana")
    another_connection.execute("SELECT FROM seedtool.backfill_users WHERE user_id = %s FOR UPDATE", [two])
    report = album.run()
    assert (report.succeeded, report.users_elsewhere, report.left) == (1, 1, 1)
    another_connection.rollback()
    assert album.run().succeeded == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_flight(album, operator, faults, number):
    ana = album.user()
    for _ in range(40):
        album.photo(ana, "Ana")
    faults(latency={"IndexFaces": 0.1})
    child = operator(batch_size=4)
    begin(child)
    album.wait_until("SELECT count(*) > 3 FROM seedtool.backfill_assets WHERE state = 'done'")
    child.send_signal(number)
    report = json.loads(child.stdout.readline())
    assert report["interrupted"]
    assert not report["ok"]
    assert report["succeeded"] + report["left"] == 40
    assert report["left"] > 0
    assert {state for state, _ in album.journal().values()} == {"done"}
    assert len(album.faces()) == report["succeeded"] == len(album.indexed(ana))
    assert album.run(batch_size=20).succeeded == report["left"]


def test_a_second_signal_ends_at_once_and_nothing_is_lost(album, operator, faults):
    ana = album.user()
    for _ in range(10):
        album.photo(ana, "Ana")
    faults(latency={"IndexFaces": 8})
    child = operator(batch_size=4)
    begin(child)
    album.wait_until("SELECT count(*) > 3 FROM seedtool.backfill_assets WHERE state = 'started'")
    started = time.monotonic()
    child.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals at one instant would be one
    child.send_signal(signal.SIGINT)
    # the process as such ends when its threads do; the command line does not wait for them
    album.wait_until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'seedtool backfill%%'"
        " AND datname = current_database()"
    )
    assert time.monotonic() - started < 6
    child.kill()
    faults()
    assert album.run(batch_size=20).ok
    album.consistent()
    assert len(album.faces()) == 10


def test_stop_is_like_a_signal(album, faults):
    ana = album.user()
    faults(latency={"IndexFaces": 0.1})
    for _ in range(10):
        album.photo(ana, "Ana")
    report = album.run_and_stop_after_one(batch_size=1)
    assert report.interrupted
    assert 0 < report.succeeded < 10
    assert album.run().ok
    album.consistent()


def test_a_budget_is_kept_to_the_cent_and_the_rest_goes_on_from_there(album, counters):
    ana = album.user()
    for _ in range(10):
        album.photo(ana, "Ana", "Ben", "small Caro")
    for most in (0.0, 0.0029, 0.01, 0.0121, 0.005):
        before = counters()
        report = album.run(max_cost=most, batch_size=4)
        after = counters()
        spent = sum(after.get(name, 0) - before.get(name, 0) for name in ("IndexFaces", "SearchFaces")) / 1000
        assert report.cost == pytest.approx(spent)
        assert spent <= most + 1e-9
        assert report.stopped
        assert report.ok
        album.consistent_so_far()
    rest = album.run(max_cost=0.1)
    assert not rest.stopped
    assert len(album.faces()) == 20
    album.consistent()
    total = counters()
    assert (total["IndexFaces"], total["SearchFaces"]) == (10, 20)
    assert journalled_calls(album) == (10, 20)


def journalled_calls(album):
    found = album.db.execute("SELECT sum(index_calls), sum(search_calls) FROM seedtool.backfill_assets").fetchone()
    album.db.commit()
    return found


def test_a_budget_that_is_just_enough_is_enough(album):
    ana = album.user()
    for _ in range(10):
        album.photo(ana, "Ana", "Ben")
    report = album.run(max_cost=0.028)  # the first photo is compared with nothing
    assert (report.succeeded, report.stopped, report.cost) == (10, "", 0.028)


def test_photos_with_more_faces_than_expected_do_not_break_the_budget(album, counters):
    ana = album.user()
    for _ in range(4):
        album.photo(ana, *(f"P{i}" for i in range(7)))
    album.rules(smallest_face=0.0)
    report = album.run(max_cost=0.01, batch_size=4)
    assert report.cost <= 0.01
    assert report.stopped
    assert album.run().ok
    assert len(album.faces()) == 28
    album.consistent()
    # no search was begun that the budget could have cut off, and so none was paid for twice
    assert (counters()["IndexFaces"], counters()["SearchFaces"]) == journalled_calls(album) == (4, 21)


def test_calls_that_are_not_billed_leave_the_budget_as_it_is(album, faults):
    ana = album.user()
    for _ in range(10):
        album.photo(ana, "Ana", "Ben")
    faults(rules=[{"fault": "internal", "operation": "*", "first": 2, "every": 4, "times": None}])
    report = album.run(max_cost=0.03, batch_size=4)
    assert (report.succeeded, report.stopped, report.cost) == (10, "", 0.028)
    assert sum(report.calls.values()) > 32


def test_a_limit_is_of_each_user_and_one_user_is_one(album):
    one, two = album.user(), album.user()
    for user in (one, two):
        for _ in range(3):
            album.photo(user, "Ana")
    assert album.run(limit=2).succeeded == 4
    assert {state for state, _ in album.journal().values()} == {"done"}
    assert album.run(user_id=two).succeeded == 1
    assert album.run().succeeded == 1
    with pytest.raises(UsageError):
        Options(limit=0)
    with pytest.raises(UsageError):
        Options(batch_size=0)
    with pytest.raises(UsageError):
        Options(max_cost=-1)


def test_looking_beforehand_tells_all_and_writes_nothing(album):
    one, two = album.user(), album.user()
    assets = [album.photo(user, "Ana") for user in (two, one, one)]
    with connect(album.settings.backfill, album.target) as connection:
        told = plan(connection, album.settings, Options())
        assert (told.users, told.assets, told.collections, told.new_collections) == (2, 3, 0, 2)
        assert told.calls == {"IndexFaces": 3, "SearchFaces": 6}
        assert told.cost == pytest.approx(0.009)
        assert list(counts(connection, Options())) == [(one, 2), (two, 1)]
        assert [each.asset_id for each in listing(connection, Options())] == [assets[1], assets[2], assets[0]]
        assert [each.asset_id for each in listing(connection, Options(limit=1))] == [assets[1], assets[0]]
        assert connection.execute("SELECT to_regnamespace('seedtool')").fetchone() == (None,)
    album.run(user_id=one)
    with connect(album.settings.backfill, album.target) as connection:
        told = plan(connection, album.settings, Options())
        assert (told.users, told.assets, told.skipped) == (1, 1, 2)
        assert plan(connection, album.settings, Options(reindex=True)).assets == 3
        assert plan(connection, album.settings, Options(user_id=one, reindex=True, limit=1)).assets == 1


def test_the_estimate_is_by_the_photos_that_were_done_last(album):
    ana = album.user()
    album.photo(ana, "Ana")
    album.run()
    # the photo is too little to tell; 10,000 old photos with one face, which come first in the table, do not count
    album.photo(ana, "Ana")
    with connect(album.settings.backfill, album.target) as connection:
        assert plan(connection, album.settings, Options()).faces_a_photo == 2
    for faces, done in ((1, "2026-01-01"), (3, "2026-02-01")):
        album.db.execute(
            "INSERT INTO seedtool.backfill_assets (asset_id, user_id, state, run, faces, started_at, finished_at)"
            " SELECT gen_random_uuid(), %s, 'done', gen_random_uuid(), %s, %s, %s FROM generate_series(1, 10000)",
            [ana, faces, done, done],
        )
    album.db.execute("UPDATE seedtool.backfill_assets SET finished_at = '2025-12-31' WHERE finished_at > '2026-03-01'")
    album.db.commit()
    with connect(album.settings.backfill, album.target) as connection:
        assert plan(connection, album.settings, Options()).faces_a_photo == 3


def test_an_interrupted_round_of_indexing_anew_goes_on_where_it_was(album, faults):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ben", "Caro", "Ana")]
    album.run()
    album.name(ana, photos[0], "Ana")
    faults(latency={"IndexFaces": 0.05})
    first = album.run_and_stop_after_one(reindex=True, batch_size=1)
    assert first.interrupted
    second = album.run(reindex=True)
    assert first.succeeded + second.succeeded == 4
    assert album.faces(photos[3])[0][2] == "Ana"
    album.consistent()


def test_a_low_quota_is_found_by_itself(album, faults):
    ana = album.user()
    for _ in range(12):
        album.photo(ana, "Ana")
    faults(tps={"IndexFaces": 5, "SearchFaces": 5})
    report = album.run(batch_size=20)
    assert (report.succeeded, report.failed) == (12, 0)
    album.consistent()


def test_many_assets_are_listed_in_flat_memory(album):
    album.db.execute("""
        INSERT INTO users (email, created_at) SELECT n || '@example.cl', timestamptz '2026-01-01' + n * interval '1 s'
        FROM generate_series(1, 500) n""")
    album.db.execute("""
        INSERT INTO assets (user_id, storage_url, file_name, mime_type, approved, created_at)
        SELECT u.id, 'x/' || n || '.jpg', 'IMG_' || n || '.JPG', 'image/jpeg', true,
            timestamptz '2026-02-01' + n * interval '1 s'
        FROM generate_series(1, 400) n CROSS JOIN users u""")
    album.db.execute("ANALYZE assets")
    album.db.commit()
    with connect(album.settings.backfill, album.target) as connection:
        sum(1 for _ in listing(connection, Options(limit=1)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(1 for _ in listing(connection, Options())) == 200_000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB; the rows are 30 MB


def test_a_run_that_lost_its_locks_without_noticing_writes_nothing_more(album):
    ana = album.user()
    photos = [album.photo(ana, "Ana") for _ in range(3)]

    def take_over(_):
        album.db.execute("UPDATE seedtool.backfill_assets SET run = gen_random_uuid() WHERE asset_id = %s", [photos[1]])
        album.db.commit()

    album.during_each_record(take_over, before=True)
    with pytest.raises(DatabaseError, match=photos[1]):
        album.run()
    assert album.faces(photos[1]) == []
    album.during_each_record(None)
    assert album.run().ok
    album.consistent()


def test_a_long_run_finds_a_low_quota_out_by_a_free_call_before_it_sends_photos(album, faults, monkeypatch):
    monkeypatch.setattr(run, "_MANY", 1)
    monkeypatch.setattr(limiter, "QUOTAS", dict.fromkeys(("IndexFaces", "ListFaces", "SearchFaces"), (5000, 5)))
    ana = album.user()
    for _ in range(8):
        album.photo(ana, "Ana")
    faults(tps=dict.fromkeys(("IndexFaces", "ListFaces", "SearchFaces"), 5.0))
    report = album.run(batch_size=50)
    assert report.ok
    assert set(report.throttled) == {"ListFaces"}  # no photo was sent too early
    assert report.calls["ListFaces"] <= run._PROBES
    assert report.calls["IndexFaces"] == 8
