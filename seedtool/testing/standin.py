"""The worker's own Rekognition: a process that lives as long as the worker, empty again for each test.

Run as a program (`python -m seedtool.testing.standin FOLDER`) this module is that process. It ends when its standard
input does, which a killed worker cannot prevent.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from seedtool import extras
from seedtool.emulator import copies
from seedtool.errors import ServiceUnavailable, UsageError
from seedtool.settings import Settings

if TYPE_CHECKING:
    import psycopg

    from seedtool.seeding.profiles import Profile
    from seedtool.testing.databases import Databases

REGION = "us-east-1"

# It accepts any; a real one must not be sent anywhere.
_KEY = "seedtool"

# Accounts that no test uses: of what a test has made while seeds are enrolled, and (counted from here) of seeds.
_ASIDE = "999999999999"
_FIRST = 900_000_000_000


class Process:
    """The process, and the faces of seeds that it keeps for tests.

    Args:
        folder: where its state goes; empty.

    Raises:
        MissingExtra: the emulator's packages are not installed.
        ServiceUnavailable: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        extras.require("emulator")
        self.folder = folder
        self.accounts: dict[object, str] = {}
        # a group of its own, so that Ctrl+C reaches the tests alone, which may need it until their end
        self._process = subprocess.Popen(
            [sys.executable, "-m", "seedtool.testing.standin", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self.endpoint = self._process.stdout.readline().strip()
        if not self.endpoint:
            self.stop()
            raise ServiceUnavailable(
                "the stand-in for Rekognition did not start", remedy="What it said stands above, on stderr."
            )

    def stop(self) -> None:
        """End it."""
        self._process.communicate()

    def clear(self) -> None:
        """Forget what a test has left: faces, counters, bad days."""
        copies.forget_all_but(self.folder, list(self.accounts.values()))
        self.ask("reset-counters", {})
        self.ask("faults", {})

    def calls(self) -> Counter[str]:
        """Return how often each operation was called since the last `clear`."""
        return Counter(self.ask("status")["counters"])

    def ask(self, what: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Ask an administrator's endpoint, with a body to change something."""
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # HTTP_PROXY is not for 127.0.0.1
        request = urllib.request.Request(  # noqa: S310 - on loopback
            f"{self.endpoint}/_seedtool/{what}", data, {"Content-Type": "application/json"}
        )
        try:
            with opener.open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            raise UsageError(answer["error"], remedy=answer["remedy"]) from None


class StandIn:
    """The stand-in for Rekognition that a test talks to. It has no collections until the test makes some.

    Args:
        process: the worker's.
        settings: the project's; they give the region and the collection.
        databases: for the rows of the seeds' faces.
        profile: the test's profile; None without one.

    Attributes:
        endpoint_url: its address.
        region: the region to use.
        environ: environment variables that lead boto3, in this process or another, to it.
    """

    def __init__(
        self, process: Process, settings: Settings, databases: "Callable[[], Databases]", profile: str | None
    ) -> None:
        self._process = process
        self._databases = databases
        self._profile = profile
        self._by_us: Counter[str] = Counter()
        self.endpoint_url = process.endpoint
        self.region = settings.region or REGION
        self._settings = msgspec.structs.replace(
            settings, aws="embedded", region=self.region, photos_url=None, s3_endpoint_url=None
        )
        self.environ = {
            "AWS_ENDPOINT_URL_REKOGNITION": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if settings.collection:
            self.environ["AWS_REKOGNITION_COLLECTION"] = settings.collection

    @property
    def calls(self) -> dict[str, int]:
        """How often each operation was called since the test began, except by the plugin: `{"IndexFaces": 2}`."""
        return dict(self._process.calls() - self._by_us)

    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """Return a boto3 client for it; the environment's own credentials and profiles do not count."""
        extras.require("faces", "boto3")
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
        return boto3.session.Session(botocore_session=session).client(
            "rekognition",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_KEY,
            config=Config(proxies={}),
        )

    def bad_day(self, **faults: object) -> None:
        """Have calls fail or be late until the test ends; docs/emulator.md lists what there is (`tps=5`, `lag=2`)."""
        self._process.ask("faults", faults)

    def enroll_seeds(self, profile: str | None = None) -> dict[str, list[str]]:
        """Have the faces that a profile's rows name in their collections, as after `seedtool enroll --all`.

        Of a profile with `indexed`, those of that list's photos. Pictures are looked at once a worker; later tests get
        copies.

        Args:
            profile: whose rows; the test's own when left out.

        Returns:
            the FaceIds by ExternalImageId.

        Raises:
            UsageError: no profile is named.
            SeedtoolError: a photo cannot be enrolled, or no face binding names the table.
        """
        name = profile or self._profile
        if name is None:
            raise UsageError(
                "no profile says whose faces to enroll",
                remedy='enroll_seeds("PROFILE"), or @pytest.mark.seed("PROFILE").',
            )
        folder, accounts = self._process.folder, self._process.accounts
        found = self._databases().profile(name)
        assert found is not None  # noqa: S101 - it has a name
        faces = found.sets, found.indexed  # `full` has those of `local`
        if faces not in accounts:
            with self._uncounted(), self._aside():
                self._enroll(found)
                account = str(_FIRST + len(accounts))
                copies.copy(folder, copies.ACCOUNT, account)
                accounts[faces] = account
        copies.copy(folder, accounts[faces])
        return copies.face_ids(folder, accounts[faces])

    def sync(self, database: "str | psycopg.Connection") -> None:
        """Link the rows of a database to the faces that are here, as `seedtool sync-faces` does.

        Args:
            database: its address, or a connection to it.

        Raises:
            SeedtoolError: as the command.
        """
        from seedtool.faces.sync import sync
        from seedtool.faces.vendors import open_service
        from seedtool.postgres import server

        with contextlib.ExitStack() as stack:
            stack.enter_context(self._uncounted())
            if isinstance(database, str):
                database = stack.enter_context(server.connect(server.named_by(database)))
            sync(database, self._settings, open_service(self._settings, self.endpoint_url))

    @contextlib.contextmanager
    def _uncounted(self) -> Iterator[None]:
        """Make calls that do not count as the test's, and meet none of its bad days."""
        before, faults = self._process.calls(), self._process.ask("faults")
        self._process.ask("faults", {})
        try:
            yield
        finally:
            self._process.ask("faults", faults)
            self._by_us += self._process.calls() - before

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Keep what the test has made out of the way."""
        folder = self._process.folder
        copies.copy(folder, copies.ACCOUNT, _ASIDE)
        copies.forget(folder)
        try:
            yield
        finally:
            copies.forget(folder)
            copies.copy(folder, _ASIDE)
            copies.forget(folder, _ASIDE)

    def _enroll(self, profile: "Profile") -> None:
        from seedtool.faces.vendors import open_service
        from seedtool.workflows.prepare import enroll_rows, index_listed

        aws = open_service(self._settings, self.endpoint_url)
        if index_listed(self._settings, aws, profile) is not None:
            return
        databases = self._databases()
        lease = databases.lease(profile.name)
        try:
            enroll_rows(self._settings, aws, lease.target)
        finally:
            databases.release(lease)


def main() -> None:
    """Serve the folder that the command line names until standard input ends."""
    from seedtool.emulator import server

    def end_with_the_worker() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_the_worker, daemon=True).start()

    def tell_the_worker(endpoint: str, _lines: list[str]) -> None:
        print(endpoint, flush=True)  # noqa: T201 - the worker reads it

    server.run(Path(sys.argv[1]), announce=tell_the_worker)


if __name__ == "__main__":
    main()
