"""`seedtool ci prepare`: everything that tests would build at their beginning, built once before they run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from seedtool.faces.rekognition import Aws
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.seeding.profiles import Profile, find_profile, load_profiles
from seedtool.settings import Settings
from seedtool.testing import faces
from seedtool.testing.databases import Databases
from seedtool.testing.templates import Made, template_of


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """What the project's emulator was given for a profile that ends in a sync: how many photos it had not seen."""

    profile: str
    endpoint: str
    indexed: int


class PrepareReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is ready: the server, the templates on it, and the emulator's faces."""

    server: str
    templates: tuple[Made, ...]
    emulator: tuple[Enrolled, ...]


def find_profiles(settings: Settings, names: Sequence[str]) -> list[Profile]:
    """Return profiles by their names, each once.

    Raises:
        ProfileError: there is none of a name, or profiles.toml cannot be read.
    """
    if not names:
        return []
    profiles = load_profiles(settings.seeds)
    return [find_profile(profiles, name) for name in dict.fromkeys(names)]


def prepare(
    settings: Settings,
    profiles: Sequence[Profile],
    *,
    cache: Path | None = None,
    open_emulator: Callable[[], str],
    note: Callable[[str], None],
) -> PrepareReport:
    """Build what is missing; what is there stays as it is. The target is not touched.

    Args:
        settings: the project's.
        profiles: whose templates are wanted beside the schema's.
        cache: a folder of dumps (see `dumps`).
        open_emulator: starts the project's emulator and returns its address.
        note: told what takes long or goes wrong.

    Raises:
        SeedtoolError: a template cannot be built, or a photo not be enrolled.
    """
    target = server.find(settings)
    with open_cluster(target) as cluster:
        made = [template_of(cluster, settings, profile, cache=cache, note=note) for profile in (None, *profiles)]
    enrolled = []
    if settings.aws == "embedded":
        for profile in profiles:
            if profile.sync_faces:
                note(f"enrolling the faces of {profile.name} ...")
                enrolled.append(_enroll(settings, profile, open_emulator()))
    return PrepareReport(server=str(target), templates=tuple(made), emulator=tuple(enrolled))


def _enroll(settings: Settings, profile: Profile, endpoint: str) -> Enrolled:
    aws = Aws(settings, endpoint)
    indexed = faces.index_listed(settings, aws, profile)
    if indexed is None:
        databases = Databases(settings)
        try:
            lease = databases.lease(profile.name)
            indexed = faces.enroll_rows(settings, aws, lease.target.conninfo)
        finally:
            databases.close()
    return Enrolled(profile=profile.name, endpoint=endpoint, indexed=indexed)
