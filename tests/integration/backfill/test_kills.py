"""SIGKILL at any instruction, then the same command: as if nothing had happened. And two operators at once."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from seedtool.postgres import server

ROOT = Path(__file__).resolve().parents[3]

# One process imports everything and makes the client; its children are the runs that are killed.
_RUNS = """
import json, os, random, signal, sys, time
import msgspec
from botocore.retries import standard
from seedtool.backfill import FaceProcessor, Options, Run, outage
from seedtool.postgres.server import Target
from seedtool.faces import photos
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.rekognition import limiter
from seedtool.settings import load
from pathlib import Path

limiter.QUOTAS = dict.fromkeys(limiter.QUOTAS, (5000, 5000))
limiter.OTHER_QUOTA = 5000
outage._FIRST_WAIT, outage._LONGEST_WAIT = 0.02, 0.1
standard.ExponentialBackoff.delay_amount = lambda *_: 0.01
given = json.loads(sys.argv[1])
settings = load(Path.cwd())
settings = msgspec.structs.replace(
    settings, photos_url=given["photos"], backfill=msgspec.convert(given["rules"], type(settings.backfill))
)
target = Target(conninfo=given["conninfo"], name=given["name"], maintenance="postgres")
aws = Aws(settings, given["endpoint"])
aws.rekognition()
rng = random.Random(given["seed"])
record = FaceProcessor.record
killed = 0
while True:
    reader, writer = os.pipe()

    def record_and_signal(*arguments):
        outcome = record(*arguments)
        os.write(writer, b".")
        return outcome

    child = os.fork()
    if child == 0:
        FaceProcessor.record = record_and_signal
        try:
            processor = FaceProcessor(settings, aws, photos.store(settings, aws))
            report = Run(settings, target, processor, Options(**given["options"])).execute()
            print(json.dumps({"killed": killed, "ok": report.ok, "left": report.left, "done": report.succeeded,
                "errors": [each.cause for each in report.errors]}), flush=True)
        except BaseException as error:
            print(json.dumps({"error": repr(error)}), flush=True)
        os._exit(0)
    if killed < given["kills"]:
        os.close(writer)
        assets = rng.randint(0, 4)  # so many recorded, and then at any moment; with none, on the way there
        for _ in range(assets):
            os.read(reader, 1)
        time.sleep(rng.uniform(0, 0.02 if assets else 0.2))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        os.close(reader)
    else:
        os.waitpid(child, 0)
        break
