"""Extensions and other parts of PostgreSQL that a server may lack: what is there instead, and the way out."""

import re
from collections.abc import Iterable
from typing import NamedTuple

#: What PostgreSQL itself has in place of an extension (documentation: "UUID Functions", "Binary String Functions").
INSTEAD = {
    "uuid-ossp": "gen_random_uuid(), uuidv4() and uuidv7() need no extension",
    "pgcrypto": "gen_random_uuid(), md5() and sha256() need no extension",
    "plpython3u": "PL/pgSQL is there",
    "plperl": "PL/pgSQL is there",
}
#: How a statement that makes an extension reads, in SQL and in a text of Python.
_CREATE = re.compile(
    rb"""CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?\\?["']{0,2}([A-Za-z_][\w-]*)(?![\w-]*[{%])""", re.IGNORECASE
)
_UNAVAILABLE = re.compile(r'extension "([^"]+)" is not available')
#: What a server says that was built without a library, and what it lacks then.
_BUILT_WITHOUT = re.compile(
    r"unsupported XML feature|(ICU) is not supported in this build|(SSL) is not supported", re.IGNORECASE
)


class Lack(NamedTuple):
    """What a server lacks, in words, and what to do about it."""

    message: str
    remedy: str


def created_in(content: bytes) -> set[str]:
    """Return the names of the extensions that a file's text creates; lines of comments do not count.

    Args:
        content: SQL, or Python with SQL in it.
    """
    lines = (line for line in content.splitlines() if not line.lstrip().startswith((b"#", b"--")))
    return {name.decode().lower() for name in _CREATE.findall(b"\n".join(lines))}


def lacking(words: str, *, embedded: bool) -> Lack | None:
    """Return what a server says that it lacks; None where its words say something else.

    Args:
        words: the server's message, or the output of a program that holds it.
        embedded: it is the embedded server.
    """
    found = _UNAVAILABLE.search(words)
    if found is not None:
        return of_extensions([found[1]], embedded=embedded)
    built = _BUILT_WITHOUT.search(words) if embedded else None
    if built is None:
        return None
    return Lack(f"the embedded server is built without {built[1] or built[2] or 'XML'}", _way_out([]))


def of_extensions(names: Iterable[str], *, embedded: bool) -> Lack:
    """Return the lack of extensions.

    Args:
        names: the extensions.
        embedded: it is the embedded server that lacks them.
    """
    listed = sorted(names)
    noun = "extension" if len(listed) == 1 else "extensions"
    message = f"the {'embedded ' if embedded else ''}server has no {noun} {', '.join(listed)}"
    if embedded:
        return Lack(message, _way_out(listed))
    return Lack(
        message,
        "Let the server's administrator install it (Debian: postgresql-contrib, or the package of the extension).",
    )


def _way_out(names: Iterable[str]) -> str:
    instead = [f"{name}: {INSTEAD[name]}." for name in names if name in INSTEAD]
    way = "et DATABASE_URL name a server that has it, such as Docker's image postgres."
    return " ".join([*instead, f"{'Or l' if instead else 'L'}{way}"])
