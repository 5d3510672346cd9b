"""Masks: a value kind applied to an original value. The same original always becomes the same masked value.

A mask is a function of (key, word, original). The key is derived from the secret of the refresh, so nobody without it
can compute the mask of a value that he guesses. NULL stays NULL, and an empty text stays empty.

Masks of identifying values lead into ranges that production cannot hold (`Reserved`), so that whatever of production
is found in the copy is a leak.
"""

import difflib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from seedtool.errors import PolicyError, SeedError, SeedtoolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.postgres.catalog import Check, Column, UniqueKey, ValueType
    from seedtool.refreshing.blocks import Column as Originals
    from seedtool.refreshing.mask_words import Given
    from seedtool.refreshing.policy import ColumnLine
    from seedtool.values.cells import Cells
    from seedtool.values.word import Kind

    Bits = NDArray[np.uint64]

Uniqueness = Literal["bijective", "probable", "lossy"]

#: Originals longer than this are hashed by BLAKE2b before SipHash.
_LONG = 512


@dataclass(frozen=True, slots=True)
class Reserved:
    """A range that all values of a mask lie in, and that production cannot hold.

    Args:
        what: the range in words.
        condition: SQL that is true of an original in the range; `{}` stands for the column as text.
    """

    what: str
    condition: str


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What a column's values become.

    Args:
        word: the mask's word.
        change: the masked cells of originals, and of the subject's column where the mask has one. NULL and empty
            originals are handled by `apply`.
        uniqueness: whether different originals stay different: `bijective` always; `probable` but for chance (at most
            one in 2**30 for a million values), so the unique index shows it; `lossy` not.
        longest: characters of the longest value; None where it is as long as the original, or is a number.
        families: the families of types whose columns it can be written to.
        subject: the column that says whose value it is.
        reserved: the range of all its values.
        within: the ranges of values within a JSON document, each with the path to them as SQL/JSON has it.
        identifying: its originals lead to one person.
        makes_null: some masked values are NULL.
        keeps_empty: an empty original stays empty.
        computed: the SQL expression over the row's columns that gives the value once all rows are copied; None for all
            masks but tsvector.
    """

    word: str
    change: "Callable[[Originals, Originals | None], Cells]"
    uniqueness: Uniqueness
    families: frozenset[str]
    longest: int | None = None
    subject: str | None = None
    reserved: Reserved | None = None
    within: tuple[tuple[str, Reserved], ...] = ()
    identifying: bool = False
    makes_null: bool = False
    keeps_empty: bool = True
    computed: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)

    def apply(self, cells: "Originals", subject: "Originals | None" = None) -> "Cells":
        """The masked cells.

        Args:
            cells: the originals: a buffer, and where each begins and ends in it.
            subject: the same rows of the column `subject`.
        """
        import numpy as np

        from seedtool.values.cells import Cells

        masked = self.change(cells, subject)
        lengths = np.where(cells.nulls, np.int32(-1), masked.lengths)
        if self.keeps_empty:
            lengths = np.where(~cells.nulls & (cells.ends == cells.starts), np.int32(0), lengths)
        return Cells(masked.matrix, lengths.astype(np.int32, copy=False), plain=masked.plain)

    def of(self, values: Sequence[str | None], subjects: Sequence[str | None] | None = None) -> list[str | None]:
        """The masked values of a list, for previews and tests."""
        cells = self.apply(originals(values), originals(subjects) if subjects is not None else None)
        return [None if value is None else value.decode() for value in cells.tolist()]


def mask(
    line: "ColumnLine | str | Mapping[str, Any]", column: "Column", secret: bytes, *, folder: Path | None = None
) -> Mask:
    """The mask that a line of the policy names, for one column.

    Args:
        line: a line of the policy, the mask's word, or a table with the word under `mask`.
        column: the column that it masks.
        secret: the secret of the refresh.
        folder: the folder of the project, for pools of its own.

    Raises:
        PolicyError: there is no such mask or parameter, a value is wrong, or the mask does not fit the column (`fits`).
            It has no place but the column: the policy knows the rest.
    """
    made = unchecked(line, column, secret, folder=folder)
    reasons = fits(made, column)
    if reasons:
        raise PolicyError(
            f"{made.word} does not fit {column.name}: {'; '.join(reasons)}",
            remedy="Write another mask, or other parameters.",
            column=column.name,
        )
    return made


def unchecked(
    line: "ColumnLine | str | Mapping[str, Any]", column: "Column", secret: bytes, *, folder: Path | None = None
) -> Mask:
    """The mask of a line, also where it does not fit the column: for those who want to know all reasons.

    Raises:
        PolicyError: there is no such mask or parameter, or a value is wrong.
    """
    from seedtool.refreshing.mask_words import Given

    word, parameters = _read(line)
    try:
        if column.value.kind == "array" and word not in _WHOLE:
            from seedtool.refreshing.nested_masks import of_elements

            element = replaced_type(column, column.value.part)
            return of_elements(unchecked({"mask": word, **parameters}, element, secret, folder=folder))
        made = _build(word, parameters, Given(column, secret, folder))
    except (SeedError, PolicyError) as error:
        remedy = error.remedy or "Correct the line, or write another mask."
        raise PolicyError(error.message, remedy=remedy, column=column.name) from error
    return replace(made, word=word, parameters=parameters)


def words() -> dict[str, str]:
    """All masks with what each does, in one sentence."""
    from seedtool.refreshing.mask_words import MASKS
    from seedtool.values.kinds import WORDS

    own = {name: (build.__doc__ or "").strip().partition("\n")[0] for name, build in MASKS.items()}
    kinds = {name: word.summary for name, word in WORDS.items() if name not in _NOTMASKS}
    return dict(sorted((kinds | own).items()))


def originals(values: Iterable[str | bytes | None]) -> "Originals":
    """A list of values as the masks take them."""
    import numpy as np

    from seedtool.refreshing.blocks import Column as Originals

    texts = [value.encode() if isinstance(value, str) else value for value in values]
    ends = np.cumsum([len(text or b"") for text in texts], dtype=np.int64)
    starts = ends - np.array([len(text or b"") for text in texts], dtype=np.int64)
    buffer = np.frombuffer(b"".join(text or b"" for text in texts), dtype=np.uint8)
    return Originals(buffer, starts, ends, np.array([text is None for text in texts], dtype=bool))


# Does it fit? #########################################################################################################


def fits(made: Mask, column: "Column", checks: "Sequence[Check]" = ()) -> list[str]:
    """Why a mask cannot be written to a column; nothing when the catalog alone shows no reason.

    Args:
        made: the mask.
        column: the column.
        checks: the table's check constraints. Those that compare the column with a constant NULL or length are left to
            `trial`, which asks the server.
    """
    reasons = []
    family = family_of(column.value)
    if column.generated:
        reasons.append("the column is generated, so it is never written: leave its line out")
    if family == "tsvector" and made.word not in {"tsvector", "null"}:
        reasons.append(
            "a tsvector holds the words of other columns: write tsvector, with the columns it is computed from"
        )
    elif "any" not in made.families and family not in made.families:
        reasons.append(f"{made.word} does not make values of the type {column.type}")
    if made.makes_null and column.not_null:
        reasons.append("the column is NOT NULL, and the mask makes NULL")
    most = most_characters(column.type)
    if most is not None and made.longest is not None and made.longest > most:
        reasons.append(f"its values have up to {made.longest} characters, and {column.type} holds {most}")
    if column.labels and not reasons:
        wrong = {value for value in samples(made, column) if value is not None} - set(column.labels)
        if wrong:
            reasons.append(f"{made.word} makes values that the enum {column.type} does not have")
    if made.word == "null":
        required = [check for check in checks if _demands(check.expression, column.name)]
        reasons += [f"the check {check.name} demands a value" for check in required]
    return reasons


def fits_key(masks: Mapping[str, Mask | None], key: "UniqueKey") -> list[str]:
    """Why masks would break a unique key; nothing when they do not.

    Args:
        masks: the mask of each column of the table; None is a column that is kept.
        key: the unique constraint or index.
    """
    reasons = []
    for name in key.columns:
        made = masks.get(name)
        if made is None or made.uniqueness != "lossy" or (made.makes_null and key.nulls_distinct):
            continue
        # dates of one subject keep their distances, so a key that holds the subject stays unique
        whole = made.word == "shift" and made.subject in key.columns
        subject = masks.get(made.subject or "")
        if whole and (subject is None or subject.uniqueness != "lossy"):
            continue
        reasons.append(f"{key.name} is unique, and {made.word} gives different values of {name} the same mask")
    if len(key.expressions) > len(key.columns):
        for expression in key.expressions:
            for name, made in masks.items():
                if made is None or not _mentions(expression, name):
                    continue
                whole_text = made.word in _SURVIVES_FOLDING and re.search(r"\b(lower|upper)\b", expression)
                if made.uniqueness == "lossy" or not (whole_text or expression.strip('()" ') == name):
                    reasons.append(f"{key.name} is unique over {expression}, and {made.word} of {name} may break it")
    return reasons


def refused(error: SeedtoolError, table: object, column: str) -> PolicyError:
    """Return the error of a mask that refuses a value, with its table and column."""
    return PolicyError(
        f"{table}, column {column}: {error.message}", remedy=error.remedy, table=str(table), column=column
    )


def trial(made: Mask, column: "Column", checks: "Sequence[Check]" = ()) -> tuple[str, list[list[str | None]]]:
    """A query that reads nothing of the source's tables and tells whether sample masks are values of the column.

    It fails where a type, a domain or an enum refuses a sample, and gives the names of the checks that refuse one. A
    check that reads other columns too is left out.

    Returns:
        The SQL, with one parameter: the samples.
    """
    name = '"' + column.name.replace('"', '""') + '"'
    own = [check for check in checks if tuple(check.columns) == (column.name,)]
    # names and expressions are the catalog's own SQL
    tests = [
        f"SELECT {_literal(check.name)} FROM given WHERE NOT coalesce(({check.expression.replace('%', '%%')}), true)"  # noqa: S608
        for check in own
    ]
    given = f"WITH given AS MATERIALIZED (SELECT value::{column.type} AS {name} FROM unnest(%s::text[]) AS value)"  # noqa: S608
    counted = f"SELECT NULL FROM given HAVING count({name}) < 0"  # noqa: S608
    return f"{given} {' UNION '.join([counted, *tests])}", [list(samples(made, column))]


def samples(made: Mask, column: "Column") -> list[str | None]:
    """Masked values of invented originals of the column's type."""
    family = "json" if made.word == "json" else family_of(column.value)
    given = [_INVENTED.get(family, _INVENTED["text"])[number % 3].format(number % 28 + 1) for number in range(50)]
    if made.word == "bijective":
        given = [str(number) for number in range(1, 51)]
    if made.word == "rut" and family == "text":
        given = [f"{number % 28 + 1}.345.678-5" for number in range(50)]
    if column.labels:
        given = [column.labels[number % len(column.labels)] for number in range(50)]
    if column.value.kind == "array":
        given = ["{" + ",".join(given[:2]) + "}"] if not column.labels else []
    return made.of(given, given if made.subject else None)


