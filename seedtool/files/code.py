"""A project's Python code, run from its text.

Python keeps compiled modules in `__pycache__` and trusts them by the source's size and its time in seconds. A module
that is edited within a second, or whose time was set (by Docker, Nix, tar), would run in its old form, and what it
built would be kept under the fingerprint of the new one.
"""

import builtins
import contextlib
import io
import os
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

_INSTALLED = frozenset({"site-packages", "dist-packages"})
# the loader's method is the process's: two threads would take it from each other
_LOCK = threading.RLock()


@contextlib.contextmanager
def run_from_text(root: Path) -> Iterator[set[Path]]:
    """Compile modules below a folder anew when they are imported; no compiled file is read or written for them.

    Yields:
        the files that were compiled, of all threads.

    Args:
        root: the project's folder. Packages that are installed below it (`.venv`) are loaded as usual.
    """
    usual = SourceFileLoader.get_code
    folder = root.absolute()
    compiled: set[Path] = set()

    def get_code(loader: SourceFileLoader, fullname: str) -> CodeType | None:
        path = loader.get_filename(fullname)
        place = Path(path).absolute()
        if not place.is_relative_to(folder) or _INSTALLED & set(place.relative_to(folder).parts):
            return usual(loader, fullname)
        compiled.add(place)
        code: CodeType = loader.source_to_code(loader.get_data(path), path)
        return code

    with _LOCK:
        SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
        try:
            yield compiled
        finally:
            SourceFileLoader.get_code = usual  # type: ignore[method-assign]


@contextlib.contextmanager
def reads_noted(root: Path, noted: set[Path]) -> Iterator[None]:
    """Note the files below a folder that code opens to read them, of all threads; pathlib and runpy open them so, too.

    Args:
        root: the project's folder.
        noted: gets the files.
    """
    usual, usual_of_code, folder = io.open, io.open_code, root.absolute()

    def note(file: Any) -> None:  # noqa: ANN401 - whatever `open` takes
        place = Path(os.path.abspath(os.fsdecode(file)))  # noqa: PTH100 - `absolute` leaves `..` in it
        if place.is_relative_to(folder) and place.is_file():
            noted.add(place)

    def opened(file: Any, mode: str = "r", *others: Any, **named: Any) -> Any:  # noqa: ANN401 - as `open`
        result = usual(file, mode, *others, **named)
        if not isinstance(file, int) and not set(mode) & set("wax+"):
            note(file)
        return result

    def opened_as_code(path: str) -> Any:  # noqa: ANN401 - as `open`
        result = usual_of_code(path)
        note(path)
        return result

    builtins.open = io.open = opened
    io.open_code = opened_as_code
    try:
        yield
    finally:
        builtins.open = io.open = usual
        io.open_code = usual_of_code


def variables_for_fresh_code(root: Path, memory: Path) -> dict[str, str]:
    """Return the environment in which another Python runs a project's code from its text.

    Compiled files of installed packages are kept in a folder of ours, since compiling a framework takes seconds. Those
    of the project are deleted from it first.

    Args:
        root: the project's folder.
        memory: the folder for what is remembered; without it, everything is compiled in memory.
    """
    if not memory.is_dir():
        return {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    kept = memory / "bytecode"
    ours = kept / root.absolute().relative_to("/")  # as Python lays it out (importlib.util.cache_from_source)
    for path in ours.rglob("*.pyc"):
        if not _INSTALLED & set(path.relative_to(ours).parts):
            path.unlink(missing_ok=True)
    return {"PYTHONPYCACHEPREFIX": str(kept), "PYTHONDONTWRITEBYTECODE": ""}
