"""The README is run: what it shows is what a user sees."""

import json
import re
from pathlib import Path

import pytest

from seedtool.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

MILLISECONDS = re.compile(r"\d+ ms")


def tour():
    """The console block's commands, each with the output it shows."""
    (block,) = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_the_tour_shows_what_a_user_sees(shell):
    for command, output in tour():
        assert MILLISECONDS.sub("N ms", shell(command)) == MILLISECONDS.sub("N ms", output), command


def rows(heading):
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (`.+?) \|$", section, flags=re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in found]


def test_every_command_is_told():
    told = " ".join(row[0] for row in rows("In your own project"))
    assert [name for name in COMMANDS if not re.search(rf"`{name}\b|; `{name}|, `{name}", told)] == []


@pytest.fixture(scope="module")
def enrolled(shell):
    """The school with its faces; what is called then changes nothing in it."""
    shell("seedtool db-reset --yes --seed local -q; seedtool enroll --all -q")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("`sync-faces`, `seed full`, `faces status`", "seedtool sync-faces --json"),
        ("`sync-faces`, `seed full`, `faces status`", "seedtool faces status --json"),
        ("`recognize`", "seedtool recognize --json seeds/photos/classes/7-basico-a.jpg"),
        ("`enroll`", "seedtool enroll --json student-001 seeds/photos/students/student-001/photo-2.jpg"),
        ("`enroll`", "seedtool enroll --json --all"),
    ],
)
def test_the_policy_of_a_command_names_all_that_it_calls(shell, enrolled, command, line):
    told = {row[0]: row[1] for row in rows("What AWS has to allow")}[command]
    called = {f"rekognition:{name}" for name in json.loads(shell(line))["calls"]}
    assert called <= set(re.findall(r"`(rekognition:\w+)`", told))
    policy = json.loads(re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)[0])
    assert called <= set(policy["Statement"][0]["Action"])


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
