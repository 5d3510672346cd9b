"""The proof shares no code with masks, policy or copy, so that a fault of theirs is none of the proof."""

import ast
import sys
from pathlib import Path

import seedtool.refreshing.proof

ALLOWED = ("seedtool.postgres", "seedtool.errors", "seedtool.refreshing.proof")
OTHERS = {"numpy", "psycopg", "msgspec"}


def test_the_proof_imports_postgres_and_errors_alone():
    imported = set()
    for file in Path(seedtool.refreshing.proof.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level
                imported.add(str(node.module))
            elif isinstance(node, ast.Import):
                imported |= {each.name for each in node.names}
    strangers = {
        each
        for each in imported
        if each.split(".")[0] not in sys.stdlib_module_names | OTHERS and not each.startswith(ALLOWED)
    }

    assert not strangers
    assert "seedtool.postgres.catalog" in imported
