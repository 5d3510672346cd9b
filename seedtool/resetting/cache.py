"""What seedtool keeps on a server: templates and spares. Listed, and pruned to what the settings allow.

A template is pruned only where nobody holds it, it has no sessions and this role may drop it. It is renamed first:
its own name may be wanted again before the server comes to drop it.
"""

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from seedtool.errors import BlockedError
from seedtool.postgres.cluster import Cluster, fresh_name
from seedtool.postgres.server import PRIVATE_NAME, digest_of
from seedtool.resetting import notes, spares
from seedtool.resetting.templates import why_not_dropped
from seedtool.settings import Settings


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One database that seedtool made for itself.

    Args:
        kind: `template`, `spare`, or `other`: work in progress, or what a crash left.
        purpose: what it is for, in words.
        size: bytes on the server's disk; None where this role may not ask.
        made: when it was made (ISO 8601, UTC); None where this role may not know.
        used: when it was cloned last, to within ten minutes; None for what is not a template.
        owner: the role that owns it.
        ours: it belongs to this role, or to one that this role is a member of.
        sessions: how many sessions it has.
    """

    name: str
    kind: Literal["template", "spare", "other"]
    purpose: str
    size: int | None
    made: str | None
    used: str | None
    owner: str
    ours: bool
    sessions: int


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was dropped, or would be; and what is kept although it was due, with the reason."""

    dropped: list[Entry]
    kept: dict[str, str]


# only a database's files say when it was made, and not every role may look at them
_MADE = "CASE WHEN dattablespace = 1663 THEN (pg_stat_file('base/' || d.oid || '/PG_VERSION', true)).modification END"
_ENTRIES = """
SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner,
       pg_stat_get_db_numbackends(d.oid) AS sessions, {} AS made,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER')
            THEN pg_database_size(d.oid) END AS size
FROM pg_database d WHERE starts_with(d.datname, 'seedtool_') ORDER BY d.datname
"""


def entries(cluster: Cluster) -> list[Entry]:
    """Return what seedtool keeps on the server: templates, then spares, then the rest; snapshots are users' data."""
    with cluster.connection.cursor(row_factory=dict_row) as cursor:
        may = cursor.execute(
            "SELECT has_function_privilege('pg_stat_file(text, boolean)', 'EXECUTE') AS look"
        ).fetchone()
        query = sql.SQL(_ENTRIES).format(sql.SQL(_MADE if may and may["look"] else "NULL::timestamptz"))
        rows = [row for row in cursor.execute(query) if PRIVATE_NAME.fullmatch(row["name"])]
    spare_of = _spares(cluster, [row["name"] for row in rows])
    found = []
    for row in rows:
        kind = row["name"].split("_")[1]
        facts = cluster.database(row["name"]) if kind == "template" else None
        note = notes.read(facts) if facts is not None else None
        made = row.pop("made")
        found.append(
            Entry(
                **row,
                ours=row["owner"] in cluster.roles,
                kind=kind if kind in {"template", "spare"} else "other",
                purpose=note.purpose if note else spare_of.get(row["name"], "") or _OTHERS.get(kind, ""),
                made=note.made if note else made.astimezone(UTC).isoformat(timespec="seconds") if made else None,
                used=note.used if note else None,
            )
        )
    order = {"template": 0, "spare": 1, "other": 2}
    return sorted(found, key=lambda each: (order[each.kind], -_age_key(each)))


def prune(
    cluster: Cluster,
    settings: Settings,
    *,
    everything: bool = False,
    dry_run: bool = False,
) -> Pruned:
    """Drop templates that are too many or too large together, those unused for longest first, and their spares.

    Args:
        cluster: the server.
        settings: how many templates are kept, and how large they may be together.
        everything: drop every template and spare.
        dry_run: say what would be dropped, and drop nothing.
    """
    found = entries(cluster)
    templates = sorted((each for each in found if each.kind == "template"), key=_age_key)
    chosen = templates if everything else _surplus([each for each in templates if each.ours], settings)
    dropped, kept = [], {}
    for each in chosen:
        why = why_not_dropped(cluster, each.name) or ("it has sessions" if each.sessions else "")
        if not why and not dry_run and not _drop_template(cluster, each):
            why = "in use"
        if why:
            kept[each.name] = why
        else:
            dropped.append(each)
    gone = {each.name for each in dropped}
    for each in (each for each in found if each.kind == "spare"):
        if (everything or each.purpose == _OUTDATED or any(name in each.purpose for name in gone)) and each.ours:
            if why := why_not_dropped(cluster, each.name):
                kept[each.name] = why
                continue
            with cluster.try_lock(each.name.rpartition("_")[2]) as free:
                if free and not dry_run:
                    cluster.drop_soon(each.name)
                if free:
                    dropped.append(each)
                else:
                    kept[each.name] = "in use"
    return Pruned(dropped=dropped, kept=kept)


_OUTDATED = "outdated"
_OTHERS = {
    "building": "a template or snapshot being made",
    "clone": "a clone about to be used",
    "old": "being dropped",
    "test": "a test's",
}


def _surplus(templates: Sequence[Entry], settings: Settings) -> list[Entry]:
    """Return the templates to drop so that the rest is within the settings; they come sorted by last use."""
    surplus: list[Entry] = []
    rest = list(templates)
    while rest and (
        len(rest) > settings.cache_templates or sum(each.size or 0 for each in rest) > settings.cache_gb * 2**30
    ):
        surplus.append(rest.pop(0))
    return surplus


def _drop_template(cluster: Cluster, entry: Entry) -> bool:
    """Drop a template unless somebody holds it or clones it at this moment."""
    digest = entry.name.rpartition("_")[2]
    with cluster.try_claim(digest) as claimed:
        if not claimed:
            return False
        old = fresh_name("old", digest)
        try:
            with cluster.connection.transaction():
                cluster.connection.execute("SET LOCAL lock_timeout = '100ms'")
                cluster.rename(entry.name, old)
        except (BlockedError, psycopg.errors.LockNotAvailable):
            return False
    with contextlib.suppress(BlockedError):  # then the next reset sweeps it
        cluster.drop_soon(old)
    return True


def _spares(cluster: Cluster, names: Sequence[str]) -> dict[str, str]:
    """Return what each spare is for: the database, and the template that it is a clone of."""
    wanted = {name for name in names if "_spare_" in name}
    if not wanted:
        return {}
    found = dict.fromkeys(wanted, _OUTDATED)
    targets = {digest_of(name)[:10]: name for (name,) in cluster.connection.execute("SELECT datname FROM pg_database")}
    sources = [
        facts
        for (name,) in cluster.connection.execute(
            "SELECT datname FROM pg_database WHERE datname ~ '^seedtool_(template|snapshot)_'"
        ).fetchall()
        if (facts := cluster.database(name)) is not None
    ]
    for name in wanted:
        target = cluster.database(targets.get(name.rpartition("_")[2][:10], ""))
        for source in sources:
            if target is not None and spares.spare_name(digest_of(target.name), source, target) == name:
                found[name] = f"{target.name}: clone of {source.name}"
    return found


def _age_key(entry: Entry) -> float:
    """Return when a database was used or made, in seconds; what nobody knows counts as the oldest."""
    text = entry.used or entry.made
    return datetime.fromisoformat(text).timestamp() if text else 0.0
