"""After `retry_failed` the later photos are decided about again: the outcome is that of a run in which none failed."""

import random

import pytest

from seedtool.faces.rekognition import collection

from .test_kills import fill, journalled_index_calls, outcome


def break_photos(album, share, seed):
    """Let some photos be nowhere; returns what puts them back."""
    rows = album.db.execute(
        "SELECT a.id, storage_url FROM assets a WHERE face_detection_processed_at IS NULL ORDER BY created_at"
    ).fetchall()
    broken = random.Random(seed).sample(rows, int(share * len(rows)))  # noqa: S311 - the same each time
    for asset, url in broken:
        album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [f"nowhere/{url}", asset])
    album.db.commit()

    def mend(count=None):
        for asset, url in broken[:count]:
            album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [url, asset])
        album.db.commit()

    return len(broken), mend


def marks(album):
    found = album.db.execute("SELECT count(*) FROM seedtool.backfill_again").fetchone()[0]
    album.db.commit()
    return found


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(2, 6))])
def test_the_outcome_is_that_of_an_undisturbed_run(album, another_album, counters, seed):
    for each in (album, another_album):
        fill(each, users=2, photos=40)
    assert another_album.run(batch_size=16).ok
    count, mend = break_photos(album, 0.25, seed)
    first = album.run(batch_size=8)
    assert first.failed == count
    assert outcome(album) != outcome(another_album)
    mend(count // 2)
    second = album.run(retry_failed=True)
    mend()
    before = counters().get("IndexFaces", 0)
    third = album.run(retry_failed=True)
    assert (second.succeeded, second.failed) == (count // 2, count - count // 2)
    assert (third.succeeded, third.failed, third.ok) == (count - count // 2, 0, True)
    assert second.decided_again + third.decided_again > 0
    assert counters()["IndexFaces"] - before == third.succeeded  # those that had failed, and no other
    assert outcome(album) == outcome(another_album)
    assert marks(album) == 0
    album.consistent()
    assert journalled_index_calls(album) == sum(1 for _ in album.journal())
    assert album.run().decided_again == 0


def test_an_interruption_loses_no_mark_and_the_next_run_goes_on(album, another_album):
    for each in (album, another_album):
        fill(each, users=2, photos=40)
    assert another_album.run(batch_size=16).ok
    _, mend = break_photos(album, 0.3, 3)
    album.run()
    mend()
    album.run_and_stop_after_one(retry_failed=True, batch_size=1)
    assert marks(album)
    budget = album.run(retry_failed=True, max_cost=0.01)
    assert budget.cost <= 0.01
    assert album.run(retry_failed=True).ok
    assert outcome(album) == outcome(another_album)
    assert marks(album) == 0


def test_a_mark_alone_makes_the_next_run_look(album):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ana~96", "Ana")]
    url = album.url(photos[0])
    album.db.execute("UPDATE assets SET storage_url = 'nowhere.jpg' WHERE id = %s", [photos[0]])
    album.run()
    album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [url, photos[0]])
    album.db.commit()
    run = album.new_run(retry_failed=True)
    run.processor.match = stop_before_the_second(run)
    run.execute()
    assert marks(album) == 2
    report = album.run()
    assert (report.assets, report.decided_again, report.ok) == (0, 2, True)
    assert set(report.calls) <= {"SearchFaces", "ListCollections", "DescribeCollection"}
    suggestions = album.db.execute("SELECT count(*) FROM seedtool.face_matches").fetchone()
    assert suggestions == (3,)


def stop_before_the_second(run):
    match, asked = run.processor.match, []

    def matched(*arguments):
        asked.append(arguments)
        if len(asked) == 1:
            run.stop()
        return match(*arguments)

    return matched


def test_what_a_user_has_decided_meanwhile_stays(album):
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ben", "Ana", "Ana")]
    album.run(limit=1)
    album.name(ana, photos[0], "Ben")
    url = album.url(photos[1])
    album.db.execute("UPDATE assets SET storage_url = 'nowhere.jpg' WHERE id = %s", [photos[1]])
    album.run()
    album.name(ana, photos[2], "Ana by hand")
    album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [url, photos[1]])
    assert album.run(retry_failed=True).decided_again == 1
    assert album.faces(photos[2])[0][2:5] == ("Ana by hand", False, False)


def test_a_face_that_cannot_be_searched_is_told_and_no_asset_fails(album, monkeypatch):
    monkeypatch.setattr(collection, "_VISIBILITY_WAITS", (0.01,))
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("Ana", "Ana")]
    url = album.url(photos[0])
    album.db.execute("UPDATE assets SET storage_url = 'nowhere.jpg' WHERE id = %s", [photos[0]])
    album.run()
    album.db.execute("UPDATE assets SET storage_url = %s WHERE id = %s", [url, photos[0]])
    album.during_each_record(
        lambda progress: (
            progress.succeeded == 1
            and album.aws.collection(f"savta-user-{ana}").delete_faces(
                [face.face_id for face in album.aws.collection(f"savta-user-{ana}").under(photos[1])]
            )
        )
    )
    report = album.run(retry_failed=True)
    assert (report.succeeded, report.failed, report.ok) == (1, 0, False)
    assert photos[1] in report.notes[0]
    assert {state for state, _ in album.journal().values()} == {"done"}
