"""Photos at web addresses. The addresses come from rows, which anybody may have filled in, so they are not trusted.

Otherwise somebody who fills in an address could make this machine read from its own network. A host's name is resolved
once, its addresses are checked, and the connection goes to the address that was checked: there is no second look-up,
which could answer otherwise (DNS rebinding). Each redirect is a new address and is checked as one. Proxies are not
used, because they would look the name up by themselves.
"""

import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import TypeAlias
from urllib.parse import SplitResult, urljoin, urlsplit

from seedtool.errors import PhotoError, PhotoUnreachable
from seedtool.faces.photos.store import Scheme

#: Bytes of a photo at most, the most that Rekognition reads from S3 (source: developer guide, guidelines and quotas).
MOST_BYTES = 15 * 1024 * 1024

#: Seconds for one photo, all redirects and attempts together.
SECONDS = 60.0

_SILENCE = 10.0  # seconds that a host may say nothing
_REDIRECTS = 5
_WAITS = (0.5, 1.5)  # seconds before another attempt, where one may help

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Hosts that hand out credentials to whoever is on the machine, at addresses that look like any other.
_METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))

#: Reserved for protocols (RFC 6890); Python 3.11 takes some of them for public ones.
_PROTOCOLS = ipaddress.IPv4Network("192.0.0.0/24")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class _Again(Exception):
    """Another attempt may help."""


def fetch(
    url: str, *, private_hosts: Collection[str] = (), most: int = MOST_BYTES, seconds: float = SECONDS
) -> bytes | None:
    """Return the photo at an address; None when there is none (404, 410).

    Args:
        url: `https://...`. Plain `http://` is for hosts in `private_hosts` alone.
        private_hosts: names (or addresses) of hosts that may be in a private network, on this machine, and so on.
        most: bytes at most.
        seconds: for all of it.

    Raises:
        PhotoError: this is no address, it leads where it may not, or the photo is too large. Where nothing came in
            time, it is a PhotoUnreachable. The message names host and path, never the query, which may hold a
            signature.
    """
    deadline = time.monotonic() + seconds
    waits = iter(_WAITS)
    while True:
        try:
            return _follow(url, frozenset(host.lower() for host in private_hosts), most, deadline)
        except _Again as error:
            wait = next(waits, None)
            if wait is None or time.monotonic() + wait >= deadline:
                raise PhotoUnreachable(
                    f"{shown(url)}: {error}", remedy="Is the address right and its host up? Then run it again."
                ) from error
            time.sleep(wait)


