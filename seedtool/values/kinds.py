"""Kinds of values by their words: `kind("full_name", locale="es_CL", surnames=2)`.

This is the vocabulary of recipes and masks. docs/guides/recipes.md explains each word.
"""

from seedtool.values.version import WORDS as VERSION
from seedtool.values.word import WORDS, Context, Kind, Parameter, Word, kind, line
from seedtool.values.words import patterns, people, places

__all__ = ["VERSION", "WORDS", "Context", "Kind", "Parameter", "Word", "kind", "line", "patterns", "people", "places"]
