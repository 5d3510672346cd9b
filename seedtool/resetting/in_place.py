"""The reset of a role that may not create databases: the target's schemas are dropped and built again in place.

It happens in one transaction, so that others see the old rows or the new ones, and a failure leaves the old ones.
Where a layer cannot be built within a transaction, it takes two steps. Between them the database is empty, and a
failure leaves it so: that needs the stronger consent.
"""

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import BlockedError, MigrationError, NotConfirmed
from seedtool.postgres import server, sessions
from seedtool.postgres.background import no_limits
from seedtool.postgres.cluster import Cluster, DatabaseFacts
from seedtool.resetting import guard
from seedtool.resetting.guard import Consent
from seedtool.resetting.layers import Layer, refuse_in_place
from seedtool.resetting.templates import MISSING
from seedtool.resetting.transaction import LeavesTransaction, OneTransaction, one_transaction

#: What a build says that cannot be done in the one transaction: it wrote COMMIT into it, or uses a value that it added
#: to an enum before. (PostgreSQL 17 allows that where the enum itself is as new, and no savepoint was set.)
_NEEDS_COMMIT = frozenset({"2D000", "55P04"})

#: Why a target is not replaced, by whether the role may create databases.
_WHY = {True: "in_place is set", False: "this role may not create databases"}


class RebuildPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild would do.

    Args:
        drops: what is dropped, in words.
        may_leave_transaction: files that mention autocommit. Should one need it, the rebuild is not atomic.
        why: why the target is not replaced, in words.
    """

    drops: list[str]
    may_leave_transaction: list[str]
    why: str


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild did.

    Args:
        atomic: within one transaction, or in two steps.
        sessions_ended: how many sessions were in the way.
        why: why the target was not replaced, in words.
    """

    atomic: bool
    sessions_ended: int
    why: str


def plan_rebuild(cluster: Cluster, layers: Sequence[Layer]) -> RebuildPlan:
    """Look at what a rebuild of the target would do, and change nothing."""
    with server.connect(cluster.target) as connection:
        drops = _summary(_owned(connection))
    mentions = [file for layer in layers for file in layer.leaves_transaction()]
    return RebuildPlan(drops=drops, may_leave_transaction=sorted(mentions), why=_WHY[cluster.may_create])


def leaving_note(plan: RebuildPlan) -> str:
    """Return what a person has to know of a rebuild that may not be atomic; empty where it surely is."""
    if not plan.may_leave_transaction:
        return ""
    files = ", ".join(plan.may_leave_transaction)
    return f"if {files} leaves the transaction, it takes two steps: a failure between them leaves the database empty"


def rebuild(
    cluster: Cluster, facts: DatabaseFacts, layers: Sequence[Layer], *, consent: Consent
) -> tuple[Rebuilt, dict[str, Mapping[str, object]]]:
    """Drop what this role owns in the target and build the layers there.

    Args:
        cluster: the server; the lock of the target is held and the guard has agreed.
        facts: the target's.
        layers: the stack, the lowest layer first.
        consent: what the user agreed to.

    Returns:
        What was done, and what each layer's builder returned, by the layer's step.

    Raises:
        MigrationError: a revision failed. Nothing has changed, unless the message says that the database is empty.
        NotConfirmed: a revision needs autocommit, and the name was not given; nothing has changed.
        BlockedError: a session that may not be ended holds a lock, or another role's objects are in the way;
            nothing has changed.
        DatabaseError: a layer cannot be built in place; nothing has changed.
    """
    why = _WHY[True] if cluster.may_create else f"the role {cluster.user} may not create databases"
    refuse_in_place(layers, why)
    for layer in layers:
        layer.check()
    plan = plan_rebuild(cluster, layers)
    cluster.listener.note(f"{why}: rebuilding {facts.name} in place ...")
    if note := leaving_note(plan):
        cluster.listener.note(note)
    ended: set[int] = set()
    keep = False
    try:
        for keep in (False, True):
            cluster.step("rebuild")
            try:
                results = _at_once(cluster, layers, ended, consent, keep=keep)
            except MigrationError as error:
                # the administrator may have made a schema or an extension that the revisions rely on
                if keep or isinstance(error, LeavesTransaction) or _sqlstate(error) not in MISSING:
                    raise
                continue
            return Rebuilt(atomic=True, sessions_ended=len(ended), why=plan.why), results
    except LeavesTransaction as leaves:
        _require_name(cluster, facts, consent, leaves)
    cluster.step("empty")
    results = _in_steps(cluster, facts, layers, ended, consent, keep=keep)
    return Rebuilt(atomic=False, sessions_ended=len(ended), why=plan.why), results


