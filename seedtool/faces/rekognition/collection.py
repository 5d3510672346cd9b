"""The Rekognition gateway: one collection of faces, in typed calls."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import msgspec

from seedtool.errors import ResourceNotFound, ServiceUnavailable
from seedtool.faces.rekognition.answers import Deleted, Description, Face, Indexed, Match, indexed_of, matches_of
from seedtool.faces.rekognition.translation import Vendor, translated

#: Faces a page, the most that ListFaces gives and DeleteFaces takes (source: the service model).
PAGE = 4096

#: Faces of a picture that IndexFaces describes at most (source: the developer guide).
MAX_FACES = 100

#: The answer to SearchFaces about a face that was indexed a moment ago. Seen for up to 2 s after IndexFaces; only this
#: very message is worth another try.
FACE_NOT_FOUND = "faceId was not found in the collection"

# Seconds between searches for a face just indexed: 5.1 in all, twice and a half of what has been seen.
_VISIBILITY_WAITS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0)


class S3Location(msgspec.Struct, frozen=True):
    """A picture that Rekognition itself can read: a JPEG or PNG of at most 15 MB, in S3 in the collection's region."""

    bucket: str
    key: str


#: What Rekognition is given to look at: the picture's bytes, or where in S3 it lies.
Image: TypeAlias = bytes | S3Location


