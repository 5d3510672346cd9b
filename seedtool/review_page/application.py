"""The ASGI application: pages, pictures, and the answers to what is decided on them.

Every form works without the script; the script answers keys and saves a reload.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from seedtool.backfill import actions, corrections, journal, library, page, review
from seedtool.errors import AwsError, ImageRefused, PhotoError, SeedtoolError, SettingsError, UsageError
from seedtool.postgres.psycopg_errors import translate
from seedtool.review_page import pages
from seedtool.review_page.access import REPORT_POLICY, Access, AccessMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from seedtool.backfill import LibraryConnection
    from seedtool.review_page.cutouts import CutOuts
    from seedtool.review_page.desk import Desk, Done

#: Faces on a page. Each has up to eleven pictures.
FACES_PER_PAGE = 12

# Users that can be chosen at a time, the oldest first; their numbers are counted in one statement.
_MOST_USERS = 200

# Persons of a user, and faces of a person, that a page shows.
_MOST_PERSONS = 120
_FACES_OF_PERSON = 60

# Actions on a page of the history.
_ACTIONS = 50

# How a report names who has processed the photos, by its mode; otherwise it was AWS.
_WHERE = {"embedded": "the embedded emulator", "endpoint": "an application"}

# Bytes of a form, and faces that one answer may be about.
_MOST_BODY = 100_000
_MOST_FACES = 200


def application(desk: Desk, cut_outs: CutOuts, access: Access) -> Starlette:
    """Make the application.

    Args:
        desk: carries out decisions.
        cut_outs: makes the pictures.
        access: who may use it.
    """
    served = _Page(desk, cut_outs)
    return Starlette(
        routes=[
            Route("/", served.faces),
            Route("/picture/{face}/{what}", served.picture),
            Route("/answer", served.answer, methods=["POST"]),
            Route("/persons", served.persons),
            Route("/person/{person}", served.person),
            Route("/person/{person}", served.change, methods=["POST"]),
            Route("/runs", served.runs),
            Route("/run/{run}", served.run),
            Route("/history", served.history),
            Route("/undo", served.undo, methods=["POST"]),
            Route("/news", served.news),
            Route("/style.css", _file("style.css", "text/css")),
            Route("/favicon.ico", lambda _request: Response(status_code=204)),
            Route("/script.js", _file("script.js", "text/javascript")),
        ],
        middleware=[Middleware(AccessMiddleware, access=access)],
        exception_handlers={SeedtoolError: _error, psycopg.Error: _error},
    )


class _Page:
    def __init__(self, desk: Desk, cut_outs: CutOuts) -> None:
        self._desk = desk
        self._cut_outs = cut_outs
        self._said: dict[str, str] = {}  # by browser, what the next page says first

    def faces(self, request: Request) -> Response:
        """Return the faces that wait for a person, of one user, from one face on; those that are alike as one."""
        after = self._desk.key("faces", request.query_params.get("after"))
        alike = self._desk.settings.backfill.assign
        with self._desk.connect() as connection:
            users = self._users(connection, request, persons=False)
            found: list[review.Waiting] = []
            persons: list[corrections.Person] = []
            if users.user is not None:
                found = self._desk.waiting(connection, users.user, after, FACES_PER_PAGE + 1)
                persons = corrections.persons(connection, users.user)
            shown = found[:FACES_PER_PAGE]
            groups = review.groups(connection, shown, alike=alike, most=pages.MOST_ALIKE)
        return HTMLResponse(
            pages.faces(
                users,
                groups,
                [each.name for each in persons],
                following=shown[-1].face_id if len(found) > len(shown) else None,
                after=after,
                state=self._state(request),
            )
        )

    def persons(self, request: Request) -> Response:
        """Return the persons of a user."""
        first = _number(request.query_params.get("from")) or 0
        with self._desk.connect() as connection:
            users = self._users(connection, request, persons=True)
            found: list[corrections.PersonFaces] = []
            total = 0
            if users.user is not None:
                found, total = corrections.persons_with_faces(connection, users.user, _MOST_PERSONS, first)
        return HTMLResponse(pages.persons(users, found, total, first, state=self._state(request)))

    def person(self, request: Request) -> Response:
        """Return the faces of a person, the least similar first."""
        person = self._desk.key("persons", request.path_params["person"])
        after = self._desk.key("faces", request.query_params.get("after"))
        with self._desk.connect() as connection:
            found = corrections.person(connection, person) if person else None
            if person is None or found is None:
                return HTMLResponse(pages.error("There is no such person.", "Somebody may have merged it."), 404)
            user, name = found
            shown = corrections.faces_of(connection, person, after, _FACES_OF_PERSON + 1)
            others = [each for each in corrections.persons(connection, user) if each.id != person]
        return HTMLResponse(
            pages.person(
                corrections.Person(person, name, (name,)),
                user,
                shown[:_FACES_OF_PERSON],
                others,
                following=shown[_FACES_OF_PERSON - 1].id if len(shown) > _FACES_OF_PERSON else None,
                after=after,
                state=self._state(request),
            )
        )

    async def change(self, request: Request) -> Response:
        """Take a face away from a person, rename it, or merge it into another one."""
        form = await _form(request)
        reviewer, person = request.state.reviewer, self._desk.key("persons", request.path_params["person"])
        face = self._desk.key("faces", form.get("face", [""])[0])
        into = self._desk.key("persons", form.get("into", [""])[0])
        was, name = form.get("was", [""])[0], form.get("name", [""])[0]
        if person is not None and face is not None:
            return await self._carried_out(
                request, f"/person/{person}", lambda: self._desk.take_away(reviewer, face, person), []
            )
        if person is not None and into is not None:
            return await self._carried_out(
                request, f"/person/{into}", lambda: self._desk.merge(reviewer, person, into), []
            )
        if person is None or "was" not in form:
            raise UsageError("the form names nothing to change", remedy="Reload the page.", option="PERSON")
        return await self._carried_out(
            request, f"/person/{person}", lambda: self._desk.rename(reviewer, person, was, name), []
        )

    def runs(self, request: Request) -> Response:
        """Return the runs of the backfill, and how far it is."""
        with self._desk.connect() as connection:
            library.check_tables(connection)
            found = corrections.runs(connection)
            reports = journal.reports(connection)
        census = self._desk.census()
        prices = self._desk.settings.backfill.prices
        return HTMLResponse(pages.runs(found, reports, census, prices, state=self._state(request)))

    def run(self, request: Request) -> Response:
        """Return the report of a run, as `backfill --html` writes it; of a run that goes on, its report so far."""
        wanted = _uuid(request.path_params["run"])
        with self._desk.connect() as connection:
            kept = journal.reports(connection, wanted) if wanted else []
        report = kept[0].report if kept else None
        if report is None:
            message = "There is no report of this run."
            return HTMLResponse(pages.error(message, "The last 100 runs of this version have one."), 404)
        text = page.render(
            report,
            self._desk.settings.backfill,
            where=_WHERE.get(report.mode, f"AWS in {report.region}"),
            database=str(self._desk.target),
            ended=kept[0].updated,
            decides=report.mode != "endpoint",
            goes_on=not kept[0].ended and kept[0].fresh,
            back="/runs",
        )
        return HTMLResponse(text, headers=REPORT_POLICY)

    def history(self, request: Request) -> Response:
        """Return what people have done on the page, the latest first."""
        before = _number(request.query_params.get("before"))
        with self._desk.connect() as connection:
            found = actions.listing(connection, before, _ACTIONS + 1)
        return HTMLResponse(
            pages.history(
                found[:_ACTIONS],
                request.state.reviewer,
                following=found[_ACTIONS - 1].id if len(found) > _ACTIONS else None,
                before=before,
                state=self._state(request),
            )
        )

    def _users(self, connection: LibraryConnection, request: Request, *, persons: bool) -> pages.Users:
        """Return the users to choose from: those that were asked for, and the chosen one, or the first."""
        library.check_tables(connection)
        begins, first = (
            request.query_params.get("find", "").strip(),
            _number(request.query_params.get("from_user")) or 0,
        )
        listed, total = self._desk.users(begins, first, _MOST_USERS, persons=persons)
        wanted = library.as_key(connection.shape, "users", request.query_params.get("user", ""))
        chosen = None
        if wanted is not None:
            chosen = next(iter(library.labels(connection, [wanted]).items()), None)
        elif listed:
            chosen = (listed[0].id, listed[0].email)
        return pages.Users(listed, total, first, begins, chosen)

    def _state(self, request: Request) -> pages.State:
        said = self._said.pop(request.state.browser, "")
        return pages.State(said, self._desk.can_undo(request.state.reviewer), self._desk.number)

    def picture(self, request: Request) -> Response:
        """Return a face, cut out of its photo, or the whole photo with the face framed."""
        face, what = self._desk.key("faces", request.path_params["face"]), request.path_params["what"]
        if face is None or what not in {"small", "large", "photo"}:
            return PlainTextResponse("There is no such picture.\n", 404)
        try:
            made = self._cut_outs.get(face, cast('Literal["small", "large", "photo"]', what))
        except (PhotoError, ImageRefused, SettingsError, AwsError) as error:
            return PlainTextResponse(f"{error.message}\n{error.remedy}\n", 404)
        return Response(made, media_type="image/jpeg")

    async def answer(self, request: Request) -> Response:
        """Decide about a face, and about others that are the same person."""
        form = await _form(request)
        user = self._desk.key("users", form.get("user", [""])[0])
        after = self._desk.key("faces", form.get("after", [""])[0])
        given = [*form.get("face", []), *form.get("also", [])]
        faces = [face for face in (self._desk.key("faces", each) for each in given) if face is not None]
        faces = list(dict.fromkeys(faces))[:_MOST_FACES]
        if user is None or not faces:
            raise UsageError("the form names no face", remedy="Reload the page.")
        person = form.get("person", [""])[0]
        what, who = ("assign", person) if person else (form.get("do", [""])[0], form.get("name", [""])[0])
        return await self._carried_out(
            request,
            _place(user, after),
            lambda: self._desk.decide(request.state.reviewer, user, faces, what, who),
            faces,
        )

    async def undo(self, request: Request) -> Response:
        """Take back an action, or the last one of whoever asks."""
        form = await _form(request)
        back, action = form.get("back", ["/"])[0], _number(form.get("action", [""])[0])
        if action is None and "action" in form:
            raise UsageError("the form names no action", remedy="Reload the page.")
        # only to a page of ours: `//host` would lead elsewhere
        back = back if back.startswith(("/?", "/person", "/history", "/runs")) else "/"
        return await self._carried_out(request, back, lambda: self._desk.undo(request.state.reviewer, action), [])

    def news(self, request: Request) -> Response:
        """Return what searches did since, and which of the faces that a page shows no longer wait."""
        since = request.query_params.get("since", "")
        given = request.query_params.get("showing", "").split(",")
        showing = [face for face in (self._desk.key("faces", each) for each in given) if face]
        with self._desk.connect() as connection:
            waiting = corrections.still_wait(connection, showing[:_MOST_FACES])
        news = self._desk.news(int(since) if since.isdecimal() else 0)
        return JSONResponse(
            {
                "gone": [face for face in showing if face not in waiting],
                "messages": [each.message for each in news],
                "number": news[-1].number if news else self._desk.number,
                "searching": self._desk.searching,
            }
        )

    async def _carried_out(self, request: Request, back: str, work: Callable[[], Done], faces: list[str]) -> Response:
        """Do something; answer the script with JSON, and a form with the page that says what was done."""
        script = "application/json" in request.headers.get("accept", "")
        try:
            done = await run_in_threadpool(work)
            status, message, about = 200, done.message, list(done.faces)
        except UsageError as error:
            status, message = 409, f"{_sentence(error.message)} {error.remedy}".strip()
            about = await run_in_threadpool(self._decided_already, faces)
        if script:
            can_undo = await run_in_threadpool(self._desk.can_undo, request.state.reviewer)
            return JSONResponse({"message": message, "faces": about, "can_undo": can_undo}, status)
        self._said[request.state.browser] = message
        return RedirectResponse(back, 303)

    def _decided_already(self, faces: list[str]) -> list[str]:
        with self._desk.connect() as connection:
            waiting = corrections.still_wait(connection, faces)
        return [face for face in faces if face not in waiting]


def _place(user: str | None, after: str | None) -> str:
    """Return the address of a page of waiting faces."""
    return f"/?user={user or ''}{f'&after={after}' if after else ''}"


async def _form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form, as browsers send it without files."""
    from urllib.parse import parse_qs

    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY:
            raise UsageError("the form is too large", remedy="Choose fewer faces at a time.")
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


async def _error(request: Request, error: Exception) -> Response:
    """Say what went wrong and what to do, as the command line does."""
    if isinstance(error, psycopg.errors.StringDataRightTruncation):
        error = UsageError("the text is longer than the database's column takes", remedy="Type a shorter one.")
    elif isinstance(error, psycopg.DataError):  # U+0000 in a name, for one
        error = UsageError("the text cannot be stored by the database", remedy="Type it without special characters.")
    told = translate(error, "the page's question") if isinstance(error, psycopg.Error) else error
    message = told.message if isinstance(told, SeedtoolError) else str(told)
    remedy = told.remedy if isinstance(told, SeedtoolError) else ""
    status = 400 if isinstance(told, UsageError) else 500
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"message": f"{_sentence(message)} {remedy}".strip(), "faces": []}, status)
    return HTMLResponse(pages.error(message, remedy), status)


def _file(name: str, media_type: str) -> Callable[[Request], Response]:
    content = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return lambda _request: Response(content, media_type=media_type)


def _uuid(text: str | None) -> str | None:
    try:
        return str(uuid.UUID(text or ""))
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    """Return a whole number of a bigint's size; None for anything else."""
    found = text or ""
    return int(found) if found.isascii() and found.isdigit() and len(found) < 19 else None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
