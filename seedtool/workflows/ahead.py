"""A collection is listed by a child process while this one works on the database.

To import botocore and to list takes longer than a reset or a seed that has little to do, and neither needs the other.
The child is a fork, so it has the settings and the modules of its parent. It hands its pages over through a pipe, which
bounds its memory. If it fails before its first page, its parent lists by itself, and meets the error where it always
did.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from seedtool.errors import SeedtoolError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from seedtool.faces.port import Face, FaceCollection, FaceService, Watch
    from seedtool.seeding.profiles import Profile
    from seedtool.settings import Settings

# Seconds after which what was listed counts as old: a build of a template may take minutes.
_FRESH = 10.0

_LENGTH = struct.Struct("<I")


class Listing:
    """The child that lists a collection, as its parent sees it.

    Args:
        collection: the collection's id.
        process: the child.
        pipe: what it writes.

    Attributes:
        calls: calls of ListFaces that it has made, once all pages were taken.
    """

    def __init__(self, collection: str, process: int, pipe: BinaryIO) -> None:
        self.collection = collection
        self._process: int | None = process
        self._pipe = pipe
        self._began = time.monotonic()
        self.calls = 0

    def pages(self) -> Iterator[list[Face]] | None:
        """Return the pages; None when there is nothing to be had from the child, or it is too old."""
        if self._process is None or time.monotonic() - self._began > _FRESH:
            return None
        first = self._next()
        return None if first is None else self._rest(first)

    def end(self) -> None:
        """End the child, whatever it is doing."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)

    def _rest(self, first: list[Face] | int) -> Iterator[list[Face]]:
        found: list[Face] | int | None = first
        while isinstance(found, list):
            yield found
            found = self._next()
        if found is None:
            raise ServiceUnavailable(
                f"the listing of the collection {self.collection} broke off", remedy="Run the command again."
            )
        self.calls = found

    def _next(self) -> list[Face] | int | None:
        """Return a page, or the number of calls after the last one; None when the child has ended before that."""
        from seedtool.faces.port import Face

        try:
            head = self._pipe.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return None
            (length,) = _LENGTH.unpack(head)
            body = self._pipe.read(length)
        except (OSError, ValueError):
            return None
        return msgspec.msgpack.decode(body, type=list[Face] | int) if len(body) == length else None


@contextlib.contextmanager
def listed(settings: Settings, profile: Profile) -> Iterator[Listing | None]:
    """Let a child list the collection that the settings name, where the profile links faces that are in it already.

    The child is ended with the block. Where there is none, the listing is None.
    """
    # photos that the emulator is to hold have to be there before it is listed
    collection = _collection(settings) if profile.sync_faces and profile.indexed is None else None
    listing = _fork(settings, collection) if collection is not None else None
    try:
        yield listing
    finally:
        if listing is not None:
            listing.end()


def listed_for(settings: Settings, profile: str) -> AbstractContextManager[Listing | None]:
    """Do as `listed` with the profile of this name, before anything else is imported.

    What is wrong with a profile, whoever prepares it tells.
    """
    from seedtool.seeding.profiles import find_profile, load_profiles

    try:
        found = find_profile(load_profiles(settings.seeds), profile)
    except SeedtoolError:
        return contextlib.nullcontext()
    return listed(settings, found)


def with_listing(service: FaceService, listing: Listing) -> FaceService:
    """Return the service, which takes the first listing of the collection from the child."""
    return cast("FaceService", _Service(service, listing))


def _collection(settings: Settings) -> str | None:
    """Return the collection that rows are in unless they say otherwise; None where no listing can be foreseen."""
    from seedtool.workflows.face_service import find_emulator

    if sys.platform != "linux" or threading.active_count() > 1 or settings.aws != "embedded":
        return None
    meant = any(not each.by_row or each.collection_default is not None for each in settings.faces)
    # an emulator that does not run yet is started once, by the parent
    return settings.collection if meant and settings.collection and find_emulator(settings) else None


def _fork(settings: Settings, collection: str) -> Listing | None:
    reading, writing = os.pipe()
    try:
        process = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return None
    if process:
        os.close(writing)
        return Listing(collection, process, os.fdopen(reading, "rb"))
    try:
        os.close(reading)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with os.fdopen(writing, "wb") as pipe:
            _list(settings, collection, pipe)
    finally:
        os._exit(0)  # nothing of the parent's is flushed, closed or reported here


def _list(settings: Settings, collection: str, pipe: BinaryIO) -> None:
    from seedtool.workflows.face_service import open_aws

    with contextlib.suppress(Exception):
        service = open_aws(settings)
        for page in service.collection(collection).list_pages():
            _write(pipe, page)
        _write(pipe, service.calls["ListFaces"])


def _write(pipe: BinaryIO, what: Sequence[Face] | int) -> None:
    body = msgspec.msgpack.encode(what)
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


class _Service:
    """A face service whose first listing of one collection was made by a child. All else is the service's own."""

    def __init__(self, service: FaceService, listing: Listing) -> None:
        self._service = service
        self._listing = listing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the service has it
        return getattr(self._service, name)

    @property
    def calls(self) -> Counter[str]:
        """The calls of both."""
        return self._service.calls + Counter({"ListFaces": self._listing.calls})

    def watched(self) -> Watch:
        """Begin to watch both."""
        from seedtool.faces.port import Watch

        return Watch(cast("FaceService", self))

    def collection(self, collection_id: str) -> FaceCollection:
        """Return a collection."""
        if collection_id != self._listing.collection:
            return self._service.collection(collection_id)
        return cast("FaceCollection", _Collection(self._service, self._listing))


class _Collection:
    def __init__(self, service: FaceService, listing: Listing) -> None:
        self.id = listing.collection
        self._service = service
        self._listing = listing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the collection has it
        return getattr(self._service.collection(self.id), name)

    def list_pages(self, page_size: int | None = None, *, face_ids: Sequence[str] = ()) -> Iterator[list[Face]]:
        """Yield the faces that the child has listed, or list them."""
        pages = self._listing.pages() if page_size is None and not face_ids else None
        if pages is None:
            self._listing.end()
            pages = self._service.collection(self.id).list_pages(page_size, face_ids=face_ids)
        yield from pages
