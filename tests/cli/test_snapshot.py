"""Snapshots from the command line: a day with them, what is asked, what is told, and completion."""

import contextlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from seedtool import cli
from seedtool.postgres import server
from seedtool.snapshots import registry


@pytest.fixture
def shop(school):
    """The school; its snapshots are gone afterwards."""
    yield school
    target = server.find(school.settings)
    registry.delete(target, [snapshot.name for snapshot in registry.snapshots(target)])


def first_names(project):
    return {name for (name,) in project.query("SELECT first_name FROM students")}


def test_a_day_with_snapshots(seeded, shop, tmp_path):
    before = first_names(shop)
    assert (
        shop.ok("snapshot list").err
        == "there are no snapshots of seedtool on the embedded server yet: seedtool snapshot save\n"
    )
    saved = shop.ok("snapshot save", "before payments", "--note", "32 students")
    assert re.fullmatch(r"saved seedtool on the embedded server as before payments \(1\d MB\) in \d+ ms\n", saved.out)
    shop.query("UPDATE students SET first_name = 'X'")
    shop.ok("snapshot save", "after")
    restored = shop.ok("snapshot restore --yes", "before payments")
    assert re.fullmatch(r"restored seedtool on the embedded server from before payments in \d+ ms\n", restored.out)
    assert (restored.err, first_names(shop)) == ("", before)
    header, _, newest, oldest = shop.ok("snapshot list").out.splitlines()
    assert header.split() == ["name", "age", "size", "revision", "branch", "commit", "note"]
    assert newest.startswith("after ")
    assert re.fullmatch(r"before payments  \d+ s +1\d MB +0004 .* 32 students", oldest)
    assert shop.ok("snapshot rename", "before payments", "start").out == "before payments is now start\n"
    exported = shop.ok("snapshot export start", tmp_path / "start.dump")
    assert re.fullmatch(rf"wrote start to {re.escape(str(tmp_path))}/start.dump \(\d+ kB\)\n", exported.out)
    assert shop.ok("snapshot delete --yes start after").out == "deleted start\ndeleted after\n"
    imported = shop.ok("snapshot import", tmp_path / "start.dump")
    assert "snapshot restore puts it in place" in imported.out
    shop.query("DELETE FROM student_faces")
    shop.ok("snapshot restore -y start")
    assert shop.query("SELECT count(*) FROM student_faces WHERE face_id NOT LIKE 'placeholder%%'") == [(64,)]
    shop.ok("guard status")


def test_json_is_one_object_and_nothing_else(shop, tmp_path):
    described = {"name", "created", "size", "revisions", "branch", "commit", "note", "owner", "database", "target"}
    for command, key, inner in (
        ("save a", "save", "snapshot"),
        ("restore a --yes", "restore", "snapshot"),
        ("rename a b", "rename", None),
        (f"export b {tmp_path}/b.dump", "export", "snapshot"),
        (f"import {tmp_path}/b.dump --name c", "import", "snapshot"),
    ):
        done = shop.ok(f"snapshot {command} --json -q")
        told = done.json[key]
        assert described == set(told[inner] if inner else told), command
        assert done.err == ""
    assert [each["name"] for each in shop.ok("snapshot list --json").json["snapshots"]] == ["c", "b"]
    assert [each["name"] for each in shop.ok("snapshot delete b c --yes --json").json["deleted"]] == ["b", "c"]


REFUSED = [
    ("restore", 2),
    ("restore frist", 2),
    ("restore first", 3),
    ("restore first --confirm other", 3),
    ("save first", 2),
    ("rename first first", 2),
    ("delete", 2),
    ("delete first", 3),
    ("delete first other", 2),
    ("export first alembic.ini", 2),
    ("export first nowhere/x.dump", 1),
    ("import nowhere.dump", 2),
    ("import alembic.ini", 1),
]


def test_what_goes_wrong_is_told_with_the_cure_and_changes_nothing(shop, monkeypatch, capsys, approved):
    shop.ok("snapshot save first")
    for command, code in REFUSED:
        # in process, as the program's entry point would: thirteen programs take their time to start
        monkeypatch.setattr(sys, "argv", ["seedtool", "snapshot", *command.split(), "--json"])
        with contextlib.chdir(shop.root), pytest.raises(SystemExit) as end:
            cli.run(cli.seedtool, "seedtool")
        out, err = capsys.readouterr()
        assert end.value.code == code, (command, err)
        assert "Traceback" not in err
        error = json.loads(out)["error"]
        assert error["remedy"], "a message without a remedy"
        approved(error, code)
    assert [each["name"] for each in shop.ok("snapshot list --json").json["snapshots"]] == ["first"]


def test_a_snapshot_of_other_code_warns_first(shop):
    shop.ok("snapshot save first")
    newest = shop.root / "migrations" / "versions" / "0004_photo_library.py"
    source = newest.read_bytes()
    try:
        newest.unlink()
        shop.query("CREATE TABLE IF NOT EXISTS canary ()")
        refused = shop.run("snapshot restore first", env={"SEEDTOOL_DATABASE": "seedtool"})
        agreed = shop.ok("snapshot restore first --yes -q")
    finally:
        newest.write_bytes(source)
    assert refused.code == 3
    warning = "warning: first is at revision 0004, which the migrations here do not know\n"
    assert refused.err.startswith(warning)
    assert agreed.err == warning
    assert shop.query("SELECT to_regclass('canary') IS NULL") == [(True,)]


def complete(project, words, **env):
    variables = {
        "_SEEDTOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    return project.program("seedtool", env={**variables, **env})


def test_completion_offers_the_names_of_snapshots(shop):
    for name in ("first", "final", "año"):
        shop.ok("snapshot save", name)
    for command in ("restore", "delete first", "rename"):
        assert complete(shop, f"seedtool snapshot {command} fi").out.split() == ["plain,final", "plain,first"]
    assert complete(shop, "seedtool snapshot restore a").out.split() == ["plain,año"]


def test_completion_starts_nothing_and_never_complains(bare):
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    for env in ({}, nowhere, {"DATABASE_URL": "nonsense"}):
        done = complete(bare, "seedtool snapshot restore ", **env)
        assert (done.code, done.out.strip(), done.err) == (0, "", "")
    assert "stopped" in bare.run("server status").out


def test_restoring_imports_nothing_heavy_and_asks_git_nothing(shop, tmp_path):
    shop.ok("snapshot save first")
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n", encoding="utf-8"
    )
    env = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PATH": str(Path(sys.executable).parent),
    }
    modules = set(shop.ok("snapshot restore first --yes", env=env).err.split())
    assert "psycopg" in modules
    assert not modules & {
        "alembic",
        "sqlalchemy",
        "botocore",
        "rich",
        "numpy",
        "yaml",
    }
