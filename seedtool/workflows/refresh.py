"""Refreshing staging from production: a masked copy is made, proven and swapped in; and what is looked at before."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from seedtool import extras
from seedtool.errors import (
    PhotoError,
    ProofFailed,
    ResourceNotFound,
    SeedtoolError,
    SettingsError,
    SyncFailed,
    UsageError,
)
from seedtool.files.writing import write_whole
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, open_cluster
from seedtool.refreshing import check as checking
from seedtool.refreshing.policy import read_policy, script
from seedtool.refreshing.report import Report
from seedtool.resetting import guard
from seedtool.settings.database import check_url
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from seedtool.faces.sync import SyncReport
    from seedtool.postgres.catalog import Column
    from seedtool.postgres.server import Target
    from seedtool.refreshing.check import Finding, Shape
    from seedtool.refreshing.masks import Mask
    from seedtool.refreshing.policy import ColumnLine, Policy, TableName
    from seedtool.refreshing.preview import ColumnPreview
    from seedtool.refreshing.reindexing import Chosen
    from seedtool.refreshing.report import TableReport
    from seedtool.refreshing.source import Source
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.layers import Layer
    from seedtool.resetting.reset import ResetReport
    from seedtool.settings import Settings


#: The name of the snapshot that `keep_old` makes; the next refresh replaces it.
OLD = "before-refresh"


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    Args:
        policy: the policy's path.
        policy_hash: the SHA-256 of its bytes.
        source: the database that it was compared with.
        tables: how many tables have rows of their own.
        columns: how many columns these have.
        findings: all in which the policy does not fit, or that is missing; none where it fits.
        notes: what a person has to know.
    """

    policy: str
    policy_hash: str
    source: str
    tables: int
    columns: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


class RefreshPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh would do.

    Args:
        database: the target.
        source: where the rows come from.
        consent: what has to be agreed to.
        exists: the target is there.
        policy: the policy's path.
        policy_hash: the SHA-256 of its bytes.
        key: the id of the masks' key.
        faces: what becomes of biometric references.
        tables: what would become of each table, with about how many rows, bytes and seconds.
        seconds: about how long the copy would take.
        notes: what a person has to know.
    """

    database: str
    source: str
    consent: Consent
    exists: bool
    policy: str
    policy_hash: str
    key: str
    faces: str
    tables: tuple[TableReport, ...]
    seconds: float
    notes: tuple[str, ...]


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh did.

    Args:
        report: what became of production's rows, and what the proof found.
        reset: how the target was replaced.
        sync: which faces of the copy's own collections were linked; None where the project binds none, where faces are
            shared, or where the collections cannot be asked.
        page: the page of the report.
        file: the same as JSON.
    """

    report: Report
    reset: ResetReport
    sync: SyncReport | None = None
    page: str
    file: str


class _Ready(NamedTuple):
    """A source that was looked at, with a policy that fits."""

    source: Source
    shape: Shape
    masks: dict[tuple[TableName, str], Mask]
    notes: tuple[str, ...]


def refresh(
    *,
    source: str | None = None,
    policy: Path | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    yes: bool = False,
    confirm: str | None = None,
    reuse: bool = False,
    listener: Listener = SILENT,
) -> Refreshed:
    """Replace the database by a masked copy of another one, which was proven to hold nothing personal.

    Args:
        source: the address of the database that is copied; the setting's when None. It is only read.
        policy: what becomes of each column; the setting's file when None.
        settings: the project's; those of the working folder's project when None.
        target: the database that is replaced; the one that the settings name when None.
        yes: agree that a database which seedtool made is replaced.
        confirm: the database's name: agree that it is replaced, whoever made it.
        reuse: use the last proven copy of the same policy and key once more. The source is not asked.
        listener: hears of the steps.

    Raises:
        Refused: the guard refuses, or source and target are one database; nothing was changed.
        PolicyError, SourceError: policy and source do not fit, or something is missing; no row was read.
        ProofFailed: the copy holds what must not be in it. It is dropped, and the target is as it was.
        DatabaseError: the source was lost, or the copy cannot be made; the target is as it was.
        SyncFailed: the copy is in place and proven, and its faces could not be indexed or linked.

    Example:
        >>> staging = seedtool.find_target(seedtool.load_settings()).at("staging")
        >>> seedtool.refresh(target=staging).report.outcome
        'refreshed'
    """
    settings = project_settings(settings)
    target = target or server.find(settings)
    consent = guard.given(target, yes=yes, confirm=confirm)
    return refresh_agreed(
        settings, target, source=source, policy=policy, consent=consent, reuse=reuse, listener=listener
    )


