"""The table of commands is a contract: names, flags, exit codes, and where what is printed."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import psycopg
import pytest

from seedtool import cli
from tests.cli.conftest import ROOT

COMMON = {"-v", "--verbose", "--json", "-q", "--quiet", "-h", "--help", "--debug"}

# command → its own flags; a name in brackets is an argument
CONTRACT = {
    "db-reset": {"--yes", "-y", "--confirm", "--seed", "--load", "--scale", "--fresh", "--dry-run"},
    "migrate": set(),
    "seed": {"[PROFILE]", "--list", "--confirm", "--dry-run", "--prune", "--no-prune"},
    "seed load": {
        "RECIPE",
        "--scale",
        "--random-seed",
        "--workers",
        "--scheduler",
        "--resume",
        "--plant",
        "--dry-run",
        "--to",
        "--format",
        "--html",
        "--confirm",
    },
    "seed unload": {"RECIPE", "--confirm"},
    "seed recipe": {"[TABLE...]", "--name", "--like"},
    "seed-dump": {"--all", "--set", "--sort", "--strict", "--table"},
    "sync-faces": {"--collection", "--dry-run", "--strict"},
    "enroll": {"[STUDENT_ID]", "[PHOTO...]", "--all", "--replaced", "--manifest", "--collection"},
    "recognize": {"PHOTO", "--collection"},
    "faces status": {"--collection"},
    "faces dedupe": {"--collection", "--dry-run", "--yes", "--temporary"},
    "faces review": {
        "--user-id",
        "--limit",
        "--assign",
        "--new-person",
        "--skip",
        "--search",
        "--no-search",
        "--users",
        "--csv",
        "--with-labels",
        "--web",
        "--port",
        "--open",
    },
    "backfill": {
        "--user-id",
        "--dry-run",
        "--since",
        "--where",
        "--limit",
        "--yes",
        "--skip-prompt",
        "--batch-size",
        "--max-cost",
        "--retry-failed",
        "--reindex",
        "--interactive",
        "--html",
        "--with-labels",
        "--endpoint",
    },
    "refresh": {
        "--from",
        "--to",
        "--policy",
        "--yes",
        "-y",
        "--confirm",
        "--dry-run",
        "--reuse",
        "--preview",
        "--proof",
    },
    "refresh scan": {"--from"},
    "refresh check": {"--from", "--policy"},
    "snapshot save": {"[NAME]", "--note", "--replace"},
    "snapshot restore": {"NAME", "--yes", "-y", "--confirm", "--then"},
    "snapshot list": set(),
    "snapshot rename": {"OLD", "NEW"},
    "snapshot delete": {"NAME...", "--yes", "-y"},
    "snapshot export": {"NAME", "FILE", "--force"},
    "snapshot import": {"FILE", "--name", "--replace", "--trust-file"},
    "cache list": set(),
    "cache prune": {"--all", "--dry-run"},
    "fingerprint": {"--seed", "--load", "--scale"},
    "guard status": set(),
    "guard protect": set(),
    "guard unprotect": {"--confirm"},
    "ci prepare": {"--seed", "--load", "--scale", "--cache", "--trust-file"},
    "server start": {"--port"},
    "server stop": set(),
    "server status": set(),
    "env": set(),
    "psql": {"[ARGS]..."},
    "shell": {"-c", "--code"},
    "emulator": {
        "--port",
        "--host",
        "--host-name",
        "--any-credentials",
        "--cors",
        "--admin-token",
        "--state-dir",
        "--photos",
        "--album",
        "--vision",
        "--s3-endpoint",
        "--faults",
        "--require-signature",
    },
    "init": set(),
    "doctor": set(),
    "config": set(),
    "completion": {"{bash|zsh|fish}", "--install"},
}
ALONE = ("db-reset", "seed", "sync-faces")
ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def write_json():
    """docs/write_json.py, which knows the documented keys."""
    spec = importlib.util.spec_from_file_location("write_json", ROOT / "docs" / "write_json.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(command):
    found, context = cli.seedtool, click.Context(cli.seedtool, info_name="seedtool")
    for name in command.split():
        found = found.get_command(context, name)
        context = click.Context(found, info_name=name, parent=context, **found.context_settings)
    return found, context


def leaves(group, prefix=""):
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from leaves(found, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"
            yield from (f"{prefix}{name} {other}" for other in getattr(found, "commands", ()))


def test_the_commands_are_those_of_the_contract():
    assert set(leaves(cli.seedtool)) == set(CONTRACT)


@pytest.mark.parametrize("command", CONTRACT)
def test_a_command_has_its_flags_and_describes_each(command):
    found, context = find(command)
    flags = set()
    for parameter in found.get_params(context):
        if isinstance(parameter, click.Argument):
            flags.add(parameter.make_metavar(context))
        else:
            flags |= {*parameter.opts, *parameter.secondary_opts}
            assert parameter.help, parameter.name
            assert parameter.help.endswith((".", "]")), parameter.help
    assert flags == CONTRACT[command] | COMMON


@pytest.mark.parametrize("command", ["", "cache", "guard", "server", "snapshot", *CONTRACT])
@pytest.mark.parametrize("width", [80, 40])
def test_help_is_no_wider_than_the_terminal(command, width):
    found, _ = find(command)
    context = click.Context(found, info_name=f"seedtool {command}".strip(), terminal_width=width, max_content_width=80)
    text = found.get_help(context)
    assert max(map(len, text.splitlines())) <= width
    assert "..." not in re.sub(r"(PHOTO|NAME|TABLE)\.\.\.|\[ARGS\]\.\.\.", "", text) or width < 80


def test_three_are_commands_of_their_own(bare):
    for name in ALONE:
        own, other = bare.program(name, "--help"), bare.run(f"{name} --help")
        assert own.code == 0
        assert own.out.replace(f"Usage: {name}", f"Usage: seedtool {name}") == other.out


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("db-reset --yes", {"reset"}),
        ("db-reset --dry-run", {"plan"}),
        ("db-reset --yes --seed full", {"reset", "seed", "sync"}),
        ("migrate", {"database", "created", "applied"}),
        ("seed local", {"seed"}),
        ("seed local --dry-run", {"seed"}),
        ("seed --list", {"local", "full"}),
        ("seed load demo --dry-run", {"recipe", "rows", "size", "tables"}),
        ("seed load demo", {"recipe", "scale", "random_seed", "tables", "rows", "kept", "resumed", "seconds"}),
        ("db-reset --yes --seed local --load demo", {"reset", "seed", "load"}),
        ("seed recipe stages", {"recipe"}),
        ("seed-dump --table stages --set other", {"seed_set", "rows", "files"}),
        ("sync-faces", {"synced", "unchanged", "bindings", "calls", "mode"}),
        ("enroll --all", {"photos", "uploads", "calls"}),
        ("recognize seeds/photos/classes/7-basico-a.jpg", {"faces", "recognized"}),
        ("cache list", {"cache", "bytes"}),
        ("cache prune --dry-run", {"dropped", "kept", "dry_run"}),
        ("fingerprint --seed local", {"fingerprint", "profile"}),
        ("guard status", {"protected", "managed", "consent"}),
        ("ci prepare --seed local", {"server", "templates", "emulator"}),
        ("server status", {"running", "socket", "emulator"}),
        (
            "env",
            {
                "DATABASE_URL",
                "AWS_ENDPOINT_URL_REKOGNITION",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_REKOGNITION_COLLECTION",
            },
        ),
        ("doctor", {"ok", "checks"}),
        ("config", {"aws", "collection", "state_dir"}),
    ],
)
def test_json_is_one_object_and_nothing_else(seeded, write_json, command, keys):
    told = seeded.ok(f"{command} --json --quiet")
    assert keys | {"ok", "command", "milliseconds"} <= told.json.keys()
    documented = write_json.documented(command)
    assert documented is None or told.json.keys() <= documented | {"ok", "command", "milliseconds"}, (
        "docs/write_json.py"
    )
    assert told.json["ok"] is True
    assert command.startswith(told.json["command"])
    assert told.json["milliseconds"] >= 0 or command.startswith("seed ")
    assert told.out.count("\n") == 1
    assert told.err == ""


def test_results_go_to_stdout_and_without_a_terminal_nothing_is_coloured(seeded):
    for command, note in (
        ("db-reset --yes --seed full --fresh", "building the template"),
        ("enroll --all", "enrolling into the embedded emulator"),
        ("recognize seeds/photos/classes/7-basico-a.jpg", ""),
        ("doctor", ""),
    ):
        plain = seeded.ok(command)
        assert plain.out
        assert plain.err.startswith(note) if note else plain.err == ""
        assert ESCAPE not in plain.out + plain.err
        assert "\r" not in plain.err


def test_quiet_leaves_errors_and_what_a_shell_evaluates(seeded):
    for command in ("db-reset --yes --seed full", "sync-faces", "enroll --all", "doctor"):
        quiet = seeded.ok(f"{command} -q")
        assert (quiet.out, quiet.err) == ("", "")
    assert seeded.ok("env -q").out.startswith("export DATABASE_URL=")
    assert "--yes" in seeded.run("db-reset -q").err


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("nonsense", 2),
        ("db-rest", 2),
        ("db-reset --nonsense", 2),
        ("seed", 2),
        ("seed fulll", 2),
        ("seed load", 2),
        ("seed load nowhere", 2),
        ("seed load demo --scale 0.5", 2),
        ("seed load demo --html nowhere/report.html", 2),
        ("seed unload demo", 2),
        ("enroll", 2),
        ("enroll student-001", 2),
        ("enroll --all student-001", 2),
        ("enroll student-001 nowhere.jpg", 2),
        ("enroll nobody alembic.ini", 2),
        ("recognize alembic.ini", 1),
        ("sync-faces --collection b@d", 2),
        ("sync-faces --collection nowhere", 1),
        ("seed-dump --table nowhere", 1),
        ("db-reset", 3),
        ("db-reset --yes --confirm other", 3),
        ("guard unprotect", 3),
        ("guard unprotect --confirm other", 3),
        ("server start --port 0", 2),
    ],
)
def test_an_error_is_a_message_with_a_remedy_and_an_exit_code(school, command, code):
    done = school.run(command)
    # what it says: test_messages.py
    assert done.code == code, done.err
    assert len(done.err.strip().splitlines()) > 1, "a message without a remedy"
    assert "Traceback" not in done.err
    assert done.out == ""


def test_an_error_is_an_object_too(school):
    for command, kind in (("db-reset --json", "NotConfirmed"), ("seed --json --nonsense", "NoSuchOption")):
        done = school.run(command)
        assert done.json["error"]["kind"] == kind
        assert done.json["error"]["remedy"]
        assert done.json["error"]["message"] in done.err
        assert done.json["ok"] is False
        assert done.json["command"] == command.split()[0]


def test_debug_shows_the_traceback_and_keeps_the_exit_code(school):
    done = school.run("db-reset --debug")
    assert done.code == 3
    assert "Traceback" in done.err
    assert "--yes" in done.err.splitlines()[-1]


def test_an_unexpected_fault_asks_for_a_report(capsys, monkeypatch):
    @click.command()
    def broken():
        raise RuntimeError

    monkeypatch.setattr("sys.argv", ["seedtool", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.run(broken, "broken")
    assert ended.value.code == 2  # `broken` takes no --json: click said so
    monkeypatch.setattr("sys.argv", ["seedtool"])
    with pytest.raises(SystemExit) as ended:
        cli.run(broken, "broken")
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "NoSuchOption"
    assert "RuntimeError" in err
    assert "--debug" in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(2, "No such file or directory", "there"), 1, "No such file or directory: there"),
    ],
)
def test_what_is_raised_below_us_becomes_a_message(capsys, monkeypatch, error, code, said):
    @click.command()
    def broken():
        raise error

    monkeypatch.setattr("sys.argv", ["seedtool"])
    monkeypatch.setattr("threading.active_count", lambda: 1)  # other tests' threads would have it _exit
    with pytest.raises(SystemExit) as ended:
        cli.run(broken, "broken")
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_an_interruption_that_hides_behind_what_it_broke_is_one(capsys, monkeypatch):
    @click.command()
    def broken():
        try:
            raise KeyboardInterrupt
        finally:
            raise psycopg.OperationalError("another command is already in progress")

    monkeypatch.setattr("sys.argv", ["seedtool", "--json"])
    monkeypatch.setattr("threading.active_count", lambda: 1)
    monkeypatch.setattr(broken, "params", [click.Option(["--json"], is_flag=True, expose_value=False)])
    with pytest.raises(SystemExit) as ended:
        cli.run(broken, "broken")
    out, err = capsys.readouterr()
    assert ended.value.code == 130
    assert json.loads(out)["error"]["kind"] == "Interrupted"
    assert err == "interrupted\n"


INTERRUPTED_IMPORT = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == module:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

module = sys.argv.pop(1)
sys.argv[0] = "/usr/bin/seedtool"
sys.meta_path.insert(0, Interrupting())
from seedtool.cli import main
main()
"""


