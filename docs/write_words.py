"""Write the words of docs/guides/recipes.md, and the checksums that the tests hold them to: make docs.

A word's text is its function's docstring. Its examples stand here, and what they make is computed. A checksum that has
changed is only written together with a new WORDS in seedtool/values/version.py, since people's rows would change.
"""

import hashlib
import inspect
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedtool.values.hashing import key_of, stream
from seedtool.values.kinds import MODULES, VERSION, WORDS, Context, line
from seedtool.values.word import Parameter

if TYPE_CHECKING:
    from seedtool.values.cells import Cells

HERE = Path(__file__).parent
PAGE = HERE / "guides" / "recipes.md"
CHECKSUMS = HERE.parent / "tests" / "unit" / "values" / "checksums.txt"
BEGIN, END = "<!-- the words: written by docs/write_words.py -->", "<!-- the words end here -->"
WIDTH = 100

#: The heading of each module of words.
HEADINGS = {
    "people": "People",
    "places": "Places, companies and things",
    "patterns": "Texts of a form",
    "numbers": "Numbers",
    "times": "Days and times",
    "composed": "Made of others",
}

#: Lines of a recipe for each word; together they use every parameter.
EXAMPLES = {
    "first_name": [
        'name = "first_name"',
        'name = { kind = "first_name", locale = "es_CL", sex = "female" }',
        'sex = "sex"\nname = { kind = "first_name", sex_of = "sex", female = ["female"] }',
    ],
    "last_name": ['name = { kind = "last_name", locale = "es_CL" }'],
    "full_name": [
        'name = { kind = "full_name", locale = "es_CL", surnames = 2 }',
        'name = { kind = "full_name", locale = "de_DE", sex = "male" }',
        """gender = { kind = "sex", female = "F", male = "M" }
name = { kind = "full_name", sex_of = "gender", female = ["F"] }""",
        'first = "first_name"\nlast = "last_name"\nname = { kind = "full_name", of = ["first", "last"] }',
    ],
    "prefix": [
        'title = { kind = "prefix", locale = "es_CL", sex = "female" }',
        'sex = "sex"\ntitle = { kind = "prefix", sex_of = "sex", female = ["female"] }',
    ],
    "sex": ['sex = "sex"', 'sex = { kind = "sex", female = "F", male = "M", share = 0.9 }'],
    "email": [
        'mail = "email"',
        """first = { kind = "first_name", locale = "es_CL" }
last = { kind = "last_name", locale = "es_CL" }
mail = { kind = "email", of = ["first", "last"], domain = "colegio.example" }""",
        'mail = { kind = "email", locale = "es_CL", numbered = false }',
    ],
    "username": [
        'login = "username"',
        'name = "full_name"\nlogin = { kind = "username", of = ["name"], numbered = false }',
        'login = { kind = "username", locale = "es_CL" }',
    ],
    "phone": ['phone = { kind = "phone", locale = "es_CL" }', 'phone = { kind = "phone", format = "2 %### ####" }'],
    "rut": [
        'rut = "rut"',
        'rut = { kind = "rut", format = "dash", min = 20000000, max = 25000000 }',
        'rut = { kind = "rut", format = "plain" }',
        'rut = { kind = "rut", format = "number" }',
    ],
    "pool": [
        'slogan = { kind = "pool", name = "catch_phrase", locale = "es_CL" }',
        'house = { kind = "pool", file = "company/own.txt" }',
    ],
    "text": ['notes = { kind = "text", locale = "es_CL", min = 30, max = 60 }'],
    "word": ['word = { kind = "word", locale = "es_CL" }'],
    "company": ['school = { kind = "company", locale = "es_CL" }'],
    "job": ['job = { kind = "job", locale = "de_DE" }'],
    "street": ['street = { kind = "street", locale = "es_CL" }'],
    "address": ['address = { kind = "address", locale = "es_CL" }'],
    "city": ['city = { kind = "city", locale = "es_CL" }'],
    "region": ['region = { kind = "region", locale = "es_CL" }'],
    "postcode": ['code = { kind = "postcode", locale = "de_DE" }'],
    "country": ['country = { kind = "country", locale = "es" }'],
    "color": ['color = { kind = "color", locale = "es_CL" }'],
    "catch_phrase": ['slogan = { kind = "catch_phrase", locale = "en_US" }'],
    "domain": ['host = "domain"'],
    "url": ['page = "url"', 'page = { kind = "url", path = false }'],
    "ip": ['address = "ip"', 'address = { kind = "ip", version = 6 }'],
    "pattern": ['plate = { kind = "pattern", format = "??-##-^%" }'],
    "sequence": ['number = { kind = "sequence", start = 1000, step = 5 }'],
    "template": [
        'id = { kind = "template", format = "student-{n:06}", start = 1 }',
        'name = "first_name"\ngreeting = { kind = "template", format = "Dear {name}" }',
    ],
    "choice": [
        'status = { kind = "choice", values = ["active", "inactive"], weights = [95, 5] }',
        'grade = { kind = "choice", values = [1, 2, 3, 4] }',
    ],
    "constant": ['active = { kind = "constant", value = true }'],
    "null": ['deleted_at = "null"'],
    "uuid": ['id = "uuid"'],
    "token": ['secret = { kind = "token", length = 20 }'],
    "boolean": ['consent = { kind = "boolean", share = 0.9 }'],
    "integer": ['age = { kind = "integer", min = 6, max = 18 }', 'price = { kind = "integer", max = 900, step = 100 }'],
    "decimal": ['grade = { kind = "decimal", min = 1.0, max = 7.0, places = 1 }'],
    "normal": ['height = { kind = "normal", mean = 140, deviation = 12.5, min = 90, max = 200, places = 1 }'],
    "skewed": ['absences = { kind = "skewed", min = 0, max = 60, power = 4, places = 0 }'],
    "date": [
        'day = { kind = "date", min = 2026-03-01, max = 2026-12-15, weekdays = [1, 1, 1, 1, 1, 0, 0] }',
        'day = { kind = "date", months = [0, 0, 5, 4, 4, 3, 1, 4, 4, 4, 4, 2] }',
    ],
    "birth_date": ['born = { kind = "birth_date", on = 2026-03-01, youngest = 6, oldest = 9 }'],
    "time": ['starts = { kind = "time", min = 08:00:00, max = 16:00:00, step = 900 }'],
    "timestamp": [
        """seen = { kind = "timestamp", min = 2026-03-01, max = 2026-12-15, pattern = "school hours" }""",
        """seen = { kind = "timestamp", zone = "-03", hours = [
    0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0
], weekdays = [1, 1, 1, 1, 1, 0, 0], months = [0, 0, 5, 4, 4, 3, 1, 4, 4, 4, 4, 2] }""",
    ],
    "series": ['at = { kind = "series", start = 2026-03-01, every = 900, jitter = 60, zone = "-03" }'],
    "json": ['data = { kind = "json", fields = { guardian = "full_name", age = { kind = "integer", max = 9 } } }'],
    "json_array": ['tags = { kind = "json_array", of = "word", min = 1, max = 3 }'],
    "array": ['tags = { kind = "array", of = { kind = "word", locale = "es_CL" }, min = 1, max = 3 }'],
    "copy": ['name = "first_name"\nshown_as = { kind = "copy", of = "name" }'],
    "map": [
        """grade = { kind = "choice", values = ["4a", "4b", "kinder"] }
level = { kind = "map", of = "grade", values = { 4a = 4, 4b = 4 }, otherwise = 0 }""",
    ],
    "bytes": ['digest = { kind = "bytes", length = 8 }'],
    "range": [
        'weeks = { kind = "range", type = "date", start = 2026-03-02, length = 5, gap = 2 }',
        'lesson = { kind = "range", type = "timestamp", start = 2026-03-02, length = 2700, zone = "-03" }',
    ],
    "function": [
        'name = "first_name"\nplate = { kind = "function", name = "seeds/kinds.py:plate", of = ["name"] }',
    ],
}

