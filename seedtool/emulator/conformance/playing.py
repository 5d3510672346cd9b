"""Plays the scenario against one endpoint, in collections that the run makes and deletes."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from seedtool.emulator.conformance import signals
from seedtool.emulator.conformance.journal import TAG, Journal, Place
from seedtool.emulator.process import EmulatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seedtool.emulator.process import Key

Json = Any

_HEADERS = ("content-type", "x-amzn-errortype", "x-amzn-requestid")
_MOST_PAGES = 30  # of ListCollections, in an account that has many
#: Operations whose effect other operations see later.
_TAKES_TIME = frozenset(
    {"IndexFaces", "DeleteFaces", "CreateUser", "DeleteUser", "AssociateFaces", "DisassociateFaces", "TagResource"}
)
_PATIENCE = 60.0  # seconds until AWS has taken a user's faces in, by its guide "a few seconds"


@dataclass(frozen=True)
class Scenario:
    """The scenario.

    Attributes:
        questions: what no source tells, by a short name.
        steps: the steps that a client plays. `$STEP/PATH` in a member stands for what an earlier step was answered.
    """

    questions: Mapping[str, str]
    steps: tuple[Mapping[str, Json], ...]

    @classmethod
    def read(cls) -> Scenario:
        """Read the scenario without the steps that only the stand-in can answer."""
        document = json.loads(Path(__file__).with_name("scenario.json").read_text(encoding="utf-8"))
        return cls(document["questions"], tuple(step for step in document["steps"] if not step.get("alone")))


@dataclass
class Told:
    """What a step was answered.

    Attributes:
        step: the step's name.
        operation: its operation.
        status: the HTTP status; 0 if the step was not played.
        headers: those of the answer that the protocol gives a meaning.
        body: the decoded body, of all pages when the step follows them.
        sizes: how many elements each page had.
        among: whether ListCollections named collections of others, too. Those are left out.
    """

    step: str
    operation: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Json] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    among: bool = False

    def without(self, account: str | None) -> Told:
        """Return the answer without the account's number and without who asked, whom an AccessDeniedException names."""
        # a token is AWS's own, and may tell which collection of somebody it stands for
        body = self.body | ({"NextToken": "<token>"} if isinstance(self.body.get("NextToken"), str) else {})
        text = re.sub(r"arn:aws:(iam|sts)::[^\s\"\\]*", "<principal>", json.dumps(body))
        if account:
            text = re.sub(rf"(?<![\w-]){account}(?![\w-])", "<account>", text)
        return replace(self, body=json.loads(text))


