"""A collection that a child lists while its parent works: the same faces, once, and whatever happens to the child."""

import contextlib
import os
import signal
import subprocess
import time

import msgspec
import pytest

from seedtool.errors import ServiceUnavailable
from seedtool.faces.port import Box, Face
from seedtool.seeding.profiles import Profile
from seedtool.workflows import ahead

LINKING = Profile(name="full", sets=("local",), sync_faces=True)

FACES = [Face(face_id=str(n), external_image_id=f"s-{n}", confidence=99.0, box=Box(0.1, 0.1, 0.2, 0.2)) for n in "ab"]


class Service:
    """A face service with one collection, which counts its listings."""

    def __init__(self, pages):
        self.pages, self.listed = pages, 0
        self.calls = ahead.Counter()

    def collection(self, collection_id):
        service = self

        class Collection:
            id = collection_id

            def list_pages(self, page_size=None, *, face_ids=()):  # noqa: ARG002 - as the port has it
                service.listed += 1
                service.calls["ListFaces"] += 1
                return iter(service.pages)

        return Collection()


@pytest.fixture
def listing():
    """Makes a listing whose child is a program that only waits, and writes what the child would write."""
    made = []

    def make(*wrote, whole=True):
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            for what in wrote:
                ahead._write(pipe, what)
            if not whole:
                pipe.write(b"\x10\0\0\0abc")
        process = subprocess.Popen(["sleep", "60"])
        found = ahead.Listing("school", process.pid, os.fdopen(reading, "rb"))
        made.append((found, process))
        return found

    yield make
    for found, process in made:
        found.end()
        process.wait(10)


def test_the_pages_of_the_child_are_taken_once_and_its_calls_count(listing):
    service = Service([FACES])
    both = ahead.with_listing(service, listing([FACES[0]], [], [FACES[1]], 3))
    watch = both.watched()
    assert [face for page in both.collection("school").list_pages() for face in page] == FACES
    assert (service.listed, both.calls["ListFaces"]) == (0, 3)
    assert both.collection("other").id == "other"
    assert list(both.collection("school").list_pages(page_size=1)) == [FACES]
    assert (service.listed, both.calls["ListFaces"]) == (1, 4)
    assert watch is not None


@pytest.mark.parametrize("wrote", [(), ([FACES[0]],)], ids=["nothing", "a page"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_child_that_ends_before_its_first_page_is_replaced_and_one_in_the_middle_is_told(listing, wrote, whole):
    service = Service([FACES])
    pages = ahead.with_listing(service, listing(*wrote, whole=whole)).collection("school").list_pages()
    if not wrote:
        assert list(pages) == [FACES]
        assert service.listed == 1
        return
    assert next(pages) == [FACES[0]]
    with pytest.raises(ServiceUnavailable, match="broke off"):
        next(pages)


def test_a_listing_that_is_old_is_made_again(listing, monkeypatch):
    service = Service([FACES])
    found = listing([FACES[0]], 1)
    now = time.monotonic()
    monkeypatch.setattr(ahead.time, "monotonic", lambda: now + 11)
    assert list(ahead.with_listing(service, found).collection("school").list_pages()) == [FACES]
    assert service.listed == 1


def test_a_child_is_a_fork_that_ends_with_the_block(monkeypatch, tmp_path):
    service = Service([FACES])
    monkeypatch.setattr(ahead, "_collection", lambda _: "school")
    monkeypatch.setattr("seedtool.workflows.face_service.open_aws", lambda _: service)
    with ahead.listed(None, LINKING) as found:
        assert list(found.pages()) == [FACES]
        assert found.calls == 1
    assert service.listed == 0  # it was the child's
    marker = tmp_path / "still-here"

    def waits(_):
        time.sleep(30)
        marker.touch()

    monkeypatch.setattr("seedtool.workflows.face_service.open_aws", waits)
    began = time.monotonic()
    with contextlib.suppress(ZeroDivisionError), ahead.listed(None, LINKING) as found:
        process = found._process
        raise ZeroDivisionError
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    assert not marker.exists()


def test_a_child_that_fails_says_nothing_and_its_parent_meets_the_error(monkeypatch, capfd):
    monkeypatch.setattr(ahead, "_collection", lambda _: "school")

    def fails(_):
        raise ServiceUnavailable("no answer")

    monkeypatch.setattr("seedtool.workflows.face_service.open_aws", fails)
    with ahead.listed(None, LINKING) as found:
        assert found.pages() is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("changes", [{"sync_faces": False}, {"indexed": "photos.csv"}])
def test_no_child_is_made_for_a_profile_that_links_no_face_that_is_there(monkeypatch, changes):
    monkeypatch.setattr(ahead, "_collection", lambda _: "school")
    with ahead.listed(None, msgspec.structs.replace(LINKING, **changes)) as found:
        assert found is None


def test_faces_come_through_the_pipe_as_they_were():
    packed = msgspec.msgpack.encode(FACES)
    assert msgspec.msgpack.decode(packed, type=list[Face] | int) == FACES
