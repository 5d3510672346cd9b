"""sync-faces, enroll and recognize, and the door to AWS that other commands share."""

from seedtool.cli.faces.door import calls_line, collection_option, identity
from seedtool.cli.faces.enrolling import enroll
from seedtool.cli.faces.recognizing import recognize
from seedtool.cli.faces.syncing import show_sync_lines, sync_faces

__all__ = [
    "calls_line",
    "collection_option",
    "enroll",
    "identity",
    "recognize",
    "show_sync_lines",
    "sync_faces",
]
