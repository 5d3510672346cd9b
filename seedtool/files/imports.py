"""Which files and variables a project's code imports, names or reads, told from the code's text; nothing is run.

A fingerprint has to be the same on every machine, before anything was built there. So the text decides, and not what a
run imported. Where a module imports by names that are made at run time (`importlib`, `pkgutil`), everything in its
folder counts.
"""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from seedtool.files.hashing import Found, Hashes, files_below

# Patterns that begin with a letter are found ten times as quickly as those that begin with the start of a line.
_IMPORT = re.compile(rb"import\b[ \t]*(\([^)]*\)|[^\n;]*)")
#: What stands before `import` in its line, or after the last semicolon.
_FROM = re.compile(rb"[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?")
_BY_NAME = re.compile(rb"""import(?:_module|__)\(\s*["']([\w.]+)["']\s*\)""")
_AT_RUN_TIME = re.compile(rb"""pkgutil\b|import(?:_module|__)\((?!\s*["'][\w.]+["']\s*\))""")
#: The end of a text in quotes that may name a file which the code reads, and the whole of it.
_SUFFIX = re.compile(rb"""\.(?:sql|json|ya?ml|toml|csv|txt|ini)(["'])""")
_NAME = re.compile(rb"[\w./-]+")
_NO_SOURCE = re.compile(r"\..*|__pycache__|.*~|#.*#|.*\.py[cod]|.*\.orig|.*\.swp")
_INIT = "__init__.py"
_INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules"})
#: Code that reads the environment, by whatever library, mentions one of these.
_READS_ENVIRONMENT = re.compile(rb"environ|getenv|dotenv|decouple")
#: A variable that is read by name, and any text that could be the name of one: a constant, a helper's argument.
_VARIABLE = re.compile(rb"""(?:environ(?:\.\w+)?|getenv)\s*[\[(]\s*["'](\w+)""")
_LIKE_VARIABLE = re.compile(rb"""["']([A-Za-z_]\w*)["']""")
#: What each shell has, and a text in quotes may be by chance; such a variable counts only where it is read by name.
_OF_EACH_SHELL = frozenset(
    {b"HOME", b"USER", b"LOGNAME", b"PATH", b"PWD", b"OLDPWD", b"SHELL", b"LANG", b"TERM", b"HOSTNAME", b"TMPDIR", b"_"}
)
#: Variables that name the database, which are set while it is built (see schema.redirecting), and credentials of AWS,
#: which change by the hour.
_NO_SHAPE = re.compile(
    r"DATABASE_URL|SQLALCHEMY_DATABASE_UR[IL]|PG\w+|POSTGRES_(HOST|SERVER|PORT|USER|PASSWORD|DB)"
    r"|DB_(HOST|PORT|USER|PASSWORD|NAME)|AWS_\w+"
)
#: Names that stand for what is remembered of a file beside the modules it imports.
_FOLDER, _NAMED, _OF_ENVIRONMENT = "*", "file:", "variable:"


