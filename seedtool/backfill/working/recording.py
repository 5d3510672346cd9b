"""What becomes of an asset, written down: in the rows, the journal and the report. In the run's own thread."""

import psycopg
from psycopg import errors as pg

from seedtool.backfill import journal
from seedtool.backfill.reporting.report import Failure, Tally
from seedtool.backfill.reporting.spending import Meter
from seedtool.backfill.ways import Way
from seedtool.backfill.working.line import User, Work
from seedtool.errors import DatabaseError, SeedtoolError

# How often a statement is tried that lost a quarrel over locks.
_TRIES = 3


class Recorder:
    """Writes down what became of assets.

    Args:
        writer: an autocommitting connection.
        run: the run's id.
        way: decides, and writes the rows.
        tally: counts.
        meter: knows what calls cost.
    """

    def __init__(self, writer: psycopg.Connection, run: str, way: Way, tally: Tally, meter: Meter) -> None:
        self._writer = writer
        self._run = run
        self._way = way
        self._tally = tally
        self._meter = meter

    def advance(self, user: User) -> int:
        """Record what is matched, in order, and return how many assets have left the line.

        Raises:
            DatabaseError: the connection was lost, or another run has taken over.
        """
        left = 0
        while user.line and user.line[0].stage in {"matched", "failed"}:
            work = user.line[0]
            if work.stage == "matched":
                self._record(work)
            user.line.popleft()
            left += 1
        return left

    def fail(self, work: Work, error: Exception) -> None:
        """Write down that an asset failed."""
        if isinstance(error, SeedtoolError):
            cause, remedy = error.message, error.remedy
        else:
            cause = f"unexpected {type(error).__name__}"
            remedy = "Please report it, and what kind of photo it is."
        journal.fail(self._writer, self._run, work.asset.id, cause, remedy, work.calls)
        work.stage = "failed"
        failure = Failure(
            asset_id=work.asset.id, user_id=work.user.id, file_name=work.asset.file_name, cause=cause, remedy=remedy
        )
        self._tally.failure(failure, self._meter.cost(work.calls))
        self._count(work.user)

    def _record(self, work: Work) -> None:
        asset, found = work.asset, work.found
        for tries in range(_TRIES):
            try:
                outcome = self._way.record(self._writer, self._run, asset, found, work.matches, work.calls)
            except psycopg.Error as error:
                if self._writer.closed:
                    raise
                if not isinstance(error, pg.DeadlockDetected | pg.SerializationFailure) or tries == _TRIES - 1:
                    self.fail(work, _refused(error))
                    return
            else:
                break
        if outcome is None:
            self._not_ours(work)
            return
        if found.small:
            work.user.small[asset.id] = [face.face_id for face in found.small]
        self._tally.success(work.user.id, outcome, self._meter.cost(work.calls))
        self._count(work.user)

    def _count(self, user: User) -> None:
        self._tally.users += not user.counted
        user.counted = True

    def _not_ours(self, work: Work) -> None:
        """An asset's line could not be written: another run has it, or the asset was deleted meanwhile."""
        asset_id = work.asset.id
        if journal.state(self._writer, asset_id) != ("started", self._run):
            raise DatabaseError(
                f"another run has taken up asset {asset_id}: this run's locks were lost",
                remedy="Let the other one finish, or run the same command again.",
            )
        faces = [face.face_id for face in (*work.found.faces, *work.found.small)]
        journal.skip(self._writer, [asset_id], {asset_id: faces})
        if faces:
            work.user.small[asset_id] = faces
        self._tally.total -= 1


def _refused(error: psycopg.Error) -> DatabaseError:
    """Return the server's own sentence; its details, which quote rows, are left out."""
    return DatabaseError(
        f"the database refused it: {error.diag.message_primary or type(error).__name__}",
        remedy="Mend what it says, then run with --retry-failed.",
    )
