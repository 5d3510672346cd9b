"""init, doctor, config: the project as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, table

if TYPE_CHECKING:
    from seedtool.settings import Settings


@click.command(context_settings=CONTEXT)
@common_options
def config(*, console: Console, settings: Settings) -> None:
    """Show the settings in force and where each came from; secrets are redacted."""
    import msgspec

    from seedtool.settings import KEYS, redacted

    values = msgspec.to_builtins(settings, enc_hook=str)
    report = {key: {"value": redacted(values[key]), "origin": settings.origins[key]} for key in KEYS}
    report["state_dir"] = {"value": str(settings.state_dir), "origin": "home and the project's folder"}

    def lines() -> list[str]:
        rows = [(key, _shown(entry["value"]), entry["origin"]) for key, entry in report.items()]
        return list(table(("setting", "value", "from"), rows))

    console.report(report, lines)


def _shown(value: object) -> str:
    if value in (None, (), []):
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(str(item["table"]) if isinstance(item, dict) else str(item) for item in value)
    return str(value)