def _at_once(
    cluster: Cluster, layers: Sequence[Layer], ended: set[int], consent: Consent, *, keep: bool
) -> dict[str, Mapping[str, object]]:
    with _emptied(cluster, ended, consent, keep=keep) as connection:
        connection.fence()
        results: dict[str, Mapping[str, object]] = {}
        try:
            for layer in layers:
                results[layer.step] = layer.build_in_place(connection)
        except MigrationError as error:
            # autocommit was asked for, or COMMIT was sent; either may have been followed by other errors
            if connection.left or _sqlstate(error) in _NEEDS_COMMIT:
                raise LeavesTransaction(error.message, **error.place) from error
            raise
        _conclude(Cluster(connection, cluster.target))
        connection.finish()
        return results


def _in_steps(
    cluster: Cluster,
    facts: DatabaseFacts,
    layers: Sequence[Layer],
    ended: set[int],
    consent: Consent,
    *,
    keep: bool,
) -> dict[str, Mapping[str, object]]:
    with _emptied(cluster, ended, consent, keep=keep) as connection:
        connection.commit_emptied()
    results: dict[str, Mapping[str, object]] = {}
    for layer in layers:
        cluster.step("migrate" if layer is layers[0] else layer.step)
        try:
            results[layer.step] = layer.build(cluster.target)
        except MigrationError as error:
            raise MigrationError(
                f"{error.message}; {facts.name} has been emptied and holds what was built before",
                remedy=error.remedy,
                **error.place,
            ) from error
    with server.connect(cluster.target) as connection:
        _conclude(Cluster(connection, cluster.target))
    return results


@contextlib.contextmanager
def _emptied(cluster: Cluster, ended: set[int], consent: Consent, *, keep: bool) -> Iterator[OneTransaction]:
    """Yield a connection within whose transaction everything was dropped."""
    with one_transaction(cluster.target) as connection:
        limits = [name for name in no_limits(cluster.version) if name.endswith("_timeout")]
        connection.execute("SET TRANSACTION READ WRITE")
        connection.execute("; ".join(f"SET LOCAL {limit} = 0" for limit in limits))
        connection.execute("SET LOCAL client_min_messages = error")
        # the statement keeps its place in the queue meanwhile, so clients that come again at once wait behind it
        obstacles = sessions.before(connection, cluster.target.name)
        with sessions.ended(cluster.target, connection, obstacles) as now_ended:
            _refuse_unless_agreed(cluster, connection, consent)
            _drop(connection, _owned(connection, keep=keep))
        ended |= now_ended
        connection.execute("SET LOCAL client_min_messages = DEFAULT")
        yield connection


def _refuse_unless_agreed(cluster: Cluster, connection: OneTransaction, consent: Consent) -> None:
    """Refuse where the target needs more consent by now than was given: somebody may have filled it meanwhile.

    Raises:
        NotConfirmed: it does; nothing has changed.
        Protected: it carries the protection mark by now.
    """
    facts = cluster.database(cluster.target.name)
    assert facts is not None  # noqa: S101 - we are connected to it
    guard.refuse_protected(cluster.target, facts, "rebuilt")
    needed = Consent.YES if facts.managed else Consent.NAME
    if consent < needed and (facts.managed or not guard.holds_nothing(connection)):
        guard.require(needed, consent, cluster.target)


def _conclude(cluster: Cluster) -> None:
    """Finish what is left to do when the new schema is there, on a connection to the target itself."""
    connection, target = cluster.connection, cluster.target
    connection.execute("SET LOCAL client_min_messages = error; ANALYZE")  # it warns of what other roles own
    facts = cluster.database(target.name)
    assert facts is not None  # noqa: S101 - we are connected to it
    guard.refuse_protected(target, facts, "rebuilt")  # it may have got the mark meanwhile
    if not facts.managed:
        with contextlib.suppress(BlockedError), connection.transaction():  # only its owner may mark it
            guard.mark_managed(cluster, target.name)


