"""What `seedtool ci prepare` does, and what tests build on: templates that are ready, and faces that are enrolled."""

import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from seedtool.errors import ImageRefused, NotTrusted, SnapshotError
from seedtool.faces.port import FaceService
from seedtool.faces.vendors import open_service
from seedtool.files.signing import Keys
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, open_cluster, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import clones, dumps, templates
from seedtool.resetting.layers import Layer, fingerprints
from seedtool.seeding.profiles import Profile
from seedtool.settings import Settings
from seedtool.workflows.face_service import emulator_key, ensure_emulator
from seedtool.workflows.project import archive_keys, project_settings
from seedtool.workflows.reset import generated, layers_of
from seedtool.workflows.seed import named_profile

if TYPE_CHECKING:
    from seedtool.generating.layer import Generated


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A template that is ready.

    Args:
        profile: whose rows are in it; None for the bare schema.
        recipe: whose generated rows are in it, too; None for none.
        fingerprint: what it is named by.
        template: the database.
        how: it was there, or was loaded from a file, or built.
        file: the file in the cache; None without one.
        milliseconds: how long that took.
    """

    profile: str | None
    recipe: str | None = None
    fingerprint: str
    template: str
    how: Literal["present", "loaded", "built"]
    file: str | None = None
    milliseconds: float


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """How many photos the project's emulator was given for a profile that ends in a sync: those it did not hold."""

    profile: str
    endpoint: str
    indexed: int


class PrepareReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is ready: the server, the templates on it, and the emulator's faces."""

    server: str
    templates: tuple[Made, ...]
    emulator: tuple[Enrolled, ...]


def prepare(
    profiles: Sequence[str] = (),
    *,
    load: str | None = None,
    scale: float = 1.0,
    settings: Settings | None = None,
    cache: Path | None = None,
    trust_file: bool = False,
    listener: Listener = SILENT,
) -> PrepareReport:
    """Build the templates that tests clone, and enroll faces in the emulator. What is there stays as it is.

    The target itself is not touched.

    Args:
        profiles: names of profiles whose templates are wanted beside the schema's; a name given twice counts once.
        load: the name of a recipe: a template with its generated rows is wanted, too, upon each profile, or upon the
            schema where none is given.
        scale: how many times the numbers of the recipe are made.
        settings: the project's; those of the working folder's project when None.
        cache: a folder of dumps: templates are loaded from it, and what it lacks is written there.
        trust_file: load dumps that no key of ours signed: what is in them runs on the server with our rights.
        listener: hears what takes long or goes wrong.

    Raises:
        UsageError: there is no profile or recipe of a name.
        SeedtoolError: a template cannot be built, or a photo not be enrolled.

    Example:
        >>> [made.profile for made in seedtool.prepare(["local"]).templates]
        [None, 'local']
    """
    settings = project_settings(settings)
    found = [named_profile(settings, name) for name in dict.fromkeys(profiles)]
    target = server.find_for_tests(settings)
    with open_cluster(target, listener, project=settings.root.name) as cluster:
        made = [
            ensure_template(cluster, settings, profile, cache=cache, trust_file=trust_file, listener=listener)
            for profile in (None, *found)
        ]
        rows = generated(settings, load, scale=scale, listener=listener)
        below: list[Profile | None] = [*found] if found else [None]
        made += [
            ensure_template(cluster, settings, profile, rows, cache=cache, trust_file=trust_file, listener=listener)
            for profile in (below if rows is not None else ())
        ]
    enrolled = []
    if settings.aws == "embedded":
        for profile in found:
            if profile.sync_faces:
                listener.note(f"enrolling the faces of {profile.name} ...")
                enrolled.append(_enroll(settings, target, profile))
    return PrepareReport(server=str(target), templates=tuple(made), emulator=tuple(enrolled))


