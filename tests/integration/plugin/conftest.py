"""Other people's test suites: a small Alembic project with seeds, its tests run by a pytest of their own."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings

PROJECTS = Path(__file__).resolve().parents[2] / "projects"

# the environment's other plugins would take a second a run
_PLUGINS = "seedtool.pytest_plugin,xdist.plugin"

ONE_AUTHOR = "id,name,born\n1,Gabriela Mistral,1889-04-07\n"


@dataclass(frozen=True)
class Ran:
    """What a run of pytest said."""

    code: int
    text: str

    @property
    def counts(self) -> dict[str, int]:
        """How many tests had which outcome."""
        found = re.findall(r"(\d+) (passed|failed|error|skipped|warning)s?\b", self.text.strip().splitlines()[-1])
        return {outcome: int(number) for number, outcome in found}


class Suite:
    """A project's folder, the database server it uses, and its tests."""

    def __init__(self, root: Path, environ: dict[str, str], target: Target | None) -> None:
        self.root = root
        self.environ = environ
        self.target = target

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.root,
            env={**self.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": _PLUGINS, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environ: str) -> Ran:
        process = self.start(*arguments, **environ)
        text, _ = process.communicate(timeout=100)
        return Ran(process.returncode, text)

    def databases(self, kind: str) -> list[str]:
        """The server's databases of a kind: test, kept, template."""
        with server.connect(self.target, self.target.maintenance) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"seedtool_{kind}_"]
            ).fetchall()
        return [name for (name,) in rows]


@pytest.fixture(scope="session")
def apart(settings: Settings, home: Path) -> Iterator[Target]:
    """A server of its own: on the worker's, this very run may have databases for its tests."""
    found = server.find(msgspec.structs.replace(settings, root=home / "apart"))
    with server.connect(found, found.maintenance, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield found
    found.embedded.stop()


@pytest.fixture
def library(apart: Target, tmp_path: Path) -> Iterator[Suite]:
    """The library with one author seeded, on an external server as far as it knows; its target does not exist."""
    shutil.copytree(PROJECTS / "library", tmp_path / "library")
    external = server.Target(conninfo=apart.conninfo_for("library"), name="library", maintenance="postgres")
    suite = Suite(tmp_path / "library", {**os.environ, "DATABASE_URL": external.url}, external)
    suite.write("seeds/profiles.toml", '[local]\nsets = ["local"]\n')
    suite.write("seeds/local/authors.csv", ONE_AUTHOR)
    yield suite
    with psycopg.connect(external.conninfo_for("postgres"), autocommit=True) as connection:
        for name in suite.databases("kept"):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def authors() -> Callable[[str], int]:
    """How many authors there are in a database."""

    def count(url: str) -> int:
        with psycopg.connect(url) as connection:
            (number,) = connection.execute("SELECT count(*) FROM authors").fetchone()
        return number

    return count
