"""Plays one scenario against AWS and against the stand-in, and compares what they answer."""
