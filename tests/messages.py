"""The approved wording of every error that the tests meet: tests/cli/messages.txt.

A test asserts what programs rely on: the class of an error, its place, the names in its remedy. The `approved` fixture
compares the words with this one file. `make approve` writes it anew, so that a new wording is one diff.
"""

import contextlib
import fcntl
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tests" / "cli" / "messages.txt"

#: What differs from run to run or from machine to machine, and what stands for it.
_PLACEHOLDERS = (
    (re.compile(r"TMP/[^/\s:,'\"`]+"), "TMP"),  # the folder of one test, which pytest numbers
    (re.compile(re.escape(str(ROOT))), "ROOT"),
    (re.compile(r"(?<=-)[0-9a-f]{10}(?=[/:\s]|$)"), "HASH"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\btest_[0-9a-f]{12}\b"), "DATABASE"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d{5}|(?<=localhost:)\d{5}"), "PORT"),
    (re.compile(r"\b(session|process|PID) \d+"), r"\1 PID"),
)


def shown(error: object, exit_code: int | None, folders: Mapping[str, str]) -> str:
    """Return how an error stands in the file.

    Args:
        error: an exception, or the object that `--json` prints of one.
        exit_code: the command's; None for an error that a function raised.
        folders: temporary folders of this run, and what stands for each.
    """
    if isinstance(error, dict):
        kind, message, remedy, place = error["kind"], error["message"], error["remedy"], error["place"]
    else:
        kind, message = type(error).__name__, str(getattr(error, "message", error))
        remedy, place = getattr(error, "remedy", ""), getattr(error, "place", None)
        if place is None:  # of a part of the program that knows no more than these two
            place = {name: getattr(error, name) for name in ("line", "column", "code") if getattr(error, name, None)}
    where = "".join(f", {key}={value}" for key, value in place.items())
    ending = "" if exit_code is None else f", exit code {exit_code}"
    lines = [f"{kind}{ending}{where}", *message.splitlines(), *(f"> {line}" for line in remedy.splitlines())]
    text = "\n".join(f"  {line}".rstrip() for line in lines)
    for folder, name in folders.items():
        text = text.replace(folder, name)
    for pattern, name in _PLACEHOLDERS:
        text = pattern.sub(name, text)
    return text.encode("utf-8", "backslashreplace").decode()


def read() -> dict[str, str]:
    """Return the approved text of each case by its name."""
    # the lines of a case are indented; an empty line followed by a name separates two
    blocks = re.split(r"\n\n(?=\S)", FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    return {name: body for name, _, body in (block.strip("\n").partition("\n") for block in blocks) if name}


def case_of(nodeid: str) -> str:
    """Return the name of the first error of a test."""
    return nodeid.removeprefix("tests/")


def write(name: str, text: str) -> None:
    """Write a case into the file; several processes may do so at once."""
    with _alone():
        _write(read() | {name: text})


def keep(tests: Container[str]) -> None:
    """Take the cases of tests that there are no longer out of the file."""
    with _alone():
        cases = read()
        kept = {name: text for name, text in cases.items() if re.sub(r" \d+$", "", name) in tests}
        if kept != cases:
            _write(kept)


def _write(cases: Mapping[str, str]) -> None:
    whole = "\n\n".join(f"{name}\n{cases[name]}" for name in sorted(cases))
    FILE.write_text(f"{whole}\n", encoding="utf-8")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
