"""The one place that makes AWS clients: whose credentials, which region, which endpoint, how often, how fast."""

import os
import threading
from collections import Counter
from typing import Any

from seedtool.errors import AwsError, CredentialsError, SettingsError
from seedtool.faces.rekognition.answers import take_only_answers
from seedtool.faces.rekognition.collection import Collection
from seedtool.faces.rekognition.endpoint import Identity, foreign, is_awss, is_emulator
from seedtool.faces.rekognition.limiter import Limiter
from seedtool.faces.rekognition.translation import Vendor, translated
from seedtool.settings import Settings

#: The region of the embedded emulator when none is set; also where AWS grants the high quotas.
EMBEDDED_REGION = "us-east-1"

#: Attempts at one call. botocore 1.44's default is 3, whose waits (1 + 2 s at most) do not outlast a burst of another
#: program on the account's quota; five wait up to 15 s, and are what botocore's legacy mode gave for a decade.
ATTEMPTS = 5

# Credentials the emulator accepts; botocore signs with them, so they must exist.
_EMBEDDED_CREDENTIALS = {"aws_access_key_id": "seedtool", "aws_secret_access_key": "embedded"}

# Credentials come from one layer: half of them from `.env` and half from the environment are nobody's.
_CREDENTIALS = {
    prefix: frozenset(prefix + name for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", *more))
    for prefix, more in {"AWS_": ("PROFILE", "DEFAULT_PROFILE"), "AWS_S3_": ()}.items()
}


class Aws:
    """The AWS side of one command: its clients, made when first needed, and what was called.

    `.env` and the environment are one here, the environment winning: botocore itself reads only `os.environ`, which
    we leave alone (child processes and other libraries share it), so what `.env` says is handed over as botocore's
    own session variables. Access key, secret, session token and profile are one: where the environment has any of
    them, those of `.env` do not count; likewise the keys of AWS_S3_*. Not handed over: AWS_ROLE_ARN with
    AWS_WEB_IDENTITY_TOKEN_FILE and AWS_CONTAINER_*, which a platform sets in the environment and nobody writes into
    `.env`.

    Args:
        settings: the settings.
        endpoint_url: where Rekognition is; the embedded emulator's address. None when live.

    Attributes:
        calls: how often each operation was called, by name; retries are not counted.

    Raises:
        SettingsError: embedded without an endpoint, or live without a region.
    """

    def __init__(self, settings: Settings, endpoint_url: str | None = None) -> None:
        self._settings = settings
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        outdone = {name for group in _CREDENTIALS.values() if any(map(environment.get, group)) for name in group}
        self._dotenv = {name: value for name, value in settings.aws_variables.items() if name not in outdone}
        self._variables = {**self._dotenv, **environment}
        self._endpoint_url = endpoint_url
        self._lock = threading.RLock()
        self._session: Vendor = None
        self._clients: dict[str, Any] = {}
        self._region: str | None = None
        self._known: Identity | None = None
        self.embedded = settings.aws == "embedded"
        self.calls: Counter[str] = Counter()
        if self.embedded and endpoint_url is None:
            raise SettingsError(
                'aws = "embedded", but no emulator was started for this command',
                remedy="Pass the endpoint that seedtool.emulator.process.ensure gives.",
            )

    @property
    def mode(self) -> str:
        """`embedded` or `live`."""
        return self._settings.aws

    @property
    def region(self) -> str:
        """The region: the settings', else the profile's.

        Raises:
            SettingsError: live, and none is set anywhere.
        """
        if self._region is None:
            region = self._settings.region or (EMBEDDED_REGION if self.embedded else self._profile_region())
            if not region:
                raise SettingsError(
                    "no AWS region is set",
                    remedy="Put AWS_REGION=us-east-1 (the region of your collection) into .env, "
                    'or set aws = "embedded" for the local emulator.',
                )
            self._region = region
        return self._region

    @property
    def endpoint(self) -> str | None:
        """Where calls of Rekognition go, whoever named it (a profile may, too); None when it is AWS's own address.

        Raises:
            SettingsError: as `region`, or what was named is not an address.
        """
        return foreign(self._endpoint_url if self.embedded else self.rekognition().meta.endpoint_url)

    @property
    def reads_s3(self) -> bool:
        """Whether Rekognition can read where our S3 client does: both are AWS's own, or stand-ins side by side.

        Not so R2 or MinIO (S3_ENDPOINT_URL), a store with keys of its own, and our emulator, which has no keys.
        """
        if self.embedded or any(map(self._variables.get, _CREDENTIALS["AWS_S3_"])):
            return False
        if is_awss(self.s3().meta.endpoint_url):
            return self.endpoint is None
        return self.endpoint is not None and self._settings.s3_endpoint_url is None

    @property
    def where(self) -> str:
        """What a report calls the place of its collections, such as `AWS in us-east-1`."""
        return self._identity().where

    def collection(self, collection_id: str) -> Collection:
        """Return the gateway to one collection. It need not exist yet."""
        return Collection(self.rekognition(), collection_id)

    def rekognition(self) -> Vendor:
        """Return the Rekognition client; every call of it passes the limiter and is counted."""
        with self._lock:
            if "rekognition" not in self._clients:
                client = self._client("rekognition", self.region, self._endpoint("rekognition"))
                take_only_answers(client)
                Limiter(self.region, published=self.embedded or is_awss(client.meta.endpoint_url)).attach(client)
                self._clients["rekognition"] = client
            return self._clients["rekognition"]

    def s3(self) -> Vendor:
        """Return the S3 client: AWS's own, or that of S3_ENDPOINT_URL (Cloudflare R2, MinIO).

        A store apart from AWS has keys of its own: AWS_S3_ACCESS_KEY_ID and AWS_S3_SECRET_ACCESS_KEY (the names of
        django-storages), and AWS's serve where those are not set. R2 knows one region, `auto`; objects are addressed
        by path; checksums are sent only where the operation requires one, since R2 refuses the trailers
        that botocore sends by default over HTTPS.
        """
        with self._lock:
            if "s3" not in self._clients:
                endpoint = self._settings.s3_endpoint_url or self._endpoint("s3")
                region = self._settings.region or ("auto" if endpoint else self._profile_region() or EMBEDDED_REGION)
                if endpoint and ".r2.cloudflarestorage.com" in endpoint:
                    region = "auto"
                self._clients["s3"] = self._client("s3", region, endpoint)
            return self._clients["s3"]

    def who(self) -> Identity:
        """Tell account, region and endpoint, to be shown before writing. Asks STS when live.

        Raises:
            CredentialsError: there are no credentials, or they are wrong or expired.
        """
        identity = self._identity()
        if self.embedded or identity.emulator:
            return identity
        try:
            with translated("sts"):
                account = self._client("sts", self.region, self._endpoint("sts")).get_caller_identity()["Account"]
        except CredentialsError:
            raise
        except AwsError:
            return identity  # a network that reaches Rekognition need not reach STS
        return Identity(mode="live", region=self.region, account=account, endpoint=identity.endpoint)

    def _identity(self) -> Identity:
        """Return whom we are talking to but for the account; asks what no settings tell, once."""
        with self._lock:
            if self._known is None:
                there = self.endpoint
                emulator = not self.embedded and there is not None and is_emulator(there)
                self._known = Identity(mode=self.mode, region=self.region, endpoint=there, emulator=emulator)
            return self._known

    def _client(self, service: str, region: str, endpoint_url: str | None) -> Vendor:
        from botocore.config import Config

        local = self.embedded and service != "s3"
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            "connect_timeout": 5,  # seconds; a region answers in well under one
            "read_timeout": 30,  # seconds; IndexFaces of a full class photo takes one or two
            "max_pool_connections": 100,  # at 50 calls a second of up to 2 s each
            "user_agent_extra": "seedtool",
        }
        if local:
            options["proxies"] = {}  # HTTP_PROXY is not for 127.0.0.1
        if service == "s3" and endpoint_url is not None:
            options["s3"] = {"addressing_style": "path"}
            options["request_checksum_calculation"] = "when_required"
            options["response_checksum_validation"] = "when_required"
        try:
            with translated(service):
                client = self._botocore().create_client(
                    service,
                    region_name=region,
                    endpoint_url=endpoint_url,
                    config=Config(**options),
                    **self._credentials(service, local=local),
                )
        except ValueError as error:
            raise SettingsError(
                f"the endpoint of {service} is not an address: {error}", remedy="Check AWS_ENDPOINT_URL*."
            ) from error
        client.meta.events.register("before-call.*.*", self._count)
        return client

    def _credentials(self, service: str, *, local: bool) -> dict[str, str]:
        """Return credentials to pass explicitly; empty means botocore's chain (profile, SSO, instance role)."""
        if local:
            return _EMBEDDED_CREDENTIALS
        names = {
            "aws_access_key_id": "ACCESS_KEY_ID",
            "aws_secret_access_key": "SECRET_ACCESS_KEY",
            "aws_session_token": "SESSION_TOKEN",
        }
        own = service == "s3" and any(map(self._variables.get, _CREDENTIALS["AWS_S3_"]))
        prefix = "AWS_S3_" if own else "AWS_"
        found = {argument: self._variables.get(prefix + name, "") for argument, name in names.items()}
        return {argument: value for argument, value in found.items() if value}

    def _endpoint(self, service: str) -> str | None:
        """Return the endpoint that was given, or that AWS_ENDPOINT_URL_* names; None leaves it to botocore."""
        if self.embedded and service != "s3":
            return self._endpoint_url
        if self._endpoint_url is not None and service == "rekognition":
            return self._endpoint_url
        if self._variables.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        return self._variables.get(f"AWS_ENDPOINT_URL_{service.upper()}") or self._variables.get("AWS_ENDPOINT_URL")

    def _profile_region(self) -> str | None:
        with translated("sts"):
            region: str | None = self._botocore().get_config_variable("region")
        return region

    def _botocore(self) -> Vendor:
        """Return the session. botocore's own: boto3's adds 25 ms of import and nothing that we use."""
        from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES
        from botocore.session import Session

        from seedtool.faces.rekognition.parsing import PageParserFactory

        with self._lock:
            if self._session is None:
                self._session = self._session_without_profiles() if self._deaf else Session()
                self._session.register_component("response_parser_factory", PageParserFactory())
                for name, (_, variables, _, convert) in VARIABLES.items():
                    for variable in [variables] if isinstance(variables, str) else variables or []:
                        if variable in self._dotenv and not self._deaf:
                            value = self._dotenv[variable]
                            self._session.set_config_variable(name, convert(value) if convert else value)
            return self._session

    @property
    def _deaf(self) -> bool:
        """The developer's own profile, right or wrong, is nothing to the emulator."""
        return self.embedded and not (self._settings.photos_url or "").startswith("s3://")

    @staticmethod
    def _session_without_profiles() -> Vendor:
        from botocore.session import Session

        session = Session(session_vars={"profile": (None, [], None, None)})
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        return session

    def _count(self, model: Vendor, **_: object) -> None:
        with self._lock:
            self.calls[model.name] += 1
