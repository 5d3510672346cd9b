"""The journal's lines: whose they are, how often an asset was started, and what is still to delete."""

import uuid

import pytest

from seedtool.backfill import connect, journal


@pytest.fixture
def lines(album):
    """The journal's connection; an asset's state, attempts, whether it is to be indexed again, and its calls."""
    with connect(album.settings.backfill, album.target, autocommit=True) as connection:
        journal.ensure(connection)
        yield (
            connection,
            lambda asset: connection.execute(
                "SELECT state, attempts, reindex, index_calls FROM seedtool.backfill_assets WHERE asset_id = %s",
                [asset],
            ).fetchone(),
        )


@pytest.fixture
def started(album, lines):
    """Starts an asset in a run of its own; returns the run and the asset."""
    photo = album.photo(album.user(), "Ana")
    album.db.commit()

    def start(*, reindex=False):
        run = str(uuid.uuid4())
        (asset,) = journal.start(lines[0], run, [photo], reindex=reindex, index_calls=1)
        return run, asset

    return start


def test_a_line_belongs_to_the_run_that_wrote_it_last(lines, started):
    connection, line = lines
    earlier, asset = started()
    later, _ = started()
    assert not journal.finish(connection, earlier, asset, 1, {"IndexFaces": 1})
    journal.fail(connection, earlier, asset, "cause", "remedy", {})
    assert line(asset.id) == ("started", 2, False, 2)
    assert journal.finish(connection, later, asset, 1, {"IndexFaces": 1})
    assert line(asset.id) == ("done", 2, False, 2)
    assert not journal.finish(connection, later, asset, 1, {"IndexFaces": 1})


def test_an_asset_is_indexed_again_until_that_is_done(lines, started):
    connection, line = lines
    started()
    run, asset = started(reindex=True)
    assert not asset.reindex  # it never was indexed to the end, so its faces are adopted
    journal.finish(connection, run, asset, 1, {"IndexFaces": 1})
    assert started(reindex=True)[1].reindex
    run, asset = started()  # after an interruption
    assert (asset.reindex, asset.attempts) == (True, 4)
    journal.finish(connection, run, asset, 1, {"IndexFaces": 1})
    assert line(asset.id)[2] is False


def test_faces_of_an_asset_that_no_longer_qualifies_are_deleted_by_a_later_run_too(lines, started):
    connection, line = lines
    _, asset = started()
    journal.skip(connection, {asset.id: ["face"]})
    assert line(asset.id)[0] == "skipped"
    assert journal.faces_to_delete(connection, asset.user_id) == {asset.id: ["face"]}
    journal.faces_are_deleted(connection, [asset.id])
    assert journal.faces_to_delete(connection, asset.user_id) == {}
