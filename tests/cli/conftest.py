"""Projects of their own for the command line: copies of this repository's files, with the console scripts run there."""

import contextlib
import json
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from seedtool import cli
from seedtool.emulator import process
from seedtool.postgres import server
from seedtool.postgres.embedded import EmbeddedServer
from seedtool.settings import Settings, load
from seedtool.workflows.face_service import open_aws
from tests import processes, servers

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COLLECTION = "eduguard-school-default"


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Project:
    """A project's folder, and commands run in it as a user would."""

    root: Path

    def run(self, command: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """Run `seedtool COMMAND ARGUMENTS`, without a terminal."""
        return self.program("seedtool", *command.split(), *arguments, env=env)

    def program(
        self, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Done:
        """Run a program of the virtual environment."""
        started = time.perf_counter()
        done = processes.run(name, *arguments, cwd=cwd or self.root, env=env)
        return Done(done.returncode, done.stdout, done.stderr, time.perf_counter() - started)

    def ok(self, command: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """Run a command that has to succeed."""
        done = self.run(command, *arguments, env=env)
        assert done.code == 0, done.out + done.err
        return done

    @property
    def settings(self) -> Settings:
        """The settings in force here."""
        return load(self.root)

    @property
    def emulator(self) -> str:
        """Where the emulator listens; it is started when it does not run."""
        return process.ensure(self.settings.state_dir / "emulator")

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement in the target and return its rows."""
        with server.connect(server.find(self.settings)) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def outside(self) -> dict[str, Any]:
        """What can be seen from outside: the emulator's counters and faces, the photos with their times."""
        with urllib.request.urlopen(f"{self.emulator}/_seedtool/status") as answer:
            status = json.load(answer)
        photos = self.settings.state_dir / "photos"
        return {
            "index": status["counters"]["IndexFaces"],
            "photos": {str(path): path.stat().st_mtime_ns for path in photos.rglob("*") if path.is_file()},
        }

    def face_ids(self) -> dict[str, str]:
        """The collection's real FaceIds by ExternalImageId, asked over the wire."""
        pages = open_aws(self.settings).collection(COLLECTION).list_pages()
        return {str(face.external_image_id): face.face_id for page in pages for face in page}

    def stop(self) -> None:
        """End the project's server and emulator."""
        EmbeddedServer(self.settings.state_dir).stop()
        process.stop(self.settings.state_dir / "emulator")


def copy_of_this_project(folder: Path, *, photos: bool) -> Project:
    """Copy what makes this repository a project; the photos are 128 files that most tests need not."""
    for name in ("pyproject.toml", "alembic.ini"):
        shutil.copy(ROOT / name, folder)
    left_out = ("__pycache__", "school", "drawing", "*.pyc") + (() if photos else ("photos",))
    for name in ("migrations", "seeds", "staging"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*left_out))
    project = Project(folder)
    servers.prepare(project.settings.state_dir)
    return project


@pytest.fixture(scope="session")
def school(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The school with its faces enrolled. Tests put back what they change in its files."""
    project = copy_of_this_project(tmp_path_factory.mktemp("school"), photos=True)
    try:
        project.ok("db-reset --yes --seed local")
        project.ok("enroll --all")
        yield project
    finally:
        project.stop()


@pytest.fixture
def seeded(school: Project) -> Project:
    """The school just after a reset, its faces linked."""
    # in process: that it works as a program is shown elsewhere
    with contextlib.chdir(school.root):
        done = CliRunner().invoke(cli.seedtool, ["db-reset", "--yes", "--seed", "full"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return school


@pytest.fixture
def bare(home: Path, tmp_path: Path) -> Iterator[Project]:
    """A project of its own for one test, without photos; nothing runs yet."""
    project = copy_of_this_project(tmp_path, photos=False)
    try:
        yield project
    finally:
        project.stop()
