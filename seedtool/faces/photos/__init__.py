"""Where the application's photos are: a folder, a bucket of S3, Cloudflare R2 or MinIO, or a web address.

`keys` says what a store can do, `folder` and `s3` are the stores, `web` fetches from addresses that rows name, and
`addresses` reads whatever a row names.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from seedtool.errors import SettingsError
from seedtool.faces.aws import AwsSession
from seedtool.faces.photos.addresses import Addresses, offer
from seedtool.faces.photos.folder import FolderStore
from seedtool.faces.photos.keys import PhotoStore, Stamp
from seedtool.faces.photos.s3 import S3Store
from seedtool.faces.port import FaceService
from seedtool.settings import Settings

__all__ = ["Addresses", "FolderStore", "PhotoStore", "S3Store", "Stamp", "offer", "store"]


def store(settings: Settings, aws: FaceService) -> PhotoStore:
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
        session = aws if isinstance(aws, AwsSession) else AwsSession(settings)
        parts = urlsplit(url)
        return S3Store(session, aws, parts.netloc, parts.path.strip("/"))
    if url.startswith("file://"):
        url = unquote(urlsplit(url).path)
    return FolderStore(settings.root / Path(url).expanduser())
