"""The words of masks that recipes do not have, or that a mask makes in another way: into ranges that nobody has."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from seedtool.errors import PolicyError
from seedtool.refreshing.masks import (
    RARE_LENGTH,
    Mask,
    Reserved,
    Uniqueness,
    cells_of,
    family_of,
    hashed,
    listed,
    mask,
    most_characters,
    originals,
    text_column,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.postgres.catalog import Column
    from seedtool.refreshing.blocks import Column as Originals
    from seedtool.values.cells import Cells

#: The top-level domain of e-mail addresses and URLs: `.invalid` never exists (RFC 6761, section 6.4).
DOMAIN = "masked.invalid"

#: RUTs of nine digits from here have not been given to anybody. The civil registry gives RUNs in increasing order and
#: is below 30 million; companies have 50 to 99 million; the provisional numbers of pupils from abroad (IPE) begin at
#: 100 million. No law reserves the range, so the source is asked whether it holds one.
RUT_FROM, RUT_TO = 200_000_000, 999_999_999
#: The same for columns that hold eight digits: between the persons' and the companies' RUTs.
SHORT_RUT_FROM, SHORT_RUT_TO = 37_000_000, 44_999_999

#: +999 is not assigned to any country or service (ITU-T, list of E.164 country codes), and E.164 allows 15 digits.
PHONE_PREFIX, PHONE_DIGITS = "999", 12

#: IPv4 addresses that no host may have (RFC 1112, section 4), and IPv6 addresses for documentation (RFC 3849).
IPV4_FROM, IPV6_PREFIX = 240 << 24, "2001:db8:"

RESERVED_EMAIL = Reserved(f"the domain {DOMAIN} (RFC 6761)", f"lower({{}}) ~ '@{re.escape(DOMAIN)}$'")
RESERVED_URL = Reserved(f"the host {DOMAIN} (RFC 6761)", f"lower({{}}) ~ '//{re.escape(DOMAIN)}(/|$)'")
RESERVED_PHONE = Reserved(
    "numbers of the country code +999, which ITU-T has not assigned",
    r"regexp_replace({}, '\D', '', 'g') ~ '^999\d{{12}}$'",
)
_RUT_NUMBER = r"nullif(left(regexp_replace(split_part({0}, '-', 1), '\D', '', 'g'), 18), '')::int8"
RESERVED_RUT = Reserved("RUTs of nine digits from 200.000.000", f"{_RUT_NUMBER} BETWEEN {RUT_FROM} AND {RUT_TO}")
RESERVED_SHORT_RUT = Reserved(
    "RUTs from 37.000.000 to 44.999.999", f"{_RUT_NUMBER} BETWEEN {SHORT_RUT_FROM} AND {SHORT_RUT_TO}"
)
RESERVED_IP = Reserved(
    "240.0.0.0/4 (RFC 1112) and 2001:db8::/32 (RFC 3849)", "{0} ~ '^(24\\d|25\\d)\\.' OR lower({0}) ~ '^2001:0?db8:'"
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a mask is made from besides its parameters.

    Args:
        column: the column that is masked.
        secret: the secret of the refresh.
        folder: the folder of the project.
    """

    column: "Column"
    secret: bytes
    folder: Path | None

    def key(self, word: str) -> bytes:
        """The key of a mask's word: the same in every table."""
        from seedtool.values.hashing import key_of

        return key_of(self.secret, "mask", word)

    @property
    def most(self) -> int | None:
        """How many characters the column holds; None without a limit."""
        return most_characters(self.column.type)

    @property
    def family(self) -> str:
        """The family of the column's type."""
        return family_of(self.column.value)


#: The functions that build masks, by their words. Filled by this module and by `nested`.
MASKS: dict[str, Callable[..., Mask]] = {}

_TEXT = frozenset({"text"})


def word(build: Callable[..., Mask]) -> Callable[..., Mask]:
    """Make a function that builds a mask a word of its name."""
    MASKS[build.__name__.strip("_")] = build
    return build