#: The files of a project that the examples read.
FILES = {
    "company/own.txt": "Casa Andes\t3\nCasa Pacífico\t2\nCasa Atacama\t1\n",
    "seeds/kinds.py": "def plate(bits, rows, name):\n"
    '    return [f"{one[:2].upper()}-{n:04}" for one, n in zip(name, rows.tolist(), strict=True)]\n',
}


def made(example: str, folder: Path, count: int = 1) -> list[bytes | None]:
    """The values of an example's last column."""
    columns: dict[str, Cells] = {}
    rows = np.arange(count, dtype=np.int64)
    for name, given in tomllib.loads(example).items():
        columns[name] = line(given, folder).make(
            stream(key_of(b"docs", "rows", "example", name), rows), Context(rows, columns)
        )
    return list(columns.values())[-1].tolist()


def checksum(example: str, folder: Path) -> str:
    """What 1,000 rows of an example's last column hash to."""
    hashed = hashlib.blake2b(digest_size=8)
    for value in made(example, folder, 1000):
        hashed.update(b"\xff" if value is None else len(value).to_bytes(4, "little") + value)
    return hashed.hexdigest()


def words_of(folder: Path) -> str:
    """The part of the page that is written, between its two marks."""
    parts = [BEGIN, ""]
    for module in MODULES_IN_ORDER:
        parts += [f"### {HEADINGS[module.__name__.rpartition('.')[2]]}", ""]
        for word in (word for word in WORDS.values() if inspect.getmodule(word.build) is module):
            parts += [*entry(word.name, folder), ""]
    return "\n".join([*parts, END])