def shown(url: str) -> str:
    """Return an address without its user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an address that cannot be read"
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{'' if port is None else f':{port}'}{parts.path}"


def _follow(url: str, private_hosts: frozenset[str], most: int, deadline: float) -> bytes | None:
    for _ in range(_REDIRECTS + 1):
        answer = _ask(url, private_hosts, most, deadline)
        if not isinstance(answer, str):
            return answer
        url = urljoin(url, answer)
    raise PhotoError(
        f"{shown(url)}: its host redirects more than {_REDIRECTS} times",
        remedy="Give the address that the last redirect leads to.",
    )


def _ask(url: str, private_hosts: frozenset[str], most: int, deadline: float) -> bytes | str | None:
    """Return the photo, None when there is none, or the address that the answer redirects to."""
    parts, host, port = _parts(url)
    trusted = host in private_hosts
    if parts.scheme != "https" and not (parts.scheme == "http" and trusted):
        raise PhotoError(
            f"{shown(url)}: photos are read from https:// addresses only", remedy="Give an https:// address."
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        addresses = _resolved(url, host, port, trusted=trusted)
        with _connected(parts.scheme, host, port, addresses, deadline) as connection:
            connection.request(
                "GET", target, headers={"User-Agent": "seedtool", "Accept": "image/*", "Accept-Encoding": "identity"}
            )
            with closing(connection.getresponse()) as response:
                answer = _answer(url, response, most)
        if time.monotonic() >= deadline:
            raise TimeoutError  # the connection was cut, and what came so far looks complete
    except ssl.SSLCertVerificationError as error:
        raise PhotoError(
            f"{shown(url)}: its certificate is not trusted ({error.verify_message})",
            remedy="Where it is one of your own, name its authority: SSL_CERT_FILE=authority.pem.",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise PhotoUnreachable(
                f"{shown(url)}: the answer took too long", remedy="Run the command again, or fetch the photo by hand."
            ) from error
        raise _Again(f"no answer ({_reason(error)})") from error
    except UnicodeError as error:
        raise PhotoError(f"{shown(url)}: this is not an address", remedy="Escape its path and query (%20).") from error
    return answer


def _answer(url: str, response: http.client.HTTPResponse, most: int) -> bytes | str | None:
    location = response.headers.get("Location")
    if response.status in {301, 302, 303, 307, 308} and location:
        return str(location)
    if response.status in {404, 410}:
        return None
    if response.status == 429 or response.status >= 500:
        raise _Again(f"HTTP status {response.status}")
    if response.status != 200:
        raise PhotoError(
            f"{shown(url)}: its host answered with HTTP status {response.status}",
            remedy="The photo must be readable without signing in. A signed address may have expired.",
        )
    length = response.length  # as announced; None when it is not
    too_large = PhotoError(
        f"{shown(url)}: the photo is larger than {most} bytes", remedy="Put a smaller picture there."
    )
    if length is not None and length > most:
        raise too_large
    data = bytearray()
    while chunk := response.read(65536):
        data += chunk
        if len(data) > most:
            raise too_large
    if length is not None and len(data) < length:
        raise _Again("the answer was cut short")
    return bytes(data)


def _parts(url: str) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (80 if parts.scheme == "http" else 443)
        host = (parts.hostname or "").rstrip(".")
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:  # UnicodeError is one
        raise PhotoError(
            "this cannot be the address of a photo", remedy="Write https://host/path into the row."
        ) from error
    if not host or parts.username is not None or any(ord(letter) < 33 or ord(letter) == 127 for letter in url):
        raise PhotoError(
            f"{shown(url)}: this is not the address of a photo",
            remedy="Write https://host/path, without user and password.",
        )
    return parts, host.lower(), port


def _resolved(url: str, host: str, port: int, *, trusted: bool) -> list[str]:
    """Look the host up and return its addresses, all of them allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise _Again("its host is not known") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not trusted and not is_public(ipaddress.ip_address(address.split("%", maxsplit=1)[0])):
            raise PhotoError(
                f"{shown(url)}: its host is not on the public internet",
                remedy=f'If photos are to be read from there: private_photo_hosts = ["{host}"] in [tool.seedtool].',
            )
    return addresses


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public internet, and not private, loopback, link-local or the like.

    An IPv4 address that is written as an IPv6 address (mapped, 6to4, NAT64) is judged as an IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local or address.teredo is not None:
            return False
    elif address in _PROTOCOLS:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA


@contextmanager
def _connected(
    scheme: str, host: str, port: int, addresses: list[str], deadline: float
) -> Iterator[http.client.HTTPConnection]:
    """Connect to the first address that answers; at the deadline the connection is cut, whatever is under way."""
    raw = _dialled(addresses, port, deadline)
    cut = raw.dup()  # TLS takes the socket over; a second handle still reaches the connection
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, [cut])
    timer.daemon = True
    timer.start()
    connection: http.client.HTTPConnection
    try:
        if scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            connection.sock = context.wrap_socket(raw, server_hostname=host)
        else:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = raw
        with closing(connection), connection.sock:
            yield connection
    finally:
        timer.cancel()
        cut.close()
        raw.close()


def _dialled(addresses: list[str], port: int, deadline: float) -> socket.socket:
    failed: OSError = TimeoutError("timed out")
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((address, port), timeout=min(_SILENCE, left))
        except OSError as error:
            failed = error
    raise failed


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is down already


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__


class WebPhotos:
    """Photos at web addresses, which are their keys. They are only read.

    Args:
        private_hosts: as `fetch` takes them.
    """

    def __init__(self, private_hosts: Collection[str]) -> None:
        self._private_hosts = private_hosts

    def get(self, key: str) -> bytes | None:
        """Return the photo at an address; None when there is none."""
        return fetch(key, private_hosts=self._private_hosts)

    def location(self, key: str) -> None:
        """Return None: no face service reads web addresses."""

    def shown(self, key: str) -> str:
        """Return the photo's address without credentials."""
        return shown(key)


SCHEME = Scheme(
    open_photo=lambda address, context: (WebPhotos(context.settings.private_photo_hosts), address), shown=shown
)