def refresh_agreed(
    settings: Settings,
    target: Target,
    *,
    source: str | None = None,
    policy: Path | None = None,
    consent: Consent,
    reuse: bool = False,
    listener: Listener = SILENT,
) -> Refreshed:
    """Do what `refresh` does, with a consent that was given before."""
    from seedtool.refreshing import preflight
    from seedtool.refreshing.source import kept_alive

    key = _secret(settings)
    read = _policy(settings, policy)
    target = kept_alive(target)
    if reuse:
        return _reuse(settings, target, read, key, consent, listener)
    with _opened(settings, source) as opened, open_cluster(target, project=settings.root.name) as cluster:
        _refuse(opened, cluster, consent)
        ready = _ready(opened, cluster, read, settings, key)
        for note in ready.notes:
            listener.note(note)
        held = list(preflight.reserved(opened, ready.shape, read, ready.masks))
        if held:
            raise preflight.refusal(held)
        return _run(settings, target, read, key, ready, consent, listener)


def _run(
    settings: Settings, target: Target, policy: Policy, key: bytes, ready: _Ready, consent: Consent, listener: Listener
) -> Refreshed:
    from seedtool.refreshing.layer import Job, MaskedCopy

    report = Report(
        database=str(target),
        source=str(ready.source.target),
        outcome="refreshed",
        began=datetime.now(UTC).isoformat(timespec="milliseconds"),
        by=_by(),
        policy=policy.file,
        policy_hash=policy.hash,
        key=key_id(key),
        faces=policy.faces,
        notes=ready.notes,
    )
    layer = MaskedCopy(
        Job(ready.source, ready.shape, policy, ready.masks, key_id(key), settings, report, target), listener
    )
    try:
        done = _replaced(settings, target, layer, consent, listener)
    except ProofFailed:
        _written(settings, layer.report)
        raise
    report, failed = layer.report, None
    if layer.photos:
        listener.step("reindex")
        try:
            notes = _reindex(settings, target, layer.photos, listener)
        except SeedtoolError as error:
            failed, notes = error, [f"the photos are not indexed: {error.message}"]
        for note in notes:
            listener.note(note)
        report = msgspec.structs.replace(report, notes=(*report.notes, *notes))
    return _finished(settings, target, report, done, listener, failed)


def _reindex(settings: Settings, target: Target, chosen: list[Chosen], listener: Listener) -> list[str]:
    """Copy the photos that the policy names, and index them in the copy's own collection; returns what was done."""
    from psycopg import sql

    from seedtool.faces.enroll import enroll_all
    from seedtool.faces.photos import store
    from seedtool.refreshing import reindexing
    from seedtool.workflows.face_service import open_aws

    binding = reindexing.binding_of(settings)
    aws = open_aws(settings)
    own = store(settings, aws)
    origin = store(msgspec.structs.replace(settings, photos_url=settings.refresh_photos), aws)
    reindexing.refuse_one_store(origin, own, chosen)
    notes = reindexing.copy_photos(chosen, origin, own, listener)
    ids = sql.SQL(", ").join(sql.Literal(each.external_image_id) for each in chosen)
    only = sql.SQL("{} IN ({})").format(sql.Identifier(binding.external_image_id), ids).as_string(None)
    where = only if binding.where is None else f"({binding.where}) AND {only}"
    narrowed = msgspec.structs.replace(settings, faces=(msgspec.structs.replace(binding, where=where),))
    with server.connect(target) as connection:
        done = enroll_all(connection, narrowed, aws, own, listener=listener)
    enrolled = sum(each.outcome == "enrolled" for each in done.photos)
    told = f"{enrolled} of {len(chosen)} photos were indexed in the copy's own collection"
    if not done.ok:
        raise PhotoError(
            "; ".join([told, *notes, *(f"{each.photo}: {each.reason}" for each in done.failures)][:5]),
            remedy="seedtool enroll --all tries the others again.",
        )
    return [*notes, told]