@word
def null(_given: Given) -> Mask:
    """NULL."""
    return Mask("null", _filled(None), "lossy", frozenset({"any"}), longest=0, makes_null=True, keeps_empty=False)


@word
def tsvector(given: Given, from_: Sequence[str], language: str = "simple") -> Mask:
    """A tsvector computed anew, once the rows are copied, from the masked columns of its row.

    Args:
        given: the column and the secret.
        from_: these columns.
        language: the text search configuration, such as spanish.
    """
    quoted = ['"' + name.replace('"', '""') + '"' for name in from_]
    if not re.fullmatch(r"\w+(\.\w+)?", language) or not quoted:
        raise PolicyError('the parameter "language" of the mask "tsvector" must be a name', key="language")
    texts = " || ' ' || ".join(f"coalesce({name}::text, '')" for name in quoted)
    return Mask(
        "tsvector",
        _filled(b"" if given.column.not_null else None),
        "lossy",
        frozenset({"tsvector"}),
        longest=0,
        keeps_empty=False,
        computed=f"to_tsvector('{language}', {texts})",
    )


@word
def email(given: Given, locale: str = "en_US", short: bool | None = None) -> Mask:
    """An address of the domain masked.invalid. The case of the original does not matter.

    Args:
        given: the column and the secret.
        locale: the pool of the names in it.
        short: without names; by itself where the column is too short for them.
    """
    from seedtool.values.cells import concat
    from seedtool.values.kinds import kind
    from seedtool.values.word import Context
    from seedtool.values.words.people import slugged_names

    key, host = given.key("email"), f"@{DOMAIN}".encode()
    token = kind("token", length=RARE_LENGTH)
    local_part = slugged_names(locale, b".")
    full = RARE_LENGTH + len(host) + local_part.longest + 1
    brief = short if short is not None else given.most is not None and given.most < full

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        bits = hashed(key, _lowered(cells))
        context = Context(bits.astype("int64"))
        parts: list[Cells | bytes] = [token.make(bits, context), host]
        if not brief:
            parts = [local_part.make(bits, context), b".", *parts]
        return concat(parts)

    longest = RARE_LENGTH + len(host) if brief else full
    return Mask("email", change, "probable", _TEXT, longest=longest, reserved=RESERVED_EMAIL, identifying=True)


@word
def phone(given: Given) -> Mask:
    """A number of the country code +999, which nobody has. Only the original's digits matter."""
    import numpy as np

    from seedtool.values.cells import Cells, concat, digits, whole
    from seedtool.values.permutation import permute

    key, whole_number = given.key("phone"), given.family in {"integer", "numeric"}
    prefix = (PHONE_PREFIX if whole_number else f"+{PHONE_PREFIX}").encode()
    # numbers of up to 11 digits are counted by length and value, so that 12 and 012 stay different
    offsets = np.array([sum(10**shorter for shorter in range(1, size)) for size in range(PHONE_DIGITS)], np.uint64)

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        text = cells_of(cells)
        figures = text.compacted((text.matrix >= 0x30) & (text.matrix <= 0x39))
        value, good = whole(figures)
        size = figures.lengths
        good &= size < PHONE_DIGITS
        rank = np.where(good, value, 0).astype(np.uint64) + offsets[np.where(good, size, 1)]
        number = permute(key, rank, 10**PHONE_DIGITS)
        if not good.all():
            odd = ~good
            number[odd] = hashed(key, _rows(cells, odd)) % np.uint64(10**PHONE_DIGITS)
        written: Cells = digits(number, width=PHONE_DIGITS)
        return concat([prefix, written])

    return Mask(
        "phone",
        change,
        "probable",
        _TEXT if not whole_number else frozenset({"integer", "numeric"}),
        longest=len(prefix) + PHONE_DIGITS,
        reserved=RESERVED_PHONE,
        identifying=True,
    )


