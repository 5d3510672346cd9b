"""The one place that chooses the vendor of the face service. Whoever adds a vendor adds an entry here."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from seedtool import extras
from seedtool.faces.port import FaceService
from seedtool.settings import Settings

_Key: TypeAlias = tuple[str, str] | None


def _rekognition(settings: Settings, endpoint: str | None, key: _Key) -> FaceService:
    extras.require("faces", "botocore")
    from seedtool.faces.rekognition.service import Aws

    return Aws(settings, endpoint, key)


#: How each vendor's service is opened, by the vendor's name.
VENDORS: dict[str, Callable[[Settings, str | None, _Key], FaceService]] = {"rekognition": _rekognition}


def quotas(settings: Settings, operations: Iterable[str]) -> tuple[str, dict[str, float]]:
    """Return the region that the settings name, and how many calls of operations it allows in a second.

    Nothing is called and nothing is started. Where no region is set, it is empty, and the low quotas count.
    """
    extras.require("faces", "botocore")
    from seedtool.faces.aws_session import EMBEDDED_REGION, AwsSession
    from seedtool.faces.rekognition.limiter import quota

    region = settings.region or (
        EMBEDDED_REGION if settings.aws == "embedded" else AwsSession(settings).profile_region() or ""
    )
    return region, {operation: quota(operation, region) for operation in operations}


def open_service(
    settings: Settings, endpoint: str | None = None, *, key: tuple[str, str] | None = None, vendor: str = "rekognition"
) -> FaceService:
    """Return the face service that the settings name.

    Args:
        settings: the settings.
        endpoint: where the embedded emulator is; None when the settings say `live`.
        key: access key id and secret of the embedded emulator; None for one that accepts any.
        vendor: a key of `VENDORS`.

    Raises:
        SettingsError: embedded without an endpoint.
        MissingExtra: the vendor's package is not installed.
    """
    return VENDORS[vendor](settings, endpoint, key)
