"""The doctor: looks at everything a day's work needs, and names the cure for what is wrong."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec
import psycopg
from psycopg import sql

from seedtool.errors import DatabaseError, ResourceNotFound, SchemaError, SeedtoolError
from seedtool.faces import bindings
from seedtool.faces.bindings.bound import Bound
from seedtool.faces.external_id import PLACEHOLDER_PREFIX
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, open_cluster
from seedtool.postgres.extensions import Lack, created_in, of_extensions
from seedtool.postgres.psycopg_errors import reason
from seedtool.resetting import clones
from seedtool.settings import Settings
from seedtool.snapshots import registry
from seedtool.workflows.face_service import open_aws
from seedtool.workflows.project import project_settings


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Args:
        name: what it is.
        state: `wrong` needs the cure; `note` is worth knowing; `skipped` could not be looked at.
        detail: what was found.
        cure: what to do about it.
    """

    name: str
    state: Literal["ok", "note", "wrong", "skipped"]
    detail: str
    cure: str = ""


def examine(*, settings: Settings | None = None) -> Iterator[Check]:
    """Look at everything that a day's work needs; yield one check at a time. Nothing is changed.

    Args:
        settings: the project's; those of the working folder's project when None.

    Raises:
        UsageError: the working folder is in no project.

    Example:
        >>> [check.name for check in seedtool.examine() if check.state == "wrong"]
        []
    """
    settings = project_settings(settings)
    return _examine(settings)


def _examine(settings: Settings) -> Iterator[Check]:
    yield _look("settings", lambda: _settings(settings))
    yield _look("migrations", lambda: _migrations(settings))
    yield _look("seeds", lambda: _seeds(settings))
    found = _look("server", lambda: _server(settings))
    yield found
    if found.state == "wrong":
        yield _skipped("database", "the server cannot be reached")
    else:
        yield _look("database", lambda: _database(settings))
    yield _look("photos", lambda: _photos(settings))
    yield _look("aws", lambda: _collections(settings))
    if found.state == "wrong":
        yield _skipped("faces", "the server cannot be reached")
    else:
        yield _look("faces", lambda: _faces(settings))
        if settings.origins.get("backfill", "default") != "default":
            yield _look("backfill", lambda: _library(settings))