_INVENTED = {
    "text": ("Ana María Peña {}", "11{:06}", "x{}"),
    "integer": ("{}", "3{}", "{}1"),
    "numeric": ("{}", "3.{}", "{}.5"),
    "date": ("2012-05-{:02}", "1999-12-31", "2026-02-{:02}"),
    "timestamp": ("2012-05-11 10:00:{:02}", "1999-12-31 23:59:{:02}", "2026-02-01 00:00:{:02}"),
    "json": ('{{"a": {}}}', "[{}]", '"x{}"'),
    "inet": ("10.0.0.{}", "192.168.1.{}", "2001:470::{}"),
    "boolean": ("t", "f", "t"),
    "uuid": ("00000000-0000-4000-8000-0000000000{:02}",) * 3,
    "bytea": (r"\x{:02}", r"\xff{:02}", r"\x00{:02}"),
}


def most_characters(type_: str) -> int | None:
    """How many characters a type with a length holds, as `format_type` writes it."""
    found = re.fullmatch(r"(?:character varying|character|varchar|char|bpchar)\((\d+)\)(?:\[\])*", type_)
    return int(found[1]) if found else 1 if type_ == "character" else None


_FAMILIES = {
    "integer": ("int2", "int4", "int8"),
    "numeric": ("numeric", "float4", "float8", "money"),
    "boolean": ("bool",),
    "date": ("date",),
    "timestamp": ("timestamp", "timestamptz"),
    "time": ("time", "timetz"),
    "interval": ("interval",),
    "uuid": ("uuid",),
    "json": ("json", "jsonb"),
    "inet": ("inet", "cidr"),
    "macaddr": ("macaddr", "macaddr8"),
    "bytea": ("bytea",),
    "tsvector": ("tsvector",),
    "text": ("text", "varchar", "bpchar", "citext", "name", "char", "xml"),
}


