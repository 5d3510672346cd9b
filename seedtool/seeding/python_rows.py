"""Rows in Python: a module whose `rows()` yields a dict for each."""

import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path

from seedtool.files import Malformed


def read(path: Path, content: bytes, root: Path) -> list[tuple[int, dict[str, object]]]:
    """Run a module and return what its `rows()` yields, each row with its number.

    Nothing is written beside the module, no bytecode either.

    Args:
        path: the module.
        content: what it holds.
        root: the project's root, from which the module may import.

    Raises:
        Malformed: the module fails, has no `rows()`, or yields something else; the line is the one that failed.
    """
    module = types.ModuleType(f"seedtool_fixture_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # a dataclass looks its module up
    sys.path.insert(0, str(root))
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - a fixture is the project's own code
        return [(number, _row(number, row)) for number, row in enumerate(_rows(module), 1)]
    except Malformed:
        raise
    except SyntaxError as error:
        line = error.lineno if error.filename == str(path) else _failing_line(error, path)
        raise Malformed(f"this is not Python: {error.msg}", remedy="Mend the line.", line=line) from error
    except (Exception, SystemExit) as error:  # whatever a project's code may raise; its text may hold names of people
        raise Malformed(
            f"the code failed with {type(error).__name__}",
            remedy="Mend the code; --debug shows the whole traceback.",
            line=_failing_line(error, path),
        ) from error
    finally:
        sys.path.remove(str(root))
        del sys.modules[module.__name__]


def _rows(module: types.ModuleType) -> Iterable[object]:
    rows = getattr(module, "rows", None)
    if not callable(rows):
        raise Malformed("the module has no function rows()", remedy="Write def rows(): and yield a dict for each row.")
    found: Iterable[object] = rows()
    return found


def _row(number: int, row: object) -> dict[str, object]:
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise Malformed(
            f"row {number} of rows() is a {type(row).__name__} and not a dict of columns",
            remedy="Yield a dict with the columns' names.",
        )
    return dict(row)


def _failing_line(error: BaseException, path: Path) -> int | None:
    """Return the line of the module that raised, or that called what raised."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
