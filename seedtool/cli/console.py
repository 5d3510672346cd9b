"""What all commands share: common options, where results and notes are printed, and how a user is asked to confirm.

Every command's module is imported for `seedtool --help`, so at the top these import click and nothing that is heavy.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

import click

from seedtool.cli import output
from seedtool.errors import NotConfirmed
from seedtool.listener import Listener
from seedtool.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from seedtool.cli.line import Line
    from seedtool.postgres.server import Target
    from seedtool.resetting.guard import Consent

F = TypeVar("F", bound="Callable[..., Any]")
Result = TypeVar("Result")


class Notes(Listener):
    """Prints a workflow's notes on stderr.

    Args:
        console: where they are printed.
        steps: what is printed when a step begins, by the step's name; other steps print nothing.

    Attributes:
        on_progress: draws how much is done, and of how much.
    """

    def __init__(self, console: Console, steps: Mapping[str, str]) -> None:
        self.on_progress: Callable[[int, int | None], None] | None = None
        self._console = console
        self._steps = steps
        self._line: Line | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show in one line of stderr what is being done while the body runs, where that takes longer than a second.

        Without a terminal that can move its cursor, with --quiet and with --verbose, there is no line. Where the body
        asks something, it calls `end_line` before.
        """
        if self._console.verbose or not self._console.draws:
            yield
            return
        from seedtool.cli.line import Line

        self._line = Line()
        try:
            yield
        finally:
            self.end_line()

    def end_line(self) -> None:
        """Remove the line of `live` before the body has ended."""
        if self._line is not None:
            self._line.end()
            self._line = None

    def step(self, name: str) -> None:
        """Print what the step does."""
        self._console.detail(name)
        if name in self._steps:
            self.note(self._steps[name])
        if self._line is not None:
            self._line.step(name)

    def note(self, text: str) -> None:
        """Print it."""
        if self._line is not None:
            self._line.clear()
        self._console.note(text)

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """Draw it."""
        if self.on_progress is not None:
            self.on_progress(done, total)
        elif self._line is not None:
            self._line.count(what, done, total)


