"""Reads S3Objects: pictures that a request names instead of sending them. From a folder or from an S3 endpoint."""

from __future__ import annotations

import functools
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from seedtool.emulator.process import EmulatorError
from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What an emulator says that has neither folder nor endpoint.
NO_SOURCE = "S3Objects cannot be read: neither --photos nor --s3-endpoint was given."

MOST_BYTES = 15 * 1024 * 1024  # "Guidelines and quotas": the largest picture in S3


class Photo(NamedTuple):
    """A picture's bytes, and the XMP packet that is kept beside it."""

    content: bytes
    sidecar: bytes | None = None


Reader: TypeAlias = "Callable[[dict[str, str], str], Photo]"


def reader(folder: Path | None, endpoint: str | None) -> Reader:
    """Choose where S3Objects are read from.

    Args:
        folder: has one folder for each bucket. Object keys are paths in that folder. Such a bucket is in every region.
        endpoint: the URL of an S3 endpoint. It is asked with the environment's credentials, and only without `folder`.

    Returns:
        A function from an S3Object structure and the request's region to the photo. It raises `ServiceError`:
        InvalidS3ObjectException when there is no such object, when its bucket is in another region, and when there is
        neither folder nor endpoint; ImageTooLargeException when the object has more than 15 MB.

    Raises:
        EmulatorError: there is an endpoint, and botocore is not installed.
    """
    if folder is not None:
        return functools.partial(_from_folder, folder)
    if endpoint is not None:
        if importlib.util.find_spec("botocore") is None:
            raise EmulatorError("--s3-endpoint needs the package botocore.", "Run pip install botocore")
        return functools.partial(_from_endpoint, _client(endpoint))
    return _Nowhere()


class _Nowhere:
    """Refuses every S3Object in AWS's words, and says on stderr what they do not say."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, _s3_object: dict[str, str], _region: str) -> Photo:
        if not self._said:
            self._said = True
            sys.stderr.write(f"A request names an S3Object. {NO_SOURCE}\n")
            sys.stderr.flush()
        raise _unreadable()


def sidecar(path: Path) -> bytes | None:
    """Return the XMP packet in the file beside a picture: `a.jpg.xmp` or `a.xmp`; None without one."""
    for beside in (path.with_name(f"{path.name}.xmp"), path.with_suffix(".xmp")):
        if beside.is_file():
            return beside.read_bytes()
    return None


def _from_folder(folder: Path, s3_object: dict[str, str], _region: str) -> Photo:
    bucket, key = s3_object.get("Bucket"), s3_object.get("Name")
    if not bucket or not key or "\0" in bucket + key or bucket in {".", ".."}:
        raise _unreadable()
    root = (folder / bucket).resolve()
    path = (root / key).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise _unreadable()
    if path.stat().st_size > MOST_BYTES:
        raise _too_large()
    return Photo(path.read_bytes(), sidecar(path))


def _from_endpoint(client: Callable[[], Any], s3_object: dict[str, str], region: str) -> Photo:
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = {"Bucket": s3_object.get("Bucket", ""), "Key": s3_object.get("Name", "")}
    if "Version" in s3_object:
        wanted["VersionId"] = s3_object["Version"]
    try:
        if _region_of(client(), wanted["Bucket"]) not in {region, None}:
            raise _unreadable()
        answer = client().get_object(**wanted)
        with answer["Body"] as body:
            content: bytes = body.read(MOST_BYTES + 1)
    except (BotoCoreError, ClientError):
        raise _unreadable() from None
    if len(content) > MOST_BYTES:
        raise _too_large()
    return Photo(content)


def _region_of(client: Any, bucket: str) -> str | None:  # noqa: ANN401 - botocore makes its clients' classes at run time
    """Return the bucket's region, which S3 names in every answer about a bucket; None when the endpoint does not."""
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    region: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    return region


def _client(endpoint: str) -> Callable[[], Any]:
    @functools.lru_cache(maxsize=1)
    def make() -> Any:  # noqa: ANN401 - botocore makes its clients' classes at run time
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=endpoint,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    return make


def _unreadable() -> ServiceError:
    return ServiceError(
        "InvalidS3ObjectException",
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
    )


def _too_large() -> ServiceError:
    return ServiceError("ImageTooLargeException", "Image size is too large")
