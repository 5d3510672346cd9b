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

if TYPE_CHECKING:
    from seedtool.database.guard import Consent
    from seedtool.database.reset import reset
    from seedtool.database.schema.migrations import upgrade
    from seedtool.database.server import Target, connect
    from seedtool.database.server import find as find_target
    from seedtool.errors import SeedtoolError
    from seedtool.faces.aws import Aws
    from seedtool.faces.sync import sync
    from seedtool.seeding.fixtures import read_fixtures
    from seedtool.seeding.merge import seed
    from seedtool.seeding.profiles import load_profiles
    from seedtool.settings import Settings
    from seedtool.settings import load as load_settings

__version__ = "0.1.0"

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
    "Aws": "faces.aws:Aws",
    "Consent": "database.guard:Consent",
    "SeedtoolError": "errors:SeedtoolError",
    "Settings": "settings:Settings",
    "Target": "database.server:Target",
    "connect": "database.server:connect",
    "find_target": "database.server:find",
    "load_profiles": "seeding.profiles:load_profiles",
    "load_settings": "settings:load",
    "read_fixtures": "seeding.fixtures:read_fixtures",
    "reset": "database.reset:reset",
    "seed": "seeding.merge:seed",
    "sync": "faces.sync:sync",
    "upgrade": "database.schema.migrations:upgrade",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, told above
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, member = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"seedtool.{module}"), member)
