"""Reset a PostgreSQL database in milliseconds, seed it, and link its faces to AWS Rekognition again.

The public Python API: what the commands do, as functions for scripts and tests of your own. They find the project's
settings as the commands find them, from the working folder, and take everything as an argument, too::

    import seedtool

    seedtool.reset("full", yes=True)        # seedtool db-reset --yes --seed full
    done = seedtool.seed("local")           # seedtool seed local
    print(done.seed.rows)
    seedtool.sync()                         # seedtool sync-faces

    settings = seedtool.load_settings(Path("/srv/shop"))
    seedtool.migrate(settings=settings)

Everything else is internal and may change. Names are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from seedtool.version import VERSION

if TYPE_CHECKING:
    from seedtool.errors import SeedtoolError
    from seedtool.listener import Listener
    from seedtool.postgres.server import Target, connect
    from seedtool.postgres.server import find as find_target
    from seedtool.settings import Settings
    from seedtool.settings import load as load_settings
    from seedtool.workflows.prepare import prepare
    from seedtool.workflows.reset import fingerprint, migrate, plan_reset, reset
    from seedtool.workflows.seed import seed

__version__ = VERSION

_PLACES = {
    "Listener": "listener:Listener",
    "SeedtoolError": "errors:SeedtoolError",
    "Settings": "settings:Settings",
    "Target": "postgres.server:Target",
    "connect": "postgres.server:connect",
    "find_target": "postgres.server:find",
    "fingerprint": "workflows.reset:fingerprint",
    "load_settings": "settings:load",
    "migrate": "workflows.reset:migrate",
    "plan_reset": "workflows.reset:plan_reset",
    "prepare": "workflows.prepare:prepare",
    "reset": "workflows.reset:reset",
    "seed": "workflows.seed:seed",
}

__all__ = [
    "Listener",
    "SeedtoolError",
    "Settings",
    "Target",
    "__version__",
    "connect",
    "find_target",
    "fingerprint",
    "load_settings",
    "migrate",
    "plan_reset",
    "prepare",
    "reset",
    "seed",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, given above
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, member = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"seedtool.{module}"), member)


def __dir__() -> list[str]:
    return sorted(__all__)
