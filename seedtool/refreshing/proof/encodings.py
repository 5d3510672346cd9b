"""What cells say in another writing: JSON's escapes, URLs, HTML, base64 and base32, hexadecimal digits, bytes."""

import base64
import binascii
import bz2
import contextlib
import functools
import html
import io
import lzma
import quopri
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from seedtool.refreshing.proof.words import Words, eights_of, fold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seedtool.refreshing.proof.words import Bytes, Places

#: A run of base64 or of hexadecimal digits shorter than this holds nothing that identifies a person.
_RUN = 12
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: Hexadecimal digits write half as much as others.
_HEXADECIMAL = 14
#: What a byte may be: usual in a text, or one of a letter's bytes in UTF-8, the first and another.
_USUAL, _SCRIPT = 2, 12
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
    (b"\\\\", re.compile(rb"\\\\(?:u\{?[0-9a-fA-F]{2}|x[0-9a-fA-F]{2}|0[0-9a-fA-F]{3,5}|[0-3][0-7]{2}|[nrtbf])")),
    (b"%", re.compile(rb"%[0-9a-fA-F]{2}")),
    (b"&", re.compile(rb"&(?:#\d{2}|#[xX][0-9a-fA-F]{2}|[A-Za-z]{2,8};)")),
    (b"=", re.compile(rb"=[0-9A-F]{2}")),
    (b"\xc3\x83", re.compile(rb"\xc3\x83\xc2[\x80-\xbf]")),
    (b"</", re.compile(rb"</[A-Za-z]")),
    (b"+", re.compile(rb"\+[A-Za-z0-9._-]{1,60}@")),
)
_RUNS = re.compile(rb"[A-Za-z0-9+/_-]+(?:\\[nr][A-Za-z0-9+/_-]+)*={0,2}")
# in a JSON text within JSON the backslash is doubled; newer scripts write braces, and CSS up to six digits alone
_UNICODE = re.compile(r"\\+u([0-9a-fA-F]{4})|\\+u\{([0-9a-fA-F]{1,5})\}|\\(0[0-9a-fA-F]{3,5}) ?")
_TAG = re.compile(r"<[^<>]{1,200}>")
_LABEL = re.compile(r"\+[\w.-]{1,60}@")
_BYTES = re.compile(rb"\\x([0-9a-fA-F]{2})|\\([0-3][0-7]{2})")
#: In more bytes than this that are no text only runs of letters are looked at: of a picture, nearly nothing.
_PICTURE = 2000
_PRINTED = re.compile(rb"(?:[\t\n\r\x20-\x7e]|\xc3[\x80-\xbf]){8,}")
#: Letters beyond ASCII stand alone or in pairs in the languages that Latin-1 writes.
_PRINTED_LATIN = re.compile(
    rb"(?=[\n0-9A-Za-z @.,'_\xc0-\xff-]{8})(?:[\xc0-\xff]{0,2}[\n0-9A-Za-z @.,'_-]+)+[\xc0-\xff]{0,2}"
)
#: In a longer text each writing is undone after the other, and not each within each.
_LARGE = 1 << 16
_WIDE = tuple(
    re.compile(rb"(?:" + each + rb"){6,}")
    for letter in (rb"[\t\n\r\x20-\x7e\xc0-\xff]",)
    for each in (letter + rb"\0", rb"\0" + letter, letter + rb"\0\0\0", rb"\0\0\0" + letter)
)
_WIDE_LETTERS = 6
#: Of what is packed, so many bytes are unpacked: a small file may become a very large one.
_UNPACKED = 1 << 24
#: How packed bytes begin (RFC 1952, RFC 1950, bzip2, xz, and APPNOTE.TXT of ZIP), and what unpacks them.
_PACKED: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    (b"\x78\x01", zlib.decompressobj),
    (b"\x78\x5e", zlib.decompressobj),
    (b"\x78\x9c", zlib.decompressobj),
    (b"\x78\xda", zlib.decompressobj),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
)
_ZIP = b"PK\x03\x04"
#: How base64 and hexadecimal digits of these begin.
_PACKED_RUNS = (
    *(b"H4sI", b"eJ", b"eAE", b"eAF", b"eAG", b"eAH", b"eF4", b"eF5", b"eF6", b"eF7", b"eNo", b"eNp", b"eNq", b"eNr"),
    *(b"QlpoO", b"UEsDB", b"1f8b08", b"1F8B08", b"789c", b"789C", b"7801", b"785e", b"785E", b"78da", b"78DA"),
    *(b"425a68", b"425A68", b"504b0304", b"504B0304"),
)
_PACKED_RUN, _PACKED_PART = 16, 4
#: Words of one letter, or of two hexadecimal digits, in a row: so many of them may be another writing.
_ROW = 6
_PAIRS = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\W_]{1,2}){5,}(?:0x|\\x)?[0-9A-Fa-f]{2}(?![0-9A-Za-z])"
)
_SPREAD = re.compile(r"(?<!\S)(?:\S ){5,}\S(?!\S)|(?<!\w)(?:\w[ .-]){5,}\w(?!\w)")
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
    found = [
        *_signs(words, columns),
        *_runs(words),
        *_packed(words),
        *_rows(words),
        *_glued(words),
        *_bytes(words, columns),
    ]
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
    others = {reading(text) for reading in _READINGS} if len(text) <= _LARGE else {_undone(text)}
    depth = depth - 1 if len(text) <= _LARGE else 0
    for each in others - {text}:
        yield from _read(each, depth)
    for run in _RUNS.finditer(text.encode("utf-8", "replace")):
        if len(run[0]) >= _RUN:
            for each in _decoded(run[0]):
                yield from _read(each, depth)


