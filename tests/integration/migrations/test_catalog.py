"""The models and the revisions make the same schema, to the last default; `alembic check` alone sees too little."""

import importlib.util
import sys
from pathlib import Path

import pytest

from seedtool.postgres import server

ROOT = Path(__file__).resolve().parents[3]

SCHEMAS = "('pg_catalog', 'information_schema', 'pg_toast')"
QUERIES = {
    "columns": f"""
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid),
               col_description(c.oid, a.attnum)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
          AND c.relnamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "relations": f"""
        SELECT c.relnamespace::regnamespace::text, c.relname, c.relkind, c.relpersistence, c.reloptions,
               c.relrowsecurity, obj_description(c.oid, 'pg_class')
        FROM pg_class AS c WHERE c.relnamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "constraints": f"""
        SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid),
               obj_description(oid, 'pg_constraint')
        FROM pg_constraint WHERE connamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "indexes": f"""
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, indisready,
               obj_description(indexrelid, 'pg_class')
        FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
        WHERE c.relnamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "sequences": "SELECT schemaname, sequencename, data_type, start_value, increment_by, cycle FROM pg_sequences",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "types": f"""
        SELECT typname, typtype, enumlabel FROM pg_type LEFT JOIN pg_enum ON enumtypid = pg_type.oid
        WHERE typnamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "functions": f"""
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace::regnamespace::text NOT IN {SCHEMAS}""",
    "extensions": "SELECT extname, extversion FROM pg_extension",
}


def catalog(database) -> dict[str, list[tuple]]:
    with server.connect(database) as connection:
        # what Alembic keeps for itself is no part of the schema
        connection.execute("DROP TABLE IF EXISTS alembic_version")
        found = {name: sorted(connection.execute(query).fetchall(), key=repr) for name, query in QUERIES.items()}
        connection.rollback()
    return found


def create_all(engine) -> None:
    path = ROOT / "migrations" / "models" / "__init__.py"
    spec = importlib.util.spec_from_file_location("models_of_the_catalog_test", path)
    models = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(models)
    models.Base.metadata.create_all(engine)


@pytest.fixture
def revisions(alembic, database, session):
    """The catalog after `alembic upgrade head`; the database is empty again afterwards."""
    alembic("upgrade", "head")
    found = catalog(database)
    alembic("downgrade", "base")
    session.execute("DROP TABLE alembic_version")
    return found


def test_models_and_revisions_make_the_same_catalog(revisions, database, engine):
    empty = catalog(database)
    assert [name for name in ("columns", "constraints", "indexes") if empty[name]] == []
    create_all(engine)
    models = catalog(database)
    for name in QUERIES:
        assert models[name] == revisions[name], name
    assert len(models["columns"]) > 100


def test_a_column_put_back_by_going_down_and_up_is_the_same(revisions, database, alembic):
    alembic("upgrade", "head")
    alembic("downgrade", "0001")
    alembic("upgrade", "head")
    assert catalog(database) == revisions


@pytest.mark.parametrize(
    ("change", "seen_in"),
    [
        ("ALTER TABLE attendance DROP CONSTRAINT ck_attendance_confidence", {"constraints"}),
        ("ALTER TABLE students ALTER status SET DEFAULT 'inactive'", {"columns"}),
        ("ALTER TABLE students ALTER academic_year TYPE bigint", {"columns"}),
        ("ALTER TABLE classrooms ALTER name DROP NOT NULL", {"columns", "constraints"}),
        ("COMMENT ON COLUMN students.id IS 'changed'", {"columns"}),
        ("DROP INDEX ix_attendance_missing", {"indexes", "relations"}),
        (
            """DROP INDEX ix_attendance_missing;
            CREATE INDEX ix_attendance_missing ON attendance (student_id, session_id) WHERE status = 'absent'""",
            {"indexes"},
        ),
        ("CREATE SEQUENCE numbers", {"sequences", "relations"}),
        ("ALTER TABLE student_faces DROP CONSTRAINT fk_student_faces_student_id", {"constraints"}),
        (
            """ALTER TABLE student_faces DROP CONSTRAINT fk_student_faces_student_id;
            ALTER TABLE student_faces ADD CONSTRAINT fk_student_faces_student_id
            FOREIGN KEY (student_id) REFERENCES students (id)""",
            {"constraints"},
        ),
        ("ALTER TABLE stages ADD note text GENERATED ALWAYS AS (upper(name)) STORED", {"columns"}),
        ("ALTER TABLE stages DROP COLUMN name, ADD name text", {"columns", "constraints", "indexes", "relations"}),
    ],
)
def test_the_comparison_can_fail(database, session, models_catalog, change, seen_in):
    with session.transaction(force_rollback=True):
        session.execute(change)
        changed = {name: sorted(session.execute(query).fetchall(), key=repr) for name, query in QUERIES.items()}
    assert {name for name in QUERIES if changed[name] != models_catalog[name]} == seen_in


@pytest.fixture
def models_catalog(database, engine):
    create_all(engine)
    return catalog(database)
