"""Every error that seedtool raises on purpose.

::

    SeedtoolError
    ├── SettingsError            a setting is wrong: names the key, the fault and where it came from
    ├── UsageError               an argument is wrong
    │   └── MissingExtra         a package that only some commands need is not installed: names its extra
    ├── Refused                  the guard does not allow it
    │   ├── Protected            the target has the protection mark
    │   ├── NotConfirmed         data would be lost, and the user did not confirm
    │   └── NotTrusted           a file holds SQL that a server would run, and no key of ours signed it
    ├── DatabaseError            the server cannot be reached, or a statement failed
    │   ├── ServerError          the embedded server cannot be made, started or stopped
    │   ├── PoolerError          the connection goes through a pooler
    │   ├── MigrationError       a revision failed: names revision and file
    │   ├── BlockedError         a session is in the way and may not be ended
    │   ├── SnapshotError        a snapshot cannot be written to a file or read from one
    │   └── SchemaError          a table or a column is missing
    ├── SeedError                a profile, a fixture or a row cannot be loaded
    │   ├── ProfileError         profiles.toml or a seed set is wrong
    │   ├── RecipeError          a recipe of generated rows is wrong: names file, line and character
    │   ├── LoadInterrupted      a load of generated rows stopped on the way: it can be resumed or undone
    │   └── FixtureError         names file, line and column
    ├── RefreshError             a masked copy cannot be made; the target is as it was
    │   ├── PolicyError          the policy is wrong, or does not fit the source: names file, line and character
    │   ├── SourceError          the source cannot be read as a masked copy needs it
    │   └── ProofFailed          the copy holds what must not be in it: names tables and columns, never a value
    ├── SyncFailed               the rows are in place, but their faces cannot be indexed or linked
    ├── PhotoError               a photo cannot be read, fetched or stored
    │   └── PhotoUnreachable     its host did not answer, or had a fault of its own
    ├── ImageRefused             a picture cannot be enrolled or searched, and why
    └── AwsError                 a call of an AWS service failed
        ├── CredentialsError     there are no credentials, or wrong or expired ones
        ├── AccessDenied         the credentials lack a permission
        ├── ResourceNotFound     the collection (or face, bucket, object) does not exist
        ├── InvalidRequest       the service refused the request as malformed
        ├── Throttled            too many calls for the quota, after all attempts
        └── ServiceUnavailable   no answer or an internal fault, after all attempts

Each class has its exit code. An error has a message (what went wrong), a place (where) and a remedy (what to do). None
of them holds a credential or a person's name.
"""

from collections.abc import Sequence
from typing import ClassVar, TypedDict, Unpack, cast


class Place(TypedDict, total=False):
    """Where an error is. Programs read it; for people the message says the same."""

    setting: str | None  # the name of a setting of seedtool
    origin: str | None  # where that setting was given: a file, an environment variable, the command line
    option: str | None  # a flag or an argument of the command
    file: str | None  # a path, as messages show it
    line: int | None  # from 1
    character: int | None  # where in the line, from 1
    profile: str | None  # a profile of profiles.toml
    key: str | None  # a key of a profile, of a face binding, or of another table of settings
    database: str | None
    snapshot: str | None
    table: str | None
    column: str | None
    revision: str | None  # Alembic's
    operation: str | None  # IAM's name of an AWS operation: rekognition:ListFaces
    code: str | None  # the error code of AWS, or PostgreSQL's SQLSTATE


