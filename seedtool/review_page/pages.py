"""The pages as HTML. What comes from the database was written by strangers: it gets in only through `escaped`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode

from seedtool.backfill.actions import Action
from seedtool.backfill.corrections import LinkedFace, Person, PersonFaces, RunSummary, User
from seedtool.backfill.formatting import dollars, duration, escaped, percent
from seedtool.backfill.journal import KeptReport
from seedtool.backfill.library import Census
from seedtool.backfill.report import Report
from seedtool.backfill.review import Alike, Suggested, Waiting
from seedtool.printable import count

#: Faces that a face stands for, at most, with one answer.
MOST_ALIKE = 24

# Suggestions that have a key, and that are shown.
_MOST_KEYS = 9

_KEYS = """<kbd>1</kbd> to <kbd>9</kbd> choose a suggestion, <kbd>n</kbd> goes to the name, <kbd>s</kbd> skips,
<kbd>u</kbd> undoes, <kbd>p</kbd> shows the photo, <kbd>a</kbd> marks all faces of a group or none, the arrows go to the
next and the previous face, <kbd>.</kbd> to the next page. A suggestion without a person is marked; the next answer is
for both faces."""

_KEYS_OF_WALL = """The arrows go to the next and the previous picture, <kbd>p</kbd> shows the photo, <kbd>t</kbd> takes
the face away, <kbd>u</kbd> undoes, <kbd>.</kbd> goes to the next page."""


_MAIN = '<main id="main" tabindex="-1">'


class Users(NamedTuple):
    """The users that can be chosen on a page.

    Args:
        listed: some of them, each with a number of faces or persons.
        total: how many there are.
        first: how many are before those listed.
        begins: only those were counted and listed whose e-mail address begins like this.
        chosen: the one that is chosen, with the e-mail address; None when there is none.
    """

    listed: Sequence[User]
    total: int
    first: int
    begins: str
    chosen: tuple[str, str] | None

    @property
    def user(self) -> str | None:
        """The id of the user that is chosen."""
        return self.chosen[0] if self.chosen else None


Group = tuple[Waiting, Sequence[Alike]]


class State(NamedTuple):
    """What a page says of the browser that asks for it.

    Args:
        message: what is said first: the outcome of a form.
        can_undo: the browser has something to undo.
        number: of the last message of a search.
    """

    message: str
    can_undo: bool
    number: int


def faces(
    users: Users,
    shown: Sequence[Group],
    names: Sequence[str],
    *,
    following: str | None,
    after: str | None,
    state: State,
) -> str:
    """Return the page of the faces that wait for a person.

    Args:
        users: the users with waiting faces.
        shown: the faces, each with those that it stands for.
        names: the user's persons.
        following: the last face of this page, if there is a next page.
        after: the last face of the page before; None on the user's first page.
        state: of the browser.
    """
    body = _faces(users, shown, names, following, after, state)
    return _page("Faces without a person", body, state)


def error(message: str, remedy: str) -> str:
    """Return a page that says what went wrong and what to do."""
    body = f"{_MAIN}<h1>This did not work</h1><p>{escaped(message, 600)}</p><p>{escaped(remedy, 600)}</p>"
    return _page(
        "This did not work", iter((body, '<p><a href="/">Back to the faces</a></p></main>')), State("", False, 0)
    )


def _page(title: str, body: Iterator[str], state: State, *, head: str = "") -> str:
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(title)}</title>{head}",
            '<link rel="stylesheet" href="/style.css"><script src="/script.js" defer></script></head>',
            f'<body data-number="{state.number}"><a class="skip" href="#main">To the content</a>',
            *body,
            f'<p id="status" role="status">{escaped(state.message, 600)}</p></body></html>\n',
        )
    )


def _faces(
    users: Users,
    shown: Sequence[Group],
    names: Sequence[str],
    following: str | None,
    after: str | None,
    state: State,
) -> Iterator[str]:
    user = users.user
    place = _hidden(user, after)
    yield from _header("Faces without a person", "/", state, _place("/", user, after))
    yield from _choose_user("/", users, "face")
    yield f"</header>{_MAIN}"
    if shown:
        yield f"<details><summary>Keys</summary><p>{_KEYS}</p></details>"
    else:
        yield '<p class="state">'
        yield "No face of this user waits from here on." if users.listed else "No face waits for a person."
        yield "</p>"
    yield f'<datalist id="persons">{"".join(f"<option>{escaped(each)}</option>" for each in names)}</datalist>'
    yield f'<ol class="faces">{"".join("".join(_face(*each, place)) for each in shown)}</ol>'
    yield '<nav aria-label="Pages"><p>'
    if after:
        yield f'<a href="/?user={user}">First page</a> '
    if following:
        yield f'<a href="/?user={user}&amp;after={following}" rel="next">Next page</a>'
    yield "</p></nav></main>"


def _hidden(user: str | None, after: str | None) -> str:
    """Return the fields that lead a form back to its page."""
    begin = f'<input type="hidden" name="after" value="{after}">' if after else ""
    return f'<input type="hidden" name="user" value="{user or ""}">{begin}'


def _face(face: Waiting, group: Sequence[Alike], place: str) -> Iterator[str]:
    id_, file = face.face_id, f"<bdi>{escaped(face.file_name, 80)}</bdi>"
    yield f'<li><form action="/answer" method="post" class="face" id="face-{id_}" data-face="{id_}" tabindex="-1" '
    yield f'aria-labelledby="title-{id_}">{place}<input type="hidden" name="face" value="{id_}">'
    # Enter in the name's field presses a form's first button. This one comes first, and only there.
    yield '<button name="do" value="name" class="first" tabindex="-1" aria-hidden="true">Save the name</button>'
    yield f'<a class="cut" href="/picture/{id_}/photo"><img src="/picture/{id_}/large" alt="The face" width="192" '
    yield f'height="192" loading="lazy"></a><div class="about"><h2 id="title-{id_}">Who is this on {file}?</h2>'
    yield f'<p><a class="whole" href="/picture/{id_}/photo">Show the whole photo</a></p></div>'
    if group:
        yield f'<fieldset class="group"><legend>{count(len(group), "more face")} like this one'
        yield f"{', and others follow' * (len(group) == MOST_ALIKE)}. The answer is for all that are marked. "
        yield '<button type="button" class="all" hidden>All or none <kbd>a</kbd></button></legend>'
        for other in group:
            name = escaped(other.file_name, 80)
            yield f'<label class="also" title="{name}"><img src="/picture/{other.face_id}/small" alt="" width="72" '
            yield f'height="72" loading="lazy"><span><input type="checkbox" name="also" value="{other.face_id}" '
            yield f'checked> <bdi class="hidden">{name}</bdi></span></label>'
        yield "</fieldset>"
    grouped = {other.face_id for other in group}
    suggestions = [each for each in face.suggestions if each.face_id not in grouped]
    if suggestions:
        yield '<fieldset class="suggestions"><legend>Suggestions</legend>'
        for key, each in enumerate(suggestions[:_MOST_KEYS], 1):
            yield _suggestion(key, each)
        yield "</fieldset>"
    yield f'<div class="answers"><label for="name-{id_}">Name <kbd>n</kbd></label>'
    yield f'<input id="name-{id_}" name="name" list="persons" autocomplete="off" maxlength="200">'
    yield '<button name="do" value="name">Save the name</button>'
    yield '<button name="do" value="skip" class="plain">Skip <kbd>s</kbd></button></div></form></li>'


def _suggestion(key: int, each: Suggested) -> str:
    alike = f"{each.similarity:.1f} % alike"
    picture = f'<img src="/picture/{each.face_id}/small" alt="" width="72" height="72" loading="lazy">'
    if each.person_id:
        name = escaped(each.name or "a person without a name", 80)
        return (
            f'<button name="person" value="{each.person_id}" data-key="{key}">{picture}<span><kbd>{key}</kbd> '
            f"<bdi>{name}</bdi> <small>{alike}</small></span></button>"
        )
    return (
        f'<label class="also" data-key="{key}">{picture}<span><kbd>{key}</kbd> '
        f'<input type="checkbox" name="also" value="{each.face_id}"> same person <small>{alike}, no name yet</small>'
        "</span></label>"
    )


# Persons


def persons(users: Users, found: Sequence[PersonFaces], total: int, first: int, *, state: State) -> str:
    """Return the page of a user's persons.

    Args:
        users: the users with persons.
        found: some of the chosen user's persons.
        total: how many the user has.
        first: how many are before those found.
        state: of the browser.
    """

    def body() -> Iterator[str]:
        address = _place("/persons", users.user)
        yield from _header("Persons", "/persons", state, f"{address}&from={first}" if first else address)
        yield from _choose_user("/persons", users, "person")
        yield f"</header>{_MAIN}"
        if not found:
            yield f'<p class="state">This user has no {"more " * bool(first)}persons.</p>'
        else:
            yield f"<p>{_range(first, len(found), total, 'person')}</p>"
        yield '<ul class="wall">'
        for each in found:
            name, image = escaped(each.name, 80), '<span class="none"></span>'
            if each.face_id:
                image = f'<img src="/picture/{each.face_id}/large" alt="" width="144" height="144" loading="lazy">'
            by_system = f", {count(each.by_system)} by the system" if each.by_system else ""
            yield f'<li><a href="/person/{each.id}">{image}<bdi>{name}</bdi></a>'
            yield f"<small>{count(each.faces, 'face')}{by_system}</small></li>"
        yield '</ul><nav aria-label="Pages"><p>'
        if first:
            yield f'<a href="{escaped(address)}">First page</a> '
        if first + len(found) < total:
            yield f'<a href="{escaped(address)}&amp;from={first + len(found)}" rel="next">Next page</a>'
        yield "</p></nav></main>"

    return _page("Persons", body(), state)


def person(
    who: Person,
    user: str,
    shown: Sequence[LinkedFace],
    others: Sequence[Person],
    *,
    following: str | None,
    after: str | None,
    state: State,
) -> str:
    """Return the page of a person.

    Args:
        who: the person.
        user: its user.
        shown: its faces, the least similar first.
        others: the other persons of the user.
        following: the last face of this page, if there is a next page.
        after: the last face of the page before; None on the first page.
        state: of the browser.
    """
    name = escaped(who.name, 80)
    address = f"/person/{who.id}"

    def body() -> Iterator[str]:
        yield from _header(who.name, "", state, address)
        yield f'</header>{_MAIN}<p><a href="/persons?user={user}">All persons of this user</a></p>'
        yield f'<div class="changes"><form action="{address}" method="post" class="line">'
        yield f'<input type="hidden" name="was" value="{escaped(who.name, 10_000)}"><label for="name">Name</label> '
        yield f'<input id="name" name="name" value="{escaped(who.name, 10_000)}" maxlength="200" autocomplete="off"> '
        yield "<button>Rename</button></form>"
        if others:
            options = "".join(f'<option value="{each.id}">{escaped(each.name, 80)}</option>' for each in others)
            yield f'<form action="{address}" method="post" class="line"><label for="into">The same person as</label> '
            yield f'<select id="into" name="into" required><option value="">choose a person</option>{options}</select> '
            yield "<button>Merge</button></form>"
        yield "</div><p>The least similar faces come first: there a wrong link is found. A face that is taken away "
        yield "waits for a person again, and is not linked to this one by itself.</p>"
        if not shown:
            yield f'<p class="state">This person has no {"more " if after else ""}faces.</p>'
        yield f"<details><summary>Keys</summary><p>{_KEYS_OF_WALL}</p></details>" if shown else ""
        yield '<ul class="wall">'
        for each in shown:
            who_linked = "by a person" if each.assigned_by == "user" else f"by the {_SYSTEMS[each.assigned_by]}"
            alike = "" if each.assigned_by == "user" else f", {100 * each.confidence:.1f} % alike"
            yield f'<li data-face="{each.id}"><a class="cut" href="/picture/{each.id}/photo">'
            yield f'<img src="/picture/{each.id}/large" alt="{name} on {escaped(each.file_name, 80)}" width="144" '
            yield f'height="144" loading="lazy"></a><small>linked {who_linked}{alike}</small>'
            yield f'<form action="{address}" method="post"><input type="hidden" name="face" value="{each.id}">'
            yield f'<button aria-label="Take away: {escaped(each.file_name, 80)}">Take away</button></form></li>'
        yield '</ul><nav aria-label="Pages"><p>'
        if after:
            yield f'<a href="{address}">First page</a> '
        if following:
            yield f'<a href="{address}?after={following}" rel="next">Next page</a>'
        yield "</p></nav></main>"

    return _page(who.name, body(), state)


_SYSTEMS = {"system": "system", "ai": "application"}


# History


def history(found: Sequence[Action], reviewer: str, *, following: int | None, before: int | None, state: State) -> str:
    """Return the page of what people have done, the latest first.

    Args:
        found: what was done.
        reviewer: who asks.
        following: the last action of this page, if there is a next page.
        before: the last action of the page before; None on the first page.
        state: of the browser.
    """

    def body() -> Iterator[str]:
        address = f"/history?before={before}" if before else "/history"
        yield from _header("What was done", "/history", state, address)
        yield f"</header>{_MAIN}<p>Undo parts a face from its person again. It changes nothing that somebody has "
        yield "decided since. The key undoes your own last answer; here each can be undone.</p>"
        if not found:
            yield '<p class="state">Nothing was done on this page yet.</p>'
        yield '<ol class="history">'
        for each in found:
            who = "you" if each.reviewer == reviewer else "somebody else"
            yield f'<li><span><bdi>{escaped(each.words, 300)}</bdi> <small><time datetime="{each.at.isoformat()}">'
            yield f"{each.at:%Y-%m-%d %H:%M %Z}</time>, by {who}</small></span>"
            if each.undone:
                yield "<small>undone</small></li>"
            else:
                yield f'<form action="/undo" method="post"><input type="hidden" name="back" value="{address}">'
                yield f'<input type="hidden" name="action" value="{each.id}">'
                yield f'<button aria-label="Undo: {escaped(each.words, 300)}">Undo</button></form></li>'
        yield '</ol><nav aria-label="Pages"><p>'
        if before:
            yield '<a href="/history">First page</a> '
        if following:
            yield f'<a href="/history?before={following}" rel="next">Next page</a>'
        yield "</p></nav></main>"

    return _page("What was done", body(), state)


# Runs


class _Line(NamedTuple):
    """A line of the table of runs."""

    began: datetime
    seconds: float
    state: str
    numbers: tuple[int, int, int]
    cost: float
    report: str | None


def runs(
    found: Sequence[RunSummary],
    reports: Sequence[KeptReport],
    census: Census,
    prices: Mapping[str, float],
    *,
    state: State,
) -> str:
    """Return the page of the backfill's runs. It is loaded again every 5 seconds while a run goes on.

    Args:
        found: what the journal's lines of assets tell of runs.
        reports: the reports that runs have kept.
        census: what there is to process.
        prices: dollars for a call, by operation.
        state: of the browser.
    """
    working = sum(each.started for each in found)
    done = census.skipped - census.failed_before
    running = [each.report for each in reports if each.report and not each.ended and each.fresh]

    def body() -> Iterator[str]:
        yield from _header("Runs of the backfill", "/runs", state, "/runs")
        yield f"</header>{_MAIN}"
        for each in running:
            part, whole = each.succeeded + each.failed, each.assets
            share = f"A run goes on: {count(part)} of {count(whole, 'asset')} done ({percent(part, whole)})"
            yield f'<p class="state">{share}, {count(each.failed)} failed, {count(each.faces, "face")}, '
            yield f"{dollars(each.cost)} so far, {_time_left(each)}.</p>"
        total = done + census.assets
        share = f"{count(done)} of {count(total, 'asset')} of the library done ({percent(done, total)})"
        yield f'<p><label for="progress">{share}</label> '
        yield f'<progress id="progress" max="{max(1, total)}" value="{done}"></progress></p>'
        yield f"<p>{count(working)} in progress or interrupted, {count(census.failed_before)} failed.</p>"
        if not found and not reports:
            yield '<p class="state">The journal has no run.</p></main>'
            return
        yield '<p id="about"><small>The last runs. Follow the date to the whole report. A run without one is known '
        yield "from its assets only: each counts for the run that processed it last.</small></p>"
        yield '<div class="scroll" tabindex="0" role="region" aria-label="The last runs">'
        yield '<table aria-describedby="about"><thead><tr>'
        heads = ("began", "took", "state", "done", "failed", "faces", "cost")
        yield "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
        for line in _lines(found, reports, prices):
            began = f"{line.began:%Y-%m-%d %H:%M %Z}"
            if line.report:
                began = f'<a href="/run/{line.report}">{began}</a>'
            yield f'<tr><th scope="row">{began}</th><td>{duration(line.seconds)}</td><td>{line.state}</td>'
            yield (
                "".join(f"<td>{count(number)}</td>" for number in line.numbers) + f"<td>{dollars(line.cost)}</td></tr>"
            )
        yield "</tbody></table></div></main>"

    head = '<meta http-equiv="refresh" content="5">' if running else ""
    return _page("Runs of the backfill", body(), state, head=head)


def _lines(found: Sequence[RunSummary], reports: Sequence[KeptReport], prices: Mapping[str, float]) -> list[_Line]:
    lines = []
    for kept in reports:
        if (report := kept.report) is not None:
            numbers = (report.succeeded, report.failed, report.faces)
            lines.append(_Line(kept.began, report.seconds, _run_state(kept), numbers, report.cost, kept.run))
    with_report = {each.report for each in lines}
    for each in found:
        if each.id not in with_report:
            cost = each.index_calls * prices.get("IndexFaces", 0) + each.search_calls * prices.get("SearchFaces", 0)
            state = f"{count(each.started)} in progress" if each.started else "ended"
            seconds = (each.last - each.began).total_seconds()
            lines.append(_Line(each.began, seconds, state, (each.done, each.failed, each.faces), cost, None))
    return sorted(lines, reverse=True)


def _run_state(kept: KeptReport) -> str:
    if not kept.ended:
        return "running" if kept.fresh else "killed"
    report = kept.report
    if report is None or report.interrupted or report.stopped:
        return "ended early"
    return "finished"


def _time_left(report: Report) -> str:
    done = report.succeeded + report.failed
    return f"{duration(report.seconds / done * report.left)} left" if done else "nothing done yet"


# What the pages share


def _header(title: str, here: str, state: State, back: str) -> Iterator[str]:
    """Begin the header: the title, the other pages, and the button that undoes and leads back here."""
    yield f'<header><h1><bdi>{escaped(title, 80)}</bdi></h1><nav aria-label="Review"><ul>'
    for address, name in (("/", "Faces"), ("/persons", "Persons"), ("/history", "History"), ("/runs", "Runs")):
        current = ' aria-current="page"' if address == here else ""
        yield f'<li><a href="{address}"{current}>{name}</a></li>'
    disabled = "" if state.can_undo else " disabled"
    yield '</ul></nav><form action="/undo" method="post" class="line">'
    yield f'<input type="hidden" name="back" value="{escaped(back, 1000)}">'
    yield f'<button id="undo"{disabled}>Undo <kbd>u</kbd></button></form>'


def _choose_user(action: str, users: Users, thing: str) -> Iterator[str]:
    """Return the list of users, and where there are more than it holds, a field that finds others."""
    if users.listed or users.chosen:
        yield f'<form action="{action}" class="line"><label for="user">User</label> <select id="user" name="user">'
        if users.chosen and users.user not in {each.id for each in users.listed}:
            yield f'<option value="{users.user}" selected>{escaped(users.chosen[1])}</option>'
        for each in users.listed:
            chosen = " selected" if each.id == users.user else ""
            yield f'<option value="{each.id}"{chosen}>{count(each.waiting, thing)}: {escaped(each.email)}</option>'
        yield "</select> <button>Show</button></form>"
    following = users.first + len(users.listed)
    if users.begins or users.first or following < users.total:
        yield f'<form action="{action}" class="line"><label for="find">E-mail begins with</label> '
        yield f'<input id="find" name="find" value="{escaped(users.begins)}" maxlength="200" autocomplete="off"> '
        yield f"<button>Find</button> <small>{_range(users.first, len(users.listed), users.total, 'user')}</small>"
        if following < users.total:
            more = urlencode({"find": users.begins, "from_user": following})
            yield f' <a href="{action}?{escaped(more)}">More users</a>'
        yield "</form>"


def _range(first: int, shown: int, total: int, thing: str) -> str:
    """Return `1 to 100 of 1,234 persons`, or `12 persons` where all are shown."""
    if not shown:
        return f"no {thing}"
    if shown == total:
        return count(total, thing)
    return f"{count(first + 1)} to {count(first + shown)} of {count(total, thing)}"


def _place(page: str, user: str | None, after: str | None = None) -> str:
    return f"{page}?user={user or ''}{f'&after={after}' if after else ''}"
