"""Write docs/json.md from the structs that commands print with --json. A test compares it; run make docs."""

import ast
import importlib
import inspect
import re
import textwrap
import typing
from pathlib import Path

import msgspec

PAGE = Path(__file__).with_name("json.md")
WIDTH = 100  # columns, as in all of our Markdown

INTRODUCTION = """\
# What `--json` prints

<!-- written by docs/write_json.py from the structs of seedtool: change the texts there -->

Every command takes `--json` and then prints one JSON object on stdout, in one line. Notes and
warnings still go to stderr. Keys are added from release to release. None is removed or gets another
meaning.

These keys stand in every object:

- `ok`: whether the exit code is 0
- `command`: the command, such as `db-reset` or `snapshot save`
- `milliseconds`: the time since the command began

Where a report of the command has a key of such a name of its own (`seedtool env` prints variables,
`seed --list` profiles), the report's is printed.

A command that fails prints `ok`, `command`, `milliseconds` and `error`:

- `kind`: the class of the error, such as `NotConfirmed` or `FixtureError`
- `message`: what happened
- `remedy`: what to do; it may be empty
- `place`: where, as far as it is known: `file`, `line`, `character`, `column`, `table`, `database`,
  `setting`, `option` and others

`report` stands beside `error` where a part of the work was done.

`psql` and `shell` print what you ask for, and take no `--json`.
"""

#: command → its struct, or its keys with a struct, a list of structs, or a text
REPORTS: dict[str, object] = {
    "db-reset": {
        "reset": "resetting.reset:ResetReport",
        "load": "generating.layer:LoadedRows",
        "seed": "seeding.report:SeedReport",
        "sync": "faces.sync:SyncReport",
        "plan": "resetting.reset:ResetPlan",
    },
    "migrate": "workflows.reset:Migrated",
    "snapshot save": {"save": "snapshots.snapshots:SaveReport"},
    "snapshot restore": {"restore": "snapshots.snapshots:RestoreReport"},
    "snapshot list": {"database": "the database", "snapshots": ["snapshots.registry:Snapshot"]},
    "snapshot rename": {"rename": "snapshots.registry:Snapshot"},
    "snapshot delete": {"deleted": ["snapshots.registry:Snapshot"]},
    "snapshot export": {"export": "snapshots.archive:FileReport"},
    "snapshot import": {"import": "snapshots.archive:FileReport"},
    "guard status": "workflows.database:GuardStatus",
    "guard protect": {"database": "the database", "protected": "true"},
    "guard unprotect": {"database": "the database", "protected": "false"},
    "seed": {"seed": "seeding.report:SeedReport", "sync": "faces.sync:SyncReport"},
    "seed load": "generating.loading:LoadReport",
    "seed unload": "generating.unload:UnloadReport",
    "seed recipe": {"recipe": "the draft, as TOML"},
    "seed-dump": "seeding.dump:DumpReport",
    "sync-faces": "faces.sync:SyncReport",
    "enroll": "faces.enroll.photo:EnrollReport",
    "recognize": "faces.recognize:RecognizeReport",
    "faces status": "faces.status:StatusReport",
    "faces dedupe": "faces.dedupe:DedupeReport",
    "faces review": {
        "total": "how many faces wait",
        "waiting": ["backfill.review:Waiting"],
        "url": "with `--web`, the page's address",
        "users": "with `--users`, each user's `user_id` and how many of the faces wait",
        "assigned": ["backfill.review:Assigned"],
        "search": "backfill.review:Searched",
    },
    "backfill": "backfill.report:Report",
    "refresh": {
        "refresh": "workflows.refresh:Refreshed",
        "plan": "workflows.refresh:RefreshPlan",
        "preview": ["refreshing.preview:ColumnPreview"],
    },
    "refresh scan": {"policy": "the draft, as TOML"},
    "refresh check": {"check": "workflows.refresh:Checked"},
    "init": "workflows.adopt:AdoptReport",
    "doctor": {"checks": ["workflows.doctor:Check"]},
    "config": {
        "(each setting)": "its `value`, and its `origin`: where it was found",
        "state_dir": "the folder of the embedded server and of the emulator",
    },
    "completion": {"shell": "the shell", "script": "what it reads", "files": "with `--install`, what was written"},
    "server start": "workflows.servers:ServersStatus",
    "server stop": "workflows.servers:Stopped",
    "server status": "workflows.servers:ServersStatus",
    "env": {"(each variable)": "its value: `DATABASE_URL`, `AWS_ENDPOINT_URL_REKOGNITION` and others"},
    "emulator": {"endpoint": "its address", "state": "the folder of its faces"},
    "ci prepare": "workflows.prepare:PrepareReport",
    "cache list": {"cache": ["resetting.cache:Entry"], "bytes": "the size of all"},
    "cache prune": {
        "dry_run": "whether nothing was dropped",
        "dropped": ["resetting.cache:Entry"],
        "kept": "what stays although it could go, and why",
    },
    "fingerprint": {"fingerprint": "the hash", "profile": "the profile that it covers, or null"},
}

