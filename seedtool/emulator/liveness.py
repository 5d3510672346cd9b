"""Face Liveness sessions, whose outcome a test chooses. Nobody streams a video to them: that is another service."""

from __future__ import annotations

import base64
import io
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

Request = dict[str, Any]
Response = dict[str, Any]
Owner = tuple[str, str]  # account and region, as `Scope` has them

#: "A SessionId expires 3 minutes after it's sent", and an image has at most 200 KiB (source: the service model).
LIFETIME = 180.0
MOST_BYTES = 204_800
_MOST_SESSIONS = 10_000  # kept; older ones are not found
# The versions are ours: the API reference shows none.
_VERSIONS = {"FaceMovementAndLightChallenge": "2.0.0", "FaceMovementChallenge": "1.0.0"}
_USUAL_CHALLENGE = "FaceMovementAndLightChallenge"  # "if no parameter is provided"


class Outcome(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How sessions end from now on.

    Attributes:
        status: CREATED as long as nobody has streamed, IN_PROGRESS, or how the session ends: SUCCEEDED, FAILED,
            EXPIRED. A session that has ended keeps its outcome.
        confidence: that a live person was seen, 0 to 100. A picture of a picture is SUCCEEDED with a low confidence.
        image: the JPEG file (base64 in JSON) that is the reference image and each audit image; empty for a drawing.
    """

    status: Literal["CREATED", "IN_PROGRESS", "SUCCEEDED", "FAILED", "EXPIRED"] = "CREATED"
    confidence: float = 99.5
    image: bytes = b""

    def check(self) -> None:
        """Check what the types do not.

        Raises:
            ValueError: the confidence is not one, or the image is too large, no picture, or without a face.
        """
        if not 0 <= self.confidence <= 100:
            raise ValueError("liveness.confidence has to be 0 to 100")
        if len(self.image) > MOST_BYTES:
            raise ValueError(f"liveness.image has more than {MOST_BYTES:,} bytes")
        if self.image:
            _box(self.image)


@dataclass
class _Session:
    owner: Owner
    created: float
    request: Request
    outcome: Outcome | None = None


class Liveness:
    """Carries out CreateFaceLivenessSession and GetFaceLivenessSessionResults. Safe for concurrent threads.

    Sessions end with the process: they live for three minutes.

    Args:
        outcome: returns how sessions end. Called at each GetFaceLivenessSessionResults.
        clock: returns the time in seconds.
    """

    def __init__(self, outcome: Callable[[], Outcome], clock: Callable[[], float] = time.monotonic) -> None:
        self._outcome = outcome
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._by_token: dict[tuple[Owner, str], str] = {}

    def create(self, owner: Owner, request: Request) -> Response:
        """Carry out CreateFaceLivenessSession. The same ClientRequestToken gets the same session."""
        token = request.get("ClientRequestToken")
        with self._lock:
            known = self._by_token.get((owner, token)) if token else None
            if known in self._sessions:
                return {"SessionId": known}
            session_id = str(uuid.uuid4())
            self._sessions[session_id] = _Session(owner, self._clock(), request.get("Settings", {}))
            if token:
                self._by_token[owner, token] = session_id
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            while len(self._by_token) > _MOST_SESSIONS:
                self._by_token.pop(next(iter(self._by_token)))
        return {"SessionId": session_id}

    def results(self, owner: Owner, request: Request) -> Response:
        """Carry out GetFaceLivenessSessionResults."""
        session_id = request["SessionId"]
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None or session.owner != owner:
                # AWS's own message is not known
                raise ServiceError("SessionNotFoundException", f"The session id: {session_id} does not exist")
            if self._clock() - session.created >= LIFETIME:
                session.outcome = Outcome("EXPIRED")
            outcome = session.outcome or self._outcome()
            if outcome.status not in {"CREATED", "IN_PROGRESS"}:
                session.outcome = outcome
        response: Response = {"SessionId": session_id, "Status": outcome.status}
        if outcome.status != "SUCCEEDED":
            return response
        content = outcome.image or _drawing()
        box = _box(content)
        settings = session.request
        challenge = next((each["Type"] for each in settings.get("ChallengePreferences", ())), _USUAL_CHALLENGE)

        def image(name: str) -> Response:
            output = settings.get("OutputConfig")
            if output is None:
                return {"Bytes": base64.b64encode(content).decode(), "BoundingBox": box}
            key = f"{output.get('S3KeyPrefix', '')}{session_id}/{name}.jpg"
            return {"S3Object": {"Bucket": output["S3Bucket"], "Name": key}, "BoundingBox": box}

        return response | {
            "Confidence": outcome.confidence,
            "ReferenceImage": image("reference"),
            "AuditImages": [image(f"audit-{number}") for number in range(settings.get("AuditImagesLimit", 0))],
            "Challenge": {"Type": challenge, "Version": _VERSIONS[challenge]},
        }


def _box(content: bytes) -> dict[str, float]:
    """Return the box of the largest face of a picture.

    Raises:
        ValueError: it is no picture that Rekognition takes, or has no face.
    """
    from seedtool.emulator import faces

    try:
        found = faces.find(content)
    except ServiceError as error:
        raise ValueError(f"liveness.image: {error.message}") from None
    if not found:
        raise ValueError("liveness.image has no face")
    return found[0].bounding_box()


def _drawing() -> bytes:
    """Return a drawn face."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (240, 320), "#c9d3dc")
    pen = ImageDraw.Draw(image)
    pen.ellipse((60, 50, 180, 230), fill="#d9a57f")
    for x in (95, 145):
        pen.ellipse((x - 9, 115, x + 9, 130), fill="#30343a")
    pen.arc((90, 140, 150, 195), 20, 160, fill="#7a3b35", width=5)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
