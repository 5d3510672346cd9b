"""faces review: faces that wait for a person are listed, and somebody decides about them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool import extras
from seedtool.cli.console import CONTEXT, Console, common_options, table
from seedtool.errors import UsageError
from seedtool.printable import count, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from seedtool.backfill.corrections import User
    from seedtool.backfill.review import Assigned, Choice, Searched, Waiting
    from seedtool.settings import Settings

# Faces that the text lists before it says how many more there are.
_LISTED = 20


@click.command("review", short_help="List the faces that wait for a person; decide.", context_settings=CONTEXT)
@click.option("--user-id", metavar="UUID", help="Faces of this user only.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="List at most N faces [20; --json: all].")
@click.option(
    "--assign", nargs=2, multiple=True, metavar="FACE PERSON", help="Link a face to this person: an id or a name."
)
@click.option("--new-person", nargs=2, multiple=True, metavar="FACE NAME", help="Link a face to a new person.")
@click.option("--skip", multiple=True, metavar="FACE", help="Leave a face without a person.")
@click.option("--search/--no-search", default=None, help="Search waiting faces again [after a link].")
@click.option("--users", is_flag=True, help="List the users, and how many faces of each wait.")
@click.option(
    "--csv", "csv", metavar="FILE", type=click.Path(path_type=Path), help="With --users: also write a csv file."
)
@click.option("--with-labels", is_flag=True, help="With --users: e-mail addresses in --json and --csv, too.")
@click.option("--web", is_flag=True, help="Serve a page on this machine that shows the faces, until Ctrl+C.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="Port of the page [a free one].")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@common_options
def review(
    *,
    user_id: str | None,
    limit: int | None,
    assign: tuple[tuple[str, str], ...],
    new_person: tuple[tuple[str, str], ...],
    skip: tuple[str, ...],
    search: bool | None,
    users: bool,
    csv: Path | None,
    with_labels: bool,
    web: bool,
    port: int | None,
    open_browser: bool,
    console: Console,
    settings: Settings,
) -> int:
    """List the faces that wait for a person, with suggestions, or decide about them.

    FACE is the id of a face or the beginning of it. Several decisions may be given at once: all of them are written, or
    none. After a face is linked, the user's other waiting faces are searched again, without indexing, and linked where
    the match is sure.

    With --users, the users are listed whose faces wait, for the mail that tells them. E-mail addresses are shown at the
    terminal. Files and --json have them only with --with-labels.

    With --web, the faces are shown on a page, and decided there by mouse or keys. Only a browser that opens the printed
    address sees it. Ctrl+C ends it (exit code 0).
    """
    from seedtool.backfill.review import Choice

    choices = [
        *(Choice(what="new", face=face, person=name) for face, name in new_person),
        *(Choice(what="assign", face=face, person=person) for face, person in assign),
        *(Choice(what="skip", face=face) for face in skip),
    ]
    if users:
        if choices or user_id or limit or search is not None or web or port or open_browser:
            raise UsageError(
                "--users lists users, so no other flag of the review goes with it",
                remedy="Give --users alone, or with --json, --csv FILE and --with-labels.",
                option="--users",
            )
        return _list_users(console, settings, csv, with_labels=with_labels)
    if csv is not None or with_labels:
        option = "--csv" if csv is not None else "--with-labels"
        raise UsageError(f"{option} only applies to the list of users", remedy="Add --users.", option=option)
    if web:
        if choices or user_id or limit:
            raise UsageError(
                "--web shows the faces and takes the decisions on its page",
                remedy="Leave the other flags out, but for --port, --open and --no-search.",
                option="--web",
            )
        _serve(console, settings, port=port or 0, search=search is not False, open_browser=open_browser)
        return 0
    if port or open_browser:
        option = "--port" if port else "--open"
        raise UsageError(f"{option} only applies to the page", remedy="Add --web.", option=option)
    if (choices or search) and limit is not None:
        raise UsageError(
            "--limit shortens the list of faces, so it cannot be given with a decision",
            remedy="Leave it out.",
            option="--limit",
        )
    if choices or search:
        return _decide(choices, user_id, console, settings, search=search)
    _list(user_id, limit, console, settings)
    return 0


def _serve(console: Console, settings: Settings, *, port: int, search: bool, open_browser: bool) -> None:
    extras.require("review", option="--web")
    from seedtool.review_page import server

    def announce(url: str) -> None:
        lines = (
            url,
            "Open this address in a browser. It is secret: whoever has it sees the faces. Ctrl+C ends the page.",
        )
        # the address is what the command is for: --quiet takes it not away
        console.report({"url": url}, lambda: lines, now=True, always=True)
        if console.out is not None:
            console.out.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(url)

    server.run(settings, port=port, search=search, announce=announce)
    console.note("the page has ended; what was decided is written")
    if threading.active_count() > 1:
        # a search, which faces review --search repeats; Python would wait for its calls, minutes if nobody answers
        for stream in filter(None, (console.out, sys.stderr)):
            stream.flush()
        os._exit(0)


def _list_users(console: Console, settings: Settings, file: Path | None, *, with_labels: bool) -> int:
    """List the users whose faces wait; the e-mail addresses get into files only when they are asked for."""
    from seedtool.workflows import backfill as workflow

    if file is not None:
        from seedtool.files import writing

        writing.check_place(file, "--csv")
    found = workflow.users_waiting(settings=settings)
    label = settings.backfill.user_label or "label"
    if file is not None:
        from seedtool.files import csv_text

        rows = ((each.id, *((each.email,) if with_labels else ()), str(each.waiting)) for each in found)
        text = "".join(csv_text.write(("user_id", *((label,) if with_labels else ()), "waiting"), rows))
        writing.write_whole(file, text.encode(), mode=writing.PRIVATE)
        console.note(f"{count(len(found), 'user')} in {file}")
    listed = [
        {"user_id": each.id, "waiting": each.waiting} | ({label: each.email} if with_labels else {}) for each in found
    ]
    report = {"users": listed, "total": sum(each.waiting for each in found)}
    console.report(report, lambda: _user_lines(found, label))
    return 0


def _user_lines(found: list[User], label: str) -> Iterator[str]:
    if found:
        yield from table(
            ("user", label, "waiting"),
            ((each.id, each.email, each.waiting) for each in found),
        )
    yield f"{_faces_wait(sum(each.waiting for each in found))}, of {count(len(found), 'user')}"


def _list(user_id: str | None, limit: int | None, console: Console, settings: Settings) -> None:
    from seedtool.workflows import backfill as workflow

    total = workflow.count_waiting(user_id=user_id, settings=settings)
    if console.as_json:
        faces = workflow.waiting_faces(user_id=user_id, limit=limit, settings=settings)
        console.stream({"total": total}, "waiting", faces)
    elif not console.quiet:
        shown = min(total, limit or _LISTED)
        for line in _waiting_lines(workflow.waiting_faces(user_id=user_id, limit=shown, settings=settings)):
            console.line(line)
        if total > shown:
            console.line(f"... and {count(total - shown, 'more face')}: --limit N, or --json")
        console.line(_faces_wait(total))
        if total:
            console.line("seedtool faces review --assign FACE PERSON | --new-person FACE NAME | --skip FACE")


def _waiting_lines(faces: Iterable[Waiting]) -> Iterator[str]:
    user = None
    for face in faces:
        if face.user_id != user:
            user = face.user_id
            yield f"user {user}"
        x, y = (100 * (face.box.left + face.box.width / 2), 100 * (face.box.top + face.box.height / 2))
        yield f"  {face.face_id}"
        yield f"    {printable(face.file_name, one_line=True)}, {x:.0f} % from the left, {y:.0f} % from the top"
        for each in face.suggestions:
            who = (
                f"{printable(each.name or '', one_line=True)} ({each.person_id})"
                if each.person_id
                else f"face {each.face_id}, no person"
            )
            yield f"    {each.similarity:5.1f} %  {who}"


def _decide(
    choices: list[Choice], user_id: str | None, console: Console, settings: Settings, *, search: bool | None
) -> int:
    from seedtool.workflows import backfill as workflow

    with console.working("faces") as listener:
        decided = workflow.decide_faces(choices, user_id=user_id, search=search, settings=settings, listener=listener)
    console.report(decided, lambda: _decided_lines(decided.assigned, decided.search, decided.waiting))
    return 130 if decided.search is not None and decided.search.interrupted else 0


def _decided_lines(assigned: Iterable[Assigned], found: Searched | None, left: int) -> Iterator[str]:
    for each in assigned:
        if each.person_id is None:
            yield f"{each.face_id}: stays without a person"
        else:
            yield f"{each.face_id}: {'new ' * each.new_person}person {each.person_id}"
    if found is not None:
        for link in found.linked:
            similar = f"{link.similarity:.1f} % similar to one of the person's faces"
            yield f"{link.face_id}: person {link.person_id}, {similar}"
        calls = ", ".join(f"{count} {name}" for name, count in found.calls.items()) or "no calls"
        yield (
            f"{count(found.searched, 'waiting face')} searched again, {len(found.linked)} linked; "
            f"{calls}, {found.cost:.3f} dollars"
        )
        if found.missing:
            yield f"{count(len(found.missing), 'face')} not in the collection: seedtool faces status"
        if found.interrupted:
            yield f"interrupted, {count(found.left, 'face')} not searched: seedtool faces review --search"
    yield _faces_wait(left)


def _faces_wait(number: int) -> str:
    return f"{count(number, 'face')} wait{'s' * (number == 1)} for a person"
