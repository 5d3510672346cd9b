"""What cells say in another writing: JSON's escapes, URLs, HTML, base64, hexadecimal digits, bytes."""

import base64
import binascii
import contextlib
import functools
import html
import quopri
import re
import urllib.parse
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from seedtool.refreshing.proof.words import Words, fold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Bytes, Places

#: A run of base64 or of hexadecimal digits shorter than this holds nothing that identifies a person.
_RUN = 12
#: A number of fewer digits is no phone and no RUT; in bytes, so many digits are a UUID.
_NUMBER, _UUID = 7, 32
#: Words that people write before a number without a blank. Any letters would do in a UUID or a token, by chance.
_NUMBER_AT_END = re.compile(
    rb"(?:rut|run|dni|cedula|id|n|nr|nro|num|numero|tel|telefono|fono|phone|telephone|cel|celular|cell|movil|mobile"
    rb"|whatsapp|wa|fax)([0-9]+k?)\Z"
)
#: A text within a text within a text.
_DEPTH = 3
#: What COPY's text form writes with a backslash.
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
#: In a block: an escape of JSON (whose backslash is doubled), of a URL, of HTML, of quoted-printable mail, UTF-8 that
#: was taken for Latin-1, a tag between words, and an e-mail with a label of its reader's.
_SIGNS = (
    (b"\\\\", re.compile(rb"\\\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|[nrtbf])")),
    (b"%", re.compile(rb"%[0-9a-fA-F]{2}")),
    (b"&", re.compile(rb"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z]{2,8});")),
    (b"=", re.compile(rb"=[0-9A-F]{2}")),
    (b"\xc3\x83", re.compile(rb"\xc3\x83\xc2[\x80-\xbf]")),
    (b"</", re.compile(rb"</[A-Za-z]")),
    (b"+", re.compile(rb"\+[A-Za-z0-9._-]{1,60}@")),
)
_RUNS = re.compile(rb"[A-Za-z0-9+/_-]+(?:\\[nr][A-Za-z0-9+/_-]+)*={0,2}")
_UNICODE = re.compile(r"\\+u([0-9a-fA-F]{4})")  # in a JSON text within JSON the backslash is doubled
_TAG = re.compile(r"<[^<>]{1,200}>")
_LABEL = re.compile(r"\+[\w.-]{1,60}@")
_BYTES = re.compile(rb"\\x([0-9a-fA-F]{2})|\\([0-3][0-7]{2})")
#: In more bytes than this that are no text only runs of letters are looked at: of a picture, nearly nothing.
_PICTURE = 2000
_PRINTED = re.compile(rb"(?:[\t\n\r\x20-\x7e]|\xc3[\x80-\xbf]){8,}")
_PRINTED_LATIN = re.compile(rb"[\t\n\r\x20-\x7e\xc0-\xff]{8,}")
#: What a text hardly ever holds: its bytes are those of a picture or of a key.
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")


def other_writings(words: Words, columns: Collection[int]) -> "tuple[bytes, list[int]]":
    """Return what cells say in other writings.

    Args:
        words: of rows in COPY's text form.
        columns: the places of the columns whose type is bytea, or an array of it.

    Returns:
        Lines of COPY's text form with one cell each, and the cell that each line comes from.
    """
    found = [*_signs(words), *_runs(words), *_glued(words), *_bytes(words, columns)]
    texts: dict[tuple[int, str], None] = {}
    for cell, text in found:
        for each in _read(text, _DEPTH):
            texts[cell, each] = None
    lines = [(cell, re.sub(r"[\x00-\x1f\\]", " ", fold(text))) for cell, text in texts]
    return "".join(f"{text}\n" for _, text in lines).encode("utf-8", "replace"), [cell for cell, _ in lines]


def _read(text: str, depth: int) -> Iterator[str]:
    """Yield what a text says in other writings; the text itself where it came from one."""
    yield text
    if not depth:
        return
    for each in {reading(text) for reading in _READINGS} - {text}:
        yield from _read(each, depth - 1)
    for run in _RUNS.finditer(text.encode("utf-8", "replace")):
        if len(run[0]) >= _RUN:
            for each in _decoded(run[0]):
                yield from _read(each, depth - 1)


