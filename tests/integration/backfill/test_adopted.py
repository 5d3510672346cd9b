"""What a collection holds already is not indexed again: the database was reset or restored, and the collection stayed."""

import pytest

from seedtool.backfill import connect
from seedtool.postgres import server

FORGET = """
TRUNCATE face_person_links, faces, face_collections, seedtool.face_matches, seedtool.backfill_assets,
    seedtool.backfill_users, seedtool.backfill_collections;
UPDATE assets SET face_detection_data = NULL, face_detection_provider = NULL, face_detection_processed_at = NULL"""


def forget(album):
    """Leave what a reset leaves: the rows of users and assets, and the collections."""
    album.db.execute(FORGET)
    album.db.commit()


def tables(album):
    """What the tables hold, without the ids of rows and the times."""
    faces = album.db.execute("""
        SELECT asset_id, rekognition_face_id, bounding_box, confidence, needs_assignment, auto_assigned
        FROM faces WHERE NOT deleted ORDER BY 1, 2""").fetchall()
    matches = album.db.execute("""
        SELECT f.rekognition_face_id, g.rekognition_face_id, m.similarity FROM seedtool.face_matches m
        JOIN faces f ON f.id = m.face_id JOIN faces g ON g.id = m.matched_face_id ORDER BY 1, 2""").fetchall()
    others = [
        album.db.execute(statement).fetchall()
        for statement in (
            "SELECT id, face_detection_provider, jsonb_array_length(face_detection_data -> 'faces') FROM assets ORDER BY 1",
            "SELECT user_id, aws_collection_id, rekognition_arn, face_count FROM face_collections ORDER BY 1",
            "SELECT asset_id, state, faces, dropping FROM seedtool.backfill_assets ORDER BY 1",
        )
    ]
    album.db.commit()
    return faces, matches, *others


@pytest.fixture
def filled(album):
    """Two users with photos that were processed before a reset; what the first run left is in `first`."""
    album.users = [album.user(), album.user()]
    album.photos = {
        user: [album.photo(user, *names) for names in (["Ana", "Ben"], ["Ana~88"], ["Caro"], ["Ana"])]
        for user in album.users
    }
    assert album.run().ok
    album.first = tables(album)
    forget(album)
    return album


def test_after_a_reset_nothing_is_indexed_again_and_the_tables_are_the_same(filled, counters):
    report = filled.run()
    assert (report.succeeded, report.failed, report.adopted) == (8, 0, 8)
    assert "IndexFaces" not in report.calls
    assert report.billed == {"SearchFaces": 10}
    assert report.calls["ListFaces"] == 2  # one page for each user
    assert tables(filled) == filled.first
    filled.consistent()
    # the journal knows the collections now: nobody lists them again
    filled.photo(filled.users[0], "Eva")
    before = counters()
    assert filled.run().adopted == 0
    assert counters().get("ListFaces", 0) == before.get("ListFaces", 0)


def test_a_collection_that_the_run_itself_created_is_not_listed(album, counters):
    ana = album.user()
    for _ in range(3):
        album.photo(ana, "Ana")
    album.run(limit=1)
    album.run()
    assert "ListFaces" not in counters()


def test_only_the_photo_whose_face_was_deleted_meanwhile_is_indexed(filled):
    user = filled.users[1]
    gone = filled.photos[user][2]
    (face,) = filled.aws.collection(f"savta-user-{user}").under(gone)
    filled.aws.collection(f"savta-user-{user}").delete_faces([face.face_id])
    report = filled.run()
    assert (report.succeeded, report.adopted, report.calls["IndexFaces"]) == (8, 7, 1)
    states = filled.db.execute(
        "SELECT index_calls FROM seedtool.backfill_assets WHERE asset_id = %s", [gone]
    ).fetchall()
    assert states == [(1,)]
    filled.consistent()


