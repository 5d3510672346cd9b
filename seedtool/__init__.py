"""Reset a PostgreSQL database in milliseconds, seed it, and link its faces to AWS Rekognition again.

The public Python API: what the commands do, for scripts and tests of your own::

    import seedtool

    settings = seedtool.load_settings()
    target = seedtool.find_target(settings)
    fixtures = seedtool.read_fixtures(settings.seeds, ["local"], settings.root)
    with seedtool.connect(target) as connection:
        report = seedtool.seed(connection, fixtures, bindings=settings.faces)

Everything else is internal and may change. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from seedtool.version import VERSION

if TYPE_CHECKING:
    from seedtool.errors import SeedtoolError
    from seedtool.faces.rekognition import Aws
    from seedtool.faces.sync import sync
    from seedtool.postgres.server import Target, connect
    from seedtool.postgres.server import find as find_target
    from seedtool.reset.guard import Consent
    from seedtool.reset.reset import reset
    from seedtool.schema.migrations import upgrade
    from seedtool.seeding.fixtures import read_fixtures
    from seedtool.seeding.merge import seed
    from seedtool.seeding.profiles import load_profiles
    from seedtool.settings import Settings
    from seedtool.settings import load as load_settings

__version__ = VERSION

__all__ = [
    "Aws",
    "Consent",
    "SeedtoolError",
    "Settings",
    "Target",
    "__version__",
    "connect",
    "find_target",
    "load_profiles",
    "load_settings",
    "read_fixtures",
    "reset",
    "seed",
    "sync",
    "upgrade",
]

_PLACES = {
    "Aws": "faces.rekognition:Aws",
    "Consent": "reset.guard:Consent",
    "SeedtoolError": "errors:SeedtoolError",
    "Settings": "settings:Settings",
    "Target": "postgres.server:Target",
    "connect": "postgres.server:connect",
    "find_target": "postgres.server:find",
    "load_profiles": "seeding.profiles:load_profiles",
    "load_settings": "settings:load",
    "read_fixtures": "seeding.fixtures:read_fixtures",
    "reset": "reset.reset:reset",
    "seed": "seeding.merge:seed",
    "sync": "faces.sync:sync",
    "upgrade": "schema.migrations:upgrade",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, told above
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, member = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"seedtool.{module}"), member)
