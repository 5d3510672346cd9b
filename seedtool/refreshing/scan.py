"""Drafting a policy: what names, types, keys and some values say about each column.

A draft is a beginning, never a decision: what nothing tells is marked `decide`, and a refresh refuses that word. The
values that were looked at stay in memory, and none of them is written anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg import sql

from seedtool.refreshing.check import DECIDE, name_of, toml_key, toml_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from seedtool.postgres.catalog import Column, Table
    from seedtool.refreshing.check import Shape
    from seedtool.refreshing.source import Source
    from seedtool.settings import FaceBinding

#: How many rows of a table are looked at, and how many pages of a large one they are drawn from.
ROWS = 200
#: A text column holds words of a list when it has at most so many different values, each four times on average.
LISTED = 12
_CODE = re.compile(r"[A-Za-z0-9_.:-]*[0-9][A-Za-z0-9_.:-]*")
_MOST = 0.8


class Drafted(NamedTuple):
    """A line of a draft: what stands right of the equals sign, and the comment."""

    value: str
    why: str


_LAST_NAME = r" (last|family|second last) names? | surnames? | lastnames? | apellidos?( \w+)? | sobrenome | nachname "
#: What a column's name tells, the first that fits: words of the name with blanks around each, and the mask.
_NAMES = (
    (r" e ?mails? | correos? ", "email"),
    (r" (tele)?phones? | tel | fono | telefonos? | mobiles? | celular | cell | whatsapp | fax ", "phone"),
    (r" ruts? | run ", "rut"),
    (r" (dni|cedula|ssn|passport|pasaporte|nie|curp|cpf|cuit|cuil|national id|tax id) ", "token"),
    (r" (first|given|middle|preferred) names? | (fore|first|given)names? | nombres | prenom | vorname ", "first_name"),
    (_LAST_NAME, "last_name"),
    (r" (full|legal|complete) name | nombre completo | fullname ", "full_name"),
    (r" (user ?name|login|nick ?name|handle) ", "username"),
    (r" (company|employer|business)( name)? | empresa ", "company"),
    (r" (?<!ip )(?<!mac )(address|direccion|domicilio)( line)?( \d)? ", "address"),
    (r" (street|calle) ", "street"),
    (r" (ip|ip address|remote addr|client ip) ", "ip"),
    (
        r" (birth ?date|date of birth|dob|birthday|birth|born|nacimiento|nacido)( on| at)? | fecha nac\w*( \w+)? ",
        "shift",
    ),
    (r" (password|passwd|secret|token|api key|access key|otp|salt|digest|hash)s? ", "token"),
    (r" (notes?|comments?|observations?|remarks?|description|message|body|bio|about|observaciones) ", "text"),
    (r" (url|uri|link|website|homepage) ", "url"),
)
#: Names of columns with references to faces and photos: what they are, and which mask may be due.
_BIOMETRIC = (
    (
        r" external (image )?id | image external id ",
        "the id under which a photo was indexed: a mask of its own, external_image_id",
    ),
    (r" (face|faceid|rekognition|aws face|image) ids? | faceids? | face reference ", "a reference to a face: null"),
    (
        r" (face |aws |rekognition )?(collection|coleccion)( id| name| arn)? ",
        "a collection of faces: the name of the copy's own",
    ),
    (r" (embedding|face vector|descriptor|faceprint)s? ", "what a face was recognised by: null"),
    (
        r" (photo|picture|image|avatar|portrait|foto|imagen|selfie|thumbnail)s?( (key|url|uri|path|file|name)s?)? $",
        "where a photo is: null, or a template of masked parts",
    ),
    (r" (storage|s3|bucket|object)s? (key|url|uri|path|name)s? ", "where a photo is: null, or a template"),
)
_PEOPLE = re.compile(
    r"student|pupil|teacher|person|people|user|guardian|parent|child|employee|staff|customer|client|patient|member"
    r"|contact|alumno|profesor|apoderado|persona|usuario|cliente|paciente"
)
_SHAPES = (
    ("email", re.compile(r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,}")),
    ("rut", re.compile(r"\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]")),
    ("url", re.compile(r"https?://\S+")),
    ("phone", re.compile(r"\+\d[\d ()-]{7,18}\d")),
    ("ip", re.compile(r"\d{1,3}(\.\d{1,3}){3}")),
)
_DATES = frozenset({"date", "timestamp", "timestamptz"})
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8", "money", "oid"})
_PLAIN = frozenset({"bool", "time", "timetz", "interval", "bit", "varbit"})


def draft(source: Source, shape: Shape, faces: Sequence[FaceBinding] = ()) -> str:
    """Return the text of a policy.

    Args:
        source: the source, in its snapshot.
        shape: its tables.
        faces: the face bindings of the project.
    """
    drafter = _Drafter(source, shape, faces)
    return "\n".join(drafter.lines()) + "\n"


class _Drafter:
    def __init__(self, source: Source, shape: Shape, faces: Sequence[FaceBinding]) -> None:
        self._source = source
        self._shape = shape
        self._faces = faces
        self._drafts: dict[int, dict[str, Drafted]] = {}

    def lines(self) -> Iterator[str]:
        name = _on_a_line(self._source.target.name)
        yield f"# What becomes of each column of {name}. Drafted by seedtool refresh scan: read"
        yield f'# every line. A line with "{DECIDE}" stops a refresh until somebody has decided; so does a new column.'
        yield ""
        yield 'faces = "placeholder"'
        foreign = [each for each in self._shape.tables if self._shape.foreign(each) is not None]
        if foreign:
            yield ""
            yield "[tables]"
            for table in foreign:
                yield f'{toml_key(str(name_of(table)))} = "no rows" # a foreign table: its rows are on another server'
        for table in self._shape.tables:
            if table not in foreign:
                yield ""
                yield from self._table(table)

    def _table(self, table: Table) -> Iterator[str]:
        parts = [oid for oid, each in self._shape.catalog.tables.items() if table.oid in {oid, *each.ancestors}]
        rows = sum(self._shape.relations[oid].rows for oid in parts if oid in self._shape.relations)
        yield f"[tables.{toml_key(str(name_of(table)))}] # about {rows} rows"
        for name, column in table.columns.items():
            found = self.of(table)[name]
            said = [each for each in (found.why, column.type, self._comment(table, name)) if each]
            yield f"{toml_key(name)} = {found.value} # {_on_a_line(', '.join(said))}"

    def _comment(self, table: Table, column: str) -> str:
        text = _on_a_line(self._shape.comments.get((table.oid, column), ""))
        return f"commented: {text[:60]}" if text else ""

    def of(self, table: Table) -> dict[str, Drafted]:
        """Return the lines of a table; a table that refers to another one asks for that one's first."""
        table = self._shape.root(table)
        if table.oid not in self._drafts:
            self._drafts[table.oid] = {}  # a cycle of references finds nothing drafted yet
            samples = self._sampled(table)
            self._drafts[table.oid] = {
                name: self._column(table, column, samples.get(name, [])) for name, column in table.columns.items()
            }
        return self._drafts[table.oid]

    def _sampled(self, table: Table) -> dict[str, list[str]]:
        """Return some values of each column that a look may tell something about, without NULL, as text."""
        relation = self._shape.relations.get(table.oid)
        looked = [name for name, column in table.columns.items() if column.is_text]
        if not looked or relation is None or not relation.readable or self._shape.foreign(table) is not None:
            return {}
        pages = max(relation.pages, 1)
        share = min(100.0, 100.0 * 50 / pages)
        drawn = sql.SQL(" TABLESAMPLE SYSTEM ({})").format(sql.Literal(share)) if share < 100 else sql.SQL("")
        statement = sql.SQL("SELECT {} FROM {}{} LIMIT {}").format(
            sql.SQL(", ").join(sql.SQL("left({}::text, 300)").format(sql.Identifier(name)) for name in looked),
            table.stored,
            drawn,
            sql.Literal(ROWS),
        )
        try:
            with self._source.holder.transaction():  # the snapshot outlives an error
                rows = self._source.holder.execute(statement).fetchall()
        except psycopg.errors.InsufficientPrivilege:  # row-level security, a column, a function of a view
            return {}
        return {
            name: [row[place] for row in rows if row[place] is not None and row[place].strip()]
            for place, name in enumerate(looked)
        }

    def _column(self, table: Table, column: Column, values: list[str]) -> Drafted:
        if column.generated:
            return Drafted('"keep"', "computed from other columns")
        scalar = column.value.part.name if column.value.part is not None else column.value.name
        if scalar == "tsvector":
            texts = ", ".join(toml_string(name) for name, each in table.columns.items() if each.is_text)
            return Drafted(f'{{ mask = "tsvector", from = [{texts}], language = "simple" }}', "from which, and how?")
        told = self._of_faces(table, column) or self._referenced(table, column)
        if told is not None:
            return told
        words = f" {' '.join(_words(column.name))} "
        plain = column.value.kind == "scalar" and scalar in _PLAIN | _DATES | (_NUMBERS - {"int4", "int8"})
        if not plain and not column.labels:
            for pattern, hint in _BIOMETRIC:
                if re.search(pattern, words):
                    return Drafted(f'"{DECIDE}"', f"decide: {hint}")
        word = self._told(table, column, values)
        if word is not None and _fits(word, column, scalar):
            return Drafted('{ mask = "shift", subject = "..." }' if word == "shift" else f'"{word}"', "")
        return self._kept(table, column, values, scalar) or Drafted(f'"{DECIDE}"', f"decide: {_hint(column, scalar)}")

    def _of_faces(self, table: Table, column: Column) -> Drafted | None:
        """Return the line of a column that a face binding names."""
        for each in self._faces:
            bound = str(table) == each.table.removeprefix("public.")
            if bound and column.name == each.face_id:
                return Drafted(f'{{ mask = "face_placeholder", subject = {toml_string(each.external_image_id)} }}', "")
            if bound and column.name == each.external_image_id:
                return Drafted('"external_image_id"', "the id under which a photo was indexed")
            named = (each.collection_column or "").removeprefix("public.")
            if named in {f"{table}.{column.name}", column.name if bound else None}:
                return Drafted(f'"{DECIDE}"', "decide: a constant, the name of the collection of the copy")
        return None

    def _kept(self, table: Table, column: Column, values: list[str], scalar: str) -> Drafted | None:
        """Return the line of a column of which type or values tell that it may be kept."""
        if column.labels or scalar in _PLAIN or scalar in _DATES or scalar in _NUMBERS:
            return Drafted('"keep"', "one of a list" if column.labels else "")
        if scalar == "uuid" and column.value.kind == "scalar":
            return Drafted('"keep"', "")
        if not column.is_text or column.value.kind != "scalar":
            return None
        if values and len(set(values)) <= LISTED and len(values) >= 4 * len(set(values)):
            return Drafted('"keep"', f"{len(set(values))} different values")
        if column.name in table.primary_key and values and all(_CODE.fullmatch(each) for each in values):
            return Drafted('"keep"', "codes")
        return None

    def _referenced(self, table: Table, column: Column) -> Drafted | None:
        """Return the line of the column that a foreign key leads to: both ends have the same."""
        for key in table.foreign_keys:
            target = self._shape.catalog.tables.get(key.references)
            if column.name in key.columns and target is not None:
                other = key.referenced_columns[key.columns.index(column.name)]
                root = self._shape.root(target)
                if root.oid == table.oid and other == column.name:
                    continue
                line = self.of(root).get(other) if root.oid != table.oid else None
                if line is None and other != column.name:  # within a table, or a cycle of tables
                    line = self._column(root, root.columns[other], self._sampled(root).get(other, []))
                if line is not None:
                    return Drafted(line.value, f"as {root}.{other}")
        return None

    def _told(self, table: Table, column: Column, values: list[str]) -> str | None:
        words = f" {' '.join(_words(column.name))} "
        for pattern, mask in _NAMES:
            if re.search(pattern, words):
                return mask
        if words in {" name ", " nombre ", " nome "} and _PEOPLE.search(table.name.lower()):
            others = [f" {' '.join(_words(each))} " for each in table.columns]
            return "first_name" if any(re.search(_LAST_NAME, each) for each in others) else "full_name"
        for mask, shape in _SHAPES:
            if len(values) >= 2 and sum(bool(shape.fullmatch(each.strip())) for each in values) >= _MOST * len(values):
                return mask
        return None


def _on_a_line(text: str) -> str:
    """Return a text as a comment of one line: names may hold line ends, too."""
    return "".join(each for each in " ".join(text.split()) if each.isprintable())


def _words(name: str) -> list[str]:
    """Return the words of a name, without accents: `Dirección`, `E-mail`, `firstName` and `last_name` alike."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).casefold()
    plain = "".join(each for each in unicodedata.normalize("NFD", apart) if not unicodedata.combining(each))
    return re.findall(r"[^\W_]+", plain)


def _fits(word: str, column: Column, scalar: str) -> bool:
    """Tell whether a column's type can hold what a mask makes; the check looks at it more closely."""
    if column.value.kind == "array":
        return False
    if word == "shift":
        return scalar in _DATES
    if word == "ip":
        return scalar in {"inet", "cidr"} or column.is_text
    return column.is_text


def _hint(column: Column, scalar: str) -> str:
    if column.value.kind == "array":
        return "a list"
    if scalar in {"json", "jsonb"}:
        return "which of its keys hold something of a person"
    if scalar in {"bytea", "xml", "hstore"}:
        return "it may hold anything"
    return "text that nothing tells about" if column.is_text else "nothing tells what it holds"
