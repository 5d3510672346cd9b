"""A collection of Rekognition's: typed calls, translated errors."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from seedtool.errors import ResourceNotFound, ServiceUnavailable
from seedtool.faces.aws_errors import translated
from seedtool.faces.aws_session import Vendor
from seedtool.faces.port import Deleted, Description, Face, FaceCollection, Image, Indexed, Match, S3Location
from seedtool.faces.rekognition import answers

#: Faces a page, the most that ListFaces gives and DeleteFaces takes (source: the service model).
PAGE = 4096

#: Faces of a picture that IndexFaces indexes at most (source: the developer guide).
MAX_FACES = 100

#: The answer to SearchFaces about a face that was indexed a moment ago. Seen for up to 2 s after IndexFaces; only this
#: very message is worth another try.
FACE_NOT_FOUND = "faceId was not found in the collection"

# Seconds between searches for a face just indexed: 5.1 in all, twice and a half of what has been seen.
_VISIBILITY_WAITS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0)


class Collection(FaceCollection):
    """One collection. Safe for threads, as the client is.

    Args:
        client: botocore's Rekognition client (see `service.Aws.rekognition`).
        collection_id: the collection's id; it need not exist yet.
    """

    def __init__(self, client: Vendor, collection_id: str) -> None:
        self._client = client
        self.id = collection_id

    def create(self) -> str | None:
        """Create the collection and return its ARN; None when there is one already."""
        with translated("rekognition", self._subject):
            try:
                answer = self._client.create_collection(CollectionId=self.id)
            except self._client.exceptions.ResourceAlreadyExistsException:
                return None
        return answers.arn_of(answer)

    def describe(self) -> Description:
        """Return how many faces it holds and which model made them."""
        return answers.description_of(self._call("describe_collection"))

    def list_pages(self, page_size: int | None = None, *, face_ids: Sequence[str] = ()) -> Iterator[list[Face]]:
        """Yield the faces, page by page, 1 to 4,096 a page.

        An empty page with a token is not the end. A token that is answered a second time would go round for ever.
        """
        seen: set[int] = set()  # hashes: 10 million faces have 2,500 tokens of up to 255 characters
        pending = _in_background(self._page, page_size or PAGE, face_ids, None)
        while True:
            faces, token = pending.result()
            if token:
                if hash(token) in seen:
                    raise ServiceUnavailable(
                        f"rekognition:ListFaces on {self._subject}: the same page token was answered twice",
                        remedy="Run it again; report it to AWS when it lasts.",
                        operation="rekognition:ListFaces",
                    )
                seen.add(hash(token))
                pending = _in_background(self._page, page_size or PAGE, face_ids, token)
            if faces:
                yield faces
            if not token:
                return

    def index_faces(self, image: Image, external_image_id: str, *, max_faces: int | None = None) -> Indexed:
        """Put the faces of a picture of at most 5 MiB, or 15 MB in S3, into the collection."""
        answer = self._call(
            "index_faces",
            external_image_id,
            Image=_image(image),
            ExternalImageId=external_image_id,
            MaxFaces=max_faces or MAX_FACES,
            QualityFilter="AUTO",
        )
        return answers.indexed_of(answer)

    def search_faces(self, face_id: str, *, threshold: float = 80.0, just_indexed: bool = False) -> tuple[Match, ...]:
        """Return the faces that are like one of this collection, at most 4,096."""
        waits = iter(_VISIBILITY_WAITS if just_indexed else ())
        while True:
            with translated("rekognition", self._subject):
                try:
                    answer = self._client.search_faces(
                        CollectionId=self.id, FaceId=face_id, FaceMatchThreshold=threshold, MaxFaces=PAGE
                    )
                except self._client.exceptions.InvalidParameterException as error:
                    if FACE_NOT_FOUND not in error.response["Error"].get("Message", ""):
                        raise
                    wait = next(waits, None)
                    if wait is None:
                        raise ResourceNotFound(
                            f"the face {face_id} is not in {self._subject}", remedy="Run seedtool sync-faces."
                        ) from error
                    time.sleep(wait)
                    continue
            return answers.matches_of(answer)

    def delete_faces(self, face_ids: Sequence[str]) -> Deleted:
        """Delete faces, 4,096 a call."""
        deleted: list[str] = []
        gone: list[str] = []
        failed: dict[str, str] = {}
        for start in range(0, len(face_ids), PAGE):
            answer = answers.deleted_of(self._call("delete_faces", FaceIds=list(face_ids[start : start + PAGE])))
            deleted += answer.deleted
            gone += answer.gone
            failed |= answer.failed
        return Deleted(deleted=tuple(deleted), gone=tuple(gone), failed=failed)

    @property
    def _subject(self) -> str:
        return f"collection {self.id}"

    def _call(self, method: str, about: str = "", /, **arguments: object) -> Vendor:
        with translated("rekognition", f"{self._subject}, {about}" if about else self._subject):
            return getattr(self._client, method)(CollectionId=self.id, **arguments)

    def _page(self, page_size: int, face_ids: Sequence[str], token: str | None) -> tuple[list[Face], str | None]:
        optional: dict[str, object] = {"NextToken": token} if token else {}
        if face_ids:
            optional["FaceIds"] = list(face_ids)
        return answers.page_of(self._call("list_faces", MaxResults=page_size, **optional))


def _image(image: Image) -> dict[str, object]:
    if isinstance(image, S3Location):
        return {"S3Object": {"Bucket": image.bucket, "Name": image.key}}
    return {"Bytes": image}


def _in_background(call: Callable[..., Any], *arguments: object) -> Future[Any]:
    """Start a call in a daemon thread: one that hangs in the network must not keep Ctrl+C from ending the program."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call(*arguments))
        except BaseException as error:  # noqa: BLE001 -- handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, name="list-faces", daemon=True).start()
    return future
