"""The day that the backfill's guide shows is lived through, and its statements are run afterwards."""

import re
from pathlib import Path

from seedtool.cli.backfill import backfill
from seedtool.cli.review import review
from seedtool.postgres import server
from seedtool.settings import load

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "backfill.md").read_text(encoding="utf-8")
MADE = re.compile(r"\b(?!00000000)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b")


# In the guide's order: what it says of flags and commands, and commands that show it. Of the others, `--interactive`,
# `--web`, Ctrl+C and what is refused are in tests/cli/test_backfill.py, `--endpoint` in test_endpoint.py.
AFTERWARDS = (
    (("`--dry-run`", "`--limit 10`"), "seedtool backfill --dry-run --limit 10"),
    (("`--since 2026-03-01`", "`--where SQL`"), "seedtool backfill --dry-run --since 2026-03-01 --where {where}"),
    (("`--max-cost 25`", "`--batch-size`"), "seedtool backfill --yes --max-cost 25 --batch-size 150"),
    (("`seedtool backfill --retry-failed`",), "seedtool backfill --yes --retry-failed"),
    (
        ("    seedtool backfill --reindex\n",),
        "seedtool backfill --yes --reindex --user-id 00000000-0000-4000-8000-000100030000",
    ),
    (("`--search`",), "seedtool faces review --search"),
    (
        ("`seedtool faces review --users`", "`--csv FILE`"),
        "seedtool faces review --users --with-labels --csv users.csv",
    ),
    (("`seedtool faces status`",), "seedtool faces status"),
)


def told(output):
    return MADE.sub("UUID", re.sub(r"in [\d.]+ s\b", "in N s", output))


def test_the_day_is_as_an_operator_sees_it_and_every_statement_finds_what_it_says(shell, checkout):
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("\n[tool.seedtool.backfill]\nvisibility = 0  # the stand-in shows a face at once\n")
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE, flags=re.DOTALL)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        assert told(shell(command)) == told(output), command
    assert "Finished: every asset succeeded." in (checkout / "report.html").read_text(encoding="utf-8")

    statements = re.findall(
        r"^-- (.+)\n([^;]+);", "".join(re.findall(r"```sql\n(.*?)```", GUIDE, flags=re.DOTALL)), flags=re.MULTILINE
    )
    assert len(statements) == 8
    with server.connect(server.find(load(checkout))) as connection:
        found = {meaning: connection.execute(statement).fetchall() for meaning, statement in statements}
    for meaning, rows in found.items():
        assert not (meaning.startswith("none: ") and rows), meaning
    assert found["how far it is"] == [("done", 18, 51, 18, 44)]
    assert len(found["faces by outcome"]) == 3

    (where,) = re.findall(r'`--where ("[^`]+")`', GUIDE)
    place = 0
    for says, command in AFTERWARDS:
        for each in says:
            place = GUIDE.index(each, place)
        shell(command.format(where=where))
    assert len((checkout / "users.csv").read_text(encoding="utf-8").splitlines()) == 4


def test_it_names_every_flag():
    for command in (backfill, review):
        for parameter in command.params:
            if parameter.name not in {"as_json", "quiet", "debug", "batch_size"}:
                assert any(option in GUIDE for option in parameter.opts), parameter.opts
