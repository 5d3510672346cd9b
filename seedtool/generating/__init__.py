"""Generating: the layer of rows that recipes describe."""