def _finished(
    settings: Settings,
    target: Target,
    report: Report,
    done: ResetReport,
    listener: Listener,
    failed: SeedtoolError | None = None,
) -> Refreshed:
    """Link the faces of the copy's own collections, and write the report.

    Args:
        settings: the project's.
        target: the copy, in place.
        report: what was done.
        done: how the target was replaced.
        listener: hears of the steps.
        failed: why the photos could not be indexed, where they could not.

    Raises:
        SyncFailed: the faces could not be indexed or linked. The report tells it, too.
    """
    sync = None
    if settings.faces and report.faces != "share":
        from seedtool.workflows.faces import sync as link

        listener.step("sync")
        try:
            sync = link(settings=settings, target=target, listener=listener)
        except SeedtoolError as error:
            note = f"no face is linked: {error.message}"
            if isinstance(error, ResourceNotFound):
                note = "no face is linked yet: the copy's collection does not exist (seedtool enroll --all makes it)"
            elif failed is None:
                failed = error
            listener.note(note)
            report = msgspec.structs.replace(report, notes=(*report.notes, note))
    page, file = _written(settings, report)
    refreshed = Refreshed(report=report, reset=done, sync=sync, page=str(page), file=str(file))
    if failed is not None:
        again = "The copy is in place, and proven: seedtool sync-faces links what its collections hold."
        remedy = f"{failed.remedy} {again}".strip()
        raise SyncFailed(failed, refreshed, sum(done.milliseconds.values()), remedy=remedy) from failed
    return refreshed


def _replaced(settings: Settings, target: Target, layer: Layer, consent: Consent, listener: Listener) -> ResetReport:
    from seedtool.resetting.reset import reset

    once = msgspec.structs.replace(settings, spares=0)  # the next refresh makes another copy: a spare of this is no use
    keep = None
    if settings.refresh.keep_old:
        from seedtool.snapshots.snapshots import kept

        keep = kept(OLD, note="as it was before the last refresh")
    return reset(once, target, [layer], consent=consent, keep=keep, listener=listener)


def _reuse(
    settings: Settings, target: Target, policy: Policy, key: bytes, consent: Consent, listener: Listener
) -> Refreshed:
    from seedtool.refreshing.layer import ProvenCopy
    from seedtool.resetting import notes

    with open_cluster(target, project=settings.root.name) as cluster:
        found = []
        for each in cluster.private_databases("template"):
            facts = cluster.database(each.name)
            note = notes.read(facts) if facts is not None and cluster.trusts(facts) else None
            if note is None or note.result.get("policy") != policy.hash or note.result.get("key") != key_id(key):
                continue
            if note.result.get("proof", "words") in {"words", settings.refresh.proof}:
                found.append(note)
    if not found:
        raise UsageError(
            f"there is no proven copy by {policy.file} and this key to use once more",
            remedy="Run seedtool refresh without --reuse.",
            option="--reuse",
        )
    last = max(found, key=lambda note: note.made)
    done = _replaced(settings, target, ProvenCopy(last.result, last.purpose), consent, listener)
    from seedtool.refreshing import audit

    text = audit.records(target)[-1][-1]
    report = msgspec.structs.replace(msgspec.convert(text, Report), outcome="reused")
    return _finished(settings, target, report, done, listener)


def plan_refresh(
    *,
    source: str | None = None,
    policy: Path | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
) -> RefreshPlan:
    """Look at what `refresh` would do with the same arguments; no row is read and nothing changed.

    Raises:
        Refused: the target is protected, or is the source itself.
        PolicyError, SourceError: policy and source do not fit, or something is missing.

    Example:
        >>> staging = seedtool.find_target(seedtool.load_settings()).at("staging")
        >>> len(seedtool.plan_refresh(target=staging).tables)
        20
    """
    from seedtool.refreshing.report import table_reports, total

    settings = project_settings(settings)
    target = target or server.find(settings)
    key = _secret(settings)
    read = _policy(settings, policy)
    with _opened(settings, source) as opened, open_cluster(target, project=settings.root.name) as cluster:
        consent = _refuse(opened, cluster, None)
        ready = _ready(opened, cluster, read, settings, key)
        tables = table_reports(ready.shape, read, None)
        return RefreshPlan(
            database=str(target),
            source=str(opened.target),
            consent=consent,
            exists=cluster.database(target.name) is not None,
            policy=read.file,
            policy_hash=read.hash,
            key=key_id(key),
            faces=read.faces,
            tables=tuple(tables),
            seconds=round(total(tables)[2], 1),
            notes=ready.notes,
        )


