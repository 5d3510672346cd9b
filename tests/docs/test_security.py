"""The page on security names tests that exist, and every command."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guides" / "security.md").read_text(encoding="utf-8")
TESTS = re.findall(r"^\| .+ \| .+ \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_the_test_against_a_threat_exists(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_threat_has_a_test():
    _, _, table = PAGE.partition("## Threats and tests")
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| threat"))]
    assert len(rows) == len(TESTS) >= 20


@pytest.mark.parametrize(
    "command",
    [
        "db-reset", "seed", "migrate", "snapshot restore", "snapshot save", "snapshot delete", "snapshot import",
        "snapshot export", "ci prepare", "cache prune", "faces dedupe", "enroll", "recognize", "backfill", "sync-faces",
    ],
)  # fmt: skip
def test_what_a_command_may_destroy_is_told(command):
    _, _, rest = PAGE.partition("## What each command may destroy")
    table, _, _ = rest.partition("\n## ")
    assert f"`{command}" in table
