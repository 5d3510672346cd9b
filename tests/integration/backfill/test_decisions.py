"""What becomes of faces: linked, kept for review, new; and in which order that is decided."""

import msgspec

from .conftest import OnProgress


def test_each_of_the_three_outcomes(album):
    ana = album.user("ana")
    first = album.photo(ana, "Ana Soto")
    report = album.run()
    assert (report.succeeded, report.faces, report.needs_person, report.auto_assigned) == (1, 1, 1, 0)
    person = album.name(ana, first, "Ana")
    again = album.photo(ana, "Ana Soto")
    review = album.photo(ana, "Ana Soto~88")
    other = album.photo(ana, "Ben Rojas")
    report = album.run()
    assert (report.succeeded, report.failed, report.skipped) == (3, 0, 1)
    assert (report.auto_assigned, report.needs_person, report.suggested) == (1, 2, 1)
    (linked,) = album.faces(again)
    assert linked[2:5] == ("Ana", False, True)
    assert 0.95 <= linked[5] <= 1
    assert album.faces(review)[0][2:] == (None, True, False, None)
    assert album.faces(other)[0][2:] == (None, True, False, None)
    album.consistent()
    data, provider = album.db.execute(
        "SELECT face_detection_data, face_detection_provider FROM assets"
        " WHERE id = %s AND face_detection_processed_at IS NOT NULL",
        [review],
    ).fetchone()
    assert provider == "aws_rekognition"
    (told,) = data["faces"]
    assert told["outcome"] == "review"
    # the person is suggested once, by the face that is most like: both of hers are at 88, the first one is older
    assert [(each["person_group_id"], each["similarity"]) for each in told["suggestions"]] == [(person, 88)]
    rows = album.db.execute("SELECT face_id::text, similarity::float8 FROM seedtool.face_matches").fetchall()
    assert rows == [(told["face_id"], 88.0)]
    links = album.db.execute("SELECT assigned_by FROM face_person_links ORDER BY assigned_at").fetchall()
    assert links == [("user",), ("system",)]
    assert 880 in report.similarities


def test_the_thresholds_themselves_count(album):
    ana = album.user()
    album.name(ana, album.photo_and_run(ana, "Ana"), "Ana")
    for likeness in ("95", "94.99", "80", "79.99"):
        album.photo(ana, f"Ana~{likeness}")
    report = album.run()
    told = [face[2:4] for face in album.faces()[1:]]
    assert told == [("Ana", False), (None, True), (None, True), (None, True)]
    assert (report.auto_assigned, report.suggested, report.needs_person) == (1, 2, 3)


def test_other_thresholds_and_another_smallest_size_are_settings(album):
    ana = album.user()
    album.name(ana, album.photo_and_run(ana, "Ana"), "Ana")
    album.photo(ana, "Ana~70")
    album.photo(ana, "Ana~60", "small Ben")
    album.rules(assign=70, review=55, smallest_face=0.0)
    report = album.run()
    assert (report.auto_assigned, report.suggested, report.faces, report.dropped) == (1, 1, 3, 0)


def test_a_match_without_a_person_is_passed_over_for_one_with(album):
    ana = album.user()
    named = album.photo(ana, "Ana~96")
    album.photo(ana, "Ana~98")  # more alike, and nobody has named it
    album.run()
    album.name(ana, named, "Ana")
    last = album.photo(ana, "Ana")
    album.run()
    assert album.faces(last)[0][2:] == ("Ana", False, True, 0.96)


def test_a_face_like_one_that_nobody_named_is_kept_with_that_face_as_a_suggestion(album):
    ana = album.user()
    first = album.photo(ana, "Ana")
    second = album.photo(ana, "Ana")
    report = album.run()
    assert (report.auto_assigned, report.suggested, report.needs_person) == (0, 1, 2)
    rows = album.db.execute("""
        SELECT f.asset_id::text, g.asset_id::text FROM seedtool.face_matches m
        JOIN faces f ON f.id = m.face_id JOIN faces g ON g.id = m.matched_face_id""").fetchall()
    assert rows == [(second, first)]


