"""The faces of seeded rows, put into a stand-in for Rekognition as if they had been enrolled long ago."""

import tempfile
from pathlib import Path

import psycopg

from seedtool.errors import ImageRefused
from seedtool.faces.rekognition import Aws
from seedtool.seeding.profiles import Profile
from seedtool.settings import Settings


def index_listed(settings: Settings, aws: Aws, profile: Profile) -> int | None:
    """Index the photos that a profile lists as `indexed`; returns how many were missing, None without a list."""
    if profile.indexed is None:
        return None
    from seedtool.seeding.indexed import index_missing, read_indexed

    return index_missing(read_indexed(settings.seeds / profile.indexed, settings.root), aws.collection)


def enroll_rows(settings: Settings, aws: Aws, conninfo: str, photos: Path | None = None) -> int:
    """Index the photos that the rows of a database name and the collections lack.

    Args:
        settings: the face bindings, their collections and the seeds' folder.
        aws: the AWS side.
        conninfo: libpq connection string of a seeded database. Its rows are linked.
        photos: the folder that photos go to; one that is thrown away when left out.

    Returns:
        how many were indexed.

    Raises:
        ImageRefused: one cannot be enrolled.
        SeedtoolError: as `enroll_all`.
    """
    from seedtool.faces.enroll import enroll_all
    from seedtool.faces.photos import FolderStore

    with tempfile.TemporaryDirectory() as passing, psycopg.connect(conninfo) as connection:
        report = enroll_all(connection, settings, aws, FolderStore(photos or Path(passing)))
    failed = [photo for photo in report.photos if photo.face_id is None]
    if failed:
        raise ImageRefused(
            f"{len(failed)} seeded faces cannot be enrolled, the first of them {failed[0].source}: {failed[0].reason}",
            remedy=failed[0].remedy or "",
        )
    return len(report.photos)
