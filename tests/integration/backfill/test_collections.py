"""A collection that is gone is told, nothing is made again in silence, and `reindex` repairs it."""

import pytest

from seedtool.faces.rekognition.service import Aws

from .conftest import OnProgress

ADVICE = "seedtool backfill --reindex"


def delete_collection(album, user):
    album.aws.rekognition().delete_collection(CollectionId=f"savta-user-{user}")


def exists(album, user):
    return f"savta-user-{user}" in set(album.aws.collection_ids())


@pytest.fixture
def lost(album):
    """Two users whose photos are done, and people named; the first one's collection is gone."""
    album.ana, album.ben = album.user(), album.user()
    album.photos = [album.photo(album.ana, *names) for names in (["Ana", "Eva"], ["Ana"], ["Caro"], [])]
    album.others = [album.photo(album.ben, name) for name in ("Ana", "Ben")]
    album.run(limit=1)
    album.name(album.ana, album.photos[0], "Ana")
    album.db.execute("UPDATE faces SET skipped = true WHERE asset_id = %s AND needs_assignment", [album.photos[0]])
    assert album.run().ok
    album.before = album.faces()
    delete_collection(album, album.ana)
    return album


def test_it_is_told_even_if_nothing_is_to_do_and_not_made_again(lost, counters):
    report = lost.run()
    assert not report.ok
    assert (report.assets, report.succeeded, report.failed) == (0, 0, 0)
    assert f"savta-user-{lost.ana} is gone: it does not exist" in report.notes[0]
    assert "The faces of 3 assets are lost" in report.notes[0]
    assert ADVICE in report.notes[-1]
    assert not exists(lost, lost.ana)
    assert "CreateCollection" not in counters()
    assert lost.faces() == lost.before


def test_a_new_photo_of_that_user_waits_and_those_of_others_do_not(lost):
    lost.photo(lost.ana, "Ana")
    lost.photo(lost.ben, "Ben")
    report = lost.run()
    assert (report.succeeded, report.left, report.ok) == (1, 1, False)
    assert not exists(lost, lost.ana)
    repaired = lost.run(reindex=True)
    assert (repaired.succeeded, repaired.left, repaired.ok) == (4, 0, True)
    assert lost.faces()[-2][2] == "Ana"  # the new photo's face is linked
    lost.consistent()


@pytest.mark.parametrize("told_before", [False, True])
def test_reindex_indexes_what_is_gone_and_keeps_names_links_and_skips(lost, counters, told_before):
    if told_before:
        lost.run()
    before = counters().get("IndexFaces", 0)
    report = lost.run(reindex=True)
    assert (report.succeeded, report.failed, report.ok) == (3, 0, True)  # photos without a face have lost none
    assert counters()["IndexFaces"] - before == 3
    assert lost.faces() == lost.before
    lost.consistent()
    again = lost.run()
    assert (again.ok, again.assets) == (True, 0)
    assert lost.run(reindex=True).succeeded == 6  # a round over everything, as ever


def test_what_the_application_had_processed_is_indexed_too_when_its_faces_are_gone(lost):
    lost.db.execute("DELETE FROM seedtool.backfill_assets")
    lost.db.commit()
    assert not lost.run().ok
    report = lost.run(reindex=True)
    assert (report.succeeded, report.ok) == (3, True)
    assert lost.faces() == lost.before
    lost.consistent()


def test_an_interrupted_repair_goes_on(lost, faults):
    faults(latency={"IndexFaces": 0.3})  # or the run is over before it is told to stop
    first = lost.run_and_stop_after_one(reindex=True, batch_size=1)
    assert 0 < first.succeeded < 3
    assert not lost.run().ok  # and leaves the user out: some of the faces are still lost
    second = lost.run(reindex=True)
    assert (first.succeeded + second.succeeded, second.ok) == (3, True)
    assert lost.faces() == lost.before


def test_a_repair_that_is_interrupted_at_its_very_end_does_not_become_a_round_over_everything(lost, faults):
    faults(latency={"IndexFaces": 0.3})
    for _ in range(2):
        lost.photo(lost.ben, "Ben")
    run = lost.new_run(reindex=True, batch_size=1, user_id=None)
    report = run.execute(OnProgress(lambda _what, done, _total: done >= 3 and run.stop()))
    assert report.interrupted
    assert lost.db.execute("SELECT count(*) FROM seedtool.backfill_assets WHERE reindex").fetchone() == (0,)
    lost.db.commit()
    second = lost.run(reindex=True)
    assert (report.succeeded + second.succeeded, second.ok) == (5, True)
    lost.consistent()