def _look(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except SeedtoolError as error:
        return Check(name=name, state="wrong", detail=error.message, cure=error.remedy)
    except psycopg.Error as error:
        return Check(name=name, state="wrong", detail=reason(error), cure="Look at the server's log.")


def _skipped(name: str, why: str) -> Check:
    return Check(name=name, state="skipped", detail=f"not looked at: {why}")


def _library(settings: Settings) -> Check:
    from seedtool.backfill import connect

    with connect(settings.backfill, server.find(settings)) as connection:
        shape = connection.shape
    tables = ", ".join(f"{name} in {bound.table}" for name, bound in shape.bound.items())
    lacking = [name for name in ("collections", "persons", "links") if name not in shape.bound]
    detail = f"the photo library has {tables}" + f"; no table of {', '.join(lacking)}" * bool(lacking)
    if not shape.links:
        cure = "Name the table of persons, and the column or the table that links faces to them, if there is one."
        return Check(name="backfill", state="note", detail=f"{detail}: faces are linked to nobody", cure=cure)
    return Check(name="backfill", state="ok", detail=detail)


def _settings(settings: Settings) -> Check:
    given = [key for key, origin in settings.origins.items() if origin != "default"]
    detail = f"project in {settings.root}; set: {', '.join(given) or 'nothing'}"
    return Check(name="settings", state="ok", detail=detail, cure="")


def _migrations(settings: Settings) -> Check:
    from seedtool.schema.migrations import LEAVE_OUR_SCHEMA, compares_all_schemas, heads
    from seedtool.schema.schema_files import project_files

    if settings.build_command is not None:
        files = len(set(project_files(settings)))
        detail = f"built by `{settings.build_command}`; {files} file{'' if files == 1 else 's'} in fingerprint_paths"
        return Check(name="migrations", state="ok", detail=detail)
    detail = f"newest revision: {', '.join(heads(settings)) or 'env.py says it while it runs'}"
    env = compares_all_schemas(settings)
    if env is not None:
        detail += f"; {settings.shown(env)} lets autogenerate drop the schema seedtool (include_schemas)"
        return Check(name="migrations", state="note", detail=detail, cure=f"{LEAVE_OUR_SCHEMA}.")
    return Check(name="migrations", state="ok", detail=detail)


def _seeds(settings: Settings) -> Check:
    from seedtool.seeding.fixtures import read_profile
    from seedtool.seeding.profiles import load_profiles

    profiles = load_profiles(settings.seeds)
    files = {
        fixture.file
        for profile in profiles.values()
        for fixture in read_profile(settings.seeds, profile, settings.root).files
    }
    return Check(name="seeds", state="ok", detail=f"profiles {', '.join(profiles)}; {len(files)} fixtures can be read")


def _server(settings: Settings) -> Check:
    target = server.find(settings)
    with open_cluster(target) as cluster:
        version = cluster.connection.info.server_version
        detail = f"PostgreSQL {version // 10000}.{version % 10000}, role {cluster.user}"
        if lack := _lacking(settings, cluster, embedded=target.embedded is not None):
            return Check(name="server", state="wrong", detail=f"{detail}: {lack.message}", cure=lack.remedy)
        if not cluster.may_create:
            cure = f"Let an administrator run: ALTER ROLE {cluster.user} CREATEDB."
            detail += ", may not create databases: db-reset rebuilds the schemas in place, without templates"
            return Check(name="server", state="note", detail=detail, cure=cure)
    if target.embedded is not None:
        detail += f"; embedded, in {settings.state_dir} (it has no TLS, no ICU and no pgcrypto)"
    return Check(name="server", state="ok", detail=detail)


def _lacking(settings: Settings, cluster: Cluster, *, embedded: bool) -> Lack | None:
    """Return what extensions the migrations create and the server does not have."""
    from seedtool.schema.schema_files import project_files

    wanted: dict[str, str] = {}
    with contextlib.suppress(SeedtoolError):  # the check of the migrations tells it
        for path in project_files(settings):
            if path.suffix in {".py", ".sql"}:
                wanted |= dict.fromkeys(created_in(path.read_bytes()), settings.shown(path))
    if not wanted:
        return None
    there = cluster.connection.execute("SELECT name FROM pg_available_extensions WHERE name = ANY(%s)", [list(wanted)])
    missing = sorted(wanted.keys() - {name for (name,) in there})
    if not missing:
        return None
    lack = of_extensions(missing, embedded=embedded)
    files = ", ".join(sorted({wanted[name] for name in missing}))
    return lack._replace(message=f"{lack.message}, which the migrations create ({files})")


def _database(settings: Settings) -> Check:
    from seedtool.schema.migrations import position

    target = server.find(settings)
    with open_cluster(target) as cluster:
        facts = cluster.database(target.name)
        if outdated := _outdated(cluster):
            return outdated
    if facts is None:
        return Check(name="database", state="wrong", detail=f"{target} does not exist", cure="Run seedtool db-reset.")
    mark = "protected" if facts.protected else "made by seedtool" if facts.managed else "not made by seedtool"
    if settings.build_command is not None:
        return Check(name="database", state="ok", detail=f"{target}, {mark}")
    found, newest = position(target, settings)
    if found != newest:
        detail = f"{target} is at revision {', '.join(found) or 'none'}, the newest is {', '.join(newest)}"
        return Check(name="database", state="wrong", detail=detail, cure="Run seedtool migrate, or seedtool db-reset.")
    return Check(name="database", state="ok", detail=f"{target}, {mark}, at the newest revision")


def _outdated(cluster: Cluster) -> Check | None:
    """Return what is wrong with the collation of the target or of one of its snapshots, after an upgrade of ICU."""
    names = [cluster.target.name, *(each.database for each in registry.of_target(cluster))]
    for facts in filter(None, map(cluster.database, names)):
        try:
            clones.refuse_outdated(facts)
        except DatabaseError as error:
            return Check(name="database", state="wrong", detail=error.message, cure=error.remedy)
    if cluster.database(cluster.target.name) is None:
        return None
    with server.connect(cluster.target) as connection:
        rows = connection.execute(
            "SELECT oid::regcollation::text FROM pg_collation c"
            " WHERE collversion IS NOT NULL AND collversion IS DISTINCT FROM pg_collation_actual_version(oid)"
            " AND EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_collation'::regclass AND refobjid = c.oid"
            "             AND classid = 'pg_class'::regclass) ORDER BY 1"
        ).fetchall()
    if not rows:
        return None
    names = [name for (name,) in rows]
    return Check(
        name="database",
        state="wrong",
        detail=f"indexes under the collation {', '.join(names)} were built under another version of it",
        cure=f'Run: REINDEX DATABASE "{cluster.target.name}";'
        + "".join(f" ALTER COLLATION {name} REFRESH VERSION;" for name in names),
    )


def _photos(settings: Settings) -> Check:
    from seedtool.faces.photos import store

    if not settings.faces:
        return Check(name="photos", state="note", detail=_UNBOUND, cure=_BIND)
    photos = store(settings, open_aws(settings))
    some = next(iter(photos.keys()), None)
    where = settings.photos_url or "the project's state folder"
    if some is None:
        return Check(name="photos", state="note", detail=f"{where} is empty", cure="seedtool enroll --all fills it.")
    return Check(name="photos", state="ok", detail=f"{where} can be read")


def _collections(settings: Settings) -> Check:
    if not settings.faces:
        return Check(name="aws", state="note", detail=_UNBOUND, cure=_BIND)
    aws = open_aws(settings)
    who = aws.who()
    found, waiting = [], False
    for id_, rows in _collections_in_use(settings).items():
        try:
            found.append(f"{id_} holds {aws.collection(id_).describe().faces} faces")
        except ResourceNotFound:
            if rows:
                raise
            found.append(f"{id_} does not exist yet, and no row needs it")
            waiting = True
    detail = f"{who}; {', '.join(found) or 'no collection is in use'}"
    return Check(name="aws", state="note" if waiting else "ok", detail=detail)


def _collections_in_use(settings: Settings) -> dict[str, int]:
    """Return the collections that rows are in, or that new rows would be in, and how many rows each has."""
    found: dict[str | None, int] = {}
    try:
        with server.connect(server.find(settings)) as connection:
            for bound in bindings.bind(connection, settings):
                for id_, rows in (bound.collections(connection) or {bound.collection: 0}).items():
                    found[id_] = found.get(id_, 0) + rows
    except DatabaseError:
        found[settings.collection] = 1  # the database has a check of its own; this one is about AWS
    return {id_: rows for id_, rows in found.items() if id_ is not None}


#: The commands that work with more columns of the first face binding than a sync does, and the fields that name them.
_NEEDED_BY = {"recognize": ("person",), "enroll": ("person", "photo"), "enroll --all": ("photo",)}


#: Of so many rows of a table doctor asks whether their faces are in the collection: a part of one ListFaces, no list.
_SAMPLE = 100

_FACE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # source: FaceId in Rekognition's service model


def _faces(settings: Settings) -> Check:
    if not settings.faces:
        return Check(name="faces", state="note", detail=_UNBOUND, cure=_BIND)
    unfit: SchemaError | None = None
    samples: dict[tuple[str, str], list[str]] = {}
    with server.connect(server.find(settings)) as connection:
        placeholders, empty = [], []
        for binding in settings.faces:
            bound = bindings.resolve(connection, binding, default=binding.collection or settings.collection)
            if binding is settings.faces[0]:
                unfit = _unfit(bound)
            query = sql.SQL(_WAITING).format(
                rows=bound.rows, table=bound.table, face=bound.face_id, prefix=sql.Literal(PLACEHOLDER_PREFIX)
            )
            with_placeholder, without = connection.execute(query).fetchone() or (0, 0)
            placeholders += [f"{with_placeholder} rows of {binding.table}"] if with_placeholder else []
            empty += [f"{without} rows of {binding.table} have no FaceId yet"] if without else []
            for collection, face_ids in connection.execute(sql.SQL(_SAMPLED).format(rows=bound.rows), [_SAMPLE]):
                samples[binding.table, collection] = face_ids
    if placeholders:
        detail = f"{', '.join(placeholders)} hold placeholders"
        return Check(name="faces", state="wrong", detail=detail, cure="Run seedtool sync-faces.")
    linked, strange = _compared(settings, samples)
    if strange:
        return Check(name="faces", state="wrong", detail="; ".join(strange), cure=_STRANGE)
    if unfit is not None:
        return Check(name="faces", state="note", detail=f"{linked}; {unfit.message}", cure=unfit.remedy)
    if empty:
        cure = "Run seedtool sync-faces, or seedtool enroll --all for photos that were never indexed."
        return Check(name="faces", state="note", detail="; ".join([linked, *empty]), cure=cure)
    return Check(name="faces", state="ok", detail=linked)


_UNBOUND = "no table is bound to faces"
_BIND = "If one holds FaceIds, seedtool init proposes its binding."
_STRANGE = (
    "Run seedtool sync-faces: the FaceIds may be those of another collection or account, as after a restore from"
    " production. seedtool faces status says what is left over."
)

# placeholders stand for NULL among the rows of a binding
_WAITING = """
SELECT placeholders, greatest(empty - placeholders, 0) FROM
    (SELECT count(*) AS placeholders FROM {table} WHERE starts_with({face}::text, {prefix})) p,
    (SELECT count(*) AS empty FROM {rows} r WHERE face_id IS NULL AND external_image_id IS NOT NULL) e"""

_SAMPLED = """
SELECT collection_id, array_agg(face_id) FROM (
    SELECT collection_id, face_id FROM {rows} r WHERE face_id IS NOT NULL AND collection_id IS NOT NULL LIMIT %s
) s GROUP BY 1"""


def _compared(settings: Settings, samples: Mapping[tuple[str, str], list[str]]) -> tuple[str, list[str]]:
    """Ask collections whether they hold the faces of some rows, where they can be asked.

    Returns:
        what is known of the rows that are linked, and what is wrong with others.
    """
    held, asked, strange = 0, 0, []
    try:
        aws = open_aws(settings) if samples else None
        for (table, collection), face_ids in samples.items():
            wanted = [face_id for face_id in face_ids if _FACE_ID.fullmatch(face_id)]
            there: set[str] = set()
            if aws is not None and wanted:
                try:
                    pages = aws.collection(collection).list_pages(face_ids=wanted)
                    there = {face.face_id for page in pages for face in page}
                except ResourceNotFound:
                    continue  # the check of AWS tells it
            here = sum(face_id in there for face_id in face_ids)
            held, asked = held + here, asked + len(face_ids)
            if here < len(face_ids):
                strange.append(f"{here} of {len(face_ids)} rows of {table} hold FaceIds that are in {collection}")
    except SeedtoolError:  # the check of AWS tells why
        return "no row holds a placeholder", strange
    return "no row holds a placeholder" + (
        f"; {held} of {asked} FaceIds are in their collection" * bool(asked)
    ), strange


def _unfit(bound: Bound) -> SchemaError | None:
    """Return why a command cannot work with a table; None where each can."""
    for command, fields in _NEEDED_BY.items():
        try:
            bound.require(command, *fields)
            if command == "enroll":
                bound.require_new_rows(command)
        except SchemaError as error:
            return error
    return None
