"""`snapshot restore` and `save` beside DSLR's, on a database with 10 MB of rows: whole processes, in turn.

DSLR gets virtual environments of its own in the temporary folder, one with each driver that it can use: importing
psycopg2 is quicker than importing psycopg 3, which is ours. All reach the same server.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RIVAL = "dslr==0.6.0"
RUNS = 7
#: 10 MB of table and index.
ROWS = """
CREATE TABLE filling (id int PRIMARY KEY, name text, born timestamptz DEFAULT now());
INSERT INTO filling SELECT g, md5(g::text) FROM generate_series(1, 95000) g;
"""

Row = tuple[str, str, float, float, float]


def rows(environ: dict[str, str], folder: Path) -> list[Row]:
    """Return what was measured: what, its rival, the bar, and the median seconds of both.

    Args:
        environ: the environment of the commands; SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the rival.
    """
    with_psycopg, with_psycopg2 = _rival(folder / "3", "psycopg[binary]"), _rival(folder / "2", "psycopg2-binary")
    port = _free_port()
    environ = {**environ, "SEEDTOOL_HOME": f"{environ['SEEDTOOL_HOME']}/snapshots"}
    _run([BIN / "seedtool", "server", "start", "--port", str(port), "-q"], environ)
    try:
        told = json.loads(_run([BIN / "seedtool", "env", "--json"], environ))
        url = str(told["DATABASE_URL"]).replace("+psycopg", "", 1)
        _run([BIN / "seedtool", "db-reset", "--yes", "-q"], environ)
        with psycopg.connect(url) as connection:
            connection.execute(ROWS)
        with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
            connection.execute(sql.SQL("CREATE DATABASE rival TEMPLATE {}").format(name))
        both = {**environ, "DATABASE_URL": url}
        ours = [BIN / "seedtool", "snapshot"]
        theirs = [with_psycopg, "--url", _renamed(url, "rival")]
        theirs2 = [with_psycopg2, "--url", _renamed(url, "rival")]
        _run([*ours, "save", "bench"], both)
        _run([*theirs, "snapshot", "bench"], both)
        restore_ours = [*ours, "restore", "bench", "--yes"]
        restore = _in_turn(restore_ours, [*theirs, "restore", "bench"], both)
        restore2 = _in_turn(restore_ours, [*theirs2, "restore", "bench"], both)
        save = _in_turn([*ours, "save", "again", "--replace"], [*theirs, "snapshot", "-y", "again"], both)
    finally:
        _run([BIN / "seedtool", "server", "stop", "-q"], environ)
    return [
        ("`seedtool snapshot restore`, 10 MB", "`dslr restore`", 0.8, *restore),
        ("`seedtool snapshot restore`, 10 MB", "`dslr restore`, with psycopg2", 1.0, *restore2),
        ("`seedtool snapshot save --replace`, 10 MB", "`dslr snapshot -y`", 1.0, *save),
    ]


def _rival(folder: Path, driver: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "-qqq", "--disable-pip-version-check"]
    subprocess.run([*pip, RIVAL, driver], check=True)
    return folder / "bin/dslr"


def _renamed(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _in_turn(one: Sequence[str | Path], two: Sequence[str | Path], environ: dict[str, str]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(RUNS + 1):
        for command, seconds in zip((one, two), times, strict=True):
            started = time.perf_counter()
            _run(command, environ)
            if number:
                seconds.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def _run(command: Sequence[str | Path], environ: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temporary:
        Path(temporary).chmod(0o755)
        for what, rival, bar, mine, theirs in rows({**os.environ, "SEEDTOOL_HOME": temporary}, Path(temporary)):
            print(f"{what}: {mine * 1000:.0f} ms, {rival} {theirs * 1000:.0f} ms: {mine / theirs:.2f} (bar {bar})")