@pytest.mark.parametrize("where", [{"region": "eu-west-1"}, {"account": "another"}])
def test_a_copy_in_another_region_or_account_is_recognised_at_the_start(album, where):
    ana = album.user()
    album.photo(ana, "Ana")
    assert album.run().ok
    arn = album.db.execute("SELECT rekognition_arn FROM face_collections").fetchone()[0]
    account = arn.split(":")[4]
    elsewhere = {"region": arn.replace("us-east-1", "eu-west-1"), "account": arn.replace(account, "210987654321")}
    (kind,) = where
    album.photo(album.user(), "Ben")
    assert album.run().ok  # so there is a collection to compare with
    album.db.execute("UPDATE face_collections SET rekognition_arn = %s WHERE user_id = %s", [elsewhere[kind], ana])
    album.photo(ana, "Ana")
    delete_collection(album, ana)
    report = album.run()
    assert (report.succeeded, report.ok) == (0, False)
    assert ("region eu-west-1" if kind == "region" else "account 210987654321") in report.notes[0]
    assert not exists(album, ana)
    assert album.run(reindex=True).ok
    stored = album.db.execute("SELECT rekognition_arn FROM face_collections WHERE user_id = %s", [ana]).fetchone()[0]
    assert stored == arn
    album.consistent()


def test_a_run_in_the_wrong_region_leaves_nothing_to_pay_for_in_the_right_one(album, counters):
    import msgspec

    ana = album.user()
    album.photo(ana, "Ana")
    assert album.run().ok
    wrong = msgspec.structs.replace(album.settings, region="eu-west-1")
    assert not album.run(Aws(wrong, album.endpoint)).ok
    before = counters()["IndexFaces"]
    album.photo(ana, "Ana")
    report = album.run()
    assert (report.succeeded, report.ok) == (1, True)
    assert counters()["IndexFaces"] - before == 1
    album.consistent()


# each value with each of the other two
@pytest.mark.parametrize(
    ("batch_size", "after", "reindex"),
    [(1, 1, False), (1, 2, True), (1, 5, True), (10, 1, True), (10, 2, False), (10, 5, False)],
)
def test_one_that_is_lost_in_the_middle_is_not_made_again(album, batch_size, after, reindex):
    ana, ben = album.user(), album.user()
    for user in (ana, ben):
        for name in ("Ana", "Ben", "Ana", "Caro", "Ana"):
            album.photo(user, name)
    if reindex:
        assert album.run().ok
    album.during_each_record(lambda progress: progress.succeeded == after and delete_collection(album, ana))
    report = album.run(batch_size=batch_size, reindex=reindex)
    album.during_each_record(None)
    if report.ok:  # everything was done before it was missed
        report = album.run()
    assert not report.ok
    assert report.failed == 0
    assert [ana in note for note in report.notes[:1]] == [True]
    assert not exists(album, ana)
    assert album.run(reindex=True).ok
    if reindex:
        assert album.run(reindex=True).ok  # the round that was interrupted
    assert [state for state, _ in album.journal().values()] == ["done"] * 10
    assert len(album.faces()) == 10
    album.consistent()


def test_one_without_faces_is_made_again(album):
    ana = album.user()
    album.photo(ana)
    assert album.run().ok
    delete_collection(album, ana)
    album.photo(ana, "Ana")
    assert album.run().ok
    album.consistent()


def test_without_the_permission_to_list_collections_a_missing_one_is_noticed_by_its_calls(lost, faults):
    lost.photo(lost.ana, "Ana")
    faults(rules=[{"fault": "denied", "operation": "ListCollections", "times": None}])
    report = lost.run()
    assert (report.succeeded, report.failed, report.ok) == (0, 0, False)
    assert "does not exist any more" in report.notes[0]
    assert not exists_by_description(lost)
    report = lost.run(reindex=True)
    assert (report.succeeded, report.ok) == (4, True)
    lost.consistent()


def exists_by_description(album):
    from seedtool.errors import ResourceNotFound

    try:
        album.aws.collection(f"savta-user-{album.ana}").describe()
    except ResourceNotFound:
        return False
    return True
