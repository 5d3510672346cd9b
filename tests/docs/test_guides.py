"""The guides' examples are run."""

import re
from pathlib import Path

from seedtool.seeding.profiles import load_profiles
from seedtool.settings import load
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def test_the_profiles_of_the_seed_guide_can_be_loaded(tmp_path):
    text = (ROOT / "docs" / "guides" / "seeds.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "profiles.toml").write_text(block, encoding="utf-8")
    (tmp_path / "local").mkdir()
    profiles = load_profiles(tmp_path)
    assert profiles["full"].sync_faces
    assert not profiles["local"].sync_faces


def test_the_bindings_of_the_face_guide_can_be_read(tmp_path):
    text = (ROOT / "docs" / "guides" / "faces.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "pyproject.toml").write_text("\n".join(blocks), encoding="utf-8")
    students, pupils = load(tmp_path, environ={"HOME": str(tmp_path)}).faces
    assert students.by_row
    assert (pupils.person, pupils.photo) == ("pupil_id", "photo_key")


def test_the_day_of_the_snapshot_guide_is_as_a_user_sees_it(shell, checkout):
    text = (ROOT / "docs" / "guides" / "snapshots.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)

    def told(output):
        return re.sub(
            r"[ -]+", " ", re.sub(r"[\d.]+ (ms|kB|MB|s)\b", r"N \1", output)
        )  # a longer age widens its column

    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        assert told(shell(command)) == told(output), command
    assert (checkout / "school.dump").is_file()


def test_what_the_reset_guide_lists_is_what_a_user_sees(shell):
    text = (ROOT / "docs" / "guides" / "resets.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)

    def told(output):  # digests, and the name of the folder, are each checkout's own
        return re.sub(
            r"[ -]+", " ", re.sub(r"[0-9a-f]{20}|[\d.]+ MB|(?<=project )[\w-]+$", "N", output, flags=re.MULTILINE)
        )

    shell("seedtool cache prune --all -q")
    first, second = (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:])
    shell(first[0])
    # the server makes the spare and drops the old database on its own, in either order
    seen = until(lambda: "spare " in (now := shell(second[0])) and "being dropped" not in now and now)
    assert sorted(told(seen).splitlines()) == sorted(told(second[2]).splitlines())


def test_every_word_of_the_glossary_is_in_order():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(\w+)", text, flags=re.MULTILINE)
    assert words == sorted(words, key=str.lower)


def prose(page):
    """The lines of a page that can wrap: no tables, no code, no pictures."""
    code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        if not code and not line.lstrip().startswith(("|", "```", "!")):
            yield number, line


def test_prose_wraps_at_100_columns():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    wide = [f"{page.name}:{number}" for page in pages for number, line in prose(page) if len(line) > 100]
    assert wide == []
