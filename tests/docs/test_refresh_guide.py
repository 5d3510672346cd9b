"""The guide to refreshes: its commands are run, and its tables compared with the code."""

import re
from pathlib import Path

import pytest

from seedtool.refreshing.masks import words
from seedtool.refreshing.policy import parse_policy

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "refresh.md").read_text(encoding="utf-8")


def test_the_commands_of_the_guide_do_what_it_shows(shell, monkeypatch):
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE, flags=re.DOTALL)
    shell("seedtool db-reset --yes --seed local -q")
    (url,) = re.findall(r"^export DATABASE_URL='?([^'\n]+)", shell("seedtool env"), flags=re.MULTILINE)
    monkeypatch.setenv("PRODUCTION", url)

    def told(output):
        return re.sub(r"\d[\d.,:+T-]*", "N", re.sub(r"/\S*/(?=run:|refreshes/)|/(?=run:|state)(state/)?", "", output))

    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        assert told(shell(command)) == told(output), command


def test_the_policy_of_the_guide_can_be_read(tmp_path):
    (tmp_path / "after.sql").touch()
    text, faces = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    policy = parse_policy(text.encode(), "policy.toml", tmp_path)
    assert policy.subset.roots[0].where == "grade_id = 'grade-4b'"
    assert parse_policy(faces.encode(), "policy.toml", tmp_path).tables


def test_the_masks_of_the_guide_are_those_of_the_code():
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", GUIDE, flags=re.MULTILINE)
    assert len(listed) > 15
    for name, said in listed:
        assert words()[name] == said


@pytest.mark.parametrize("word", ["SEEDTOOL_REFRESH_KEY", "SEEDTOOL_REFRESH_FROM"])
def test_the_variables_of_the_guide_are_those_of_the_settings(word):
    from seedtool.settings import SETTINGS

    assert word in {name for each in SETTINGS.values() for name in each.variables}
    assert word in GUIDE
