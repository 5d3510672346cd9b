"""Photos in a bucket of S3, or of what speaks its language: Cloudflare R2, MinIO."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seedtool.errors import AccessDenied, AwsError, InvalidRequest, PhotoError, ResourceNotFound, SettingsError
from seedtool.faces.aws_errors import translated
from seedtool.faces.aws_session import AwsSession, Vendor, is_awss
from seedtool.faces.photos.store import Context, Photos, Scheme, Stamp, checked
from seedtool.faces.port import FaceService, S3Location
from seedtool.settings import redacted

# Source: the user guide, general purpose bucket naming rules.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")

#: Bytes of a key in UTF-8 at most (source: the user guide, naming objects).
KEY_BYTES = 1024

#: The permission that an operation needs, by its name (source: the service authorization reference of S3).
_PERMISSIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
}

#: What S3 answers when a request went to another region than the bucket's.
_WRONG_REGION = frozenset({"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307"})


#: S3 hides from those who may not list whether an object exists, and KMS has a permission of its own.
_HIDDEN = (
    " Without s3:ListBucket on the bucket, S3 says the same of an object that is not there."
    " An object under a KMS key needs kms:Decrypt, too."
)


class S3Store:
    """Photos in a bucket. A key is taken as it is: no character of it has a meaning.

    Args:
        aws: makes the client.
        service: the face service, which may be able to read the photos by itself.
        bucket: the bucket's name.
        prefix: what all keys begin with.
    """

    def __init__(self, aws: AwsSession, service: FaceService, bucket: str, prefix: str = "") -> None:
        self._service = service
        self._client: Vendor = aws.s3()
        self._bucket = bucket
        self._prefix = prefix
        self._lock = threading.Lock()
        self._in_reach: bool | None = None  # not asked yet
        self.uploads = 0

    def put(self, key: str, data: bytes, content_type: str = "image/jpeg") -> None:
        """Write a photo; S3 shows it whole or not at all."""
        self._call("put_object", checked(key), Body=data, ContentType=content_type)
        with self._lock:
            self.uploads += 1

    def get(self, key: str) -> bytes | None:
        """Return a photo's bytes; None when there is none."""
        try:
            with self._translated(key):
                data: bytes = self._call("get_object", key)["Body"].read()
        except ResourceNotFound as error:
            if error.place.get("code") == "NoSuchBucket":
                raise
            return None
        return data

    def shown(self, key: str) -> str:
        """Return the photo's address."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def location(self, key: str) -> S3Location | None:
        """Return where the face service can read a photo by itself; None where its bytes have to be sent.

        Rekognition reads AWS's own S3, and there only buckets of its region. Where nobody says in which
        region a bucket is, the bytes are sent.
        """
        with self._lock:
            if self._in_reach is None:
                self._in_reach = self._service.reads_s3 and self._region() == self._service.region
        return S3Location(self._bucket, self._whole(key)) if self._in_reach else None

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
        with self._translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                yield from page.get("Contents", ())

    def _call(self, method: str, key: str, **arguments: object) -> Vendor:
        with self._translated(key):
            return getattr(self._client, method)(Bucket=self._bucket, Key=self._whole(key), **arguments)

    @contextmanager
    def _translated(self, key: str | None = None) -> Iterator[None]:
        """Raise what botocore raises inside as one of ours, which names bucket and key and what this bucket needs."""
        try:
            with translated("s3", f"bucket {self._bucket}" if key is None else self.shown(key)):
                yield
        except AwsError as error:
            error.remedy = self._remedy(error) or error.remedy
            raise
        except RecursionError as error:  # botocore asks for the bucket's region, is redirected, asks for the region ...
            raise InvalidRequest(
                f"s3: {self._client.meta.endpoint_url} redirects every request about the bucket {self._bucket}",
                remedy="Write where it redirects to into S3_ENDPOINT_URL: https:// perhaps, or another host.",
            ) from error

    def _remedy(self, error: AwsError) -> str:
        """Return what cures an error of this bucket; empty where nothing is known beyond the code."""
        operation, code = error.place.get("operation") or "", error.place.get("code") or ""
        endpoint = self._client.meta.endpoint_url
        at = "" if is_awss(endpoint) else f" at {endpoint}"
        if isinstance(error, AccessDenied) and (permission := _PERMISSIONS.get(operation.removeprefix("s3:"))):
            on = f"the bucket {self._bucket}" if permission == "s3:ListBucket" else f"the objects of {self._bucket}"
            if at:
                return f"Allow the keys of S3 (AWS_S3_ACCESS_KEY_ID){at} {permission} on {on}."
            return f"Allow {permission} on {on}, in IAM and in the bucket's policy." + _HIDDEN * (
                permission == "s3:GetObject"
            )
        if code == "NoSuchBucket":
            elsewhere = "S3_ENDPOINT_URL names another account's or program's endpoint" if at else "it was deleted"
            return (
                f"No account has a bucket {self._bucket}{at}: its name is misspelled in PHOTOS_URL or in the row, "
                f"or {elsewhere}."
            )
        if code in _WRONG_REGION:
            answer = getattr(error.__cause__, "response", {})
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region")
            return f"The bucket {self._bucket} is in {region}: set AWS_REGION={region}." if region else ""
        return ""

    def _whole(self, key: str) -> str:
        whole = self._prefix + key
        if not key or len(whole.encode()) > KEY_BYTES:
            raise PhotoError(
                f"{key[:80]!r} cannot be the key of an object in S3",
                remedy=f"A key has 1 to {KEY_BYTES} bytes: correct the row.",
            )
        return whole


def parse(address: str) -> tuple[str, str]:
    """Return the bucket and the key of `s3://bucket/key`. All that follows the bucket's slash is the key, as it is."""
    bucket, _, key = address[len("s3://") :].partition("/")
    return bucket, key


def _session(context: Context) -> AwsSession:
    """Return the session that the face service has with AWS, or one for S3 where it is another vendor's."""
    return context.service if isinstance(context.service, AwsSession) else AwsSession(context.settings)


def _open_store(rest: str, context: Context) -> S3Store:
    bucket, prefix = parse(f"s3://{rest}")
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(
            f"setting photos_url: 's3://{bucket.rpartition('@')[2]}' does not name a bucket",
            remedy="Write s3://bucket/prefix.",
            setting="photos_url",
        )
    prefix += "/" * (prefix != "" and not prefix.endswith("/"))
    return S3Store(_session(context), context.service, bucket, prefix)


def _open_photo(address: str, context: Context) -> tuple[Photos, str]:
    bucket, key = parse(address)
    if not bucket or not key:
        raise PhotoError(f"{redacted(address[:200])}: this names no object", remedy="Write s3://bucket/key.")
    name = f"s3://{bucket}"
    if name not in context.opened:
        context.opened[name] = S3Store(_session(context), context.service, bucket)
    return context.opened[name], key


SCHEME = Scheme(open_store=_open_store, open_photo=_open_photo)
