"""Pools: the names, streets, companies and words that values are picked from.

The files in `locales/` are Faker's, frozen by docs/write_pools.py. A new release of Faker changes no value.
"""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedtool.errors import SeedError
from seedtool.values.cells import Cells
from seedtool.values.hashing import below

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How finely a weight counts: a value's share of a weighted pool is a whole number of these.
SHARES = 65_536

_FOLDER = Path(__file__).parent / "locales"

#: Faker's names of locales whose pools are those of another one.
_SAME = {"es_ES": "es", "en": "en_US", "de": "de_DE", "fr": "fr_FR", "it": "it_IT", "pt": "pt_BR"}


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Values to pick from.

    Args:
        cells: the different values.
        slots: uint16[SHARES] for a pool with weights: the positions in `cells`, each as often as its share.
    """

    cells: Cells
    slots: "NDArray[np.uint16] | None" = None

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def longest(self) -> int:
        """Characters of the longest value."""
        return max((len(value.decode()) for value in self.cells.tolist() if value is not None), default=0)

    def pick(self, bits: "NDArray[np.uint64]") -> Cells:
        """A value for each 64 bits, by its weight."""
        return self.cells.pick(self.positions(bits))

    def positions(self, bits: "NDArray[np.uint64]") -> "NDArray[np.int64]":
        """The position in `cells` of the value for each 64 bits."""
        found = below(bits, len(self.cells)) if self.slots is None else self.slots[bits >> np.uint64(48)]
        return found.astype(np.int64)


def locales() -> list[str]:
    """The names of all locales."""
    return sorted([*(path.stem for path in _FOLDER.glob("*.txt") if path.stem != "world"), *_SAME])


def pool(name: str, locale: str = "en_US") -> Pool:
    """A pool of the package.

    Args:
        name: such as `last_name`; those that no locale shapes are in `world`.
        locale: Faker's name of a locale.

    Raises:
        SeedError: there is no such locale, or it has no such pool.
    """
    if locale not in locales():
        raise SeedError(f'there is no locale "{locale}"', remedy=_meant(locale, locales()))
    found = _read(_SAME.get(locale, locale)) | _read("world")
    if name not in found:
        raise SeedError(f'the locale {locale} has no pool "{name}"', remedy=_meant(name, sorted(found)))
    return found[name]


def names(locale: str) -> list[str]:
    """The pools of a locale."""
    return sorted(_read(_SAME.get(locale, locale)) | _read("world"))


def own(path: Path) -> Pool:
    """The pool of a file of the project: a value in each line, in UTF-8, or values with whole weights behind a tab.

    Raises:
        SeedError: the file cannot be read, is empty, or a line has a wrong weight.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SeedError(f"the pool {path.name} cannot be read: {type(error).__name__}", file=str(path)) from error
    weighted: dict[str, int] = {}
    with_weights = "\t" in text
    for number, line in enumerate(text.splitlines(), 1):
        value, _, weight = line.partition("\t")
        if not value:
            continue
        if with_weights and not weight.isdecimal():
            raise SeedError(
                f"line {number} of the pool {path.name} has no weight",
                remedy="Write a whole number behind a tab in each line, or in none.",
                file=str(path),
                line=number,
            )
        weighted[value] = int(weight) if with_weights else 1
    if not weighted or not sum(weighted.values()):
        raise SeedError(f"the pool {path.name} has no value", remedy="Write a value in each line.", file=str(path))
    return of_weights(weighted) if with_weights else Pool(Cells.of(weighted))


def of_weights(weighted: Mapping[str, int]) -> Pool:
    """A pool whose values are picked by whole weights, of any sum."""
    kept = {value: weight for value, weight in weighted.items() if weight > 0}
    return Pool(Cells.of(kept), slots(list(kept.values())))


def slots(weights: Sequence[int]) -> "NDArray[np.uint16]":
    """Each position of a list of weights as often as its share of SHARES says: the largest remainder.

    Args:
        weights: at most SHARES whole numbers from 0, not all 0.
    """
    total = sum(weights)
    counts = [weight * SHARES // total for weight in weights]
    largest = sorted(range(len(weights)), key=lambda position: (-(weights[position] * SHARES % total), position))
    for position in largest[: SHARES - sum(counts)]:
        counts[position] += 1
    return _slots(counts)


def fingerprint(locale: str) -> str:
    """The hash of all pools that this locale has."""
    hashed = hashlib.blake2b(digest_size=8)
    for name in (_SAME.get(locale, locale), "world"):
        hashed.update((_FOLDER / f"{name}.txt").read_bytes())
    return hashed.hexdigest()


@cache
def _read(locale: str) -> dict[str, Pool]:
    """The pools of one file of `locales/`."""
    sections: dict[str, list[str]] = {}
    for line in (_FOLDER / f"{locale}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            sections[line[1:-1]] = []
        elif not line.startswith("#"):
            sections[next(reversed(sections))].append(line)
    pools = {}
    for name, lines in sections.items():
        values = [line.partition("\t") for line in lines]
        slots = _slots([int(share) for _, _, share in values]) if values[0][1] else None
        pools[name] = Pool(Cells.of(value for value, _, _ in values), slots)
    return pools


def _slots(counts: list[int]) -> "NDArray[np.uint16]":
    return np.repeat(np.arange(len(counts), dtype=np.uint16), counts)


def _meant(name: str, known: list[str]) -> str:
    """Which names were probably meant."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(known)}."