class Imports:
    """The files of a project that its code reaches.

    What a file imports is remembered, so a run in which nothing has changed reads none of them again.

    Args:
        root: the project's folder; only files below it count.
        memory: the folder in which it is remembered; it is not made.
        paths: folders below the root from which modules are imported, the first one first. Folders above a file are
            tried after them, as projects add these to `sys.path`, and then `src`.
    """

    def __init__(self, root: Path, memory: Path, paths: Sequence[Path] = ()) -> None:
        self._root = os.path.normpath(root)
        places = (os.path.normpath(path) for path in [*map(os.fspath, paths), *filter(None, sys.path)])
        self._paths = [path for path in places if self._is_below(path) and not _INSTALLED & set(path.split(os.sep))]
        self._known = Hashes(memory / "references.json", _references, list[str], least=0)
        self._variables: set[str] = set()
        self._entries: dict[str, frozenset[str]] = {}
        self._above: dict[str, list[str]] = {}

    def reached(self, code: Iterable[Path], *, packages: bool = False) -> dict[Path, str]:
        """Return the files that code imports or names, and those that they import or name, with their SHA-256 in hex.

        Args:
            code: Python files. They are among the result only where another file imports them.
            packages: of a package that is imported all modules count, as it may import any of them.
        """
        found: dict[str, str] = {}
        waiting = [os.path.normpath(path) for path in code]
        asked: set[tuple[str, str]] = set()
        seen: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            folder = os.path.dirname(path)
            for reference in self._of(path).answer:
                if reference.startswith(_OF_ENVIRONMENT):
                    self._variables.add(reference.removeprefix(_OF_ENVIRONMENT))
                    continue
                if (folder, reference) in asked:
                    continue
                asked.add((folder, reference))
                for target in self._targets(folder, reference, packages=packages):
                    if target not in found:
                        found[target] = self._of(target).digest
                        waiting += [target] if target.endswith(".py") else []
        self._known.save()
        return {Path(path): digest for path, digest in found.items()}

    def environment(self) -> dict[str, str]:
        """Return the variables that the code seen so far may read and that are set, sorted, with their values.

        They are set in the environment, or in the file `.env` of the project's folder, which code often reads itself.
        There the value is the rest of the line. Those that name the database do not count.
        """
        if not self._variables:
            return {}
        file = Path(self._root) / ".env"
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        written = dict(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=(.*)$", text, flags=re.MULTILINE))
        names = {name for name in self._variables if not _NO_SHAPE.fullmatch(name)}
        return {name: value for name, value in sorted({**written, **os.environ}.items()) if name in names}

    def _of(self, path: str) -> Found[list[str]]:
        try:
            return self._known.of(path)
        except OSError:  # it was deleted a moment ago, or nobody may read it: then no import can either
            return Found("unreadable", [])

    def _targets(self, folder: str, reference: str, *, packages: bool) -> Iterable[str]:
        if reference == _FOLDER:
            return _modules_below(folder)
        if reference.startswith(_NAMED):
            places = (os.path.join(place, reference.removeprefix(_NAMED)) for place in (folder, self._root))
            return [file for file in places if os.path.isfile(file)]
        name = reference.lstrip(".")
        dots = len(reference) - len(name)
        if dots:
            for _ in range(dots - 1):
                folder = os.path.dirname(folder)
            return self._modules([folder], name, packages=False)
        return self._modules(self._places(folder), name, packages=packages)

    def _places(self, folder: str) -> list[str]:
        """Return where a module in a folder may import from."""
        if folder not in self._above:
            above = [folder]
            while self._is_below(above[-1]) and above[-1] != self._root:
                above.append(os.path.dirname(above[-1]))
            self._above[folder] = list(dict.fromkeys([*self._paths, *above, os.path.join(self._root, "src")]))
        return self._above[folder]

    def _modules(self, bases: Iterable[str], name: str, *, packages: bool) -> Iterable[str]:
        """Return the files of a module and of the packages that it is in, from the first folder that has it."""
        parts = name.split(".") if name else []
        for base in bases:
            if files := self._files(base, parts):
                top = os.path.join(base, *parts[:1])
                return [*files, *(_modules_below(top) if packages and parts and os.path.isdir(top) else [])]
        return []

    def _files(self, base: str, parts: Sequence[str]) -> list[str]:
        """Return the files of a module below a folder: each package's `__init__`, then the module itself."""
        if not self._is_below(base):
            return []
        if not parts:
            return [os.path.join(base, _INIT)] if _INIT in self._listed(base) else []
        found, folder = [], base
        for part in parts:
            listed = self._listed(folder)
            if f"{part}.py" in listed:
                found.append(os.path.join(folder, f"{part}.py"))
            if part not in listed:
                break
            folder = os.path.join(folder, part)
            if _INIT in self._listed(folder):
                found.append(os.path.join(folder, _INIT))
        return found

    def _listed(self, folder: str) -> frozenset[str]:
        """Return what a folder holds. Asking once for all is quicker than once for each name."""
        if folder not in self._entries:
            try:
                self._entries[folder] = frozenset(os.listdir(folder))
            except OSError:  # there is none, or a file has its name
                self._entries[folder] = frozenset()
        return self._entries[folder]

    def _is_below(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + os.sep)


def _modules_below(folder: str) -> list[str]:
    return [os.fspath(path) for path in files_below(Path(folder), _NO_SOURCE) if path.suffix == ".py"]


def _references(path: Path, content: bytes) -> list[str]:
    """Return the modules that a file names in imports, and the files that it names; of another file nothing."""
    if path.suffix != ".py":
        return []
    content = content.replace(b"\r\n", b"\n").replace(b"\\\n", b" ")
    found: dict[str, None] = {}
    for match in _IMPORT.finditer(content):
        before = content[content.rfind(b"\n", 0, match.start()) + 1 : match.start()].rpartition(b";")[2]
        statement = _FROM.fullmatch(before)
        if statement is None:
            continue
        names = _names(match[1])
        if statement[1]:
            package = statement[1].decode()
            joint = "" if package.endswith(".") else "."
            names = [package, *(f"{package}{joint}{name}" for name in names)]
        found |= dict.fromkeys(names)
    found |= dict.fromkeys(name.decode() for name in _BY_NAME.findall(content))
    if _AT_RUN_TIME.search(content):
        found[_FOLDER] = None
    for match in _SUFFIX.finditer(content):
        named = content[content.rfind(match[1], 0, match.start()) + 1 : match.end() - 1]
        if _NAME.fullmatch(named):
            found[f"{_NAMED}{named.decode()}"] = None
    if _READS_ENVIRONMENT.search(content):
        variables = set(_LIKE_VARIABLE.findall(content)) - _OF_EACH_SHELL | set(_VARIABLE.findall(content))
        found |= dict.fromkeys(f"{_OF_ENVIRONMENT}{name.decode()}" for name in sorted(variables))
    # this program's own modules shape nothing that its version does not tell
    return [name for name in found if name.split(".")[0] != "seedtool"]


def _names(listed: bytes) -> list[str]:
    """Return the names of a list such as `a, b.c as d`, perhaps in parentheses and with comments."""
    text = re.sub(rb"#[^\n]*|[()]", b"", listed).decode("utf-8", "replace")
    words = (each.split() for each in text.split(","))
    return [each[0] for each in words if each and re.fullmatch(r"[\w.]+", each[0])]
