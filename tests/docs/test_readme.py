"""The README, the tour and the policy for AWS are run: what they show is what a user sees."""

import importlib.util
import json
import re
import shlex
import shutil
import sys
import tomllib
import types
from pathlib import Path

import pytest

from seedtool.cli import COMMANDS
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCHOOL = (ROOT / "docs/guides/school.md").read_text(encoding="utf-8")
AWS = (ROOT / "docs/guides/aws.md").read_text(encoding="utf-8")

MILLISECONDS = re.compile(r"\d+ ms")


def tour():
    """The console block's commands, each with the output it shows."""
    (block,) = re.findall(r"```console\n(.*?)```", SCHOOL, flags=re.DOTALL)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_the_tour_shows_what_a_user_sees(shell):
    for command, output in tour():
        assert MILLISECONDS.sub("N ms", shell(command)) == MILLISECONDS.sub("N ms", output), command


def test_the_demo_shows_that_nothing_is_uploaded_or_indexed_again(shell, enrolled, checkout):
    shutil.copy(ROOT / "demo.py", checkout)
    # the demo calls the seedtool beside its Python; here that is the one on the shell's PATH
    code = "import runpy, shutil, sys; sys.executable = shutil.which('seedtool'); runpy.run_path('demo.py', run_name='__main__')"
    with processes.unmeasured():
        told = shell(f'{shlex.quote(sys.executable)} -c "{code}"')
    counted = dict(re.findall(r"^(\S.*?)  +([\d.]+)$", told, flags=re.MULTILINE))
    assert counted["faces linked"] == counted["photos"] == "64"
    assert counted["uploads by db-reset, seed and sync-faces"] == counted["IndexFaces calls by the same"] == "0"
    assert "8 of 8 faces recognised" in told
    assert "proof: nothing found" in told
    assert "seeded local into seedtool_demo on the embedded server" in told
    assert "faces wait for a person: seedtool faces review" in told


def test_the_first_page_counts_the_commands_of_each_task():
    """What a stranger does first. The demo is run here, the other tasks where the guides are."""
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    told = dict(
        re.findall(r"^\| (.+?) \| (.+?) \| \[.+\) \|$", index.partition("## Four tasks")[2], flags=re.MULTILINE)
    )
    number = (
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ).index

    def typed(guide, program):
        text = (ROOT / f"docs/guides/{guide}.md").read_text(encoding="utf-8")
        return [line for line in re.findall(r"^\$ (.+)$", text, flags=re.MULTILINE) if re.search(program, line)]

    (binding,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs/guides/own-tables.md").read_text("utf-8"), flags=re.DOTALL
    )
    settings = [line for line in binding.splitlines() if line and not line.startswith("#")]
    commands, lines = re.findall(r"(\w+), and (\w+) lines", told["own tables to a linked seed"])[0]
    assert (number(commands), number(lines)) == (len(typed("own-tables", "^seedtool ")), len(settings))
    assert number(told["fifty tests upon it"]) == len(typed("own-tables", "^pytest "))
    count, _, names = told["production to a masked staging"].partition(": ")
    refreshes = typed("refresh", "seedtool refresh (?!.*--reuse)")
    assert number(count) == len(refreshes)
    assert [name in line for name, line in zip(re.findall("`(.+?)`", names), refreshes, strict=True)] == [
        True
    ] * number(count)


def rows(page, heading):
    section = page.split(f"# {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (`.+?) \|$", section, flags=re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in found]


def test_every_command_is_told():
    told = " ".join(row[0] for row in rows(README, "The commands"))
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
    told = {row[0]: row[1] for row in rows(AWS, "What AWS has to allow")}[command]
    called = {f"rekognition:{name}" for name in json.loads(shell(line))["calls"]}
    assert called <= set(re.findall(r"`(rekognition:\w+)`", told))
    policy = json.loads(re.findall(r"```json\n(.*?)```", AWS, flags=re.DOTALL)[0])
    assert called <= set(policy["Statement"][0]["Action"])


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_on_a_package_index_every_link_leads_somewhere(monkeypatch):
    # hatchling is there only while a package is built
    hook = types.SimpleNamespace(MetadataHookInterface=object)
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", hook)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = module.Readme()
    readme.root, metadata = str(ROOT), {"urls": project["urls"]}
    readme.update(metadata)
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", metadata["readme"]["text"])
    assert len(links) == len(re.findall(r"\]\(", README))
    for picture, link in links:
        assert link.startswith("https://")
        if link.startswith(project["urls"]["Source"]):
            kind, branch, path = link.removeprefix(f"{project['urls']['Source']}/").partition("#")[0].split("/", 2)
            assert (kind, branch) == ("raw" if picture else "blob", "main")
            assert (ROOT / path).exists()
