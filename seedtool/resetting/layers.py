"""Layers: a template is a stack of them. The schema is one, the rows of seed files laid over it are another."""

from __future__ import annotations

import abc
import hashlib
from typing import TYPE_CHECKING, ClassVar

from seedtool.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedtool.postgres.server import Target
    from seedtool.resetting.transaction import OneTransaction


class Layer(abc.ABC):
    """One layer of a template.

    Attributes:
        step: the name of the step that builds it, in reports and for listeners: `build`, `seed`.
        purpose: what the layer is, in words: `schema`, `seeds local`.
        in_place: it can also be built within one transaction of the target itself, for a role that may not create
            databases.
        notes: what users should know about the last `build`, a sentence each.
    """

    notes: Sequence[str] = ()
    step: ClassVar[str]
    in_place: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def purpose(self) -> str:
        """What the layer is, in words."""

    @abc.abstractmethod
    def fingerprint(self, server: Mapping[str, str]) -> str:
        """Return the hex digest of all that shapes the layer, apart from what lies below it.

        Args:
            server: facts of the server and the target that shape what is built, by name: version, role, owner, locale
                and the like. Only the lowest layer has to take them in.
        """

    def check(self) -> None:  # noqa: B027 - not abstract: most layers have nothing to read beforehand
        """Read what `build` will need. It is called before anything is built or lost, and raises what is wrong."""

    @abc.abstractmethod
    def build(self, database: Target) -> Mapping[str, object]:
        """Build the layer in a database that holds the layers below it and that nobody else uses.

        Returns:
            What is remembered with the template, as values of JSON; it has to be short.
        """

    def build_in_place(self, connection: OneTransaction) -> Mapping[str, object]:
        """Build the layer on a connection to the target, within its transaction; returns the same as `build`.

        Raises:
            LeavesTransaction: it cannot be done within a transaction.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot be built in place")

    def leaves_transaction(self) -> list[str]:
        """Return the files that mention what cannot be done within a transaction, as messages show them."""
        return []


def fingerprints(layers: Sequence[Layer], server: Mapping[str, str]) -> list[str]:
    """Return the fingerprint of the template that each layer makes upon those below it.

    Args:
        layers: the stack, the lowest layer first.
        server: as `Layer.fingerprint` takes it.
    """
    found: list[str] = []
    for layer in layers:
        own = layer.fingerprint(server)
        found.append(hashlib.sha256(f"{found[-1]} {own}".encode()).hexdigest() if found else own)
    return found


def refuse_in_place(layers: Sequence[Layer], why: str) -> None:
    """Refuse a stack that cannot be built in place.

    Args:
        layers: the stack.
        why: why that is wanted, in words.

    Raises:
        DatabaseError: one of the layers cannot.
    """
    for layer in layers:
        if not layer.in_place:
            raise DatabaseError(
                f"{why}, and {layer.purpose} cannot be built in place",
                remedy="Work as a role with CREATEDB, without in_place.",
            )
