"""The environment of a process that runs `alembic` in a project's folder, imitated within this process."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from seedtool.errors import MigrationError
from seedtool.files.code import reads_noted, run_from_text


@contextlib.contextmanager
def inside(folder: Path, root: Path, variables: Mapping[str, str]) -> Iterator[set[Path]]:
    """Work in a project's folder without output; afterwards the process is as it was. One thread at a time.

    Working folder, `sys.path`, modules and environment are the project's. What is printed goes to stderr,
    logging below WARNING nowhere.

    Args:
        folder: where `alembic` would be called.
        root: the project's folder: code below it is run from its text.
        variables: environment variables that are set meanwhile.

    Yields:
        the files of the project that were run as modules or read.

    Raises:
        MigrationError: there is no such folder.
    """
    if not folder.is_dir():
        raise MigrationError(
            f"there is no folder {folder}",
            remedy="Set alembic_ini in [tool.seedtool].",
            file=str(folder),
            setting="alembic_ini",
        )
    with (
        contextlib.chdir(folder),
        _environment(variables),
        _logging_quiet(),
        contextlib.redirect_stdout(sys.stderr),
        _modules_apart(folder),
        run_from_text(root) as used,
        reads_noted(root, used),
        warnings.catch_warnings(),
    ):
        # these warnings are about how the project's own alembic.ini is written
        warnings.filterwarnings("ignore", "No path_separator found|The version_path_separator", DeprecationWarning)
        # Alembic only warns here, and fails later with a message that says less
        warnings.filterwarnings("error", "Revision .* is not present", UserWarning)
        yield used


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    environ, path = dict(os.environ), list(sys.path)
    os.environ.update(variables)
    _forget_relative_paths()
    try:
        yield
    finally:
        sys.path[:] = path
        _forget_relative_paths()
        for name in os.environ.keys() - environ.keys():
            del os.environ[name]
        os.environ.update(environ)  # also what env.py's load_dotenv() changed


def _forget_relative_paths() -> None:
    """Drop the finders of `.` and the like, which Python keeps with the working folder of their first use."""
    for name in [name for name in sys.path_importer_cache if not Path(name).is_absolute()]:
        del sys.path_importer_cache[name]


@contextlib.contextmanager
def _logging_quiet() -> Iterator[None]:
    import logging.config

    level, file_config = logging.root.manager.disable, logging.config.fileConfig
    logging.disable(max(level, logging.INFO))
    # env.py's usual fileConfig() would replace the logging of the program we are in
    logging.config.fileConfig = lambda *_, **__: None
    try:
        yield
    finally:
        logging.config.fileConfig = file_config
        logging.disable(level)


@contextlib.contextmanager
def _modules_apart(folder: Path) -> Iterator[None]:
    """Let the project import its own `models`, `app` and the like; what it imports is forgotten afterwards.

    Forgotten, because such modules may read DATABASE_URL when they are imported. Modules of the project that
    were there before stay: they are the program's that we are in.
    """
    names = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    aside = {
        name: module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in names and _belongs_to_a_project(module) and not _is_below(module, folder)
    }
    for name in aside:
        del sys.modules[name]
    before = set(sys.modules)
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if name not in before and _belongs_to_a_project(module):
                del sys.modules[name]
        sys.modules.update(aside)


def _belongs_to_a_project(module: ModuleType) -> bool:
    """Tell a project's module from one of Python, of an installed package, or of ours."""
    if getattr(module, "__name__", "").split(".")[0] in {"", "seedtool", "__main__", "__mp_main__"}:
        return False
    place = _place(module)
    if place is None or {"site-packages", "dist-packages"} & set(place.parts):
        return False
    return not place.is_relative_to(Path(os.__file__).parent)


def _is_below(module: ModuleType, folder: Path) -> bool:
    place = _place(module)
    return place is not None and place.is_relative_to(folder)


def _place(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    return Path(file) if isinstance(file, str) else None
