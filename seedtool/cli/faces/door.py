"""The AWS side of a command: opened, shown before anything is written, and counted afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedtool.cli.console import check_collection
from seedtool.errors import SeedtoolError, ServiceUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from seedtool.faces.rekognition import Aws
    from seedtool.settings import Settings

collection_option = click.option(
    "--collection", metavar="ID", callback=check_collection, help="The collection [default: that of the face binding]."
)


def open_aws(settings: Settings) -> Aws:
    """Return the AWS side that the settings name; starts the emulator when it is `embedded`.

    Raises:
        SettingsError: it is `live`, and the endpoint that was named is this project's emulator.
    """
    from seedtool.faces.rekognition import Aws

    if settings.aws == "live":
        aws = Aws(settings)
        _refuse_emulator(settings, aws)
        return aws
    from seedtool.cli.servers import ensure_emulator

    return Aws(settings, ensure_emulator(settings))


def _refuse_emulator(settings: Settings, aws: Aws) -> None:
    """Refuse to take the emulator, which `seedtool env` names to other programs, for AWS."""
    from urllib.parse import urlsplit

    from seedtool.cli.servers import emulator_dir
    from seedtool.emulator import process

    try:
        emulator = process.find(emulator_dir(settings))
    except process.EmulatorError as error:
        raise ServiceUnavailable(error.message, remedy=error.remedy) from error
    if emulator is None or aws.endpoint is None:
        return
    named, own = urlsplit(aws.endpoint), urlsplit(emulator)
    if named.port == own.port and named.hostname in {own.hostname, "localhost"}:
        raise SettingsError(
            f'aws = "live", but Rekognition\'s endpoint is {aws.endpoint}, the embedded emulator',
            remedy="unset AWS_ENDPOINT_URL_REKOGNITION (seedtool env exports it; .env may hold it, too), "
            'or set aws = "embedded".',
        )


def identity(connection: psycopg.Connection, settings: Settings, aws: Aws, collection: str | None) -> str:
    """Return what is shown before rows or faces are written: account, region and the collections that rows are in.

    Args:
        connection: to the target.
        settings: the face bindings.
        aws: the AWS side.
        collection: a collection given on the command line.

    Raises:
        CredentialsError: there are no credentials, or they are wrong or expired.
    """
    from seedtool.faces import bindings

    ids: set[str | None] = set()
    who = str(aws.who())
    try:
        with connection.transaction():
            for bound in bindings.bind(connection, settings, collection):
                ids |= set(bound.collections(connection)) if bound.binding.by_row else {bound.collection}
    except SeedtoolError:
        return who  # the command will meet it, too, and tell it
    return who + told(ids)


def told(ids: Iterable[str | None]) -> str:
    """Return the collections as the end of a line that tells where something goes."""
    from seedtool.faces.enroll.table import named

    known = {id_ for id_ in ids if id_ is not None}
    return f", collection{'s' * (len(known) > 1)} {named(known)}" if known else ""


def calls_line(calls: dict[str, int]) -> str:
    """Return what was called, for the end of a report."""
    return "AWS calls: " + (", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none")
