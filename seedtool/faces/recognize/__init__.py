"""Recognize: who is in a photo, by the collection and the database. It shows that the links hold after a reset."""

from seedtool.faces.recognize.people import SeenFace
from seedtool.faces.recognize.photo import RecognizeReport, recognize

__all__ = ["RecognizeReport", "SeenFace", "recognize"]