def ensure_template(
    cluster: Cluster,
    settings: Settings,
    profile: Profile | None,
    rows: "Generated | None" = None,
    *,
    cache: Path | None = None,
    trust_file: bool = False,
    listener: Listener = SILENT,
) -> Made:
    """Return the template of a profile; load or build it when there is none.

    Args:
        cluster: the server.
        settings: the project's.
        profile: the profile; None for the bare schema.
        rows: generated rows upon it; None for none.
        cache: a folder of dumps: the template is loaded from there, or written to it.
        trust_file: load a dump that no key of ours signed.
        listener: hears of the steps, and when a dump cannot be used.

    Raises:
        SeedError, MigrationError: the template cannot be built; the cache of templates is as it was.
        SnapshotError: the folder cannot be written.
        SettingsError: there is no key that may sign what is written.
    """
    started = time.perf_counter()
    layers = layers_of(settings, profile, rows, listener)
    like = templates.of_target(cluster)
    fingerprint = fingerprints(layers, templates.of_server(cluster, like))[-1]
    file = dumps.dump_path(cache, fingerprint) if cache is not None else None
    keys = archive_keys(settings)
    loaded = (
        file is not None and file.is_file() and _load(cluster, layers, file, None if trust_file else keys, listener)
    )
    template = templates.ensure(cluster, layers, like)
    if file is not None and not file.is_file() and not dumps.dump(cluster, template.name, like, file, keys):
        listener.note(
            f"the template of {profile.name if profile else 'the schema'} stays out of the cache:"
            " a dump would lack what migrations set on the database itself"
        )
        file = None
    return Made(
        profile=profile.name if profile else None,
        recipe=rows.recipe.name if rows is not None else None,
        fingerprint=fingerprint,
        template=template.name,
        how="loaded" if loaded else "built" if template.built else "present",
        file=str(file) if file else None,
        milliseconds=round((time.perf_counter() - started) * 1000, 3),
    )


def _load(cluster: Cluster, layers: Sequence[Layer], file: Path, keys: Keys | None, listener: Listener) -> bool:
    """Make a template of a dump; False when it is there already, or the dump may not be used and is removed."""
    like = templates.of_target(cluster)
    try:
        return templates.load(cluster, layers, like, lambda database: dumps.load(cluster, file, database, keys)).built
    except (SnapshotError, NotTrusted) as error:
        listener.note(f"{error.message}; the template is built instead")
        file.unlink(missing_ok=True)
        return False


def _enroll(settings: Settings, target: Target, profile: Profile) -> Enrolled:
    """Put the faces of a profile into the project's emulator, by a clone of the profile's template."""
    endpoint = ensure_emulator(settings)
    aws = open_service(settings, endpoint, key=emulator_key(settings))
    indexed = index_listed(settings, aws, profile)
    if indexed is None:
        with open_cluster(target, project=settings.root.name) as cluster:
            like = templates.of_target(cluster)
            source = cluster.database(templates.ensure(cluster, layers_of(settings, profile), like).name)
            assert source is not None  # noqa: S101 - it is held
            digest = secrets.token_hex(10)
            with cluster.lock(digest):  # a sweep leaves the clone alone as long as we live
                clone = private_name("test", digest)
                clones.clone(cluster, source, clone, like)
                try:
                    indexed = enroll_rows(settings, aws, target.at(clone))
                finally:
                    cluster.drop(clone)
    return Enrolled(profile=profile.name, endpoint=endpoint, indexed=indexed)


def index_listed(settings: Settings, aws: FaceService, profile: Profile) -> int | None:
    """Index the photos that a profile lists as `indexed`; returns how many were missing, None without a list."""
    if profile.indexed is None:
        return None
    from seedtool.seeding.indexed import index_missing, read_indexed

    return index_missing(read_indexed(settings.seeds / profile.indexed, settings.root), aws.collection)


def enroll_rows(settings: Settings, aws: FaceService, database: Target) -> int:
    """Index the photos that the rows of a database name and the collections lack.

    Args:
        settings: the face bindings, their collections and the seeds' folder.
        aws: the AWS side.
        database: a seeded database. Its rows are linked.

    Returns:
        how many were indexed.

    Raises:
        ImageRefused: one cannot be enrolled.
        SeedtoolError: as `enroll_all`.
    """
    from seedtool.faces.enroll import enroll_all
    from seedtool.faces.photos import FolderStore

    with tempfile.TemporaryDirectory() as folder, server.connect(database) as connection:
        report = enroll_all(connection, settings, aws, FolderStore(Path(folder)))
    failed = [photo for photo in report.photos if photo.face_id is None]
    if failed:
        raise ImageRefused(
            f"{len(failed)} seeded faces cannot be enrolled, the first of them {failed[0].source}: {failed[0].reason}",
            remedy=failed[0].remedy or "",
        )
    return len(report.photos)