def test_neither_the_same_photo_nor_a_later_one_nor_a_deleted_face_nor_another_user_counts(album):
    ana, ben = album.user(), album.user()
    twins = album.photo(ana, "Ana", "Ana")
    album.photo(ben, "Ana")
    report = album.run()
    assert report.suggested == 0
    album.name(ana, twins, "Ana")
    album.db.execute("UPDATE faces SET deleted = true WHERE asset_id = %s", [twins])
    album.photo(ana, "Ana")
    report = album.run()
    assert (report.auto_assigned, report.suggested, report.needs_person) == (0, 0, 1)


def test_a_person_who_was_deleted_or_unlinked_is_nobody(album):
    ana = album.user()
    one, two = album.photo(ana, "Ana"), album.photo(ana, "Ben")
    album.run()
    gone = album.name(ana, one, "Ana")
    album.name(ana, two, "Ben")
    album.db.execute("UPDATE person_groups SET deleted = true WHERE id = %s", [gone])
    album.db.execute(
        "UPDATE face_person_links l SET deleted = true FROM faces f WHERE f.id = l.face_id AND f.asset_id = %s", [two]
    )
    for name in ("Ana", "Ben"):
        album.photo(ana, name)
    report = album.run()
    assert (report.auto_assigned, report.suggested) == (0, 2)


def test_small_faces_leave_the_collection_again_and_a_photo_without_faces_is_done(album):
    ana = album.user()
    album.photo(ana, "Ana", "small Ben", "small Caro")
    album.photo(ana)
    report = album.run()
    assert (report.succeeded, report.faces, report.dropped) == (2, 1, 2)
    album.consistent()
    assert album.db.execute("SELECT count(*) FROM seedtool.backfill_assets WHERE dropping IS NOT NULL").fetchone() == (
        0,
    )


def test_the_outcome_does_not_depend_on_how_many_are_in_flight_nor_on_lag(album, another_album, faults):
    from .test_kills import fill, outcome

    for each in (album, another_album):
        fill(each, users=2, photos=40)
    faults(lag=0.3, latency={"IndexFaces": 0.1})
    album.rules(visibility=0.3)
    assert album.run(batch_size=30).ok
    faults()
    assert another_album.run(batch_size=1).ok
    assert outcome(album) == outcome(another_album)


def test_only_photos_that_qualify_are_looked_at(album):
    ana, gone = album.user(), album.user()
    good = [album.photo(ana, "Ana"), album.photo(ana, "Ben", mime_type="IMAGE/JPEG")]
    for columns in (
        {"approved": False},
        {"deleted": True},
        {"mime_type": "video/mp4"},
        {"storage_url": None},
        {"storage_url": ""},
        {"face_detection_processed_at": "2026-03-01"},
    ):
        album.photo(ana, "Caro", **columns)
    album.photo(gone, "Dani")
    album.db.execute("UPDATE users SET deleted = true WHERE id = %s", [gone])
    report = album.run()
    assert (report.assets, report.succeeded, report.skipped, report.users) == (2, 2, 1, 1)
    assert sorted(asset for asset, _ in album.indexed(ana)) == sorted(good)
    assert album.run().assets == 0


def test_what_the_application_wrote_meanwhile_stays_as_it_is(album):
    ana = album.user()
    asset = album.photo(ana, "Ana", "Ben")
    album.run()
    person = album.name(ana, asset, "Ana")
    # as if the application had processed the photo and the run's record of it were lost
    album.db.execute("DELETE FROM seedtool.backfill_assets")
    album.db.execute("UPDATE assets SET face_detection_processed_at = NULL")
    before = album.db.execute("SELECT id, rekognition_face_id FROM faces ORDER BY id").fetchall()
    report = album.run()
    assert (report.succeeded, report.needs_person) == (1, 1)
    assert album.db.execute("SELECT id, rekognition_face_id FROM faces ORDER BY id").fetchall() == before
    links = album.db.execute("SELECT person_group_id::text FROM face_person_links WHERE NOT deleted").fetchall()
    assert links == [(person,)]
    album.consistent()


