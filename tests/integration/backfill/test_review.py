"""Faces that await a person: listed with whom they are like, decided by somebody, searched again afterwards."""

import msgspec
import pytest

from seedtool.backfill import connect, review
from seedtool.backfill.review import Choice
from seedtool.errors import AccessDenied, CredentialsError, SchemaError, UsageError
from seedtool.faces.rekognition.service import Aws


@pytest.fixture
def waiting(album):
    """The faces that wait, by file and from left to right."""

    def look(**options):
        found = list(review.waiting(album.db, **options))
        album.db.commit()
        return found

    return look


def choose(album, *choices, **options):
    return review.choose(
        album.db, [Choice(what=what, face=face, person=who) for what, face, who in choices], **options
    )  # fmt: skip


def again(album, *users):
    return review.search_again(album.db, album.aws, album.settings.backfill, users)


def face_of(album, asset, number=0):
    rows = album.db.execute(
        "SELECT id::text FROM faces WHERE asset_id = %s ORDER BY bounding_box -> 'Left'", [asset]
    ).fetchall()
    album.db.commit()
    return rows[number][0]


def test_the_list_tells_photo_box_and_whom_a_face_is_like(album, waiting):
    ana, ben = album.user("ana"), album.user("ben")
    first = album.photo(ana, "Ana Soto")
    album.run()
    person = album.name(ana, first, "Ana")
    second = album.photo(ana, "Ben Rojas", "Ana Soto~88")
    album.photo(ben, "Ana Soto")
    album.run()
    stranger, like, other = waiting()
    assert [each.user_id for each in (stranger, like, other)] == [ana, ana, ben]
    assert (stranger.asset_id, stranger.suggestions) == (second, ())
    assert stranger.box.left < like.box.left
    (suggested,) = like.suggestions
    assert (suggested.person_id, suggested.name, suggested.similarity) == (person, "Ana", 88)
    assert waiting(user_id=ben) == [other]
    assert waiting(limit=1) == [stranger]
    assert review.count(album.db) == 3
    assert review.count(album.db, ana) == 2
    assert review.users_waiting(album.db) == (ana, ben)


def test_a_suggestion_has_the_person_that_its_face_has_by_now(album, waiting):
    ana = album.user()
    first = album.photo(ana, "Ana Soto")
    album.photo(ana, "Ana Soto~88")
    album.run()
    assert waiting()[1].suggestions[0].person_id is None
    person = album.name(ana, first, "Ana")
    assert waiting()[0].suggestions[0].person_id == person


def test_skipped_and_deleted_ones_wait_no_more(album, waiting, approved):
    ana, gone = album.user(), album.user()
    skipped, deleted, of_nobody = album.photo(ana, "A"), album.photo(ana, "B"), album.photo(gone, "C")
    album.run()
    choose(album, ("skip", face_of(album, skipped), ""))
    album.db.execute("UPDATE assets SET deleted = true WHERE id = %s", [deleted])
    album.db.execute("UPDATE users SET deleted = true WHERE id = %s", [gone])
    assert waiting() == []
    assert review.count(album.db) == 0
    assert of_nobody
    with pytest.raises(UsageError, match=gone) as refused:
        waiting(user_id=gone)
    assert refused.value.place == {"option": "--user-id"}
    approved(refused.value)


def test_what_somebody_decides_is_written_down(album):
    ana = album.user()
    photos = [album.photo(ana, "Ana Soto"), album.photo(ana, "Ben Rojas"), album.photo(ana, "Eva Diaz")]
    album.run()
    faces = [face_of(album, photo) for photo in photos]
    (made,) = choose(album, ("new", faces[0], "  Ana   Soto "))
    assert made.new_person
    done = choose(album, ("assign", faces[1], "ana soto"), ("skip", faces[2], ""))
    assert [each.person_id for each in done] == [made.person_id, None]
    assert album.db.execute("SELECT name, avatar_face_id::text FROM person_groups").fetchall() == [
        ("Ana Soto", faces[0])
    ]
    rows = album.db.execute(
        "SELECT f.id::text, person_group_id::text, l.confidence::float8, assigned_by, needs_assignment, auto_assigned,"
        " skipped FROM faces f LEFT JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted"
    ).fetchall()
    assert sorted(rows) == sorted(
        [
            (faces[0], made.person_id, 1, "user", False, False, False),
            (faces[1], made.person_id, 1, "user", False, False, False),
            (faces[2], None, None, None, True, False, True),
        ]
    )
    assert choose(album, ("assign", faces[2], made.person_id))[0].person_id == made.person_id


def test_a_new_name_given_twice_makes_one_person_a_user(album):
    ana, ben = album.user(), album.user()
    faces = [album.photo(ana, "A"), album.photo(ana, "B"), album.photo(ben, "C")]
    album.run()
    done = choose(album, *[("new", face_of(album, photo), "Pía") for photo in faces])
    assert [each.new_person for each in done] == [True, False, True]
    assert done[0].person_id == done[1].person_id != done[2].person_id


