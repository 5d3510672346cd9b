"""A background emulator of the tests' own, and clients whose every answer is held against the service model."""

import fcntl
import io
import json
import os
import random
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import quoteattr

import boto3
import pytest
from botocore.config import Config
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from seedtool.emulator import process

# Where the JavaScript SDK is installed; read here, before the session's home clears the environment.
_NODE_MODULES = os.environ.get("SEEDTOOL_NODE_MODULES")
_SDK = "@aws-sdk/client-rekognition"

_JSON_TYPES = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "timestamp": (int, float),
    "boolean": bool,
    "blob": str,
}


def hold_against(shape: Any, value: Any, path: str = "answer") -> None:
    """Assert that a decoded JSON answer fits a shape of botocore's model: members, types and constraints."""
    assert isinstance(value, _JSON_TYPES[shape.type_name]), f"{path} is {value!r}, not a {shape.type_name}"
    assert shape.type_name == "boolean" or not isinstance(value, bool), path
    limits = shape.metadata
    size = value if isinstance(value, int | float) else len(value)
    # a list of an answer may be empty: its shape is shared with requests, which have to name one
    least = 0 if shape.type_name == "list" else limits.get("min", size)
    assert least <= size <= limits.get("max", size), f"{path}: {value!r} against {limits}"
    if "pattern" in limits:
        assert re.fullmatch(limits["pattern"], value), f"{path}: {value!r}"
    if "enum" in limits:
        assert value in limits["enum"], f"{path}: {value!r}"
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members), f"{path} has members that the model lacks: {set(value)}"
        for name, member in value.items():
            hold_against(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for number, element in enumerate(value):
            hold_against(shape.member, element, f"{path}[{number}]")


# Members that the model lists and that an answer may leave out: the last page's token, those that AWS documents as
# absent from model version 4 on, what a search was about, and the result of a session that has none.
_SOMETIMES = {
    "NextToken",
    "OrientationCorrection",
    "SourceImageOrientationCorrection",
    "TargetImageOrientationCorrection",
    "SearchedFace",
    "SearchedUser",
    "Confidence",
    "ReferenceImage",
    "AuditImages",
    "Challenge",
    "Feedback",
    "Metadata",
}
# Errors that AWS answers without the model's naming them.
_UNMODELLED = {
    "ValidationException",
    "SerializationException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
}
_A_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _check_answer(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    """Hold an answer against the model both ways: nothing that it lacks, and all that it promises."""
    body = json.loads(http_response.content)
    assert _A_UUID.fullmatch(http_response.headers["x-amzn-RequestId"])
    assert http_response.headers["content-type"] == "application/x-amz-json-1.1"
    if http_response.status_code == 200:
        hold_against(model.output_shape, body)
        assert set(body) >= set(model.output_shape.members) - _SOMETIMES
        assert set(parsed) - {"ResponseMetadata"} == set(body)
        return
    assert set(body) == {"__type", "Code", "Message", "Logref"}
    assert body["__type"] == body["Code"] == http_response.headers["x-amzn-ErrorType"]
    assert body["Message"]
    assert _A_UUID.fullmatch(body["Logref"])
    shapes = {shape.name: shape for shape in model.error_shapes}
    assert set(shapes) | _UNMODELLED >= {body["Code"]}, f"{model.name} knows no {body['Code']}"
    faults = {name for name, shape in shapes.items() if shape._shape_model.get("fault")}
    assert http_response.status_code == 400 or (http_response.status_code == 500 and body["Code"] in faults)


def make_client(endpoint: str, *, region: str = "us-east-1", key: str = "test", secret: str = "test"):  # noqa: S107
    client = boto3.client(
        "rekognition",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=32),
    )
    client.meta.events.register("after-call.rekognition", _check_answer)
    return client


@pytest.fixture(scope="session", name="regions_xmp")
def _regions_xmp() -> Callable[[list[tuple[str | None, float, float, float, float]]], bytes]:
    return regions_xmp


def regions_xmp(regions: list[tuple[str | None, float, float, float, float]]) -> bytes:
    entries = "".join(
        f"<rdf:li><rdf:Description mwg-rs:Type='Face' {f'mwg-rs:Name={quoteattr(name)}' if name else ''}>"
        f"<mwg-rs:Area stArea:x='{x}' stArea:y='{y}' stArea:w='{w}' stArea:h='{h}' stArea:unit='normalized'/>"
        "</rdf:Description></rdf:li>"
        for name, x, y, w, h in regions
    )
    return (
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        "<rdf:Description xmlns:mwg-rs='http://www.metadataworkinggroup.com/schemas/regions/' "
        "xmlns:stArea='http://ns.adobe.com/xmp/sType/Area#'>"
        "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Bag>"
        f"{entries}</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def draw_picture(
    seed: int | str,
    *names: str | None,
    boxes: list[tuple[float, float, float, float]] | None = None,
    size: tuple[int, int] = (240, 200),
    file_format: str = "JPEG",
    quality: int = 85,
    uniform: bool = False,
) -> bytes:
    """A picture of coloured shapes that follow from `seed`, with one face region a name, side by side."""
    rng = random.Random(f"picture {seed}")  # noqa: S311 - a drawing
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in "rgb"))
    pen = ImageDraw.Draw(image)
    for _ in range(0 if uniform else 14):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        shape = (x, y, x + rng.randrange(20, size[0] // 2), y + rng.randrange(20, size[1] // 2))
        rng.choice([pen.ellipse, pen.rectangle])(shape, fill=tuple(rng.randrange(256) for _ in "rgb"))
    step = 1 / max(1, len(names))
    boxes = boxes or [(step * (i + 0.5), 0.5, step * 0.8, 0.6) for i in range(len(names))]
    xmp = regions_xmp([(name, *box) for name, box in zip(names, boxes, strict=True)]) if names else None
    out = io.BytesIO()
    if file_format == "PNG":
        info = PngInfo()
        if xmp:
            info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(out, "PNG", pnginfo=info)
    else:
        image.save(out, "JPEG", quality=quality, **({"xmp": xmp} if xmp else {}))
    return out.getvalue()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    return draw_picture


@pytest.fixture(scope="session")
def connect() -> Callable[..., Any]:
    return make_client


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One emulator for all tests that need no state of their own, each in a collection of its own."""
    state_dir = tmp_path_factory.mktemp("emulator")
    yield SimpleNamespace(endpoint=process.ensure(state_dir), state_dir=state_dir)
    process.stop(state_dir)


@pytest.fixture(scope="session")
def rekognition(emulator: SimpleNamespace) -> Any:
    return make_client(emulator.endpoint)


@pytest.fixture
def collection(rekognition: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = re.sub(r"[^\w.\-]", "-", request.node.name, flags=re.ASCII)[:200]
    rekognition.create_collection(CollectionId=name)
    yield name
    rekognition.delete_collection(CollectionId=name)


@pytest.fixture(scope="session")
def admin() -> Callable[..., Any]:
    """Ask an administrator's endpoint: GET, or POST when there is something to send."""

    def ask(endpoint: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{endpoint}/_seedtool/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    return ask


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """A folder below which node finds the AWS SDK for JavaScript, and esbuild; installed there when npm can."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(_NODE_MODULES) if _NODE_MODULES else cache / "seedtool" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "installing").open("ab") as lock:  # other workers wait, and find it installed
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((folder / "node_modules" / each / "package.json").exists() for each in (_SDK, "esbuild")):
            command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--fetch-retries=0"]
            command += ["--prefix", str(folder), f"{_SDK}@3", "esbuild@0.28"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot install {_SDK} and esbuild: {done.stderr.strip()[:200]}")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start an emulator of the test's own; ended after the test however it went."""

    def start(*arguments: str) -> str:
        return process.ensure(tmp_path, arguments=arguments)

    yield start
    process.stop(tmp_path)