MODULES_IN_ORDER = sorted(MODULES, key=lambda module: list(HEADINGS).index(module.__name__.rpartition(".")[2]))


def entry(name: str, folder: Path) -> list[str]:
    """One word: its sentence, its parameters, its examples."""
    word = WORDS[name]
    lines = textwrap.wrap(f"**{name}** {word.summary}", WIDTH, break_on_hyphens=False)
    said = descriptions(name)
    if word.parameters:
        lines.append("")
    for parameter in word.parameters.values():
        text = f"- `{parameter.name}`{shown(parameter)}: {said[parameter.name]}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    if name in EXAMPLES:
        lines += ["", "```toml"]
        for number, example in enumerate(EXAMPLES[name]):
            lines += [""] if number else []
            (value,) = made(example, folder)
            *before, last = example.split("\n")
            text = "NULL" if value is None else value.decode()
            result = f"  # {text}"
            lines += [*before, *([last + result] if len(last + result) <= WIDTH else [last, f"# {text}"])]
        lines.append("```")
    return lines


def shown(parameter: Parameter) -> str:
    """The default of a parameter, in brackets."""
    if parameter.required:
        return " (needed)"
    default = parameter.default
    if default in ("", (), None, 0) and not isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        return ""
    return f" ({str(default).lower() if isinstance(default, bool) else default})"


def descriptions(name: str) -> dict[str, str]:
    """The texts of the parameters from the docstring of a word's function."""
    section = inspect.getdoc(WORDS[name].build) or ""
    found: dict[str, str] = {}
    for text in section.partition("Args:\n")[2].splitlines():
        if text.startswith("    ") and not text.startswith("     ") and ":" in text:
            key, _, rest = text.strip().partition(": ")
            found[key] = rest
        elif text.strip() and found:
            found[list(found)[-1]] += f" {text.strip()}"
    usual = "Faker's name of the locale whose pool is taken."
    return {parameter: found.get(parameter, usual) for parameter in WORDS[name].parameters}


def checksums(folder: Path) -> str:
    """The file of the checksums."""
    lines = [f"{checksum(example, folder)}  {example!r}" for name in sorted(EXAMPLES) for example in EXAMPLES[name]]
    return "\n".join([f"version {VERSION}", *lines]) + "\n"


def page(folder: Path) -> str:
    """The page with its written part."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + words_of(folder) + rest.partition(END)[2]


def lay_out(folder: Path) -> Path:
    """Write the files of a project that the examples read."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def main() -> None:
    """Write the page and the checksums."""
    with tempfile.TemporaryDirectory() as name:
        folder = lay_out(Path(name))
        PAGE.write_text(page(folder), encoding="utf-8")
        new, old = checksums(folder), CHECKSUMS.read_text(encoding="utf-8") if CHECKSUMS.exists() else ""
        version = f"version {VERSION}"
        earlier = {text.partition("  ")[2]: text.partition("  ")[0] for text in old.splitlines()[1:]}
        changed = [
            text
            for text in new.splitlines()[1:]
            if earlier.get(text.partition("  ")[2], text.partition("  ")[0]) != text.partition("  ")[0]
        ]
        if changed and old.splitlines()[0] == version:
            raise SystemExit(
                "raise WORDS in seedtool/values/version.py: other values are made by\n" + "\n".join(changed)
            )
        CHECKSUMS.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
