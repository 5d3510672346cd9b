"""The one place that chooses the vendor of the face service. Whoever adds a vendor adds an entry here."""

from collections.abc import Callable

from seedtool.faces.port import FaceService
from seedtool.listener import SILENT, Listener
from seedtool.settings import Settings

Opener = Callable[[Settings, str | None, Listener], FaceService]


def _rekognition(settings: Settings, endpoint: str | None, listener: Listener) -> FaceService:
    from seedtool.faces.rekognition.service import Aws

    return Aws(settings, endpoint, listener=listener)


#: How each vendor's service is opened, by the vendor's name.
VENDORS: dict[str, Opener] = {"rekognition": _rekognition}


def open_service(
    settings: Settings, endpoint: str | None = None, *, vendor: str = "rekognition", listener: Listener = SILENT
) -> FaceService:
    """Return the face service that the settings name.

    Args:
        settings: the settings.
        endpoint: where the embedded emulator is; None when the settings say `live`.
        vendor: a key of `VENDORS`.
        listener: hears of the work that is done with the service.

    Raises:
        SettingsError: embedded without an endpoint.
    """
    return VENDORS[vendor](settings, endpoint, listener)
