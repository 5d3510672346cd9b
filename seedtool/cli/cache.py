"""cache list, cache prune, fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, number, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from seedtool.resetting.cache import Entry
    from seedtool.settings import Settings


@click.group(short_help="Templates and spares: list, prune.", context_settings=CONTEXT)
def cache() -> None:
    """Templates and spares, of which databases are made in milliseconds."""


@cache.command("list", short_help="List templates and spares.", context_settings=CONTEXT)
@common_options
def cache_list(*, console: Console, settings: Settings) -> None:
    """List what seedtool keeps on the server: templates, spares, and what is being made or dropped."""
    from seedtool.postgres import server
    from seedtool.postgres.cluster import open_cluster
    from seedtool.resetting import cache as caches

    target = server.find(settings)
    with open_cluster(target) as cluster:
        found = caches.entries(cluster)
    size = sum(each.size or 0 for each in found)

    def lines() -> Iterable[str]:
        yield from _entry_lines(found)
        templates = sum(each.kind == "template" for each in found)
        yield (
            f"{number(templates, 'template')} of at most {settings.cache_templates};"
            f" {_size(size)} in all, templates at most {settings.cache_gb:g} GB"
        )

    console.report({"cache": found, "bytes": size}, lines)


@cache.command("prune", short_help="Drop templates that are too many.", context_settings=CONTEXT)
@click.option("--all", "everything", is_flag=True, help="Drop every template and spare.")
@click.option("--dry-run", is_flag=True, help="Tell what would be dropped.")
@common_options
def cache_prune(*, everything: bool, dry_run: bool, console: Console, settings: Settings) -> None:
    """Drop the templates that are too many or too large together, those unused for longest first, and outdated spares.

    What has sessions, is being cloned or belongs to a role that is not yours stays. Nothing is lost but time.
    """
    from seedtool.postgres import server
    from seedtool.postgres.cluster import open_cluster
    from seedtool.resetting import cache as caches

    with open_cluster(server.find(settings)) as cluster:
        pruned = caches.prune(cluster, settings, everything=everything, dry_run=dry_run)

    def lines() -> Iterable[str]:
        yield from _entry_lines(pruned.dropped) if pruned.dropped else ()
        for name, why in pruned.kept.items():
            yield f"{name} stays: {why}"
        freed = _size(sum(each.size or 0 for each in pruned.dropped))
        verb = "would drop" if dry_run else "dropped"
        yield f"{verb} {number(len(pruned.dropped), 'database')}, {freed}" if pruned.dropped else "nothing to prune"

    console.report({"dry_run": dry_run, "dropped": pruned.dropped, "kept": pruned.kept}, lines)


def _entry_lines(found: Sequence[Entry]) -> Iterable[str]:
    kinds = {"other": "in work"}
    rows = [
        (each.name, kinds.get(each.kind, each.kind), _size(each.size), _ago(each.made), _ago(each.used), each.purpose)
        for each in found
    ]
    if rows:
        yield from table(("database", "what", "size", "made", "used", "for"), rows)


def _size(size: int | None) -> str:
    from seedtool.files.shown import shown_size

    return "?" if size is None else shown_size(size)


def _ago(time: str | None) -> str:
    """Return how long ago a time was, in one unit."""
    if time is None:
        return "-"
    from datetime import UTC, datetime

    seconds = max((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{number(int(seconds // length), unit)} ago"
    return "just now"


@click.command(short_help="Print the key by which CI keeps a template.", context_settings=CONTEXT)
@click.option("--seed", "profile", metavar="PROFILE", help="The template with this profile's rows.")
@common_options
def fingerprint(*, profile: str | None, console: Console, settings: Settings) -> None:
    """Print a hash of all that shapes a template, for the key of a cache.

    That is the project's files and PostgreSQL's major version; no server is needed. Where a fixture reads the day,
    the key is that day's.
    """
    from seedtool.workflows import reset as workflow

    digest = workflow.fingerprint(profile, settings=settings)
    console.report({"fingerprint": digest, "profile": profile}, lambda: [digest])
