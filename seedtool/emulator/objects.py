"""Pictures that a request names by S3Object instead of bringing them: from a folder or an S3 endpoint."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_BYTES = 15 * 1024 * 1024  # "Guidelines and quotas": the largest picture that is read from S3


def reader(folder: Path | None, endpoint: str | None) -> Callable[[dict[str, str]], bytes]:
    """How S3Objects are read.

    Args:
        folder: holds one folder a bucket; object keys are paths below it.
        endpoint: the URL of an S3 endpoint, asked with the environment's credentials. `folder` wins.

    Returns:
        A function from an S3Object structure to the object's bytes. It raises `ServiceError`:
        InvalidS3ObjectException when there is no such object (or neither folder nor endpoint),
        ImageTooLargeException beyond 15 MB.
    """
    if folder is not None:
        return functools.partial(_from_folder, folder)
    if endpoint is not None:
        return functools.partial(_from_endpoint, _client(endpoint))
    return _from_nowhere


def _from_nowhere(_s3_object: dict[str, str]) -> bytes:
    raise _unreadable()


def _from_folder(folder: Path, s3_object: dict[str, str]) -> bytes:
    bucket, key = s3_object.get("Bucket"), s3_object.get("Name")
    if not bucket or not key or "\0" in bucket + key or bucket in {".", ".."}:
        raise _unreadable()
    root = (folder / bucket).resolve()
    path = (root / key).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise _unreadable()
    if path.stat().st_size > MOST_BYTES:
        raise _too_large()
    return path.read_bytes()


def _from_endpoint(client: Callable[[], Any], s3_object: dict[str, str]) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError

    wanted = {"Bucket": s3_object.get("Bucket", ""), "Key": s3_object.get("Name", "")}
    if "Version" in s3_object:
        wanted["VersionId"] = s3_object["Version"]
    try:
        answer = client().get_object(**wanted)
        with answer["Body"] as body:
            content: bytes = body.read(MOST_BYTES + 1)
    except (BotoCoreError, ClientError):
        raise _unreadable() from None
    if len(content) > MOST_BYTES:
        raise _too_large()
    return content


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
