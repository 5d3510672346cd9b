"""The one place that makes clients of AWS: whose credentials, which region, which endpoint, how many attempts."""

import os
import threading
from collections import Counter
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from seedtool.errors import SettingsError
from seedtool.faces.aws_errors import translated
from seedtool.settings import Settings

#: Anything of botocore's: its clients, models and answers carry no types. The gateways give their own.
Vendor: TypeAlias = Any

#: The region of the embedded emulator when none is set; also one where AWS grants the high quotas.
EMBEDDED_REGION = "us-east-1"

#: Attempts at one call. botocore 1.44's default is 3, whose waits (1 + 2 s at most) do not outlast a burst of another
#: program on the account's quota; five wait up to 15 s, and are what botocore's legacy mode gave for a decade.
ATTEMPTS = 5

# Credentials come from one layer: half of them from `.env` and half from the environment are nobody's.
_CREDENTIALS = {
    prefix: frozenset(prefix + name for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", *more))
    for prefix, more in {"AWS_": ("PROFILE", "DEFAULT_PROFILE"), "AWS_S3_": ()}.items()
}

# What the names of AWS's own endpoints end in: the DNS suffixes of botocore's partitions, dual-stack ones included.
_AWS_HOSTS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
)


class AwsSession:
    """The clients of one command, made when they are first needed, and what was called.

    `.env` and the environment are one here, the environment winning: botocore itself reads only `os.environ`, which
    we leave alone (child processes and other libraries share it), so what `.env` says is handed over as botocore's
    own session variables. Access key, secret, session token and profile are one: where the environment has any of
    them, those of `.env` do not count; likewise the keys of AWS_S3_*. Not handed over: AWS_ROLE_ARN with
    AWS_WEB_IDENTITY_TOKEN_FILE and AWS_CONTAINER_*, which a platform sets in the environment and nobody writes into
    `.env`.

    Args:
        settings: the settings.

    Attributes:
        calls: how often each operation was called, by name; retries are not counted.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        outdone = {name for group in _CREDENTIALS.values() if any(map(environment.get, group)) for name in group}
        self._dotenv = {name: value for name, value in settings.aws_variables.items() if name not in outdone}
        self._variables = {**self._dotenv, **environment}
        self._lock = threading.RLock()
        self._sessions: dict[bool, Vendor] = {}
        self._s3: Vendor = None
        #: Access key id and secret for the emulator; these for one that accepts any, since botocore has to sign.
        self.emulator_key = ("seedtool", "embedded")
        self.calls: Counter[str] = Counter()

    def s3(self) -> Vendor:
        """Return the S3 client: AWS's own, or that of S3_ENDPOINT_URL (Cloudflare R2, MinIO).

        A store apart from AWS has keys of its own: AWS_S3_ACCESS_KEY_ID and AWS_S3_SECRET_ACCESS_KEY (the names of
        django-storages), and AWS's serve where those are not set. R2 knows one region, `auto`; objects are addressed
        by path; checksums are sent only where the operation requires one, since R2 refuses the trailers
        that botocore sends by default over HTTPS.
        """
        with self._lock:
            if self._s3 is None:
                endpoint = self._settings.s3_endpoint_url or self.endpoint_of("s3")
                region = self._settings.region or ("auto" if endpoint else self.profile_region() or EMBEDDED_REGION)
                if endpoint and ".r2.cloudflarestorage.com" in endpoint:
                    region = "auto"
                self._s3 = self.client("s3", region, endpoint)
            return self._s3

    @property
    def s3_has_own_keys(self) -> bool:
        """Whether S3 has keys apart from AWS's."""
        return any(map(self._variables.get, _CREDENTIALS["AWS_S3_"]))

    def client(self, service: str, region: str, endpoint_url: str | None, *, emulator: bool = False) -> Vendor:
        """Return a new client, whose calls are counted.

        Args:
            service: `rekognition`, `s3` or `sts`.
            region: the region.
            endpoint_url: where the service is; None for AWS's own address.
            emulator: it is our emulator: the developer's own credentials, profile and proxy are nothing to it.

        Raises:
            SettingsError: the endpoint is not an address, or a profile is wrong.
            CredentialsError: only half of a pair of keys is set.
        """
        from botocore.config import Config

        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            "connect_timeout": 5,  # seconds; a region answers in well under one
            "read_timeout": 30,  # seconds; IndexFaces of a full class photo takes one or two
            "max_pool_connections": 100,  # at 50 calls a second of up to 2 s each
            "user_agent_extra": "seedtool",
        }
        if emulator:
            options["proxies"] = {}  # HTTP_PROXY is not for 127.0.0.1
        if service == "s3" and endpoint_url is not None:
            options["s3"] = {"addressing_style": "path"}
            options["request_checksum_calculation"] = "when_required"
            options["response_checksum_validation"] = "when_required"
        names = ("aws_access_key_id", "aws_secret_access_key")
        credentials = dict(zip(names, self.emulator_key, strict=True)) if emulator else self._credentials(service)
        try:
            with translated(service):
                client = self._session(profiles=not emulator).create_client(
                    service, region_name=region, endpoint_url=endpoint_url, config=Config(**options), **credentials
                )
        except ValueError as error:
            raise SettingsError(
                f"the endpoint of {service} is not an address",
                remedy=f"Correct AWS_ENDPOINT_URL_{service.upper()} or AWS_ENDPOINT_URL: http://host:port or https://host.",
                setting=f"AWS_ENDPOINT_URL_{service.upper()}",
            ) from error
        client.meta.events.register("before-call.*.*", self._count)
        return client

    def endpoint_of(self, service: str) -> str | None:
        """Return the endpoint that AWS_ENDPOINT_URL_* names for a service; None leaves it to botocore."""
        if self._variables.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
            return None
        return self._variables.get(f"AWS_ENDPOINT_URL_{service.upper()}") or self._variables.get("AWS_ENDPOINT_URL")

    def profile_region(self) -> str | None:
        """Return the region of the developer's profile."""
        with translated("sts"):
            region: str | None = self._session(profiles=True).get_config_variable("region")
        return region

    def _credentials(self, service: str) -> dict[str, str]:
        """Return credentials to pass explicitly; empty means botocore's chain (profile, SSO, instance role)."""
        names = {
            "aws_access_key_id": "ACCESS_KEY_ID",
            "aws_secret_access_key": "SECRET_ACCESS_KEY",
            "aws_session_token": "SESSION_TOKEN",
        }
        prefix = "AWS_S3_" if service == "s3" and self.s3_has_own_keys else "AWS_"
        found = {argument: self._variables.get(prefix + name, "") for argument, name in names.items()}
        return {argument: value for argument, value in found.items() if value}

    def _session(self, *, profiles: bool) -> Vendor:
        """Return botocore's session, with the developer's profiles or without any.

        It is botocore's own: boto3's adds 25 ms of import and nothing that we use.
        """
        from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as VARIABLES
        from botocore.session import Session

        with self._lock:
            if profiles not in self._sessions:
                session = Session() if profiles else Session(session_vars={"profile": (None, [], None, None)})
                if not profiles:
                    session.set_config_variable("config_file", os.devnull)
                    session.set_config_variable("credentials_file", os.devnull)
                for name, (_, variables, _, convert) in VARIABLES.items() if profiles else ():
                    for variable in [variables] if isinstance(variables, str) else variables or []:
                        if variable in self._dotenv:
                            value = self._dotenv[variable]
                            session.set_config_variable(name, convert(value) if convert else value)
                self._prepare(session)
                self._sessions[profiles] = session
            return self._sessions[profiles]

    def _prepare(self, session: Vendor) -> None:
        """Change botocore's session before its first client is made."""

    def _count(self, model: Vendor, **_: object) -> None:
        with self._lock:
            self.calls[model.name] += 1


def is_awss(url: str | None) -> bool:
    """Tell whether an address is one of AWS's own, a VPC endpoint's included."""
    return (urlsplit(url or "").hostname or "").endswith(_AWS_HOSTS)


def foreign(url: str | None) -> str | None:
    """Return an endpoint as it may be shown, without user, password and query; None when it is AWS's own."""
    parts = urlsplit(url or "")
    if not parts.hostname or is_awss(url):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl().rstrip("/")
