"""The public functions do what the commands do, and find the project as the commands find it."""

import inspect

import psycopg
import pytest

import seedtool


@pytest.fixture
def here(school, monkeypatch):
    """The working folder is that of a project, as it is for a command."""
    monkeypatch.chdir(school.root)
    return school


def query(statement):
    with seedtool.connect(seedtool.find_target(seedtool.load_settings())) as connection:
        return connection.execute(statement).fetchall()


class Heard(seedtool.Listener):
    def __init__(self):
        self.steps, self.notes, self.counts = [], [], []

    def step(self, name):
        self.steps.append(name)

    def note(self, text):
        self.notes.append(text)

    def progress(self, what, done, total=None):
        self.counts.append((what, done, total))


def test_a_day_without_the_command_line(here, tmp_path):
    heard = Heard()
    done = seedtool.reset("local", yes=True, listener=heard)
    assert done.seeded.seed.rows > 300
    assert {"lock", "swap"} <= set(heard.steps)
    assert query("SELECT count(*) FROM student_faces WHERE starts_with(face_id, 'placeholder:')") == [(64,)]

    with pytest.raises(seedtool.SeedtoolError) as refusal:
        seedtool.reset("local")
    assert refusal.value.exit_code == 3
    assert "--yes" in refusal.value.remedy

    assert seedtool.seed("local").seed.tables[0].unchanged > 0
    enrolled = seedtool.enroll_all(listener=heard)
    assert enrolled.ok
    assert seedtool.reset("full", yes=True).seeded.sync.placeholders == 0
    assert seedtool.sync(strict=True).unchanged == 64
    assert seedtool.faces_status().ok
    assert seedtool.dedupe_faces(dry_run=True).found == 0
    assert seedtool.recognize(here.root / "seeds/photos/students/student-001/photo-1.jpg", listener=heard).ok
    assert {what for what, _, _ in heard.counts} == {"faces"}

    saved = seedtool.save_snapshot("before", note="64 faces")
    assert saved.snapshot.note == "64 faces"
    assert [each.name for each in seedtool.list_snapshots()] == ["before"]
    seedtool.rename_snapshot("before", "kept")
    file = tmp_path / "kept.dump"
    seedtool.export_snapshot("kept", file)
    seedtool.import_snapshot(file, "copy")
    with seedtool.connect(seedtool.find_target(seedtool.load_settings())) as connection:
        connection.execute("DELETE FROM student_faces")
    assert seedtool.restore_snapshot("kept", yes=True).replaced
    assert query("SELECT count(*) FROM student_faces") == [(64,)]
    seedtool.delete_snapshots(["kept", "copy"])
    assert seedtool.list_snapshots() == []

    assert seedtool.dump_seeds(["grade_sections"]).rows > 0
    assert seedtool.migrate().applied == []
    assert seedtool.fingerprint("local") != seedtool.fingerprint()
    assert {each.kind for each in seedtool.list_cache()} >= {"template"}
    assert seedtool.prune_cache(everything=True, dry_run=True).dropped
    assert all(check.state != "wrong" for check in seedtool.examine())

    seedtool.protect()
    assert seedtool.guard_status().consent == "refused"
    with pytest.raises(seedtool.SeedtoolError):
        seedtool.seed("local")
    seedtool.unprotect(seedtool.guard_status().database.split(" on ")[0])
    assert seedtool.guard_status().consent == "yes"


def test_a_library_without_the_command_line(here):
    seedtool.reset("photos", yes=True)
    plan = seedtool.plan_backfill()
    assert plan.assets > 0
    report = seedtool.run_backfill(seedtool.BackfillOptions(limit=2))
    assert report.ok
    waiting = list(seedtool.waiting_faces(limit=1))
    assert len(waiting) == 1
    decided = seedtool.decide_faces([seedtool.FaceChoice(what="skip", face=waiting[0].face_id)])
    assert decided.assigned[0].face_id == waiting[0].face_id


def test_everything_can_be_passed(here, monkeypatch, tmp_path):
    settings = seedtool.load_settings(here.root)
    monkeypatch.chdir(tmp_path)  # no project
    with pytest.raises(seedtool.SeedtoolError) as refusal:
        seedtool.migrate()
    assert refusal.value.exit_code == 2
    other = seedtool.find_target(settings).at("another")
    assert seedtool.migrate(settings=settings, target=other).created
    with psycopg.connect(other.conninfo) as connection:
        assert connection.execute("SELECT count(*) FROM students").fetchone() == (0,)
    assert seedtool.reset("local", settings=settings, target=other, confirm="another").reset.replaced


@pytest.mark.parametrize("name", [name for name in seedtool.__all__ if inspect.isfunction(getattr(seedtool, name))])
def test_each_function_says_what_it_takes_returns_and_raises(name):
    function = getattr(seedtool, name)
    told = inspect.getdoc(function)
    assert told
    parameters = inspect.signature(function).parameters
    documented = set(parameters) - {"target", "settings", "listener"}
    for parameter in documented if "Args:" in told else ():
        assert f"{parameter}:" in told, (name, parameter)
    assert len([each for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]) <= 4


def test_the_face_of_the_package_lists_the_public_names():
    assert dir(seedtool) == sorted(seedtool.__all__)
    assert "seedtool db-reset --yes --seed full" in seedtool.__doc__
