"""Draws the photos of the seeds and writes the face regions in their metadata."""
