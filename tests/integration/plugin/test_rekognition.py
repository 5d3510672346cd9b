"""rekognition and photos, in a project that has faces, on the embedded server."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from seedtool.postgres import server
from seedtool.settings import load
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]

ROWS = """\
id,student_id,photo_url,external_image_id
1,ana,students/ana/photo-1.jpg,ana-photo-1
2,eva,students/eva/photo-1.jpg,eva-photo-1
"""

BEGIN = """\
import psycopg, pytest, subprocess, sys

def faces(url):
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT external_image_id, face_id FROM student_photos").fetchall())
"""


@pytest.fixture
def dojo(library, home, tmp_path):
    """The dojo with two students' photos seeded, and a server of its own."""
    root = tmp_path / "dojo"
    shutil.copytree(ROOT / "tests/projects/dojo", root)
    library.root = root
    del library.environ["DATABASE_URL"]
    library.write(
        "pyproject.toml", '[tool.seedtool]\naws="embedded"\ncollection="dojo"\nfaces=[{table="student_photos"}]\n'
    )
    library.write("seeds/profiles.toml", '[local]\nsets = ["local"]\n[full]\nsets = ["local"]\nsync_faces = true\n')
    library.write("seeds/local/students.csv", "id,name\nana,Ana\neva,Eva\n")
    library.write("seeds/local/student_photos.csv", ROWS)
    for number, student in enumerate(("ana", "eva"), start=1):
        (root / f"seeds/photos/students/{student}").mkdir(parents=True)
        portrait = ROOT / f"seeds/photos/students/student-00{number}/photo-1.jpg"
        shutil.copy(portrait, root / f"seeds/photos/students/{student}/photo-1.jpg")
    library.target = server.find(load(root))
    yield library
    library.target.embedded.stop()


def test_a_test_has_a_rekognition_of_its_own_with_the_seeds_faces_on_request(dojo):
    dojo.write(
        "test_faces.py",
        BEGIN
        + """
def test_it_begins_empty(rekognition):
    assert rekognition.client().list_collections()["CollectionIds"] == []
    rekognition.client().create_collection(CollectionId="left")
    rekognition.bad_day(rules=[{"fault": "denied", "times": None}])

@pytest.mark.seed("local")
def test_nothing_is_left_of_the_test_before(rekognition):
    assert rekognition.calls == {}
    rekognition.client().create_collection(CollectionId="mine")
    enrolled = rekognition.enroll_seeds()
    assert set(enrolled) == {"ana-photo-1", "eva-photo-1"}
    assert rekognition.calls == {"CreateCollection": 1}
    assert sorted(rekognition.client().list_collections()["CollectionIds"]) == ["dojo", "mine"]

@pytest.mark.seed("local")
def test_enrolled_faces_are_found_by_their_pictures(rekognition, photos):
    rekognition.bad_day(rules=[{"fault": "internal", "operation": "ListFaces", "times": None}])
    enrolled = rekognition.enroll_seeds()
    picture = photos / "students/eva/photo-1.jpg"
    answer = rekognition.client().search_faces_by_image(CollectionId="dojo", Image={"Bytes": picture.read_bytes()})
    assert [[match["Face"]["FaceId"]] for match in answer["FaceMatches"]] == [enrolled["eva-photo-1"]]
    picture.unlink()

def test_photos_are_copies(photos):
    assert sorted(path.name for path in photos.rglob("*.jpg")) == ["photo-1.jpg"] * 2

@pytest.mark.seed("full")
def test_a_profile_with_a_sync_is_synced_with_it(rekognition, seeded_database):
    assert rekognition.calls == {}
    enrolled = rekognition.enroll_seeds()
    assert {id_: [face] for id_, face in faces(seeded_database).items()} == enrolled

@pytest.mark.seed("full")
@pytest.mark.parametrize("again", [False, True])
def test_so_are_the_rows_that_a_test_rolls_back(rekognition, seeded_connection, again):
    query = "SELECT external_image_id, face_id FROM student_photos"
    enrolled = rekognition.enroll_seeds()
    assert {id_: [face] for id_, face in seeded_connection.execute(query).fetchall()} == enrolled
    seeded_connection.execute("UPDATE student_photos SET face_id = 'placeholder:' || external_image_id")
    rekognition.sync(seeded_connection)
    assert {id_: [face] for id_, face in seeded_connection.execute(query).fetchall()} == enrolled

@pytest.mark.seed("full")
def test_and_keeps_placeholders_without_it(seeded_database):
    assert faces(seeded_database)["ana-photo-1"] == "placeholder:ana-photo-1"

def test_another_process_finds_it(rekognition):
    code = "import boto3; print(boto3.client('rekognition').list_collections()['CollectionIds'])"
    rekognition.enroll_seeds("local")
    done = subprocess.run([sys.executable, "-c", code], env=rekognition.environ, capture_output=True, text=True)
    assert done.stdout == "['dojo']\\n", done.stderr
    assert rekognition.environ["AWS_REKOGNITION_COLLECTION"] == "dojo"

def test_nobody_says_whose_faces(rekognition):
    from seedtool.errors import UsageError
    with pytest.raises(UsageError) as refused:
        rekognition.enroll_seeds()
    assert "enroll_seeds(" in refused.value.remedy
""",
    )
    ran = dojo.run(HTTP_PROXY="http://127.0.0.1:1", AWS_PROFILE="nobody")
    assert ran.counts == {"passed": 10}, ran.text
    assert dojo.databases("test") == []


def test_the_stand_in_ends_with_a_killed_worker(dojo):
    dojo.write(
        "test_slow.py",
        """
        import pathlib, time

        def test_slow(rekognition):
            pathlib.Path("port").write_text(rekognition.endpoint_url.rpartition(":")[2])
            time.sleep(60)
        """,
    )
    run = dojo.start()
    port = dojo.root / "port"
    until(lambda: port.exists() and port.read_text())
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    until(lambda: not listens(int(port.read_text())))


def listens(port):
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
