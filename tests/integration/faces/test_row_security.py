"""Row-level security hides rows of the bound tables: what is said of faces would be wrong, so it is refused."""

import msgspec
import pytest

from seedtool.backfill import Options, connect, plan
from seedtool.errors import BlockedError
from seedtool.faces.dedupe import dedupe
from seedtool.faces.enroll import enroll_all
from seedtool.faces.status import status
from seedtool.faces.sync import sync

ROLE = "seedtool_test_reader"


@pytest.fixture
def tenant(school, face_rows):
    """The connection's role is no superuser and owns every table; a policy shows it one face of two."""
    face_rows("student-001-photo-1", "student-002-photo-1")
    school.execute(f"DO $$ BEGIN CREATE ROLE {ROLE}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    school.execute(
        f"GRANT ALL ON SCHEMA public TO {ROLE}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE};"
        f"ALTER TABLE student_faces OWNER TO {ROLE}; ALTER TABLE students OWNER TO {ROLE}"
    )
    hide(school, "student_faces", "student_id = 'student-001'")
    school.execute(f"SET ROLE {ROLE}")
    school.commit()
    yield school
    school.rollback()
    school.execute(f"RESET ROLE; REASSIGN OWNED BY {ROLE} TO CURRENT_USER; DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
    school.commit()


def hide(connection, table, shown):
    connection.execute(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        f"CREATE POLICY own ON {table} USING ({shown})"
    )


def refuses(work, table):
    with pytest.raises(BlockedError) as refusal:
        work()
    assert table in refusal.value.message
    assert "BYPASSRLS" in refusal.value.remedy
    assert "NO FORCE ROW LEVEL SECURITY" in refusal.value.remedy


def test_what_takes_the_faces_it_sees_for_all_refuses(tenant, mine, aws, photos, collection):
    owned = msgspec.structs.replace(mine, owned_collections=(mine.collection,))
    refuses(lambda: sync(tenant, mine, aws), '"student_faces"')
    refuses(lambda: sync(tenant, mine, aws, dry_run=True), '"student_faces"')
    refuses(lambda: status(tenant, mine, aws), '"student_faces"')
    refuses(lambda: dedupe(tenant, owned, aws), '"student_faces"')
    refuses(lambda: enroll_all(tenant, mine, aws, photos), '"student_faces"')


def test_a_view_and_a_table_of_references_are_no_way_round(tenant, mine, aws, collection):
    tenant.execute("RESET ROLE; CREATE VIEW shown WITH (security_invoker) AS SELECT * FROM student_faces")
    tenant.execute(f"GRANT ALL ON shown TO {ROLE}; SET ROLE {ROLE}")
    tenant.commit()
    (binding,) = mine.faces
    view = msgspec.structs.replace(mine, faces=(msgspec.structs.replace(binding, table="shown", key=("id",)),))
    refuses(lambda: status(tenant, view, aws), '"student_faces"')
    tenant.execute("ALTER TABLE student_faces NO FORCE ROW LEVEL SECURITY")
    tenant.execute("RESET ROLE; CREATE TABLE sightings (face_id text)")
    hide(tenant, "sightings", "false")
    tenant.execute(f"ALTER TABLE sightings OWNER TO {ROLE}; SET ROLE {ROLE}")
    tenant.commit()
    owned = msgspec.structs.replace(mine, owned_collections=(mine.collection,), face_references=("sightings.face_id",))
    assert status(tenant, mine, aws).collections[0].rows == 2
    refuses(lambda: dedupe(tenant, owned, aws), '"sightings"')


def test_a_condition_of_the_settings_is_not_blamed(tenant, mine, aws, collection):
    (binding,) = mine.faces
    chosen = msgspec.structs.replace(mine, faces=(msgspec.structs.replace(binding, where="id <> ''"),))
    refuses(lambda: sync(tenant, chosen, aws), '"student_faces"')


def test_the_settings_of_the_session_stay(tenant, mine, aws, collection):
    tenant.execute("ALTER TABLE student_faces NO FORCE ROW LEVEL SECURITY")
    tenant.commit()
    sync(tenant, mine, aws)
    assert tenant.execute("SELECT current_setting('row_security')").fetchone() == ("on",)


def test_a_backfill_refuses_a_library_of_which_rows_are_hidden(tenant, mine, database):
    tenant.execute("RESET ROLE")
    hide(tenant, "assets", "false")
    tenant.execute(f"ALTER TABLE assets OWNER TO {ROLE}")
    tenant.commit()
    with connect(mine.backfill, database) as connection:
        connection.execute(f"SET ROLE {ROLE}")
        refuses(lambda: plan(connection, mine, Options()), "assets")