@word
def rut(given: Given, digits: int = 9, form: str = "") -> Mask:
    """A RUT with its check digit that nobody has, written as the original is.

    Args:
        given: the column and the secret.
        digits: 9, from 200.000.000, so that different RUTs stay different; or 8, from 37.000.000 to 44.999.999, for
            columns that hold no more, where about one of 8 million pairs becomes the same.
        form: how it is written instead: dots, dash, plain or number, as the word rut of recipes has it.
    """
    import numpy as np

    from seedtool.values.cells import Cells, whole
    from seedtool.values.permutation import permute
    from seedtool.values.words.people import check_digits, written_rut

    if digits not in {8, 9}:
        raise PolicyError('the parameter "digits" of the mask "rut" must be 8 or 9', key="digits")
    if form not in {"", "dots", "dash", "plain", "number"}:
        raise PolicyError('the parameter "form" of the mask "rut" must be dots, dash, plain or number', key="form")
    key, number_only = given.key("rut"), given.family in {"integer", "numeric"}
    low, size = (
        (RUT_FROM, RUT_TO - RUT_FROM + 1) if digits == 9 else (SHORT_RUT_FROM, SHORT_RUT_TO - SHORT_RUT_FROM + 1)
    )

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        text = cells_of(cells)
        inside = np.arange(text.width, dtype=np.int32) < text.lengths[:, None]
        dash = ((text.matrix == 0x2D) & inside).any(axis=1)
        dots = ((text.matrix == 0x2E) & inside).any(axis=1)
        upper = text.matrix & 0xDF
        is_digit = (text.matrix >= 0x30) & (text.matrix <= 0x39)
        figures = text.compacted(is_digit | (upper == 0x4B))
        last = figures.matrix[np.arange(len(figures)), np.maximum(figures.lengths - 1, 0)]
        body, good = whole(Cells(figures.matrix, np.maximum(figures.lengths - 1, 0)))
        checked = np.where(last & 0xDF == 0x4B, 10, last.astype(np.int64) - 0x30)
        plain = ~dash & ((checked == check_digits(body.astype(np.uint64))) | (last & 0xDF == 0x4B)) & good
        if number_only:
            plain[:] = False
        alone, fine = whole(figures)
        number = np.where(dash | plain, body, alone)
        good = np.where(dash | plain, good, fine) & (number > 0)
        rank = number.astype(np.uint64)
        within = good & (number < (size if digits == 9 else 0))
        moved = permute(key, np.where(within, rank, np.uint64(0)), size)
        if not within.all():
            odd = ~within
            source = np.where(good, number, 0)
            bits = hashed(key, originals([str(one) for one in source[odd].tolist()]))
            unread = ~good[odd]
            if unread.any():
                bits[unread] = hashed(key, _rows(cells, odd))[unread]
            moved[odd] = bits % np.uint64(size)
        moved += np.uint64(low)
        if form:
            return written_rut(moved, form)
        out = written_rut(moved, "number")
        for name, rows in {"dots": dots & (dash | plain), "dash": ~dots & dash, "plain": ~dots & plain}.items():
            if rows.any():
                out = written_rut(moved, name).choose(rows, out)
        return out

    reserved = RESERVED_RUT if digits == 9 else RESERVED_SHORT_RUT
    longest = digits if number_only else digits + 4
    families = frozenset({"integer", "numeric"}) if number_only else _TEXT
    return Mask(
        "rut",
        change,
        "probable" if digits == 9 else "lossy",
        families,
        longest=longest,
        reserved=reserved,
        identifying=True,
    )