class SeedtoolError(Exception):
    """The base of all errors that a user may meet.

    Args:
        message: what went wrong, in one sentence, naming the file, key, table or id.
        remedy: what to do; empty when nothing can be done.
        place: where it is wrong; what is None is left out.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "", **place: Unpack[Place]) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.place = cast("Place", {key: value for key, value in place.items() if value is not None})


class SettingsError(SeedtoolError):
    """A setting has a wrong value, or two settings contradict each other.

    Attributes:
        path: where in the setting's value the fault is: keys, and numbers from 0.
    """

    exit_code = 2
    path: tuple[str | int, ...] = ()


class UsageError(SeedtoolError):
    """An argument is wrong in a way that the parser of the command line cannot see."""

    exit_code = 2


class MissingExtra(UsageError):
    """A package that only some commands need is not installed. The remedy is the command that installs it."""


class Refused(SeedtoolError):
    """The guard refused: nothing was changed."""

    exit_code = 3


class Protected(Refused):
    """The target has the protection mark. No flag overrides it."""


class NotConfirmed(Refused):
    """Data would be replaced or deleted, and the user did not confirm it."""


class NotTrusted(Refused):
    """A file holds SQL that a server would run, and no key of ours signed it."""


class DatabaseError(SeedtoolError):
    """The server cannot be reached, or a statement failed."""


class ServerError(DatabaseError):
    """The embedded server cannot be made, started or stopped."""


class PoolerError(DatabaseError):
    """The connection goes through a connection pooler."""


class MigrationError(DatabaseError):
    """An Alembic revision failed or the migrations cannot be loaded."""


class BlockedError(DatabaseError):
    """A session or a setting is in the way, and this role may not change it."""


class SnapshotError(DatabaseError):
    """A snapshot cannot be written to a file or read from one."""


class SchemaError(DatabaseError):
    """A table or a column that is needed does not exist."""


class SeedError(SeedtoolError):
    """Seeding failed; nothing was written."""


class ProfileError(SeedError):
    """A profile or a seed set is wrong or missing."""


class RecipeError(SeedError):
    """A recipe cannot be read, does not fit the database, or makes rows that the database refuses."""


class LoadInterrupted(SeedError):
    """A load of generated rows stopped on the way. The ledger knows what is there: it can be resumed or undone."""


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
        super().__init__(f"{place}: {message}", remedy=remedy, file=file, line=line, column=column)
        self.file = file
        self.line = line
        self.column = column


class RefreshError(SeedtoolError):
    """A masked copy cannot be made. The target is as it was.

    Args:
        message: what went wrong.
        remedy: what to do.
        findings: all that is wrong, each with its place and remedy, where several things were looked for at once.
        place: where it is wrong.
    """

    def __init__(
        self, message: str, *, remedy: str = "", findings: Sequence[object] = (), **place: Unpack[Place]
    ) -> None:
        super().__init__(message, remedy=remedy, **place)
        self.findings = tuple(findings)


class PolicyError(RefreshError):
    """The policy is wrong, or does not fit the source."""


class SourceError(RefreshError):
    """The source cannot be read as a masked copy needs it."""


class ProofFailed(RefreshError):
    """The copy holds what must not be in it, or lacks what must. It is dropped."""


class SyncFailed(SeedtoolError):
    """The rows of a profile or of a masked copy are in place, but their faces could not be indexed or linked.

    Args:
        cause: why not.
        seeded: what became of the rows: a `seedtool.seeding.report.SeedReport`, or what `seedtool.refresh` returns.
        milliseconds: the time that the rows took.
        remedy: what to do, where that is more than the cause says.
    """

    def __init__(self, cause: SeedtoolError, seeded: object, milliseconds: float, *, remedy: str = "") -> None:
        super().__init__(cause.message, remedy=remedy or cause.remedy)
        self.place = cause.place
        self.cause = cause
        self.seeded = seeded
        self.milliseconds = milliseconds


class PhotoError(SeedtoolError):
    """A photo cannot be read, fetched or stored."""


class PhotoUnreachable(PhotoError):
    """The photo's host did not answer, or answered with a fault of its own. It may be there later."""


class ImageRefused(SeedtoolError):
    """A picture cannot be enrolled or searched: no face, several, too big, a wrong format."""


class AwsError(SeedtoolError):
    """A call of an AWS service failed."""


class CredentialsError(AwsError):
    """No credentials, wrong ones, or expired ones."""


class AccessDenied(AwsError):
    """The credentials lack a permission."""


class ResourceNotFound(AwsError):
    """A collection, face, bucket or object does not exist."""


class InvalidRequest(AwsError):
    """The service refused the request as malformed or impossible."""


class Throttled(AwsError):
    """The service answered that there are too many calls for the quota, after all attempts."""


class ServiceUnavailable(AwsError):
    """The service did not answer, or had an internal fault, after all attempts."""
