"""The fingerprint of a profile's rows: what changes it, and what does not."""

import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest

from seedtool.errors import ProfileError
from seedtool.files import hashing
from seedtool.seeding import seed_files
from seedtool.seeding.profiles import load_profiles
from seedtool.seeding.seed_files import seed_fingerprint
from seedtool.settings import FaceBinding, load

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROFILES = '[local]\nsets = ["local"]\n[full]\nsets = ["local"]\nsync_faces = true\n[other]\nsets = ["other"]\n'


class Seeds:
    """A project's seeds, and the fingerprint of a profile of them."""

    def __init__(self, root):
        self.root = root
        self.settings = load(root, environ={"SEEDTOOL_HOME": f"{root}-state"})

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def fingerprint(self, profile="local", now=NOW, **changes):
        settings = msgspec.structs.replace(self.settings, **changes)
        return seed_fingerprint(settings, load_profiles(settings.seeds)[profile], now=now)

    def is_of_its_day(self):
        return self.fingerprint() != self.fingerprint(now=NOW + timedelta(days=1))


@pytest.fixture
def seeds(tmp_path):
    found = Seeds(tmp_path)
    found.write("pyproject.toml", "")
    found.write("seeds/profiles.toml", PROFILES)
    found.write("seeds/local/students.csv", "id,name\n1,Ana\n")
    found.write("seeds/other/grades.yaml", "- id: 1\n")
    return found


@pytest.fixture
def coded(seeds):
    """The same with a fixture in Python."""
    seeds.write("seeds/local/attendance.py", "from names.lists import NAMES\n\ndef rows():\n    yield {'id': 1}\n")
    seeds.write("names/__init__.py", "")
    seeds.write("names/lists.py", "import first_names\nNAMES = []\n")
    seeds.write("first_names.py", "ANA = 'Ana'\n")
    return seeds


def changed(seeds, name, content):
    before = seeds.fingerprint()
    seeds.write(name, content)
    return seeds.fingerprint() != before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("seeds/local/students.csv", "id,name\n1,Eva\n"),
        ("seeds/local/teachers.yaml", "- id: 1\n"),
        ("seeds/profiles.toml", PROFILES.replace('["local"]', '["local", "other"]')),
    ],
)
def test_what_shapes_the_rows_changes_it(seeds, name, content):
    assert changed(seeds, name, content)


@pytest.mark.parametrize("line", ['triggers = "off"', "refresh_materialized_views = false", 'after = ["x.sql"]'])
def test_what_follows_the_rows_changes_it(seeds, line):
    assert changed(seeds, "seeds/profiles.toml", PROFILES.replace("[full]", f"{line}\n[full]"))


def test_a_scripts_text_changes_it(seeds):
    seeds.write("seeds/x.sql", "SELECT 1")
    seeds.write("seeds/profiles.toml", PROFILES.replace("[full]", 'after = ["x.sql"]\n[full]'))
    assert changed(seeds, "seeds/x.sql", "SELECT 2")
    assert not seeds.is_of_its_day()
    seeds.write("seeds/x.sql", "SELECT current_date")
    assert seeds.is_of_its_day()


def test_the_order_of_the_sets_changes_it(seeds):
    seeds.write("seeds/profiles.toml", PROFILES.replace('["local"]', '["local", "other"]'))
    assert changed(seeds, "seeds/profiles.toml", PROFILES.replace('["local"]', '["other", "local"]'))


def test_face_bindings_change_it(seeds):
    assert seeds.fingerprint(faces=(FaceBinding(table="student_faces"),)) != seeds.fingerprint()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("seeds/profiles.toml", PROFILES.replace("[full]", '[new]\nsets = ["other"]\n[full]')),
        ("seeds/profiles.toml", PROFILES.replace("[full]", 'description = "all of it"\n[full]')),
        ("seeds/other/grades.yaml", "- id: 2\n"),
        ("seeds/local/README.md", "the students"),
        ("seeds/make.py", "print()"),
        ("seeds/photos/one.jpg", b"\xff"),
    ],
)
def test_what_does_not_leaves_it(seeds, name, content):
    assert not changed(seeds, name, content)


