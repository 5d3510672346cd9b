"""Faces that await a person: listed, decided by somebody, and searched again once somebody has a name."""

from seedtool.backfill.review.again import Searched, search_again
from seedtool.backfill.review.choosing import Assigned, Choice, choose, users_of
from seedtool.backfill.review.waiting import Suggested, Waiting, count, users_waiting, waiting

__all__ = [
    "Assigned",
    "Choice",
    "Searched",
    "Suggested",
    "Waiting",
    "choose",
    "count",
    "search_again",
    "users_of",
    "users_waiting",
    "waiting",
]
