"""The emulator as a background process: one per state directory, found, replaced, ended, and never in the way."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from seedtool.emulator import process, server
from seedtool.emulator.process import EmulatorError
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]


def run_python(code, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True, **options)


def pid_of(state_dir):
    return json.loads(process.record_path(state_dir).read_text())["pid"]


def test_found_only_while_it_runs(own, tmp_path, monkeypatch):
    monkeypatch.setenv("REKOGNITION_STANDIN_FAULTS", "of a container, and not for this one")
    assert process.find(tmp_path) is None
    assert process.find(tmp_path / "never made") is None
    endpoint = own()
    assert process.find(tmp_path) == endpoint
    assert own() == endpoint
    assert process.stop(tmp_path) is True
    assert process.find(tmp_path) is None
    assert process.stop(tmp_path) is False
    assert not process.record_path(tmp_path).exists()


def test_many_callers_at_once_start_one(own, tmp_path):
    code = (
        "import sys, pathlib; from seedtool.emulator import process; print(process.ensure(pathlib.Path(sys.argv[1])))"
    )
    with ThreadPoolExecutor(6) as pool:
        said = [done.stdout for done in pool.map(lambda _: run_python(code, tmp_path), range(6))]
    assert len(set(said)) == 1
    log = (tmp_path / "emulator.log").read_text()
    assert log.count("stand-in on") == 1
    assert own() == said[0].strip()


def test_a_killed_one_is_noticed_and_replaced(own, tmp_path, connect):
    connect(own()).create_collection(CollectionId="kept")
    os.kill(pid_of(tmp_path), signal.SIGKILL)
    until(lambda: process.find(tmp_path) is None)
    assert process.record_path(tmp_path).exists()  # the stale record misleads nobody
    assert connect(own()).list_collections()["CollectionIds"] == ["kept"]


def test_one_whose_folder_is_gone_ends_and_leaves_the_next_one_alone(tmp_path, connect):
    state_dir = tmp_path / "state"
    connect(process.ensure(state_dir)).create_collection(CollectionId="lost")
    old = os.pidfd_open(pid_of(state_dir))
    shutil.rmtree(state_dir)
    endpoint = process.ensure(state_dir)
    assert select.select([old], [], [], 10)[0], "it still runs"
    os.close(old)
    assert process.find(state_dir) == endpoint
    assert connect(endpoint).list_collections()["CollectionIds"] == []
    process.stop(state_dir)


def test_one_of_other_code_is_replaced_and_its_faces_stay(own, tmp_path, connect, picture):
    client = connect(own())
    client.create_collection(CollectionId="kept")
    faces = client.index_faces(CollectionId="kept", Image={"Bytes": picture(1)})["FaceRecords"]
    before, record = pid_of(tmp_path), process.record_path(tmp_path)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"code": "of yesterday"}))
    client = connect(own())
    assert pid_of(tmp_path) != before
    assert client.list_faces(CollectionId="kept")["Faces"] == [face["Face"] for face in faces]


def test_one_with_another_album_is_replaced_and_its_faces_stay(own, tmp_path, connect, picture):
    album, stripped = tmp_path / "album", tmp_path / "stripped.jpg"
    album.mkdir()
    (album / "ana.jpg").write_bytes(picture("ana", "Ana"))
    with Image.open(album / "ana.jpg") as labelled:
        labelled.convert("RGB").resize((480, 400)).save(stripped, quality=70)
    client = connect(own())
    client.create_collection(CollectionId="kept")
    face = client.index_faces(CollectionId="kept", Image={"Bytes": picture("other", "Ana")})["FaceRecords"][0]["Face"]
    search = {"CollectionId": "kept", "Image": {"Bytes": stripped.read_bytes()}}
    assert client.search_faces_by_image(**search)["FaceMatches"] == []
    before = pid_of(tmp_path)
    client = connect(process.ensure(tmp_path, album=album))
    assert pid_of(tmp_path) != before
    assert [each["Face"]["FaceId"] for each in client.search_faces_by_image(**search)["FaceMatches"]] == [
        face["FaceId"]
    ]
    assert process.ensure(tmp_path, album=album) == process.find(tmp_path)
    with pytest.raises(EmulatorError, match=r"The folder .*no album does not exist\. Name a folder"):
        process.ensure(tmp_path, album=tmp_path / "no album")


def test_attaching_is_cheap(emulator):
    start = time.process_time()
    for _ in range(20):
        process.ensure(emulator.state_dir)
    assert (time.process_time() - start) / 20 < 0.05


def test_an_answer_takes_a_few_milliseconds(rekognition):
    times = []
    for _ in range(20):
        start = time.perf_counter()
        rekognition.list_collections()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03  # 44 ms when the kernel waits to fill packets


def test_attaching_imports_nothing_heavy():
    heavy = {"starlette", "uvicorn", "numpy", "botocore", "PIL", "msgspec", "asyncio", "sqlite3", "urllib.request"}
    # Whatever the interpreter loaded before (coverage, say) does not count.
    code = "import sys; old = set(sys.modules); import seedtool.emulator.process; print(*set(sys.modules) - old)"
    assert heavy.isdisjoint(run_python(code).stdout.split())


def test_it_holds_nothing_of_its_starter_open(own, tmp_path):
    code = "import sys, pathlib; from seedtool.emulator import process; process.ensure(pathlib.Path(sys.argv[1]))"
    # capture_output reads until every holder of the pipe is gone, so a leak would end in a timeout.
    run_python(code, tmp_path)
    assert process.find(tmp_path)


def test_a_second_server_on_one_directory_is_refused(emulator):
    command = [sys.executable, "-m", "seedtool.emulator", "--state-dir", str(emulator.state_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(process.record_path(emulator.state_dir)) in done.stderr
    assert "Traceback" not in done.stderr
    assert process.find(emulator.state_dir) == emulator.endpoint


def test_a_taken_port_is_reported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "seedtool.emulator", "--state-dir", str(tmp_path)]
        command += ["--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{command[-1]}" in done.stderr
    assert "--port" in done.stderr


def test_a_port_or_a_folder_that_is_none_is_refused(tmp_path, approved):
    with pytest.raises(EmulatorError) as caught:
        server.run(tmp_path, port=70_000)
    assert "127.0.0.1:70000" in caught.value.message
    assert "--port" in caught.value.remedy
    with pytest.raises(EmulatorError) as caught:
        server.run(tmp_path, photos=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in caught.value.message
    approved(caught.value)


def test_one_that_cannot_start_says_why(tmp_path):
    (tmp_path / "faces.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(EmulatorError) as caught:
        process.ensure(tmp_path)
    assert "exit code 1" in caught.value.message
    assert "emulator.log" in caught.value.remedy
    assert "faces.sqlite3" in (tmp_path / "emulator.log").read_text()


def test_in_the_foreground_it_says_how_to_point_clients_at_it(tmp_path):
    command = [sys.executable, "-m", "seedtool.emulator", "--state-dir", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        lines = [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 0
    assert "http://127.0.0.1:" in lines[0]
    assert "AWS_ENDPOINT_URL_REKOGNITION=http://127.0.0.1:" in lines[1]
    assert "does not recognise faces" in lines[2]


def test_neither_names_nor_pictures_are_written_down(own, tmp_path, connect, picture):
    client = connect(own())
    client.create_collection(CollectionId="private")
    content = picture(1, "Martina González")
    client.index_faces(CollectionId="private", Image={"Bytes": content}, ExternalImageId="s-1")
    process.stop(tmp_path)
    for path in tmp_path.iterdir():
        kept = path.read_bytes()
        assert b"Martina" not in kept
        assert content[200:300] not in kept
