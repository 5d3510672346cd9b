"""Serves the page in this process, on the loopback interface, until a signal ends it."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from seedtool.backfill import connect, library
from seedtool.backfill.processing import LibraryPhotos
from seedtool.errors import UsageError
from seedtool.faces import photos
from seedtool.faces.photos import Addresses, FolderStore
from seedtool.postgres import server
from seedtool.review_page.access import Access
from seedtool.review_page.application import application
from seedtool.review_page.cutouts import CutOuts
from seedtool.review_page.desk import Desk
from seedtool.workflows.face_service import open_aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedtool.faces.port import FaceService
    from seedtool.postgres.server import Target
    from seedtool.settings import Settings

_HOST = "127.0.0.1"  # never another: the page shows people's faces


class Page:
    """The page, which listens already.

    Args:
        settings: the project's.
        port: the port; 0 takes a free one.
        search: search a user's waiting faces after one was linked.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.

    Attributes:
        url: the address that opens it.

    Raises:
        SchemaError: the database has no photo library.
        SettingsError: AWS or the photo store cannot be reached for lack of settings.
        UsageError: the port cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        port: int = 0,
        search: bool = True,
        target: Target | None = None,
        aws: FaceService | None = None,
    ) -> None:
        target = target or server.find(settings)
        with connect(settings.backfill, target) as connection:
            library.check_tables(connection)
        service = aws or open_aws(settings)
        store = photos.store(settings, service)
        pictures = LibraryPhotos(Addresses(settings, service, store), FolderStore(settings.root))
        self._desk = Desk(settings, target, service, search=search)
        self._listener = _listen(port)
        access = Access(self._listener.getsockname()[1])
        self.url = access.url
        config = uvicorn.Config(
            application(self._desk, CutOuts(self._desk.connect, pictures), access),
            access_log=False,
            log_level="warning",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)

    def serve(self) -> None:
        """Answer until `end` is called."""
        try:
            with self._listener:
                self._server.run(sockets=[self._listener])
        finally:
            self._desk.end()

    def end(self) -> None:
        """Let `serve` return."""
        self._server.should_exit = True


def run(settings: Settings, *, port: int = 0, search: bool = True, announce: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM; raises as `Page` does.

    Args:
        settings: the project's.
        port: the port; 0 takes a free one.
        search: search a user's waiting faces after one was linked.
        announce: called with the address once the page can be opened.
    """
    page = Page(settings, port=port, search=search)

    def end(*_: object) -> None:
        page.end()

    # uvicorn raises a signal again when it has ended; then it comes here
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    announce(page.url)
    page.serve()


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only when the socket names its protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"the page cannot be served on {_HOST}:{port}: {error.strerror}",
            remedy="Give another --port, or leave it out for a free one.",
            option="--port",
        ) from error
    return listener