@word
def token(given: Given, length: int = RARE_LENGTH, prefix: str = "") -> Mask:
    """Letters and digits that follow from the original and the key.

    Args:
        given: the column and the secret.
        length: how many, 1 to 64; from 12 on different originals stay different.
        prefix: what stands before them.
    """
    from seedtool.values.cells import concat
    from seedtool.values.kinds import Context, kind

    made, key = kind("token", length=length), given.key("token")

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        bits = hashed(key, cells)
        return concat([prefix.encode(), made.make(bits, Context(bits.astype("int64")))])

    unique: Uniqueness = "probable" if length >= RARE_LENGTH else "lossy"
    return Mask("token", change, unique, _TEXT, longest=length + len(prefix))


@word
def template(given: Given, format: str) -> Mask:  # noqa: A002 - the word of recipes
    """A text around a token: `student-{token}`.

    Args:
        given: the column and the secret.
        format: the text; `{token}` has 12 characters, `{token:20}` as many as it says.
    """
    found = re.fullmatch(r"([^{}]*)\{token(?::(\d{1,2}))?\}([^{}]*)", format)
    if not found:
        raise PolicyError(
            'the parameter "format" of the mask "template" must hold {token} once, and no other place', key="format"
        )
    made = token(given, int(found[2] or RARE_LENGTH), found[1])
    end = found[3].encode()
    return replace(
        made,
        change=lambda cells, subject: made.change(cells, subject).ended(end),
        longest=(made.longest or 0) + len(found[3]),
    )


#: The largest number that is read at once: of 18 digits.
_MOST_READ = 10**18 - 1
_ANOTHER = 'Write the mask "token" or "digits" for a text, and "noise" or "null" for a number.'


def _long_number(figures: bytes) -> int:
    """Return a whole number of a column that is not read at once.

    Raises:
        PolicyError: it is none, or one of more than 64 bits.
    """
    if re.fullmatch(rb"-?\d{1,19}", figures) is None or abs(number := int(figures)) >= 2**63:
        raise PolicyError("bijective masks whole numbers of up to 64 bits, and a value is not one", remedy=_ANOTHER)
    return number


@word
def bijective(given: Given, max: int = 0) -> Mask:  # noqa: A002 - the word of recipes
    """Another whole number, different for each original.

    Args:
        given: the column and the secret.
        max: the numbers from 1 to this one are exchanged among themselves, and those above it, too. A power of ten
            above the largest id leaves room for the sequence. By itself the largest number of the type.
    """
    import numpy as np

    from seedtool.values.cells import signed, whole
    from seedtool.values.permutation import permute

    top = {"int2": 2**15 - 1, "int4": 2**31 - 1}.get(given.column.value.name, _MOST_READ)
    size = max or top
    if not 1 <= size <= top:
        raise PolicyError(f'the parameter "max" of the mask "bijective" must be 1 to {top}', key="max")
    key, above, beyond = given.key("bijective"), given.key("bijective above"), given.key("bijective beyond")

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        text = cells_of(cells)
        value, good = whole(text)
        unread = np.flatnonzero(~(good | cells.nulls | (cells.ends == cells.starts)))
        for row in unread.tolist():  # of 19 digits, such as ids that begin with a time
            value[row] = _long_number(text.matrix[row, : text.lengths[row]].tobytes())
        size_of = np.abs(value)
        if top < _MOST_READ and (size_of > top).any():
            raise PolicyError(f"bijective masks numbers from {-top} to {top}, and a value is beyond", remedy=_ANOTHER)
        moved = np.zeros(len(value), dtype=np.int64)
        for named, after, last in ((key, 0, size), (above, size, top), (beyond, _MOST_READ, 2**63 - 1)):
            rows = (size_of > after) & (size_of <= last)
            if rows.any():
                place = (size_of[rows] - (after + 1)).astype(np.uint64)
                moved[rows] = permute(named, place, last - after).astype(np.int64) + (after + 1)
        return signed(np.where(value < 0, -moved, moved))

    return Mask("bijective", change, "bijective", frozenset({"integer", "numeric", "text"}))


