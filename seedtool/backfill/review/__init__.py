"""Faces that await a person: listed, decided by somebody, and searched again once somebody has a name."""

from seedtool.backfill.review.again import Searched, search_again
from seedtool.backfill.review.choosing import Assigned, Choice, choose
from seedtool.backfill.review.waiting import Suggested, Waiting, count, waiting

__all__ = ["Assigned", "Choice", "Searched", "Suggested", "Waiting", "choose", "count", "search_again", "waiting"]
