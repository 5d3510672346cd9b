"""Every error that seedtool raises on purpose.

::

    SeedtoolError
    ├── SettingsError            a setting is wrong: names the key, the fault and where it came from
    ├── UsageError               an argument is wrong
    ├── Refused                  the guard says no
    │   ├── Protected            the target carries the protection mark
    │   └── NotConfirmed         the target would be lost and nobody agreed
    ├── DatabaseError            the server could not be reached or did not do as asked
    │   ├── ServerError          the embedded server could not be made, started or stopped
    │   ├── PoolerError          the connection goes through a pooler
    │   ├── MigrationError       a revision failed: names revision and file
    │   ├── BlockedError         a session that may not be ended stands in the way
    │   ├── SnapshotError        a snapshot cannot be written to a file or read from one
    │   └── SchemaError          a table or column that is needed is not there
    ├── SeedError                a profile, a fixture or a row cannot be loaded
    │   ├── ProfileError         profiles.toml or a seed set is wrong
    │   └── FixtureError         names file, line and column
    ├── SyncFailed               the rows are written, but their faces could not be linked
    ├── PhotoError               a photo could not be read, fetched or stored
    ├── ImageRefused             a picture cannot be enrolled or searched, and why
    └── AwsError                 an AWS service did not do as asked
        ├── CredentialsError     none, wrong or expired
        ├── AccessDenied         the credentials lack a permission
        ├── ResourceNotFound     the collection (or face, bucket, object) does not exist
        ├── InvalidRequest       the service refused the request as malformed
        ├── Throttled            over the quota, after all attempts
        └── ServiceUnavailable   no answer or an internal fault, after all attempts

The exit code belongs to the class. An error carries what went wrong and, apart from it, the remedy;
neither holds a credential or a person's name.
"""

from typing import ClassVar


class SeedtoolError(Exception):
    """The base of all errors that a user may meet.

    Args:
        message: what went wrong, in one sentence, naming the file, key, table or id.
        remedy: what to do about it; empty when there is nothing to say.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class SettingsError(SeedtoolError):
    """A setting has a wrong value, or two settings contradict each other."""

    exit_code = 2


class UsageError(SeedtoolError):
    """An argument is wrong in a way the command line parser could not see."""

    exit_code = 2


class Refused(SeedtoolError):
    """The guard refused: nothing was changed."""

    exit_code = 3


class Protected(Refused):
    """The target carries the protection mark; no flag overrides it."""


class NotConfirmed(Refused):
    """The target would be replaced or rows deleted, and the user did not agree."""


class DatabaseError(SeedtoolError):
    """The database could not be reached or a statement failed."""


class ServerError(DatabaseError):
    """The embedded server could not be made, started or stopped."""


class PoolerError(DatabaseError):
    """The connection goes through a connection pooler."""


class MigrationError(DatabaseError):
    """An Alembic revision failed or the migrations cannot be loaded."""


class BlockedError(DatabaseError):
    """A session or setting that this role may not touch stands in the way."""


class SnapshotError(DatabaseError):
    """A snapshot cannot be written to a file or read from one."""


class SchemaError(DatabaseError):
    """A table or a column that the work needs does not exist."""


class SeedError(SeedtoolError):
    """Seeding failed; nothing was written."""


class ProfileError(SeedError):
    """A profile or a seed set is wrong or missing."""


class FixtureError(SeedError):
    """A fixture holds something that cannot be loaded.

    Args:
        message: what is wrong, without the place.
        file: path of the fixture, relative to the project.
        line: line in the file, counted from 1; None when the whole file is meant.
        column: name of the column; None when the whole line is meant.
        remedy: what to do about it.
    """

    def __init__(
        self, message: str, *, file: str, line: int | None = None, column: str | None = None, remedy: str = ""
    ) -> None:
        place = file if line is None else f"{file}:{line}"
        if column is not None:
            place = f"{place}, column {column}"
        super().__init__(f"{place}: {message}", remedy=remedy)
        self.file = file
        self.line = line
        self.column = column


class SyncFailed(SeedtoolError):
    """The rows of a profile are written, but their faces could not be linked.

    Args:
        cause: why not.
        seeded: what became of the rows (`seedtool.seeding.report.SeedReport`).
        milliseconds: the time that the rows took.
    """

    def __init__(self, cause: SeedtoolError, seeded: object, milliseconds: float) -> None:
        super().__init__(cause.message, remedy=cause.remedy)
        self.cause = cause
        self.seeded = seeded
        self.milliseconds = milliseconds


class PhotoError(SeedtoolError):
    """A photo could not be read, fetched or stored."""


class ImageRefused(SeedtoolError):
    """A picture cannot be enrolled or searched: no face, several, too big, a wrong format."""


class AwsError(SeedtoolError):
    """An AWS service did not do as asked."""


class CredentialsError(AwsError):
    """No credentials, wrong ones, or expired ones."""


class AccessDenied(AwsError):
    """The credentials lack a permission."""


class ResourceNotFound(AwsError):
    """A collection, face, bucket or object does not exist."""


class InvalidRequest(AwsError):
    """The service refused the request as malformed or impossible."""


class Throttled(AwsError):
    """The service answered that we are over the quota, after all attempts."""


class ServiceUnavailable(AwsError):
    """The service did not answer or had an internal fault, after all attempts."""