class Player:
    """Plays the scenario as one client.

    Args:
        place: the endpoint, empty for AWS's own, and the region.
        key: what requests are signed with; None for the credentials of the environment.
        pace: seconds from one call to the next.
        pause: seconds until AWS can find what was indexed before; 0 for an endpoint that needs none.
        profile: the AWS profile; None for that of the environment.

    Raises:
        EmulatorError: there are no credentials, or botocore cannot use the region or the endpoint.
    """

    def __init__(
        self, place: Place, *, key: Key | None, pace: float = 0.0, pause: float = 0.0, profile: str | None = None
    ) -> None:
        config = Config(
            parameter_validation=False,  # AWS is to refuse a request, not the client
            ignore_configured_endpoint_urls=True,  # AWS_ENDPOINT_URL_REKOGNITION may name a stand-in
            retries={"mode": "standard", "total_max_attempts": 5},
        )
        try:
            session = botocore.session.Session(profile=profile)
            self._client = session.create_client(
                "rekognition",
                region_name=place.region,
                endpoint_url=place.endpoint or None,
                aws_access_key_id=key.access_key_id if key else None,
                aws_secret_access_key=key.secret if key else None,
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            raise _explained(error) from error
        self._client.meta.events.register("before-parse.rekognition", self._keep)  # the bytes, whatever they mean
        self.place = Place(self._client.meta.endpoint_url, place.region)
        self.server = ""
        self._pace = pace
        self._pause = pause
        self._next = 0.0
        self._changed = False  # since AWS was last given time
        self._answers: list[Told] = []

    def greet(self) -> None:
        """Ask for the name of a collection, to see whether the endpoint answers us. Nothing is made by it.

        Raises:
            EmulatorError: it does not.
        """
        answer = self.call("ListCollections", {"MaxResults": 1})
        if answer.status != 200 or not isinstance(answer.body.get("CollectionIds"), list):
            raise _refused(answer)

    def play(self, scenario: Scenario, pictures: Mapping[str, bytes], journal: Journal) -> Iterator[Told]:
        """Play the steps one after another.

        Args:
            scenario: the scenario.
            pictures: its pictures by name.
            journal: where collections are written down.

        Yields:
            What each step was answered, with the collections' own names.

        Raises:
            EmulatorError: the endpoint cannot be reached, or does not let us make a collection.
        """
        answers: dict[str, Json] = {}
        for number, step in enumerate(scenario.steps):
            try:
                members = self._members(step, answers, pictures, journal)
            except (LookupError, TypeError):  # an earlier step was answered otherwise
                yield Told(step["name"], step["operation"], 0)
                continue
            if step.get("settled") and self._pause and self._changed:
                self._settle(members["CollectionId"])
            answer = self._played(step, members, journal)
            if number == 0 and answer.status != 200:
                raise _refused(answer)
            if answer.status == 200:
                answers[step["name"]] = answer.body
            yield answer

    def delete(self, journal: Journal, *, sure: bool) -> list[str]:
        """Delete the collections of a run, and write down which are deleted.

        A collection whose making was asked for and not answered is deleted only if it has the run's tag.

        Args:
            journal: the run's journal.
            sure: whether a collection that is not there does not exist. Else it may be in another account.

        Returns:
            The names of collections that are still there, or may be.
        """
        for name in journal.left():
            state = "ours" if journal.collections[name] == "made" else self._look(name, journal.run)
            if state == "absent" and sure:  # a request whose connection broke may be carried out late
                time.sleep(max(self._pause, 0.1))
                state = self._look(name, journal.run)
            if state == "ours":
                answer = self.call("DeleteCollection", {"CollectionId": name})
                absent = answer.body.get("Code") == "ResourceNotFoundException"
                state = "deleted" if answer.status == 200 else "absent" if absent else "unknown"
            if state == "deleted" or (state == "absent" and sure):
                journal.note(name, "deleted")
        return journal.left()

    def call(self, operation: str, members: Mapping[str, Json]) -> Told:
        """Send one request.

        Raises:
            EmulatorError: there was no answer.
        """
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pace
        self._changed |= operation in _TAKES_TIME
        self._answers.clear()
        try:
            getattr(self._client, xform_name(operation))(**members)
        except (BotoCoreError, ClientError, AttributeError, TypeError, ValueError) as error:
            # an answer that botocore cannot read is an answer
            if not self._answers:
                raise _explained(error) from error
        answer = self._answers[-1]
        answer.operation = operation
        return answer

    def _keep(self, response_dict: Json, **_: Json) -> None:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        self.server = headers.get("server", "")
        content = response_dict["body"]
        try:
            body = json.loads(content or b"{}")
        except ValueError:
            body = {"a body that is no JSON": content[:200].decode(errors="replace")}
        if not isinstance(body, dict):
            body = {"a body that is no object": body}
        known = {name: headers[name] for name in _HEADERS if name in headers}
        self._answers.append(Told("", "", response_dict["status_code"], known, body))

    def _members(
        self, step: Mapping[str, Json], answers: Mapping[str, Json], pictures: Mapping[str, bytes], journal: Journal
    ) -> dict[str, Json]:
        members: dict[str, Json] = _resolved(step["members"], answers)
        named = {"Image": step["picture"]} if "picture" in step else {}
        named |= dict(zip(("SourceImage", "TargetImage"), step.get("compared", ()), strict=False))
        members |= {name: {"Bytes": pictures[picture]} for name, picture in named.items()}
        # Every name begins with the run's prefix, also those of collections that are not there.
        if "CollectionId" in members:
            members["CollectionId"] = journal.prefix + members["CollectionId"]
        if "ResourceArn" in members and not str(step["members"]["ResourceArn"]).startswith("$"):
            members["ResourceArn"] = members["ResourceArn"].replace("collection/", f"collection/{journal.prefix}")
        if not str(members.get("ResourceArn", journal.prefix)).rpartition("/")[2].startswith(journal.prefix):
            raise LookupError("the ARN is of a collection that the run did not make")
        if "ClientRequestToken" in members:
            members["ClientRequestToken"] = f"{journal.run}-{members['ClientRequestToken']}"
        if step["operation"] == "CreateCollection":
            members["Tags"] = members.get("Tags", {}) | {TAG: journal.run}
        return members

    def _played(self, step: Mapping[str, Json], members: dict[str, Json], journal: Journal) -> Told:
        operation, name = step["operation"], members.get("CollectionId", "")
        if operation == "CreateCollection" and name not in journal.collections:
            with signals.waiting():  # a request that nobody waits for may be carried out after we have looked for it
                answer = self._make(name, members, journal)
        else:
            answer = self.call(operation, members)
        answer.step = step["name"]
        if operation == "DeleteCollection" and answer.status == 200:
            journal.note(name, "deleted")
        if answer.status == 200 and (step.get("follow") or operation == "ListCollections"):
            self._follow(operation, members, answer)
        if operation == "ListCollections":
            _leave_out_others(answer, journal.prefix)
        return answer

    def _make(self, name: str, members: dict[str, Json], journal: Journal) -> Told:
        journal.note(name, "asked")
        answer = self.call("CreateCollection", members)
        if answer.status == 200:
            account = re.search(r":(\d{12}):", str(answer.body.get("CollectionArn")))
            journal.note(name, "made", account and account[1])
        elif answer.status == 400 and answer.body.get("Code") != "ResourceAlreadyExistsException":
            journal.note(name, "deleted")  # it was not made; that it exists may be the answer to a second attempt
        return answer

    def _follow(self, operation: str, members: dict[str, Json], answer: Told) -> None:
        """Read the pages that follow, and put their elements behind the first one's."""
        page, most = answer.body, _MOST_PAGES
        answer.sizes.append(_size(page))
        while page.get("NextToken") and (most := most - 1):
            more = self.call(operation, {**members, "NextToken": page["NextToken"]})
            if more.status != 200:
                break
            page = more.body
            answer.sizes.append(_size(page))
            for name, value in page.items():
                if isinstance(value, list) and isinstance(answer.body.get(name), list):
                    answer.body[name] += value

    def _settle(self, collection: str) -> None:
        """Wait until searches find what was indexed, and no user is being changed."""
        self._changed = False
        time.sleep(self._pause)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            users = self.call("ListUsers", {"CollectionId": collection}).body.get("Users", [])
            if not {"CREATING", "UPDATING"} & {user.get("UserStatus") for user in users}:
                return
            time.sleep(self._pause)

    def _look(self, name: str, run: str) -> str:
        """Return whether a collection is `ours` by its tag, is `absent`, or neither can be said (`unknown`)."""
        described = self.call("DescribeCollection", {"CollectionId": name})
        if described.body.get("Code") == "ResourceNotFoundException":
            return "absent"
        arn = described.body.get("CollectionARN")
        tags = self.call("ListTagsForResource", {"ResourceArn": arn}).body.get("Tags") if arn else None
        return "ours" if isinstance(tags, dict) and tags.get(TAG) == run else "unknown"


def _refused(answer: Told) -> EmulatorError:
    body = answer.body
    if "Code" not in body and "__type" not in body:
        text = json.dumps(body, ensure_ascii=False)[:200]
        return EmulatorError(
            f"{answer.operation} was answered with status {answer.status} and {text}.",
            "Name the endpoint of a Rekognition that has collections.",
        )
    return EmulatorError(
        f"{answer.operation} was answered {body.get('Code') or body['__type']}: {body.get('Message')}.",
        "Use credentials that may call every operation of Rekognition on collections, users and faces.",
    )


def _explained(error: Exception) -> EmulatorError:
    text = str(error).removesuffix(".")
    return EmulatorError(f"{text}.", "Check the credentials, the region and the endpoint.")


def _resolved(value: Json, answers: Mapping[str, Json]) -> Json:
    """Return members with each `$STEP/PATH` replaced by what that step was answered."""
    if isinstance(value, dict):
        return {key: _resolved(item, answers) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, answers) for item in value]
    if isinstance(value, str) and value.startswith("$"):
        step, *path = value[1:].split("/")
        found = answers[step]
        for key in path:
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found
    return value


def _size(page: Mapping[str, Json]) -> int:
    return max((len(value) for value in page.values() if isinstance(value, list)), default=0)


def _leave_out_others(answer: Told, prefix: str) -> None:
    """Leave collections that the run did not make out of an answer of ListCollections."""
    names, versions = answer.body.get("CollectionIds"), answer.body.get("FaceModelVersions")
    if not isinstance(names, list):
        return
    kept = [number for number, name in enumerate(names) if str(name).startswith(prefix)]
    answer.among = len(kept) < len(names)
    answer.body["CollectionIds"] = [names[number] for number in kept]
    if isinstance(versions, list) and len(versions) == len(names):
        answer.body["FaceModelVersions"] = [versions[number] for number in kept]
