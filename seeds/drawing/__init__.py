"""Draws the portraits of the seeds: a pen, what it can draw, and the face regions written into the files."""
