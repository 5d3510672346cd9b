"""The versions of the vocabulary. They stand apart, so that a reset knows them without numpy."""

#: Raised whenever a word makes other values than before.
WORDS = 1
#: Raised whenever a file of `locales/` changes.
POOLS = 1
