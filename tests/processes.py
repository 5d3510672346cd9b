"""Processes that have their imports behind them: a server imports seedtool once and forks itself for each.

Starting Python and importing what a command needs takes five times as long as most commands. A fork of a process
that has imported it is a process like any other: it has its own folder, environment, standard streams and signals,
its own modules of a project, its exit code, and it can be killed. What imports cost, and what happens while Python
starts, is tested with real programs (tests/cli/test_imports.py, test_contract.py).
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

BIN = Path(sys.executable).parent

#: The console scripts of pyproject.toml: where each begins.
SCRIPTS = {"seedtool": "main", "db-reset": "db_reset_main", "seed": "seed_main", "sync-faces": "sync_faces_main"}

#: The variable that lets a process tell coverage which test has started it.
CONTEXTS = "TESTS_HAVE_CONTEXTS"

#: What Python reads while it starts: a process that is given one of them is really started.
_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "COVERAGE_")

#: The variable by which coverage has itself started in a process.
_MEASURED = "COVERAGE_PROCESS_CONFIG"

#: What commands import below seedtool, heavy and common.
_HEAVY = (
    "alembic.command", "alembic.config", "alembic.script", "alembic.migration", "boto3", "botocore.session", "numpy",
    "PIL.Image", "psycopg", "rich.progress", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.orm", "yaml",
)  # fmt: skip


@dataclass
class Process:
    """A process that runs: `pid`, and the part of `subprocess.Popen` that tests use."""

    pid: int
    _answer: socket.socket
    stdout: IO[bytes] | None = None
    returncode: int | None = field(default=None)

    def wait(self, timeout: float = 60) -> int:
        """Return the exit code, or the negative number of the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self.returncode = int(_line(self._answer))
            self._answer.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: str | Path,
    code: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    terminal: int | None = None,
    stdout: IO[Any] | int | None = None,
    stderr: IO[Any] | int | None = None,
) -> Process:
    """Start a console script of seedtool, or a text of Python.

    Args:
        arguments: the script's name and its arguments; with `code`, `sys.argv[1:]`.
        code: what `python -c` would be given.
        cwd: the folder to start in; None means ours.
        env: the whole environment; None means ours.
        terminal: the descriptor of a terminal, which becomes its own: it reads there, and Ctrl+C reaches it.
        stdout: a file or descriptor, or `subprocess.PIPE`; None means the terminal, or else ours.
        stderr: the same without a pipe.
    """
    request = {
        "argv": [str(each) for each in arguments],
        "code": code,
        "cwd": str(cwd or Path.cwd()),
        "env": dict(os.environ if env is None else env),
        "terminal": terminal is not None,
    }
    answer = socket.socket(socket.AF_UNIX)
    answer.connect(str(_server()))
    text = json.dumps(request).encode() + b"\n"
    ours = 2 if terminal is None else terminal
    with contextlib.ExitStack() as stack:
        piped = None
        if stdout == subprocess.PIPE:
            reading, stdout = os.pipe()
            piped = os.fdopen(reading, "rb")
            stack.callback(os.close, stdout)
        stdin = terminal if terminal is not None else stack.enter_context(Path(os.devnull).open("rb"))
        streams = [
            ours if each is None else each if isinstance(each, int) else each.fileno()
            for each in (stdin, stdout, stderr)
        ]
        socket.send_fds(answer, [text[:1]], streams)
        answer.sendall(text[1:])
        return Process(int(_line(answer)), answer, piped)


def run(
    *arguments: str | Path,
    code: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run a console script of seedtool, or a text of Python, to its end; see `start`."""
    everything = {**os.environ, **(env or {})}
    started = any(name.startswith(_AT_START) for name in env or {})
    if started or (code is None and str(arguments[0]) not in SCRIPTS):
        command = [sys.executable, "-c", code, *arguments] if code is not None else [BIN / arguments[0], *arguments[1:]]
        return subprocess.run(
            command, cwd=cwd, env=everything, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            encoding="utf-8", check=False, timeout=timeout,
        )  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(*arguments, code=code, cwd=cwd, env=everything, stdout=out, stderr=err)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(io.TextIOWrapper(io.BytesIO(file.read()), "utf-8").read())
    return subprocess.CompletedProcess([*arguments], process.wait(), *texts)


def programs(folder: Path) -> None:
    """Write console scripts for a shell's PATH into a folder: what they start has its imports behind it, too."""
    client = [sys.executable, "-IS", Path(__file__).with_name("program.py"), _server()]
    for name in SCRIPTS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, client))} {name} "$@"\n', encoding="utf-8")
        script.chmod(0o755)


