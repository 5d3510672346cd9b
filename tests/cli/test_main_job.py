"""The main job, as a developer does it all day: reset, seed, sync, and the students are recognised right after."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

BIN = Path(sys.executable).parent
CLASS_PHOTO = "seeds/photos/classes/7-basico-a.jpg"
COLLECTION = "eduguard-school-default"
FACES = "SELECT external_image_id, face_id FROM student_faces"


@contextlib.contextmanager
def as_it_was(path):
    """Put a file back after the test has written to it."""
    before = path.read_bytes()
    try:
        yield before
    finally:
        path.write_bytes(before)


def another_photo(folder, student, name):
    """A photo of the student that nobody has seen: the same picture with a comment (JPEG's COM segment) in it."""
    picture = (folder / f"seeds/photos/students/{student}/photo-1.jpg").read_bytes()
    comment = name.encode()
    path = folder / f"{name}.jpg"
    path.write_bytes(picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:])
    return path


def test_a_day_of_resets_uploads_and_indexes_nothing(school):
    before = school.outside()
    for command in ("db-reset --yes", "seed full", "db-reset --yes --seed full", "seed full", "sync-faces --strict"):
        school.ok(command)
    assert school.outside() == before

    faces = dict(school.query(FACES))
    assert len(faces) == 64
    assert faces.items() <= school.face_ids().items()

    report = school.ok(f"recognize --json {CLASS_PHOTO}").json
    seen = [face["student_id"] for face in report["faces"]]
    assert sorted(seen) == [f"student-{n:03}" for n in range(1, 9)]
    assert report["mode"] == "embedded"
    left = [name for name in school.face_ids() if name.startswith("temp")]
    assert left == []


def test_local_alone_leaves_placeholders_and_says_how_to_go_on(school):
    school.ok("db-reset --yes --seed local")
    assert all(face.startswith("placeholder:") for _, face in school.query(FACES))
    doctor = school.run("doctor")
    assert doctor.code == 1
    assert "64 rows of student_faces hold placeholders" in doctor.out
    assert "Run seedtool sync-faces" in doctor.out
    assert "Run seedtool sync-faces" in school.run(f"recognize {CLASS_PHOTO}").out
    assert "would link 64 of 64" in school.ok("sync-faces --dry-run").out
    assert "linked 64 of 64" in school.ok("sync-faces").out


def test_strict_fails_while_a_row_has_no_face(seeded):
    faces = seeded.settings.seeds / "local" / "student_faces.csv"
    with as_it_was(faces) as before:
        faces.write_bytes(before + b"face-x,student-001,student-001-photo-90,students/student-001/photo-90.jpg\n")
        seeded.ok("seed full")
        strict = seeded.run("sync-faces --strict")
        assert strict.code == 1
        assert "student-001-photo-90" in strict.out
        assert seeded.ok("sync-faces").code == 0
    assert "1 deleted" in seeded.ok("seed full").out


def test_an_edit_survives_by_a_dump(seeded):
    seeded.query("UPDATE teachers SET first_name = 'Gabriela, \"la profe\"' WHERE id = (SELECT min(id) FROM teachers)")
    path = seeded.settings.seeds / "local" / "teachers.csv"
    with as_it_was(path):
        assert "seeds/local/teachers.csv: 12 rows" in seeded.ok("seed-dump --table teachers").out
        assert "; 713 unchanged" in seeded.ok("seed local --dry-run").out
        seeded.ok("db-reset --yes --seed local")
        assert seeded.query("SELECT first_name FROM teachers ORDER BY id LIMIT 1") == [('Gabriela, "la profe"',)]
    dry = seeded.ok("seed local --dry-run").out
    assert "would change first_name" in dry


def test_a_photo_enrolled_today_survives_the_reset_by_its_seed_lines(seeded, tmp_path):
    photo = another_photo(seeded.root, "student-009", "survivor")
    enrolled = seeded.ok("enroll student-009", photo)
    assert "1 enrolled; 1 upload," in enrolled.out
    told, lines = enrolled.out.split("to keep them across resets, add to seeds/local/student_faces.csv:\n")
    assert told
    assert re.fullmatch(
        r"face-student-009-\d+,student-009,student-009-photo-\d+,students/student-009/photo-\d+.jpg\n", lines
    )
    external = lines.split(",")[2]
    real = seeded.face_ids()[external]
    assert dict(seeded.query(FACES))[external] == real

    again = seeded.ok("enroll student-009", photo)
    assert "1 already enrolled; 0 uploads" in again.out
    with as_it_was(seeded.settings.seeds / "local" / "student_faces.csv") as before:
        (seeded.settings.seeds / "local" / "student_faces.csv").write_bytes(before + lines.encode())
        outside = seeded.outside()
        seeded.ok("db-reset --yes --seed full")
        assert dict(seeded.query(FACES))[external] == real
        assert seeded.outside() == outside