def _undone(text: str) -> str:
    """Return a text after each of the readings."""
    for reading in _READINGS:
        text = reading(text)
    return text


def _json(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _UNICODE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)
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


def _signs(words: Words, columns: Collection[int]) -> Iterator[tuple[int, str]]:
    """Yield the cells in which a sign of another writing stands, with their text, but for those of bytea columns."""
    block = words.raw
    # one byte is looked for faster than two
    signs = [pattern for sign, pattern in _SIGNS if sign[:1] in block and sign in block]
    places = [found.start() for pattern in signs for found in pattern.finditer(block)]
    if not places:
        return
    ends = words.delimiters()
    for cell in _cells_at(ends, places):
        if cell % words.columns not in columns:
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
    """Yield bytes as texts: in UTF-8, or in Latin-1, UTF-16 and UTF-32 where that is something, and unpacked."""
    for unpacked in _unpacked(raw):
        yield from _plain_texts(unpacked)
    yield from _plain_texts(raw)


def _plain_texts(raw: bytes) -> Iterator[str]:
    try:
        yield raw.decode("utf-8")
    except UnicodeDecodeError:
        if len(raw) > _PICTURE:
            yield b"\n".join(_PRINTED.findall(raw)).decode("utf-8", "replace")
            yield b"\n".join(_PRINTED_LATIN.findall(raw)).decode("latin-1")
        else:
            yield raw.decode("utf-8", "replace")
            yield raw.decode("cp1252", "replace")
    zeros = raw.count(0)
    if _is_wide(raw, zeros):
        # letters of Latin-1 in UTF-16 and UTF-32, wherever they begin and whichever end comes first
        for pattern in _WIDE:
            yield b"\n".join(each.translate(None, b"\0") for each in pattern.findall(raw)).decode("latin-1")
    if zeros >= len(raw) // 4:
        for name in ("utf-16-le", "utf-16-be", *(("utf-32-le", "utf-32-be") if zeros >= len(raw) // 2 else ())):
            yield raw.decode(name, "replace")


def _is_wide(raw: bytes, zeros: int) -> bool:
    """Tell whether bytes hold some letters in UTF-16 or UTF-32: each second byte is zero, or three of four are."""
    import numpy as np

    if zeros < _WIDE_LETTERS:
        return False
    at = np.flatnonzero(np.frombuffer(raw, np.uint8) == 0)
    return bool(((at[3:] - at[:-3] == 6) | (at[3:] - at[:-3] == 4)).any())


def _unpacked(raw: bytes) -> Iterator[bytes]:
    """Yield what packed bytes hold, as far as it can be unpacked."""
    for begin, opened in _PACKED:
        if raw.startswith(begin):
            with contextlib.suppress(zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
                yield opened().decompress(raw, _UNPACKED)
    if raw.startswith(_ZIP):
        with contextlib.suppress(
            zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error, ValueError
        ):
            left = _UNPACKED
            with zipfile.ZipFile(io.BytesIO(raw)) as files:
                for each in files.infolist():
                    with files.open(each) as file:
                        content = file.read(left)
                    left -= len(content)
                    yield content
                    if left <= 0:
                        return


def _packed(words: Words) -> Iterator[tuple[int, str]]:
    """Yield what stands in packed bytes that are written in base64 or in hexadecimal digits."""
    import numpy as np

    if not len(words.starts):
        return
    known = _packed_pairs()
    at = np.flatnonzero(words.ends - words.starts >= _PACKED_PART)
    places = words.starts[at]
    likely = known[words.text[places].astype(np.uint16) << 8 | words.text[places + 1]]
    at, places = at[likely], words.raw_places(places[likely])
    raw = np.frombuffer(words.raw + b"\0\0", np.uint8)
    third = _packed_thirds()[raw[places + 1].astype(np.uint16) << 8 | raw[places + 2]]
    at, places = at[third], places[third]
    for each, place in zip(at.tolist(), places.tolist(), strict=True):
        if words.raw.startswith(_PACKED_RUNS, place):
            run = _RUNS.match(words.raw, place)
            if run and len(run[0]) >= _PACKED_RUN:
                yield from ((int(words.cells[each]), text) for text in _decoded(run[0]))


@functools.cache
def _packed_pairs() -> "NDArray[np.bool_]":
    """Return which two folded letters begin what is packed."""
    import numpy as np

    found = np.zeros(1 << 16, np.bool_)
    found[[each[0] << 8 | each[1] for each in (begin.lower() for begin in _PACKED_RUNS)]] = True
    return found


@functools.cache
def _packed_thirds() -> "NDArray[np.bool_]":
    """Return which second and third letters what is packed may have."""
    import numpy as np

    found = np.zeros((256, 256), np.bool_)
    for each in _PACKED_RUNS:
        found[each[1], each[2] if len(each) > 2 else slice(None)] = True
    return found.ravel()


def _rows(words: Words) -> Iterator[tuple[int, str]]:
    """Yield the text of cells in which letters, or pairs of hexadecimal digits, stand in a row of their own."""
    import numpy as np

    lengths = words.ends - words.starts
    hexadecimal = (lengths == 4) & (words.text[words.starts] == ord("0")) & (words.text[words.starts + 1] == ord("x"))
    for short in (lengths == 1, (lengths == 2) | hexadecimal):
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(short)])
        if before[-1] < _ROW:
            continue
        at = np.flatnonzero(before[_ROW:] - before[:-_ROW] == _ROW)
        at = at[words.cells[at] == words.cells[at + _ROW - 1]]
        if len(at):
            ends = words.delimiters()
            for cell in np.unique(words.cells[at]).tolist():
                yield from ((cell, each) for each in _together(_text(words.raw, ends, cell)))


def _together(text: str) -> Iterator[str]:
    for run in _PAIRS.finditer(text):
        pairs = re.findall(r"(?:0x|\\x)?([0-9A-Fa-f]{2})", run[0])
        yield from filter(_readable, _texts(bytes.fromhex("".join(pairs))))
    for run in _SPREAD.finditer(text):
        yield run[0][::2]


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
    """Yield what stands in base64, base32 or hexadecimal digits within cells."""
    import numpy as np

    long = np.flatnonzero(words.ends - words.starts >= _RUN)
    if not len(long):
        return
    raw = np.frombuffer(words.raw + bytes(2 * _RUN), np.uint8)
    places = words.starts[long]
    # the digits of 0x4a and of \x4a begin after the x
    for prefix in (b"0x", b"x"):
        marked = np.logical_and.reduce([words.text[places + at] == each for at, each in enumerate(prefix)])
        places = np.where(marked, places + len(prefix), places)
    starts, lengths = words.raw_places(places), words.ends[long] - places
    for base, chosen in _may_be(raw, starts, lengths):
        likely = chosen[_is_text(raw, starts[chosen], lengths[chosen], base)]
        done = -1
        for at, start in zip(long[likely].tolist(), starts[likely].tolist(), strict=True):
            run = _RUNS.match(words.raw, start) if start >= done else None
            if run:
                done = run.end()
                for text in _decoded(run[0], (base,)):
                    yield int(words.cells[at]), text


def _may_be(raw: "Bytes", starts: "Places", lengths: "Places") -> "Iterator[tuple[int, Places]]":
    """Yield for the bases 16, 64 and 32 at which places a run of their digits may begin; most runs are digests.

    A text in base64 has a capital among its first digits but for one of a hundred; the digits of a digest have none.
    """
    import numpy as np

    fours, fives = _pairs()
    eights = eights_of(raw)
    pairs = raw[starts].astype(np.uint16) << 8 | raw[starts + 1]
    first = fours[pairs]
    at = np.flatnonzero((first > 0) & (lengths >= _HEXADECIMAL))
    second, third = (
        fours[raw[starts[at] + place].astype(np.uint16) << 8 | raw[starts[at] + place + 1]] for place in (2, 4)
    )
    first = first[at]
    seen = first | second | third
    usual = (first & _USUAL) + (second & _USUAL) + (third & _USUAL)
    yield 16, at[(second > 0) & (third > 0) & ((usual >= 2 * _USUAL) | (seen & _SCRIPT == _SCRIPT))]
    capital = np.zeros(len(starts), np.bool_)
    for place in (0, 4, 12):
        eight = eights[starts + place]
        # of a capital the bit 0x40 is set and 0x20 is not
        here = eight & np.uint64(0x4040404040404040) & ~(eight << np.uint64(1)) != 0
        capital |= here if place <= _RUN - 8 else here & (lengths >= place + 8)
    yield 64, np.flatnonzero(capital)
    at = np.flatnonzero(fives[pairs])
    for place in (2, 4, 6):
        at = at[fives[raw[starts[at] + place].astype(np.uint16) << 8 | raw[starts[at] + place + 1]]]
    yield 32, at


@functools.cache
def _pairs() -> "tuple[Bytes, NDArray[np.bool_]]":
    """Return what two hexadecimal digits stand for, 0 where they are none; and which pairs are digits of base32."""
    import numpy as np

    fives, fours = _digits()[32], _digits()[16]
    high, low = fours[:, None], fours[None, :]
    value = (high << 4 | low).ravel()
    found = np.ones(1 << 16, np.uint8)
    found[_usual_bytes()[value]] |= _USUAL
    found[(value >= 0xC2) & (value < 0xF5)] |= _SCRIPT & 4
    found[(value & 0xC0) == 0x80] |= _SCRIPT & 8
    found[((high == 255) | (low == 255)).ravel()] = 0
    return found, ((fives[:, None] < 32) & (fives[None, :] < 32)).ravel()


def _decoded(run: bytes, bases: Collection[int] = (16, 32, 64)) -> Iterator[str]:
    """Yield the texts that a run of base64, base32 or hexadecimal digits may stand for."""
    plain = re.sub(rb"\\[nr]", b"", run) if b"\\" in run else run
    for base in bases:
        with contextlib.suppress(binascii.Error):
            raw = _UNDONE[base](plain)
            if raw:
                yield from filter(_readable, _texts(raw))


def _from_16(run: bytes) -> bytes:
    digits = re.match(rb"(?:[0-9a-fA-F]{2})*", run)
    return binascii.unhexlify(digits[0]) if digits and len(digits[0]) >= _RUN else b""


def _from_32(run: bytes) -> bytes:
    digits = re.fullmatch(rb"([A-Z2-7]+|[a-z2-7]+)=*", run)
    if not digits or len(digits[1]) < _RUN:
        return b""
    whole = digits[1][: len(digits[1]) - (len(digits[1]) % 8 in {1, 3, 6})]
    return base64.b32decode(whole + b"=" * (-len(whole) % 8), casefold=True)


def _from_64(run: bytes) -> bytes:
    letters = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    letters = letters[: len(letters) // 4 * 4 + (len(letters) % 4 if len(letters) % 4 != 1 else 0)]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


_UNDONE = {16: _from_16, 32: _from_32, 64: _from_64}


def _readable(text: str) -> bool:
    return len(_BINARY.findall(text)) * 10 <= len(text)


@functools.cache
def _digits() -> "dict[int, Bytes]":
    """Return the values of the digits of base64, 32 and 16, 255 for others."""
    import numpy as np

    sixes, fives, fours = (np.full(256, 255, np.uint8) for _ in range(3))
    sixes[np.frombuffer(_LETTERS + b"+/", np.uint8)] = np.arange(64)
    sixes[[ord("-"), ord("_")]] = 62, 63
    for each in range(16):
        fours[[ord(f"{each:x}"), ord(f"{each:X}")]] = each
    for at, each in enumerate(b"abcdefghijklmnopqrstuvwxyz234567"):
        fives[[each, ord(chr(each).upper())]] = at
    return {16: fours, 32: fives, 64: sixes}


@functools.cache
def _usual_bytes() -> "NDArray[np.bool_]":
    """Return which bytes are usual in texts."""
    import numpy as np

    found = np.zeros(256, np.bool_)
    found[np.frombuffer(_LETTERS + b" \n.,@-:'\"{}_/=", np.uint8)] = True
    return found


def _is_text(raw: "Bytes", starts: "Places", lengths: "Places", base: int) -> "NDArray[np.bool_]":
    """Tell at which places runs of digits of a base begin that stand for a text: of longer ones more is looked at."""
    import numpy as np

    found = np.zeros(len(starts), np.bool_)
    # of a thousand digests one passes when so few digits are looked at
    for least, count in ((0, _HEXADECIMAL if base == 16 else _RUN), (2 * _RUN, 2 * _RUN)):
        at = np.flatnonzero((lengths >= least) & (found if least else ~found))
        if not len(at):
            break
        # a row for each digit and a column for each place: numpy combines long rows faster than short ones
        digits = _digits()[base][raw[starts[at] + np.arange(count)[:, None]]]
        found[at] = (digits < base).all(axis=0) & _usual(_bytes_of(digits, base))
    return found


def _bytes_of(digits: "NDArray[np.uint8]", base: int) -> "NDArray[np.uint8]":
    """Return the bytes that digits stand for: a row for each digit, and one for each byte."""
    import numpy as np

    if base == 16:
        return (digits[0::2] << 4 | digits[1::2]).astype(np.uint8)
    if base == 64:
        first, second, third, fourth = (digits[each::4] for each in range(4))
        parts = (first << 2 | second >> 4, second << 4 | third >> 2, third << 6 | fourth)
        return np.stack(parts, axis=1).reshape(-1, digits.shape[1])
    rows = []
    for begin in range(0, len(digits), 8):
        number = np.zeros(digits.shape[1], np.uint64)
        group = digits[begin : begin + 8]
        for digit in group:
            number = number << np.uint64(5) | digit
        bits = 5 * len(group)
        rows += [(number >> np.uint64(bits - 8 * each)).astype(np.uint8) for each in range(1, bits // 8 + 1)]
    return np.stack(rows)


def _usual(decoded: "NDArray[np.uint8]") -> "NDArray[np.bool_]":
    """Tell which columns of bytes may begin a text: most of them are letters, or they are letters of other scripts.

    Of 1,000 columns of nine random bytes 3 pass the first, and 5 the second.
    """
    usual = _usual_bytes()[decoded].sum(axis=0) * 9 >= len(decoded) * 7
    lead, follows = decoded >= 0xC2, (decoded & 0xC0) == 0x80
    fine = ~follows[1:] | lead[:-1] | follows[:-1]
    fine &= ~lead[:-1] | follows[1:]
    printable = (decoded >= 32) & (decoded != 127) & (decoded < 0xF5) & ((decoded < 0xC0) | lead)
    found: NDArray[np.bool_] = usual | (fine.all(axis=0) & printable.all(axis=0) & lead.any(axis=0))
    return found
