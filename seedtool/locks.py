"""Locks on open files, which the kernel releases however a process ends: flock, or on Windows a lock of a byte.

Windows has no shared locks of this kind. A shared lock is exclusive there, so a process that only asks whether a lock
is held may keep another one waiting for a moment.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

# mypy looks at one platform, on which one of the two is not there
_fcntl: Any = None
_msvcrt: Any = None
try:
    _fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows
    _msvcrt = importlib.import_module("msvcrt")

_POLL = 0.01  # seconds between two attempts
#: The byte that is locked. It is behind the content of every file: other processes may not read a locked byte.
_BYTE = 2**31 - 2


def lock(descriptor: int) -> None:
    """Take the exclusive lock of an open file, and wait for it.

    Args:
        descriptor: of the open file. The lock ends when it is closed.

    Raises:
        OSError: the file system has no locks.
    """
    if _fcntl is not None:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX)
        return
    while not try_lock(descriptor):
        time.sleep(_POLL)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file, unless somebody else holds it.

    Args:
        descriptor: of the open file. The lock ends when it is closed.
        shared: others may hold it at the same time, if they share it, too.

    Returns:
        Whether it was taken.

    Raises:
        OSError: the file system has no locks.
    """
    if _fcntl is None:
        return _try_byte(descriptor)
    try:
        _fcntl.flock(descriptor, (_fcntl.LOCK_SH if shared else _fcntl.LOCK_EX) | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_byte(descriptor: int) -> bool:
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _BYTE, os.SEEK_SET)
    try:
        _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
    except PermissionError:  # what EACCES means here: somebody has locked it
        return False
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)
    return True
