"""deploy/: what the Dockerfile and the compose file say is done in folders, as far as no engine of containers is needed."""

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.programs.conftest import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


@dataclass
class Stage:
    """A stage of the Dockerfile: `root` stands for the image's root folder."""

    root: Path
    folder: Path
    said: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        # the packages of this environment are there already, hatchling among them: nothing is fetched
        given = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        path = f"{self.root / 'usr' / 'local' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PIP_", "PYTHON"))}
        variables = {**kept, **given, **self.variables, "PATH": path, **environment}
        done = subprocess.run(
            ["sh", "-euc", command], cwd=self.folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done


def python_image(root: Path) -> None:
    """Give a stage what `FROM python` has in /usr/local: `python` and `pip`."""
    venv = root / "usr" / "local"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    ours = [each for each in sys.path if each.endswith(("site-packages", "dist-packages"))]
    (packages / "of_the_tests.pth").write_text("\n".join(ours))
    pip = venv / "bin" / "pip"
    pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    pip.chmod(0o755)


def context(folder: Path) -> Path:
    """Fill a folder with the files that .dockerignore lets through."""
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source = ROOT / line[1:]
            copy(source, folder / source.name if source.is_dir() else folder)
    return folder


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copy(source, target)


def copy_from(base: Path, source: str, stage: Stage, target: str) -> None:
    """Carry a COPY out."""
    place = stage.root / target.lstrip("/") if target.startswith("/") else stage.folder / target
    copy(base / source.lstrip("/"), place)
    for script in place.glob("bin/*"):
        if not script.is_symlink():  # each of the two roots is /
            script.write_text(script.read_text().replace(str(base), str(stage.root)))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The last stage of the Dockerfile."""
    pytest.importorskip("hatchling", reason="hatchling is not installed in this environment")
    given = context(tmp_path_factory.mktemp("context"))
    stages: dict[str, Stage] = {}
    stage = Stage(given, given)
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for instruction, rest in re.findall(r"^([A-Z]+) (.+)$", text, flags=re.MULTILINE):
        if instruction == "FROM":
            source, _, name = rest.partition(" AS ")
            assert re.fullmatch(r"python:3\.\d+-slim-(bookworm|trixie)", source), "not Debian's image of Python"
            root = tmp_path_factory.mktemp("stage")
            python_image(root)
            stage = stages[name] = Stage(root, root)
        elif instruction in {"ARG", "ENV"}:
            stage.variables |= [rest.split("=")]
        elif instruction == "WORKDIR":
            stage.folder = stage.root / rest.lstrip("/")
            stage.folder.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            *options, source, target = rest.split()
            base = stages[options[0].removeprefix("--from=")].root if options else given
            copy_from(base, source, stage, target)
        elif instruction == "RUN":
            stage.run(rest)
        else:
            stage.said[instruction] = json.loads(rest[rest.index("[") :]) if "[" in rest else [rest]
    return stage


def in_container(service: str, path: str) -> Path:
    """The folder of this machine that a compose service has at a path."""
    found = {
        target: DEPLOY / source
        for source, target, *_ in (volume.split(":") for volume in COMPOSE["services"][service]["volumes"])
    }
    assert found[path].is_dir()
    return found[path]


def test_the_image_runs_and_the_application_beside_it_recognises_who_is_there(image):
    app, standin = COMPOSE["services"]["app"], COMPOSE["services"]["rekognition"]
    assert (DEPLOY / standin["build"]["context"]).resolve() == ROOT
    assert (ROOT / standin["build"]["dockerfile"]).is_file()
    assert image.said["USER"][0].isdigit()  # Kubernetes cannot tell whether a name is root
    assert (image.root / image.said["VOLUME"][0].lstrip("/")).stat().st_mode & 0o777 == 0o777
    assert set(COMPOSE["volumes"]) == {"faces"}

    in_image = image.variables
    assert in_image["REKOGNITION_STANDIN_PORT"] == image.said["EXPOSE"][0] == standin["ports"][0].rpartition(":")[2]
    assert in_image["REKOGNITION_STANDIN_STATE_DIR"] == image.said["VOLUME"][0]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    in_image["REKOGNITION_STANDIN_HOST"] = "127.0.0.1"  # no test listens for other machines
    in_image["REKOGNITION_STANDIN_PORT"] = str(port)
    in_image["REKOGNITION_STANDIN_STATE_DIR"] = str(image.root / "faces")
    variables = standin["environment"]
    variables |= {
        "REKOGNITION_STANDIN_PHOTOS": str(in_container("rekognition", variables["REKOGNITION_STANDIN_PHOTOS"]))
    }
    (program,) = image.said["ENTRYPOINT"]
    script = image.root / "usr" / "local" / "bin" / program
    process = subprocess.Popen([script], env={**os.environ, **in_image, **variables}, cwd=image.root)
    try:
        deadline = time.monotonic() + 30
        address = f"http://127.0.0.1:{port}"
        while not answers(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        image.run(shlex.join(image.said["HEALTHCHECK"]))

        # the application finds it by the name of its service
        name = app["environment"]["AWS_ENDPOINT_URL_REKOGNITION"].removeprefix("http://")
        assert name == f"rekognition:{image.said['EXPOSE'][0]}"
        assert listing(port, name) == 200
        assert listing(port, "other:4566") == 403
        application = Stage(image.root, in_container("app", app["working_dir"]))
        environment = app["environment"] | {"AWS_ENDPOINT_URL_REKOGNITION": address}
        done = application.run(app["command"], **environment)
        assert re.fullmatch(r"ana at 9\d\.\d %\n", done.stdout)
    finally:
        process.terminate()
        assert process.wait(20) == 0


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def listing(port: int, host: str) -> int:
    """The status of a ListCollections that calls the stand-in by a name."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Host": host, "X-Amz-Target": "RekognitionService.ListCollections"}
    connection.request("POST", "/", "{}", headers)
    status = connection.getresponse().status
    connection.close()
    return status
