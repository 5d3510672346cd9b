"""Words: what a line of a recipe or a policy may say, and the kind of value that it makes."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Union, Unpack, get_args, get_origin

import numpy as np

from seedtool.errors import SeedError
from seedtool.values.cells import Cells
from seedtool.values.hashing import below, draw, key_of, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint64]
    Rows = NDArray[np.int64]

#: Families of PostgreSQL's types: a kind names those that its text can be read as. `any` is each of them.
TEXT = frozenset({"text"})
INTEGER = frozenset({"integer", "numeric", "text"})
NUMERIC = frozenset({"numeric", "text"})
BOOLEAN = frozenset({"boolean", "text"})
DATE = frozenset({"date", "timestamp", "text"})
ANY = frozenset({"any"})


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a value may depend on besides its own bits.

    Args:
        rows: int64[n]: the row numbers, from 0.
        columns: the other columns of the same rows that the kind needs, by their names.
    """

    rows: "Rows"
    columns: Mapping[str, Cells] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of value: a word with its parameters.

    Args:
        name: the word.
        parameters: as they were given.
        make: the values of n rows from uint64[n] of random bits. It is pure: a value depends on its own bits, its row's
            number and its row's other columns, and on nothing else.
        types: the families of PostgreSQL's types that the text of a value can be read as.
        longest: characters of the longest value.
        capacity: how many different values there are, where they can be counted.
        nth: the values with these numbers, uint64[n] below `capacity`; different numbers give different values. So
            `nth(permute(key, rows, capacity))` is a unique column.
        needs: the other columns of the row that a value is made from.
        distinct: rows of different numbers have different values by themselves, as a sequence has.
        identifying: a value can lead to one person.
        reserved: the range that all values lie in and that no real value can have, in words.
        nullable: some values are NULL.
    """

    name: str
    parameters: Mapping[str, object]
    make: "Callable[[Bits, Context], Cells]"
    types: frozenset[str]
    longest: int
    capacity: int | None = None
    nth: "Callable[[Bits], Cells] | None" = None
    needs: tuple[str, ...] = ()
    distinct: bool = False
    identifying: bool = False
    reserved: str | None = None
    nullable: bool = False

    def fits(self, family: str) -> bool:
        """Whether a column of this family of types can hold the values."""
        return "any" in self.types or family in self.types

    def checksum(self) -> str:
        """What 1,000 fixed rows of this kind hash to. Another checksum means that the kind makes other values.

        A kind that needs other columns gets full names there.
        """
        rows = np.arange(1000, dtype=np.int64)
        columns = {name: Cells.of([f"Ana {row} Peña" for row in range(1000)]) for name in self.needs}
        cells = self.make(stream(key_of(b"", "checksum"), rows), Context(rows, columns))
        hashed = blake2b(digest_size=8)
        for value in cells.tolist():
            hashed.update(b"\xff" if value is None else len(value).to_bytes(4, "little") + value)
        return hashed.hexdigest()


class Further(TypedDict, total=False):
    """Fields of a kind that a word may set."""

    needs: tuple[str, ...]
    distinct: bool
    identifying: bool
    reserved: str | None
    nullable: bool


def counted(
    capacity: int, nth: "Callable[[Bits], Cells]", types: frozenset[str], longest: int, **more: Unpack[Further]
) -> Kind:
    """A kind whose values can be counted, all equally likely."""
    return Kind(
        name="",
        parameters={},
        make=lambda bits, _context: nth(below(bits, capacity)),
        types=types,
        longest=longest,
        capacity=capacity,
        nth=nth,
        **more,
    )


def drawn(make: "Callable[[Bits], Cells]", types: frozenset[str], longest: int, **more: Unpack[Further]) -> Kind:
    """A kind whose values depend on their bits alone."""
    return Kind(name="", parameters={}, make=lambda bits, _context: make(bits), types=types, longest=longest, **more)


def related(
    make: "Callable[[Bits, Context], Cells]", types: frozenset[str], longest: int, **more: Unpack[Further]
) -> Kind:
    """A kind whose values depend on their bits, the row's number and its other columns."""
    return Kind(name="", parameters={}, make=make, types=types, longest=longest, **more)


# Parameters ###########################################################################################################

