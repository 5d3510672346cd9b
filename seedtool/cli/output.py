"""Stdout and stderr: the only place that writes to them.

Results go to stdout, everything else to stderr. Stdout is ours alone: what a project's own code prints (a fixture, a
revision, env.py, a program that they start) goes to stderr, so that `--json` prints one object and `eval "$(seedtool
env)"` runs nothing else. What is written is cleaned here (`seedtool.printable`), for names and values come
from strangers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from seedtool.printable import STEERING, printable

if TYPE_CHECKING:
    from collections.abc import Iterator


def take_stdout() -> None:
    """Let this process's descriptor 1 lead to stderr; `sys.stdout` alone still leads to where it led.

    So the output of programs that are started, of libraries in C, and what is printed while Python ends goes to stderr.
    """
    results = sys.stdout
    if results is not None:  # it is where the caller closed it (`>&-`)
        # above 2, which is free where stderr is closed
        own = fcntl.fcntl(results.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
        sys.stdout = open(own, "w", encoding=results.encoding, errors=results.errors)  # noqa: SIM115, PTH123
    os.dup2(os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else sys.stderr.fileno(), 1)


@contextlib.contextmanager
def stdout_apart() -> Iterator[TextIO | None]:
    """Yield stdout for results. In the body `sys.stdout` is stderr, for everybody else; both are restored."""
    results, errors = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        # stderr may be closed (`2>&-`)
        others = errors or stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.callback(_open_stderr, errors)
        stack.enter_context(contextlib.redirect_stdout(others))
        yield results


def _open_stderr(errors: TextIO | None) -> None:
    """Let a stream be `sys.stderr`; where the project's code closed it, open its descriptor as Python did."""
    if errors is not None and not _writes(errors):
        errors = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = errors


def _writes(stream: TextIO) -> bool:
    try:
        return not stream.closed
    except ValueError:  # `detach` took its buffer away
        return False


def write(text: str, out: TextIO | None) -> None:
    """Write a line of a result.

    Args:
        text: the line, without its end.
        out: stdout, as `stdout_apart` yields it; None where it is closed.
    """
    if out is not None:
        click.echo(printable(text), file=out)


def write_json(text: str, out: TextIO | None, *, end: str = "\n") -> None:
    """Write JSON, with what would steer a terminal as JSON's own escapes.

    Args:
        text: a piece of JSON. Control characters are escaped in it already, but for those that JSON allows.
        out: as `write` takes it.
        end: is written after it.
    """
    if out is not None:
        out.write(STEERING.sub(lambda found: _json_escape(found[0]), text) + end)
        if end:
            out.flush()


def say(text: str = "", label: str = "") -> None:
    """Write to stderr.

    Args:
        text: what is said; it may have several lines.
        label: `error` or `warning` before it, in colour at a terminal, but for NO_COLOR and TERM=dumb.
    """
    if sys.stderr is not None and not _writes(sys.stderr):
        _open_stderr(sys.stderr)
    if label:
        before = f"{label}: "
        if not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":  # https://no-color.org
            before = click.style(before, fg="red" if label == "error" else "yellow", bold=True)
        click.echo(before + printable(text), err=True)
    else:
        click.echo(printable(text), err=True)


def confirm(question: str) -> bool:
    """Ask a question at the terminal that is answered with yes or no."""
    return click.confirm(printable(question), err=True)


def _json_escape(character: str) -> str:
    """Return a character as JSON writes it in ASCII: two units of UTF-16 where it needs them."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
