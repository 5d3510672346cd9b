"""The AWS side that the settings name: AWS itself, or the embedded emulator, which is started when it does not run."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from seedtool import extras
from seedtool.errors import ServiceUnavailable, SettingsError
from seedtool.faces.port import FaceService
from seedtool.faces.vendors import open_service
from seedtool.settings import Settings


def open_aws(settings: Settings) -> FaceService:
    """Return the AWS side that the settings name.

    Raises:
        SettingsError: it is `live`, and the endpoint that was named is this project's emulator.
        ServiceUnavailable: the emulator does not start.

    Example:
        >>> aws = seedtool.open_aws(seedtool.load_settings())
        >>> aws.collection("eduguard-school-default").describe().faces
        64
    """
    if settings.aws == "live":
        aws = open_service(settings)
        _refuse_emulator(settings, aws)
        return aws
    return open_service(settings, ensure_emulator(settings), key=emulator_key(settings))


def emulator_dir(settings: Settings) -> Path:
    """Return the folder of the emulator's state, beside the server's."""
    return settings.state_dir / "emulator"


def require_packages(settings: Settings) -> None:
    """See that the packages are there which the AWS side of the settings needs.

    Raises:
        MissingExtra: one is not installed.
    """
    if settings.aws == "live":
        extras.require("faces", "botocore")
    else:
        _require_emulator(settings)


def ensure_emulator(settings: Settings) -> str:
    """Return the endpoint of the project's emulator, which is started when it does not run.

    One that is started here accepts only requests that `emulator_key` signed.

    Raises:
        MissingExtra: its packages are not installed.
        ServiceUnavailable: it does not start.
    """
    from seedtool.emulator import process

    _require_emulator(settings)
    with _emulators_errors():
        return process.ensure(
            emulator_dir(settings), verify=True, album=settings.emulator_album, vision=settings.emulator_vision
        )


def _require_emulator(settings: Settings) -> None:
    extras.require("emulator")
    if settings.emulator_vision is not None:
        extras.require("vision")


def find_emulator(settings: Settings) -> str | None:
    """Return the endpoint of the project's emulator, or None if it does not run.

    Raises:
        ServiceUnavailable: its state cannot be read.
    """
    from seedtool.emulator import process

    with _emulators_errors():
        return process.find(emulator_dir(settings))


def stop_emulator(settings: Settings) -> bool:
    """Stop the project's emulator; its faces stay. Return whether it ran.

    Raises:
        ServiceUnavailable: its state cannot be read, or it does not stop.
    """
    from seedtool.emulator import process

    with _emulators_errors():
        return process.stop(emulator_dir(settings))


def emulator_key(settings: Settings) -> tuple[str, str]:
    """Return access key id and secret of the project's emulator. They are made when they are missing.

    Raises:
        ServiceUnavailable: they cannot be read.
    """
    from seedtool.emulator import process

    with _emulators_errors():
        return process.key(emulator_dir(settings))


def plant_faces(settings: Settings, collection: str, external_image_ids: Iterable[str]) -> int:
    """Add faces that come from no picture to a collection of the project's emulator, 100,000 in a second.

    Args:
        settings: the project's.
        collection: the collection's id; it is made when it is missing.
        external_image_ids: the ExternalImageId of each face.

    Returns:
        How many faces were added.

    Raises:
        ServiceUnavailable: the emulator's state cannot be written.
    """
    from seedtool.emulator import planting

    faces = (planting.Planted(external_image_id=each) for each in external_image_ids)
    with _emulators_errors():
        return planting.plant(emulator_dir(settings), collection, faces)


@contextlib.contextmanager
def _emulators_errors() -> Iterator[None]:
    """Turn errors of the emulator, which knows nothing of ours, into ours."""
    from seedtool.emulator import process

    try:
        yield
    except process.EmulatorError as error:
        raise ServiceUnavailable(error.message, remedy=error.remedy) from error


def _refuse_emulator(settings: Settings, aws: FaceService) -> None:
    """Refuse to take the emulator, which `seedtool env` names to other programs, for AWS."""
    emulator = find_emulator(settings)
    if emulator is None or aws.endpoint is None:
        return
    named, own = urlsplit(aws.endpoint), urlsplit(emulator)
    if named.port == own.port and named.hostname in {own.hostname, "localhost"}:
        raise SettingsError(
            f'aws = "live", but Rekognition\'s endpoint is {aws.endpoint}, the embedded emulator',
            remedy="unset AWS_ENDPOINT_URL_REKOGNITION (seedtool env exports it; .env may hold it, too), "
            'or set aws = "embedded".',
            setting="aws",
            key="AWS_ENDPOINT_URL_REKOGNITION",
        )
