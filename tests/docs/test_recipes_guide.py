"""The guide to recipes is run: its commands, its recipe, and its lines of rows."""

import re
import tomllib
from pathlib import Path

import pytest

from seedtool.generating.recipe import read

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "guides" / "recipes.md").read_text(encoding="utf-8").partition("\n## The words\n")[0]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_commands_do_what_the_guide_says(shell, checkout):
    commands = [line[2:].partition("#")[0].strip() for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 5
    shell("sed -i 's/^schools = .*/schools = \"1 imagined\"/; s/^units = .*//' seeds/district.toml")
    assert "loaded demo: " in shell(f"{commands[0]} --yes 2>&1")
    assert "loaded district" in shell(commands[1])
    assert "unloaded district" in shell(commands[2])
    shell("seedtool seed unload demo")
    assert "faces planted" in shell(f"{commands[3]} 2>&1")
    shell(commands[4])


def test_the_recipe_of_the_guide_is_loaded(shell, checkout):
    (recipe,) = blocks("toml")
    (checkout / "seeds" / "families.toml").write_text(recipe, encoding="utf-8")
    shell("seedtool db-reset --yes --seed local -q")
    shown = shell("seedtool seed load families --dry-run")
    assert "inferred: identification_number" in shown
    assert "loaded families: 6,997 rows" in shell("seedtool seed load families")
    drafted = shell("seedtool seed recipe students legal_guardians")
    assert tomllib.loads(drafted)["rows"]["legal_guardians"] == 100


@pytest.mark.parametrize("line", re.findall(r"^\| `(\w+ = .+?)` \|", TEXT, flags=re.MULTILINE))
def test_a_line_of_rows_is_understood(line):
    parent = re.search(r'per (\w+)"|per = "(\w+)"', line)
    others = f"{parent[1] or parent[2]} = 10\n" if parent else ""
    read(f"[rows]\n{others}{line}\n".encode(), "guide", "guide.toml")