def test_profiles_of_the_same_sets_share_it(seeds):
    assert seeds.fingerprint("full") == seeds.fingerprint("local") != seeds.fingerprint("other")


def test_it_is_the_same_in_every_checkout_whatever_the_times_of_the_files(seeds, tmp_path_factory):
    other = Seeds(tmp_path_factory.mktemp("elsewhere"))
    for path in seeds.root.rglob("*"):
        if path.is_file():
            other.write(str(path.relative_to(seeds.root)), path.read_bytes())
    os.utime(other.root / "seeds/local/students.csv", (1, 1))
    assert other.fingerprint() == seeds.fingerprint()


def test_a_change_that_keeps_size_and_time_is_seen(seeds):
    path = seeds.root / "seeds/local/students.csv"
    stat = path.stat()
    before = seeds.fingerprint()
    path.write_text("id,name\n1,Eva\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert seeds.fingerprint() != before


class TestLarge:
    """Files of which a hash is remembered."""

    @pytest.fixture
    def large(self, seeds, monkeypatch):
        monkeypatch.setattr(hashing, "LARGE", 1)
        monkeypatch.setattr(hashing, "SETTLED", 0)
        seeds.settings.state_dir.mkdir(parents=True)
        seeds.path = seeds.root / "seeds/local/students.csv"
        seeds.before = seeds.fingerprint()
        return seeds

    def test_they_are_read_once(self, large, monkeypatch):
        monkeypatch.setattr(hashing.Hashes, "_read", pytest.fail)
        assert large.fingerprint() == large.before

    @pytest.mark.parametrize("how", ["in place", "by renaming"])
    def test_a_change_is_seen_even_with_the_old_size_and_time(self, large, how):
        stat = large.path.stat()
        if how == "in place":
            while large.path.stat().st_ctime_ns == stat.st_ctime_ns:  # the same tick of the clock
                large.path.write_text("id,name\n1,Eva\n")
        else:
            other = large.root / "other"
            other.write_text("id,name\n1,Eva\n")
            other.replace(large.path)
        os.utime(large.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert large.fingerprint() != large.before

    def test_one_that_was_changed_a_moment_ago_is_read_again(self, large, monkeypatch):
        monkeypatch.setattr(hashing, "SETTLED", 10**12)
        large.path.write_text("id,name\n1,Eva\n")
        first = large.fingerprint()
        stat = large.path.stat()
        monkeypatch.setattr(hashing.Hashes, "_read", lambda *_: hashing.Found("0", answer=False))
        assert large.path.stat() == stat
        assert large.fingerprint() != first

    def test_the_day_is_remembered_too(self, large):
        large.path.write_text("id,born\n1,today\n")
        assert large.is_of_its_day()
        assert large.is_of_its_day()

    @pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}'])
    def test_a_broken_memory_is_none(self, large, content):
        (large.settings.state_dir / "hashes.json").write_bytes(content)
        assert large.fingerprint() == large.before

    def test_without_a_folder_nothing_is_remembered_and_nothing_fails(self, seeds, monkeypatch):
        monkeypatch.setattr(hashing, "LARGE", 1)
        monkeypatch.setattr(hashing, "SETTLED", 0)
        assert seeds.fingerprint() == seeds.fingerprint()


class TestPython:
    @pytest.mark.parametrize(
        "name",
        [
            "seeds/local/attendance.py",
            "seeds/local/names.json",
            "seeds/data/names.txt",
            "seeds/tools.py",
            "names/lists.py",
            "names/more.py",
            "first_names.py",
        ],
    )
    def test_what_the_code_may_read_changes_it(self, coded, name):
        if name == "seeds/local/names.json":  # beside fixtures a set holds no other files, but folders
            name = "seeds/local/data/names.json"
        assert changed(coded, name, "# something else\n")

    @pytest.mark.parametrize(
        "name", ["seeds/other/grades.yaml", "seeds/photos/one.jpg", "app/models.py", "seeds/x.pyc"]
    )
    def test_the_rest_leaves_it(self, coded, name):
        assert not changed(coded, name, "something else\n")

    def test_a_variable_that_the_code_names(self, coded, monkeypatch):
        coded.write("seeds/local/attendance.py", "import os\nSCHOOL = os.environ.get('SCHOOL')\n")
        before = coded.fingerprint()
        monkeypatch.setenv("SCHOOL", "Andes")
        assert coded.fingerprint() != before

    @pytest.mark.parametrize(
        ("code", "reads"),
        [
            ("from datetime import date\nD = date.today()", True),
            ("import datetime as d\nD = d.datetime.now()", True),
            ("import time\nD = time.strftime('%Y')", True),
            ("from time import localtime as here", True),
            ("import faker", True),
            ("import pendulum\nD = pendulum.tomorrow()", True),
            ("def rows():\n    yield {'start_time': '08:00', 'known': snow}", False),
        ],
    )
    def test_whether_it_reads_the_day(self, coded, code, reads):
        coded.write("names/lists.py", code)
        assert coded.is_of_its_day() is reads


@pytest.mark.parametrize(
    ("content", "reads"),
    [
        ("id,born\n1,today\n", True),
        ("id,born\n1,'NOW'\n", True),
        ("id,born\n1,tomorrow 08:00\n", True),
        ("id,born\n1,yesterday allballs\n", True),
        ("id,born\n1,2026-03-01\n", False),
        ("id,name\n1,Snow White is known as unknown\n", False),
    ],
)
def test_a_text_that_names_a_day_from_the_present_one(seeds, content, reads):
    seeds.write("seeds/local/students.csv", content)
    assert seeds.is_of_its_day() is reads


def test_the_day_is_that_of_the_seeds_time_zones(seeds, monkeypatch):
    seeds.write("seeds/local/students.csv", "id,born\n1,today\n")
    late = datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert seeds.fingerprint(now=late) == seeds.fingerprint(now=NOW)
    assert seeds.fingerprint(now=late + timedelta(hours=2)) != seeds.fingerprint(now=late)


def test_a_missing_set_is_told(seeds):
    profile = msgspec.structs.replace(load_profiles(seeds.settings.seeds)["local"], sets=("gone",))
    with pytest.raises(ProfileError) as caught:
        seed_fingerprint(seeds.settings, profile)
    assert "gone" in caught.value.message


class TestPinned:
    """Hashes that version 0.1.0 gave. Templates that it made are found by them, so they must not change."""

    @pytest.fixture
    def pinned(self, seeds, monkeypatch):
        monkeypatch.setattr(seed_files, "VERSION", "0.1.0")
        monkeypatch.setattr(seed_files, "sys", SimpleNamespace(version_info=(3, 12)))
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()
        seeds.write("seeds/local/students.csv", "id,born\n1,today\n")
        seeds.write("seeds/profiles.toml", '[local]\nsets = ["local"]\n')
        yield seeds
        monkeypatch.undo()
        time.tzset()

    BINDINGS = (FaceBinding(table="student_faces"),)

    def test_of_texts(self, pinned):
        found = pinned.fingerprint(faces=self.BINDINGS)
        assert found == "aa7f0406ee1f9a138a7a70d28d1d80fee414f792d3e88e568c46f2623c26c81b"

    def test_of_python(self, pinned, monkeypatch):
        (pinned.root / "seeds/other/grades.yaml").unlink()
        monkeypatch.setenv("SEED_TEST", "x")
        pinned.write(
            "seeds/local/attendance.py",
            "import os\nX = os.environ['SEED_TEST']\nfrom names import A\ndef rows():\n    yield {}\n",
        )
        pinned.write("names.py", "A = 1\n")
        pinned.write("seeds/data/a.json", "{}")
        found = pinned.fingerprint(faces=self.BINDINGS)
        assert found == "942bbbb3301b5b2a5e6686c09b1939c30ceb6f926886318f72accfa630cf1345"
