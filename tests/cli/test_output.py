"""Stdout is for results alone, and nothing that strangers wrote steers the terminal."""

import ast
import errno
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from seedtool.cli import failures
from seedtool.cli.line import WORDS, Line, shown
from seedtool.cli.seed import _change_lines
from seedtool.printable import STEERING
from seedtool.seeding.report import RowChange, TableReport
from tests.cli.conftest import BIN, ROOT, Project

ENV = """
import logging, os, subprocess, sys
from alembic import context

print("env.py prints")
sys.stdout.buffer.write(b"env.py writes bytes\\n")
subprocess.run(["echo", "env.py starts a program"], check=True)
logging.basicConfig(stream=sys.stdout, force=True)
logging.warning("env.py logs")
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
REVISION = """
from alembic import op

revision, down_revision = "a", None


def upgrade():
    print("the revision prints")
    op.execute("CREATE TABLE items (id text PRIMARY KEY)")
    op.execute('CREATE TABLE "sl\x1b[31m\u202ey" (id text PRIMARY KEY)')
"""
FIXTURE = """
import atexit, os, subprocess, sys

print("the module prints")
atexit.register(print, "the fixture prints at the end")


def rows():
    print("rows() prints")
    sys.stdout.buffer.write(b"rows() writes bytes\\n")
    os.write(1, b"rows() writes to descriptor 1\\n")
    os.system("echo 'rows() starts a shell'")
    subprocess.run(["echo", "rows() starts a program"], check=True)
    sys.__stdout__.write("rows() writes to the first stdout\\n")
    yield {"id": "a"}
"""
PROFILES = """
[loud]
sets = ["loud"]
description = "\\u001b[2J gone \\u202e"