def test_indexing_anew_keeps_the_persons_where_the_boxes_match(album):
    ana = album.user()
    asset = album.photo(ana, "Ana", "Ben")
    other = album.photo(ana, "Ana")
    album.run()
    album.name(ana, asset, "Ana")
    before = set(album.db.execute("SELECT rekognition_face_id FROM faces").fetchall())
    report = album.run(reindex=True)
    assert (report.succeeded, report.calls["IndexFaces"], report.auto_assigned) == (2, 2, 1)
    assert album.faces(asset)[0][2:5] == ("Ana", False, False)
    assert album.faces(asset)[1][2:5] == (None, True, False)
    assert album.faces(other)[0][2:5] == ("Ana", False, True)
    assert not before & set(album.db.execute("SELECT rekognition_face_id FROM faces WHERE NOT deleted").fetchall())
    album.consistent()
    assert album.run(reindex=True).succeeded == 2  # another round


def test_indexing_anew_lets_go_of_faces_that_are_not_there_any_more(album):
    ana = album.user()
    asset = album.photo(ana, "Ana", "Ben")
    album.run()
    album.name(ana, asset, "Ben", 1)
    url = album.db.execute("SELECT storage_url FROM assets").fetchone()[0]
    album.put(url, "Ana")
    report = album.run(reindex=True)
    assert report.succeeded == 1
    assert [face[2] for face in album.faces()] == [None]
    album.consistent()
    assert album.db.execute("SELECT count(*) FROM face_person_links WHERE NOT deleted").fetchone() == (0,)


def test_a_photo_that_is_gone_keeps_its_faces_when_it_is_to_be_indexed_anew(album):
    ana = album.user()
    asset = album.photo(ana, "Ana")
    album.run()
    album.store.delete(album.db.execute("SELECT storage_url FROM assets").fetchone()[0])
    report = album.run(reindex=True)
    assert (report.failed, len(album.indexed(ana)), len(album.faces(asset))) == (1, 1, 1)
    album.consistent()


def test_a_collection_of_another_name_is_used_and_remembered_ones_are_not_asked_for(album, counters):
    ana = album.user()
    album.photo(ana, "Ana")
    album.db.execute(
        "INSERT INTO face_collections (user_id, aws_collection_id) VALUES (%s, %s)", [ana, f"theirs-{ana}"]
    )
    album.run()
    arn = album.db.execute("SELECT rekognition_arn FROM face_collections").fetchone()[0]
    assert arn.startswith("arn:aws:rekognition:us-east-1:")
    assert arn.endswith(f"collection/theirs-{ana}")
    calls = counters()
    album.photo(ana, "Ana")
    album.run()
    assert counters()["CreateCollection"] == calls["CreateCollection"]
    assert album.indexed_in(f"theirs-{ana}") == 2


def test_the_report_can_be_written_down(album):
    ana = album.user()
    album.photo(ana, "Ana")
    heard = []
    run = album.new_run()
    report = run.execute(OnProgress(lambda *each: heard.append(each)))
    assert msgspec.json.decode(msgspec.json.encode(report))["by_user"] == [
        {"user_id": ana, "succeeded": 1, "failed": 0, "faces": 1, "auto_assigned": 0, "needs_person": 1, "cost": 0.001}
    ]
    assert heard[-1] == ("assets", 1, 1)
    assert (run.progress.done, run.progress.total, run.progress.seconds_left) == (1, 1, 0)
    assert run.report.succeeded == 1
    assert msgspec.json.decode(msgspec.json.encode(report))["adopted"] == 0
    assert report.points[-1].succeeded == 1
    assert report.cost == 0.001