@pytest.mark.parametrize("options", [{"limit": 1}, {"stop": True}])
def test_after_a_half_finished_first_run_the_rest_is_adopted_too(filled, options, faults):
    faults(latency={"SearchFaces": 0.1})  # or the run is over before it is told to stop
    first = filled.run_and_stop_after_one(batch_size=1) if "stop" in options else filled.run(**options)
    assert 0 < first.succeeded < 8
    second = filled.run()
    assert first.adopted + second.adopted == first.succeeded + second.succeeded == 8
    assert "IndexFaces" not in {**first.calls, **second.calls}
    assert tables(filled) == filled.first


def test_two_operators_adopt_what_is_there(filled):
    """The second one begins in the middle of the first one's work, and has the other user."""
    run, nested = filled.new_run(batch_size=1), []
    record = run.processor.record

    def record_while_another_works(*arguments):
        if not nested:
            nested.append(filled.run())
        return record(*arguments)

    run.processor.record = record_while_another_works
    report = run.execute()
    assert (report.succeeded, nested[0].succeeded) == (4, 4)
    assert report.adopted + nested[0].adopted == 8
    assert tables(filled) == filled.first


def test_faces_of_photos_that_are_no_longer_there_are_left_alone(filled):
    user = filled.users[0]
    gone = filled.photos[user][0]
    before = filled.indexed(user)
    filled.db.execute("DELETE FROM assets WHERE id = %s", [gone])
    filled.aws.collection(f"savta-user-{user}").index_faces(
        filled.store.get(filled.url(filled.photos[user][1])), "else"
    )
    report = filled.run()
    assert (report.succeeded, report.adopted, report.failed) == (7, 7, 0)
    assert set(before) < set(filled.indexed(user))
    assert filled.faces_of(user) == filled.photos[user][1:]


def test_a_photo_that_did_not_qualify_is_adopted_once_it_does(filled):
    late = filled.photos[filled.users[0]][0]
    filled.db.execute("UPDATE assets SET approved = false WHERE id = %s", [late])
    assert filled.run().adopted == 7
    filled.db.execute("UPDATE assets SET approved = true WHERE id = %s", [late])
    report = filled.run()
    assert (report.succeeded, report.adopted) == (1, 1)
    assert "IndexFaces" not in report.calls


def test_with_reindex_what_was_done_is_indexed_again_and_the_rest_adopted(filled):
    assert filled.run(limit=1).adopted == 2
    report = filled.run(reindex=True)
    assert (report.succeeded, report.adopted, report.calls["IndexFaces"]) == (8, 6, 2)
    filled.consistent()


def test_a_restored_database_whose_journal_is_older_than_the_collection_adopts_the_rest(album):
    """The collection is known, but in the database that was saved: the copy cannot know what came afterwards."""
    ana = album.user()
    album.photo(ana, "Ana")
    assert album.run().ok
    album.db.close()
    with server.connect(album.target, album.target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f'CREATE DATABASE "{album.target.name}_saved" TEMPLATE "{album.target.name}"')
    album.db = connect(album.settings.backfill, album.target)
    later = [album.photo(ana, name) for name in ("Ben", "Caro")]
    rows = album.db.execute("SELECT * FROM assets WHERE id = ANY(%s::uuid[])", [later]).fetchall()
    columns = [each.name for each in album.db.execute("SELECT * FROM assets LIMIT 0").description]
    assert album.run().succeeded == 2
    album.db.close()
    with server.connect(album.target, album.target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f'DROP DATABASE "{album.target.name}" WITH (FORCE)')
        maintenance.execute(f'ALTER DATABASE "{album.target.name}_saved" RENAME TO "{album.target.name}"')
    album.db = connect(album.settings.backfill, album.target)
    marks = ", ".join(["%s"] * len(columns))
    for row in rows:
        album.db.execute(f"INSERT INTO assets ({', '.join(columns)}) VALUES ({marks})", row)
    report = album.run()
    assert (report.succeeded, report.adopted) == (2, 2)
    assert "IndexFaces" not in report.calls
    album.consistent()
    album.db.close()
