"""Files that are written whole or not at all.

A new file is written beside the one whose place it takes, and takes it by a rename when it is complete. Whoever reads
the final name meanwhile sees the old file or the new one, never a part. What a killed process left beside a file is
removed when that file is written next; a writer that still runs holds a lock on its own.
"""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from seedtool import locks
from seedtool.errors import UsageError

#: The mode of a file that only its owner may read: for what holds people's data or a secret.
PRIVATE = 0o600
#: What a program asks for whose file is as open as the user's umask lets it be.
_ORDINARY = 0o666
#: Names have at most 255 bytes (NAME_MAX of ext4, xfs and APFS), and ours adds 15 to the file's own.
_NAME_BYTES = 200


class NewFile:
    """A file that is being written. Within `with`, it stands at `path`; `put_in_place` gives it its final name.

    It is removed at the end of `with` when it was not put in place.

    Args:
        final: the name it gets; its folder exists.
        mode: its permissions; None means those of the file it replaces, or those that the umask gives a new one.

    Attributes:
        path: where it is written. It is there, and empty, when `with` begins; open it, or give the name to a program.

    Raises:
        OSError: the folder is missing or cannot be written.
    """

    path: Path

    def __init__(self, final: Path, *, mode: int | None = None) -> None:
        self._final = final
        self._mode = mode
        self._handle = -1

    def __enter__(self) -> Self:
        _sweep(self._final)
        while True:
            self.path, self._handle = self._create()
            locks.lock(self._handle)
            if os.fstat(self._handle).st_nlink:
                return self
            os.close(self._handle)  # another writer swept it before it was locked

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.path.unlink(missing_ok=True)
        finally:
            os.close(self._handle)

    @property
    def handle(self) -> int:
        """A descriptor of the file, open for reading and writing: nobody can put another file in its place."""
        return self._handle

    def put_in_place(self, *, replace: bool = True, durable: bool = True) -> None:
        """Give the file its final name; what is on the disk then outlives a loss of power.

        Args:
            replace: take the place of a file that has the name already.
            durable: wait until the disk has it; False for what can be made again at any time.

        Raises:
            FileExistsError: there is a file of this name, and it is not to be replaced.
            OSError: the disk refuses.
        """
        if durable:
            os.fsync(self._handle)
        if replace:
            self.path.replace(self._final)
        else:
            _link(self.path, self._final)
        if durable:
            _sync_folder(self._final.parent)

    def _create(self) -> tuple[Path, int]:
        mode = self._mode
        if mode is None:
            with contextlib.suppress(OSError):
                mode = self._final.stat().st_mode & 0o777
        path = self._final.with_name(f".{_beginning(self._final)}.{secrets.token_hex(4)}.part")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _ORDINARY if mode is None else mode)
        if mode is not None:
            os.fchmod(handle, mode)  # the umask may have taken bits away
        return path, handle


def write_whole(
    final: Path, content: bytes, *, mode: int | None = None, replace: bool = True, durable: bool = True
) -> None:
    """Write a file whole or not at all.

    Args:
        final: the file.
        content: what it will hold.
        mode: as `NewFile` takes it.
        replace: as `NewFile.put_in_place` takes it.
        durable: as `NewFile.put_in_place` takes it.

    Raises:
        FileExistsError: there is a file of this name, and it is not to be replaced.
        OSError: the folder is missing or the disk refuses.
    """
    with NewFile(final, mode=mode) as new:
        new.path.write_bytes(content)
        new.put_in_place(replace=replace, durable=durable)


def check_place(path: Path, option: str = "--html") -> None:
    """Check that a file can be written here, before the work begins whose result it is to hold.

    Args:
        path: the file.
        option: the flag that names it, for the error.

    Raises:
        UsageError: it is a folder, or its folder does not exist or cannot be written to.
    """
    if path.is_dir():
        name = f"report.{option.removeprefix('--')}"
        raise UsageError(f"{path} is a folder", remedy=f"Name a file in it: {option} {name}.", option=option)
    if not path.parent.is_dir():
        raise UsageError(
            f"the folder {path.parent} does not exist", remedy="Create it, or name another one.", option=option
        )
    try:
        with NewFile(path):  # it is removed again
            pass
    except OSError as error:
        raise UsageError(
            f"the folder {path.parent} cannot be written to: {error.strerror}",
            remedy="Name another folder.",
            option=option,
        ) from error


def _beginning(final: Path) -> str:
    """Return as much of a file's name as another name can hold."""
    return os.fsencode(final.name)[:_NAME_BYTES].decode("utf-8", "ignore")


def _link(path: Path, final: Path) -> None:
    """Give a file a name that nothing else has; `rename` would replace without a word."""
    try:
        final.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # FAT and some network file systems have no links
        if os.path.lexists(final):
            raise FileExistsError(final) from None
        path.replace(final)


def _sweep(final: Path) -> None:
    """Remove what killed writers of a file left. Earlier versions did not begin the name with a dot."""
    leftover = re.compile(rf"\.?{re.escape(_beginning(final))}\.\w{{8}}\.part")
    try:
        names = os.listdir(final.parent)  # noqa: PTH208 - one call, so that one `except` is enough
    except PermissionError:  # a folder that may be written to and not be read, such as a drop box
        return
    for name in names:
        if leftover.fullmatch(name):
            with contextlib.suppress(OSError):  # it belongs to somebody else, or its writer was faster
                _remove_unlocked(final.with_name(name))


def _remove_unlocked(path: Path) -> None:
    # another user's pipe of this name would let an open without O_NONBLOCK wait for ever
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode) and locks.try_lock(handle):
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Let the disk have the new name, too."""
    with contextlib.suppress(OSError):  # some file systems cannot; the name is then as safe as they make it
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
