"""A web page in Chromium calls the stand-in with the AWS SDK for JavaScript, as AWS's own example of a page does."""

import base64
import functools
import http.server
import subprocess
import threading

import pytest

APPLICATION = """
import {
  CreateCollectionCommand, IndexFacesCommand, ListFacesCommand, RekognitionClient, SearchFacesByImageCommand,
} from "@aws-sdk/client-rekognition";

window.recognise = async (endpoint, picture) => {
  const credentials = { accessKeyId: "test", secretAccessKey: "test" };
  const client = new RekognitionClient({ endpoint, region: "us-east-1", credentials, maxAttempts: 1 });
  const Image = { Bytes: Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0)) };
  const CollectionId = "page";
  try {
    await client.send(new CreateCollectionCommand({ CollectionId }));
    await client.send(new IndexFacesCommand({ CollectionId, Image, ExternalImageId: "ana" }));
    const { FaceMatches } = await client.send(new SearchFacesByImageCommand({ CollectionId, Image }));
    await client.send(new ListFacesCommand({ CollectionId: "none" })).catch((error) => {
      window.missing = [error.name, error.$metadata.httpStatusCode, error.$metadata.requestId];
    });
    return FaceMatches.map((match) => match.Face.ExternalImageId);
  } catch (error) {
    return error.message;
  }
};
"""


@pytest.fixture
def site(tmp_path, node_modules):
    """The port of a web server with a page that has the SDK in it."""
    (tmp_path / "application.mjs").write_text(APPLICATION)
    (tmp_path / "node_modules").symlink_to(node_modules / "node_modules")
    bundle = [
        tmp_path / "node_modules" / ".bin" / "esbuild",
        "application.mjs",
        "--bundle",
        "--platform=browser",
        "--outfile=site/bundle.js",
    ]
    subprocess.run(bundle, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    (tmp_path / "site" / "index.html").write_text("<!doctype html><script src=bundle.js></script>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "site")
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def page(chromium):
    shown = chromium.new_page()
    yield shown
    shown.close()


def test_a_page_of_the_origin_that_was_given_recognises_faces(site, page, tmp_path, own, picture):
    endpoint = own("--cors", f"http://localhost:{site}")
    ana = base64.b64encode(picture(1, "Ana Soto")).decode()
    page.goto(f"http://localhost:{site}/")
    assert page.evaluate("([...given]) => recognise(...given)", [endpoint, ana]) == ["ana"]
    name, status, request_id = page.evaluate("missing")
    assert (name, status) == ("ResourceNotFoundException", 400)
    assert len(request_id) == 36  # the page may read the header
    page.goto(f"http://127.0.0.1:{site}/")  # the same page under another origin
    assert page.evaluate("([...given]) => recognise(...given)", [endpoint, ana]) == "Failed to fetch"