@word
def digits(given: Given) -> Mask:
    """The original with other digits, as many as it has: `student-001` becomes `student-482`. Letters stay.

    Args:
        given: the column and the secret.
    """
    import numpy as np

    from seedtool.values.cells import Cells, whole
    from seedtool.values.cells import digits as written
    from seedtool.values.permutation import permute

    key = given.key("digits")

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        text = cells_of(cells)
        inside = np.arange(text.width, dtype=np.int32) < text.lengths[:, None]
        figure = (text.matrix >= 0x30) & (text.matrix <= 0x39) & inside
        matrix = text.matrix.copy()
        counts = figure.sum(axis=1)
        for count in np.unique(counts).tolist():
            if count == 0:
                continue
            rows = np.flatnonzero(counts == count)
            places = np.nonzero(figure[rows])
            part = Cells(text.matrix[rows][places].reshape(len(rows), count), np.full(len(rows), count, np.int32))
            # more digits than a number of 64 bits has are exchanged in pieces of 18
            for at in range(0, count, 18):
                size = min(18, count - at)
                piece = Cells(np.ascontiguousarray(part.matrix[:, at : at + size]), np.full(len(rows), size, np.int32))
                value, _ = whole(piece)
                moved = permute(key, value.astype(np.uint64), 10**size)
                part.matrix[:, at : at + size] = written(moved, width=size).matrix
            matrix[rows[places[0]], places[1]] = part.matrix.reshape(-1)
        return Cells(matrix, text.lengths)

    return Mask("digits", change, "bijective", frozenset({"text"}))


@word
def text(given: Given, locale: str = "en_US", longest: int = 1000) -> Mask:
    """Sentences of about the original's length.

    Args:
        given: the column and the secret.
        locale: the words.
        longest: the most bytes, 1 to 10000.
    """
    import numpy as np

    from seedtool.values.pools import pool
    from seedtool.values.words.places import prose

    if not 1 <= longest <= 10_000:
        raise PolicyError('the parameter "longest" of the mask "text" must be 1 to 10000', key="longest")
    words_of, key = pool("word", locale), given.key("text")
    most = min(longest, given.most or longest)

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        wanted = np.clip(cells.ends - cells.starts, 1, most).astype(np.int32)
        return prose(hashed(key, cells), wanted, words_of)

    return Mask("text", change, "lossy", _TEXT, longest=most)


@word
def url(given: Given, extension: bool = True) -> Mask:
    """An address of the host masked.invalid.

    Args:
        given: the column and the secret.
        extension: the end of a picture's name stays, such as .jpg.
    """
    from seedtool.values.cells import Cells, concat
    from seedtool.values.kinds import Context, kind

    key, made = given.key("url"), kind("token", length=RARE_LENGTH)

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        bits = hashed(key, cells)
        ends: Cells | bytes = b""
        if extension:
            found = [_EXTENSION.search((value or b"").decode(errors="replace")) for value in listed(cells)]
            ends = Cells.of([one[0].lower() if one else "" for one in found])
        return concat([f"https://{DOMAIN}/".encode(), made.make(bits, Context(bits.astype("int64"))), ends])

    longest = len(f"https://{DOMAIN}/") + RARE_LENGTH + (5 if extension else 0)
    return Mask("url", change, "probable", _TEXT, longest=longest, reserved=RESERVED_URL, identifying=True)


_EXTENSION = re.compile(r"\.(?:jpe?g|png|webp|gif|heic|pdf)(?=$|[?#])", re.IGNORECASE)