def test_pictures_that_cannot_be_enrolled_are_refused_with_the_reason(seeded, tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture", encoding="ascii")
    (tmp_path / "empty.jpg").touch()
    before, faces = seeded.outside(), seeded.face_ids()
    for photo, why in (
        ("seeds/photos/unlabelled/no-face.jpg", "face"),
        (CLASS_PHOTO, "8 faces"),
        (tmp_path / "text.jpg", "format"),
        (tmp_path / "empty.jpg", "empty"),
    ):
        done = seeded.run("enroll student-010", photo)
        assert done.code == 1
        assert f"{Path(photo).name}: refused: " in done.out
        assert why in done.out
    assert (seeded.outside()["photos"], seeded.face_ids()) == (before["photos"], faces)
    good = another_photo(seeded.root, "student-010", "good")
    mixed = seeded.run("enroll student-010", tmp_path / "text.jpg", good)
    assert mixed.code == 1
    assert "1 refused, 1 enrolled" in mixed.out


def test_recognize_tells_why_somebody_is_not_known(seeded):
    seeded.query("DELETE FROM attendance; DELETE FROM student_faces WHERE student_id = 'student-001'")
    done = seeded.ok(f"recognize {CLASS_PHOTO}")
    assert "7 of 8 faces recognised" in done.out
    assert "which this database does not know" in done.out
    assert "there is no face in the picture" in seeded.ok("recognize seeds/photos/unlabelled/no-face.jpg").out


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_other_programs_reach_the_server_by_what_env_exports(bare):
    port = free_port()
    bare.ok("db-reset --yes")
    assert bare.ok("env --json").json["DATABASE_URL"].startswith("postgresql://postgres@/seedtool?host=")
    started = bare.ok(f"server start --port {port} --json").json
    assert (started["running"], started["port"]) == (True, port)
    lines = bare.ok("env").out
    shell = f"eval {shlex.quote(lines)}; exec {shlex.quote(sys.executable)} -c 'import os; print(os.environ[\"DATABASE_URL\"])'"
    url = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout.strip()
    assert f"@127.0.0.1:{port}/" in url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(re.sub(r":[^:@]+@", ":wrong@", url))
    psql = shutil.which("psql")
    if psql:
        told = subprocess.run([psql, url, "-Atc", "SELECT 42"], capture_output=True, text=True, check=True)
        assert told.stdout == "42\n"
    # our own commands stay on the private socket, and a reset changes nothing of this
    bare.ok("db-reset --yes")
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM students")
    assert "stopped: server" in bare.ok("server stop").out
    assert "stopped" in bare.run("server status").out
    assert bare.ok("server stop").out == "nothing was running\n"


def test_env_exports_the_key_without_which_another_user_is_refused(bare):
    exported = bare.ok("env --json").json
    where = {"region_name": "us-east-1", "endpoint_url": exported["AWS_ENDPOINT_URL_REKOGNITION"]}
    key = {name.lower(): exported[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    ours = boto3.client("rekognition", **where, **key)
    ours.create_collection(CollectionId="of-another-program")
    for wrong in ({"aws_access_key_id": "seedtool"}, {"aws_secret_access_key": "embedded"}):
        with pytest.raises(ClientError) as caught:
            boto3.client("rekognition", **where, **(key | wrong)).delete_collection(CollectionId="of-another-program")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert ours.list_collections()["CollectionIds"] == ["of-another-program"]
    again = bare.ok("env --json").json
    assert {name: again[name] for name in exported if name.isupper()} == {
        name: exported[name] for name in exported if name.isupper()
    }


def test_a_taken_port_is_told(bare):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in (f"server start --port {port}", f"emulator --port {port}"):
            done = bare.run(command)
            assert done.code == 1
            assert "Traceback" not in done.err
    assert "--port" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_in_the_foreground_serves_the_same_faces_until_ctrl_c(school, number):
    port = free_port()
    emulator = subprocess.Popen(
        [BIN / "seedtool", "emulator", "--port", str(port), "--json"],
        cwd=school.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert emulator.stdout is not None
        endpoint = json.loads(emulator.stdout.readline())["endpoint"]
        assert endpoint == f"http://127.0.0.1:{port}"
        assert school.ok("server status --json").json["emulator"] == endpoint
        client = boto3.client(
            "rekognition",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        pages = client.get_paginator("list_faces").paginate(CollectionId=COLLECTION)
        names = {face["ExternalImageId"] for page in pages for face in page["Faces"]}
        assert {f"student-{n:03}-photo-1" for n in range(1, 33)} <= names
        school.ok("db-reset --yes --seed full")  # commands attach to it
    finally:
        emulator.send_signal(number)
        out, err = emulator.communicate(timeout=20)
    assert emulator.returncode == 0
    assert out == ""
    assert "stopped; the faces stay in" in err
    assert "Traceback" not in err
    assert school.ok("server status --json").json["emulator"] is None
    school.ok("sync-faces --strict")