def family_of(value: "ValueType") -> str:
    """The family of a type: an array is that of its elements, an enum `text`; a type that we do not know is itself."""
    if value.kind == "array" and value.part is not None:
        return family_of(value.part)
    if value.kind != "scalar":
        return value.kind
    return next((family for family, names in _FAMILIES.items() if value.name in names), value.name)


def replaced_type(column: "Column", part: "ValueType | None") -> "Column":
    """The column as if it held one element of its array."""
    import msgspec

    return msgspec.structs.replace(column, value=part or column.value, type=column.type.removesuffix("[]"))


def _demands(expression: str, name: str) -> bool:
    return bool(re.search(rf'\b"?{re.escape(name)}"? IS NOT NULL', expression))


def _mentions(expression: str, name: str) -> bool:
    return bool(re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", expression))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


# The masks ############################################################################################################


#: Masks that an array takes as a whole.
_WHOLE = frozenset({"null", "constant", "tsvector"})
#: Masks whose values differ by more than case.
_SURVIVES_FOLDING = frozenset({"email", "token", "digits", "bijective", "phone", "rut"})
#: Words of recipes that depend on the number of a row or on other columns, which an original does not have.
_NOTMASKS = frozenset({"sequence", "series", "copy", "map"})


def _read(line: "ColumnLine | str | Mapping[str, Any]") -> tuple[str, dict[str, Any]]:
    if isinstance(line, str):
        return line, {}
    if isinstance(line, Mapping):
        if not isinstance(line.get("mask"), str):
            raise PolicyError("a mask has no word", remedy='Write it under `mask`, such as mask = "email".')
        return str(line["mask"]), {key: value for key, value in line.items() if key != "mask"}
    return line.mask, dict(line.parameters)


def _build(word: str, parameters: dict[str, Any], given: "Given") -> Mask:
    from seedtool.refreshing import nested_masks
    from seedtool.refreshing.mask_words import MASKS

    build = MASKS.get(word) or nested_masks.MASKS.get(word)
    if build is None:
        from seedtool.values.kinds import WORDS

        if word not in WORDS or word in _NOTMASKS:
            close = difflib.get_close_matches(word, words(), n=3)
            remedy = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(words())}."
            raise PolicyError(f'there is no mask "{word}"', remedy=remedy)
        return _of_kind(word, parameters, given)
    known = {
        name.rstrip("_"): one
        for name, one in inspect.signature(build).parameters.items()
        if name not in {"given", "_given"}
    }
    for name, value in parameters.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=2) or list(known)
            remedy = f"It takes {', '.join(close)}." if close else "It takes no parameter."
            raise PolicyError(f'the mask "{word}" has no parameter "{name}"', remedy=remedy, key=name)
        if not _is(value, known[name].annotation):
            wanted = _WANTED.get(known[name].annotation, "a table")
            raise PolicyError(f'the parameter "{name}" of the mask "{word}" must be {wanted}, not {value!r}', key=name)
    for name, one in known.items():
        if one.default is one.empty and name not in parameters:
            raise PolicyError(f'the mask "{word}" needs the parameter "{name}"', key=name)
    return build(given, **{f"{name}_" if name == "from" else name: value for name, value in parameters.items()})