@contextlib.contextmanager
def unmeasured() -> Iterator[None]:
    """Let the processes that are started within do without coverage, which costs them a third of their time."""
    before = os.environ.pop(_MEASURED, None)
    _left_out.append(before)
    try:
        yield
    finally:
        _left_out.pop()
        if before is not None:
            os.environ[_MEASURED] = before


#: How coverage is started in processes, for each `unmeasured` that we are within.
_left_out: list[str | None] = []

_servers: dict[int, tuple["subprocess.Popen[bytes]", Path]] = {}


def _server() -> Path:
    """Return the address of this process's server; it is started when it does not run."""
    if os.getpid() not in _servers:
        folder = Path(tempfile.mkdtemp(prefix="seedtool-processes-"))
        # it serves measured processes, too, whichever comes first
        measured = next(({_MEASURED: each} for each in _left_out if each is not None), {})
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.processes", folder / "address"], cwd=Path(__file__).parents[1],
            env=os.environ | measured, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        _servers[os.getpid()] = server, folder
    return _servers[os.getpid()][1] / "address"


def stop() -> None:
    """End this process's server, if it runs."""
    server, folder = _servers.pop(os.getpid(), (None, None))
    if server is not None and folder is not None:
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()
        server.wait(10)
        shutil.rmtree(folder)


def _line(connection: socket.socket, most: int = 1) -> bytes:
    """Return a line. The next one may be there already; `most` bytes at once where there is no next one."""
    text = b""
    while not text.endswith(b"\n"):
        more = connection.recv(most)
        if not more:
            raise AssertionError("the server of processes has ended")
        text += more
    return text


# below: the server


def _serve(address: str) -> dict[str, Any]:
    """Import, listen, and fork for each request; returns, in the child that is to run it, what was asked for."""
    import seedtool

    for name in _HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(seedtool.__path__, "seedtool."):
        if (
            not module.name.startswith(("seedtool.emulator", "seedtool.pytest_plugin", "seedtool.review_page"))
            and "__main__" not in module.name
        ):
            importlib.import_module(module.name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for pytest, which ends us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the children
    gc.collect()
    gc.freeze()  # what is imported is no garbage: to look at it in each child would copy its memory
    os.write(1, b"ready\n")
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:  # whoever started us has gone
            sys.exit()
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _attend(connection)
        connection.close()


def _attend(connection: socket.socket) -> dict[str, Any]:
    """Fork the process that was asked for, wait for it and say how it ended; returns in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    first, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    request: dict[str, Any] = json.loads(first + _line(connection, 1 << 16))
    pid = os.fork()
    if pid:
        connection.sendall(b"%d\n" % pid)
        for descriptor in descriptors:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # nobody wants to know
            connection.sendall(b"%d\n" % code)
        os._exit(0)
    connection.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return request


def _become(request: dict[str, Any]) -> NoReturn:
    """Be the process that was asked for."""
    _forget_coverage(request["env"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8"),
        io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", line_buffering=os.isatty(1)),
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", line_buffering=True
        ),
    )
    if request["code"] is not None:
        sys.path[0] = ""
        sys.argv = ["-c", *request["argv"]]
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a test's own text
        sys.exit()
    name, *arguments = request["argv"]
    sys.path[0] = str(BIN)
    sys.argv = [str(BIN / name), *arguments]
    from seedtool import cli

    sys.exit(getattr(cli, SCRIPTS[name])())


def _end(code: object) -> None:
    """End as Python would, but for the freeing of everything that was imported: that takes longer than most commands.

    Returns where Python has to say what is wrong.

    Args:
        code: that of a `SystemExit`.
    """
    if code is None or isinstance(code, int):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit((code or 0) & 0xFF)


def _forget_coverage(env: Mapping[str, str]) -> None:
    """Leave what the server's imports have covered to the server: each child would write it down again.

    Args:
        env: the child's environment, which says whether it is measured, and as part of which test.
    """
    coverage = sys.modules.get("coverage")
    measuring = coverage.Coverage.current() if coverage is not None else None
    if measuring is not None:
        measuring.stop()
        measuring._collector.reset()
        if _MEASURED in env:
            measuring.start()
            if CONTEXTS in env:
                test, _, phase = env.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
                measuring.switch_context(f"{test}|{'run' if phase == '(call)' else phase}")
        else:
            atexit.unregister(measuring._atexit)


if __name__ == "__main__":
    try:
        _become(_serve(sys.argv[1]))
    except SystemExit as asked:
        _end(asked.code)
        raise