@word
def ip(given: Given) -> Mask:
    """An address that no host has: of 240.0.0.0/4 or 2001:db8::/32.

    Args:
        given: the column and the secret.
    """
    import numpy as np

    from seedtool.values.cells import Cells, concat, hexadecimal
    from seedtool.values.cells import digits as written

    key = given.key("ip")

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        bits = hashed(key, cells)
        text = cells_of(cells)
        colon = ((text.matrix == 0x3A) & (np.arange(text.width) < text.lengths[:, None])).any(axis=1)
        address = (bits >> np.uint64(36)) + np.uint64(IPV4_FROM)
        parts: list[Cells | bytes] = []
        for shift in (24, 16, 8, 0):
            parts += [written((address >> np.uint64(shift)) & np.uint64(255)), b"."]
        four = concat(parts[:-1])
        if not colon.any():
            return four
        groups = hexadecimal(bits)
        pieces: list[Cells | bytes] = [IPV6_PREFIX.encode(), b":"]
        for at in range(0, 16, 4):
            pieces += [
                Cells(np.ascontiguousarray(groups.matrix[:, at : at + 4]), np.full(len(bits), 4, np.int32)),
                b":",
            ]
        return concat(pieces[:-1]).choose(colon, four)

    return Mask("ip", change, "lossy", frozenset({"inet", "text"}), longest=39, reserved=RESERVED_IP, identifying=True)


# Dates and numbers ####################################################################################################


@word
def shift(given: Given, subject: str, days: int = 60) -> Mask:
    """A date or a time moved by the subject's own number of days, so that the distances between its dates stay.

    Args:
        given: the column and the secret.
        subject: the column that says whose date it is.
        days: the most days, forward or back; never 0.
    """
    import numpy as np

    from seedtool.values.hashing import below

    if not isinstance(days, int) or not 1 <= days <= 36_500:
        raise PolicyError('the parameter "days" of the mask "shift" must be 1 to 36500', key="days")
    key = given.key("shift")

    def change(cells: "Originals", of: "Originals | None") -> "Cells":
        if of is None:
            raise PolicyError(f'the mask "shift" needs the column {subject}', remedy="Copy that column, too.")
        steps = below(hashed(key, of), 2 * days).astype(np.int64)
        return _shifted(cells, np.where(steps < days, steps - days, steps - days + 1))

    return Mask("shift", change, "lossy", frozenset({"date", "timestamp"}), subject=subject, identifying=True)


def _shifted(cells: "Originals", days: "NDArray[np.int64]") -> "Cells":
    """Dates and times as PostgreSQL writes them in ISO form, moved by days; infinity stays."""
    import numpy as np

    from seedtool.values.cells import Cells
    from seedtool.values.words.times import civil, days_from_civil, written_dates

    text = cells_of(cells).widened(10)
    matrix, lengths = text.matrix, text.lengths
    figures = matrix[:, :10].astype(np.int64) - 0x30
    at = [0, 1, 2, 3, 5, 6, 8, 9]
    standard = (lengths >= 10) & (matrix[:, 4] == 0x2D) & (matrix[:, 7] == 0x2D)
    standard &= ((figures[:, at] >= 0) & (figures[:, at] <= 9)).all(axis=1)
    inside = np.arange(text.width, dtype=np.int32) < lengths[:, None]
    standard &= ~((matrix == ord("B")) & inside).any(axis=1)
    year = figures[:, 0] * 1000 + figures[:, 1] * 100 + figures[:, 2] * 10 + figures[:, 3]
    month, day = figures[:, 5] * 10 + figures[:, 6], figures[:, 8] * 10 + figures[:, 9]
    moved = (
        days_from_civil(np.where(standard, year, 2000), np.where(standard, month, 1), np.where(standard, day, 1)) + days
    )
    standard &= (moved >= -719_162) & (moved <= 2_932_896)  # 0001-01-01 to 9999-12-31
    matrix = matrix.copy()
    matrix[standard, :10] = written_dates(moved[standard])
    shifted = Cells(matrix, lengths)
    odd = np.flatnonzero(~standard & (lengths > 0))
    if not len(odd):
        return shifted
    values = shifted.tolist()
    for row in odd.tolist():
        found = _ANY_DATE.fullmatch(values[row] or b"")
        if found is None:  # infinity and -infinity
            if (values[row] or b"").lstrip(b"-") != b"infinity":
                raise PolicyError("shift masks dates and times only", remedy="Use another mask for this column.")
            continue
        year_of = int(found[1])
        number = int(
            days_from_civil(
                *(np.array([n]) for n in (1 - year_of if found[5] else year_of, int(found[2]), int(found[3])))
            )[0]
        )
        y, m, d = (int(part[0]) for part in civil(np.array([number + int(days[row])])))
        era = b" BC" if y <= 0 else b""
        values[row] = b"%04d-%02d-%02d" % (1 - y if y <= 0 else y, m, d) + found[4] + era
    return Cells.of(values)


