"""The address of a test's database: a text that hides its password where pytest shows it."""

from seedtool.settings import redacted


class Address(str):
    """A URL. Programs get it whole; its `repr`, which reports and tracebacks show, has `***` for the password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redacted(str(self)))
