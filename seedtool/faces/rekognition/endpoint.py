"""Where Rekognition is, and whom we are talking to there: AWS, an emulator, or something that imitates it."""

import http.client
from urllib.parse import urlsplit

import msgspec

# What the names of AWS's own endpoints end in: the DNS suffixes of botocore's partitions, dual-stack ones included.
_AWS_HOSTS = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".api.amazonwebservices.eu",
)

# Seconds that something on a network of ours may take to say what it is.
_PATIENCE = 2.0


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we are talking to, to be shown before anything is written.

    Args:
        mode: `embedded` or `live`.
        region: the region.
        account: the AWS account's number; None when embedded, or when STS does not tell.
        endpoint: where Rekognition is; None when it is AWS's own address.
        emulator: an emulator of seedtool is there, whoever's.
    """

    mode: str
    region: str
    account: str | None = None
    endpoint: str | None = None
    emulator: bool = False

    def __str__(self) -> str:
        if self.mode == "embedded":
            return f"the embedded emulator ({self.region})"
        if self.emulator:
            return f"a seedtool emulator at {self.endpoint} ({self.region}), not AWS"
        return f"AWS account {self.account or 'unknown'} in {self.region}{_at(self.endpoint)}"

    @property
    def where(self) -> str:
        """What a report calls the place of its collections, such as `AWS in us-east-1`."""
        if self.mode == "embedded":
            return "the embedded emulator"
        return str(self) if self.emulator else f"AWS in {self.region}{_at(self.endpoint)}"


def is_awss(url: str | None) -> bool:
    """Tell whether an address is one of AWS's own, a VPC endpoint's included."""
    return (urlsplit(url or "").hostname or "").endswith(_AWS_HOSTS)


def foreign(url: str | None) -> str | None:
    """Return an endpoint as it may be shown, without user, password and query; None when it is AWS's own."""
    parts = urlsplit(url or "")
    if not parts.hostname or is_awss(url):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl().rstrip("/")


def is_emulator(endpoint: str) -> bool:
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


def _at(endpoint: str | None) -> str:
    return f" at {endpoint}" if endpoint else ""
