"""AWS Rekognition as the face service: AWS itself, the embedded emulator, or something that imitates AWS."""

import http.client
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from seedtool.errors import AwsError, CredentialsError, SettingsError
from seedtool.faces.aws_errors import THROTTLED, translated
from seedtool.faces.aws_session import EMBEDDED_REGION, AwsSession, Vendor, foreign, is_awss
from seedtool.faces.port import CallMeter, FaceCollection, FaceService
from seedtool.faces.rekognition.limiter import Limiter
from seedtool.settings import Settings

# Collections a page, the most that ListCollections gives (source: API reference, MaxResults).
_PAGE = 4096

# Seconds that something on a network of ours may take to say what it is.
_PATIENCE = 2.0


class Aws(AwsSession, FaceService):
    """AWS as one command uses it: Rekognition for faces and, for photos in S3, its session.

    Args:
        settings: the settings.
        endpoint_url: where Rekognition is; the embedded emulator's address. None when live.
        emulator_key: access key id and secret of the embedded emulator; None for one that accepts any.

    Raises:
        SettingsError: embedded without an endpoint.
    """

    def __init__(
        self, settings: Settings, endpoint_url: str | None = None, emulator_key: tuple[str, str] | None = None
    ) -> None:
        super().__init__(settings)
        self.emulator_key = emulator_key or self.emulator_key
        self._endpoint_url = endpoint_url
        self._rekognition: Vendor = None
        self._region: str | None = None
        self._is_emulator: bool | None = None  # not asked yet
        self.mode = settings.aws
        self.embedded = settings.aws == "embedded"
        if self.embedded and endpoint_url is None:
            raise SettingsError(
                'aws = "embedded", but no emulator was started for this command',
                remedy="Pass the endpoint that seedtool.emulator.process.ensure gives.",
                setting="aws",
            )

    @property
    def region(self) -> str:
        """The region: the settings', else the profile's."""
        if self._region is None:
            region = self._settings.region or (EMBEDDED_REGION if self.embedded else self.profile_region())
            if not region:
                raise SettingsError(
                    "no AWS region is set",
                    remedy="Put AWS_REGION=us-east-1 (the region of your collection) into .env, "
                    'or set aws = "embedded" for the local emulator.',
                    setting="region",
                )
            self._region = region
        return self._region

    @property
    def endpoint(self) -> str | None:
        """Where calls of Rekognition go, whoever named it (a profile may, too); None when it is AWS's own address."""
        return foreign(self._endpoint_url if self.embedded else self.rekognition().meta.endpoint_url)

    @property
    def reads_s3(self) -> bool:
        """Whether Rekognition can read where our S3 client does: both are AWS's own, or stand-ins side by side.

        Not so R2 or MinIO (S3_ENDPOINT_URL), a store with keys of its own, and our emulator, which has no keys.
        """
        if self.embedded or self.s3_has_own_keys:
            return False
        if is_awss(self.s3().meta.endpoint_url):
            return self.endpoint is None
        return self.endpoint is not None and self._settings.s3_endpoint_url is None

    @property
    def where(self) -> str:
        """What a report calls the place of the collections, such as `AWS in us-east-1`."""
        if self.embedded:
            return "the embedded emulator"
        return self._named_emulator() or f"AWS in {self.region}{self._at}"

    def who(self) -> str:
        """Say account, region and endpoint. Asks STS when live."""
        if self.embedded:
            return f"the embedded emulator ({self.region})"
        emulator = self._named_emulator()
        if emulator is not None:
            return emulator
        account = "unknown"
        try:
            with translated("sts"):
                client = self.client("sts", self.region, self.endpoint_of("sts"))
                account = client.get_caller_identity()["Account"]
        except CredentialsError:
            raise
        except AwsError:
            pass  # a network that reaches Rekognition need not reach STS
        return f"AWS account {account} in {self.region}{self._at}"

    def collection(self, collection_id: str) -> FaceCollection:
        """Return a collection."""
        from seedtool.faces.rekognition.collection import Collection

        return Collection(self.rekognition(), collection_id)

    def collection_ids(self) -> Iterator[str]:
        """Yield the ids of the account's collections in the region."""
        from seedtool.faces.rekognition import answers

        token: str | None = None
        while True:
            with translated("rekognition"):
                answer = self.rekognition().list_collections(
                    MaxResults=_PAGE, **({"NextToken": token} if token else {})
                )
            ids, following = answers.collections_of(answer)
            yield from ids
            if not following or following == token:
                return
            token = following

    def how_to_delete(self, collection_id: str, face_ids: Sequence[str]) -> str:
        """Return the command of AWS's own program that deletes faces."""
        return f"aws rekognition delete-faces --collection-id {collection_id} --face-ids {' '.join(face_ids)}"

    def rekognition(self) -> Vendor:
        """Return the Rekognition client; every call of it passes the limiter and is counted."""
        with self._lock:
            if self._rekognition is None:
                from seedtool.faces.rekognition.answers import take_only_answers

                endpoint = self._endpoint_url or self.endpoint_of("rekognition")
                client = self.client("rekognition", self.region, endpoint, emulator=self.embedded)
                take_only_answers(client)
                Limiter(self.region, published=self.embedded or is_awss(client.meta.endpoint_url)).attach(client)
                self._rekognition = client
            return self._rekognition

    @contextmanager
    def metered(self, meter: CallMeter) -> Iterator[None]:
        """Tell the meter of every attempt at a call of Rekognition inside the block."""
        from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError

        never_sent = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError)

        def before_send(event_name: str, **_: object) -> None:
            meter.count(event_name.rsplit(".", 1)[-1])

        def response_received(
            event_name: str, parsed_response: Vendor = None, exception: Exception | None = None, **_: object
        ) -> None:
            operation = event_name.rsplit(".", 1)[-1]
            error = (parsed_response or {}).get("Error")
            if error or isinstance(exception, never_sent):
                meter.count_not_billed(operation)
            if (error or {}).get("Code") in THROTTLED:
                meter.count_throttled(operation)

        events = self.rekognition().meta.events
        hooks = {"before-send.rekognition.*": before_send, "response-received.rekognition.*": response_received}
        for event, hook in hooks.items():
            events.register(event, hook)
        try:
            yield
        finally:
            for event, hook in hooks.items():
                events.unregister(event, hook)

    def _prepare(self, session: Vendor) -> None:
        from seedtool.faces.rekognition.answers import PageParserFactory

        session.register_component("response_parser_factory", PageParserFactory())

    @property
    def _at(self) -> str:
        return f" at {self.endpoint}" if self.endpoint else ""

    def _named_emulator(self) -> str | None:
        """Say which emulator of seedtool is at the endpoint of a live service; None when there is none. Asks once."""
        with self._lock:
            if self._is_emulator is None:
                self._is_emulator = self.endpoint is not None and _answers_as_emulator(self.endpoint)
        return f"a seedtool emulator at {self.endpoint} ({self.region}), not AWS" if self._is_emulator else None


def _answers_as_emulator(endpoint: str) -> bool:
    """Tell whether a seedtool emulator answers at an endpoint: each of its answers says so."""
    parts = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader("Server", "").startswith("seedtool")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