[sly]
sets = ["sly"]
"""


@pytest.fixture(scope="module")
def loud(home: Path, tmp_path_factory: pytest.TempPathFactory):
    """A project whose code prints wherever it can, and whose names would steer a terminal."""
    root = tmp_path_factory.mktemp("loud")
    files = {
        "pyproject.toml": "[tool.seedtool]\n",
        "alembic.ini": "[alembic]\nscript_location = migrations\n",
        "migrations/env.py": ENV,
        "migrations/versions/a.py": REVISION,
        "seeds/profiles.toml": PROFILES,
        "seeds/loud/items.py": FIXTURE,
        "seeds/sly/sl\x1b[31m\u202ey.csv": "id\na\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = Project(root)
    try:
        project.ok("db-reset --yes --seed loud")
        yield project
    finally:
        project.stop()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "db-reset --yes --fresh --seed loud",
            ("env.py prints", "env.py writes bytes", "env.py starts", "env.py logs"),
        ),
        ("db-reset --yes --fresh", ("the revision prints",)),
        ("migrate", ("env.py prints",)),
        ("seed loud", ("module prints", "rows() prints", "writes bytes", "descriptor 1", "a shell", "a program")),
        ("seed loud --dry-run", ("rows() writes to the first stdout", "the fixture prints at the end")),
    ],
)
def test_what_the_projects_code_prints_goes_to_stderr(loud: Project, command: str, told: tuple[str, ...]):
    done = loud.ok(f"{command} --json")
    assert isinstance(done.json, dict)
    assert done.out.count("\n") == 1
    for text in told:
        assert text in done.err


def test_a_key_for_a_cache_is_alone_on_stdout(loud: Project):
    assert len(loud.ok("fingerprint --seed loud").out.split()) == 1


def test_an_error_is_one_object_even_when_the_fixture_prints(loud: Project):
    fixture = loud.root / "seeds" / "loud" / "items.py"
    try:
        fixture.write_text(FIXTURE + "    raise SystemExit")
        done = loud.run("seed loud --json")
        assert (done.code, done.json["error"]["kind"]) == (1, "FixtureError")
        assert "rows() prints" in done.err
    finally:
        fixture.write_text(FIXTURE)


@pytest.mark.parametrize(
    "line",
    [
        "sys.stdout.close()",
        "sys.stderr.close()",
        "import io; sys.stdout = sys.stderr = io.StringIO()",
        "sys.stdout = sys.stderr = None",
        "sys.stdout.detach()",
    ],
)
def test_an_error_is_shown_whatever_a_fixture_did_to_the_streams(loud: Project, line: str):
    fixture = loud.root / "seeds" / "loud" / "items.py"
    try:
        fixture.write_text(f"import sys\n\n\ndef rows():\n    {line}\n    return 1 / 0\n")
        done = loud.run("seed loud --json")
        assert (done.code, done.json["error"]["place"]["line"]) == (1, 6)
        assert "error: seeds/loud/items.py:6" in done.err
        assert "lost sys.stderr" not in done.err
    finally:
        fixture.write_text(FIXTURE)


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/null", "0<&- 2>&-"])
def test_a_closed_stderr_is_no_way_to_stdout(loud: Project, streams: str):
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(str(BIN))}/seedtool seed loud --json {streams}"],
        cwd=loud.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seed" in json.loads(done.stdout)


def test_help_and_completion_are_results(loud: Project):
    assert "Usage" in loud.ok("db-reset --help").out
    assert "seedtool" in loud.ok("--version").out
    variables = {"_SEEDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": "seedtool seed l", "COMP_CWORD": "2"}
    assert "loud" in loud.program("seedtool", env=variables).out


@pytest.mark.parametrize(
    "command",
    [
        "seed --list", "seed --list --json", "seed sly", "seed sly --json", "seed sly --dry-run", "seed-dump --table no\x1b[7m",
        "snapshot save \u202eevil", "snapshot list", "no-such\x1b[2Jcommand", "seed no\x9bprofile", "seed sly --no\x1boption",
        "seed-dump --table no\x1b[7m --debug --json",
    ],
)  # fmt: skip
def test_no_name_of_a_stranger_steers_the_terminal(loud: Project, command: str):
    done = loud.run(command)
    assert STEERING.findall(done.out + done.err) == []
    assert "Traceback" not in done.err or "--debug" in command
    if "--json" in command:
        assert isinstance(done.json, dict)


def test_json_keeps_what_the_text_writes_out(loud: Project):
    loud.ok("seed sly")
    assert loud.ok("seed sly --json").json["seed"]["tables"][0]["table"] == "sl\x1b[31m\u202ey"
    loud.query('TRUNCATE "sl\x1b[31m\u202ey"')
    assert "sl\\x1b[31m\\u202ey" in loud.ok("seed sly").out


def test_a_name_that_is_not_utf8_can_be_told(loud: Project, tmp_path: Path):
    name = os.fsdecode(b"caf\xe9")
    root = tmp_path / name
    shutil.copytree(loud.root, root)
    config = Project(root).ok("config --json").json
    assert config["alembic_ini"]["value"] == str(root / "alembic.ini")
    assert "caf\\udce9" in Project(root).ok("config").out


def test_one_module_alone_writes_to_the_streams():
    writers = {}
    for path in (ROOT / "seedtool" / "cli").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        found = called & {"print", "click.echo", "click.secho", "click.confirm", "sys.stdout.write"}
        if found:
            writers[path.name] = found
    assert writers == {"output.py": {"click.echo", "click.confirm"}}


def test_what_takes_longer_than_a_second_says_what_it_does(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    line = Line()
    line.step("fingerprint")  # quick: nothing is drawn
    line.step("write")
    line.count("rows", 75_000, 300_000)
    time.sleep(1.3)
    line.end()
    drawn = [each for each in screen.getvalue().split("\r") if each.strip()]
    assert re.match(r"writing rows  \[#####---------------\]  25%  75,000 of 300,000 rows  0:0[01]", drawn[0])
    assert screen.getvalue().endswith("\r"), "the line stays"
    assert not any(each.name == "progress" for each in threading.enumerate())


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (None, "writing the file  0:07"),
        (("faces", 41_000, None), "writing the file  41,000 faces  0:07"),
        (("bytes", 4_400_000, None), "writing the file  4.4 MB  0:07"),
        (("rows", 10, 10), f"writing the file  [{'#' * 20}] 100%  10 of 10 rows  0:07"),
    ],
)
def test_the_line_tells_how_much_and_how_long(counted, said):
    assert shown(WORDS["dump"], counted, 7.4) == said


def test_every_step_that_takes_its_time_has_words():
    steps = set()
    for path in (ROOT / "seedtool").rglob("*.py"):
        steps |= set(
            re.findall(r"\.step\(\"([\w ]+)\"\)|^    step = \"(\w+)\"", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
    quick = {"rename", "describe", "commit", "rename file", "leave", "carry over", "reindex"}
    assert {name for pair in steps for name in pair if name} - quick == set(WORDS) - {"migrate"}


def test_a_list_that_is_cut_says_how_many_are_left_out():
    changes = tuple(RowChange(action="update", key=str(number), columns=("name",)) for number in range(100))
    report = TableReport(table="pupils", inserted=3, updated=150, changes=changes)
    assert report.omitted == 53
    assert [*_change_lines(report)][-1] == "  pupils: 50 more rows would change"
    assert TableReport(table="pupils", updated=100, changes=changes).omitted == 0


@pytest.mark.parametrize(
    ("error", "message", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", "Make room"),
        (OSError(errno.EACCES, "Permission denied", "/ro"), "Permission denied: /ro", "Give this user the right"),
        (OSError(errno.EIO, "Input/output error", "/x"), "Input/output error: /x", "--debug shows"),
    ],
)
def test_an_error_of_the_system_is_told_with_what_may_help(capsys, error, message, remedy):
    assert failures.show(error) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}\n")
    assert remedy in told
