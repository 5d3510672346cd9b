"""Generated rows come with a reset, and next time from its template."""

import pytest

from seedtool.errors import RecipeError, UsageError
from seedtool.generating.layer import Generated, loaded_rows
from seedtool.generating.recipe import find
from seedtool.postgres import server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting.guard import Consent
from seedtool.resetting.reset import plan, reset
from seedtool.schema.layer import Schema
from seedtool.seeding.layer import Seeds
from seedtool.seeding.profiles import load_profiles
from seedtool.workflows import load as workflow
from seedtool.workflows.reset import generated
from tests.integration.generating.school import RECIPE, SCHEMA, School


def build(database):
    with server.connect(database) as connection:
        connection.execute(SCHEMA.encode())


@pytest.fixture
def stacked(tmp_path, project, database):
    """A project with a schema, a profile of one family, and a recipe."""
    found = School(project, database)
    found.write(RECIPE)
    (project.seeds / "local").mkdir()
    (project.seeds / "local" / "families.csv").write_text("id,name\npeople,P\n")
    (project.seeds / "profiles.toml").write_text('[local]\nsets = ["local"]\n')
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(f"# {tmp_path}\n")
    return found


def layers(school, **options):
    recipe = find(school.settings.seeds, "district", school.settings.root)
    profile = load_profiles(school.settings.seeds)["local"]
    rows = Generated(recipe, school.settings.root, **options)
    return [Schema(school.settings, build), Seeds(school.settings, profile), rows]


def reset_with(school, **options):
    return reset(school.settings, school.target, layers(school, **options), consent=Consent.NAME)


@pytest.mark.usefixtures("target")
class TestTemplates:
    @pytest.fixture(autouse=True)
    def swept(self, nothing_private_left):
        pass

    def test_rows_come_upon_those_of_a_profile_and_next_time_from_the_cache(self, stacked, monkeypatch):
        first = reset_with(stacked)
        rows = loaded_rows(first.results["load"])
        assert (rows.rows, rows.tables["pupils"][0]) == (150, 60)
        assert first.results["seed"]["rows"] == 1
        made = stacked.structure()
        assert ("pupils_of_family", "who is whose") in [(name, comment) for name, _, comment in made[0]]
        assert ("pupils_family_id_fkey", True) in [(name, checked) for name, _, checked, _ in made[1]]
        assert stacked.value("SELECT count(*) FROM families") == 31
        monkeypatch.setattr("seedtool.generating.loading.load_apart", pytest.fail)
        with open_cluster(stacked.target) as cluster:
            for each in cluster.private_databases():
                if each.kind == "template" and each.name != first.template:
                    cluster.drop(each.name)  # as `cache prune` drops what was not used for long
        again = reset_with(stacked)
        assert not again.built
        assert again.results == first.results
        assert stacked.value("SELECT count(*) FROM families") == 31

    def test_they_can_be_grown_and_taken_away_in_place(self, stacked):
        reset_with(stacked)
        assert stacked.load(scale=2).rows == 150
        assert stacked.unload()["families"].removed == 60
        assert stacked.query("SELECT id FROM families") == [("people",)]

    def test_what_shapes_them_gives_another_template_and_nothing_else_does(self, stacked):
        reset_with(stacked)
        for options in ({"scale": 2.0}, {"random_seed": "2"}):
            assert plan(stacked.target, layers(stacked, **options)).template is None
        assert plan(stacked.target, layers(stacked, workers=2)).template is not None
        stacked.write("# a comment\n" + RECIPE)
        assert plan(stacked.target, layers(stacked)).template is not None
        stacked.write(RECIPE.replace("1..3", "1..4"))
        assert plan(stacked.target, layers(stacked)).template is None

    def test_a_recipe_that_does_not_fit_leaves_the_target_as_it_is(self, stacked):
        stacked.execute("CREATE TABLE old ()")
        stacked.write(RECIPE.replace("status", "statos"))
        with pytest.raises(RecipeError):
            reset_with(stacked)
        assert stacked.value("SELECT count(*) FROM old") == 0


def test_a_role_without_createdb_gets_the_rows_in_the_one_transaction(stacked):
    from seedtool.resetting.transaction import one_transaction

    stacked.execute(SCHEMA)
    with one_transaction(stacked.target) as connection:
        connection.fence()
        result = layers(stacked)[-1].build_in_place(connection)
        assert stacked.value("SELECT to_regclass('seedtool.loads')") is None  # others see nothing of it
        connection.finish()
    assert loaded_rows(result).rows == 150
    assert stacked.value("SELECT count(*) FROM pupils") == 60
    assert workflow.load("district", settings=stacked.settings, target=stacked.target,
                         confirm=stacked.target.name).rows == 0  # fmt: skip


def test_a_scale_that_is_no_multiple_of_a_unit_is_refused_before_all_else(stacked):
    with pytest.raises(UsageError) as raised:
        generated(stacked.settings, "district", scale=0.5)
    assert raised.value.place["option"] == "--scale"
    assert "units = N" in raised.value.remedy
