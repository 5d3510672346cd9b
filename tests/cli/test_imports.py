"""What each command may import: the warm path is sacred."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
HEAVY = {"alembic", "sqlalchemy", "boto3", "botocore", "faker", "numpy", "rich", "PIL", "starlette", "uvicorn", "yaml"}
# coverage.py and its like come with the test run, not with the command
OF_THE_TEST_RUN = {"coverage", "pytest_cov", "_pytest", "sitecustomize", "a1_coverage", "_virtualenv"}

LIGHT = {"seedtool", "click"}
SETTINGS = LIGHT | {"msgspec", "typing_extensions"}
DATABASE = SETTINGS | {"psycopg", "psycopg_binary", "cython_runtime"}


@pytest.fixture
def modules_of(school, tmp_path):
    """Run a console script and return the modules that it imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, json, os, sys\n"
        "def dump():\n"
        "    path = os.environ.get('DUMP_MODULES')\n"
        "    if path and sys.argv[0].startswith(os.environ['DUMP_BIN']):\n"
        "        open(path, 'w').write(json.dumps(sorted(sys.modules)))\n"
        "atexit.register(dump)\n",
        encoding="utf-8",
    )
    found = tmp_path / "modules.json"

    def run(command, **environ):
        found.unlink(missing_ok=True)
        name, *arguments = command.split()
        variables = {
            **os.environ,
            "PYTHONPATH": str(tmp_path),
            "DUMP_MODULES": str(found),
            "DUMP_BIN": str(BIN),
            **environ,
        }
        done = subprocess.run(
            [BIN / name, *arguments], cwd=school.root, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(found.read_text()))

    return run


@pytest.fixture
def imported_by(modules_of):
    """Run a console script and return the installed packages that it imported."""

    def run(command, **environ):
        names = {module.split(".")[0] for module in modules_of(command, **environ)}
        return names - set(sys.stdlib_module_names) - OF_THE_TEST_RUN - {"__main__", "__mp_main__", "$coverage"}

    return run


def installed(names):
    """Leave out editable-install hooks and what else is private."""
    return {name for name in names if not name.startswith(("_", "a1_")) and "editable" not in name}


@pytest.mark.parametrize(
    ("command", "environ", "allowed"),
    [
        ("seedtool --help", {}, LIGHT),
        ("seedtool --version", {}, LIGHT),
        ("seedtool db-reset --help", {}, LIGHT),
        ("seedtool", {"_SEEDTOOL_COMPLETE": "bash_source"}, LIGHT),
        ("seedtool", {"_SEEDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": "seedtool db", "COMP_CWORD": "1"}, LIGHT),
        (
            "seedtool",
            {"_SEEDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": "seedtool seed ", "COMP_CWORD": "2"},
            SETTINGS,
        ),
        ("seedtool config", {}, SETTINGS),
        ("seedtool seed --list", {}, SETTINGS),
        ("seedtool server status", {}, SETTINGS),
        ("seedtool guard status", {}, DATABASE),
        ("seedtool shell -c connection", {}, DATABASE),
        ("seedtool snapshot list", {}, DATABASE),
        ("seedtool snapshot restore --help", {}, LIGHT),
        (
            "seedtool",
            {"_SEEDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": "seedtool snapshot restore ", "COMP_CWORD": "3"},
            DATABASE,
        ),
        ("seedtool db-reset --dry-run", {}, DATABASE),
        ("seedtool db-reset --yes", {}, DATABASE),
        ("db-reset --yes", {}, DATABASE),
        ("db-reset --yes --seed local", {}, DATABASE),
        ("db-reset --yes --seed local --load demo", {}, DATABASE),
        ("seedtool cache list", {}, DATABASE),
        ("seedtool fingerprint --seed local", {}, DATABASE),
        # grades.yaml and stages.yaml are read
        ("seedtool seed local", {}, DATABASE | {"yaml"}),
    ],
)
def test_a_command_imports_no_more_than_it_needs(imported_by, command, environ, allowed):
    if command == "seedtool seed local":
        imported_by("seedtool db-reset --yes")
    if "--load" in command:
        imported_by(command)  # makes the rows, with numpy: the next one finds them in the template
    assert installed(imported_by(command, **environ)) <= allowed


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        ("seedtool db-reset --yes", ("seeding", "faces", "snapshots", "backfill", "emulator", "resetting.in_place")),
        ("seedtool db-reset --yes --seed local", ("faces", "snapshots", "backfill", "emulator", "resetting.in_place")),
        ("seedtool snapshot list", ("seeding", "faces", "backfill", "emulator", "snapshots.archive")),
    ],
)
def test_a_command_leaves_the_rooms_alone_that_it_does_not_need(modules_of, command, spared):
    modules_of("seedtool db-reset --yes --seed local")  # builds what the next one only finds
    below = tuple(f"seedtool.{each}" for each in spared)
    assert [name for name in sorted(modules_of(command)) if name.startswith(below)] == []


def test_the_allow_lists_hold_nothing_heavy():
    assert not (LIGHT | SETTINGS | DATABASE) & HEAVY


def test_the_dump_sees_what_a_command_imports(imported_by):
    imported_by("seedtool db-reset --yes --seed local")  # without rows there is nothing to ask AWS
    assert "botocore" in imported_by("seedtool sync-faces")


def test_a_seed_that_links_faces_leaves_botocore_to_a_child(school, imported_by):
    school.ok("db-reset --yes --seed full")  # starts the emulator
    for command in ("seedtool seed full", "seedtool db-reset --yes --seed full"):
        assert "botocore" not in imported_by(command)
    assert school.ok("seed full --json").json["sync"]["calls"] == {"ListFaces": 1}


def test_a_shell_finds_the_completions_and_completes_names(school, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    for shell, files in (("bash", ["seedtool", "seed"]), ("zsh", ["_seedtool"]), ("fish", ["seedtool.fish"])):
        printed = school.ok(f"completion {shell}").out
        written = school.ok(f"completion {shell} --install --json", env=env).json["files"]
        assert {*files} <= {Path(file).name for file in written}
        for file in written:
            assert Path(file).read_text().strip() in printed
            assert Path(file).is_relative_to(tmp_path)
    for line, words in (
        ("seed-dump --table stu", {"students", "student_faces"}),
        ("seed-dump --set lo", {"local"}),
        ("db-reset --seed fu", {"full"}),
        ("db-reset --load di", {"district"}),
        ("seed recipe sta", {"stages"}),
        ("completion f", {"fish"}),
    ):
        # as bash does, with the script that was installed
        ask = f"""source {tmp_path}/bash-completion/completions/seedtool
            COMP_WORDS=(seedtool {line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="seedtool {line}"
            _seedtool_completion seedtool; echo "${{COMPREPLY[@]}}" """
        done = subprocess.run(
            ["bash", "-c", ask], cwd=school.root, env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert words <= set(done.stdout.split()), (line, done)


def test_completion_offers_commands_and_profiles(school):
    def complete(words, position):
        variables = {"_SEEDTOOL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        return school.program("seedtool", env=variables).out

    assert "db-reset" in complete("seedtool db", 1)
    assert "full" in complete("seedtool seed f", 2)
    assert "load" in complete("seedtool seed l", 2)
    assert "load" not in complete("seedtool ci prepare --seed l", 4)  # a command is no profile
    assert complete("seedtool seed x", 2).strip() == ""