def _json(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _UNICODE.sub(lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"\\+[nrtbf]", " ", plain).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _url(text: str) -> str:
    plain = urllib.parse.unquote_plus(text) if "%" in text else text
    return urllib.parse.unquote_plus(text, "latin-1") if "\ufffd" in plain else plain


def _without_tags(text: str) -> str:
    return _TAG.sub(" ", text) if "</" in text else text


def _without_labels(text: str) -> str:
    return _LABEL.sub("@", text) if "+" in text else text


def _mail(text: str) -> str:
    if not re.search(r"=[0-9A-F]{2}", text):
        return text
    return quopri.decodestring(text.encode()).decode("utf-8", "replace")


def _mended(text: str) -> str:
    if "Ã" in text:
        for taken_for in ("cp1252", "latin-1"):
            with contextlib.suppress(UnicodeError):
                return text.encode(taken_for).decode("utf-8")
    return text


def _octets(text: str) -> str:
    if not re.search(r"\\x[0-9a-fA-F]{2}|\\[0-3][0-7]{2}", text):
        return text
    plain = _BYTES.sub(lambda found: bytes([int(found[1], 16) if found[1] else int(found[2], 8)]), text.encode())
    return plain.decode("utf-8", "replace")


#: What a text may be read by.
_READINGS = (_json, _url, html.unescape, _mail, _mended, _octets, _without_tags, _without_labels)


def _signs(words: Words) -> Iterator[tuple[int, str]]:
    """Yield the cells in which a sign of another writing stands, with their text."""
    block = words.raw
    places = [found.start() for sign, pattern in _SIGNS if sign in block for found in pattern.finditer(block)]
    if not places:
        return
    ends = words.delimiters()
    for cell in _cells_at(ends, places):
        yield cell, _text(block, ends, cell)


def _cells_at(ends: "Places", places: list[int]) -> list[int]:
    import numpy as np

    return np.unique(np.searchsorted(ends, np.array(places))).tolist()  # type: ignore[no-any-return]


def _text(block: bytes, ends: "Places", cell: int) -> str:
    begin = int(ends[cell - 1]) + 1 if cell else 0
    return _unescaped(block[begin : int(ends[cell])].decode("utf-8", "replace"))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text) if "\\" in text else text