def test_a_beginning_of_an_id_will_do_while_it_is_its_alone(album):
    ana = album.user()
    photo, other = album.photo(ana, "A"), album.photo(ana, "B")
    album.run()
    ids = ("aaaa0000-0000-4000-8000-000000000001", "aaaa0000-0000-4000-8000-000000000002")
    for asset, id_ in zip((photo, other), ids, strict=True):
        album.db.execute("UPDATE faces SET id = %s WHERE asset_id = %s", [id_, asset])
    album.db.commit()
    with pytest.raises(UsageError, match=f"{ids[0]}, {ids[1]}"):
        choose(album, ("new", "AAAA-0000", "Ana"))
    assert choose(album, ("new", ids[0], "Ana"))[0].face_id == ids[0]
    # of those that begin like this one alone still waits
    assert choose(album, ("assign", "aaaa", "Ana"))[0].face_id == ids[1]


REFUSALS = [
    ("assign", "ffffffff", "Ana"),
    ("assign", "Ana", "Ana"),
    ("assign", "abc", "Ana"),
    ("assign", "{open}", "Nobody Here"),
    ("assign", "{open}", ""),
    ("assign", "{open}", "{bens}"),
    ("assign", "{open}", "{gone}"),
    ("assign", "{open}", "twin"),
    ("assign", "{named}", "Ana"),
    ("skip", "{named}", ""),
    ("new", "{named}", "Eva"),
    ("new", "{open}", "ANA"),
    ("new", "{open}", "  "),
]


def test_what_cannot_be_done_is_refused_and_nothing_of_the_call_is_done(album, waiting, approved):
    ana, ben = album.user(), album.user()
    photos = [album.photo(ana, name) for name in "ABC"] + [album.photo(ben, "D")]
    album.run()
    album.name(ana, photos[0], "Ana")
    places = {"open": face_of(album, photos[1]), "named": face_of(album, photos[0])}
    places["bens"] = album.name(ben, photos[3], "Ben")
    for name, deleted in (("Twin", False), ("tWIN", False), ("Gone", True)):
        places[name.lower()] = album._insert(
            "INSERT INTO person_groups (user_id, name, deleted) VALUES (%s, %s, %s) RETURNING id::text", ana, name, deleted
        )  # fmt: skip
    before, third = waiting(), face_of(album, photos[2])
    for what, face, person in REFUSALS:
        with pytest.raises(UsageError) as refused:
            choose(album, ("new", third, "Zoe"), (what, face.format(**places), person.format(**places)))
        album.db.rollback()
        assert refused.value.remedy
        approved(refused.value)
        assert "Nobody Here" not in refused.value.message + refused.value.remedy
        assert waiting() == before
        assert album.db.execute("SELECT count(*) FROM person_groups WHERE name = 'Zoe'").fetchone() == (0,)
        album.db.rollback()


def test_a_face_is_decided_about_once_a_call_and_of_the_user_named(album, approved):
    ana, ben = album.user(), album.user()
    photo, other = album.photo(ana, "A"), album.photo(ben, "B")
    album.run()
    face = face_of(album, photo)
    with pytest.raises(UsageError, match=face) as refused:
        choose(album, ("new", face, "Ana"), ("skip", face[:13], ""))
    approved(refused.value)
    album.db.rollback()
    with pytest.raises(UsageError, match=ben) as refused:
        choose(album, ("skip", face_of(album, other), ""), user_id=ana)
    assert refused.value.place == {"option": "--user-id"}
    approved(refused.value)


def test_after_an_assignment_those_that_are_sure_follow_by_searches_alone(album, waiting, counters):
    """Anas of early and late photos, a likeness of 88, and a stranger: somebody names a late Ana."""
    ana, ben = album.user(), album.user()
    photos = [album.photo(ana, name) for name in ("Ana Soto", "Ana Soto~88", "Ben Rojas", "Ana Soto", "Ana Soto")]
    others = album.photo(ben, "Ana Soto")
    album.run()
    (named,) = choose(album, ("new", face_of(album, photos[3]), "Ana"))
    before = counters()
    found = again(album, *review.users_of([named]))
    after = counters()
    assert after["SearchFaces"] - before.get("SearchFaces", 0) == found.searched == 4
    assert after.get("IndexFaces", 0) == before.get("IndexFaces", 0)
    assert (found.calls, found.cost, found.left, found.interrupted) == ({"SearchFaces": 4}, 0.004, 0, False)
    assert {each.face_id for each in found.linked} == {face_of(album, photos[0]), face_of(album, photos[4])}
    for asset in (photos[0], photos[4]):
        ((_, _, person, needs, auto, confidence),) = album.faces(asset)
        assert (person, needs, auto) == ("Ana", False, True)
        assert 0.95 <= confidence <= 1
    by = album.db.execute("SELECT assigned_by, count(*) FROM face_person_links GROUP BY 1 ORDER BY 1").fetchall()
    assert by == [("system", 2), ("user", 1)]
    like, stranger, elsewhere = waiting()
    assert {each.person_id for each in like.suggestions} == {named.person_id}
    assert (stranger.asset_id, stranger.suggestions, elsewhere.asset_id) == (photos[2], (), others)
    assert again(album, ana).linked == ()