def check_policy(*, source: str | None = None, policy: Path | None = None, settings: Settings | None = None) -> Checked:
    """Compare the policy with the source's schema and privileges. No row is read, and no target needed.

    Args:
        source: the address of the database; the setting's when None.
        policy: the policy; the setting's file when None.
        settings: the project's; those of the working folder's project when None.

    Raises:
        PolicyError: the policy cannot be read.
        DatabaseError: the source cannot be reached.

    Example:
        >>> seedtool.check_policy().findings
        ()
    """
    from seedtool.refreshing import preflight

    settings = project_settings(settings)
    read = _policy(settings, policy)
    with _opened(settings, source) as opened:
        shape = checking.read_shape(opened.holder, opened.catalog, opened.relations)
        # any key will do: which masks fit depends on none
        with opened.session() as trying:
            found = checking.check(shape, read, _masks(b"a key that masks nothing" * 2, read), trying)
        findings = (*found.findings, *preflight.of_source(opened, read))
        tables = shape.tables
        return Checked(
            policy=read.file,
            policy_hash=read.hash,
            source=str(opened.target),
            tables=len(tables),
            columns=sum(len(table.columns) for table in tables),
            findings=findings,
            notes=tuple(preflight.left_behind(opened)),
        )


def draft_policy(*, source: str | None = None, settings: Settings | None = None) -> str:
    """Draft a policy for a database, from its schema and a look at sampled values that stay in memory.

    Args:
        source: the address of the database; the setting's when None.
        settings: the project's; those of the working folder's project when None.

    Returns:
        The policy's text.

    Raises:
        DatabaseError: the source cannot be reached or read.

    Example:
        >>> '"decide"' in seedtool.draft_policy()
        True
    """
    from seedtool.refreshing.scan import draft

    settings = project_settings(settings)
    with _opened(settings, source) as opened:
        return draft(opened, checking.read_shape(opened.holder, opened.catalog, opened.relations), settings.faces)


def preview_masks(
    *, source: str | None = None, policy: Path | None = None, settings: Settings | None = None
) -> list[ColumnPreview]:
    """Return shapes of values before and after their masks, of some rows of each table. No value is returned.

    Args:
        source: the address of the database; the setting's when None.
        policy: the policy; the setting's file when None.
        settings: the project's; those of the working folder's project when None.

    Raises:
        PolicyError: the policy does not fit the source; no row was read.

    Example:
        >>> {each.mask for each in seedtool.preview_masks() if each.column == "email"}
        {'email'}
    """
    from seedtool.refreshing import preview as previewing

    settings = project_settings(settings)
    read = _policy(settings, policy)
    key = _secret(settings)
    with _opened(settings, source) as opened:
        shape = checking.read_shape(opened.holder, opened.catalog, opened.relations)
        with opened.session() as trying:
            found = checking.check(shape, read, _masks(key, read), trying)
        if found.findings:
            raise checking.refusal(found.findings, read)
        return list(previewing.preview(opened.holder, shape, read, found.masks))


def target_of(settings: Settings, url: str) -> Target:
    """Return the target that `--to` names.

    Args:
        settings: the project's.
        url: its address, as DATABASE_URL has it.

    Raises:
        SettingsError: it cannot be read, or names no database or one that may not be a target.
    """
    fault = check_url(url)
    if fault is not None:
        raise UsageError(f"--to: {fault.message}", remedy=fault.remedy, option="--to")
    origins = {**settings.origins, "database_url": "command line, --to"}
    return server.find(msgspec.structs.replace(settings, database_url=url, origins=origins))


def consent_needed(target: Target) -> Consent:
    """Return what has to be agreed to before the target is replaced.

    Raises:
        Protected: it carries the protection mark.
    """
    with open_cluster(target) as cluster:
        return guard.consent_to_replace(cluster, cluster.database(target.name))


