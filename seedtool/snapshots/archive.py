"""Snapshots in files, for colleagues and for the caches of CI: pg_dump's custom format, as it is.

The description travels in the comment of the dumped database, which pg_restore shows with --create and leaves out
otherwise. A snapshot lets nobody in, pg_dump neither, so what is dumped is a clone of it. A dump is signed. Only what a
key of ours signed is handed to pg_restore, unless the user trusts the file as it is.
"""

import contextlib
import mmap
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql

from seedtool import extras
from seedtool.errors import BlockedError, SnapshotError, UsageError
from seedtool.files.signing import Archive, Keys, sign, trusted
from seedtool.files.writing import PRIVATE, NewFile
from seedtool.listener import SILENT, Listener
from seedtool.postgres import programs, server
from seedtool.postgres.cluster import Cluster, DatabaseFacts, fresh_name, open_cluster
from seedtool.postgres.programs import Programs
from seedtool.postgres.server import Target
from seedtool.resetting import clones, guard, templates
from seedtool.snapshots import plain, registry
from seedtool.snapshots.registry import Description, Snapshot, checked_name, read
from seedtool.snapshots.snapshots import look

#: What is signed with an exported snapshot: a template's dump of a cache is none.
_ABOUT = {"kind": "snapshot"}


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot was written to or read from which file, and the file's size in bytes."""

    snapshot: Snapshot
    file: str
    bytes: int


def export(
    target: Target, name: str, file: Path, keys: Keys, *, force: bool = False, listener: Listener = SILENT
) -> FileReport:
    """Write a snapshot to a file, readable by its owner alone: there are people's data in it.

    Args:
        target: whose snapshot it is.
        name: the snapshot's name.
        file: the file; it is there when it is complete.
        keys: ours; one of them signs it.
        force: overwrite it.
        listener: hears of the steps.

    Raises:
        UsageError: there is no such snapshot, or the file exists already.
        SnapshotError: it cannot be dumped or written.
        SettingsError: there is no key that may be used.
    """
    _refuse_existing(file, force=force)
    with open_cluster(target, listener) as cluster, _aside(cluster) as aside:
        tools = programs.fitting(cluster.version)[0]
        with cluster.lock(target.digest):
            templates.sweep(cluster, target.digest)
            snapshot = registry.require(cluster, name)
            facts = cluster.database(snapshot.database)
            assert facts is not None  # noqa: S101 - it was found just now, and the target's lock is held
            cluster.step("clone")
            clones.clone(cluster, facts, aside, facts)
            registry.describe(cluster, msgspec.structs.replace(snapshot, database=aside))
        with _new_file(file) as new:
            cluster.step("dump")
            done = programs.run(
                tools, "pg_dump", "--format=custom", f"--file={new.path}", target=target, database=aside,
                watch=lambda: listener.progress("bytes", new.path.stat().st_size),
            )  # fmt: skip
            if done.code:
                raise SnapshotError(
                    f"{snapshot.name} cannot be dumped: {programs.fault(done.errors)}",
                    remedy="Work as a role that may read every row of every table (BYPASSRLS where policies apply), or"
                    " as a superuser. Is there room on the disk?",
                    snapshot=snapshot.name,
                )
            sign(new.handle, keys, _ABOUT)
            cluster.step("rename file")
            _refuse_existing(file, force=force)
            new.put_in_place()
    return FileReport(snapshot=snapshot, file=str(file), bytes=file.stat().st_size)


def import_file(
    target: Target,
    file: Path,
    keys: Keys | None,
    name: str | None = None,
    *,
    replace: bool = False,
    listener: Listener = SILENT,
) -> FileReport:
    """Read a snapshot from a file that `export` or, where the user trusts the file, pg_dump wrote.

    What is in it belongs to the target's owner afterwards: the file's roles may not exist here.

    Args:
        target: whose snapshot it becomes; the target itself stays as it is, and need not exist.
        file: in pg_dump's custom, directory or tar format, or plain SQL, also in gzip or zstd.
        keys: ours; None reads the file whoever wrote it.
        name: the snapshot's name; None means the one in the file or, of a plain dump, the file's own.
        replace: take the place of a snapshot of the same name.
        listener: hears of the steps.

    Raises:
        NotTrusted: no key of ours signed the file.
        UsageError: there is a snapshot of this name already.
        SnapshotError: the file is no dump or a broken one, or does not fit the server; nothing is left of it.
    """
    with (
        trusted(file, keys, **_ABOUT) as archive,
        plain.opened(file, archive.path) as text,
        open_cluster(target, listener) as cluster,
    ):
        cluster.step("read")
        tools, described = (None, None) if text is not None else _read(cluster, file, archive)
        name = checked_name(name if name is not None else described.name if described else file.name.partition(".")[0])
        with cluster.lock(target.digest):
            templates.sweep(cluster, target.digest)
            if not replace:
                registry.refuse_taken(cluster, name, "Replace it with --replace, or choose another one with --name.")
        like = templates.of_target(cluster)
        with _aside(cluster) as aside:
            cluster.step("create")
            cluster.create(aside, "template0", like, strategy=clones.choose_for(cluster, 0))
            cluster.step("load")
            if tools is not None:
                _load(cluster, tools, file, archive, aside, like, described.size if described else None)
            elif text is not None:
                _run(cluster, file, text, aside, like)
            cluster.step("look")
            with server.connect(target, aside, autocommit=True) as connection:
                server.analyze(connection)  # a dump has no statistics
            revisions, size = look(cluster, aside)
            owner = cluster.kept(like).owner
            if owner != like.owner:
                change = sql.SQL("ALTER DATABASE {} OWNER TO {}")
                cluster.execute(change.format(sql.Identifier(aside), sql.Identifier(owner)))
            snapshot = Snapshot(
                name=name,
                target=target.name,
                created=described.created if described else datetime.now(UTC).isoformat(timespec="milliseconds"),
                revisions=revisions,
                branch=described.branch if described else None,
                commit=described.commit if described else None,
                note=described.note if described else None,
                size=size,
                database=registry.database_name(target, name),
                owner=owner,
            )
            cluster.step("lock")
            with cluster.lock(target.digest):
                registry.place(cluster, aside, snapshot, replace=replace)
    return FileReport(snapshot=snapshot, file=str(file), bytes=_bytes(file))


