"""At a terminal: questions, bars, Ctrl+C, narrow windows."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from pathlib import Path

import pytest

from seedtool.cli.console import columns, table
from seedtool.postgres import server
from tests import processes
from tests.waiting import until

BIN = Path(sys.executable).parent
# gives the child the terminal as its own, so that ^C reaches it as from a keyboard
IN_THE_FOREGROUND = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal:
    """A seedtool command with a keyboard and a screen.

    Its stdout goes to a pipe of its own where `piped` is set. It is a fork (tests/processes.py), or the `real` program;
    or the keyboard and the screen are those of another `program`.
    """

    def __init__(self, root, command, *, columns=80, piped=False, env=None, real=False, program=BIN / "seedtool"):
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environ = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        environ |= {"TERM": "xterm", **(env or {})}
        stdout = subprocess.PIPE if piped else slave
        if real:
            self.process = subprocess.Popen(
                [sys.executable, "-c", IN_THE_FOREGROUND, str(program), *command.split()],
                cwd=root, env=environ, stdin=slave, stdout=stdout, stderr=slave,
            )  # fmt: skip
        else:
            self.process = processes.start(
                "seedtool", *command.split(), cwd=root, env=environ, terminal=slave, stdout=stdout, stderr=slave
            )
        os.close(slave)
        self.screen = ""

    def type(self, keys):
        os.write(self.master, keys)

    def read_until(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} does not appear: {self.screen!r}"
            if not self._read(0.2) and self.process.poll() is not None and not self._read(0.1):
                raise AssertionError(f"{text!r} did not appear: {self.screen!r}")
        return self.screen

    def _read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            found = os.read(self.master, 65536)
        except OSError:  # Linux tells the end of a terminal like this
            return False
        self.screen += found.decode(errors="replace")
        return bool(found)

    def end(self, seconds=60, insist=b""):
        """Wait for the end; returns exit code and screen. After five seconds a ^C in `insist` is typed again.

        We type faster than people: an interrupt between the prompt and its read is noticed with the next key only.
        """
        deadline, patience = time.monotonic() + seconds, time.monotonic() + 5
        while self.process.poll() is None:
            self._read(0.05)
            if insist == CTRL_C and time.monotonic() > patience:
                self.type(insist)
                patience = deadline
            assert time.monotonic() < deadline, f"still running: {self.screen!r}"
        while self._read(0.05):
            pass
        return self.process.returncode, self.screen


@contextlib.contextmanager
def at_a_terminal(project, command, **options):
    terminal = Terminal(project.root, command, **options)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()
        if terminal.process.stdout is not None:
            terminal.process.stdout.close()
        os.close(terminal.master)


@pytest.fixture
def shop(seeded):
    """A database on the school's server that seedtool did not make, with a table in it."""
    target = server.find(seeded.settings)
    with server.connect(target, "postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    with server.connect(target, "shop", autocommit=True) as connection:
        connection.execute("CREATE TABLE takings ()")
    yield {"SEEDTOOL_DATABASE": "shop"}
    with server.connect(target, "postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [
        (b"y\n", 0, "replaced seedtool"),
        (b"\n", 3, "was not confirmed; nothing was changed"),
        (CTRL_D, 3, "was not confirmed; nothing was changed"),
        (CTRL_C, 130, "interrupted"),
    ],
)
def test_a_database_of_ours_is_replaced_after_a_yes(seeded, keys, code, said):
    seeded.query("CREATE TABLE canary ()")
    with at_a_terminal(seeded, "db-reset") as terminal:
        terminal.read_until("All its data will be lost. [y/N]: ")
        terminal.type(keys)
        ended, screen = terminal.end(insist=keys)
    assert ended == code
    assert said in screen
    assert "Traceback" not in screen
    assert seeded.query("SELECT to_regclass('canary') IS NULL") == [(code == 0,)]


@pytest.mark.parametrize(("typed", "code"), [(b"shop\n", 0), (b"Shop\n", 3), (CTRL_C, 130)])
def test_a_database_of_others_is_replaced_after_its_name_was_typed(seeded, shop, typed, code):
    with at_a_terminal(seeded, "db-reset --yes", env=shop) as terminal:
        terminal.read_until("Type the database's name to go on: ")
        terminal.type(typed)
        ended, screen = terminal.end(insist=typed)
    assert ended == code
    assert "was not made by seedtool" in screen
    assert ("replaced shop" in screen) is (code == 0)
    assert ("takings" in seeded.ok("db-reset --dry-run", env=shop).out) is False
    assert ("holds data" in seeded.ok("guard status", env=shop).out) is (code != 0)


