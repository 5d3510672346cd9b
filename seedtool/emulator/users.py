"""Users of a collection: several faces under one id, and the searches for them."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import msgspec

from seedtool.emulator.protocol import ServiceError
from seedtool.emulator.store import CollectionGoneError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from seedtool.emulator.faces import SeenFace
    from seedtool.emulator.gallery import Gallery
    from seedtool.emulator.store import Collection, Store, StoredFace

Request = dict[str, Any]
Response = dict[str, Any]

#: Faces that a user may have, users of an answer, and the thresholds where a request gives none (source: the API
#: reference of AssociateFaces and SearchUsers).
MOST_FACES = 100
MOST_USERS = 500
_TO_ASSOCIATE = 75.0
_TO_FIND = 80.0


class Users:
    """Carries out the operations on users.

    Args:
        store: where collections, faces and users are kept.
        gallery: finds faces that are alike.
    """

    def __init__(self, store: Store, gallery: Gallery) -> None:
        self._store = store
        self._gallery = gallery

    def create(self, collection: Collection, request: Request) -> Response:
        """Carry out CreateUser."""

        def change(connection: sqlite3.Connection) -> Response:
            if not self._store.create_user(connection, collection.uid, request["UserId"]):
                raise ServiceError("ConflictException", f"The user id: {request['UserId']} already exists")
            return {}

        return self._once("CreateUser", collection, request, change)

    def delete(self, collection: Collection, request: Request) -> Response:
        """Carry out DeleteUser. The user's faces stay, and are nobody's."""

        def change(connection: sqlite3.Connection) -> Response:
            if not self._store.delete_user(connection, collection.uid, request["UserId"]):
                raise no_user(request["UserId"])
            return {}

        return self._once("DeleteUser", collection, request, change)

    def associate(self, collection: Collection, request: Request) -> Response:
        """Carry out AssociateFaces."""
        uid, user_id, asked = collection.uid, request["UserId"], list(dict.fromkeys(request["FaceIds"]))
        threshold = float(request.get("UserMatchThreshold", _TO_ASSOCIATE))

        def change(connection: sqlite3.Connection) -> Response:
            faces = self._faces(collection, request, asked)
            own = self._store.faces_of_user(uid, user_id)
            added: list[str] = []
            refused: list[Response] = []
            for face_id in asked:
                face = faces.get(face_id)
                refusal = _not_the_users(face_id, face, user_id)
                if refusal is not None:
                    refused.append(refusal)
                elif face is not None and face.user_id is None:
                    likeness = self._gallery.like_user(uid, user_id, face) if own else 100.0
                    if likeness < threshold:
                        reasons = ["LOW_MATCH_CONFIDENCE"]
                        refused.append({"FaceId": face_id, "Confidence": likeness, "Reasons": reasons})
                    else:
                        added.append(face_id)
            if added and len(own) + len(added) > MOST_FACES:
                text = f"The user id: {user_id} would have more than {MOST_FACES} faces"
                raise ServiceError("ServiceQuotaExceededException", text)
            self._store.associate(connection, uid, added, user_id)
            return {
                "AssociatedFaces": [{"FaceId": face_id} for face_id in added],
                "UnsuccessfulFaceAssociations": refused,
                "UserStatus": _status(changed=bool(added), has_faces=bool(own)),
            }

        return self._once("AssociateFaces", collection, request, change)

    def disassociate(self, collection: Collection, request: Request) -> Response:
        """Carry out DisassociateFaces."""
        uid, user_id, asked = collection.uid, request["UserId"], list(dict.fromkeys(request["FaceIds"]))

        def change(connection: sqlite3.Connection) -> Response:
            faces = self._faces(collection, request, asked)
            taken = [face_id for face_id in asked if face_id in faces and faces[face_id].user_id == user_id]
            refusals = (_not_the_users(face_id, faces.get(face_id), user_id) for face_id in asked)
            refused = [refusal for refusal in refusals if refusal is not None]
            own = self._store.faces_of_user(uid, user_id)
            self._store.associate(connection, uid, taken, None)
            return {
                "DisassociatedFaces": [{"FaceId": face_id} for face_id in taken],
                "UnsuccessfulFaceDisassociations": refused,
                "UserStatus": _status(changed=bool(taken), has_faces=bool(own)),
            }

        return self._once("DisassociateFaces", collection, request, change)

    def search(self, collection: Collection, request: Request, until: float) -> Response:
        """Carry out SearchUsers."""
        uid, user_id, face_id = collection.uid, request.get("UserId"), request.get("FaceId")
        threshold, limit = _limits(request)
        response: Response = {"FaceModelVersion": collection.model_version}
        if (user_id is None) == (face_id is None):
            raise ServiceError("InvalidParameterException", "Request has invalid parameters")
        if user_id is not None:
            if not self._store.has_user(uid, user_id):
                raise no_user(user_id)
            found = self._gallery.users_like_user(uid, user_id, threshold, limit, until)
            return response | {"UserMatches": _matches(found), "SearchedUser": {"UserId": user_id}}
        face = self._store.faces(uid, [str(face_id)], until=until).get(str(face_id))
        if face is None:
            raise ServiceError("InvalidParameterException", "faceId was not found in the collection.")
        found = self._gallery.users_like_face(uid, face, threshold, limit, until)
        return response | {"UserMatches": _matches(found), "SearchedFace": {"FaceId": face_id}}

    def search_by_image(
        self,
        collection: Collection,
        request: Request,
        kept: list[SeenFace],
        refused: list[tuple[SeenFace, list[str]]],
        until: float,
    ) -> Response:
        """Carry out SearchUsersByImage.

        Args:
            collection: the collection.
            request: the request.
            kept: the faces of the picture that may be searched.
            refused: the others, with the reasons.
            until: faces that were indexed later (seconds since the epoch) cannot be found yet.
        """
        threshold, limit = _limits(request)
        largest = max(kept, key=lambda each: each.area, default=None)
        others = [(face, ["FACE_NOT_LARGEST"]) for face in kept if face is not largest]
        response: Response = {
            "FaceModelVersion": collection.model_version,
            "UserMatches": [],
            "UnsearchedFaces": [
                {"FaceDetails": face.detail(()), "Reasons": reasons} for face, reasons in [*others, *refused]
            ],
        }
        if largest is None:
            return response
        found = self._gallery.users_like_picture(collection.uid, largest, threshold, limit, until)
        return response | {"UserMatches": _matches(found), "SearchedFace": {"FaceDetail": largest.detail(())}}

    def _faces(self, collection: Collection, request: Request, asked: list[str]) -> dict[str, StoredFace]:
        if not self._store.has_user(collection.uid, request["UserId"]):
            raise no_user(request["UserId"])
        return self._store.faces(collection.uid, asked, until=math.inf)

    def _once(
        self, operation: str, collection: Collection, request: Request, change: Callable[[sqlite3.Connection], Response]
    ) -> Response:
        """Carry out a change in one transaction; a repeated ClientRequestToken gets the first answer again."""
        token = request.get("ClientRequestToken")
        members = {name: value for name, value in request.items() if name != "ClientRequestToken"}
        digest = hashlib.sha256(msgspec.json.encode(members, order="deterministic")).digest()
        try:
            with self._store.changing(collection.uid) as connection:
                known = self._store.answered(connection, collection.uid, operation, token) if token else None
                if known is not None:
                    if known[0] != digest:
                        text = "A request with this ClientRequestToken had other parameters"
                        raise ServiceError("IdempotentParameterMismatchException", text)
                    answer: Response = msgspec.json.decode(known[1])
                    return answer
                answer = change(connection)
                if token:
                    text = msgspec.json.encode(answer).decode()
                    self._store.keep_answer(connection, collection.uid, operation, token, digest, text)
        except CollectionGoneError:
            text = f"The collection id: {collection.name} does not exist"
            raise ServiceError("ResourceNotFoundException", text) from None
        return answer


def no_user(user_id: str) -> ServiceError:
    """Return the error of a user who does not exist. AWS's own message is not known."""
    return ServiceError("ResourceNotFoundException", f"The user id: {user_id} does not exist")


def _not_the_users(face_id: str, face: StoredFace | None, user_id: str) -> Response | None:
    """Return why a face cannot be a user's: it is not there, or another one's; None where it can."""
    if face is None:
        return {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]}
    if face.user_id not in {None, user_id}:
        return {"FaceId": face_id, "UserId": face.user_id, "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    return None


def _status(*, changed: bool, has_faces: bool) -> str:
    # AWS's guide shows UPDATING in the answer, and ACTIVE or CREATED in a later ListUsers
    return "UPDATING" if changed else "ACTIVE" if has_faces else "CREATED"


def _limits(request: Request) -> tuple[float, int]:
    return float(request.get("UserMatchThreshold", _TO_FIND)), int(request.get("MaxUsers", MOST_USERS))


def _matches(found: list[tuple[float, str]]) -> list[Response]:
    return [
        {"Similarity": similarity, "User": {"UserId": user_id, "UserStatus": "ACTIVE"}} for similarity, user_id in found
    ]
