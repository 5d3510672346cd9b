"""Snapshots: named copies of the database, kept on its server and in files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seedtool.errors import NotConfirmed
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.settings import Settings
from seedtool.snapshots import registry, snapshots
from seedtool.snapshots.registry import Snapshot
from seedtool.snapshots.snapshots import RestorePlan, RestoreReport, SaveReport
from seedtool.workflows.project import archive_keys, project_settings

if TYPE_CHECKING:
    from seedtool.snapshots.archive import FileReport


def save_snapshot(
    name: str | None = None,
    *,
    note: str | None = None,
    replace: bool = False,
    settings: Settings | None = None,
    target: Target | None = None,
    listener: Listener = SILENT,
) -> SaveReport:
    """Save the database as it is now. Sessions on it are ended, for PostgreSQL copies no database in use.

    Args:
        name: the snapshot's name; the git branch's name and the time when None.
        note: what is in it.
        replace: take the place of a snapshot of the same name.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        listener: hears of the steps.

    Raises:
        UsageError: the name or the note cannot be one, or there is a snapshot of this name.
        Protected: the database carries the protection mark, and somebody is connected to it.
        BlockedError: a session may not be ended.
        DatabaseError: the database does not exist.

    Example:
        >>> seedtool.save_snapshot("before", note="64 faces").snapshot.name
        'before'
    """
    settings = project_settings(settings)
    target = target or server.find(settings)
    return snapshots.save(settings, target, name, note=note, replace=replace, listener=listener)


def restore_snapshot(
    name: str,
    *,
    yes: bool = False,
    confirm: str | None = None,
    agree: Callable[[RestorePlan], Consent] | None = None,
    then: Path | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    listener: Listener = SILENT,
) -> RestoreReport:
    """Put a snapshot in the database's place; the snapshot itself stays.

    Args:
        name: the snapshot's name.
        yes: agree that a database which seedtool made is replaced, and that the code here may be older or newer.
        confirm: the database's name: agree that it is replaced, whoever made it.
        then: a file of SQL that runs in the copy before it takes the database's place, such as one that removes what
            a developer must not see.
        agree: returns what is agreed to, given what would be done; it takes the place of `yes` and `confirm`.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        listener: hears of the steps.

    Raises:
        UsageError: there is no such snapshot.
        Protected, NotConfirmed: the guard refuses, or the snapshot is at a revision that the code here does not know;
            nothing was changed.
        BlockedError: the database cannot be freed; nothing was changed.
        SnapshotError: the file of SQL fails; nothing was changed.

    Example:
        >>> seedtool.restore_snapshot("kept", yes=True).replaced
        True
    """
    settings = project_settings(settings)
    database = target or server.find(settings)

    def by_arguments(plan: RestorePlan) -> Consent:
        consent = guard.given(database, yes=yes, confirm=confirm)
        if plan.unknown_revisions and consent is Consent.NONE:
            raise NotConfirmed(unknown_fault(plan), remedy="Check out the code it was saved with, or agree with --yes.")
        return consent

    return snapshots.restore(settings, database, name, agree or by_arguments, then=then, listener=listener)


def unknown_fault(plan: RestorePlan) -> str:
    """Say that the snapshot is at revisions which the code here does not know."""
    revisions = ", ".join(plan.unknown_revisions)
    return f"{plan.snapshot.name} is at revision {revisions}, which the migrations here do not know"


def list_snapshots(*, settings: Settings | None = None, target: Target | None = None) -> list[Snapshot]:
    """Return the database's snapshots, the newest first.

    Args:
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Example:
        >>> [(each.name, each.note) for each in seedtool.list_snapshots()]
        [('before', '64 faces')]
    """
    return registry.snapshots(target or server.find(project_settings(settings)))


def rename_snapshot(
    name: str, new_name: str, *, settings: Settings | None = None, target: Target | None = None
) -> Snapshot:
    """Give a snapshot another name, and return it.

    Raises:
        UsageError: there is none of this name, or one of the new name already.

    Example:
        >>> seedtool.rename_snapshot("before", "kept").name
        'kept'
    """
    return registry.rename(target or server.find(project_settings(settings)), name, new_name)


def delete_snapshots(
    names: Sequence[str], *, settings: Settings | None = None, target: Target | None = None
) -> list[Snapshot]:
    """Delete snapshots, all or none, and return what they were.

    Raises:
        UsageError: there is none of one of these names.

    Example:
        >>> [each.name for each in seedtool.delete_snapshots(["kept", "copy"])]
        ['kept', 'copy']
    """
    return registry.delete(target or server.find(project_settings(settings)), list(names))


def export_snapshot(
    name: str,
    file: Path,
    *,
    force: bool = False,
    settings: Settings | None = None,
    target: Target | None = None,
    listener: Listener = SILENT,
) -> "FileReport":
    """Write a snapshot to a signed file of pg_dump's custom format, for its owner alone.

    Raises:
        UsageError: there is no such snapshot, or the file exists and `force` is not given.
        SnapshotError: it cannot be dumped or written.

    Example:
        >>> from pathlib import Path
        >>> seedtool.export_snapshot("kept", Path("kept.dump")).bytes > 0
        True
    """
    from seedtool.snapshots import archive

    settings = project_settings(settings)
    target = target or server.find(settings)
    return archive.export(target, name, file, archive_keys(settings), force=force, listener=listener)


def import_snapshot(
    file: Path,
    name: str | None = None,
    *,
    replace: bool = False,
    trust_file: bool = False,
    settings: Settings | None = None,
    target: Target | None = None,
    listener: Listener = SILENT,
) -> "FileReport":
    """Read a snapshot from a file; the database itself stays as it is.

    Args:
        file: in pg_dump's custom, directory or tar format, or plain SQL, also in gzip or zstd.
        name: the snapshot's name; the one in the file, or the file's own, when None.
        replace: take the place of a snapshot of the same name.
        trust_file: read a file that no key of ours signed: what is in it runs on the server with our rights.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        listener: hears of the steps.

    Raises:
        NotTrusted: no key of ours signed the file.
        UsageError: there is a snapshot of this name.
        SnapshotError: the file is no dump, is broken, or does not fit the server; nothing is left of it.

    Example:
        >>> from pathlib import Path
        >>> seedtool.import_snapshot(Path("kept.dump"), "copy").snapshot.name
        'copy'
    """
    from seedtool.snapshots import archive

    settings = project_settings(settings)
    target = target or server.find(settings)
    keys = None if trust_file else archive_keys(settings)
    return archive.import_file(target, file, keys, name, replace=replace, listener=listener)
