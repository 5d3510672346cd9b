"""init, doctor, config: the project as a whole."""

from __future__ import annotations

import functools
import textwrap
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, table
from seedtool.cli.failures import ErrorWithReport
from seedtool.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from seedtool.settings import Settings


@click.command(short_help="Begin to use seedtool in an Alembic project.", context_settings=CONTEXT)
@common_options
def init(*, console: Console, settings: Settings) -> None:
    """Write settings and a first seed file for a project that uses Alembic. It overwrites nothing.

    Where the migrations fail, it writes what needs no table, shows the error, and ends with exit code 1.
    """
    from seedtool.workflows.adopt import adopt

    report = adopt(settings=settings)

    def lines() -> Iterator[str]:
        for name in report.written:
            yield f"wrote  {name}"
        for name in report.kept:
            yield f"kept   {name}"
        yield from report.advice
        if report.face_tables:
            yield f"tables with faces: {', '.join(report.face_tables)}"
        if report.failed:
            yield "the tables could not be looked at: run seedtool init again once they can"
        elif not report.tables:
            yield "the database has no tables yet: run seedtool migrate, then seedtool init again"
        else:
            yield f"seed files go into seeds/local, one a table: {', '.join(report.tables)}"
            yield "fill them, or write rows of the database back with seedtool seed-dump --table NAME"
            yield f"then: {report.reset}"

    if report.failed and console.as_json:
        raise ErrorWithReport(MigrationError(report.failed, remedy=report.cure), report)
    console.report(report, lines)
    if report.failed:
        raise MigrationError(report.failed, remedy=report.cure)


@click.command(short_help="Find what is wrong, and say what to do.", context_settings=CONTEXT)
@common_options
def doctor(*, console: Console, settings: Settings) -> int:
    """Check everything that the commands need, and say what to do. The exit code is 1 when something is wrong."""
    from seedtool.workflows.doctor import examine

    checks = []
    for check in examine(settings=settings):
        checks.append(check)
        if not console.as_json and (check.state == "wrong" or not console.quiet):
            detail = textwrap.indent(check.detail, " " * 21).lstrip()  # an error of several lines is shown whole
            console.line(f"{check.state:7}  {check.name:10}  {detail}")
            if check.cure:
                console.line(textwrap.indent(f"cure: {check.cure}", " " * 21))
    wrong = [check.name for check in checks if check.state == "wrong"]
    console.report(
        {"ok": not wrong, "checks": checks},
        lambda: [f"wrong: {', '.join(wrong)}" if wrong else "everything is in order"],
    )
    return 1 if wrong else 0


@click.command(short_help="Show the settings and where each was found.", context_settings=CONTEXT)
@functools.partial(common_options, anywhere=True)
def config(*, console: Console, settings: Settings) -> None:
    """Show the settings in force and where each was found. Secrets are hidden."""
    import msgspec

    from seedtool.settings import SETTINGS, redacted

    values = msgspec.to_builtins(settings, enc_hook=str)
    shown = {
        key: "***" if setting.secret and values[key] else redacted(values[key]) for key, setting in SETTINGS.items()
    }
    report = {key: {"value": shown[key], "origin": settings.origins[key]} for key in SETTINGS}
    report["state_dir"] = {"value": str(settings.state_dir), "origin": "home and the project's folder"}

    def lines() -> Iterator[str]:
        import shutil

        rows = [
            (name, text, str(entry["origin"]).partition(", [")[0])
            for key, entry in report.items()
            for name, text in _texts(key, entry["value"], settings)
        ]
        # in a file, or for grep, each setting is one line
        at_terminal = console.out is not None and console.out.isatty()
        yield from table(
            ("setting", "value", "from"), rows, width=shutil.get_terminal_size().columns if at_terminal else None
        )

    console.report(report, lines)


def _texts(key: str, value: object, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a setting with its value; of a table of settings, those that differ from the defaults."""
    if not isinstance(value, dict):
        yield key, _shown(value)
        return
    import msgspec

    usual = msgspec.to_builtins(type(getattr(settings, key))(), enc_hook=str)
    differing = list(_differing(key, value, usual))
    yield from differing or [(key, "as by default")]


def _differing(key: str, value: dict[str, object], usual: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, each in value.items():
        if each == usual.get(name):
            continue
        if isinstance(each, dict) and isinstance(usual.get(name), dict):
            yield from _differing(f"{key}.{name}", each, usual[name])  # type: ignore[arg-type] # it is a dict
        else:
            yield f"{key}.{name}", _shown(each)


def _shown(value: object) -> str:
    if value in (None, (), []):
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(item["table"]) if isinstance(item, dict) else str(item) for item in value)
    return str(value)