def test_unprotect_asks_for_the_name(seeded):
    seeded.ok("guard protect")
    try:
        for typed, code in ((b"other\n", 3), (b"seedtool\n", 0)):
            with at_a_terminal(seeded, "guard unprotect") as terminal:
                terminal.read_until("Type the database's name to go on: ")
                terminal.type(typed)
                assert terminal.end()[0] == code
    finally:
        seeded.ok("guard unprotect --confirm seedtool")


def test_snapshots_are_deleted_and_those_of_other_code_restored_after_a_yes(seeded):
    seeded.ok("snapshot save first")
    newest = seeded.root / "migrations" / "versions" / "0004_photo_library.py"
    source = newest.read_bytes()
    try:
        newest.unlink()
        for keys, code in ((b"n\n", 3), (CTRL_D, 3), (b"y\ny\n", 0)):
            with at_a_terminal(seeded, "snapshot restore first") as terminal:
                terminal.read_until("Restore it nevertheless? [y/N]: ")
                terminal.type(keys)
                assert terminal.end()[0] == code
    finally:
        newest.write_bytes(source)
    for keys, code in ((b"\n", 3), (b"y\n", 0)):
        with at_a_terminal(seeded, "snapshot delete first") as terminal:
            terminal.read_until("Delete first of seedtool on the embedded server? [y/N]: ")
            terminal.type(keys)
            assert terminal.end()[0] == code


def test_yes_at_a_terminal_asks_nothing_and_errors_are_red(seeded):
    with at_a_terminal(seeded, "db-reset --yes", real=True) as terminal:
        assert terminal.end()[0] == 0
    with at_a_terminal(seeded, "seed nowhere", real=True) as terminal:
        code, screen = terminal.end()
    assert code == 2
    assert "\x1b[31m\x1b[1merror: \x1b[0mthere is no profile nowhere" in screen


