"""The one place that chooses the vendor of the face service. Whoever adds a vendor adds an entry here."""

from collections.abc import Callable

from seedtool.faces.port import FaceService
from seedtool.settings import Settings


def _rekognition(settings: Settings, endpoint: str | None) -> FaceService:
    from seedtool.faces.rekognition.service import Aws

    return Aws(settings, endpoint)


#: How each vendor's service is opened, by the vendor's name.
VENDORS: dict[str, Callable[[Settings, str | None], FaceService]] = {"rekognition": _rekognition}


def open_service(settings: Settings, endpoint: str | None = None, *, vendor: str = "rekognition") -> FaceService:
    """Return the face service that the settings name.

    Args:
        settings: the settings.
        endpoint: where the embedded emulator is; None when the settings say `live`.
        vendor: a key of `VENDORS`.

    Raises:
        SettingsError: embedded without an endpoint.
    """
    return VENDORS[vendor](settings, endpoint)
