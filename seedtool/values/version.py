"""The versions of the vocabulary. They stand apart, so that a reset knows them without numpy."""

#: Raised whenever a word makes other values than before.
WORDS = 1
#: Raised whenever a file of `locales/` changes.
POOLS = 1
#: Raised whenever inference, keys or references make other values of the same recipe.
PLANS = 2


def vocabulary() -> str:
    """Return what made the values: an upgrade that changes some says so."""
    return f"{WORDS}.{POOLS}.{PLANS}"