"""

PEOPLE = ("Ana", "Ben", "Caro", "Dani", "Eva")


def fill(album, users: int, photos: int) -> None:
    """The same photos each time: persons who are known, near and far likenesses, strangers, small faces, nobody."""
    rng = random.Random(7)  # noqa: S311 - the same each time
    owners = [album.user() for _ in range(users)]
    for owner in owners:
        for person in PEOPLE[:3]:
            album.photo(owner, person)
    album.run(batch_size=10)
    for owner in owners:
        rows = album.db.execute(
            "SELECT id::text FROM assets WHERE user_id = %s ORDER BY created_at", [owner]
        ).fetchall()
        for person, (asset,) in zip(PEOPLE, rows, strict=False):
            album.name(owner, asset, person)
    for number in range(photos):
        names = rng.sample(PEOPLE, rng.choice((1, 1, 2, 3)))
        names = [name + rng.choice(("", "", "", "~88", "~95", "~80")) for name in names]
        if number % 5 == 0:
            names.append(f"Stranger {number}")
        if number % 7 == 0:
            names.append("small Zoe")
        if number % 25 == 0:
            names = []
        album.photo(rng.choice(owners), *names)


def outcome(album) -> tuple[list, list]:
    """Everything that a run leaves, without the ids that differ from run to run."""
    suggestions = album.db.execute("""
        SELECT a.file_name, (f.bounding_box ->> 'Left')::float8, b.file_name, (g.bounding_box ->> 'Left')::float8,
            m.similarity::float8
        FROM seedtool.face_matches m JOIN faces f ON f.id = m.face_id JOIN assets a ON a.id = f.asset_id
        JOIN faces g ON g.id = m.matched_face_id JOIN assets b ON b.id = g.asset_id ORDER BY 1, 2, 3, 4""").fetchall()
    told = album.db.execute("""
        SELECT file_name, face_detection_data -> 'dropped', jsonb_array_length(face_detection_data -> 'faces'),
            face_detection_processed_at IS NOT NULL FROM assets ORDER BY 1""").fetchall()
    collections = album.db.execute("""
        SELECT u.email, c.face_count FROM face_collections c JOIN users u ON u.id = c.user_id ORDER BY 1""").fetchall()
    return album.faces(), suggestions, told, collections


def killed(
    album, *, options: dict, seed: int, kills: int, endpoint: str | None = None, rules: dict | None = None
) -> dict:
    """Run and kill so many times, then run to the end; returns what the last run told."""
    given = {
        "conninfo": album.target.conninfo,
        "name": album.target.name,
        "endpoint": endpoint or album.endpoint,
        "photos": album.settings.photos_url,
        "rules": rules or {"smallest_face": 0.28, "visibility": 0.02},
        "options": options,
        "seed": seed,
        "kills": kills,
    }
    album.db.commit()
    done = subprocess.run(
        [sys.executable, "-c", _RUNS, json.dumps(given)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_kills_leave_what_an_uninterrupted_run_leaves(album, another_album, faults, counters):
    kill_often(album, another_album, faults, counters, photos=48, kills=6)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_thousand_kills_leave_what_an_uninterrupted_run_leaves(album, another_album, faults, counters, campaign):
    with campaign("backfill: SIGKILL at a random moment", "every row and face is that of a run without kills") as told:
        told.kills = told.points = told.wanted
        kill_often(album, another_album, faults, counters, photos=max(300, 6 * told.wanted), kills=told.wanted)


def kill_often(album, another_album, faults, counters, *, photos, kills):
    for each in (album, another_album):
        fill(each, users=3, photos=photos)
    expected = another_album.run(batch_size=16)
    assert (expected.succeeded, expected.failed) == (photos, 0)
    assert min(expected.auto_assigned, expected.suggested, expected.needs_person - expected.suggested) > photos / 40
    another_album.consistent()

    faults(lag=0.02, latency={"IndexFaces": 0.03})
    before = journalled_index_calls(album), counters()["IndexFaces"]
    last = killed(album, options={"batch_size": 8}, seed=11, kills=kills)
    assert (last["killed"], last["ok"], last["left"]) == (kills, True, 0), last
    assert last["done"] > 0, "all was done before the last kill"
    album.consistent()
    assert outcome(album) == outcome(another_album)
    assert {state for state, _ in album.journal().values()} == {"done"}
    # every call is in the journal, and beside them only those of which nobody can know whether they were sent
    written, called = journalled_index_calls(album) - before[0], counters()["IndexFaces"] - before[1]
    assert called <= written <= called + kills * 8


def journalled_index_calls(album) -> int:
    found = album.db.execute("SELECT sum(index_calls) FROM seedtool.backfill_assets").fetchone()[0]
    album.db.commit()
    return found


@pytest.mark.timeout(120)
def test_kills_while_everything_is_indexed_anew_lose_no_person_and_leave_no_old_face(album, faults):
    fill(album, users=2, photos=20)
    assert album.run(batch_size=16).ok
    before, collections = outcome(album), album.db.execute("SELECT user_id::text FROM face_collections").fetchall()
    old = set(album.db.execute("SELECT rekognition_face_id FROM faces").fetchall())
    faults(lag=0.02, latency={"IndexFaces": 0.03})
    last = killed(album, options={"batch_size": 8, "reindex": True}, seed=5, kills=3)
    assert (last["killed"], last["ok"], last["left"]) == (3, True, 0), last
    assert last["done"] > 0
    album.consistent()
    assert [row[:5] for row in outcome(album)[0]] == [row[:5] for row in before[0]]
    assert not old & set(album.db.execute("SELECT rekognition_face_id FROM faces WHERE NOT deleted").fetchall())
    assert len(collections) == 2


def test_kills_outages_failures_a_deleted_user_and_a_lost_collection_leave_what_an_undisturbed_run_leaves(
    album, another_album, relay
):
    for each in (album, another_album):
        fill(each, users=3, photos=30)
    assert another_album.run(batch_size=16).ok
    users = [user for (user,) in album.db.execute("SELECT id::text FROM users ORDER BY created_at")]
    lost, deleted = users[1], users[2]
    mend = break_every_fifth_photo(album)

    def fault(operation, request):
        """Outages of twelve calls each, and the user is deleted in the first."""
        number = len(relay.asked)
        if number == 30:
            with server.connect(album.target, autocommit=True) as connection:
                connection.execute("UPDATE users SET deleted = true WHERE id = %s", [deleted])
        return 500 if number > 20 and number % 40 < 12 else None

    relay.fault = fault
    last = killed(album, options={"batch_size": 8}, seed=3, kills=3, endpoint=relay.url)
    assert last["killed"] == 3
    assert "error" not in last

    for each, user in ((album, lost), (another_album, users_of(another_album)[1])):
        for _ in range(3):
            each.photo(user, "Ana")
    album.during_each_record(
        lambda progress: (
            progress.succeeded == 1 and album.aws.rekognition().delete_collection(CollectionId=f"savta-user-{lost}")
        )
    )
    assert not album.run(batch_size=1).ok
    album.during_each_record(None)
    assert another_album.run().ok

    mend()
    repaired = killed(album, options={"batch_size": 8, "reindex": True}, seed=4, kills=1)
    assert repaired["ok"], repaired
    retried = killed(album, options={"batch_size": 8, "retry_failed": True}, seed=5, kills=1)
    assert retried["ok"], retried
    rest = album.run(retry_failed=True)
    assert (rest.ok, rest.succeeded, rest.decided_again) == (True, 0, 0)

    assert {asset for asset, _ in album.indexed(deleted)} <= set(album.faces_of(deleted))
    for each, user in ((album, deleted), (another_album, users_of(another_album)[2])):
        forget_user(each, user)
    assert outcome(album) == outcome(another_album)
    assert {state for state, _ in album.journal().values()} == {"done"}
    for each in (album, another_album):
        each.consistent()


def users_of(album) -> list[str]:
    found = [user for (user,) in album.db.execute("SELECT id::text FROM users ORDER BY created_at")]
    album.db.commit()
    return found


def break_every_fifth_photo(album):
    """Let photos be nowhere; returns what puts them back."""
    broken = album.db.execute(
        "SELECT id, storage_url FROM assets WHERE face_detection_processed_at IS NULL ORDER BY created_at, id"
    ).fetchall()[::5]

    def place(prefix):
        for asset, url in broken:
            album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [prefix + url, asset])
        album.db.commit()

    place("nowhere/")
    return lambda: place("")


def forget_user(album, user):
    """Delete a user's rows, so that the others can be compared."""
    album.db.execute(
        "DELETE FROM seedtool.face_matches m USING faces f WHERE f.user_id = %(user)s"
        " AND f.id IN (m.face_id, m.matched_face_id)",
        {"user": user},
    )
    album.db.execute("DELETE FROM face_person_links l USING faces f WHERE f.id = l.face_id AND f.user_id = %s", [user])
    for table in ("faces", "person_groups", "face_collections", "seedtool.backfill_assets", "assets"):
        album.db.execute(f"DELETE FROM {table} WHERE user_id = %s", [user])
    album.db.execute("DELETE FROM users WHERE id = %s", [user])
    album.db.commit()