@contextlib.contextmanager
def slow(project, operation, seconds):
    """Let the emulator take its time over one operation."""

    def set_faults(faults):
        request = urllib.request.Request(
            f"{project.emulator}/_seedtool/faults", json.dumps(faults).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()

    set_faults({"latency": {operation: seconds}})
    try:
        yield
    finally:
        set_faults({})


def test_the_bar_is_on_stderr_at_a_terminal_alone(school):
    school.ok("db-reset --yes --seed local")
    with slow(school, "SearchFaces", 0.3):
        for width in (80, 40, 10):
            photo = "recognize seeds/photos/classes/7-basico-a.jpg"
            with at_a_terminal(school, photo, columns=width, piped=True) as terminal:
                code, screen = terminal.end()
                out = terminal.process.stdout.read().decode()
            assert code == 0
            assert "\x1b[" in screen
            assert "Traceback" not in screen
            assert "faces" in screen or width < 40
            assert "8 faces" in out
            assert "\x1b" not in out
    with at_a_terminal(school, "enroll --all", piped=True) as terminal:
        code, screen = terminal.end()
        out = terminal.process.stdout.read().decode()
    assert code == 0, screen + out
    assert "64 linked to a face that was there" in out
    with at_a_terminal(school, "enroll --all -q") as terminal:
        assert terminal.end() == (0, "")


def test_ctrl_c_in_a_migration_leaves_the_database_as_it_was(bare):
    bare.ok("db-reset --yes")
    [(newest,)] = bare.query("SELECT version_num FROM alembic_version")
    (bare.root / "migrations/versions/9999_slow.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = '{newest}'\n"
        "def upgrade():\n    print('falling asleep')\n    op.execute('SELECT pg_sleep(60)')\n",
        encoding="utf-8",
    )
    bare.query("CREATE TABLE canary ()")
    with at_a_terminal(bare, "db-reset --yes") as terminal:
        terminal.read_until("falling asleep")
        time.sleep(0.3)  # into the statement
        started = time.monotonic()
        terminal.type(CTRL_C)
        code, screen = terminal.end()
    assert code == 130
    assert time.monotonic() - started < 10
    assert screen.rstrip().endswith("interrupted")
    assert "Traceback" not in screen
    assert bare.query("SELECT to_regclass('canary') IS NOT NULL") == [(True,)]
    (bare.root / "migrations/versions/9999_slow.py").unlink()
    bare.ok("db-reset --yes")


def test_ctrl_c_while_recognizing_deletes_the_temporary_faces(seeded):
    before = seeded.face_ids()
    with slow(seeded, "SearchFaces", 3), at_a_terminal(
        seeded, "recognize seeds/photos/classes/7-basico-a.jpg"
    ) as terminal:  # fmt: skip
        until(lambda: len(seeded.face_ids()) > len(before))
        terminal.type(CTRL_C)
        code, screen = terminal.end()
    assert code == 130
    assert "interrupted" in screen
    assert "Traceback" not in screen
    assert seeded.face_ids() == before


def test_ctrl_c_while_enrolling_keeps_what_is_done_and_the_next_run_does_the_rest(seeded):
    seeded.query(
        "UPDATE student_faces SET external_image_id = external_image_id || '0', face_id = 'placeholder:' || id"
    )
    with slow(seeded, "IndexFaces", 0.5), at_a_terminal(seeded, "enroll --all", piped=True) as terminal:
        seen = seeded.outside()["index"]
        until(lambda: seeded.outside()["index"] > seen)
        terminal.type(CTRL_C)
        code, screen = terminal.end()
        out = terminal.process.stdout.read().decode()
    assert code == 130, (screen, out)
    assert "Traceback" not in screen
    assert "run the same command again for the rest" in out
    seeded.ok("enroll --all")
    assert (
        dict(seeded.query("SELECT external_image_id, face_id FROM student_faces")).items() <= seeded.face_ids().items()
    )


def test_a_narrow_terminal_is_no_crash(seeded):
    for command, width in (("--help", 1), ("db-reset --help", 40), ("seed full", 40), ("config", 1), ("doctor", 40)):
        with at_a_terminal(seeded, command, columns=width) as terminal:
            code, screen = terminal.end()
        assert code == 0, screen
        assert "Traceback" not in screen


def test_the_settings_fit_a_terminal_of_80_columns(school):
    with at_a_terminal(school, "config", columns=80) as terminal:
        code, screen = terminal.end()
    assert code == 0
    assert max(map(len, screen.splitlines())) <= 80
    assert "refresh.policy" in screen


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_nothing_is_coloured_where_that_is_not_wanted(school, env):
    with at_a_terminal(school, "snapshot restore nowhere", env=env) as terminal:
        code, screen = terminal.end()
    assert code != 0
    assert screen.startswith("error: ")
    assert "\x1b" not in screen


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_completes_with_what_was_installed(school, tmp_path, shell):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    folders = dict.fromkeys(("HOME", "ZDOTDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    env = {**os.environ, **folders, "PATH": f"{BIN}:{os.environ['PATH']}"}
    told = school.ok(f"completion {shell} --install", env=env).out
    asked = {"seedtool seed-dump --table stu": "students", "db-reset --seed fu": "full"}
    if shell == "fish":
        command = "; ".join(f"complete -C '{line}'" for line in asked)
        done = subprocess.run(
            [program, "-c", command], cwd=school.root, env=env, capture_output=True, text=True, check=True
        )
        offered = [line.partition("\t")[0] for line in done.stdout.splitlines()]
        assert offered == ["students", "student_faces", "full"]
        return
    # what the command says to put into ~/.zshrc, as it stands
    (tmp_path / ".zshrc").write_text(told.partition("new shell: ")[2] + "autoload -Uz compinit; compinit -u -D\n")
    for line, word in asked.items():
        with at_a_terminal(school, "-d -i", real=True, program=program, env=env) as terminal:
            terminal.type(f"{line}\t".encode())
            begun = line.rpartition(" ")[0]
            terminal.read_until(f"{begun} {word.removesuffix('s')}")  # `students` and `student_faces` begin alike


def test_columns_are_as_wide_as_a_terminal_shows_them():
    names = ["Ana", "山田太郎", "e\u0301le\u0301na", "a long name, which is broken"]
    assert [columns(name) for name in names] == [3, 8, 5, 28]
    lines = list(table(("name", "what"), [(name, "x") for name in names], width=20))
    assert {columns(line) for line in lines if line.endswith("x")} == {17}
    assert [line.partition("  ")[0] for line in lines[5:]] == ["a long name,", "which is", "broken"]
