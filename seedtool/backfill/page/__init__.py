"""The report as one self-contained page: nothing of it is fetched from anywhere, and nothing in it runs."""

from seedtool.backfill.page.document import render
from seedtool.backfill.page.file import PageFile

__all__ = ["PageFile", "render"]
