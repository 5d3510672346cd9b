"""Dumps in plain SQL, as `pg_dump` writes them without a format, also in gzip or zstd.

No psql runs them, so none of its commands can: statements and the rows of COPY go to the server from here. The file is
read through once before anything runs, and refused where a command of psql stands in it. What an import of an archive
leaves out (owners, grants, tablespaces) is left out here, too.
"""

import contextlib
import gzip
import importlib
import mmap
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import psycopg

from seedtool.errors import SnapshotError
from seedtool.files.signing import GZIP, ZSTD
from seedtool.postgres.psycopg_errors import reason

#: Statements are sent together up to so many bytes: each answer of the server is waited for.
_CHUNK = 2**20

_TOKEN = re.compile(
    rb"""
    (?P<skip> --[^\n]*+ | [eE]'(?:[^'\\]++|\\.|'')*+' | '(?:[^']++|'')*+' | "(?:[^"]++|"")*+"
      | \$(?P<tag>(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*+)?)\$.*?\$(?P=tag)\$ )
    | (?P<comment> /\* ) | (?P<psql> \\ ) | (?P<end> ; )
    | (?P<word> [A-Za-z_\x80-\xff][\w\x80-\xff$]*+ ) | \d[\w.]*+ | [^\s\w'"\$\\;/-]++ | \$ | / | -
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_COMMENT = re.compile(rb"/\*|\*/")
_COPIES = re.compile(rb"copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
#: What pg_restore leaves out with --no-owner, --no-privileges, --no-tablespaces and --no-subscriptions.
_LEFT_OUT = re.compile(
    rb"grant\b|revoke\b|alter\s+default\s+privileges\b|alter\b[^;]*\bowner\s+to\b[^;]*;\Z"
    rb"|set\s+(?:session\s+authorization|default_tablespace)\b|(?:create|alter)\s+subscription\b"
    rb"|comment\s+on\s+subscription\b",
    re.IGNORECASE,
)
# PostgreSQL 17's pg_dump sets it
_OF_NEWER = re.compile(rb"set\s+transaction_timeout\b", re.IGNORECASE)
_OLD_STRINGS = re.compile(rb"set\s+standard_conforming_strings\s*(?:=|to)\s*'?off", re.IGNORECASE)
_RESTRICT = re.compile(rb"\\(?:un)?restrict[ \t]+[A-Za-z0-9]+[ \t]*\r?(?:\n|\Z)")


class _Statement(NamedTuple):
    """A statement, where it stands in the file, and where the rows of a COPY do."""

    start: int
    end: int
    rows: tuple[int, int] | None = None


@contextlib.contextmanager
def opened(file: Path, path: Path) -> Iterator[mmap.mmap | None]:
    """Yield the text of a dump in plain SQL; None where the file is something else.

    Args:
        file: the file, as messages name it.
        path: where it is read.

    Raises:
        SnapshotError: it cannot be unpacked.
    """
    with contextlib.ExitStack() as stack:
        if path.is_dir():
            yield None
            return
        source: IO[bytes] = stack.enter_context(path.open("rb"))
        begin = source.read(512)
        packed = begin.startswith((GZIP, ZSTD))
        if packed:
            text = stack.enter_context(tempfile.TemporaryFile())
            source.seek(0)
            _unpack(file, source, text, zstd=begin.startswith(ZSTD))
            source, begin = text, _begin(text)
            if begin.startswith(b"PGDMP") or begin[257:262] == b"ustar":
                raise SnapshotError(
                    f"{file} is an archive of pg_dump that was packed once more",
                    remedy=f"Unpack it first: {'zstd' if packed and path.suffix == '.zst' else 'gzip'} -d FILE.",
                    file=str(file),
                )
        if not begin or b"\0" in begin or begin.startswith(b"PGDMP"):
            source.seek(0)  # where /dev/fd is the same descriptor, pg_restore would go on from here
            yield None
            return
        yield stack.enter_context(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))


def _begin(file: IO[bytes]) -> bytes:
    file.flush()
    file.seek(0)
    return file.read(512)


def _unpack(file: Path, source: IO[bytes], text: IO[bytes], *, zstd: bool) -> None:
    try:
        if zstd:
            _unpack_zstd(file, source, text)
        else:
            with gzip.GzipFile(fileobj=source) as unpacked:
                shutil.copyfileobj(unpacked, text, 2**20)
    except (OSError, EOFError, ValueError) as error:
        raise SnapshotError(
            f"{file} cannot be unpacked: {str(error) or 'it is cut off'}",
            remedy=f"Is the file whole? Is there room in {tempfile.gettempdir()}? TMPDIR names another folder.",
            file=str(file),
        ) from error


def _unpack_zstd(file: Path, source: IO[bytes], text: IO[bytes]) -> None:
    """Unpack by Python's own module (3.14), by pyarrow, which the extra `fast` has, or by the program."""
    with contextlib.suppress(ImportError):
        zstd: Any = importlib.import_module("compression.zstd")
        with zstd.ZstdFile(source) as unpacked:
            shutil.copyfileobj(unpacked, text, 2**20)
        return
    with contextlib.suppress(ImportError):
        arrow: Any = importlib.import_module("pyarrow")
        with arrow.CompressedInputStream(arrow.PythonFile(source, mode="r"), "zstd") as unpacked:
            while piece := unpacked.read(2**20):
                text.write(piece)
        return
    program = shutil.which("zstd")
    if program is None:
        raise SnapshotError(
            f"{file} is packed with zstd, which nothing here can read",
            remedy="Install the program zstd, or seedtool[fast]. Or unpack the file first.",
            file=str(file),
        )
    done = subprocess.run([program, "-dcq"], stdin=source, stdout=text, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip().rpartition(": ")[2])


def load(connection: psycopg.Connection, file: Path, text: mmap.mmap) -> None:
    """Run a dump in an empty database.

    Args:
        connection: to the database, in autocommit, as the role that shall own what is made.
        file: the file, as messages name it.
        text: what `opened` yielded.

    Raises:
        SnapshotError: a command of psql stands in it, and nothing ran; or a statement fails.
    """
    older = connection.info.server_version < 170000
    statements = [
        each
        for each in _statements(file, text)
        if not _LEFT_OUT.match(text, each.start, each.end)
        and not (older and _OF_NEWER.match(text, each.start, each.end))
    ]
    for each in statements:
        if _OLD_STRINGS.match(text, each.start, each.end):
            raise SnapshotError(
                f"{file}:{_line(text, each.start)}: its texts are written for standard_conforming_strings = off",
                remedy="Dump again with PGOPTIONS='-c standard_conforming_strings=on', or as an archive (pg_dump -Fc).",
                file=str(file),
            )
    pending: list[_Statement] = []
    for each in statements:
        if pending and (each.rows or each.end - pending[0].start > _CHUNK):
            _run(connection, file, text, pending)
            pending = []
        if each.rows:
            _copy(connection, file, text, each)
        else:
            pending.append(each)
    if pending:
        _run(connection, file, text, pending)


def _run(connection: psycopg.Connection, file: Path, text: mmap.mmap, statements: list[_Statement]) -> None:
    try:
        connection.execute(b"\n".join(text[each.start : each.end] for each in statements))
    except psycopg.Error as error:
        position, at = int(error.diag.statement_position or 0), statements[0].start
        for each in statements:
            if position and position <= each.end - each.start + 1:
                at = each.start
                break
            position -= each.end - each.start + 1
        raise _failed(file, text, at, error) from error


def _copy(connection: psycopg.Connection, file: Path, text: mmap.mmap, statement: _Statement) -> None:
    assert statement.rows is not None  # noqa: S101 - whoever calls it has looked
    start, end = statement.rows
    try:
        with connection.cursor() as cursor, cursor.copy(text[statement.start : statement.end]) as copy:
            for place in range(start, end, _CHUNK):
                copy.write(text[place : min(place + _CHUNK, end)])
    except psycopg.Error as error:
        raise _failed(file, text, statement.start, error) from error


def _failed(file: Path, text: mmap.mmap, at: int, error: psycopg.Error) -> SnapshotError:
    return SnapshotError(
        f"{file}, in or after line {_line(text, at)}: {reason(error)}",
        remedy="Is the file whole? Was it dumped from a newer PostgreSQL, or is an extension missing here?",
        file=str(file),
    )


def _statements(file: Path, text: mmap.mmap) -> Iterator[_Statement]:
    """Yield the statements of a dump. All are found before the first runs (see `load`)."""
    at, start, body, word = 0, -1, False, b""
    while (token := _TOKEN.search(text, at)) is not None:
        at = token.end()
        if token["psql"]:
            at = _after_restrict(file, text, token.start(), within=start >= 0)
        elif token["comment"]:
            at = _end_of_comment(text, at)
        elif token["end"] and start >= 0 and not (body and word != b"end"):
            found = _Statement(start, at)
            if _COPIES.match(text, start, at):
                found = _Statement(start, at, _rows(file, text, at))
                at = text.find(b"\n", found.rows[1] + 1) + 1 or len(text) if found.rows else at
            yield found
            start, body, word = -1, False, b""
        elif not token[0].startswith((b"--", b";")):
            start = token.start() if start < 0 else start
            if token["word"]:
                before, word = word, token["word"].lower()
                body = body or (before, word) == (b"begin", b"atomic")  # a function's, with statements of its own
    if start >= 0:
        yield _Statement(start, len(text))


def _rows(file: Path, text: mmap.mmap, at: int) -> tuple[int, int]:
    """Return where the rows of a COPY stand: from the line after it to the one of a backslash and a dot."""
    start = text.find(b"\n", at) + 1
    if text[start : start + 2] == b"\\." and text[start + 2 : start + 3] in {b"\n", b"\r", b""}:
        return start, start
    place = start
    while start and (place := text.find(b"\n\\.", place)) >= 0:
        if text[place + 3 : place + 4] in {b"\n", b"\r", b""}:
            return start, place + 1
        place += 1
    raise SnapshotError(
        f"{file}:{_line(text, at)}: the rows of this COPY have no end",
        remedy="Import a whole file that pg_dump wrote.",
        file=str(file),
    )


def _end_of_comment(text: mmap.mmap, at: int) -> int:
    """Return where a comment ends; comments lie in each other."""
    depth = 1
    while depth and (found := _IN_COMMENT.search(text, at)) is not None:
        depth += 1 if found[0] == b"/*" else -1
        at = found.end()
    return at if not depth else len(text)


def _after_restrict(file: Path, text: mmap.mmap, at: int, *, within: bool) -> int:
    """Return where the line of a restrict or unrestrict ends: pg_dump guards psql by it, which does not run here.

    Raises:
        SnapshotError: it is another command of psql.
    """
    found = None if within or text[max(0, at - 1) : at] not in {b"", b"\n"} else _RESTRICT.match(text, at)
    if found is None:
        command = text[at : at + 20].split()[0].decode(errors="replace")
        raise SnapshotError(
            f"{file}:{_line(text, at)}: a command of psql stands in it, and nothing has run: {command}",
            remedy="Take the line out. A dump with \\connect was made with --create: dump without that.",
            file=str(file),
            line=_line(text, at),
        )
    return found.end()


def _line(text: mmap.mmap, at: int) -> int:
    return text[:at].count(b"\n") + 1