def _require_name(cluster: Cluster, facts: DatabaseFacts, consent: Consent, leaves: LeavesTransaction) -> None:
    if guard.consent_to_replace(cluster, facts) is Consent.NONE or consent is Consent.NAME:
        return
    raise NotConfirmed(
        f"{leaves.message}, so {cluster.target} cannot be rebuilt in one transaction: if a later revision failed,"
        " it would stay empty. Nothing was changed",
        remedy=f"If that may happen: --confirm {shlex.quote(cluster.target.name)}."
        + ("" if cluster.may_create else f" Or let an administrator run: ALTER ROLE {cluster.user} CREATEDB."),
        **leaves.place,
    ) from leaves


def _sqlstate(error: BaseException | None) -> str | None:
    while error is not None:
        found = getattr(error, "sqlstate", None)
        if found:
            return str(found)
        original: BaseException | None = getattr(error, "orig", None)
        error = original or error.__cause__ or error.__context__
    return None


# What goes is all that this role may drop and a revision may have made: nothing that a clone of template0 would have.
# What stays: `public` itself, schemas and extensions of other roles, whatever other roles own outside of schemas that
# go, and default privileges, which say how others may use what the role will make.
_OWNED = """
SELECT found.type AS kind, found.identity, found.schema
FROM pg_shdepend o CROSS JOIN pg_identify_object(o.classid, o.objid, 0) AS found
WHERE o.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND o.deptype = 'o' AND pg_has_role(o.refobjid, 'USAGE')
  AND coalesce(found.schema, found.name, '') !~ '^pg_' AND (found.type, found.identity) <> ('schema', 'public')
  AND found.type NOT IN ('default acl', 'user mapping')
  -- what belongs to an extension, or to another object that goes
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE (d.classid, d.objid) = (o.classid, o.objid) AND d.deptype IN ('i', 'e')
                  AND (d.refclassid, d.refobjid) <> (o.classid, o.objid))
  -- an extension of somebody else would go with the schema it is in
  AND NOT EXISTS (SELECT FROM pg_extension x WHERE o.classid = 'pg_namespace'::regclass AND x.extnamespace = o.objid
                  AND NOT pg_has_role(x.extowner, 'USAGE'))
  AND (found.type NOT IN ('schema', 'extension')
       OR NOT %(keep)s AND has_database_privilege(current_database(), 'CREATE'))
ORDER BY array_position(ARRAY['event trigger', 'publication', 'schema', 'extension', 'table'], found.type),
         found.type, found.identity
"""


class _Owned(NamedTuple):
    """An object that goes: PostgreSQL's word for its kind, its quoted name, and the schema it is in, if any."""

    kind: str
    identity: str
    schema: str | None


def _owned(connection: psycopg.Connection, *, keep: bool = False) -> list[_Owned]:
    """Return what would go, in an order in which it can.

    Args:
        connection: to the database.
        keep: leave schemas and extensions, and empty the schemas only.
    """
    return [_Owned(*row) for row in connection.execute(_OWNED, {"keep": keep})]


def _drop(connection: psycopg.Connection, objects: list[_Owned]) -> None:
    """Drop objects, each with what depends on it, in one round trip."""
    statements = [_drop_statement(found) for found in objects]
    if statements:
        connection.execute(sql.SQL("; ").join(statements))


def _summary(objects: list[_Owned]) -> list[str]:
    """Return what goes in a few words: schemas and extensions by name, the rest by number."""
    gone = {found.identity for found in objects if found.kind == "schema"}
    named = [f"{found.kind} {found.identity}" for found in objects if found.kind in {"schema", "extension"}]
    rest = Counter(found.schema for found in objects if found.kind not in {"schema", "extension"})
    counted = [
        f"{count} object{'' if count == 1 else 's'}{f' in {schema}' if schema else ''}"
        for schema, count in rest.items()
        if schema not in gone
    ]
    return named + counted


def _drop_statement(found: _Owned) -> sql.Composable:
    # identities come quoted from PostgreSQL itself (pg_identify_object)
    identity = sql.SQL(found.identity)
    if found.kind == "large object":
        return sql.SQL("SELECT lo_unlink({})").format(identity)
    # an aggregate over * has an identity without arguments, which DROP AGGREGATE cannot read
    kind = sql.SQL({"statistics object": "STATISTICS", "aggregate": "ROUTINE"}.get(found.kind, found.kind.upper()))
    # of those that went with an earlier one nothing is left
    return sql.SQL("DROP {} IF EXISTS {} CASCADE").format(kind, identity)
