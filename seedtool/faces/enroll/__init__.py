"""Enroll: photos are uploaded and indexed under ids that we choose, and their rows written. No half of a photo stays.

`person` adds photos to one person, `manifest` those of a csv to many people, `rows` indexes every photo that a row
names. `photo` is about one photo, `running` about many at one time, `replaced` finds photos that have changed.
"""

from seedtool.faces.enroll.manifest import enroll_manifest
from seedtool.faces.enroll.person import enroll
from seedtool.faces.enroll.photo import EnrollReport, PhotoResult
from seedtool.faces.enroll.rows import enroll_all

__all__ = ["EnrollReport", "PhotoResult", "enroll", "enroll_all", "enroll_manifest"]