_WANTED = {
    Sequence[str]: "a list of names",
    int: "a whole number",
    int | None: "a whole number",
    str: "a text",
    bool: "true or false",
} | {bool | None: "true or false"}


def _is(value: object, annotation: Any) -> bool:  # noqa: ANN401 - the annotation of a parameter
    """Whether a value of the policy has the type of a mask's parameter."""
    if annotation is object:
        return isinstance(value, str | Mapping)
    kinds = tuple(
        get_origin(one) or one for one in (get_args(annotation) if annotation in _OPTIONAL else (annotation,))
    )
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


_OPTIONAL = (int | None, bool | None)


def _of_kind(word: str, parameters: dict[str, Any], given: "Given") -> Mask:
    """A kind of the vocabulary, made from the hash of the original instead of from a row's number."""
    import numpy as np

    from seedtool.values.kinds import Context, kind

    made: Kind = kind(word, folder=given.folder, **parameters)
    if made.needs:
        raise PolicyError(
            f'the mask "{word}" cannot be made from other columns ({", ".join(made.needs)})',
            remedy="Leave the parameter out: the original takes their place.",
        )
    if made.distinct:
        raise PolicyError(f'the mask "{word}" would need the number of a row', remedy="Use token or digits.")
    key = given.key(word)

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        bits = hashed(key, cells)
        return made.make(bits, Context(np.zeros(len(bits), dtype=np.int64)))

    # a random value that fills a uuid or a long token repeats about as rarely as the hash itself does
    rare = word == "uuid" or (word == "token" and made.longest >= RARE_LENGTH)
    return Mask(
        word,
        change,
        "probable" if rare else "lossy",
        made.types,
        longest=made.longest,
        identifying=made.identifying,
        makes_null=made.nullable,
        keeps_empty=word not in {"constant", "choice"} and "text" in made.types,
    )


