"""The backfill: every photo that was uploaded before the collections existed is indexed once, in order.

`Run` is the story; `run.py` tells it. `plan`, `counts` and `listing` say beforehand what a run would do.
"""

from seedtool.backfill.plan import Options, Plan, counts, listing, plan
from seedtool.backfill.processing import FaceProcessor, Processor
from seedtool.backfill.queries import LibraryConnection, connect
from seedtool.backfill.report import Progress, Report
from seedtool.backfill.run import Run

__all__ = [
    "FaceProcessor",
    "LibraryConnection",
    "Options",
    "Plan",
    "Processor",
    "Progress",
    "Report",
    "Run",
    "connect",
    "counts",
    "listing",
    "plan",
]
