"""The AWS side of a command: opened, shown before anything is written, and counted afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedtool.cli.console import check_collection
from seedtool.errors import SeedtoolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from seedtool.faces.port import FaceService
    from seedtool.settings import Settings

collection_option = click.option(
    "--collection", metavar="ID", callback=check_collection, help="The collection [default: that of the face binding]."
)


def identity(connection: psycopg.Connection, settings: Settings, aws: FaceService, collection: str | None) -> str:
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
    from seedtool.faces.enroll.running import named

    known = {id_ for id_ in ids if id_ is not None}
    return f", collection{'s' * (len(known) > 1)} {named(known)}" if known else ""


def calls_line(calls: dict[str, int]) -> str:
    """Return what was called, for the end of a report."""
    return "AWS calls: " + (", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none")