#: Characters of a token of 32 letters that make 60 bits.
RARE_LENGTH = 12


# Bits #################################################################################################################


def hashed(key: bytes, cells: "Originals") -> "Bits":
    """The bits of each original: SipHash-2-4 under the key; an original of more than 512 bytes by BLAKE2b before."""
    import numpy as np

    from seedtool.values.hashing import siphash

    ends = np.maximum(cells.ends, cells.starts)
    long = np.flatnonzero(ends - cells.starts > _LONG)
    if not len(long):
        return siphash(key, cells.buffer, cells.starts, ends)
    digests = b"".join(
        hashlib.blake2b(cells.buffer[start:end].tobytes(), key=key, digest_size=32).digest()
        for start, end in zip(cells.starts[long].tolist(), ends[long].tolist(), strict=True)
    )
    starts, ends = cells.starts.copy(), ends.copy()
    starts[long] = len(cells.buffer) + np.arange(len(long), dtype=np.int64) * 32
    ends[long] = starts[long] + 32
    return siphash(key, np.concatenate([cells.buffer, np.frombuffer(digests, dtype=np.uint8)]), starts, ends)


def listed(cells: "Originals") -> list[bytes | None]:
    """The originals as a list; None is NULL."""
    whole = cells.buffer.tobytes()
    places = zip(cells.starts.tolist(), cells.ends.tolist(), cells.nulls.tolist(), strict=True)
    return [None if null else whole[start:end] for start, end, null in places]


def cells_of(cells: "Originals") -> "Cells":
    """The originals as cells; NULL stays NULL. Only the first 512 bytes of a long one are taken."""
    import numpy as np

    from seedtool.values.cells import Cells

    ends = np.minimum(cells.ends, cells.starts + _LONG)
    return Cells.from_buffer(cells.buffer, cells.starts, np.where(cells.nulls, cells.starts - 1, ends))


def text_column(column: "Column") -> "Column":
    """The column as if it were of the type text: for masks within a value."""
    import msgspec

    from seedtool.postgres.catalog import ValueType

    return msgspec.structs.replace(column, type="text", value=ValueType(kind="scalar", name="text"), labels=())