_ANY_DATE = re.compile(rb"(\d{4,7})-(\d\d)-(\d\d)(.*?)( BC)?")


@word
def noise(
    given: Given,
    percent: int = 10,
    amount: int = 0,
    min: int | None = None,  # noqa: A002 - the word of recipes
    max: int | None = None,  # noqa: A002
) -> Mask:
    """A number near the original, the same for the same original.

    Args:
        given: the column and the secret.
        percent: how far it may be from the original, in hundredths of it.
        amount: how far it may be instead, in units of the number.
        min: no mask is smaller.
        max: no mask is larger.
    """
    if not 1 <= percent <= 100 or amount < 0:
        raise PolicyError('the parameter "percent" of the mask "noise" must be 1 to 100', key="percent")
    name = given.column.value.name
    ends = {"int2": (-(2**15), 2**15 - 1), "int4": (-(2**31), 2**31 - 1), "int8": (-(2**63), 2**63 - 1)}
    low, high = ends.get(name, (None, None))
    precision = re.fullmatch(r"numeric\((\d+),(\d+)\)", given.column.type)
    if precision:
        widest = Decimal(10) ** (int(precision[1]) - int(precision[2]))
        last = Decimal(1).scaleb(-int(precision[2]))
        low, high = -widest + last, widest - last  # type: ignore[assignment]
    low = min if min is not None else low
    high = max if max is not None else high
    key = given.key("noise")

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        from seedtool.values.cells import Cells

        bits = hashed(key, cells).tolist()
        values = listed(cells)
        return Cells.of(
            _noised(value.decode(), bit, percent, amount, low, high) if value else value
            for value, bit in zip(values, bits, strict=True)
        )

    return Mask("noise", change, "lossy", frozenset({"integer", "numeric"}))