#: other keys of a command, of a flag that prints something else
MORE = {
    "db-reset": "With `--dry-run`: `plan` alone.",
    "seed": "With `--list`: each profile by its name.",
    "seed load": "With `--dry-run`: `recipe`, `description`, `rows`, `size`, `tables` and what else is known before."
    " With `--to`: `files`.",
    "backfill": "With `--dry-run`: what would be done, and `listed`, each asset.",
    "faces review": "`total` and `waiting` without a decision, `assigned`, `search` and `waiting` after one.",
    "refresh": "With `--dry-run`: `plan` alone. With `--preview`: `preview` alone.",
}


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    needed: dict[str, type[msgspec.Struct]] = {}
    for command, report in REPORTS.items():
        parts.append(f"## `{command}`\n")
        if isinstance(report, str):
            parts.append(keys(load(report), needed))
        else:
            lines = (entry(key, told(value, needed)) for key, value in typing.cast("dict[str, object]", report).items())
            parts.append("".join(lines))
        if command in MORE:
            parts.append(textwrap.fill(MORE[command], WIDTH) + "\n")
    parts.append("## Parts of reports\n")
    done: set[str] = set()
    while left := sorted(needed.keys() - done):
        name = left[0]
        done.add(name)
        parts.append(f"### {name}\n\n{sentence(needed[name])}\n\n{keys(needed[name], needed)}")
    return "\n".join(parts).rstrip("\n") + "\n"


def load(place: str) -> type[msgspec.Struct]:
    """Return a struct: `resetting.reset:ResetReport`."""
    module, _, name = place.partition(":")
    found: type[msgspec.Struct] = getattr(importlib.import_module(f"seedtool.{module}"), name)
    return found


def told(value: object, needed: dict[str, type[msgspec.Struct]]) -> str:
    """Return what stands behind a key: a text, or the name of a part, which is noted as needed."""
    several = isinstance(value, list)
    text = str(value[0] if isinstance(value, list) else value)
    if not re.fullmatch(r"[\w.]+:\w+", text):
        return text
    struct = load(text)
    needed[title(struct)] = struct
    return f"{'a list; each is a ' if several else ''}{link(struct)}"


def title(struct: type[msgspec.Struct]) -> str:
    """Return the heading of a part. Some names mean one thing in one room and another in the next."""
    name, room = struct.__name__, struct.__module__.split(".")[1]
    return f"{name} of {room}" if name in {"FileReport", "TableReport", "Report", "Plan", "Check", "Decided"} else name


def link(struct: type[msgspec.Struct]) -> str:
    """Return a link to a part."""
    return f"[{title(struct)}](#{title(struct).lower().replace(' ', '-')})"


def plain(struct: type[msgspec.Struct], field: str) -> str:
    """Return what a field without a text of its own is."""
    hints = {name: hint for base in reversed(struct.__mro__) for name, hint in inspect.get_annotations(base).items()}
    hint = hints[field] if isinstance(hints[field], str) else getattr(hints[field], "__name__", "")
    return {"str": "a text", "bool": "true or false", "int": "a number", "float": "a number"}.get(hint, "")


def documented(command: str) -> set[str] | None:
    """Return the keys that a command's JSON may have beside those of all; None where they are the user's."""
    name = max((each for each in REPORTS if f"{command} ".startswith(f"{each} ")), key=len)
    report = REPORTS[name]
    if name in {"config", "env"} or "--list" in command or "--to" in command:
        return None
    if name == "seed load" and "--dry-run" in command:
        report = "generating.preview:Preview"
    if isinstance(report, str):
        return {*load(report).__struct_encode_fields__}
    return set(typing.cast("dict[str, object]", report))


def keys(struct: type[msgspec.Struct], needed: dict[str, type[msgspec.Struct]]) -> str:
    """Return the keys of a struct with what its docstring says of them."""
    texts = arguments(struct)
    lines = []
    for name, key in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        parts = nested(struct, name)
        for each in parts:
            needed[title(each)] = each
        more = f" ({', '.join(map(link, parts))})" if parts else ""
        lines.append(entry(key, f"{texts.get(name, '')}{more}".strip() or plain(struct, name)))
    return "".join(lines)


def entry(key: str, text: str) -> str:
    """Return a line of a list."""
    shown = f"`{key}`" if not key.startswith("(") else key
    line = f"- {shown}: {text}" if text else f"- {shown}"
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False) + "\n"


def nested(struct: type[msgspec.Struct], field: str) -> list[type[msgspec.Struct]]:
    """Return the structs within the type of a field. Many are imported for types alone, so the text is read."""
    base = next(each for each in struct.__mro__ if field in inspect.get_annotations(each))
    hint = inspect.get_annotations(base)[field]
    names = set(re.findall(r"\b[A-Z]\w+", hint if isinstance(hint, str) else repr(hint)))
    module = importlib.import_module(base.__module__)
    tree = ast.parse(inspect.getsource(module))
    places = {
        each.asname or each.name: (node.module, each.name)
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for each in node.names
    }  # fmt: skip
    found = []
    for name in sorted(names):
        place, own = places.get(name, (module.__name__, name))
        each = getattr(importlib.import_module(place), own, None) if place.startswith("seedtool") else None
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            found.append(each)
    return found


def sentence(struct: type[msgspec.Struct]) -> str:
    """Return what a struct is, by its docstring."""
    text = (struct.__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()
    return textwrap.fill(re.sub(r" +", " ", text), WIDTH, break_on_hyphens=False)


def arguments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the texts of a struct's fields, of its bases' too, from their docstrings."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        _, _, args = (base.__doc__ or "").partition("Args:\n")
        for name, text in re.findall(r"^ {8}(\w+): ((?:.|\n)*?)(?=^ {8}\w|^ {0,4}\S|\Z)", args, flags=re.MULTILINE):
            found[name] = re.sub(r"\s+", " ", text).strip().rstrip(".")
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
