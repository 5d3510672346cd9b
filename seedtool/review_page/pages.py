"""The pages as HTML. What comes from the database was written by strangers: it gets in only through `escaped`."""

from collections.abc import Iterator, Sequence

from seedtool.backfill.corrections import User
from seedtool.backfill.formatting import count, escaped
from seedtool.backfill.review import Suggested, Waiting

# Suggestions that have a key, and that are shown.
_MOST_KEYS = 9

_KEYS = """<kbd>1</kbd> to <kbd>9</kbd> choose a suggestion, <kbd>n</kbd> goes to the name, <kbd>s</kbd> skips,
<kbd>u</kbd> undoes, <kbd>p</kbd> shows the photo, the arrows go to the next and the previous face. A suggestion without
a person is marked; the next answer is for both faces."""


def faces(
    users: Sequence[User],
    user: str | None,
    shown: Sequence[Waiting],
    names: Sequence[str],
    *,
    following: str | None,
    after: str | None,
    message: str,
    can_undo: bool,
    number: int,
) -> str:
    """Return the page of the faces that wait for a person.

    Args:
        users: the users with waiting faces.
        user: the user whose faces are shown; None when no face waits.
        shown: the faces.
        names: the user's persons.
        following: the last face of this page, if there is a next page.
        after: the last face of the page before; None on the user's first page.
        message: what is said first: the outcome of a form.
        can_undo: the browser has something to undo.
        number: of the last message of a search.
    """
    return _page(
        "Faces without a person", _faces(users, user, shown, names, following, after, can_undo), message, number
    )


def error(message: str, remedy: str) -> str:
    """Return a page that says what went wrong and what to do."""
    body = f"<main><h1>This did not work</h1><p>{escaped(message, 600)}</p><p>{escaped(remedy, 600)}</p>"
    return _page("This did not work", iter((body, '<p><a href="/">Back to the faces</a></p></main>')), "", 0)


def _page(title: str, body: Iterator[str], message: str, number: int) -> str:
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            '<link rel="stylesheet" href="/style.css"><script src="/script.js" defer></script></head>',
            f'<body data-number="{number}">',
            *body,
            f'<p id="status" role="status">{escaped(message, 600)}</p></body></html>\n',
        )
    )


def _faces(
    users: Sequence[User],
    user: str | None,
    shown: Sequence[Waiting],
    names: Sequence[str],
    following: str | None,
    after: str | None,
    can_undo: bool,
) -> Iterator[str]:
    place = _hidden(user, after)
    yield "<header><h1>Faces without a person</h1>"
    if users:
        yield '<form action="/" class="line"><label for="user">User</label> <select id="user" name="user">'
        for each in users:
            chosen = " selected" if each.id == user else ""
            yield f'<option value="{each.id}"{chosen}>{escaped(each.email)}: {count(each.waiting, "face")}</option>'
        yield "</select> <button>Show</button></form>"
    disabled = "" if can_undo else " disabled"
    yield f'<form action="/undo" method="post" class="line">{place}'
    yield f'<button id="undo"{disabled}>Undo <kbd>u</kbd></button></form>'
    yield "</header><main>"
    if shown:
        yield f"<details><summary>Keys</summary><p>{_KEYS}</p></details>"
    else:
        yield '<p class="state">'
        yield "No face of this user waits from here on." if users else "No face waits for a person."
        yield "</p>"
    yield f'<datalist id="persons">{"".join(f"<option>{escaped(each)}</option>" for each in names)}</datalist>'
    yield f'<ol class="faces">{"".join("".join(_face(each, place)) for each in shown)}</ol>'
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


def _face(face: Waiting, place: str) -> Iterator[str]:
    id_, file = face.face_id, f"<bdi>{escaped(face.file_name, 80)}</bdi>"
    yield f'<li><form action="/answer" method="post" class="face" id="face-{id_}" data-face="{id_}" tabindex="-1" '
    yield f'aria-labelledby="title-{id_}">{place}<input type="hidden" name="face" value="{id_}">'
    # Enter in the name's field presses a form's first button. This one comes first, and only there.
    yield '<button name="do" value="name" class="first" tabindex="-1" aria-hidden="true">Save the name</button>'
    yield f'<a class="cut" href="/picture/{id_}/photo"><img src="/picture/{id_}/large" alt="The face" width="192" '
    yield f'height="192" loading="lazy"></a><div class="about"><h2 id="title-{id_}">Who is this on {file}?</h2>'
    yield f'<p><a class="whole" href="/picture/{id_}/photo">Show the whole photo</a></p></div>'
    if face.suggestions:
        yield '<fieldset class="suggestions"><legend>Suggestions</legend>'
        for key, each in enumerate(face.suggestions[:_MOST_KEYS], 1):
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
