"""Where the application's photos are kept: a folder, or a bucket of S3, Cloudflare R2 or MinIO."""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from seedtool.errors import AccessDenied, PhotoError, ResourceNotFound, SettingsError
from seedtool.faces.aws import Aws
from seedtool.faces.aws.translation import Vendor, translated
from seedtool.settings import Settings

#: A file that a killed process left half-written is swept once it is this old, in seconds.
_STALE = 3600.0


class PhotoStore(Protocol):
    """A place for photos. Keys are paths without a leading slash: `students/student-001/photo-1.jpg`.

    Attributes:
        uploads: how many photos were written.
    """

    uploads: int

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:
        """Write a photo, whole or not at all, replacing what is under the key."""

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix."""

    def delete(self, key: str) -> None:
        """Remove a photo; nothing happens when there is none."""


def store(settings: Settings, aws: Aws) -> PhotoStore:
    """Return the store that the settings name.

    Args:
        settings: `photos_url` is `s3://bucket/prefix`, `file:///folder` or a folder; without one the embedded mode
            keeps photos beside its faces, in the project's state folder.
        aws: makes the S3 client when it is needed.

    Raises:
        SettingsError: live, and PHOTOS_URL is not set.
    """
    url = settings.photos_url
    if url is None:
        if settings.aws == "live":
            raise SettingsError(
                "setting photos_url: not set, so there is nowhere to keep photos",
                remedy="Put PHOTOS_URL=s3://bucket/prefix (and S3_ENDPOINT_URL for R2 or MinIO) or a folder into .env.",
            )
        return FolderStore(settings.state_dir / "photos")
    if url.startswith("s3://"):
        parts = urlsplit(url)
        return S3Store(aws, parts.netloc, parts.path.strip("/"))
    if url.startswith("file://"):
        url = unquote(urlsplit(url).path)
    return FolderStore(settings.root / Path(url).expanduser())


class FolderStore:
    """Photos in a folder. A photo appears under its name only when all of it is on the disk.

    Args:
        folder: the folder; made when the first photo is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.uploads = 0

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:  # noqa: ARG002 -- S3's need
        """Write a photo, whole or not at all, replacing what is under the key.

        Raises:
            PhotoError: the key leads out of the folder, or the disk refuses.
        """
        path = self._path(key)
        half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            if not self._folder.is_dir():
                # pictures of children: whoever wants to share the folder opens it on purpose
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(path)
            try:
                with half.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                half.replace(path)
            finally:
                half.unlink(missing_ok=True)
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

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""
        return self._path(key).is_file()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""
        for path in sorted(self._folder.rglob("*")):
            key = path.relative_to(self._folder).as_posix()
            if key.startswith(prefix) and not path.name.startswith(".") and path.is_file():
                yield key

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
        path = self._folder / _checked(key)
        root = self._folder.resolve()
        if not path.resolve().is_relative_to(root):
            raise PhotoError(f"the photo key {key!r} leads out of the photo folder", remedy="Mend the row's photo_url.")
        return path

    def _sweep(self, path: Path) -> None:
        for left in path.parent.glob(".*.part"):
            try:
                if time.time() - left.stat().st_mtime > _STALE:
                    left.unlink()
            except FileNotFoundError:
                continue  # its writer was faster


class S3Store:
    """Photos in a bucket.

    Args:
        aws: makes the client.
        bucket: the bucket's name.
        prefix: what all keys begin with, without slashes around it.
    """

    def __init__(self, aws: Aws, bucket: str, prefix: str) -> None:
        self._client: Vendor = aws.s3()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self.uploads = 0

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:
        """Write a photo; S3 shows it whole or not at all."""
        self._call("put_object", key, Body=data, ContentType=content_type)
        with self._lock:
            self.uploads += 1

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""
        try:
            with translated("s3", f"photo {key}"):
                data: bytes = self._call("get_object", key)["Body"].read()
        except ResourceNotFound as error:
            if "NoSuchBucket" in error.message:
                raise
            return None
        except AccessDenied as error:
            # S3 hides from those who may not list whether an object exists
            raise AccessDenied(
                error.message, remedy="Allow s3:GetObject on the photos, and s3:ListBucket on the bucket."
            ) from error
        return data

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""
        try:
            self._call("head_object", key)
        except ResourceNotFound:
            return False
        return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""
        with translated("s3", f"bucket {self._bucket}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(self._prefix)

    def delete(self, key: str) -> None:
        """Remove a photo; nothing happens when there is none."""
        self._call("delete_object", key)

    def _call(self, method: str, key: str, **arguments: object) -> Vendor:
        with translated("s3", f"photo {key}"):
            return getattr(self._client, method)(Bucket=self._bucket, Key=self._prefix + _checked(key), **arguments)


def _checked(key: str) -> str:
    """Return the key when it is a plain relative path.

    Raises:
        PhotoError: it is empty, absolute, or has `..`, a hidden part, a backslash or a control character.
    """
    parts = key.split("/")
    plain = all(part and not part.startswith(".") for part in parts) and PurePosixPath(key).as_posix() == key
    if not plain or "\\" in key or not key.isprintable() or len(key.encode()) > 900:
        raise PhotoError(
            f"{key!r} cannot be a photo's key",
            remedy="Keys are relative paths such as students/student-001/photo-1.jpg: mend the row's photo_url.",
        )
    return key


def _disk_error(key: str, error: OSError) -> PhotoError:
    return PhotoError(
        f"photo {key}: {os.strerror(error.errno) if error.errno else 'the disk refused'}",
        remedy="Is the photo folder (PHOTOS_URL) there, writable and not full?",
    )