def _noised(
    value: str, bits: int, percent: int, amount: int, low: "int | Decimal | None", high: "int | Decimal | None"
) -> str:
    """One number with its noise, with as many decimals as it had. Decimal's arithmetic is exact here."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise PolicyError("noise masks numbers only", remedy="Use another mask for this column.") from None
    if not number.is_finite():
        return value
    exponent = number.as_tuple().exponent
    places = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    scaled = int(number.scaleb(places))
    reach = amount * 10**places if amount else abs(scaled) * percent // 100
    reach = reach or 1
    step = bits % (2 * reach) - reach
    moved = scaled + (step if step < 0 else step + 1)
    noised = Decimal(moved).scaleb(-places)
    if low is not None and noised < low:
        noised = Decimal(low)
    if high is not None and noised > high:
        noised = Decimal(high)
    return f"{noised:.{places}f}"


# Faces ################################################################################################################


@word
def external_image_id(given: Given, form: str = "{subject}-photo-{n}", subject: object = "token") -> Mask:
    """An ExternalImageId with its subject masked in it: `student-001-photo-1` becomes `student-482-photo-1`.

    Args:
        given: the column and the secret.
        form: how the ids are made: `{subject}` is the subject's id, `{n}` a number that stays. An id of another form
            becomes a token.
        subject: the mask of the subject's own column, or keep.
    """
    return _with_subject(given, form, subject, "external_image_id")


@word
def photo_key(given: Given, form: str = "students/{subject}/photo-{n}.jpg", subject: object = "token") -> Mask:
    """The key of a photo with its subject masked in it.

    Args:
        given: the column and the secret.
        form: how the keys are made: `{subject}` is the subject's id, `{n}` a number that stays. A key of another form
            becomes a token.
        subject: the mask of the subject's own column, or keep.
    """
    return _with_subject(given, form, subject, "photo_key")


@word
def face_placeholder(
    given: Given, subject: str, form: str = "{subject}-photo-{n}", subject_mask: object = "token"
) -> Mask:
    """The placeholder of the copy's own ExternalImageId, which a sync replaces by the face of staging's collection.

    Args:
        given: the column and the secret.
        subject: the column of the ExternalImageId.
        form: as external_image_id has it.
        subject_mask: the mask of the subject's column in it, as external_image_id has it.
    """
    from seedtool.values.cells import concat

    inner = _with_subject(given, form, subject_mask, "external_image_id")
    unknown = token(given)

    def change(cells: "Originals", of: "Originals | None") -> "Cells":
        if of is None:
            raise PolicyError(
                f'the mask "face_placeholder" needs the column {subject}', remedy="Copy that column, too."
            )
        masked = inner.apply(of)
        there = masked.lengths > 0
        return concat([b"placeholder:", masked.choose(there, unknown.change(cells, None))])

    return Mask("face_placeholder", change, "probable", _TEXT, subject=subject, identifying=True)


def _with_subject(given: Given, form: str, subject: object, word: str) -> Mask:
    from seedtool.values.cells import Cells

    if form.count("{subject}") != 1 or re.search(r"\{(?!subject\}|n\})", form):
        raise PolicyError(
            f'the parameter "form" of the mask "{word}" must hold {{subject}} once, and no other place than {{n}}',
            key="form",
        )
    pieces = {"{subject}": "(.+)", "{n}": r"\d{1,9}"}
    pattern = "".join(pieces.get(part) or re.escape(part) for part in re.split(r"(\{subject\}|\{n\})", form))
    reads = re.compile(pattern)
    unknown = token(given, prefix="unknown-")
    kept = subject == "keep"
    inner = None if kept else mask(subject, text_column(given.column), given.secret, folder=given.folder)  # type: ignore[arg-type]

    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        values = [None if value is None else value.decode() for value in listed(cells)]
        found = [reads.fullmatch(value) if value else None for value in values]
        if kept:
            replaced: list[str | None] = list(values)
        else:
            subjects = inner.of([one[1] if one else None for one in found]) if inner else []
            replaced = [
                one and value and f"{value[: one.start(1)]}{new}{value[one.end(1) :]}"
                for one, value, new in zip(found, values, subjects, strict=True)
            ]
        other = [row for row, one in enumerate(found) if one is None and values[row]]
        for row, new in zip(other, unknown.of([values[row] for row in other]), strict=True):
            replaced[row] = new
        return Cells.of(replaced)

    unique: Uniqueness = "bijective" if kept or inner is None else inner.uniqueness
    unique = "probable" if unique == "bijective" else unique  # ids of another form become tokens
    return Mask(word, change, unique, _TEXT, identifying=True)


def _rows(cells: "Originals", chosen: "NDArray[np.bool_]") -> "Originals":
    return cells._replace(starts=cells.starts[chosen], ends=cells.ends[chosen], nulls=cells.nulls[chosen])


def _lowered(cells: "Originals") -> "Originals":
    """The originals with a to z in place of A to Z."""
    import numpy as np

    table = np.arange(256, dtype=np.uint8)
    table[ord("A") : ord("Z") + 1] += 32
    text = cells_of(cells)
    starts = np.arange(len(text), dtype=np.int64) * text.width
    return cells._replace(
        buffer=table[text.matrix].reshape(-1), starts=starts, ends=starts + np.maximum(text.lengths, 0)
    )


def _filled(value: bytes | None) -> "Callable[[Originals, Originals | None], Cells]":
    def change(cells: "Originals", _subject: "Originals | None") -> "Cells":
        from seedtool.values.cells import Cells

        return Cells.constant(value, len(cells.starts))

    return change
