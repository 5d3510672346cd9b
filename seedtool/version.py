"""The version of this package, for those modules that may not import its face."""

VERSION = "0.1.0"
