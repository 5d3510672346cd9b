"""`conformance`: the plan with its cost, the run, and the file with the result."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore

from seedtool.emulator import process
from seedtool.emulator.conformance import journal as journals
from seedtool.emulator.conformance import signals
from seedtool.emulator.conformance.comparing import MAY_DIFFER, Comparison, Difference, compare, plain
from seedtool.emulator.conformance.journal import Journal, Place
from seedtool.emulator.conformance.pictures import scenario_pictures
from seedtool.emulator.conformance.playing import Player, Scenario, Told
from seedtool.emulator.process import EmulatorError, Key

if TYPE_CHECKING:
    from seedtool.emulator.__main__ import Conformance

Json = Any

#: Dollars a call in us-east-1, by AWS's price list ("Amazon Rekognition pricing", groups 1 and 2, Face Liveness). A
#: liveness session is charged when somebody streams to it, which the scenario does not do.
_IMAGE = 0.001
_CHARGED = frozenset(
    {
        "AssociateFaces",
        "CompareFaces",
        "DetectFaces",
        "DisassociateFaces",
        "IndexFaces",
        "SearchFaces",
        "SearchFacesByImage",
        "SearchUsers",
        "SearchUsersByImage",
    }
)
_PACE = 0.25  # seconds a call at AWS; its lowest quota is 5 calls a second
_PAUSE = 3.0  # seconds until AWS finds an indexed face; up to 2 were seen
_UNSIGNED = Key("test", "test")
_REFERENCE = Key("000000000000", "test")  # an account of its own, also where both sides are one process
_INTERRUPTED = 130


def run(options: Conformance) -> int:
    """Compare the stand-in with AWS, or with another endpoint.

    Args:
        options: what the command line says.

    Returns:
        0 if the answers differ in nothing but what may differ, 1 if they do, 130 after Ctrl+C or SIGTERM.

    Raises:
        EmulatorError: the comparison could not be made.
    """
    if options["live"] and options["endpoint_url"]:
        raise EmulatorError("--live means AWS's own endpoint.", "Give --live or --endpoint-url.")
    folder = options["out"].absolute().parent
    if not os.access(folder, os.W_OK):
        raise EmulatorError(f"The folder {folder} cannot be written.", "Name a file in another folder: --out FILE.")
    try:
        with signals.ending():
            return _run(options)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. No result was written.\n")
        return _INTERRUPTED


def _run(options: Conformance) -> int:
    scenario = Scenario.read()
    if options["live"]:
        _say(_plan(scenario))
        if not options["yes"] and not _agreed():
            raise EmulatorError("Nothing was sent.", "Give --yes to play against AWS.")
    with tempfile.TemporaryDirectory(prefix="seedtool-conformance-") as temporary:
        here, second = Path(temporary, "here"), Path(temporary, "there")
        try:
            there = "" if options["live"] else options["endpoint_url"] or process.ensure(second)
            known = options["live"] or (options["endpoint_url"] and _has_credentials(options["profile"]))
            player = Player(
                Place(there, options["region"]),
                key=None if known else _UNSIGNED,
                pace=_PACE if options["live"] else 0.0,
                pause=_PAUSE if options["live"] else 0.0,
                profile=options["profile"],
            )
            player.greet()
            if options["live"] and player.server == "seedtool-emulator":
                raise EmulatorError("A stand-in answers in AWS's place.", "Do not send AWS's requests to a stand-in.")
            run, other = _play(scenario, player)
            reference = Player(Place(process.ensure(here), options["region"]), key=_REFERENCE)
            with contextlib.closing(Journal(Path(temporary, f"{run}.jsonl"), reference.place)) as journal:
                own = list(reference.play(scenario, scenario_pictures(), journal))
                own = [told.without(journal.account) for told in own]
        finally:
            for folder in (here, second):
                process.stop(folder)
    comparison = compare(own, other)
    result = _result(options, scenario, player, comparison, own, other)
    options["out"].write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _say(_summary(comparison, own, options["out"]))
    return 1 if comparison.differences else 0


def _play(scenario: Scenario, player: Player) -> tuple[str, list[Told]]:
    """Play the scenario at the other side, and delete what was made however it ends.

    Returns:
        The run's number, and the answers without the account's number.
    """
    for old in journals.unfinished():
        with contextlib.closing(old), signals.ignored():
            _finish(old, player)
    pictures = scenario_pictures()
    with contextlib.closing(journals.begin(player.place)) as journal:
        try:
            answers = list(player.play(scenario, pictures, journal))
        finally:
            with signals.ignored():
                _delete(journal, player)
        return journal.run, [told.without(journal.account) for told in answers]


def _delete(journal: Journal, player: Player) -> None:
    try:
        left = player.delete(journal, sure=True)
    except EmulatorError as error:
        left = journal.left()
        sys.stderr.write(f"{error.message}\n")
    if left:
        text = f"These collections could not be deleted: {', '.join(left)}.\nRun it again: it deletes them first.\n"
        sys.stderr.write(text)


def _finish(old: Journal, player: Player) -> None:
    """Delete what a run has left that was killed, if it played at the same place."""
    names = old.left()
    left = player.delete(old, sure=False) if old.place == player.place else names
    if gone := [name for name in names if name not in left]:
        _say([f"Deleted what an earlier run had left: {', '.join(gone)}."])
    if left:
        place = f"{old.place.endpoint} in {old.place.region}"
        _say(
            [
                f"An earlier run may have left {', '.join(left)} at {place}, in this account or another.",
                f"Run it there again, or delete {old.path} if they are nowhere.",
            ]
        )


def _plan(scenario: Scenario) -> list[str]:
    charged = sum(step["operation"] in _CHARGED for step in scenario.steps)
    cents = math.ceil(charged * _IMAGE * 100)
    made = sum(step["operation"] == "CreateCollection" and "error" not in step for step in scenario.steps)
    return [
        f"This sends {len(scenario.steps)} requests to AWS, and waits where AWS needs time: a minute or two.",
        f"It costs at most {cents / 100:.2f} USD: {charged} calls at {_IMAGE} USD (prices of us-east-1).",
        f"It makes {made} collections with names of its own, and deletes them at the end, also after Ctrl+C.",
        "It reads the names of the account's other collections, and keeps none.",
    ]


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


def _has_credentials(profile: str | None) -> bool:
    import botocore.session

    return botocore.session.Session(profile=profile).get_credentials() is not None


def _result(
    options: Conformance,
    scenario: Scenario,
    player: Player,
    comparison: Comparison,
    own: list[Told],
    other: list[Told],
) -> Json:
    asked = {step["name"]: step["asks"] for step in scenario.steps if "asks" in step}
    answers: dict[str, list[Json]] = {key: [] for key in scenario.questions}
    for here, there in zip(own, other, strict=True):
        if here.step in asked:
            answers[asked[here.step]].append({"step": here.step, "here": asdict(here), "there": asdict(there)})
    return {
        "format": 1,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "against": "AWS" if options["live"] else options["endpoint_url"] or "a second stand-in",
        "region": options["region"],
        "server": player.server,
        "versions": {"stand-in": process.code_version(), "botocore": botocore.__version__},
        "steps": len(own),
        "differences": [asdict(each) for each in comparison.differences],
        "permitted": dict(sorted(comparison.permitted.items())),
        "may differ": [row._asdict() for row in MAY_DIFFER],
        "questions": [{"question": text, "answers": answers[key]} for key, text in scenario.questions.items()],
        "answers": [{"here": asdict(here), "there": asdict(there)} for here, there in zip(own, other, strict=True)],
    }


def _summary(comparison: Comparison, own: list[Told], out: Path) -> list[str]:
    lines = []
    kinds: dict[tuple[str, str], list[Difference]] = {}
    for each in comparison.differences:
        kinds.setdefault((each.kind, plain(each.path)), []).append(each)
    for each, *more in kinds.values():  # one example of each kind: the file has them all
        others = f", and in {len(more):,} more places" if more else ""
        lines.append(f"{each.step} ({each.operation}): {each.kind}{f' of {each.path}' if each.path else ''}{others}")
        lines.append(f"  here:  {json.dumps(each.here, ensure_ascii=False)[:300]}")
        lines.append(f"  there: {json.dumps(each.there, ensure_ascii=False)[:300]}")
    steps = {each.step for each in comparison.differences}
    permitted = sum(comparison.permitted.values())
    lines.append(
        f"{len(own)} steps: {len(own) - len(steps)} were answered alike, {len(steps)} not. "
        f"{permitted:,} values differ as they may."
    )
    return [*lines, f"Wrote {out}. It has no account number, no credentials and nobody's collections."]


def _say(lines: list[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