def key_id(key: bytes) -> str:
    """Return a name of a key that does not tell it: reports and copies say by which key they were masked."""
    return hashlib.blake2b(key, digest_size=8, person=b"seedtool key id").hexdigest()


def _ready(source: Source, cluster: Cluster, policy: Policy, settings: Settings, key: bytes) -> _Ready:
    """Look at everything that a copy needs before a row is read.

    Raises:
        PolicyError, SourceError: something does not fit or is missing; the error holds all of it.
    """
    from seedtool.refreshing import preflight

    for file in policy.after:
        script(file)
    if policy.reindex is not None:
        from seedtool.refreshing import reindexing

        reindexing.binding_of(settings)
    shape = checking.read_shape(source.holder, source.catalog, source.relations)
    with source.session() as trying:
        found = checking.check(shape, policy, _masks(key, policy), trying)
    missing, notes = preflight.preflight(source, cluster, policy, strict=settings.refresh.strict_source)
    if found.findings:
        raise checking.refusal([*found.findings, *missing], policy)
    if missing:
        raise preflight.refusal(missing)
    return _Ready(source, shape, found.masks, tuple(notes))


def _masks(key: bytes, policy: Policy) -> Callable[[ColumnLine, Column], Mask]:
    from seedtool.refreshing.masks import mask

    return lambda line, column: mask(line, column, key, folder=policy.folder)


def _refuse(source: Source, cluster: Cluster, consent: Consent | None) -> Consent:
    """Refuse what no policy makes good: the source itself as the target, a protected one, consent that is missing."""
    from seedtool.refreshing import preflight

    preflight.refuse_same(source.holder, cluster)
    needed = guard.consent_to_replace(cluster, cluster.database(cluster.target.name))
    if consent is not None:
        guard.require(needed, consent, cluster.target)
    return needed


def _by() -> str:
    """Return who runs this: the user and the machine; a container's user may have no name."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _policy(settings: Settings, path: Path | None) -> Policy:
    return read_policy(path or settings.root / settings.refresh.policy, settings.root)


def _secret(settings: Settings) -> bytes:
    if settings.refresh_key is None:
        raise SettingsError(
            "setting refresh_key: the masks need a key, and there is none",
            remedy="Put SEEDTOOL_REFRESH_KEY into the environment or .env; openssl rand -hex 32 makes one. Keep it:"
            " with the same key, the same person is masked the same way.",
            setting="refresh_key",
        )
    return settings.refresh_key.encode()


@contextlib.contextmanager
def _opened(settings: Settings, source: str | None) -> Iterator[Source]:
    """Open the source that is named, in a snapshot of its own."""
    extras.require("refresh", "numpy")
    from seedtool.refreshing.source import Source

    with Source.open(_source(settings, source), statement_timeout=settings.refresh.statement_timeout) as opened:
        yield opened


def _source(settings: Settings, given: str | None) -> Target:
    """Return the database that `--from` or the setting names."""
    url = given or settings.refresh_from
    if url is None:
        raise UsageError(
            "no source is named",
            remedy="Name it with --from URL, or put SEEDTOOL_REFRESH_FROM into the environment or .env.",
            option="--from",
        )
    origin = settings.origins.get("refresh_from") if given is None else "command line, --from"
    fault = check_url(url)
    if fault is not None:
        raise SettingsError(
            f"setting refresh_from: {fault.message} (from {origin or 'given'})",
            remedy=fault.remedy,
            setting="refresh_from",
            origin=origin,
        )
    return server.source(url, setting="refresh_from", origin=origin)


def _written(settings: Settings, report: Report) -> tuple[Path, Path]:
    """Write a report as a page and as JSON, into the project's state folder."""
    from seedtool.refreshing.page import page

    folder = settings.state_dir / "refreshes"
    folder.mkdir(parents=True, exist_ok=True)
    name = report.began.replace(":", "").replace(".", "-").partition("+")[0]
    html, json = folder / f"{name}.html", folder / f"{name}.json"
    write_whole(html, page(report).encode())
    write_whole(json, msgspec.json.format(msgspec.json.encode(report), indent=2))
    return html, json
