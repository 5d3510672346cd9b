"""The files that shape the rows of a profile, and the hash of them. Every reset takes it, so it reads no rows.

A Python fixture may read anything. With its code count the project's modules that it imports, the other files of the
seeds folder, and the environment variables that it names. Anything else has to be named in `fingerprint_paths`.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from seedtool.files.hashing import Digest, Hashes, files_below
from seedtool.files.imports import Imports
from seedtool.seeding.fixtures import fixture_files, script_files
from seedtool.seeding.profiles import FILE, Profile, load_profiles
from seedtool.settings import FaceBinding, Settings
from seedtool.version import VERSION

#: Raised when the same files make other rows than before.
_FORMAT = "seeds 1"

_BINDING_KEYS = (
    "table", "face_id", "external_image_id", "key", "collection", "collection_column", "collection_default",
    "collection_query", "where", "box",
)  # fmt: skip

#: PostgreSQL reads these words as a day that depends on the present one (datetktbl in datetime.c). In a text of another
#: kind one does no harm but a build a day. Each word has the letters that make a longer word of it.
_DAYS = dict.fromkeys((b"now", b"today", b"tomorrow", b"yesterday"), b"a-z0-9")
#: Python code that reads the clock mentions one of these; Faker counts its dates from today. `utc_now` counts as `now`,
#: but `start_time` does not count as `time`, since columns have such names.
_CLOCKS = _DAYS | dict.fromkeys(
    (b"time", b"date", b"utcnow", b"localtime", b"gmtime", b"ctime", b"faker", b"mimesis"), b"a-z0-9_"
)
#: The words by which SQL reads the clock.
_SQL_CLOCKS = _DAYS | dict.fromkeys(
    (b"current_date", b"current_timestamp", b"localtimestamp", b"current_time", b"clock_timestamp"), b"a-z0-9_"
)
_VARIABLE = re.compile(r"""(?:environ(?:\.get|\.setdefault)?|getenv)\s*[\[(]\s*["'](\w+)""")
#: Pictures, and files that systems and editors leave. No row comes from them.
_NO_SOURCE = re.compile(
    r"(?i)\..*|.*~|#.*#|__pycache__|.*\.(?:jpe?g|png|gif|webp|heic|avif|tiff?|bmp|mp4|mov|pdf|zip|py[cod]|orig|swp)"
)


def seed_fingerprint(settings: Settings, profile: Profile, *, now: datetime | None = None) -> str:
    """Return the hex SHA-256 of all that shapes the rows of a profile, apart from the schema.

    Where the text of a fixture shows that it reads the day, the day is part of the hash. Profiles of the same sets have
    the same fingerprint: what a profile syncs or lists beside the rows does not count.

    Args:
        settings: they name the seeds folder and the face bindings.
        profile: the profile.
        now: the present time; the clock's when None.

    Raises:
        ProfileError: a set's folder is missing or holds a file that is no fixture.
    """
    digest = Digest()
    names_day = False
    digest.add(_FORMAT.encode(), VERSION.encode(), *(name.encode() for name in profile.sets))
    digest.add(b"faces", msgspec.json.encode([_of_rows(binding) for binding in settings.faces]))
    if profile.triggers != "on":
        digest.add(b"triggers", profile.triggers.encode())
    if not profile.refresh_materialized_views:
        digest.add(b"materialized views are not refreshed")
    if profile.after:
        digest.add(b"after", *(name.encode() for name in profile.after))
    fixtures = [path for name in profile.sets for path in fixture_files(settings.seeds / name)]
    code = [path for path in fixtures if path.suffix.lower() == ".py"]
    variables: dict[str, str] = {}
    counted: set[str] = set()
    scripts = [path for name in profile.sets for path in script_files(settings.seeds / name)]
    files = {*fixtures, *scripts, *(path for name in profile.after if (path := settings.seeds / name).is_file())}
    if code:
        digest.add(b"python", str(sys.version_info[:2]).encode())
        files |= set(_sources(settings, profile))
        imports = Imports(settings.root, settings.state_dir)
        files |= imports.reached([path for path in files if path.suffix == ".py"], packages=True).keys()
        variables = imports.environment()
    hashes = Hashes(settings.state_dir / "hashes.json", reads_day, bool)
    for path in sorted(files):
        found = hashes.of(path)
        names_day = names_day or found.answer
        digest.add(b"file", os.fsencode(os.path.relpath(path, settings.root)), found.digest.encode())
        if path.suffix == ".py":
            code_text = path.read_text(encoding="utf-8", errors="replace")
            for name in sorted(set(_VARIABLE.findall(code_text))):
                value = variables.get(name, os.environ.get(name, ""))
                digest.add(b"variable", name.encode(), os.fsencode(value))
                counted.add(name)
    hashes.save()
    for name in sorted(variables.keys() - counted):
        digest.add(b"variable", name.encode(), os.fsencode(variables[name]))
    if names_day:
        now = now or datetime.now(UTC)
        # Python asks for the local day, and PostgreSQL for the day in UTC while a seed is written
        digest.add(b"day", str(now.astimezone().date()).encode(), str(now.astimezone(UTC).date()).encode())
    return digest.hexdigest()


def _of_rows(binding: FaceBinding) -> dict[str, object]:
    """Return the keys of a face binding that version 0.1.0 had; a key that came later shapes no row."""
    return {name: getattr(binding, name) for name in _BINDING_KEYS}


def reads_day(path: Path, content: bytes) -> bool:
    """Tell whether a part of a fixture's text shows that its rows depend on the day."""
    return _mentions(content, {".py": _CLOCKS, ".sql": _SQL_CLOCKS}.get(path.suffix, _DAYS))


def _mentions(content: bytes, words: Mapping[bytes, bytes]) -> bool:
    """Tell whether a text holds one of the words, not within a longer one."""
    lower = content.lower()
    # a pattern that begins with the word itself is found quickly
    pattern = b"%(word)b(?<![%(letters)b]%(word)b)(?![%(letters)b])"
    return any(
        word in lower and re.search(pattern % {b"word": word, b"letters": letters}, lower)
        for word, letters in words.items()
    )


def _sources(settings: Settings, profile: Profile) -> Iterator[Path]:
    """Yield the files below the seeds folder that Python fixtures may read; not pictures, nor other profiles' sets."""
    others = {name for each in load_profiles(settings.seeds).values() for name in each.sets} - set(profile.sets)
    passed_over = {settings.seeds / FILE, *(settings.seeds / name for name in others)}
    yield from files_below(settings.seeds, _NO_SOURCE, passed_over)