def test_who_is_sure_by_somebody_who_follows_follows_too(album):
    """C is like B, B is like A, and C is not like A: naming A leads to C, whichever is searched first."""
    ana = album.user()
    photos = [album.photo(ana, name) for name in ("C", "B", "A")]
    album.run()
    faces = [face_of(album, photo) for photo in photos]
    ids = dict(album.db.execute("SELECT id::text, rekognition_face_id FROM faces").fetchall())
    album.db.commit()
    choose(album, ("new", faces[2], "Ana"))
    pairs = {frozenset((ids[faces[0]], ids[faces[1]])): 97.0, frozenset((ids[faces[1]], ids[faces[2]])): 96.0}

    class Chain:
        def __init__(self, collection):
            self.id = collection.id

        def search_faces(self, face_id, **_):
            from seedtool.faces.port import Face, Match

            return [
                Match(face=Face(face_id=other), similarity=similarity)
                for pair, similarity in pairs.items()
                if face_id in pair
                for other in pair - {face_id}
            ]

    class ChainedAws:
        def metered(self, meter):
            return album.aws.metered(meter)

        def collection(self, collection_id):
            return Chain(album.aws.collection(collection_id))

    found = review.search_again(album.db, ChainedAws(), album.settings.backfill, [ana])
    assert [(each.face_id, each.similarity) for each in found.linked] == [(faces[1], 96.0), (faces[0], 97.0)]


def test_a_face_of_the_same_photo_is_no_likeness(album):
    ana = album.user()
    photo = album.photo(ana, "Ana Soto", "Ana Soto")
    album.run()
    choose(album, ("new", face_of(album, photo), "Ana"))
    assert again(album, ana).linked == ()


def test_a_search_that_broke_off_goes_on_where_it_was(album, faults):
    ana = album.user()
    photos = [album.photo(ana, "Ana Soto") for _ in range(5)]
    album.run()
    choose(album, ("new", face_of(album, photos[0]), "Ana"))
    faults(rules=[{"fault": "denied", "operation": "SearchFaces", "first": 3, "times": 1}])
    with pytest.raises(AccessDenied) as denied:
        again(album, ana)
    assert denied.value.place["operation"] == "rekognition:SearchFaces"
    album.db.rollback()
    faults()
    again(album, ana)
    assert [row[2:5] for row in album.faces()] == [("Ana", False, False)] + [("Ana", False, True)] * 4
    album.consistent()


def test_faces_that_are_not_in_the_collection_are_told(album):
    ana = album.user()
    first, second = album.photo(ana, "Ana Soto"), album.photo(ana, "Ana Soto")
    album.run()
    choose(album, ("new", face_of(album, first), "Ana"))
    album.db.execute("UPDATE faces SET rekognition_face_id = gen_random_uuid() WHERE asset_id = %s", [second])
    album.db.commit()
    found = again(album, ana)
    assert (found.linked, found.missing) == ((), (face_of(album, second),))


def test_without_credentials_nothing_is_searched_and_the_assignment_stays(album, monkeypatch):
    ana = album.user()
    first, second = album.photo(ana, "Ana Soto"), album.photo(ana, "Ana Soto")
    album.run()
    choose(album, ("new", face_of(album, first), "Ana"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    live = Aws(msgspec.structs.replace(album.settings, aws="live", region="us-east-1"), album.endpoint)
    with pytest.raises(CredentialsError):
        review.search_again(album.db, live, album.settings.backfill, [ana])
    album.db.rollback()
    assert [row[2] for row in album.faces()] == ["Ana", None]
    assert second


def test_where_no_backfill_has_been_faces_wait_without_suggestions(album, waiting):
    ana = album.user()
    photo = album.photo(ana, "Ana Soto")
    album.db.execute(
        "INSERT INTO faces (user_id, asset_id, rekognition_face_id, bounding_box, confidence) VALUES"
        """ (%s, %s, 'x', '{"Left": 0.1, "Top": 0.1, "Width": 0.2, "Height": 0.2}', 1)""",
        [ana, photo],
    )
    album.db.commit()
    (face,) = waiting()
    assert face.suggestions == ()
    assert choose(album, ("new", face.face_id, "Ana"))[0].new_person


@pytest.mark.parametrize("call", [review.count, review.users_waiting])
def test_a_user_id_that_is_no_uuid_is_refused(album, call):
    with pytest.raises(UsageError, match="'ana'") as refused:
        call(album.db, "ana")
    assert "users.id" in refused.value.remedy
    with pytest.raises(UsageError, match="'ana'"):
        list(review.waiting(album.db, user_id="ana"))


def test_a_database_without_the_library_is_refused(databases, settings):
    empty = databases.create()
    with connect(settings.backfill, empty) as connection, pytest.raises(SchemaError) as refused:
        list(review.waiting(connection))
    assert str(refused.value.place["table"]).startswith("users, assets")
    databases.drop(empty)
