"""A million faces in the stand-in: planting them with names, and searching them by names and by 128 numbers.

The numbers are those of nobody: random directions, as long as dlib's. Seconds are those of CPU, within this process;
of SearchFacesByImage those of a server, with photographs of up to 960 pixels over HTTP: decoding and comparing included.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from seedtool.emulator import process
from seedtool.emulator.faces import FACE
from seedtool.emulator.gallery import Gallery
from seedtool.emulator.planting import Planted, plant
from seedtool.emulator.store import FILE, Connections, Store
from seedtool.emulator.vision import NUMBERS

FACES = 1_000_000
SEARCHES = 9
LENGTH = 1.38  # of dlib's numbers, as a vector: that of seven photographs
BLOCK = 50_000
PHOTOS = sorted((Path(__file__).resolve().parents[1] / "seeds" / "photos").rglob("*.jpg"))[:20]

Row = tuple[str, str, float, float, float]


def rows(environ: Mapping[str, str], folder: Path) -> Iterator[Row]:  # noqa: ARG001 - as all sections
    """Yield what was measured: what, its rival, the bar, and both.

    Args:
        environ: not needed.
        folder: a temporary folder, for 1.3 GB.
    """
    faces = (Planted(f"student-{number}-photo-1", name=f"student {number}") for number in range(FACES))
    yield f"planting {FACES:,} named faces", "15 s", 1.0, cpu(lambda: plant(folder, "c", faces)), 15.0
    store, connections = Store(folder / FILE), Connections(folder / FILE)
    try:
        collection = store.collection("123456789012", "us-east-1", "c")
        with connections.reading() as connection:
            ids = [face_id for (face_id,) in connection.execute("SELECT face_id FROM faces ORDER BY face_id")]
        asked = ids[:: FACES // SEARCHES][:SEARCHES]
        yield f"SearchFaces, {FACES:,} named faces", "10 ms", 1.0, search(store, collection.uid, asked), 0.010

        name = f"SearchFacesByImage, {FACES:,} named faces, with HTTP and decoding"
        yield name, "10 ms", 1.0, by_image(folder), 0.010
        describe(connections, collection.uid, ids)
        gallery = Gallery(store)
        first = cpu(lambda: gallery.like_face(collection.uid, ids[0], 80, 10, math.inf))
        several = search(store, collection.uid, asked, gallery)
        product = bare_product()
        yield f"SearchFaces, {FACES:,} faces of {NUMBERS} numbers", "a bare product of matrices", 1.5, several, product
        yield f"the first SearchFaces after a start, {FACES:,} faces of {NUMBERS} numbers", "10 s", 1.0, first, 10.0
    finally:
        connections.close()
        store.close()


def search(store: Store, uid: int, asked: list[str], gallery: Gallery | None = None) -> float:
    """Return the median of the seconds that a search takes."""
    gallery = gallery or Gallery(store)
    return statistics.median(
        cpu(lambda face_id=face_id: gallery.like_face(uid, face_id, 80, 10, math.inf)) for face_id in asked
    )


def by_image(folder: Path) -> float:
    """Return the seconds of CPU that a server takes for a picture."""
    import boto3

    address = process.ensure(folder)
    pid = json.loads(process.record_path(folder).read_text(encoding="utf-8"))["pid"]
    try:
        client = boto3.client(
            "rekognition",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="benchmark",
            aws_secret_access_key="benchmark",
        )
        pictures = [{"Bytes": path.read_bytes()} for path in PHOTOS]
        seconds = []
        for _ in range(SEARCHES):
            started = cpu_of(pid)
            for picture in pictures:
                client.search_faces_by_image(CollectionId="c", Image=picture)
            seconds.append((cpu_of(pid) - started) / len(pictures))
        return statistics.median(seconds)
    finally:
        process.stop(folder)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def describe(connections: Connections, uid: int, ids: list[str]) -> None:
    """Give each face numbers."""
    random = np.random.default_rng(1)
    for start in range(0, len(ids), BLOCK):
        some = ids[start : start + BLOCK]
        numbers = random.normal(size=(len(some), NUMBERS)).astype(np.float32)
        numbers *= LENGTH / np.linalg.norm(numbers, axis=1, keepdims=True)
        with connections.writing() as connection:
            connection.executemany(
                "INSERT INTO looks (collection, face_id, kind, named, vector) VALUES (?, ?, ?, 0, ?)",
                [(uid, face_id, FACE, row.tobytes()) for face_id, row in zip(some, numbers, strict=True)],
            )


def bare_product() -> float:
    """Return the median of the seconds that numpy takes to multiply as many rows by one."""
    everything = np.random.default_rng(2).random((FACES, NUMBERS), dtype=np.float32)
    one = everything[0].copy()
    return statistics.median(cpu(lambda: everything @ one) for _ in range(SEARCHES))


def cpu(what: Callable[[], object]) -> float:
    """Return the seconds of CPU that something takes, in all threads."""
    started = time.process_time()
    what()
    return time.process_time() - started
