"""Enroll: photos are uploaded, indexed under predictable ids, and their rows written. Nothing half-done stays.

`student` adds photos to a student, `students` those of a manifest to many, `rows` indexes every photo that a row
names; `photo` is what all do with one, `flight` with many at once.
"""

from seedtool.faces.enroll.manifest import enroll_manifest
from seedtool.faces.enroll.photo import EnrollReport, PhotoResult
from seedtool.faces.enroll.rows import enroll_all
from seedtool.faces.enroll.student import enroll

__all__ = ["EnrollReport", "PhotoResult", "enroll", "enroll_all", "enroll_manifest"]
