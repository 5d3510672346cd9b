"""What the store takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Collection(NamedTuple):
    """A collection as stored. `created` is seconds since the epoch, `size` the number of faces."""

    uid: int
    name: str
    model_version: str
    created: float
    size: int


class NewFace(NamedTuple):
    """A face to be remembered. `document` lacks the two ids, which the store gives out."""

    ordinal: int
    document: dict[str, object]
    name: str | None
    likeness: float | None
    digest: bytes
    looks: Sequence[tuple[int, bytes]]  # (kind, vector)


class StoredFace(NamedTuple):
    """A face as remembered, without its looks."""

    face_id: str
    document: str
    person: bytes | None
    likeness: float | None
    digest: bytes


class Look(NamedTuple):
    """One description of one face; `named` faces are known by name first."""

    number: int
    face_id: str
    kind: int
    named: int
    vector: bytes
