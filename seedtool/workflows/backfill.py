"""The photo library: every photo indexed once by the backfill, and people deciding who is on them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from seedtool.backfill import (
    FaceProcessor,
    LibraryConnection,
    Options,
    Plan,
    Processor,
    Report,
    Run,
    connect,
    corrections,
    review,
)
from seedtool.backfill import library as tables
from seedtool.backfill import plan as plan_run
from seedtool.backfill.corrections import User
from seedtool.backfill.review import Assigned, Choice, Searched, Waiting
from seedtool.errors import SeedtoolError
from seedtool.faces.port import FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings
from seedtool.workflows.face_service import open_aws
from seedtool.workflows.project import project_settings


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What came of decisions about faces.

    Args:
        assigned: each decision that was written.
        search: what a new search of the waiting faces found; None without one.
        waiting: how many faces still wait for a person.
    """

    assigned: tuple[Assigned, ...]
    search: Searched | None
    waiting: int


class OpenedBackfill(NamedTuple):
    """A backfill that is ready to be executed.

    Args:
        where: who processes the photos, in words: account and region, or the application.
        run: the run.
    """

    where: str
    run: Run


def _connect(settings: Settings, target: Target | None) -> LibraryConnection:
    return connect(settings.backfill, target or server.find(settings))


def plan_backfill(
    options: Options | None = None, *, settings: Settings | None = None, target: Target | None = None
) -> Plan:
    """Return what a backfill would do and cost; nothing is called and nothing is written.

    Args:
        options: which assets; all when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Raises:
        SchemaError: the database has no photo library.

    Example:
        >>> plan = seedtool.plan_backfill()
        >>> plan.assets, plan.calls["IndexFaces"]
        (18, 18)
    """
    settings = project_settings(settings)
    with _connect(settings, target) as connection:
        return plan_run(connection, settings, options or Options())


def open_backfill(
    options: Options | None = None,
    *,
    endpoint: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
) -> OpenedBackfill:
    """Return a backfill that is ready to be executed: `opened.run.execute(listener)` does the work.

    Args:
        options: which assets, and how many at a time; all when None.
        endpoint: an application's address that processes the photos; AWS is called from here when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.

    Raises:
        CredentialsError, SettingsError: AWS cannot be reached for lack of settings.
    """
    settings = project_settings(settings)
    options = options or Options()
    processor: Processor
    if endpoint is not None:
        from seedtool.backfill.endpoint import Endpoint

        application = Endpoint(endpoint, settings.backfill_token, options.batch_size)
        processor, where = application, f"the application at {application.where}"
    else:
        from seedtool.faces import photos

        service = aws or open_aws(settings)
        processor, where = FaceProcessor(settings, service, photos.store(settings, service)), str(service.who())
    return OpenedBackfill(where, Run(settings, target or server.find(settings), processor, options))


def run_backfill(
    options: Options | None = None,
    *,
    endpoint: str | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> Report:
    """Index the photos of all users, the oldest user first, and decide who is on them.

    If it is interrupted or killed, the next call continues. It costs money where the service is AWS: look at
    `plan_backfill` first, or give the options a `max_cost`.

    Args:
        options: which assets, and how many at a time; all when None.
        endpoint: an application's address that processes the photos; AWS is called from here when None.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears of the assets that are done.

    Raises:
        SchemaError: the database has no photo library.
        AwsError: the service cannot be used; what was done is in the journal.

    Example:
        >>> seedtool.run_backfill(seedtool.BackfillOptions(limit=2, max_cost=0.5)).ok
        True
    """
    return open_backfill(options, endpoint=endpoint, settings=settings, target=target, aws=aws).run.execute(listener)


def waiting_faces(
    *,
    user_id: str | None = None,
    limit: int | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
) -> Iterator[Waiting]:
    """Yield the faces that wait for a person, with suggestions, while a connection is held.

    Args:
        user_id: faces of this user only.
        limit: the most faces.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Example:
        >>> [face.file_name for face in seedtool.waiting_faces(limit=1)]
        ['2025-primer-dia.jpg']
    """
    with _connect(project_settings(settings), target) as connection:
        yield from review.waiting(connection, user_id=user_id, limit=limit)


def count_waiting(*, user_id: str | None = None, settings: Settings | None = None, target: Target | None = None) -> int:
    """Return how many faces wait for a person.

    Args:
        user_id: faces of this user only.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
    """
    with _connect(project_settings(settings), target) as connection:
        return review.count(connection, user_id)


def users_waiting(*, settings: Settings | None = None, target: Target | None = None) -> list[User]:
    """Return the users with faces that wait for a person, the oldest user first: whom to write a mail.

    Args:
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Raises:
        SchemaError: the database has no photo library.
    """
    with _connect(project_settings(settings), target) as connection:
        tables.check_tables(connection)
        return corrections.users(connection)[0]


def decide_faces(
    choices: Sequence[Choice] = (),
    *,
    user_id: str | None = None,
    search: bool | None = None,
    decided_before: bool = True,
    settings: Settings | None = None,
    target: Target | None = None,
    aws: FaceService | None = None,
    listener: Listener = SILENT,
) -> Decided:
    """Write decisions about faces, all or none; then search the users' waiting faces again, without indexing.

    Args:
        choices: the decisions.
        user_id: the user whose faces are meant.
        search: search again; None means after a face was linked.
        decided_before: a face may be decided that somebody has skipped.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        aws: the face service; the one that the settings name when None.
        listener: hears what the search costs, and of the faces that are searched.

    Raises:
        UsageError: a face or person is not there, or its name is not the only one; nothing was written.
        AwsError: the search failed. The decisions are written, which the message says.

    Example:
        >>> face = next(seedtool.waiting_faces())
        >>> decided = seedtool.decide_faces([seedtool.FaceChoice(what="skip", face=face.face_id)])
        >>> [each.face_id for each in decided.assigned] == [face.face_id]
        True
    """
    settings = project_settings(settings)
    target = target or server.find(settings)
    with _connect(settings, target) as connection:
        assigned = review.choose(connection, list(choices), user_id=user_id, decided_before=decided_before)
        users = review.users_of(assigned)
        if search and not choices:
            users = review.users_waiting(connection, user_id)
        found = None
        if users and search is not False:
            try:
                service = aws or open_aws(settings)
                about = sum(review.count(connection, each) for each in users)
                cost = about * settings.backfill.prices.get("SearchFaces", 0.0)
                listener.note(f"{service.who()}; {target}: {about} search{'es' * (about != 1)}, {cost:.3f} dollars")
                found = review.search_again(connection, service, settings.backfill, users, listener=listener)
            except SeedtoolError as error:
                if not assigned:
                    raise
                decisions = f"{len(assigned)} decision{'s' * (len(assigned) != 1)}"
                remedy = f"{error.remedy}\nThen run seedtool faces review --search.".lstrip()
                raise type(error)(f"{decisions} written; the search failed: {error.message}", remedy=remedy) from error
        return Decided(assigned=tuple(assigned), search=found, waiting=review.count(connection, user_id))