def _bytes(words: Words, columns: Collection[int]) -> Iterator[tuple[int, str]]:
    """Yield what is text in the cells of bytea columns."""
    if not columns:
        return
    block, ends = words.raw, words.delimiters()
    for column in columns:
        for cell in range(column, len(ends), words.columns):
            begin = int(ends[cell - 1]) + 1 if cell else 0
            for digits in re.findall(rb"\\{1,2}x([0-9a-f]{8,})", block[begin : int(ends[cell])]):
                if len(digits) == _UUID:
                    yield cell, digits.decode()
                for text in _texts(binascii.unhexlify(digits[: len(digits) // 2 * 2])):
                    yield cell, text


def _texts(raw: bytes) -> Iterator[str]:
    """Yield bytes as texts: in UTF-8, or in Latin-1 and UTF-16 where that is something."""
    try:
        yield raw.decode("utf-8")
    except UnicodeDecodeError:
        if len(raw) > _PICTURE:
            yield b"\n".join(_PRINTED.findall(raw)).decode("utf-8", "replace")
            yield b"\n".join(_PRINTED_LATIN.findall(raw)).decode("latin-1")
        else:
            yield raw.decode("utf-8", "replace")
            yield raw.decode("cp1252", "replace")
    if raw.count(0) >= len(raw) // 4:
        for name in ("utf-16-le", "utf-16-be"):
            yield raw.decode(name, "replace")


def _glued(words: Words) -> Iterator[tuple[int, str]]:
    """Yield numbers that stand behind letters without a blank between: `RUT123456785`, `tel56912345678`."""
    import numpy as np

    text, lengths = words.text, words.ends - words.starts
    at = np.flatnonzero((lengths > _NUMBER) & (lengths <= 2 * _NUMBER + 8))
    at = at[text[words.starts[at]] - np.uint8(ord("a")) < 26]
    for place in range(2, _NUMBER + 1):  # the last may be the K of a RUT
        at = at[text[words.ends[at] - place] - np.uint8(ord("0")) < 10]
    for each in at.tolist():
        word = text[words.starts[each] : words.ends[each]].tobytes()
        number = _NUMBER_AT_END.match(word)
        if number:
            yield int(words.cells[each]), number[1].decode()


def _runs(words: Words) -> Iterator[tuple[int, str]]:
    """Yield what stands in base64 or in hexadecimal digits within cells."""
    import numpy as np

    long = np.flatnonzero(words.ends - words.starts >= _RUN)
    if not len(long):
        return
    raw = np.frombuffer(words.raw, np.uint8)
    places = words.starts[long]
    # the digits of 0x4a and of \x4a begin after the x
    for prefix in (b"0x", b"x"):
        marked = np.logical_and.reduce([words.text[places + at] == each for at, each in enumerate(prefix)])
        places = np.where(marked, places + len(prefix), places)
    starts = words.raw_places(places)
    fine = starts + _RUN <= len(raw)
    long, starts = long[fine], starts[fine]
    likely = _is_text(raw, starts, _RUN)
    # of a longer run more is looked at: of a thousand digests one passes
    longer = likely & (words.ends[long] - places >= 2 * _RUN) & (starts + 2 * _RUN <= len(raw))
    likely[longer] = _is_text(raw, starts[longer], 2 * _RUN)
    done = -1
    for at, start in zip(long[likely].tolist(), starts[likely].tolist(), strict=True):
        if start < done:
            continue
        run = _RUNS.match(words.raw, start)
        if run:
            done = run.end()
            for text in _decoded(run[0]):
                yield int(words.cells[at]), text


def _decoded(run: bytes) -> Iterator[str]:
    """Yield the texts that a run of base64 or of hexadecimal digits may stand for."""
    plain = re.sub(rb"\\[nr]", b"", run)
    digits = re.match(rb"(?:[0-9a-fA-F]{2})*", plain)
    if digits and len(digits[0]) >= _RUN:
        yield from filter(_readable, _texts(binascii.unhexlify(digits[0])))
    letters = plain.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    letters = letters[: len(letters) // 4 * 4 + (len(letters) % 4 if len(letters) % 4 != 1 else 0)]
    try:
        raw = base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return
    yield from filter(_readable, _texts(raw))


def _readable(text: str) -> bool:
    return len(_BINARY.findall(text)) * 10 <= len(text)


@functools.cache
def _digits() -> "tuple[Bytes, Bytes, NDArray[np.bool_]]":
    """Return the values of the digits of base64 and of base 16, 255 for others, and which bytes are usual in texts."""
    import numpy as np

    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    sixes, fours, usual = np.full(256, 255, np.uint8), np.full(256, 255, np.uint8), np.zeros(256, np.bool_)
    sixes[np.frombuffer(letters, np.uint8)] = np.arange(64)
    sixes[[ord("-"), ord("_")]] = 62, 63
    for each in range(16):
        fours[[ord(f"{each:x}"), ord(f"{each:X}")]] = each
    usual[np.frombuffer(letters[:62] + b" \n.,@-:'\"{}_/=", np.uint8)] = True
    return sixes, fours, usual


def _is_text(raw: "Bytes", starts: "Places", count: int) -> "NDArray[np.bool_]":
    """Tell at which places so many digits of base64 or of base 16 begin that stand for a text."""
    import numpy as np

    # a row for each digit and a column for each place: numpy combines long rows faster than short ones
    sixes, fours, _ = _digits()
    digits = raw[starts + np.arange(count)[:, None]]
    six, four = sixes[digits], fours[digits]
    first, second, third, fourth = (six[each::4] for each in range(4))
    parts = (first << 2 | second >> 4, second << 4 | third >> 2, third << 6 | fourth)
    by_six = (six < 64).all(axis=0) & _usual(np.stack(parts, axis=1).reshape(count * 3 // 4, len(starts)))
    by_four = (four < 16).all(axis=0) & _usual(four[0::2] << 4 | four[1::2])
    found: NDArray[np.bool_] = by_six | by_four
    return found


def _usual(decoded: "NDArray[np.uint8]") -> "NDArray[np.bool_]":
    """Tell which columns of bytes may begin a text: most of them are letters, or they are letters of other scripts.

    Of 1,000 columns of nine random bytes 3 pass the first, and 5 the second.
    """
    usual = _digits()[2][decoded].sum(axis=0) * 9 >= len(decoded) * 7
    lead, follows = decoded >= 0xC2, (decoded & 0xC0) == 0x80
    fine = ~follows[1:] | lead[:-1] | follows[:-1]
    fine &= ~lead[:-1] | follows[1:]
    printable = (decoded >= 32) & (decoded != 127) & (decoded < 0xF5) & ((decoded < 0xC0) | lead)
    found: NDArray[np.bool_] = usual | (fine.all(axis=0) & printable.all(axis=0) & lead.any(axis=0))
    return found
