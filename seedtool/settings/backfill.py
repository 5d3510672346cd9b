"""The settings of the backfill, [tool.seedtool.backfill]: how it decides, and what AWS takes for it."""

import re
from typing import Annotated

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.faces import COLLECTION_ID, FaceSettings
from seedtool.settings.library import (
    AssetsTable,
    CollectionsTable,
    FacesTable,
    LibraryTable,
    LinksTable,
    PersonsTable,
    UsersTable,
)
from seedtool.settings.setting import Fault, Setting


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the backfill decides about faces, and what AWS takes for it. Each field's text says what it is.

    Raises:
        SettingsError: a number is outside its range, or the prefix cannot begin a collection's id.
    """

    assign: Annotated[
        float,
        msgspec.Meta(
            description="the similarity (0 to 100) from which a face is linked to the person of the face it is like"
        ),
    ] = 95.0
    review: Annotated[
        float,
        msgspec.Meta(
            description="the similarity from which a likeness is suggested to the user; lower ones are ignored"
        ),
    ] = 80.0
    smallest_face: Annotated[
        float,
        msgspec.Meta(
            description="a share of the picture: a face that is smaller in both width and height is deleted again"
        ),
    ] = 0.03
    visibility: Annotated[
        float,
        msgspec.Meta(
            description="seconds until a search finds a face that was indexed (AWS has been seen to take up to 2)"
        ),
    ] = 2.0
    longest_outage: Annotated[
        float,
        msgspec.Meta(
            description="seconds that a run tries again while AWS, the network or the database does not answer; then "
            "it ends, and the same command continues"
        ),
    ] = 600.0
    collection_prefix: Annotated[
        str, msgspec.Meta(description="the id of a user's collection is this and then the user's id")
    ] = "savta-user-"
    # source of the default: AWS's price list, the first million calls a month in us-east-1
    prices: Annotated[
        dict[str, float],
        msgspec.Meta(description="dollars for one call, by operation; an operation that is not named is free"),
    ] = msgspec.field(default_factory=lambda: {"IndexFaces": 0.001, "SearchFaces": 0.001})
    prices_of: Annotated[str, msgspec.Meta(description="the day on which the prices were read")] = "2026-11-20"
    user_label: Annotated[
        str,
        msgspec.Meta(
            description="the column of the table of users that says who a user is; a terminal shows it, and files hold "
            "it only with --with-labels"
        ),
    ] = "email"
    users: Annotated[UsersTable, msgspec.Meta(description="the table of the users, each of whom has a collection")] = (
        UsersTable()
    )
    assets: Annotated[AssetsTable, msgspec.Meta(description="the table of the photos")] = AssetsTable()
    collections: Annotated[
        CollectionsTable,
        msgspec.Meta(description="the table of the users' collections; without it, seedtool has one of its own"),
    ] = CollectionsTable()
    persons: Annotated[
        PersonsTable, msgspec.Meta(description="the table of the persons; without it, faces are linked to nobody")
    ] = PersonsTable()
    faces: Annotated[FacesTable, msgspec.Meta(description="the table of the faces, which may hold the links, too")] = (
        FacesTable()
    )
    links: Annotated[LinksTable, msgspec.Meta(description="the table of the links of faces to persons")] = LinksTable()

    @property
    def tables(self) -> tuple[LibraryTable, ...]:
        """The photo library's tables."""
        return (self.users, self.assets, self.collections, self.persons, self.faces, self.links)

    def __post_init__(self) -> None:
        if not 0 <= self.review <= self.assign <= 100:
            raise _wrong(
                "review",
                f"review is {self.review:g} and assign is {self.assign:g}, but review must not"
                " be above assign, and both must be from 0 to 100",
                "Write similarities such as review = 80, assign = 95.",
            )
        if not 0 <= self.smallest_face < 1:
            raise _wrong(
                "smallest_face",
                f"smallest_face is {self.smallest_face:g}, but it is a share: at least 0, below 1",
                "Write 0.03 for 3 %, or 0 to keep every face.",
            )
        if not 0 <= self.visibility <= 60:
            raise _wrong(
                "visibility",
                f"visibility is {self.visibility:g}, but it is a number of seconds from 0 to 60",
                "Write 2.",
            )
        if not 0 <= self.longest_outage <= 86_400:
            raise _wrong(
                "longest_outage",
                f"longest_outage is {self.longest_outage:g}, not a number of seconds up to 86400",
                "Write 600.",
            )
        # a user's id is a uuid of 36 characters
        if not COLLECTION_ID.fullmatch(self.collection_prefix + "0" * 36):
            raise _wrong(
                "collection_prefix",
                f"collection_prefix {self.collection_prefix!r} cannot begin a collection's id",
                "Use letters, digits and _.- and leave 36 of 255 characters for the user's id.",
            )
        wrong = [name for name, price in self.prices.items() if not 0 <= price < 1]
        if wrong:
            raise _wrong(
                "prices",
                f"the price of {', '.join(sorted(wrong))} is not between 0 and 1 dollar a call",
                "Write prices = {IndexFaces = 0.001, SearchFaces = 0.001}: AWS's price for 1,000, by 1,000.",
            )


def _wrong(key: str, fault: str, remedy: str) -> SettingsError:
    return SettingsError(f"setting backfill: {fault}", remedy=remedy, setting="backfill", key=key)


def _check_token(text: str) -> Fault | None:
    if not re.fullmatch(r"[!-~]+", text):
        return Fault(
            "the token holds a space or another character that an HTTP header cannot hold", "Copy the token again."
        )
    return None


class BackfillSettings(FaceSettings, frozen=True, kw_only=True):
    """The backfill."""

    backfill: Annotated[
        Backfill,
        Setting(
            "the thresholds, the smallest face, the prefix of collections and the prices of the backfill",
            written=f"Write it as [tool.seedtool.backfill]; its keys are {', '.join(Backfill.__struct_fields__)}.",
        ),
    ] = Backfill()
    backfill_token: Annotated[
        str | None,
        Setting(
            "the token that `backfill --endpoint` sends to the application",
            variables=("SEEDTOOL_BACKFILL_TOKEN",),
            check=_check_token,
            secret=True,
        ),
    ] = None
