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

import sys

if sys.argv and sys.argv[0].rpartition("/")[2] in {"seedtool", "db-reset", "seed", "sync-faces"}:
    # Ctrl+C while one of our programs starts: Python ends by the signal, and no traceback is shown before
    sys.excepthook = lambda kind, *error: None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *error)

import importlib
from typing import TYPE_CHECKING, Any

from seedtool.version import VERSION

if TYPE_CHECKING:
    from seedtool.backfill import Options as BackfillOptions
    from seedtool.backfill.review import Choice as FaceChoice
    from seedtool.errors import SeedtoolError
    from seedtool.listener import Listener
    from seedtool.postgres.server import Target, connect
    from seedtool.postgres.server import find as find_target
    from seedtool.settings import Settings
    from seedtool.settings import load as load_settings
    from seedtool.workflows.adopt import adopt
    from seedtool.workflows.backfill import decide_faces, plan_backfill, run_backfill, waiting_faces
    from seedtool.workflows.database import guard_status, list_cache, protect, prune_cache, unprotect
    from seedtool.workflows.doctor import examine
    from seedtool.workflows.face_service import open_aws
    from seedtool.workflows.faces import (
        dedupe_faces,
        enroll,
        enroll_all,
        enroll_manifest,
        faces_status,
        recognize,
        sync,
    )
    from seedtool.workflows.load import draft_recipe, load, load_files, unload
    from seedtool.workflows.load import preview as preview_load
    from seedtool.workflows.prepare import prepare
    from seedtool.workflows.refresh import check_policy, draft_policy, plan_refresh, preview_masks, refresh
    from seedtool.workflows.reset import fingerprint, migrate, plan_reset, reset
    from seedtool.workflows.seed import dump_seeds, seed
    from seedtool.workflows.snapshots import (
        delete_snapshots,
        export_snapshot,
        import_snapshot,
        list_snapshots,
        rename_snapshot,
        restore_snapshot,
        save_snapshot,
    )

__version__ = VERSION

_PLACES = {
    "BackfillOptions": "backfill:Options",
    "FaceChoice": "backfill.review:Choice",
    "Listener": "listener:Listener",
    "SeedtoolError": "errors:SeedtoolError",
    "Settings": "settings:Settings",
    "Target": "postgres.server:Target",
    "adopt": "workflows.adopt:adopt",
    "check_policy": "workflows.refresh:check_policy",
    "connect": "postgres.server:connect",
    "decide_faces": "workflows.backfill:decide_faces",
    "dedupe_faces": "workflows.faces:dedupe_faces",
    "delete_snapshots": "workflows.snapshots:delete_snapshots",
    "draft_recipe": "workflows.load:draft_recipe",
    "draft_policy": "workflows.refresh:draft_policy",
    "dump_seeds": "workflows.seed:dump_seeds",
    "enroll": "workflows.faces:enroll",
    "enroll_all": "workflows.faces:enroll_all",
    "enroll_manifest": "workflows.faces:enroll_manifest",
    "examine": "workflows.doctor:examine",
    "export_snapshot": "workflows.snapshots:export_snapshot",
    "faces_status": "workflows.faces:faces_status",
    "find_target": "postgres.server:find",
    "fingerprint": "workflows.reset:fingerprint",
    "guard_status": "workflows.database:guard_status",
    "import_snapshot": "workflows.snapshots:import_snapshot",
    "list_cache": "workflows.database:list_cache",
    "list_snapshots": "workflows.snapshots:list_snapshots",
    "load": "workflows.load:load",
    "load_files": "workflows.load:load_files",
    "load_settings": "settings:load",
    "migrate": "workflows.reset:migrate",
    "open_aws": "workflows.face_service:open_aws",
    "plan_backfill": "workflows.backfill:plan_backfill",
    "plan_refresh": "workflows.refresh:plan_refresh",
    "plan_reset": "workflows.reset:plan_reset",
    "prepare": "workflows.prepare:prepare",
    "preview_masks": "workflows.refresh:preview_masks",
    "preview_load": "workflows.load:preview",
    "protect": "workflows.database:protect",
    "prune_cache": "workflows.database:prune_cache",
    "recognize": "workflows.faces:recognize",
    "refresh": "workflows.refresh:refresh",
    "rename_snapshot": "workflows.snapshots:rename_snapshot",
    "reset": "workflows.reset:reset",
    "restore_snapshot": "workflows.snapshots:restore_snapshot",
    "run_backfill": "workflows.backfill:run_backfill",
    "save_snapshot": "workflows.snapshots:save_snapshot",
    "seed": "workflows.seed:seed",
    "sync": "workflows.faces:sync",
    "unload": "workflows.load:unload",
    "unprotect": "workflows.database:unprotect",
    "waiting_faces": "workflows.backfill:waiting_faces",
}

__all__ = [
    "BackfillOptions",
    "FaceChoice",
    "Listener",
    "SeedtoolError",
    "Settings",
    "Target",
    "__version__",
    "adopt",
    "check_policy",
    "connect",
    "decide_faces",
    "dedupe_faces",
    "delete_snapshots",
    "draft_policy",
    "draft_recipe",
    "dump_seeds",
    "enroll",
    "enroll_all",
    "enroll_manifest",
    "examine",
    "export_snapshot",
    "faces_status",
    "find_target",
    "fingerprint",
    "guard_status",
    "import_snapshot",
    "list_cache",
    "list_snapshots",
    "load",
    "load_files",
    "load_settings",
    "migrate",
    "open_aws",
    "plan_backfill",
    "plan_refresh",
    "plan_reset",
    "prepare",
    "preview_load",
    "preview_masks",
    "protect",
    "prune_cache",
    "recognize",
    "refresh",
    "rename_snapshot",
    "reset",
    "restore_snapshot",
    "run_backfill",
    "save_snapshot",
    "seed",
    "sync",
    "unload",
    "unprotect",
    "waiting_faces",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has its own type, given above
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, member = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"seedtool.{module}"), member)


def __dir__() -> list[str]:
    return sorted(__all__)
