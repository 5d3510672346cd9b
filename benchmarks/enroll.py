"""Enrolling 1,000 photos against the stand-in under AWS's published quota: what share of 50 a second is reached?

    .venv/bin/python benchmarks/enroll.py [--photos 1000] [--latency 0.5 1.0] [--way manifest all]

The stand-in runs with `--faults '{"tps": "published", "latency": {"IndexFaces": ...}}'`. Each photo is another small
JPEG with one named face region, as photo managers write it. The time is that of the whole call: listing, checking,
storing, indexing, writing the rows. The quota's bucket holds a second's worth of calls, so `1,000 / 50` s is fair: the
client's own limiter never uses that first second.
"""

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from seeds.drawing.regions import Region, packet  # noqa: E402 -- needs the project's folder on the path
from seedtool.emulator import process  # noqa: E402
from seedtool.faces.enroll import enroll_all, enroll_manifest  # noqa: E402
from seedtool.faces.photos import store  # noqa: E402
from seedtool.faces.rekognition.service import Aws  # noqa: E402
from seedtool.postgres import server  # noqa: E402
from seedtool.settings import FaceBinding, Settings, load  # noqa: E402

QUOTA = 50.0
BAR = 0.9
SIDE = 96  # pixels; Rekognition wants 80 a side


def main() -> int:
    """Measure each way at each latency, print a table, and tell by the exit code whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.5, 1.0], help="seconds of each IndexFaces")
    parser.add_argument("--way", nargs="+", choices=("manifest", "all"), default=["manifest", "all"])
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        found = list(measured(Path(folder), options.photos, options.latency, options.way))
    print("| way | latency, s | photos | seconds | of the quota | throttled | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for each in found:
        print(each)
    return 0 if all(each.share >= BAR for each in found) else 1


def rows(environ: dict[str, str], folder: Path) -> Iterator[tuple[str, str, float, float, float]]:  # noqa: ARG001
    """Return rows of: what, its rival, the bar of their ratio, and the seconds of both."""
    for each in measured(folder, 1000, [0.5, 1.0], ["manifest", "all"]):
        what = f"`enroll --{each.way}`, {each.photos:,} photos, IndexFaces takes {each.latency:g} s"
        yield what, f"what {QUOTA:g} calls a second allow", 1 / BAR, each.seconds, each.photos / QUOTA


class Enrolled(NamedTuple):
    """One measurement."""

    way: str
    latency: float
    photos: int
    seconds: float
    throttled: int

    @property
    def share(self) -> float:
        return self.photos / self.seconds / QUOTA

    def __str__(self) -> str:
        met = "met" if self.share >= BAR else "missed"
        return (
            f"| {self.way} | {self.latency:.2f} | {self.photos} | {self.seconds:.1f} | {self.share:.0%} "
            f"| {self.throttled} | {met} |"
        )


def measured(home: Path, number: int, latencies: list[float], ways: list[str]) -> Iterator[Enrolled]:
    """Enroll so many photos in each way at each latency."""
    photos = draw(home / "pictures", number)
    settings = msgspec.structs.replace(
        load(ROOT),
        home=home,
        database=f"bench_{uuid.uuid4().hex[:8]}",
        seeds=home / "no-seeds",
        faces=(FaceBinding(table="student_faces"),),
    )
    with school(settings) as connection:
        for way in ways:
            for latency in latencies:
                yield measure(way, latency, settings, connection, home, photos)


def measure(way, latency, settings, connection, home, photos) -> Enrolled:
    """Enroll all photos once; a second time nothing is sent."""
    mine = msgspec.structs.replace(
        settings, collection=f"bench-{uuid.uuid4().hex[:8]}", photos_url=str(home / f"store-{uuid.uuid4().hex[:8]}")
    )
    connection.execute("TRUNCATE student_faces")
    connection.commit()
    with emulator(home / "emulator", latency) as endpoint:
        aws = Aws(mine, endpoint)
        photos_store = store(mine, aws)
        throttled = count_throttled(aws)
        if way == "manifest":
            manifest = home / "manifest.csv"
            lines = [f"bench-{i // 2:05},{path}\n" for i, path in enumerate(photos)]
            manifest.write_text("student_id,photo\n" + "".join(lines), encoding="utf-8")
            started = time.perf_counter()
            report = enroll_manifest(connection, mine, aws, photos_store, manifest)
        else:
            for i, path in enumerate(photos):
                photos_store.put(f"students/bench-{i // 2:05}/photo-{i % 2 + 1}.jpg", path.read_bytes())
            connection.execute(PLACEHOLDERS, [len(photos)])
            connection.commit()
            started = time.perf_counter()
            report = enroll_all(connection, mine, aws, photos_store)
        seconds = time.perf_counter() - started
        enrolled = sum(photo.outcome == "enrolled" for photo in report.photos)
        counted = status(endpoint)["counters"]["IndexFaces"]
        assert report.ok, report.failures[:3]
        assert counted - throttled["IndexFaces"] == enrolled
        if way == "manifest":
            second = enroll_manifest(connection, mine, aws, photos_store, manifest)
        else:
            second = enroll_all(connection, mine, aws, photos_store)
        assert second.ok
        assert second.uploads == 0
        assert "IndexFaces" not in second.calls
    return Enrolled(way, latency, enrolled, seconds, throttled["IndexFaces"])


def count_throttled(aws: Aws) -> dict[str, int]:
    """Count throttled answers, which botocore would retry without a word."""
    counts = {"IndexFaces": 0}

    def look(parsed_response=None, **_) -> None:
        code = ((parsed_response or {}).get("Error") or {}).get("Code", "")
        counts["IndexFaces"] += code in {"ThrottlingException", "ProvisionedThroughputExceededException"}

    aws.rekognition().meta.events.register("response-received.rekognition.IndexFaces", look)
    return counts


def draw(folder: Path, count: int) -> list[Path]:
    """Write distinct pictures of one face each and return their files."""
    folder.mkdir()
    paths = []
    region_box = (16, 12, 80, 88)
    for i in range(count):
        noise = random.Random(i).randbytes(24 * 24)  # coarse, so that the face is sharp
        picture = Image.frombytes("L", (24, 24), noise).resize((SIDE, SIDE), Image.Resampling.NEAREST).convert("RGB")
        buffer = io.BytesIO()
        # pictures of one student carry one name
        xmp = packet([Region(f"Bench Person {i // 2}", region_box)], (SIDE, SIDE), attributes=bool(i % 2))
        picture.save(buffer, "JPEG", quality=85, xmp=xmp, comment=f"photo {i}".encode())
        paths.append(folder / f"{i:05}.jpg")
        paths[-1].write_bytes(buffer.getvalue())
    return paths


@contextmanager
def school(settings: Settings) -> Iterator:
    """A connection to a database with enough students."""
    target = server.find(settings)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(f'CREATE DATABASE "{target.name}"')
    try:
        subprocess.run(
            [Path(sys.executable).parent / "seedtool", "migrate", "-q"],
            cwd=ROOT,
            check=True,
            env={**os.environ, "SEEDTOOL_HOME": str(settings.home), "SEEDTOOL_DATABASE": target.name},
        )
        with server.connect(target) as connection:
            connection.execute(GUARDIAN)
            connection.execute(STUDENTS)
            connection.commit()
            yield connection
    finally:
        target.embedded.stop()


@contextmanager
def emulator(state: Path, latency: float) -> Iterator[str]:
    """The stand-in with the published quotas and a slow IndexFaces."""
    faults = json.dumps({"tps": "published", "latency": {"IndexFaces": latency}})
    endpoint = process.ensure(state, arguments=["--faults", faults])
    try:
        yield endpoint
    finally:
        process.stop(state)


def status(endpoint: str) -> dict:
    """What the stand-in counted."""
    with urllib.request.urlopen(f"{endpoint}/_seedtool/status") as answer:
        return json.load(answer)


GUARDIAN = """
INSERT INTO legal_guardians (id, first_name, last_name, identification_number, phone, email)
VALUES ('bench-guardian', 'Rosa', 'Soto', '1-9', '+56 9', 'rosa@example.cl')"""

STUDENTS = """
INSERT INTO students (id, first_name, last_name, identification_number, guardian_id, enrollment_date)
SELECT 'bench-' || to_char(n, 'FM00000'), 'Nombre', 'Apellido', n::text, 'bench-guardian', '2026-03-02'
FROM generate_series(0, 99999) n"""

PLACEHOLDERS = """
INSERT INTO student_faces (id, student_id, external_image_id, face_id, photo_url)
SELECT 'face-' || s || '-' || p, s, s || '-photo-' || p, 'placeholder:' || s || '-photo-' || p,
    'students/' || s || '/photo-' || p || '.jpg'
FROM (SELECT 'bench-' || to_char(i / 2, 'FM00000') AS s, i %% 2 + 1 AS p FROM generate_series(0, %s::int - 1) i) n"""


if __name__ == "__main__":
    sys.exit(main())
