"""What becomes of faces: linked, kept for review, new; and in which order that is decided."""


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
    data = album.db.execute(
        "SELECT face_detection_data, face_detection_provider FROM assets WHERE id = %s AND face_detection_processed_at"
        " IS NOT NULL",
        [review],
    ).fetchone()
    assert data[1] == "aws_rekognition"
    (told,) = data[0]["faces"]
    assert told["outcome"] == "review"
    assert told["suggestions"][0]["person_group_id"] == person
    assert told["suggestions"][0]["similarity"] == 88
