"""The main job on real input: `make demo`.

The first time: reset, seed, and enroll the photos of the seed's students. Then what a developer does all day:
`db-reset`, `seed full`, `sync-faces`, and the students in a class photo are recognised. Uploads and IndexFaces
calls are counted from outside, by the emulator's own counters and by the photo folder's contents. Then staging is
made of the school: a masked copy, proven to hold nobody. A third database gets two generated schools. At the end, in a
database of its own, a photo library has its backfill.
"""

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedtool.emulator import process
from seedtool.errors import ResourceNotFound
from seedtool.postgres import server
from seedtool.settings import Settings, load
from seedtool.workflows.face_service import emulator_dir, open_aws

ROOT = Path(__file__).resolve().parent
CLASS_PHOTO = "seeds/photos/classes/7-basico-a.jpg"

#: The masked copy's database, beside the school's; the key is made once and kept in the state folder.
STAGING = {"SEEDTOOL_DATABASE": "seedtool_staging"}

#: The photo library's database, beside the school's.
LIBRARY = {"SEEDTOOL_DATABASE": "seedtool_photos"}

#: The database of the generated rows.
GENERATED = {"SEEDTOOL_DATABASE": "seedtool_demo"}


def main() -> int:
    """Run the demo; returns the exit code."""
    settings = load(ROOT)
    if settings.aws != "embedded" or settings.database_url is not None:
        sys.stderr.write(
            "The demo works on the embedded server and emulator only: unset DATABASE_URL and SEEDTOOL_AWS.\n"
        )
        return 2
    times: dict[str, float] = {}
    if enrolled(settings) < seeded_photos():
        print("The first time: the photos of the seed's students have to be enrolled.\n")
        for command in ("db-reset --yes", "seed local", "enroll --all"):
            run(times, command)
        times = {f"{name}, the first time": seconds for name, seconds in times.items()}
        print("\nFrom now on a reset brings the faces back without uploading or indexing anything.\n")
    before = outside(settings)
    for command in ("db-reset --yes", "seed full", "sync-faces --strict"):
        run(times, command)
    after, found = outside(settings), rows(settings)
    run(times, f"recognize {CLASS_PHOTO}")
    table = {
        **found,
        "uploads by db-reset, seed and sync-faces": len(after["photos"].items() - before["photos"].items()),
        "IndexFaces calls by the same": after["IndexFaces"] - before["IndexFaces"],
        **{f"{name} (seconds)": f"{seconds:.2f}" for name, seconds in times.items()},
    }
    width = max(map(len, table))
    print("\n" + "\n".join(f"{name.ljust(width)}  {value:>6}" for name, value in table.items()))
    print("\nStaging, in a database of its own: a copy of the school in which nobody can be recognised.\n")
    run(
        {},
        "refresh --yes",
        STAGING,
        {"SEEDTOOL_REFRESH_FROM": address(settings), "SEEDTOOL_REFRESH_KEY": key(settings)},
    )
    print(
        "\nMore rows, in a database of its own: two schools that seeds/demo.toml describes, upon the one of `local`.\n"
    )
    run({}, "db-reset --yes --seed local --load demo", GENERATED)
    print("\nA photo library, in a database of its own, before its backfill: few faces are known, most photos wait.\n")
    page = str(settings.state_dir / "backfill.html")
    for command in ("db-reset --yes --seed photos -q", f"backfill --yes --html {shlex.quote(page)}"):
        run({}, command, LIBRARY)
    environment = " ".join(f"{name}={value}" for name, value in LIBRARY.items())
    print("\nSome faces wait for a person. See them, and say who they are, on a page of your browser:")
    program = shlex.quote(str(Path(sys.executable).with_name("seedtool")))
    print(f"  {environment} {program} faces review --web")
    return 0


def seeded_photos() -> int:
    """Count the photos that the seed names: one a line, below the header."""
    return len((ROOT / "seeds/local/student_faces.csv").read_text(encoding="utf-8").splitlines()) - 1


def enrolled(settings: Settings) -> int:
    """Count the faces in the collection; none when it does not exist yet."""
    try:
        return open_aws(settings).collection(str(settings.collection)).describe().faces
    except ResourceNotFound:
        return 0


def address(settings: Settings) -> str:
    """Return the address of the school's database, as libpq reads it."""
    return server.find(settings).url.replace("+psycopg", "", 1)


def key(settings: Settings) -> str:
    """Return the key of the masks; make one the first time."""
    file = settings.state_dir / "demo-refresh-key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def run(
    times: dict[str, float],
    command: str,
    environment: Mapping[str, str] | None = None,
    unsaid: Mapping[str, str] | None = None,
) -> None:
    """Run a seedtool command as a user would, and keep how long it took; what is unsaid stands in no line."""
    environment = environment or {}
    print(f"$ {''.join(f'{name}={value} ' for name, value in environment.items())}seedtool {command}", flush=True)
    started = time.perf_counter()
    program = Path(sys.executable).with_name("seedtool")
    done = subprocess.run(
        [program, *shlex.split(command)], cwd=ROOT, env={**os.environ, **environment, **(unsaid or {})}, check=False
    )
    times[re.split(" --| seeds/", command)[0]] = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(done.returncode)


def outside(settings: Settings) -> dict[str, Any]:
    """Count what can be seen from outside: IndexFaces calls, and the photo folder's files with their times."""
    folder = settings.state_dir / "photos"
    photos = {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.jpg"))}
    return {"IndexFaces": emulator_status(settings)["counters"]["IndexFaces"], "photos": photos}


def emulator_status(settings: Settings) -> dict[str, Any]:
    """Return what the running emulator tells of itself."""
    with urllib.request.urlopen(f"{process.ensure(emulator_dir(settings))}/_seedtool/status") as answer:  # noqa: S310
        status: dict[str, Any] = json.load(answer)
        return status


def rows(settings: Settings) -> dict[str, int]:
    """Count students, photos and linked faces in the database."""
    with server.connect(server.find(settings)) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM students), count(*),"
            " count(*) FILTER (WHERE face_id NOT LIKE 'placeholder:%'),"
            " count(*) FILTER (WHERE face_id LIKE 'placeholder:%') FROM student_faces"
        ).fetchone()
    return dict(zip(("students", "photos", "faces linked", "placeholders left"), row or (), strict=True))


if __name__ == "__main__":
    sys.exit(main())