class Collection:
    """One collection. Safe for threads, as the client is.

    Args:
        client: a Rekognition client, made by `seedtool.faces.rekognition`.
        collection_id: the collection's id; it need not exist yet.
    """

    def __init__(self, client: Vendor, collection_id: str) -> None:
        self._client = client
        self.id = collection_id

    def ensure(self) -> bool:
        """Create the collection unless it exists; True when it was created."""
        try:
            self.describe()
        except ResourceNotFound:
            return self.create() is not None  # somebody else may have been faster
        return False

    def create(self) -> str | None:
        """Create the collection and return its ARN; None when there is one already."""
        with translated("rekognition", self._subject):
            try:
                answer = self._client.create_collection(CollectionId=self.id)
            except self._client.exceptions.ResourceAlreadyExistsException:
                return None
        arn: str = answer.get("CollectionArn", "")
        return arn if arn.startswith("arn:") or not arn else f"arn:{arn}"  # as DescribeCollection tells it

    def describe(self) -> Description:
        """Return how many faces it holds and which model made them.

        Raises:
            ResourceNotFound: there is no such collection.
        """
        answer = self._call("describe_collection")
        return Description(
            faces=answer["FaceCount"],
            model_version=answer.get("FaceModelVersion", ""),
            arn=answer.get("CollectionARN", ""),
        )

    def list_pages(self, page_size: int = PAGE, *, face_ids: Sequence[str] = ()) -> Iterator[list[Face]]:
        """Yield faces, page by page; the next page is requested while the caller works on this one.

        An empty page with a token is not the end. A token that is answered a second time would go round for ever.

        Args:
            page_size: faces a page, 1 to 4,096.
            face_ids: only those of these that are there, at most 4,096 of them; all of the collection when empty.

        Raises:
            ResourceNotFound: there is no such collection.
            ServiceUnavailable: a token was repeated, or no answer came.
        """
        seen: set[int] = set()  # hashes: 10 million faces have 2,500 tokens of up to 255 characters
        pending = _in_background(self._page, page_size, face_ids, None)
        while True:
            faces, token = pending.result()
            if token:
                if hash(token) in seen:
                    raise ServiceUnavailable(
                        f"rekognition:ListFaces on {self._subject}: the same page token was answered twice",
                        remedy="Run it again; report it to AWS when it lasts.",
                    )
                seen.add(hash(token))
                pending = _in_background(self._page, page_size, face_ids, token)
            if faces:
                yield faces
            if not token:
                return

    def under(self, *external_image_ids: str) -> tuple[Face, ...]:
        """Return the faces under external image ids. Lists the whole collection: there is no other way to ask."""
        wanted = frozenset(external_image_ids)
        return tuple(face for page in self.list_pages() for face in page if face.external_image_id in wanted)

    def index_faces(
        self,
        image: Image,
        external_image_id: str,
        *,
        max_faces: int = MAX_FACES,
        quality_filter: str = "AUTO",
    ) -> Indexed:
        """Put the faces of a picture into the collection.

        The same picture under the same external image id makes no second face: the same FaceIds come back. That is
        what makes it safe to repeat when an answer was lost.

        Args:
            image: bytes of a JPEG or PNG, at most 5 MiB (see `seedtool.faces.pictures`), or where one lies in S3.
            external_image_id: the id the faces are to carry.
            max_faces: keep the best that many; the others are in `unindexed` as EXCEEDS_MAX_FACES.
            quality_filter: Rekognition's: AUTO, NONE, LOW, MEDIUM, HIGH.

        Raises:
            ResourceNotFound: there is no such collection.
            InvalidRequest: the picture or the object was refused.
        """
        answer = self._call(
            "index_faces",
            external_image_id,
            Image=_image(image),
            ExternalImageId=external_image_id,
            MaxFaces=max_faces,
            QualityFilter=quality_filter,
        )
        return indexed_of(answer)

    def search_faces(
        self, face_id: str, *, threshold: float = 80.0, max_faces: int = PAGE, just_indexed: bool = False
    ) -> tuple[Match, ...]:
        """Return the faces like one of this collection, the most similar first, itself left out.

        Args:
            face_id: the face.
            threshold: the least similarity, 0 to 100.
            max_faces: the most matches.
            just_indexed: wait for a face that was indexed moments ago and cannot be searched yet, up to 5 s.

        Raises:
            ResourceNotFound: the face, or the collection, is not there.
        """
        waits = iter(_VISIBILITY_WAITS if just_indexed else ())
        while True:
            with translated("rekognition", self._subject):
                try:
                    answer = self._client.search_faces(
                        CollectionId=self.id, FaceId=face_id, FaceMatchThreshold=threshold, MaxFaces=max_faces
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
            return matches_of(answer)

    def delete_faces(self, face_ids: Sequence[str]) -> Deleted:
        """Delete faces; what could not be deleted comes back with Rekognition's reason."""
        deleted: list[str] = []
        failed: dict[str, str] = {}
        for start in range(0, len(face_ids), PAGE):
            answer = self._call("delete_faces", FaceIds=list(face_ids[start : start + PAGE]))
            deleted += answer.get("DeletedFaces", ())
            for each in answer.get("UnsuccessfulFaceDeletions", ()):
                failed[each["FaceId"]] = ", ".join(each.get("Reasons", ())) or "no reason given"
        return Deleted(deleted=tuple(deleted), failed=failed)

    @property
    def _subject(self) -> str:
        return f"collection {self.id}"

    def _call(self, method: str, about: str = "", /, **arguments: object) -> Vendor:
        with translated("rekognition", f"{self._subject}, {about}" if about else self._subject):
            return getattr(self._client, method)(CollectionId=self.id, **arguments)

    def _page(self, page_size: int, face_ids: Sequence[str], token: str | None) -> tuple[list[Face], str | None]:
        """Return one page and the next page's token. The only place that reads a ListFaces answer."""
        optional: dict[str, object] = {"NextToken": token} if token else {}
        if face_ids:
            optional["FaceIds"] = list(face_ids)
        answer = self._call("list_faces", MaxResults=page_size, **optional)
        return answer["Faces"], answer.get("NextToken")


def _image(image: Image) -> dict[str, object]:
    if isinstance(image, S3Location):
        return {"S3Object": {"Bucket": image.bucket, "Name": image.key}}
    return {"Bytes": image}


def list_collections(client: Vendor) -> tuple[str, ...]:
    """Return the ids of the collections that account and region hold."""
    found: list[str] = []
    arguments: dict[str, str] = {}
    while True:
        with translated("rekognition"):
            answer = client.list_collections(**arguments)
        found += answer.get("CollectionIds", ())
        if not answer.get("NextToken") or answer["NextToken"] == arguments.get("NextToken"):
            return tuple(found)
        arguments = {"NextToken": answer["NextToken"]}


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
