"""What follows the rows: the profile's scripts and the materialized views, in the same transaction."""

import pytest

from seedtool.errors import FixtureError, ProfileError, SeedError
from seedtool.listener import Listener
from seedtool.seeding.fixtures import read_profile
from seedtool.seeding.merge import seed
from seedtool.seeding.profiles import Profile, load_profiles


class Notes(Listener):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


@pytest.fixture
def viewed(project):
    """Pupils, and materialized views of them: one of another one, and one through an ordinary view."""
    project.run("""
        CREATE MATERIALIZED VIEW b_names AS SELECT name FROM pupils;
        CREATE MATERIALIZED VIEW a_count AS SELECT count(*) AS names FROM b_names;
        CREATE VIEW loud AS SELECT loud FROM pupils;
        CREATE MATERIALIZED VIEW c_loud AS SELECT * FROM loud;
        CREATE MATERIALIZED VIEW notes_seen AS SELECT clock_timestamp() AS at FROM notes;
        CREATE MATERIALIZED VIEW empty AS SELECT 1 AS one WITH NO DATA""")
    project.write("pupils.csv", "id,name\np1,Ana\np2,Eva\n")
    return project


def run(project, listener=None, dry_run=False, **options):
    profile = Profile(name="local", sets=("local",), **options)
    fixtures = read_profile(project.root / "seeds", profile, project.root)
    return seed(project.connection, fixtures, dry_run=dry_run, listener=listener or Listener())


def test_materialized_views_are_filled_in_the_order_of_what_they_show(viewed):
    run(viewed)
    assert viewed.rows("SELECT names FROM a_count") == [(2,)]
    assert viewed.rows("SELECT loud FROM c_loud ORDER BY 1") == [("ANA",), ("EVA",)]
    assert viewed.rows("SELECT one FROM empty") == [(1,)]
    viewed.write("pupils.csv", "id,name\np1,Ana\n")
    run(viewed)
    assert viewed.rows("SELECT names FROM a_count") == [(1,)]


def test_only_views_of_changed_tables_are_refreshed(viewed):
    viewed.run("INSERT INTO notes (body) VALUES ('x'); REFRESH MATERIALIZED VIEW notes_seen")
    seen = viewed.rows("SELECT at FROM notes_seen")
    run(viewed)
    assert viewed.rows("SELECT at FROM notes_seen") == seen


def test_a_profile_may_leave_the_views_alone(viewed):
    run(viewed, refresh_materialized_views=False)
    assert viewed.rows("SELECT names FROM a_count") == [(0,)]


def test_a_dry_run_leaves_the_views_as_they_were(viewed):
    run(viewed, dry_run=True)
    assert viewed.rows("SELECT names FROM a_count") == [(0,)]


def test_views_of_partitions_are_refreshed(project):
    project.run("""
        CREATE TABLE visits (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE MATERIALIZED VIEW in_2026 AS SELECT id FROM visits_2026;
        CREATE MATERIALIZED VIEW ever AS SELECT id FROM visits""")
    project.write("visits.csv", "id,day\n1,2026-03-01\n")
    run(project)
    assert project.rows("SELECT id FROM in_2026 UNION ALL SELECT id FROM ever") == [(1,), (1,)]


def test_a_view_of_another_owner_is_named_and_left(viewed):
    viewed.run("DROP ROLE IF EXISTS seeding_writer; CREATE ROLE seeding_writer")
    viewed.run(f"GRANT CREATE ON DATABASE {viewed.connection.info.dbname} TO seeding_writer")
    viewed.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO seeding_writer")
    notes = Notes()
    try:
        with viewed.connection.transaction(force_rollback=True):
            viewed.connection.execute("SET LOCAL ROLE seeding_writer")
            run(viewed, notes)
        assert any("b_names" in text and "owner" in text for text in notes.texts)
    finally:
        viewed.run("DROP OWNED BY seeding_writer; DROP ROLE seeding_writer")


def test_a_view_whose_query_fails_stops_the_seed(project):
    project.run("CREATE MATERIALIZED VIEW shares AS SELECT 1 / (age - 7) AS share FROM pupils")
    project.write("pupils.csv", "id,name,age\np1,Ana,7\n")
    with pytest.raises(SeedError):
        run(project)
    assert project.rows("SELECT count(*) FROM pupils") == [(0,)]


def test_scripts_run_after_the_rows_and_before_the_views(viewed):
    (viewed.root / "seeds/after.sql").write_text(
        "-- 100 % of {them}, and %s; a 'quote' and $$ dollars $$\n"
        "INSERT INTO notes (body) SELECT name || '''s; %' FROM pupils;\n"
        "UPDATE pupils SET name = name || '!';"
    )
    run(viewed, after=("after.sql",))
    assert viewed.rows("SELECT body FROM notes ORDER BY 1") == [("Ana's; %",), ("Eva's; %",)]
    assert viewed.rows("SELECT name FROM b_names ORDER BY 1") == [("Ana!",), ("Eva!",)]


def test_a_script_runs_with_the_sessions_own_settings(project):
    project.write("pupils.csv", "id,name\np1,Ana\n")
    (project.root / "seeds/zone.sql").write_text("INSERT INTO notes (body) VALUES (current_setting('TimeZone'))")
    project.run("SET TimeZone = 'America/Santiago'")
    project.connection.commit()
    run(project, after=("zone.sql",))
    assert project.rows("SELECT body FROM notes") == project.rows("SELECT current_setting('TimeZone')")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT 1;\n\nSELEC 2;\n", 3), ("SELECT 1;\nSELECT nothing FROM pupils;\n", 2), ("COMMIT;", None),
        ("ROLLBACK; SELECT 1", None), ("SELECT 1;\nCOMMIT; BEGIN", None), ("SELECT 1 / 0", None),
        ("COPY pupils FROM STDIN", None),
    ],
)  # fmt: skip
def test_a_script_that_fails_is_named_and_nothing_is_written(project, text, line, approved):
    project.write("pupils.csv", "id,name\np1,Ana\n")
    before = project.everything()
    (project.root / "seeds/after.sql").write_text(text)
    with pytest.raises(FixtureError) as caught:
        run(project, after=("after.sql",))
    assert caught.value.file == "seeds/after.sql"
    assert line is None or caught.value.line == line
    approved(caught.value)
    assert project.everything() == before


@pytest.mark.parametrize("content", [None, b"SELECT 1;\nSELECT '\xff'"])
def test_a_script_that_cannot_be_read_is_named(project, content):
    project.write("pupils.csv", "id,name\np1,Ana\n")
    if content is not None:
        (project.root / "seeds/after.sql").write_bytes(content)
    with pytest.raises(FixtureError) as caught:
        run(project, after=("after.sql",))
    assert (caught.value.file, caught.value.line) == ("seeds/after.sql", 2 if content else None)


def test_a_script_outside_the_seeds_is_refused(project):
    (project.root / "seeds/local").mkdir(parents=True)
    (project.root / "seeds/profiles.toml").write_text('[local]\nsets = ["local"]\nafter = ["../x.sql"]\n')
    with pytest.raises(ProfileError) as caught:
        load_profiles(project.root / "seeds")
    assert caught.value.place == {"file": "profiles.toml", "profile": "local", "key": "after"}
    assert "../x.sql" in caught.value.message
