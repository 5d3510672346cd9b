"""Who is in a picture, as far as a stand-in can tell.

Names written into the picture as MWG face regions are believed. Without regions, a picture that is not
uniform has one central face, known by what the picture looks like: a re-encoded or resized copy is
recognised, another picture is not. This proves plumbing, not recognition.
"""

from seedtool.emulator.vision.faces import SeenFace, look, select

__all__ = ["SeenFace", "look", "select"]