class Console:
    """Results go to stdout, everything else to stderr.

    Args:
        as_json: print each report as one JSON object.
        quiet: print no notes and no report texts; errors and warnings stay.
        out: stdout; None where it is closed.
        verbose: print each step that begins, and when.
        command: the command's name, after those of its groups.
    """

    def __init__(
        self, *, as_json: bool, quiet: bool, out: TextIO | None, verbose: bool = False, command: str = ""
    ) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = out
        self.verbose = verbose
        self._command = command
        self._began = time.monotonic()
        self._report: Mapping[str, object] | None = None

    @property
    def draws(self) -> bool:
        """Whether bars are wanted, and stderr is a terminal that can move its cursor."""
        terminal = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        return terminal and not self.quiet

    def detail(self, text: str) -> None:
        """With --verbose, print what is happening and the seconds since the command began, on stderr."""
        if self.verbose:
            output.say(f"{time.monotonic() - self._began:8.3f} s  {text}")

    def note(self, text: str) -> None:
        """Print what is happening, on stderr."""
        if not self.quiet:
            output.say(text)

    def line(self, text: str) -> None:
        """Print a line of a result, whatever flags were given."""
        output.write(text, self.out)

    def report(
        self, report: object, text: Callable[[], Iterable[str]], *, now: bool = False, always: bool = False
    ) -> None:
        """Print a command's result: the lines of `text`, or JSON when the command has ended, which says how.

        Args:
            report: a mapping or a struct; its keys stand beside those of `_common`, and go before them.
            text: gives the lines.
            now: the command runs on, so its JSON is printed at once.
            always: --quiet takes the lines not away.
        """
        if self.as_json:
            self._report = plain(report)
            if now:
                self.finish(ok=True)
        elif always or not self.quiet:
            for line in text():
                self.line(line)

    def finish(self, *, ok: bool) -> None:
        """Print the report as JSON, if there is one that was not printed.

        Args:
            ok: the exit code is 0.
        """
        report, self._report = self._report, None
        if report is not None:
            output.write_json(as_json({**self._common(ok=ok), **report}), self.out)

    def _common(self, *, ok: bool) -> dict[str, object]:
        """Return what stands in the JSON of every command; docs/json.md explains it."""
        took = round((time.monotonic() - self._began) * 1000, 1)
        return {"ok": ok, "command": self._command, "milliseconds": took}

    def stream(self, head: Mapping[str, object], name: str, rows: Iterable[object]) -> None:
        """Print one JSON object whose last member is a list, piece by piece: a million rows would take 150 MB.

        Args:
            head: the members before it.
            name: of the list.
            rows: its elements.
        """
        common = self._common(ok=True)
        took = common.pop("milliseconds")
        output.write_json(f'{as_json({**common, **head})[:-1]},"{name}":[', self.out, end="")
        for place, each in enumerate(rows):
            output.write_json(("," if place else "") + as_json(each), self.out, end="")
        output.write_json(f'],"milliseconds":{took}}}', self.out)

    def listener(self, steps: Mapping[str, str]) -> Notes:
        """Return a listener that prints a workflow's steps and notes on stderr.

        Args:
            steps: the text that is printed when a step begins, by the step's name. Other steps print nothing.
        """
        return Notes(self, steps)

    @contextlib.contextmanager
    def working(self, what: str, steps: Mapping[str, str] | None = None) -> Iterator[Notes]:
        """Yield a listener that draws a bar on stderr while the body runs.

        Without a terminal that can move its cursor, or with --quiet, there is no bar.

        Args:
            what: what the bar counts.
            steps: as `listener` takes them.
        """
        listener = self.listener(steps or {})
        if not self.draws:
            yield listener
            return
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        from seedtool.files.shown import shown_size

        in_bytes = what == "bytes"
        columns = (
            TextColumn(what),
            BarColumn(),
            DownloadColumn() if in_bytes else MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None, rate="")
            began = time.monotonic()

            def draw(done: int, total: int | None) -> None:
                speed = done / max(time.monotonic() - began, 1e-3)
                rate = f"{shown_size(int(speed)) if in_bytes else format(speed, ',.0f')} a second"
                bar.update(task, completed=done, total=total, rate=rate)

            listener.on_progress = draw
            yield listener


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> Iterable[str]:
    """Yield the lines of a plain table, one a row. Numbers are aligned to the right.

    Args:
        header: the names of the columns.
        rows: the cells of each row.
        width: the columns of the terminal that it has to fit into; the widest column's cells are then broken.
    """
    body = [[printable(str(cell), one_line=True) for cell in row] for row in rows]
    widths = [max(columns(line[i]) for line in [list(header), *body]) for i in range(len(header))]
    right = [bool(body) and all(line[i].replace(".", "").isdigit() for line in body) for i in range(len(header))]
    if width is not None and (over := sum(widths) + 2 * (len(widths) - 1) - width) > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] = max(widths[widest] - over, 10)
    for line in [list(header), ["-" * width for width in widths], *body]:
        parts = [_broken(cell, width) for cell, width in zip(line, widths, strict=True)]
        for part in itertools.zip_longest(*parts, fillvalue=""):
            cells = [
                f"{' ' * (w - columns(c))}{c}" if r else f"{c}{' ' * (w - columns(c))}"
                for c, w, r in zip(part, widths, right, strict=True)
            ]
            yield "  ".join(cells).rstrip()


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide letter, none for an accent of its own.

    Widths are those of Unicode's annex 11 (East Asian Width).
    """
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.category(each) in {"Mn", "Me", "Cf"} else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def _broken(text: str, width: int) -> list[str]:
    """Return a text in pieces of at most so many columns, broken after a blank, a comma or a slash if there is one."""
    pieces = []
    while columns(text) > width:
        end = len(text)
        while columns(text[:end]) > width and end > 1:
            end -= 1
        best = max(text.rfind(each, end // 2, end) for each in " ,/") + 1
        pieces.append(text[: best or end].rstrip())
        text = text[best or end :]
    return [*pieces, text]


def plain(report: object) -> dict[str, object]:
    """Return a report as a dictionary of what JSON can write. Its keys are texts: only those can be sorted."""
    import msgspec

    found: dict[str, object] = msgspec.to_builtins(report, str_keys=True)
    return found


def as_json(report: object) -> str:
    """Return a report as JSON, its keys sorted."""
    import msgspec

    found = msgspec.to_builtins(report, str_keys=True)
    try:
        return msgspec.json.encode(found, order="sorted").decode()
    except UnicodeEncodeError:  # a file's name that is not UTF-8; JSON's escapes can write it
        import json

        return json.dumps(found, sort_keys=True, separators=(",", ":"))


def common_options(function: F, *, anywhere: bool = False) -> F:
    """Give a command --json, --quiet, --verbose and --debug. It gets a `console` and the project's `settings`.

    Args:
        function: the command's body.
        anywhere: the command also works outside a project.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="Print only errors and warnings.")
    @click.option("-v", "--verbose", is_flag=True, help="Print each step and when it began.")
    @click.option("--debug", is_flag=True, help="Show the traceback when there is an error.")
    @functools.wraps(function)
    def wrapper(
        *args: Any,  # noqa: ANN401
        as_json: bool,
        quiet: bool,
        verbose: bool,
        debug: bool,  # noqa: ARG001 - `failures.show` looks for it
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        from seedtool.settings import load
        from seedtool.workflows.project import refuse_outside_a_project

        settings = load()
        if not anywhere:
            refuse_outside_a_project(settings)
        with output.stdout_apart() as out:
            path = click.get_current_context().command_path.removeprefix("seedtool ")
            console = Console(as_json=as_json, quiet=quiet, out=out, verbose=verbose, command=path)
            console.detail(f"project in {settings.root}")
            answer = function(*args, console=console, settings=settings, **kwargs)
            console.detail("done")
            console.finish(ok=not answer)
            return answer

    return wrapper  # type: ignore[return-value] # the wrapper takes the options in the place of what it adds


CONTEXT = {"help_option_names": ["-h", "--help"]}


def agreed(
    run: Callable[[Consent], Result],
    look: Callable[[], Consent],
    target: Target,
    *,
    yes: bool,
    confirm: str | None,
) -> Result:
    """Replace a database with the consent that the flags give. When that is not enough, ask at the terminal.

    Args:
        run: replaces the database with the consent that it is given.
        look: returns the consent that is needed.
        target: the database.
        yes: `--yes` was given.
        confirm: the name given by `--confirm`.

    Raises:
        NotConfirmed: the flags are not enough, and there is no terminal or the user said no.
    """
    from seedtool.resetting import guard

    given = guard.given(target, yes=yes, confirm=confirm)
    try:
        return run(given)
    except NotConfirmed:
        consent = ask_to_replace(look(), target, yes=yes, confirm=confirm)
        if consent <= given:
            raise
    return run(consent)


def ask_to_replace(needed: Consent, target: Target, *, yes: bool, confirm: str | None) -> Consent:
    """Return the consent that the user gives, by flags or at the prompt.

    Args:
        needed: what the guard wants.
        target: the database that would be replaced.
        yes: `--yes` was given.
        confirm: the name given by `--confirm`.

    Raises:
        NotConfirmed: the user said no. Without a terminal nothing is asked and the guard itself refuses.
    """
    from seedtool.resetting import guard

    given = guard.given(target, yes=yes, confirm=confirm)
    if given >= needed or not sys.stdin.isatty():
        return given
    if needed is guard.Consent.YES:
        if asked(lambda: output.confirm(f"Replace {target}? All its data will be lost.")):
            return guard.Consent.YES
    else:
        output.say(f"{target} holds data and was not made by seedtool. All of it would be lost.")
        if type_name(target):
            return guard.Consent.NAME
    raise NotConfirmed(f"{target} was not confirmed; nothing was changed")


def type_name(target: Target) -> bool:
    """Ask for the database's name at the terminal. Return whether it was right."""
    return asked(lambda: click.prompt("Type the database's name to go on", err=True) == target.name)


def agree_to(question: str, *, yes: bool, fault: str, remedy: str = "Agree with --yes.") -> None:
    """Ask whether to go on, unless `--yes` was given.

    Args:
        question: what is asked at the terminal.
        yes: `--yes` was given.
        fault: what the error says where there is no terminal to ask at.
        remedy: how to agree without a terminal.

    Raises:
        NotConfirmed: the user said no, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed(fault, remedy=remedy)
    if not asked(lambda: output.confirm(question)):
        raise NotConfirmed("not confirmed; nothing was changed")


def asked(ask: Callable[[], bool]) -> bool:
    """Ask a question. The end of the input (Ctrl+D) means no. Ctrl+C interrupts the command."""
    try:
        return ask()
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            output.say()
            return False
        raise


def check_collection(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
    """Refuse a text that cannot be a collection's id, before AWS is called."""
    if value is None:
        return None
    from seedtool.settings import COLLECTION_ID

    if not COLLECTION_ID.fullmatch(value):
        raise click.BadParameter(f"{value!r} cannot be a collection id: 1 to 255 letters, digits and _.-")
    return value
