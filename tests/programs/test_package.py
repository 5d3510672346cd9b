"""The package `rekognition-standin`: what it needs, and how much that is."""

import re
import tomllib
from importlib.metadata import distribution

from packaging.requirements import Requirement

from tests.programs.conftest import ROOT

STANDIN = tomllib.loads((ROOT / "standin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SEEDTOOL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(texts):
    return {Requirement(text).name: Requirement(text) for text in texts}


def test_its_bounds_are_those_of_seedtool():
    extras = SEEDTOOL["optional-dependencies"]
    ours = requirements([*SEEDTOOL["dependencies"], *(text for texts in extras.values() for text in texts)])
    for extra, texts in {"": STANDIN["dependencies"], **STANDIN["optional-dependencies"]}.items():
        for name, its in requirements(texts).items():
            assert str(its.specifier) == str(ours[name].specifier), (extra, name)


def test_it_installs_less_than_110_mb():
    waiting, sizes = list(requirements(STANDIN["dependencies"])), {}
    while waiting:
        name = waiting.pop()
        if name not in sizes:
            found = distribution(name)
            files = [each for each in found.files or () if each.suffix != ".pyc"]
            sizes[name] = sum(each.size or 0 for each in files)
            needed = [Requirement(text) for text in found.requires or ()]
            waiting += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert {"numpy", "pillow", "starlette", "uvicorn"} <= set(sizes)
    assert not {"botocore", "sqlalchemy", "psycopg"} & {re.sub(r"[-_.]+", "-", name).lower() for name in sizes}
    assert 50e6 < sum(sizes.values()) < 110e6


def test_the_module_that_the_script_names_is_in_the_package(package):
    module, _, function = STANDIN["scripts"]["rekognition-standin"].partition(":")
    text = (package / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert f"def {function}(" in text
    assert (package / "rekognition_standin" / "service-2.json.gz").stat().st_size > 50_000
