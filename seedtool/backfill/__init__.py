"""The backfill: every photo that was uploaded before the collections existed, indexed once and decided about in order.

`run` is the story. `plan`, `counts` and `listing` tell beforehand what it would do.
"""

from seedtool.backfill.reporting.plan import Options, Plan, counts, listing, plan
from seedtool.backfill.reporting.report import Progress, Report
from seedtool.backfill.run import run, run_by

__all__ = ["Options", "Plan", "Progress", "Report", "counts", "listing", "plan", "run", "run_by"]
