"""Compares two answers: members, types, values, orders. What may differ stands in one table."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from seedtool.emulator.conformance.playing import Told

Json = Any


class MayDiffer(NamedTuple):
    """What may differ between two answers.

    Attributes:
        path: the member's path, as `Faces[].FaceId`, with `*` for any text.
        what: `number`, `text` and `flag` for values of this JSON type; `order` for that of a list; `elements` for how
            many a list has.
        why: the reason.
    """

    path: str
    what: str
    why: str


#: Ids are not in the table: two ids are equal if they always stand for one another.
MAY_DIFFER = (
    MayDiffer("*BoundingBox.*", "number", "another model looks at the picture"),
    MayDiffer("*Confidence", "number", "another model looks at the picture"),
    MayDiffer("*Similarity", "number", "another model looks at the picture"),
    MayDiffer("*Landmarks[].X", "number", "another model looks at the picture"),
    MayDiffer("*Landmarks[].Y", "number", "another model looks at the picture"),
    MayDiffer("*Pose.*", "number", "another model looks at the picture"),
    MayDiffer("*Quality.*", "number", "another model looks at the picture"),
    MayDiffer("*AgeRange.*", "number", "another model looks at the picture"),
    MayDiffer("*EyeDirection.*", "number", "another model looks at the picture"),
    MayDiffer("*Gender.Value", "text", "the stand-in draws it by lot"),
    MayDiffer("*FaceDetail*.Value", "flag", "the stand-in draws it by lot"),
    MayDiffer("*Face.Smile.Value", "flag", "the stand-in draws it by lot"),
    MayDiffer("*UnmatchedFaces[].Smile.Value", "flag", "the stand-in draws it by lot"),
    MayDiffer("*Emotions", "order", "by Confidence"),
    MayDiffer("*FaceMatches", "order", "by Similarity"),
    MayDiffer("*UserMatches", "order", "by Similarity"),
    MayDiffer("Faces", "order", "by FaceId, and a FaceId is random"),
    MayDiffer("UnindexedFaces", "elements", "AWS publishes no limits of quality, and may not see a small face"),
    MayDiffer("UnindexedFaces[].Reasons*", "elements", "AWS publishes no limits of quality"),
    MayDiffer("UnindexedFaces[].Reasons*", "text", "AWS publishes no limits of quality"),
    MayDiffer("UnsearchedFaces", "elements", "AWS may see a face that is small"),
    MayDiffer("*ModelVersion*", "text", "AWS's model grows older"),
    MayDiffer("*CreationTimestamp", "number", "a time"),
    MayDiffer("*NextToken", "text", "only who made a token can read it"),
    MayDiffer("Logref", "text", "the request's own number"),
    MayDiffer("x-amzn-requestid", "text", "the request's own number"),
)
#: Orders that hold on both sides or on none, whatever the elements are.
_ORDERS: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "FaceMatches": ("by falling Similarity", lambda each: -each["Similarity"]),
    "UserMatches": ("by falling Similarity", lambda each: -each["Similarity"]),
    "Emotions": ("by falling Confidence", lambda each: -each["Confidence"]),
    "Faces": ("by FaceId", lambda each: each["FaceId"]),
}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


@dataclass(frozen=True)
class Difference:
    """One difference of two answers.

    Attributes:
        step: the step's name.
        operation: its operation.
        path: where, as `Faces[1].FaceId`; empty for the whole answer.
        kind: `played`, `status`, `missing`, `added`, `type`, `value`, `id`, `order`, `elements` or `header`.
        here: what the stand-in answers.
        there: what the other side answers.
    """

    step: str
    operation: str
    path: str
    kind: str
    here: Json
    there: Json


@dataclass
class Comparison:
    """Compares the answers of two sides, step by step.

    Attributes:
        differences: those that the table does not permit.
        permitted: how often each row of the table permitted a difference, by its path and kind.
    """

    differences: list[Difference] = field(default_factory=list)
    permitted: Counter[str] = field(default_factory=Counter)
    _ids: dict[str, str] = field(default_factory=dict)
    _back: dict[str, str] = field(default_factory=dict)

    def compare(self, here: Told, there: Told) -> None:
        """Compare the answers of one step."""
        found = _Step(self, here, there)
        if not here.status or not there.status:
            if here.status != there.status:
                found.differ("", "played", bool(here.status), bool(there.status))
            return
        if here.status != there.status:
            found.differ("", "status", _outline(here), _outline(there))
            return
        for name in sorted({*here.headers, *there.headers}):
            found.values(name, here.headers.get(name), there.headers.get(name), "header")
        among = here.among or there.among
        if here.sizes != there.sizes and not among:
            found.differ("NextToken", "elements", here.sizes, there.sizes)
        bodies = [dict(here.body), dict(there.body)]
        if here.sizes:
            for body in bodies:
                body.pop("NextToken", None)
        if among:
            bodies[0] = _among(*bodies)
        found.objects("", *bodies)

    def same_id(self, here: str, there: str) -> bool:
        """Return whether two ids stand for one another, as they have so far."""
        return self._ids.setdefault(here, there) == there and self._back.setdefault(there, here) == here

    def there_for(self, here: str | None) -> str | None:
        """Return the id that stands for one of ours on the other side, or None."""
        return self._ids.get(here) if here is not None else None


@dataclass
class _Step:
    comparison: Comparison
    here: Told
    there: Told

    def differ(self, path: str, kind: str, here: Json, there: Json) -> None:
        row = next((row for row in MAY_DIFFER if _permits(row, plain(path), kind, here, there)), None)
        if row is not None:
            self.comparison.permitted[f"{row.path}: {row.what}"] += 1
            return
        self.comparison.differences.append(Difference(self.here.step, self.here.operation, path, kind, here, there))

    def values(self, path: str, here: Json, there: Json, kind: str = "value") -> None:
        """Compare two values of any type."""
        number = {type(here), type(there)} == {int, float} and any(
            fnmatchcase(plain(path), row.path) for row in MAY_DIFFER if row.what == "number"
        )
        if type(here) is not type(there) and not number:
            self.differ(path, "type", *((_TYPES.get(type(each)), each) for each in (here, there)))
        elif isinstance(here, dict):
            self.objects(path, here, there)
        elif isinstance(here, list):
            self.lists(path, here, there)
        elif isinstance(here, str):
            self._texts(path, here, there, kind)
        elif here != there:
            self.differ(path, kind, here, there)

    def objects(self, path: str, here: dict[str, Json], there: dict[str, Json]) -> None:
        """Compare two objects, in whatever order their members stand."""
        for name in here.keys() | there.keys():
            where = f"{path}.{name}" if path else name
            if name not in there:
                self.differ(where, "missing", here[name], None)
            elif name not in here:
                self.differ(where, "added", None, there[name])
            else:
                self.values(where, here[name], there[name])

    def lists(self, path: str, here: list[Json], there: list[Json]) -> None:
        """Compare two lists: element by element, by their ids where they have some, and their orders."""
        own, other = [_identity(each) for each in here], [_identity(each) for each in there]
        mapped = [self.comparison.there_for(each) or each for each in own]
        unique = None not in own + other and len(set(mapped)) == len(mapped) and len(set(other)) == len(other)
        if unique and set(mapped) & set(other):
            alone = [(element, None) for each, element in zip(mapped, here, strict=True) if each not in other]
            alone += [(None, element) for each, element in zip(other, there, strict=True) if each not in mapped]
            for pair in alone:
                self.differ(path, "elements", *pair)
            common = [each for each in mapped if each in other]
            theirs = [each for each in other if each in mapped]
            if common != theirs:
                self.differ(path, "order", common, theirs)
            pairs = [(here[mapped.index(each)], there[other.index(each)]) for each in common]
        else:  # nobody has met these ids, or they have none
            if len(here) != len(there):
                self.differ(path, "elements", here, there)
            pairs = list(zip(here, there, strict=False))
        for number, pair in enumerate(pairs):
            self.values(f"{path}[{number}]", *pair)
        self._orders(path, here, there)

    def _orders(self, path: str, here: list[Json], there: list[Json]) -> None:
        name, key = _ORDERS.get(re.split(r"[.\]]", path)[-1], ("", None))
        if key is None:
            return
        try:
            holds = [[*map(key, each)] == sorted(map(key, each)) for each in (here, there)]
        except (KeyError, TypeError):
            return  # a difference of members or types, which is found elsewhere
        if holds[0] != holds[1]:
            said = (name, f"not {name}")
            self.comparison.differences.append(
                Difference(self.here.step, self.here.operation, path, "order", *(said[not each] for each in holds))
            )

    def _texts(self, path: str, here: str, there: str, kind: str) -> None:
        """Compare two texts. An id in them has to be the one that stands for ours."""
        own, other = _UUID.findall(here), _UUID.findall(there)
        if _UUID.sub("", here) != _UUID.sub("", there) or len(own) != len(other):
            self.differ(path, kind, here, there)
        elif not all(self.comparison.same_id(*pair) for pair in zip(own, other, strict=True)):
            self.differ(path, "id" if kind == "value" else kind, here, there)


_KINDS: dict[str, type | tuple[type, ...]] = {"number": (int, float), "text": str, "flag": bool}


def plain(path: str) -> str:
    """Return a path without the numbers of elements: `Faces[].FaceId`."""
    return re.sub(r"\[\d+\]", "[]", path)


def _permits(row: MayDiffer, path: str, kind: str, here: Json, there: Json) -> bool:
    if not fnmatchcase(path.replace("[]", "\0"), row.path.replace("[]", "\0")):
        return False
    if row.what in _KINDS:
        kinds = _KINDS[row.what]
        flags = isinstance(here, bool) + isinstance(there, bool)
        fits = isinstance(here, kinds) and isinstance(there, kinds) and flags == (2 if row.what == "flag" else 0)
        return fits and kind in {"value", "id", "header"}
    return row.what == kind


def _identity(element: Json) -> str | None:
    """Return what an element of a list is known by; None if it can be told only by its place."""
    if isinstance(element, str):
        return element
    if not isinstance(element, dict):
        return None
    for holder in (element, element.get("Face"), element.get("User")):
        for name in ("FaceId", "UserId", "Type"):
            if isinstance(holder, dict) and isinstance(holder.get(name), str):
                return str(holder[name])
    return None


def _among(here: dict[str, Json], there: dict[str, Json]) -> dict[str, Json]:
    """Return our collections without those that the other side did not come to, among the many of an account."""
    reached = there.get("CollectionIds")
    if not isinstance(reached, list):
        return here
    kept = [number for number, name in enumerate(here["CollectionIds"]) if name in reached]
    return here | {name: [here[name][number] for number in kept] for name in ("CollectionIds", "FaceModelVersions")}


def _outline(told: Told) -> Json:
    """Return the status and, of an error, its code and message."""
    return [told.status, *(told.body.get(name) for name in ("Code", "Message") if name in told.body)]


def compare(here: Sequence[Told], there: Sequence[Told]) -> Comparison:
    """Compare what two sides were told, step by step.

    Args:
        here: the stand-in's answers.
        there: the other side's, of the same steps.
    """
    comparison = Comparison()
    for pair in zip(here, there, strict=True):
        comparison.compare(*pair)
    return comparison
