"""The loop of every day beside a bare script that lists the same collection with boto3: whole processes, in turn.

The school is reset, seeded and its faces are linked again; the collection and the photos are there all the time. The
emulator answers, so neither side pays for a network.
"""

import json
import shutil
import sys
from pathlib import Path

from reset import ROOT, Project, Row, in_turn

sys.path.insert(0, str(ROOT))

from seedtool.emulator import process
from seedtool.settings import load

RUNS = 15

LISTING = """
import boto3, sys
faces = 0
for page in boto3.client("rekognition").get_paginator("list_faces").paginate(CollectionId=sys.argv[1]):
    faces += len(page["Faces"])
assert faces == int(sys.argv[2]), faces
"""


def rows(environ: dict[str, str], folder: Path) -> list[Row]:
    """Return what was measured: what, its rival, the bar, and the median seconds of both.

    Args:
        environ: the environment of the commands; SEEDTOOL_HOME in it is a folder of the measurement's own.
        folder: a temporary folder for the copy of the project.
    """
    environ = {name: value for name, value in environ.items() if name != "CI"}  # a reset in CI makes no spares
    place = folder / "school"
    place.mkdir()
    for name in ("pyproject.toml", "alembic.ini"):
        shutil.copy(ROOT / name, place)
    for name in ("migrations", "seeds"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(place, environ)
    try:
        project.run("db-reset", "--yes", "--seed", "local")
        project.run("enroll", "--all")
        told = json.loads(project.run("env", "--json"))
        ours = {name: value for name, value in told.items() if name.isupper()}
        bare = Project(place, {**environ, **ours, "AWS_DEFAULT_REGION": "us-east-1"})
        (folder / "listing.py").write_text(LISTING)
        faces = json.loads(project.run("faces", "status", "--json"))["collections"][0]["faces"]
        listing = bare.python(str(folder / "listing.py"), ours["AWS_REKOGNITION_COLLECTION"], str(faces))
        what = f"`boto3`'s paginator in a script, {faces} faces"
        reset = ("db-reset", "--yes", "--seed", "full")
        project.run(*reset)
        rival = (lambda: None, listing)
        return [
            (
                "`seedtool seed full`, nothing to change",
                what,
                1.6,
                *in_turn((lambda: None, project.command("seed", "full")), rival, RUNS),
            ),
            (
                f"`seedtool {' '.join(reset)}`, a spare ready",
                what,
                1.3,
                *in_turn((lambda: project.settle(spare=True), project.command(*reset)), rival, RUNS),
            ),
        ]
    finally:
        process.stop(load(place, environ=environ).state_dir / "emulator")
        project.run("server", "stop", "-q")
