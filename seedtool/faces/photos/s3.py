"""Photos in a bucket of S3, or of what speaks its language: Cloudflare R2, MinIO."""

import hashlib
import threading
from collections.abc import Iterator

from seedtool.errors import AccessDenied, ResourceNotFound
from seedtool.faces.aws import AwsSession, Vendor
from seedtool.faces.aws_errors import translated
from seedtool.faces.photos.keys import Stamp, checked
from seedtool.faces.port import FaceService, S3Location


class S3Store:
    """Photos in a bucket.

    Args:
        aws: makes the client.
        service: the face service, which may read the photos by itself.
        bucket: the bucket's name.
        prefix: what all keys begin with, without slashes around it.
    """

    def __init__(self, aws: AwsSession, service: FaceService, bucket: str, prefix: str) -> None:
        self._service = service
        self._client: Vendor = aws.s3()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._lock = threading.Lock()
        self._in_reach: bool | None = None  # not asked yet
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

    def location(self, key: str) -> S3Location | None:
        """Return where Rekognition can read a photo by itself; None where its bytes have to be sent.

        It reads AWS's own S3 and there only buckets of its region. Where the region is not told, bytes will do.
        """
        with self._lock:
            if self._in_reach is None:
                self._in_reach = self._service.reads_s3 and self._region() == self._service.region
        return S3Location(self._bucket, self._prefix + checked(key)) if self._in_reach else None

    def holds(self, key: str, data: bytes) -> bool:
        """Tell whether exactly these bytes are under the key.

        The ETag of a photo that was written in one piece is its MD5, on S3, R2 and MinIO alike; not so under KMS keys
        or in several pieces, where the bytes are fetched and compared.
        """
        try:
            head = self._call("head_object", key)
        except ResourceNotFound:
            return False
        except AccessDenied:
            return self.get(key) == data  # which tells what permission is missing
        if head.get("ContentLength") != len(data):
            return False
        if head.get("ETag", "").strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return True
        return self.get(key) == data

    def exists(self, key: str) -> bool:
        """Tell whether there is a photo under the key."""
        try:
            self._call("head_object", key)
        except ResourceNotFound:
            return False
        return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with the prefix, in order."""
        for entry in self._listed(prefix):
            yield entry["Key"].removeprefix(self._prefix)

    def stamps(self, prefix: str = "") -> Iterator[Stamp]:
        """Yield the photos whose keys begin with the prefix, and when each was written."""
        for entry in self._listed(prefix):
            yield Stamp(
                key=entry["Key"].removeprefix(self._prefix), written_at=entry["LastModified"], size=entry["Size"]
            )

    def delete(self, key: str) -> None:
        """Remove a photo; nothing happens when there is none."""
        self._call("delete_object", key)

    def _region(self) -> str | None:
        """Return the bucket's region; S3 tells it even to those who may not look into the bucket."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            answer = error.response
        except BotoCoreError:
            return None
        headers: dict[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return headers.get("x-amz-bucket-region")

    def _listed(self, prefix: str) -> Iterator[Vendor]:
        with translated("s3", f"bucket {self._bucket}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                yield from page.get("Contents", ())

    def _call(self, method: str, key: str, **arguments: object) -> Vendor:
        with translated("s3", f"photo {key}"):
            return getattr(self._client, method)(Bucket=self._bucket, Key=self._prefix + checked(key), **arguments)
