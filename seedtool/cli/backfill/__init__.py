"""backfill: what it would do and cost, the run with its line, and what it did."""

from seedtool.cli.backfill.command import backfill

__all__ = ["backfill"]
