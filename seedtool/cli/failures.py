"""How an error is shown: its message and remedy on stderr, an object on stdout with --json, and an exit code."""

from __future__ import annotations

import errno
import io
import sys
import traceback
from typing import NamedTuple

import click

from seedtool.cli import output
from seedtool.errors import Place, SeedtoolError

INTERRUPTED = 130

#: Characters that are shown of a message that is not ours: an error of Python's may list thousands of files.
_LONGEST = 300


class Failure(NamedTuple):
    """What is shown of an error."""

    kind: str
    message: str
    remedy: str
    exit_code: int
    place: Place | None = None


class ErrorWithReport(Exception):
    """An error that ended a command after a part of its work.

    Args:
        error: the error.
        report: what was done until then; --json prints it beside the error.
    """

    def __init__(self, error: BaseException, report: object) -> None:
        super().__init__(str(error))
        self.error = error
        self.report = report


def show(error: BaseException, command: str = "", milliseconds: float = 0) -> int:
    """Show an error, with --debug its traceback first.

    Args:
        error: the error.
        command: the command's name, after those of its groups.
        milliseconds: the time since the command began.

    Returns:
        The exit code.
    """
    report: object = None
    if isinstance(error, ErrorWithReport):
        report = error.report
        error = error.error
    failure = _describe(error)
    if _given("--debug") and not isinstance(error, click.ClickException | click.Abort):
        output.say("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, click.UsageError):
        shown = io.StringIO()
        error.show(shown)  # with the usage line, and where the help is
        output.say(shown.getvalue().rstrip())
    elif failure.exit_code == INTERRUPTED:
        output.say(failure.message)
    else:
        output.say(failure.message, label="error")
        for line in failure.remedy.splitlines():
            output.say(f"  {line}")
    if _given("--json"):
        import json

        told: dict[str, object] = {
            "ok": False,
            "command": command,
            "milliseconds": round(milliseconds, 1),
            "error": {
                "kind": failure.kind,
                "message": failure.message,
                "remedy": failure.remedy,
                "place": failure.place or {},
            },
        }
        if report is not None:
            import msgspec

            told["report"] = msgspec.to_builtins(report, str_keys=True)
        output.write_json(json.dumps(told), sys.stdout)
    return failure.exit_code


def _describe(error: BaseException) -> Failure:
    kind = type(error).__name__
    if _was_interrupted(error):
        return Failure("Interrupted", "interrupted", "", INTERRUPTED)
    if isinstance(error, ModuleNotFoundError):
        from seedtool import extras

        error = extras.explained(error) or error
    if isinstance(error, SeedtoolError):
        return Failure(type(error).__name__, error.message, error.remedy, error.exit_code, error.place)
    if isinstance(error, click.ClickException):
        given = error.param if isinstance(error, click.BadParameter) else None
        where = Place(option=_name(given)) if given is not None else None
        return Failure(kind, error.format_message(), "--help shows the usage.", error.exit_code, where)
    if hasattr(error, "remedy"):  # the emulator's own errors: it imports nothing of ours
        return Failure(kind, str(error), str(error.remedy), 1)
    text = str(error).strip()
    first = text.splitlines()[0][:_LONGEST] if text else "no message"
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename is not None else ""
        return Failure(kind, f"{error.strerror}{place}", _remedy(error), 1)
    if type(error).__module__.partition(".")[0] == "psycopg":
        return Failure(kind, f"the database refused: {first}", "--debug shows what was being done.", 1)
    remedy = "This is not your fault. Run again with --debug and report what it shows."
    return Failure(kind, f"unexpected {kind}: {first}", remedy, 1)


def _remedy(error: OSError) -> str:
    """Return what may help where no part of ours has said more."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "Make room where the output and the files go, and run again."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "Give this user the right to it, and run again; --debug shows what was being done."
    return "--debug shows what was being done."


def _name(parameter: click.Parameter) -> str:
    """Return a parameter as it is typed: its longest flag, or an argument's name in capitals."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else str(parameter.name).upper()


def _was_interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl+C ended the command.

    It may hide behind another error: Ctrl+C in the middle of a statement leaves a connection on which nothing else may
    be done ("another command is already in progress"), and what then cleans up fails.
    """
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        if isinstance(found, KeyboardInterrupt | click.Abort):
            return True
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return False


def _given(flag: str) -> bool:
    arguments = sys.argv[1:]
    return flag in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
