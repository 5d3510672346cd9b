"""Enroll: photos are uploaded, indexed under predictable ids, and their rows written. Nothing half-done stays.

`student` adds photos to a student, `rows` indexes every photo that a row names, `photo` is what both do with one.
"""

from seedtool.faces.enroll.photo import EnrollReport, PhotoResult
from seedtool.faces.enroll.rows import enroll_all
from seedtool.faces.enroll.student import enroll

__all__ = ["EnrollReport", "PhotoResult", "enroll", "enroll_all"]