@pytest.mark.parametrize(
    "module",
    [
        "seedtool.version",
        "click",
        "seedtool.cli",
        "seedtool.cli.output",
        "seedtool.cli.failures",
        "seedtool.cli.database",
        "msgspec",
        "psycopg",
    ],
)
def test_an_interruption_while_the_program_is_imported_is_quiet(school, module):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, "db-reset", "--dry-run"],
        cwd=school.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {130, -signal.SIGINT}  # a shell tells both as 130
    assert done.stdout == ""
    assert done.stderr.strip() in {"", "interrupted"}


def test_a_database_error_from_below_is_told_in_one_line(capsys, monkeypatch):
    @click.command()
    def broken():
        raise psycopg.errors.DiskFull("no space left\nCONTEXT: secret")

    monkeypatch.setattr("sys.argv", ["seedtool"])
    with pytest.raises(SystemExit):
        cli.run(broken, "broken")
    err = capsys.readouterr().err
    assert "no space left" in err
    assert "secret" not in err


def test_output_that_nobody_takes_is_no_crash(school):
    for shell, code in (
        ("set -o pipefail; seedtool config | head -1", 0),
        ("set -o pipefail; seedtool seed local --dry-run --json | head -c 1", 0),
        ("seedtool config >&-", 0),
        ("seedtool config > /dev/full", 1),
        ("seedtool db-reset --yes 2>&-", 0),
    ):
        done = subprocess.run(
            ["bash", "-c", shell],
            cwd=school.root,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        # how much fits into the pipe before its reader leaves is not ours to say
        assert done.returncode in ({0, 1} if "pipefail" in shell else {code}), (shell, done.stderr)
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr
        assert "Exception ignored" not in done.stderr
