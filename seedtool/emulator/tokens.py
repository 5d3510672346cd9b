"""Pagination tokens: where a page ended, sealed for the list and filter that it belongs to."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

_SEAL = 12  # bytes that prove a token ours


class Tokens:
    """Makes and opens tokens.

    Args:
        keyed: hashes byte strings under a secret key that lives as long as the lists do.
    """

    def __init__(self, keyed: Callable[..., bytes]) -> None:
        self._keyed = keyed

    def make(self, last: str, binding: tuple[str, ...]) -> str:
        """An opaque token.

        Args:
            last: where the page ended; at most 170 characters, so that the token has at most 255.
            binding: what the token is good for: operation, list, filter.
        """
        position = last.encode()
        return base64.urlsafe_b64encode(self._seal(position, binding) + position).decode()

    def open(self, token: str | None, binding: tuple[str, ...]) -> str:
        """Where the page before ended; empty without a token.

        Raises:
            ServiceError: InvalidPaginationTokenException for a damaged token or one of another list or filter.
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
