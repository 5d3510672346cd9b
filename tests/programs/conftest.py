"""One stand-in for all programs: that of the wheel `rekognition-standin`, where seedtool and botocore are missing."""

import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore
import pytest

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "seeds" / "photos"
PROGRAMS = Path(__file__).parent

_ALONE = """
import sys
sys.modules |= dict.fromkeys(("seedtool", "botocore", "boto3", "sqlalchemy", "alembic", "psycopg"))
from rekognition_standin.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is unpacked into: as its build hook lays it out."""
    hook = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    hook.BuildHookInterface = object  # hatchling is there only while a package is built
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, hook.__name__, hook)
        spec = importlib.util.spec_from_file_location("standin_hatch_build", ROOT / "standin" / "hatch_build.py")
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
    (model,) = (Path(botocore.__file__).parent / "data" / "rekognition").glob("*/service-2.json.gz")
    folder = tmp_path_factory.mktemp("unpacked")
    build.lay_out(ROOT / "seedtool", model, folder / build.PACKAGE)
    return folder


@pytest.fixture(scope="session")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose folders are the buckets."""
    return tmp_path_factory.mktemp("buckets")


@pytest.fixture(scope="session")
def endpoint(package: Path, buckets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stand-in's address. Its album has the class photos and one photo of each student."""
    album = tmp_path_factory.mktemp("album")
    for photo in (*PHOTOS.glob("classes/*.jpg"), *PHOTOS.glob("students/*/photo-1.jpg")):
        (album / f"{photo.parent.name}-{photo.name}").symlink_to(photo)
    process = subprocess.Popen(
        [sys.executable, "-c", _ALONE, "--album", album, "--photos", buckets],
        env=os.environ | {"PYTHONPATH": str(package)},
        cwd=package,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1].rstrip(".")
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.fixture
def program(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[..., types.ModuleType]:
    """Load one of the programs: all that it is given is its environment."""
    given = {
        "AWS_ENDPOINT_URL_REKOGNITION": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }

    def load(name: str, **environment: str) -> types.ModuleType:
        for variable, value in {**given, **environment}.items():
            monkeypatch.setenv(variable, value)
        spec = importlib.util.spec_from_file_location(f"program_{name}", PROGRAMS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
