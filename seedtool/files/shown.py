"""How messages and tables show the size and the place of a file."""

from pathlib import Path

#: SI's units, as `ls --si`, macOS and disk makers count: a kilobyte has 1000 bytes.
_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def shown_size(count: int) -> str:
    """Return a number of bytes in the largest unit that it fills: `980 bytes`, `1.2 kB`, `11 MB`."""
    for unit, length in _UNITS:
        if count >= length:
            return f"{count / length:.{0 if count >= 10 * length else 1}f} {unit}"
    return f"{count} bytes"


def shown_path(path: Path, root: Path) -> str:
    """Return a path relative to the project's root where it lies in it, else as it is."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
