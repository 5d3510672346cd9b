"""The public functions do what the commands do, and find the project as the commands find it."""

import doctest
import inspect
import pydoc
import re
import secrets
import shutil

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


#: The functions in an order in which their examples are true, one after the other, of the school with its faces.
DAY = [
    "adopt",
    "load_settings",
    "find_target",
    "reset",
    "connect",
    "seed",
    "sync",
    "enroll_all",
    "enroll",
    "enroll_manifest",
    "faces_status",
    "dedupe_faces",
    "recognize",
    "open_aws",
    "save_snapshot",
    "list_snapshots",
    "rename_snapshot",
    "export_snapshot",
    "import_snapshot",
    "restore_snapshot",
    "delete_snapshots",
    "dump_seeds",
    "migrate",
    "fingerprint",
    "plan_reset",
    "prepare",
    "list_cache",
    "prune_cache",
    "examine",
    "guard_status",
    "preview_load",
    "load",
    "load_files",
    "draft_recipe",
    "unload",
    "check_policy",
    "draft_policy",
    "preview_masks",
    "plan_refresh",
    "refresh",
    "protect",
    "unprotect",
]
LIBRARY = ["plan_backfill", "run_backfill", "waiting_faces", "decide_faces"]


def run_examples(names):
    told = []
    runner = doctest.DocTestRunner(verbose=False)
    for name in names:
        found = inspect.getdoc(getattr(seedtool, name)).partition("Example:\n")[2]
        assert found, f"{name} has no example"
        test = doctest.DocTestParser().get_doctest(found, {"seedtool": seedtool}, name, None, None)
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_each_example_of_help_is_true(here, monkeypatch):
    assert {*DAY, *LIBRARY} == {name for name in seedtool.__all__ if inspect.isfunction(getattr(seedtool, name))}
    monkeypatch.setenv("SEEDTOOL_REFRESH_FROM", seedtool.find_target(here.settings).url.replace("+psycopg", ""))
    monkeypatch.setenv("SEEDTOOL_REFRESH_KEY", secrets.token_hex(32))
    before = {path: path.read_bytes() for path in here.root.glob("seeds/local/grade_sections.*")}
    try:
        run_examples(DAY)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        for made in ("photos.csv", "kept.dump"):
            (here.root / made).unlink(missing_ok=True)
        shutil.rmtree(here.root / "rows", ignore_errors=True)
    monkeypatch.setenv("SEEDTOOL_DATABASE", "library")
    seedtool.reset("photos")
    run_examples(LIBRARY)


def test_help_of_the_package_shows_each_function_with_its_example():
    functions = pydoc.plain(pydoc.render_doc(seedtool)).partition("\nFUNCTIONS\n")[2]
    shown = re.split(r"^    (?=\w+(?: = \w+)?\()", functions, flags=re.MULTILINE)[1:]
    assert {*DAY, *LIBRARY} <= {re.match(r"\w+", each)[0] for each in shown}
    assert [each for each in shown if "Example:\n" not in each] == []


def test_work_is_heard_and_refused_as_at_the_command_line(here):
    heard = Heard()
    done = seedtool.reset("local", yes=True, listener=heard)
    assert done.seeded.seed.rows > 300
    assert {"lock", "swap"} <= set(heard.steps)
    assert query("SELECT count(*) FROM student_faces WHERE starts_with(face_id, 'placeholder:')") == [(64,)]
    with pytest.raises(seedtool.SeedtoolError) as refusal:
        seedtool.reset("local")
    assert refusal.value.exit_code == 3
    assert "--yes" in refusal.value.remedy
    photo = here.root / "seeds/photos/students/student-001/photo-1.jpg"
    assert seedtool.recognize(photo, listener=heard).ok
    assert {what for what, _, _ in heard.counts} == {"faces"}
    seedtool.protect()
    assert seedtool.guard_status().consent == "refused"
    with pytest.raises(seedtool.SeedtoolError):
        seedtool.seed("local")
    seedtool.unprotect(seedtool.guard_status().database.split(" on ")[0])


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
