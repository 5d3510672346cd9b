"""What `seed` and `seed-dump` tell on the terminal and leave behind."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

import seedtool
from seedtool.cli.console import Console
from seedtool.cli.seed import seed_dump
from seedtool.emulator import process
from seedtool.settings import FaceBinding, Settings
from seedtool.workflows.face_service import emulator_dir, open_aws

PORTRAIT = "seeds/photos/students/student-001/photo-1.jpg"


@pytest.fixture
def own(project, settings: Settings, database) -> Iterator[Settings]:
    """Settings of a project in which `full` ends in a sync; its emulator is stopped after the test."""
    made = msgspec.structs.replace(
        settings,
        root=project.root,
        seeds=project.root / "seeds",
        database_url=database.conninfo,
        aws="embedded",
        collection="faces",
        faces=(FaceBinding(table="pupil_faces"),),
    )
    (made.seeds / "local").mkdir(parents=True, exist_ok=True)
    (made.seeds / "profiles.toml").write_text('[full]\nsets = ["local"]\nsync_faces = true\n')
    yield made
    process.stop(emulator_dir(made))


def test_a_dry_run_tells_what_the_sync_would_link_and_leaves_nothing(project, own, settings):
    collection = open_aws(own).collection("faces")
    collection.ensure()
    collection.index_faces((settings.root / PORTRAIT).read_bytes(), "p1-photo-1")
    project.write("pupils.csv", "id,name\np1,Ana\n")
    project.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,p1-photo-1\n")
    project.write("notes.csv", "id,body\n7,x\n")
    before = project.everything()

    done = seedtool.seed("full", settings=own, dry_run=True)
    assert (done.seed.dry_run, done.seed.rows, [table.inserted for table in done.seed.tables]) == (True, 3, [1, 1, 1])
    assert done.sync is not None
    assert (done.sync.dry_run, done.sync.synced) == (True, 1)
    assert project.everything() == before
    assert project.rows("INSERT INTO notes (body) VALUES ('y') RETURNING id") == [(1,)]

    done = seedtool.seed("full", settings=own)
    assert done.sync is not None
    assert (done.sync.synced, done.sync.placeholders) == (1, 0)
    assert project.rows("SELECT face_id FROM pupil_faces") == [(collection.under("p1-photo-1")[0].face_id,)]


def test_a_dump_tells_which_files_it_left_alone(small_school, own, capsys):
    console = Console(as_json=False, quiet=False, out=sys.stdout)

    def dumped() -> list[str]:
        assert seed_dump.callback is not None
        seed_dump.callback.__wrapped__(
            tables=(), set_name="local", every_table=False, sort="key", strict=False, console=console, settings=own
        )
        return capsys.readouterr().out.splitlines()

    small_school.run("UPDATE pupils SET name = 'Otra' WHERE id = 'p1'")
    assert dumped() == [
        "seeds/local/guardians.csv: 3 rows, unchanged",
        "seeds/local/pupils.csv: 3 rows",
        "wrote 3 rows into the seed set local",
    ]
    assert dumped()[1:] == ["seeds/local/pupils.csv: 3 rows, unchanged", "the seed set local is unchanged"]


def test_autogenerate_leaves_our_schema_with_the_lines_of_the_guide(small_school, database):
    text = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "projects.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(def include_name.*?)\n\n\n", text, flags=re.DOTALL)
    namespace = {}
    exec(block, namespace)  # noqa: S102 - the guide is ours

    def schemas(**options):
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database.conninfo))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_schemas": True, **options})
            dropped = {each[1].schema for each in compare_metadata(context, MetaData()) if each[0] == "remove_table"}
        engine.dispose()
        return dropped

    assert schemas() == {None, "seedtool"}
    assert schemas(include_name=namespace["include_name"]) == {None}