#: A share between 0 and 1.
Share = Annotated[float, "a share between 0 and 1"]
#: A word, or a table with the word under `kind` and its parameters beside it.
Line = Annotated[str | Mapping[str, Any], 'a word such as "first_name", or a table with `kind`']
#: The name of another column of the table, or names.
ColumnName = Annotated[str, "the name of another column"]
ColumnNames = Annotated[Sequence[str], "a list of names of other columns"]
Texts = Annotated[Sequence[str], "a list of texts"]
Weights = Annotated[Sequence[int], "a list of whole numbers from 0"]
Values = Annotated[Sequence[Any], "a list of values"]
Number = Annotated[int | float | str, "a number"]
#: A number that may be left out.
Bound = Annotated[int | float | str | None, "a number"]
Scalar = Annotated[Any, "a value"]
Table = Annotated[Mapping[str, Any], "a table"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a word.

    Args:
        name: its name.
        form: its type, as the word's function is annotated.
        required: it has no default.
        default: that default.
    """

    name: str
    form: Any
    required: bool
    default: object

    @property
    def described(self) -> str:
        """What a value of it is, in words."""
        if get_origin(self.form) is Annotated:
            return str(get_args(self.form)[1])
        return {"str": "a text", "int": "a whole number", "bool": "true or false"}[self.form.__name__]

    def accepts(self, value: object) -> bool:
        """Whether a value has the type of this parameter."""
        form = get_args(self.form)[0] if get_origin(self.form) is Annotated else self.form
        if form is Any:
            return True
        if form is float:
            return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        if get_origin(form) is Sequence:
            item = get_args(form)[0]
            if not isinstance(value, list | tuple) or not value:
                return False
            if item is int:
                return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)
            return item is Any or all(isinstance(one, item) for one in value)
        several = get_args(form) if get_origin(form) in {UnionType, Union} else (form,)
        forms = tuple(get_origin(one) or one for one in several)
        return isinstance(value, forms) and (isinstance(value, bool) is (bool in forms))


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the vocabulary.

    Args:
        name: the word.
        build: makes the kind from the parameters.
        parameters: by their names.
        summary: what it makes, in one sentence.
    """

    name: str
    build: Callable[..., Kind]
    parameters: Mapping[str, Parameter]
    summary: str


#: All words, filled by the modules of `words/`; nothing changes it afterwards.
WORDS: dict[str, Word] = {}


def word(build: Callable[..., Kind]) -> Callable[..., Kind]:
    """Make a function that builds a kind a word of its name (a last `_` is left out)."""
    signature = inspect.signature(build, eval_str=True)
    parameters = {
        name: Parameter(name, given.annotation, given.default is given.empty, given.default)
        for name, given in signature.parameters.items()
        if name != "folder"
    }
    name = build.__name__.rstrip("_")
    WORDS[name] = Word(name, build, parameters, (build.__doc__ or "").strip().partition("\n")[0])
    return build


def kind(name: str, /, *, folder: Path | None = None, nulls: float = 0, **parameters: object) -> Kind:
    """The kind of a word with its parameters.

    Args:
        name: the word.
        folder: the folder of the project, for words that read a file of it.
        nulls: the share of values that are NULL, between 0 and 1. Every word takes it.
        parameters: the word's own.

    Raises:
        SeedError: there is no such word or parameter, a parameter is missing, or its value is wrong.
    """
    if name not in WORDS:
        raise SeedError(f'there is no word "{name}" for a value', remedy=meant(name, list(WORDS)), key=name)
    found = WORDS[name]
    for parameter, value in parameters.items():
        if parameter not in found.parameters:
            known = [*found.parameters, "nulls"]
            raise SeedError(
                f'the word "{name}" has no parameter "{parameter}"', remedy=meant(parameter, known), key=parameter
            )
        if not found.parameters[parameter].accepts(value):
            raise wrong(name, parameter, f"must be {found.parameters[parameter].described}, not {value!r}")
    for needed in found.parameters.values():
        if needed.required and needed.name not in parameters:
            raise SeedError(
                f'the word "{name}" needs the parameter "{needed.name}"',
                remedy=f"Give {needed.described}.",
                key=needed.name,
            )
    if isinstance(nulls, bool) or not isinstance(nulls, int | float) or not 0 <= nulls <= 1:
        raise wrong(name, "nulls", f"must be a share between 0 and 1, not {nulls!r}")
    arguments = dict(parameters)
    if "folder" in inspect.signature(found.build).parameters:
        arguments["folder"] = folder
    built = replace(found.build(**arguments), name=name, parameters=dict(parameters))
    return _with_nulls(built, nulls) if nulls else built


def line(given: str | Mapping[str, Any], folder: Path | None = None) -> Kind:
    """The kind of a word alone, or of a table with the word under `kind` and its parameters beside it.

    Raises:
        SeedError: as `kind` does.
    """
    if isinstance(given, str):
        return kind(given, folder=folder)
    parameters = {key: value for key, value in given.items() if key != "kind"}
    if not isinstance(given.get("kind"), str):
        raise SeedError("a value names no word", remedy='Write the word under `kind`, such as kind = "integer".')
    return kind(str(given["kind"]), folder=folder, **parameters)


def _with_nulls(built: Kind, share: float) -> Kind:
    # a share that a file writes as a decimal is a fraction of powers of two, so this whole number is exact everywhere
    threshold = np.uint64(min(int(Fraction(share) * 2**64), 2**64 - 1))

    def make(bits: "Bits", context: Context) -> Cells:
        return built.make(bits, context).where(draw(bits, _NULL_DRAW) >= threshold)

    return replace(built, make=make, nullable=True, parameters={**built.parameters, "nulls": share})


#: Draws below this number belong to the words.
_NULL_DRAW = 1_000_001


def wrong(name: str, parameter: str, what: str) -> SeedError:
    """The error of a parameter whose value cannot be."""
    return SeedError(f'the parameter "{parameter}" of the word "{name}" {what}', key=parameter)


def meant(name: str, known: Sequence[str]) -> str:
    """Which names were probably meant."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(sorted(known))}."
