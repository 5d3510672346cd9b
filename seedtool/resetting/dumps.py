"""Templates in files, for the caches of CI: one dump a template, named by its fingerprint, in pg_dump's custom format.

A file is as good as the template it was dumped from, for its name stands for all that shaped it, and our key has signed
it under that name. A file that may not or cannot be loaded, such as one cut off by a full disk, costs no more than
building the template.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from seedtool.errors import SnapshotError
from seedtool.files.signing import Keys, sign, trusted
from seedtool.files.writing import PRIVATE, NewFile
from seedtool.postgres import programs
from seedtool.postgres.cluster import Cluster, DatabaseFacts, private_name
from seedtool.postgres.server import Target
from seedtool.resetting import clones, templates


def dump_path(folder: Path, fingerprint: str) -> Path:
    """Return the file of a template."""
    return folder / f"{fingerprint}.dump"


def dump(cluster: Cluster, template: str, like: DatabaseFacts, file: Path, keys: Keys) -> bool:
    """Write a template to a file, whole or not at all, readable by its owner alone.

    Args:
        cluster: the server.
        template: the template's name.
        like: owner and tablespace of the clone that is dumped: nobody may connect to the template itself.
        file: the file, as `dump_path` names it; its folder is made.
        keys: ours; one of them signs it.

    Returns:
        whether it was written; not when migrations did something to the database itself, which a dump leaves out.

    Raises:
        SnapshotError: there is no pg_dump, it fails, or the file cannot be written.
        SettingsError: there is no key that may be used.
    """
    origin = cluster.database(template)
    if origin is None or _has_settings_of_its_own(cluster, template):
        return False
    tools = programs.fitting(cluster.version)[0]
    digest = secrets.token_hex(10)
    clone = private_name("building", digest)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NewFile(file, mode=PRIVATE) as new:
            with cluster.lock(digest):  # a sweep leaves the clone alone as long as we live
                clones.clone(cluster, origin, clone, like)
                try:
                    done = programs.run(
                        tools, "pg_dump", "--format=custom", f"--file={new.path}", target=cluster.target, database=clone
                    )
                finally:
                    cluster.drop(clone)
            if done.code:
                raise SnapshotError(
                    f"{template} cannot be dumped: {programs.fault(done.errors)}",
                    remedy="Is there room on the disk? Without --cache nothing is dumped.",
                )
            sign(new.handle, keys, {**_about(file), "result": templates.result_of(cluster, template)})
            new.put_in_place(durable=False)
    except OSError as error:
        raise SnapshotError(
            f"{file} cannot be written: {error.strerror}", remedy="Name a folder that you may write to."
        ) from error
    return True


def load(cluster: Cluster, file: Path, database: Target, keys: Keys | None) -> Mapping[str, object]:
    """Load a file into an empty database, all or nothing.

    Args:
        cluster: the server.
        file: the file, as `dump_path` names it.
        database: the database.
        keys: ours; None loads the file whoever wrote it.

    Returns:
        what the builder of the dumped template had returned.

    Raises:
        NotTrusted: it is not signed, by a key of ours, under its name.
        SnapshotError: it cannot be loaded.
    """
    tools = programs.fitting(cluster.version)[-1]  # the newest reads what any other wrote
    with trusted(file, keys, **_about(file)) as archive:
        done = programs.run(
            tools, "pg_restore", "--exit-on-error", "--single-transaction", "--", archive.path,
            target=cluster.target, database=database.name, handles=archive.handles,
        )  # fmt: skip
    if done.code:
        raise SnapshotError(f"{file} cannot be loaded: {programs.fault(done.errors)}")
    result = archive.about.get("result")
    try:
        if not archive.about:  # the first release wrote it into a file beside the dump
            result = msgspec.json.decode(file.with_suffix(".json").read_bytes())
        return msgspec.convert(result, dict[str, object])
    except (OSError, msgspec.MsgspecError) as error:
        raise SnapshotError(f"{file} cannot be loaded: it does not say what was returned when it was built") from error


def _about(file: Path) -> dict[str, str]:
    """Return what is signed with a template's dump: it is loaded under no other name."""
    return {"kind": "template", "fingerprint": file.stem}


def _has_settings_of_its_own(cluster: Cluster, template: str) -> bool:
    row = cluster.connection.execute(
        "SELECT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid) OR d.datacl IS NOT NULL"
        " FROM pg_database d WHERE d.datname = %s",
        [template],
    ).fetchone()
    return row is None or bool(row[0])
