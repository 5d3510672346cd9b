"""Signed archives. A dump is SQL that a server runs, so one is read only when a holder of our key has written it.

A signature is the HMAC-SHA256 of everything before it. It stands at the end of the file, after a line of JSON that says
what the file is; pg_restore reads what it needs and never comes there. A file is copied before it is verified, and what
was verified is what is read: whoever can write to the file may change it at any moment.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from seedtool.errors import NotTrusted, SettingsError, SnapshotError
from seedtool.files.writing import PRIVATE, write_whole

#: The end of a signed file: the length of the JSON before it, and the signature. Both have a fixed width.
_END = re.compile(rb"\nseedtool-signed-1 ([0-9a-f]{8}) ([0-9a-f]{64})\n")
_END_BYTES = len(b"\nseedtool-signed-1 ") + 8 + 1 + 64 + 1
_MAC_BYTES = 64 + 1  # the part of the end that is not signed itself
#: How packed files begin (RFC 1952, RFC 8878), in which dumps of plain SQL are kept.
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SQL = re.compile(re.escape(GZIP) + b"|" + re.escape(ZSTD) + rb"|--\s+-- PostgreSQL database")
#: How a dump in the custom or the tar format begins (pg_backup_archiver.c, _discoverArchiveFormat).
_DUMP, _DUMP_BYTES = re.compile(rb"PGDMP|.{257}ustar", re.DOTALL), 512


class Keys(NamedTuple):
    """The keys that an archive may be signed with.

    Args:
        given: the one that the settings give; it signs where there is one.
        folder: the state folder of the project, whose own key is made when it is needed.
    """

    given: str | None
    folder: Path

    def signing(self) -> bytes:
        """Return the key to sign with.

        Raises:
            SettingsError: the project's own cannot be made, or others can read it.
        """
        return self.given.encode() if self.given is not None else _own_key(self.folder)

    def known(self) -> dict[str, bytes]:
        """Return the keys that we hold, by what a signed file calls them.

        Raises:
            SettingsError: others can read the project's own.
        """
        held = [self.given.encode()] if self.given is not None else []
        if (self.folder / _FILE).exists():
            held.append(_own_key(self.folder))
        return {_called(key): key for key in held}


class Archive(NamedTuple):
    """A file that may be read.

    Args:
        path: where a program finds it.
        handles: file descriptors that the program has to inherit.
        about: what the file says of itself; empty where nobody asked for a signature.
    """

    path: Path
    handles: tuple[int, ...]
    about: Mapping[str, Any]


def sign(handle: int, keys: Keys, about: Mapping[str, object]) -> None:
    """Sign a file: append what it is, and the signature.

    Args:
        handle: a descriptor of the file, open for reading and writing.
        keys: ours.
        about: what the file is, as JSON can hold it.

    Raises:
        SettingsError: there is no key that may be used.
        OSError: the file cannot be written.
    """
    key = keys.signing()
    text = msgspec.json.encode({**about, "key": _called(key)})
    end = b"\nseedtool-signed-1 %08x " % len(text)
    with os.fdopen(os.dup(handle), "r+b") as file:
        file.seek(0)
        mac = hmac.new(key, digestmod="sha256")
        while piece := file.read(2**20):
            mac.update(piece)
        mac.update(text + end)
        file.write(text + end + mac.hexdigest().encode() + b"\n")


@contextlib.contextmanager
def trusted(file: Path, keys: Keys | None, **expected: str) -> Iterator[Archive]:
    """Yield an archive that may be read.

    Args:
        file: the archive.
        keys: ours; None where the user trusts the file as it is.
        expected: what a signed file has to say of itself.

    Raises:
        NotTrusted: it is not signed by a key of ours, was changed since, or is another file than expected.
        SnapshotError: it cannot be read, or there is no room for its copy.
    """
    if keys is None:
        if not file.is_file() and not file.is_dir():  # of a pipe pg_restore would wait for the other end
            raise SnapshotError(
                f"{file} cannot be read: it is no ordinary file",
                remedy="Name a file that seedtool snapshot export or pg_dump -Fc wrote.",
                file=str(file),
            )
        yield Archive(file, (), _said(file))
        return
    with tempfile.TemporaryFile() as copy:  # it has no name, so a kill leaves nothing of it
        try:
            _copy(file, copy)
        except IsADirectoryError:
            raise _not_trusted(file, "is a folder, which cannot be signed") from None
        except OSError as error:
            raise SnapshotError(
                f"{file} cannot be read, or not be copied to {tempfile.gettempdir()}: {error.strerror}",
                remedy="Make room there, or set TMPDIR to another folder.",
            ) from error
        about = _verified(file, copy, keys.known())
        for name, value in expected.items():
            if about.get(name) != value:
                raise _not_trusted(file, f"is signed as the {name} {about.get(name)}, not as {value}")
        yield Archive(Path(f"/dev/fd/{copy.fileno()}"), (copy.fileno(),), about)


def _copy(file: Path, copy: IO[bytes]) -> None:
    # another user's pipe of this name would let an open without O_NONBLOCK wait for ever
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as source:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            raise _not_trusted(file, "is no ordinary file")
        shutil.copyfileobj(source, copy, 2**20)
    copy.flush()


class _Signature(NamedTuple):
    """What stands behind a dump: where that ends (bytes), what the file says of itself, and the signature in hex."""

    start: int
    about: Mapping[str, Any]
    mac: bytes


def _signature(file: IO[bytes]) -> _Signature | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    end = _END.fullmatch(file.read())
    start = size - _END_BYTES - int(end[1], 16) if end else -1
    if end is None or start < 0:
        return None
    file.seek(start)
    try:
        about = msgspec.json.decode(file.read(int(end[1], 16)), type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return _Signature(start, about, end[2])


def _said(file: Path) -> Mapping[str, Any]:
    """Return what a file says of itself, whoever signed it; nothing of a folder."""
    if file.is_dir():
        return {}
    with file.open("rb") as opened:
        found = _signature(opened)
    return found.about if found is not None else {}


def _verified(file: Path, copy: IO[bytes], known: Mapping[str, bytes]) -> Mapping[str, Any]:
    """Return what a copied file says of itself, and cut the signature off."""
    found = _signature(copy)
    if found is None:
        copy.seek(0)
        begin = copy.read(_DUMP_BYTES)
        if not _DUMP.match(begin) and not _SQL.match(begin) and file.suffix != ".sql":
            raise SnapshotError(
                f"{file} cannot be read: it is no archive of pg_dump",
                remedy="Import a whole file that seedtool snapshot export or pg_dump wrote.",
                file=str(file),
            )
        raise _not_trusted(
            file, "is not signed: pg_dump, an earlier version of seedtool or somebody else wrote it, or it is cut off"
        )
    key = known.get(str(found.about.get("key")))
    if key is None:
        raise _not_trusted(file, "is signed by a key that this project does not hold")
    mac, left = hmac.new(key, digestmod="sha256"), copy.seek(0, os.SEEK_END) - _MAC_BYTES
    copy.seek(0)
    while left:
        piece = copy.read(min(left, 2**20))
        mac.update(piece)
        left -= len(piece)
    if not hmac.compare_digest(mac.hexdigest().encode(), found.mac):
        raise _not_trusted(file, "was changed after it was signed")
    copy.truncate(found.start)
    copy.seek(0)
    return found.about


def _not_trusted(file: Path, fault: str) -> NotTrusted:
    return NotTrusted(
        f"{file} {fault}. What is in it would run on the server with your rights",
        remedy="If you trust whoever wrote it: --trust-file. A SEEDTOOL_ARCHIVE_KEY that both sides set lets one side"
        " read what the other wrote.",
        file=str(file),
    )


_FILE = "archive.key"


def _own_key(folder: Path) -> bytes:
    """Return the project's own key; it is made when it is missing."""
    path = folder / _FILE
    try:
        if not path.exists():
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another process was first, and both use its key
                write_whole(path, f"{secrets.token_hex(32)}\n".encode(), mode=PRIVATE, replace=False)
        with path.open("rb") as file:
            found, key = os.fstat(file.fileno()), file.read().strip()
    except OSError as error:
        raise SettingsError(
            f"the key in {path} cannot be read or made: {error.strerror}",
            remedy="Correct the permissions of the state folder, or set SEEDTOOL_ARCHIVE_KEY.",
        ) from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o077 or len(key) != 64:
        raise SettingsError(
            f"the key in {path} is not ours alone, or not whole",
            remedy="Delete it; then a new one is made.",
            file=str(path),
        )
    return key


def _called(key: bytes) -> str:
    """Return the name of a key in the files that it signed: it tells keys apart, and nothing of them."""
    return hashlib.sha256(b"seedtool archive key " + key).hexdigest()[:16]
