"""The operations, as AWS's reference and users' reports describe them."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import math
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from seedtool.emulator import faces
from seedtool.emulator.gallery import Gallery
from seedtool.emulator.liveness import Liveness, Outcome
from seedtool.emulator.objects import Photo
from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.store import Collection, CollectionFullError, CollectionGoneError, NewFace, Store
from seedtool.emulator.users import MOST_USERS, Users

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from seedtool.emulator.album import Album
    from seedtool.emulator.objects import Reader
    from seedtool.emulator.vision import Vision

Request = dict[str, Any]
Response = dict[str, Any]

MODEL_VERSION = "7.0"  # of collections that users made in 2025; a collection keeps its version
MAX_PAGE = 4096  # the model's maximum; also our page size when a request gives none
MOST_FACES = 10_000_000  # "Amazon Rekognition endpoints and quotas": faces in a collection, by default
MAX_FACES_IN_PICTURE = 100  # IndexFaces and DetectFaces answer the 100 largest

# An ImageId is a version-5 UUID in every example of AWS's guide, and the same bytes have the same one there. AWS's own
# namespace is not known; this one is ours.
_PICTURES = uuid.UUID("6f0d2c0e-6a2e-4c39-9d5b-1b1d3f0b7a55")

MOST_TAGS = 50  # "AWS General Reference", tags of a resource

_SEAL = 12  # bytes of a token that prove that we made it
_DEFAULT_THRESHOLD = 80.0


class Scope(NamedTuple):
    """The account and the region of a request, from the credential scope of its signature."""

    account: str
    region: str

    def arn(self, collection_id: str) -> str:
        """Return a collection's ARN without the prefix `arn:`, as CreateCollection answers it."""
        return f"aws:rekognition:{self.region}:{self.account}:collection/{collection_id}"