@contextlib.contextmanager
def _aside(cluster: Cluster) -> Iterator[str]:
    """Yield a private name for a database to work in, with its lock; whatever has it at the end is dropped."""
    digest = secrets.token_hex(10)
    name = fresh_name("building", digest)
    with cluster.lock(digest):  # a sweep leaves it alone as long as we live
        try:
            yield name
        finally:
            with contextlib.suppress(psycopg.Error, BlockedError):  # then the next command sweeps it
                cluster.drop(name)


def _read(cluster: Cluster, file: Path, archive: Archive) -> tuple[Programs, Description | None]:
    """Return the programs that can read a dump, and what it remembers."""
    complaint = ""
    for tools in programs.fitting(cluster.version):
        done = programs.run(
            tools, "pg_restore", "--create", "--schema-only", "--file=-", "--", archive.path,
            target=cluster.target, handles=archive.handles,
        )  # fmt: skip
        if done.code == 0:
            return tools, _description(done.out)
        complaint = programs.fault(done.errors)
        if "unsupported version" not in complaint:
            break
    raise SnapshotError(
        f"{file} cannot be read: {complaint}",
        remedy="Import a whole file that seedtool snapshot export or pg_dump -Fc wrote; what a newer pg_dump wrote"
        f" needs a newer pg_restore ({extras.command('embedded')} brings the newest).",
        file=str(file),
    )


def _description(statements: str) -> Description | None:
    doubled = "\nSET standard_conforming_strings = off;" in statements
    for comment in re.findall(r"^COMMENT ON DATABASE .* IS '(.*)';$", statements, flags=re.MULTILINE):
        text = comment.replace("''", "'")
        described = read(text.replace("\\\\", "\\") if doubled else text)
        if described is not None:
            return described
    return None


def _load(
    cluster: Cluster, tools: Programs, file: Path, archive: Archive, aside: str, like: DatabaseFacts, size: int | None
) -> None:
    """Restore a dump into an empty database, and let the listener hear how large it is, of `size` bytes.

    Raises:
        SnapshotError: it is broken, or something in it cannot be made here.
    """
    # PostgreSQL 17 and later set a parameter that older servers do not know; nothing else may fail
    tolerant = tools.major >= 17 > cluster.version // 10000
    options = ["--no-owner", "--no-privileges", "--no-tablespaces", "--no-subscriptions"]
    if not tolerant:
        options.append("--exit-on-error")
    if like.owner != cluster.user:
        options.append(f"--role={like.owner}")
    done = programs.run(
        tools, "pg_restore", *options, "--", archive.path,
        target=cluster.target, database=aside, handles=archive.handles,
        watch=lambda: cluster.listener.progress("bytes", cluster.size_of(aside), size or None),
    )  # fmt: skip
    errors = programs.complaints(done.errors) if tolerant else done.errors
    if done.code and (not tolerant or errors):
        raise SnapshotError(
            f"{file} cannot be restored: {programs.fault(errors)}",
            remedy="Is the file whole? Was it dumped from a newer PostgreSQL, or is an extension missing here?",
            file=str(file),
        )


def _run(cluster: Cluster, file: Path, text: mmap.mmap, aside: str, like: DatabaseFacts) -> None:
    """Run a dump in plain SQL in an empty database.

    Raises:
        SnapshotError: as `plain.load`.
    """
    with server.connect(cluster.target, aside, autocommit=True) as connection:
        if like.owner != cluster.user:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(like.owner)))
        plain.load(connection, file, text)
        if guard.holds_nothing(connection):
            raise SnapshotError(
                f"{file} makes nothing in a database", remedy="Import a whole file that pg_dump wrote.", file=str(file)
            )


def _refuse_existing(file: Path, *, force: bool) -> None:
    ordinary = file.is_file() or not file.exists()  # a folder, a device or a pipe is not overwritten
    if not ordinary or (os.path.lexists(file) and not force):
        raise UsageError(
            f"{file} exists already",
            remedy="Overwrite it with --force." if ordinary else "Choose another file.",
            file=str(file),
        )


@contextlib.contextmanager
def _new_file(file: Path) -> Iterator[NewFile]:
    """Yield a new file that its owner alone may read; it is removed unless it is put in place."""
    with contextlib.ExitStack() as stack:
        try:
            new = stack.enter_context(NewFile(file, mode=PRIVATE))
        except OSError as error:
            raise SnapshotError(
                f"{file} cannot be written: {error.strerror}",
                remedy="Name a file in a folder that you may write to.",
                file=str(file),
            ) from error
        yield new


def _bytes(file: Path) -> int:
    return sum(path.stat().st_size for path in ([file] if file.is_file() else file.iterdir()))
