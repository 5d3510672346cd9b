"""A collection's ListFaces pages, ready-made, over the real wire: the stand-in's own time does not count.

    .venv/bin/python benchmarks/sync_stub.py FOLDER --faces 1000000

Makes the pages in FOLDER (put it in memory: a million faces are 0.4 GB) and prints the port once it listens. Each face
is as Rekognition writes it; FaceIds ascend, so that the photos come in no order. `FOLDER/faces.tsv` is the same as
ExternalImageId and FaceId, for COPY. Serves any collection's pages to whoever asks, some 0.1 ms each; GetCallerIdentity
as well, which a live `sync-faces` asks first. While there is a file `FOLDER/sick`, the page whose number (from 0) stands
in it is an InternalServerError.
"""

import argparse
import mmap
import random
import re
import socket
import threading
import uuid
from pathlib import Path

PAGE = 4096

_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_TOKEN = re.compile(rb'"NextToken": *"(\d+)"')
_SICK = b'HTTP/1.1 500 Sick\r\ncontent-length: 32\r\n\r\n{"__type":"InternalServerError"}'
_IDENTITY = b"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/bench</Arn><UserId>AIDABENCH</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


def main() -> None:
    """Make the pages, then serve them until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, required=True)
    options = parser.parse_args()
    ends = make(options.folder, options.faces)
    with (options.folder / "pages").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=serve, args=(connection, memoryview(pages), ends, options.folder / "sick"), daemon=True
            ).start()


def external_image_id(number: int) -> str:
    """Return the ExternalImageId of a face: two photos a student."""
    return f"student-{number // 2:07}-photo-{number % 2 + 1}"


def make(folder: Path, faces: int) -> list[int]:
    """Write the pages one after the other and return where each ends."""
    folder.mkdir(exist_ok=True)
    drawn = random.Random(3)
    face_ids = sorted(str(uuid.UUID(int=drawn.getrandbits(128), version=4)) for _ in range(faces))
    numbers = list(range(faces))
    drawn.shuffle(numbers)
    last = (faces - 1) // PAGE
    ends, written = [], 0
    with (folder / "pages").open("wb") as pages, (folder / "faces.tsv").open("w", encoding="ascii") as rows:
        for page in range(last + 1):
            listed = []
            for place in range(page * PAGE, min(faces, page * PAGE + PAGE)):
                face_id, external = face_ids[place], external_image_id(numbers[place])
                rows.write(f"{external}\t{face_id}\n")
                listed.append(_face(drawn, face_id, external))
            token = f',"NextToken":"{page + 1}"' if page < last else ""
            body = f'{{"FaceModelVersion":"7.0","Faces":[{",".join(listed)}]{token}}}'.encode()
            head = b"content-type: application/x-amz-json-1.1\r\nx-amzn-RequestId: %s\r\n" % str(uuid.uuid4()).encode()
            written += pages.write(_answer(head, body))
            ends.append(written)
    return ends


def _face(drawn: random.Random, face_id: str, external: str) -> str:
    left, top, width, height = (drawn.random() / 2 for _ in range(4))
    return (
        f'{{"BoundingBox":{{"Height":{height},"Left":{left},"Top":{top},"Width":{width}}},'
        f'"Confidence":{99 + drawn.random()},"ExternalImageId":"{external}","FaceId":"{face_id}",'
        f'"ImageId":"{uuid.UUID(int=drawn.getrandbits(128), version=4)}","IndexFacesModelVersion":"7.0"}}'
    )


def _answer(head: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)


def serve(connection: socket.socket, pages: memoryview, ends: list[int], sick: Path) -> None:
    """Answer one connection's requests, one after the other."""
    waiting = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in waiting:
                if not (received := connection.recv(65536)):
                    return
                waiting += received
            head, _, body = waiting.partition(b"\r\n\r\n")
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            while len(body) < length:
                body += connection.recv(65536)
            body, waiting = body[:length], body[length:]
            if b"ListFaces" in head:
                page = int(token[1]) if (token := _TOKEN.search(body)) else 0
                if sick.exists() and page == int(sick.read_text()):
                    connection.sendall(_SICK)
                    continue
                connection.sendall(pages[ends[page - 1] if page else 0 : ends[page]])
            elif b"GetCallerIdentity" in body:
                connection.sendall(_answer(b"content-type: text/xml\r\n", _IDENTITY))
            else:
                connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")


if __name__ == "__main__":
    main()