class Operations:
    """Carries out requests.

    Args:
        store: where collections and faces are kept.
        read_object: returns the photo of an S3Object for a region, or raises `ServiceError`.
        visibility_lag: returns how many seconds after IndexFaces a face can be found. Called at each search.
        most_faces: returns how many faces a collection may have. Called at each IndexFaces.
        album: the labelled pictures that it has learnt; None without any.
        liveness: keeps Face Liveness sessions; None for those to which nobody ever streams.
        vision: finds real faces; None where nothing does.
    """

    def __init__(
        self,
        store: Store,
        read_object: Reader,
        visibility_lag: Callable[[], float] = lambda: 0.0,
        most_faces: Callable[[], int] = lambda: MOST_FACES,
        album: Album | None = None,
        liveness: Liveness | None = None,
        vision: Vision | None = None,
    ) -> None:
        self._store = store
        self._read_object = read_object
        self._visibility_lag = visibility_lag
        self._most_faces = most_faces
        self._album = album
        self._vision = vision
        self._gallery = Gallery(store)
        self._tokens = Tokens(store.keyed)
        self._users = users = Users(store, self._gallery)
        sessions = liveness or Liveness(Outcome)
        self._handlers: dict[str, Callable[[Scope, Request], Response]] = {
            "CreateCollection": self._create_collection,
            "DescribeCollection": self._describe_collection,
            "ListCollections": self._list_collections,
            "DeleteCollection": self._delete_collection,
            "IndexFaces": self._index_faces,
            "ListFaces": self._list_faces,
            "SearchFaces": self._search_faces,
            "SearchFacesByImage": self._search_faces_by_image,
            "DeleteFaces": self._delete_faces,
            "DetectFaces": self._detect_faces,
            "CompareFaces": self._compare_faces,
            "CreateUser": lambda scope, request: users.create(self._collection(scope, request), request),
            "DeleteUser": lambda scope, request: users.delete(self._collection(scope, request), request),
            "ListUsers": self._list_users,
            "AssociateFaces": lambda scope, request: users.associate(self._collection(scope, request), request),
            "DisassociateFaces": lambda scope, request: users.disassociate(self._collection(scope, request), request),
            "SearchUsers": self._search_users,
            "SearchUsersByImage": self._search_users_by_image,
            "TagResource": self._tag_resource,
            "UntagResource": self._untag_resource,
            "ListTagsForResource": self._list_tags,
            "CreateFaceLivenessSession": sessions.create,
            "GetFaceLivenessSessionResults": sessions.results,
        }

    def perform(self, operation: str, scope: Scope, request: Request) -> bytes:
        """Carry out one operation.

        Args:
            operation: one of `OPERATIONS`.
            scope: the request's account and region.
            request: the request's members, as `ServiceModel.request` returns them.

        Returns:
            The response body.

        Raises:
            ServiceError: an error for the client.
        """
        return msgspec.json.encode(self._handlers[operation](scope, request))

    def _create_collection(self, scope: Scope, request: Request) -> Response:
        name = request["CollectionId"]
        if len(request.get("Tags", ())) > MOST_TAGS:
            raise _too_many_tags()
        if not self._store.create_collection(scope.account, scope.region, name, MODEL_VERSION):
            raise ServiceError("ResourceAlreadyExistsException", f"The collection id: {name} already exists")
        if request.get("Tags"):
            self._tag(self._collection(scope, request), request["Tags"])
        return {"StatusCode": 200, "CollectionArn": scope.arn(name), "FaceModelVersion": MODEL_VERSION}

    def _describe_collection(self, scope: Scope, request: Request) -> Response:
        name = request["CollectionId"]
        collection = self._store.collection(scope.account, scope.region, name)
        if collection is None:
            raise ServiceError("ResourceNotFoundException", f"Collection:{name} not found!")
        return {
            "FaceCount": collection.size,
            "FaceModelVersion": collection.model_version,
            "CollectionARN": f"arn:{scope.arn(name)}",
            "CreationTimestamp": collection.created,
            "UserCount": collection.users,
        }

    def _list_collections(self, scope: Scope, request: Request) -> Response:
        binding = ("ListCollections", scope.account, scope.region)
        after = int(self._tokens.read(request.get("NextToken"), binding) or "0")
        limit = request.get("MaxResults") or MAX_PAGE
        found = self._store.collections(scope.account, scope.region, after, limit + 1)
        page = found[:limit]
        response: Response = {
            "CollectionIds": [collection.name for collection in page],
            "FaceModelVersions": [collection.model_version for collection in page],
        }
        if len(found) > limit:
            response["NextToken"] = self._tokens.make(str(page[-1].uid), binding)
        return response

    def _delete_collection(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        if not self._store.delete_collection(collection.uid):
            raise _no_collection(collection.name)
        self._gallery.forget(collection.uid)
        return {"StatusCode": 200}

    def _index_faces(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        photo = self._picture(scope, request)
        seen = self._faces(photo)
        kept, refused = faces.select(
            seen,
            quality_filter=request.get("QualityFilter", "AUTO"),
            max_faces=min(request.get("MaxFaces", MAX_FACES_IN_PICTURE), MAX_FACES_IN_PICTURE),
        )
        external_id = request.get("ExternalImageId")
        image_id = str(uuid.uuid5(_PICTURES, hashlib.sha256(photo.content).hexdigest()))
        image_key = self._store.keyed(b"image", photo.content, external_id.encode()) if external_id else None
        try:
            documents = self._store.add_faces(
                collection.uid,
                image_key,
                [_new_face(face, image_id, external_id, collection) for face in kept],
                self._most_faces(),
            )
        except CollectionGoneError:
            raise _no_collection(collection.name) from None
        except CollectionFullError:
            # The model's description of the error; AWS's own message is not known.
            text = "The size of the collection exceeds the allowed limit."
            raise ServiceError("ServiceQuotaExceededException", text) from None
        attributes = request.get("DetectionAttributes", ())
        return {
            "FaceRecords": [
                {"Face": document, "FaceDetail": face.detail(attributes)}
                for document, face in zip(documents, kept, strict=True)
            ],
            "FaceModelVersion": collection.model_version,
            "UnindexedFaces": [
                {"Reasons": reasons, "FaceDetail": face.detail(attributes)} for face, reasons in refused
            ],
        }

    def _list_faces(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        among: Sequence[str] | None = request.get("FaceIds")
        user_id = request.get("UserId")
        binding = ("ListFaces", str(collection.uid), str(user_id), ",".join(sorted(set(among or ()))))
        after = self._tokens.read(request.get("NextToken"), binding)
        limit = request.get("MaxResults") or MAX_PAGE
        found = self._store.list_faces(collection.uid, after, limit + 1, among, user_id)
        page = found[:limit]
        response: Response = {
            # Faces are stored as ListFaces answers them, so a page needs no decoding and encoding.
            "Faces": [msgspec.Raw(document.encode()) for _, document in page],
            "FaceModelVersion": collection.model_version,
        }
        if len(found) > limit:
            response["NextToken"] = self._tokens.make(page[-1][0], binding)
        return response

    def _search_faces(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        face_id = request["FaceId"]
        matches = self._gallery.like_face(
            collection.uid, face_id, _threshold(request), request.get("MaxFaces", MAX_PAGE), self._visible_until()
        )
        if matches is None:
            raise ServiceError("InvalidParameterException", "faceId was not found in the collection.")
        return {
            "SearchedFaceId": face_id,
            "FaceMatches": _matches(matches),
            "FaceModelVersion": collection.model_version,
        }

    def _search_faces_by_image(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        kept, _ = faces.select(
            self._faces(self._picture(scope, request), cut_out=True),
            quality_filter=request.get("QualityFilter", "NONE"),
            max_faces=None,
        )
        if not kept:
            raise ServiceError("InvalidParameterException", "There are no faces in the image. Should be at least 1.")
        face = max(kept, key=lambda each: each.area)
        matches = self._gallery.like_picture(
            collection.uid, face, _threshold(request), request.get("MaxFaces", MAX_PAGE), self._visible_until()
        )
        return {
            "SearchedFaceBoundingBox": face.bounding_box(),
            "SearchedFaceConfidence": face.confidence,
            "FaceMatches": _matches(matches),
            "FaceModelVersion": collection.model_version,
        }

    def _delete_faces(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        asked = list(dict.fromkeys(request["FaceIds"]))
        gone, kept = self._store.delete_faces(collection.uid, asked)
        self._gallery.deleted(collection.uid, len(gone))
        return {
            "DeletedFaces": [face_id for face_id in asked if face_id in gone],
            "UnsuccessfulFaceDeletions": [
                {"FaceId": face_id, "UserId": kept[face_id], "Reasons": ["ASSOCIATED_TO_AN_EXISTING_USER"]}
                if face_id in kept
                else {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]}
                for face_id in asked
                if face_id not in gone
            ],
        }

    def _detect_faces(self, scope: Scope, request: Request) -> Response:
        kept, _ = faces.select(self._faces(self._picture(scope, request)), quality_filter="NONE", max_faces=None)
        attributes = request.get("Attributes", ())
        return {"FaceDetails": [face.detail(attributes) for face in kept[:MAX_FACES_IN_PICTURE]]}

    def _compare_faces(self, scope: Scope, request: Request) -> Response:
        quality = request.get("QualityFilter", "NONE")
        threshold = float(request.get("SimilarityThreshold", _DEFAULT_THRESHOLD))
        chosen = []
        for side in ("SourceImage", "TargetImage"):
            seen = self._faces(self._picture(scope, {"Image": request[side]}), cut_out=True)
            kept, _ = faces.select(seen, quality_filter=quality, max_faces=None)
            if not kept:
                # "If no faces are detected in the source or target images": the guide's words for this error
                raise ServiceError("InvalidParameterException", "Request has invalid parameters")
            chosen.append(sorted(kept, key=lambda face: -face.area))
        source, targets = chosen[0][0], chosen[1][:MAX_FACES_IN_PICTURE]
        compared = [(self._gallery.alike(source, face), face) for face in targets]
        return {
            "SourceImageFace": {"BoundingBox": source.bounding_box(), "Confidence": source.confidence},
            "FaceMatches": [
                {"Similarity": similarity, "Face": _compared(face)}
                for similarity, face in sorted(compared, key=lambda each: -each[0])
                if similarity >= threshold
            ],
            "UnmatchedFaces": [_compared(face) for similarity, face in compared if similarity < threshold],
        }

    def _list_users(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        binding = ("ListUsers", str(collection.uid))
        after = int(self._tokens.read(request.get("NextToken"), binding) or "0")
        limit = request.get("MaxResults") or MOST_USERS
        found = self._store.users(collection.uid, after, limit + 1)
        page = found[:limit]
        response: Response = {
            "Users": [
                {"UserId": user_id, "UserStatus": "ACTIVE" if has_face else "CREATED"} for _, user_id, has_face in page
            ]
        }
        if len(found) > limit:
            response["NextToken"] = self._tokens.make(str(page[-1][0]), binding)
        return response

    def _search_users(self, scope: Scope, request: Request) -> Response:
        return self._users.search(self._collection(scope, request), request, self._visible_until())

    def _search_users_by_image(self, scope: Scope, request: Request) -> Response:
        collection = self._collection(scope, request)
        seen = self._faces(self._picture(scope, request), cut_out=True)
        kept, refused = faces.select(seen, quality_filter=request.get("QualityFilter", "NONE"), max_faces=None)
        return self._users.search_by_image(collection, request, kept, refused, self._visible_until())

    def _tag_resource(self, scope: Scope, request: Request) -> Response:
        self._tag(self._resource(scope, request), request["Tags"])
        return {}

    def _untag_resource(self, scope: Scope, request: Request) -> Response:
        collection = self._resource(scope, request)
        with self._changing(collection) as connection:
            self._store.untag(connection, collection.uid, request["TagKeys"])
        return {}

    def _list_tags(self, scope: Scope, request: Request) -> Response:
        return {"Tags": self._store.tags(self._resource(scope, request).uid)}

    def _tag(self, collection: Collection, tags: dict[str, str]) -> None:
        with self._changing(collection) as connection:
            if self._store.tag(connection, collection.uid, tags) > MOST_TAGS:
                raise _too_many_tags()

    def _resource(self, scope: Scope, request: Request) -> Collection:
        """Return the collection of an ARN."""
        prefix, _, name = request["ResourceArn"].rpartition("/")
        collection = self._store.collection(scope.account, scope.region, name)
        if collection is None or prefix != f"arn:{scope.arn('')}".removesuffix("/"):
            raise ServiceError("ResourceNotFoundException", f"The resource {request['ResourceArn']} does not exist")
        return collection

    @contextlib.contextmanager
    def _changing(self, collection: Collection) -> Iterator[sqlite3.Connection]:
        try:
            with self._store.changing(collection.uid) as connection:
                yield connection
        except CollectionGoneError:
            raise _no_collection(collection.name) from None

    def _collection(self, scope: Scope, request: Request) -> Collection:
        collection = self._store.collection(scope.account, scope.region, request["CollectionId"])
        if collection is None:
            raise _no_collection(request["CollectionId"])
        return collection

    def _faces(self, photo: Photo, *, cut_out: bool = False) -> list[faces.SeenFace]:
        return faces.find(photo.content, self._album, photo.sidecar, cut_out=cut_out, vision=self._vision)

    def _picture(self, scope: Scope, request: Request) -> Photo:
        image = request["Image"]
        if ("Bytes" in image) == ("S3Object" in image):
            raise ServiceError("InvalidParameterException", "Request has invalid parameters")
        if "Bytes" in image:
            return Photo(image["Bytes"])
        if not {"Bucket", "Name"} <= set(image["S3Object"]):
            raise ServiceError("InvalidS3ObjectException", "Request has invalid S3 object")
        return self._read_object(image["S3Object"], scope.region)

    def _visible_until(self) -> float:
        lag = self._visibility_lag()
        return (
            time.time() - lag if lag else math.inf
        )  # without a lag nothing is hidden, not even when the clock is set back


def _compared(face: faces.SeenFace) -> Response:
    """Return a ComparedFace structure."""
    detail = face.detail(("EMOTIONS", "SMILE"))
    names = ("BoundingBox", "Confidence", "Landmarks", "Pose", "Quality", "Emotions", "Smile")
    return {name: detail[name] for name in names}


def _too_many_tags() -> ServiceError:
    return ServiceError("ServiceQuotaExceededException", f"A resource may have {MOST_TAGS} tags")


def _no_collection(name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"The collection id: {name} does not exist")


def _threshold(request: Request) -> float:
    return float(request.get("FaceMatchThreshold", _DEFAULT_THRESHOLD))


def _matches(matches: list[tuple[float, str]]) -> list[Response]:
    return [{"Similarity": similarity, "Face": msgspec.Raw(document.encode())} for similarity, document in matches]


def _new_face(face: faces.SeenFace, image_id: str, external_id: str | None, collection: Collection) -> NewFace:
    document: dict[str, object] = {
        "ImageId": image_id,
        "BoundingBox": face.bounding_box(),
        "Confidence": face.confidence,
        "IndexFacesModelVersion": collection.model_version,
    }
    if external_id is not None:
        document["ExternalImageId"] = external_id
    return NewFace(
        ordinal=face.ordinal,
        document=document,
        name=face.name,
        likeness=face.likeness,
        digest=face.digest,
        descriptions=face.descriptions,
    )


class Tokens:
    """Makes and reads pagination tokens. A token holds where a page ended, and is valid for one list and filter.

    Args:
        keyed: hashes byte strings with a secret that is as old as the lists.
    """

    def __init__(self, keyed: Callable[..., bytes]) -> None:
        self._keyed = keyed

    def make(self, last: str, binding: tuple[str, ...]) -> str:
        """Make a token.

        Args:
            last: where the page ended. With at most 170 characters the token has at most 255, the model's maximum.
            binding: the operation, the list and the filter that the token is valid for.
        """
        position = last.encode()
        return base64.urlsafe_b64encode(self._seal(position, binding) + position).decode()

    def read(self, token: str | None, binding: tuple[str, ...]) -> str:
        """Read where the page before ended. Empty without a token.

        Raises:
            ServiceError: InvalidPaginationTokenException for a damaged token, or one of another list or filter.
        """
        if token is None:
            return ""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        seal, position = raw[:_SEAL], raw[_SEAL:]
        if seal != self._seal(position, binding):
            raise ServiceError("InvalidPaginationTokenException", "Invalid Pagination Token")
        return position.decode()

    def _seal(self, position: bytes, binding: tuple[str, ...]) -> bytes:
        return self._keyed(b"token", position, *(part.encode() for part in binding))[:_SEAL]
