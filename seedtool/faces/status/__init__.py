"""Status: how far database, collection and photo store have drifted apart, and what to run. Nothing is changed."""

from seedtool.faces.status.drift import StatusReport, status
from seedtool.faces.status.findings import CollectionStatus, Finding

__all__ = ["CollectionStatus", "Finding", "StatusReport", "status"]
