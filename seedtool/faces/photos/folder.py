"""Photos in a folder."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from seedtool.errors import PhotoError
from seedtool.faces.photos.store import Context, Scheme, Stamp, checked
from seedtool.files.writing import write_whole


class FolderStore:
    """Photos in a folder. A photo appears under its name only when all of it is on the disk.

    Args:
        folder: the folder; made when the first photo is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.uploads = 0

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:  # noqa: ARG002 -- for S3
        """Write a photo, whole or not at all, replacing what is under the key.

        Raises:
            PhotoError: the key leads out of the folder, or the disk refuses.
        """
        path = self._path(key)
        try:
            if not self._folder.is_dir():
                # pictures of children: whoever wants to share the folder opens it on purpose
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
        except OSError as error:
            raise _disk_error(key, error) from error
        with self._lock:
            self.uploads += 1

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _disk_error(key, error) from error

    def location(self, key: str) -> None:
        """Return None: no face service reads our folders."""

    def shown(self, key: str) -> str:
        """Return the photo's key."""
        return key

    def holds(self, key: str, data: bytes) -> bool:
        """Tell whether exactly these bytes are under the key."""
        path = self._path(key)
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _disk_error(key, error) from error

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""
        return self._path(key).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""
        for path in sorted(self._folder.rglob("*")):
            key = path.relative_to(self._folder).as_posix()
            if key.startswith(prefix) and not path.name.startswith(".") and path.is_file():
                yield key

    def stamps(self, prefix: str = "") -> Iterator[Stamp]:
        """Yield the photos whose keys begin with the prefix, and when each was written."""
        for key in self.keys(prefix):
            try:
                found = (self._folder / key).stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            yield Stamp(key=key, written_at=datetime.fromtimestamp(found.st_mtime, UTC), size=found.st_size)

    def delete(self, key: str) -> None:
        """Remove a photo; nothing happens when there is none."""
        try:
            self._path(key).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise _disk_error(key, error) from error

    def _path(self, key: str) -> Path:
        """Return the key's path, inside the folder also when links are followed."""
        path = self._folder / checked(key)
        root = self._folder.resolve()
        if not path.resolve().is_relative_to(root):
            raise PhotoError(
                f"the photo key {key!r} leads out of the photo folder", remedy="Correct the row that names it."
            )
        return path


def _disk_error(key: str, error: OSError) -> PhotoError:
    if isinstance(error, IsADirectoryError):
        return PhotoError(f"{key} is a folder, not a photo", remedy="Correct the row that names it.")
    return PhotoError(
        f"photo {key}: {os.strerror(error.errno) if error.errno else 'the disk refused'}",
        remedy="Is the photo folder (PHOTOS_URL) there, writable and not full?",
    )


def _open_path(path: str, context: Context) -> FolderStore:
    return FolderStore(context.settings.root / Path(path).expanduser())


def _open_url(rest: str, context: Context) -> FolderStore:
    """Open `file:///folder` or `file://localhost/folder`; a URL's path is percent-encoded (RFC 8089)."""
    return _open_path(unquote("/" + rest.partition("/")[2]), context)


SCHEME = Scheme(open_store=_open_path)
FILE_SCHEME = Scheme(open_store=_open_url)
