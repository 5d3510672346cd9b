"""A wrong copy is found out beside its source, and a masked one is not accused."""

import bz2
import gzip
import html.entities
import io
import json
import lzma
import quopri
import re
import tracemalloc
import unicodedata
import zipfile
import zlib
from base64 import b32encode, b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from psycopg import sql

from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.refreshing.proof import definitions, reading
from tests.integration.refreshing import proof_pair
from tests.integration.refreshing.proof_pair import Pair, said


class Person(NamedTuple):
    """Somebody of the source."""

    first: str
    last: str
    second: str
    email: str
    phone: str
    rut: str
    address: str
    face: str
    image: str
    photo: str
    collection: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    def values(self) -> tuple[str, ...]:
        """What no report may hold."""
        return (self.name, *self[3:])


def plain(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))


def digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def entities(text: str) -> str:
    names = html.entities.codepoint2name
    return "".join(f"&{names[ord(each)]};" if not each.isascii() else each for each in text)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("word/document.xml", b"<w:t>" + content + b"</w:t>")
    return file.getvalue()


@pytest.fixture(scope="module")
def people(pair: Pair) -> list[Person]:
    with server.connect(pair.source) as connection:
        rows = connection.execute(
            "SELECT first_name, last_name, second_last_name, email, phone, rut, address, face_id::text, external_image_id,"
            " photo_key, collection FROM students s JOIN student_faces f ON f.student_id = s.id"
            " WHERE first_name ~ '[áéíóú]' AND last_name ~ '[áéíóúñ]' ORDER BY s.id"
        ).fetchall()
    found: dict[str, Person] = {}
    for row in rows:
        found.setdefault(f"{row[0]} {row[1]}", Person(*row))
    return list(found.values())


@pytest.fixture(scope="module")
def pair(target: Target) -> Iterator[Pair]:
    _vacuum_by_itself(target, "off")  # else statistics come at any moment, and the proof finds kept values in them
    source, copy = (proof_pair.create(target, f"proof_{name}") for name in ("source", "copy"))
    for each, seed in ((source, "production"), (copy, "first")):
        with server.connect(each) as connection:
            connection.execute(proof_pair.SCHEMA)
            proof_pair.fill(connection, seed)
    yield Pair(source, copy)
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        for each in (source, copy):
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each.name)))
    _vacuum_by_itself(target, "on")


def _vacuum_by_itself(target: Target, setting: str) -> None:
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("ALTER SYSTEM SET autovacuum = {}").format(sql.Identifier(setting)))
        maintenance.execute("SELECT pg_reload_conf()")


def test_a_masked_copy_whose_pools_hold_the_sources_own_names_is_clean(pair: Pair) -> None:
    proof = pair.prove()

    assert proof.holds, said(proof)
    assert proof.values > 10_000


def test_values_of_the_source_are_found_in_text_columns(pair: Pair) -> None:
    with server.connect(pair.copy) as connection:
        connection.execute("UPDATE events SET note = 'write to PERSONA17@liceo.cl' WHERE id = 3")
        connection.commit()
        proof = pair.prove()
        connection.execute("UPDATE events SET note = 'the bus was late' WHERE id = 3")

    assert said(proof) == [("leak", "events", "note")]


def test_whole_cells_alone_are_looked_at_when_that_is_asked_for(pair: Pair, people: list[Person]) -> None:
    first, second, third = people[:3]
    with pair.changed() as copy:
        copy.keep("students", "last_name")
        with server.connect(copy.copy) as connection:
            connection.execute(
                "UPDATE events SET note = %s, doc = %s, comment = %s, nick = %s, numbers = %s WHERE id = 3",
                [first.email.upper(), second.name, third.rut, third.face, digits(first.phone)],
            )
            connection.execute("UPDATE events SET url = %s WHERE id = 4", [f"https://x.cl/{second.email}"])
            connection.execute("UPDATE events SET tags[1] = %s WHERE id = 4", [third.name])
            connection.execute(f"COMMENT ON TABLE settings IS {quoted('ask ' + first.email)}")
        cells, words = copy.prove(look="cells"), copy.prove()

    columns = [("leak", "events", each) for each in ("comment", "doc", "nick", "note", "numbers")]
    kept = [("kept", "students", "last_name"), ("schema", "settings", None)]
    assert sorted(set(said(cells)), key=str) == sorted((*columns, *kept), key=str)
    assert set(said(words)) == {*columns, *kept, ("leak", "events", "url"), ("leak", "events", "tags")}
    assert pair.prove(look="cells").holds


def test_a_table_that_lacks_rows_is_found(pair: Pair) -> None:
    assert pair.prove(rows={("public", "settings"): 3}).findings[0].kind == "count"
    assert pair.prove(rows={("public", "settings"): None}).holds


# Each is planted in a column of its own, for a person of its own: the column's type, and what stands there.
CELLS: dict[str, tuple[str, Callable[[Person], str]]] = {
    "plain": ("text", lambda who: who.email),
    "upper case": ("text", lambda who: who.email.upper()),
    "name": ("text", lambda who: who.name),
    "name in upper case": ("varchar(90)", lambda who: who.name.upper()),
    "name without accents": ("text", lambda who: plain(who.name)),
    "name decomposed": ("text", lambda who: unicodedata.normalize("NFD", who.name)),
    "name in a longer text": ("text", lambda who: f"yesterday {who.name}, who was late, came"),
    "name split over lines": ("text", lambda who: who.name.replace(" ", "\n")),
    "name split by a tab": ("text", lambda who: who.name.replace(" ", "\t")),
    "name in reverse": ("text", lambda who: f"{who.last} {who.second}, {who.first}"),
    "both last names": ("text", lambda who: f"{who.first} {who.last} {who.second}"),
    "name in quotes": ("text", lambda who: f"«{who.first}» \\ “{who.last}”"),
    "name with html": ("text", lambda who: who.name.encode("ascii", "xmlcharrefreplace").decode().replace(" ", "&nbsp;")),
    "name with named entities": ("text", lambda who: entities(who.name)),
    "name in a url": ("text", lambda who: f"https://x.cl/?q={quote_plus(who.name)}&page=1"),
    "name in a path": ("text", lambda who: f"/people/{quote(who.name)}/show"),
    "email in a url": ("text", lambda who: f"https://x.cl/?to={quote_plus(who.email)}"),
    "name in json": ("jsonb", lambda who: json.dumps({"a": {"b": [1, {"c": who.name}]}}, ensure_ascii=False)),
    "name in json escaped": ("json", lambda who: json.dumps({"a": [who.name]})),
    "json in a text": ("text", lambda who: json.dumps({"who": who.name})),
    "json in json": ("jsonb", lambda who: json.dumps({"body": json.dumps({"who": who.name})})),
    "lines in json": ("json", lambda who: json.dumps({"who": who.name.replace(" ", "\n")})),
    "key of json": ("jsonb", lambda who: json.dumps({who.email: True})),
    "array": ("text[]", lambda who: f'{{red,"{who.email}"}}'),
    "array of two dimensions": ("text[]", lambda who: f'{{{{a,b}},{{c,"{who.name}"}}}}'),
    "array of numbers": ("int8[]", lambda who: f"{{1,{digits(who.phone)}}}"),
    "value of hstore": ("hstore", lambda who: f'room=>"{who.email}"'),
    "key of hstore": ("hstore", lambda who: f'"{who.email}"=>1'),
    "citext": ("citext", lambda who: who.email.title()),
    "bytea": ("bytea", lambda who: "\\x" + who.name.encode().hex()),
    "bytea in latin 1": ("bytea", lambda who: "\\x" + who.name.encode("latin-1").hex()),
    "bytea among others": ("bytea", lambda who: "\\x" + (bytes(range(256)) + who.email.encode() + b"\xff\x00" * 9).hex()),
    "json in bytea": ("bytea", lambda who: "\\x" + json.dumps({"who": who.name}).encode().hex()),
    "bytea in utf 16": ("bytea", lambda who: "\\x" + who.name.encode("utf-16-le").hex()),
    "base64": ("text", lambda who: b64encode(who.name.encode()).decode()),
    "base64 of json": ("text", lambda who: "Basic " + b64encode(json.dumps({"to": who.email}).encode()).decode()),
    "base64 for urls": ("text", lambda who: "t=" + urlsafe_b64encode(who.email.encode()).decode().rstrip("=")),
    "base64 in json": ("jsonb", lambda who: json.dumps({"raw": b64encode(who.name.encode()).decode()})),
    "base64 in lines": ("text", lambda who: encodebytes(b" " * 50 + who.name.encode() + b" " * 50).decode()),
    "hexadecimal": ("text", lambda who: who.name.encode().hex()),
    "hexadecimal in upper case": ("text", lambda who: "0x" + who.email.encode().hex().upper()),
    "quoted printable": ("text", lambda who: "=?UTF-8?Q?" + quopri.encodestring(who.name.encode()).decode() + "?="),
    "wrongly read": ("text", lambda who: who.name.encode().decode("cp1252")),
    "phone": ("text", lambda who: who.phone),
    "phone as digits": ("text", lambda who: digits(who.phone)),
    "phone with dashes": ("text", lambda who: "(56-9) " + digits(who.phone)[3:7] + "-" + digits(who.phone)[7:]),
    "phone with dots": ("text", lambda who: "call +56.9." + digits(who.phone)[3:7] + "." + digits(who.phone)[7:] + " now"),
    "phone without its country": ("text", lambda who: digits(who.phone)[2:]),
    "phone in a number": ("bigint", lambda who: digits(who.phone)),
    "phone in a numeric": ("numeric", lambda who: digits(who.phone)),
    "rut": ("text", lambda who: who.rut),
    "rut with dots": ("text", lambda who: f"{int(who.rut[:-2]):,}".replace(",", ".") + who.rut[-2:].lower()),
    "rut without dash": ("text", lambda who: f"RUT {who.rut.replace('-', '')}."),
    "address": ("text", lambda who: f"lives at {who.address.upper()}"),
    "face": ("text", lambda who: who.face),
    "face in a uuid": ("uuid", lambda who: who.face),
    "face in json": ("jsonb", lambda who: json.dumps({"faces": [{"id": who.face}]})),
    "face without dashes": ("text", lambda who: who.face.replace("-", "")),
    "external image id": ("text", lambda who: f"placeholder:{who.image}"),
    "photo": ("text", lambda who: f"https://photos.x.cl/{who.photo}?v=1"),
    "collection": ("text", lambda who: f"arn:aws:rekognition:us-east-1:1:collection/{who.collection}"),
    "composite": ("contact", lambda who: f'(home,"{who.email}")'),
    "range": ("numrange", lambda who: f"[{digits(who.phone)},{digits(who.phone)}]"),
    "vector of words": ("tsvector", lambda who: f"'{who.email}':1"),
    "far letters beside": ("text", lambda who: f"名前 {who.name} ™ ½ Ω"),
    "email with a label": ("text", lambda who: who.email.replace("@", "+news@")),
    "oid of a rut": ("oid", lambda who: "".join(filter(str.isdigit, who.rut))),
    "number behind letters": ("text", lambda who: f"RUT{who.rut.replace('-', '')}"),
    "phone behind letters": ("text", lambda who: f"see tel{digits(who.phone)}, please"),
    "name between tags": ("text", lambda who: f"<td>{who.first}</td>\n<td class='x'>{who.last}</td>"),
    "name with soft hyphens": ("text", lambda who: f"{who.name[:3]}\u00ad{who.name[3:]}\u200f"),
    "name in an old url": ("text", lambda who: f"/q?name={quote(who.name.encode('latin-1'))}"),
    "name wrongly read twice": ("text", lambda who: who.name.encode().decode("latin-1").encode().decode("latin-1")),
    "digits of another script": ("text", lambda who: who.phone.translate({48 + at: 0x660 + at for at in range(10)})),
    "face in bytes": ("bytea", lambda who: "\\x" + who.face.replace("-", "")),
    "twice encoded": ("text", lambda who: quote(b64encode(who.email.encode()).decode() + "==&")),
    "rut without its check digit": ("text", lambda who: f"RUT {who.rut[:-2]}"),
    "rut without its check digit in dots": ("text", lambda who: f"rut: {int(who.rut[:-2]):,}".replace(",", ".")),
    "rut without its check digit in json": ("jsonb", lambda who: json.dumps({"rut": int(who.rut[:-2])})),
    "glued name": ("text", lambda who: plain(who.first + who.last).lower()),
    "glued name in camel case": ("text", lambda who: f"user {who.first}{who.last}"),
    "glued name in reverse": ("text", lambda who: plain(who.last + who.first).lower() + "@other.org"),
    "initial within a name": ("text", lambda who: f"{who.first} M. {who.last}"),
    "initials within a name": ("text", lambda who: f"asked {who.first} J. R. {who.last} {who.second} today"),
    "name with a comma": ("text", lambda who: f"{who.last.upper()}, {who.first}"),
    "both last names, a comma": ("text", lambda who: f"{who.last} {who.second}, {who.first}"),
    "name with underscores": ("text", lambda who: f"{who.first}_{who.last}.pdf"),
    "phone with slashes": ("text", lambda who: "+56/9/" + digits(who.phone)[3:7] + "/" + digits(who.phone)[7:]),
    "phone with a slash": ("text", lambda who: "9/" + digits(who.phone)[3:]),
    "phone in pairs with dots": ("text", lambda who: ".".join(re.findall("..?", digits(who.phone)[2:]))),
    "phone with underscores": ("text", lambda who: "wa_56_" + digits(who.phone)[2:] + "_x"),
    "phone with two zeros before": ("text", lambda who: "00" + digits(who.phone)),
    "spaced hexadecimal": ("text", lambda who: who.name.encode().hex(" ")),
    "hexadecimal with colons": ("text", lambda who: who.email.encode().hex(":").upper()),
    "hexadecimal with prefixes": ("text", lambda who: ", ".join(f"0x{each:02x}" for each in who.name.encode())),
    "base32": ("text", lambda who: b32encode(who.name.encode()).decode()),
    "base32 in lower case": ("text", lambda who: "k=" + b32encode(who.email.encode()).decode().lower().rstrip("=")),
    "bytea in utf 32": ("bytea", lambda who: "\\x" + who.name.encode("utf-32").hex()),
    "bytea in utf 16, big end first": ("bytea", lambda who: "\\x" + who.name.encode("utf-16-be").hex()),
    "utf 16 among others": ("bytea", lambda who: "\\x" + (bytes(range(1, 256)) * 9 + who.name.encode("utf-16-le") + b"\xff\x81" * 99).hex()),
    "utf 16 after an odd byte": ("bytea", lambda who: "\\x" + (b"\x07" + who.email.encode("utf-16-be")).hex()),
    "base64 in bytea": ("bytea", lambda who: "\\x" + b64encode(who.name.encode()).hex()),
    "phone in money": ("money", lambda who: digits(who.phone)),
    "rut in money": ("money", lambda who: "".join(filter(str.isdigit, who.rut))),
    "email in an ltree": ("ltree", lambda who: "top." + who.email.replace("@", "_")),
    "email in labels of an ltree": ("ltree", lambda who: who.email.replace("@", ".at.")),
    "email in words": ("text", lambda who: who.email.replace("@", " at ").replace(".", " dot ")),
    "email in brackets": ("text", lambda who: who.email.replace("@", " [arroba] ").replace(".", "(punto)")),
    "name in a vector of words": ("tsvector", lambda who: f"'{who.first.lower()}':1 '{who.last.lower()}':2 '{who.second.lower()}':3"),
    "name among words of a vector": ("tsvector", lambda who: f"'{who.first.lower()}':7,12 '{who.last.lower()}':8 'zoo':1 'about':6"),
    "stripped vector of words": ("tsvector", lambda who: f"'{who.first.lower()}' '{who.last.lower()}'"),
    "gzip": ("bytea", lambda who: "\\x" + gzip.compress(who.name.encode()).hex()),
    "zlib": ("bytea", lambda who: "\\x" + zlib.compress(json.dumps({"who": who.email}).encode()).hex()),
    "bz2": ("bytea", lambda who: "\\x" + bz2.compress(who.email.encode()).hex()),
    "xz": ("bytea", lambda who: "\\x" + lzma.compress(who.email.encode()).hex()),
    "gzip in base64": ("text", lambda who: b64encode(gzip.compress(who.email.encode())).decode()),
    "zlib in base64": ("jsonb", lambda who: json.dumps({"z": b64encode(zlib.compress(who.email.encode())).decode()})),
    "file in a zip": ("bytea", lambda who: "\\x" + zipped(who.name.encode()).hex()),
    "url encoded whole": ("text", lambda who: "".join(f"%{each:02x}" for each in who.name.encode())),
    "url encoded twice": ("text", lambda who: quote(quote(who.name))),
    "url encoded address": ("text", lambda who: f"https://x.cl/?a={quote_plus(who.address)}"),
    "entities in numbers": ("text", lambda who: "".join(f"&#{ord(each)};" for each in who.name)),
    "entities in base 16": ("text", lambda who: "".join(f"&#x{ord(each):x};" for each in who.email)),
    "entities twice": ("text", lambda who: entities(who.name).replace("&", "&amp;")),
    "entities without an end": ("text", lambda who: "".join(f"&#{ord(each)}" for each in who.name)),
    "phone in entities": ("text", lambda who: "".join(f"&#{ord(each)};" for each in who.phone)),
    "escapes of css": ("text", lambda who: "".join(f"\\{ord(each):06x}" for each in who.email)),
    "id of a photo": ("text", lambda who: f"elsewhere/{who.image.split('-photo')[0]}/portrait.png"),
    "xml": ("text", lambda who: f"<p><first>{who.first}</first><last>{who.last}</last></p>"),
    "attributes of xml": ("text", lambda who: f'<p first="{who.first}" last="{who.last}"/>'),
    "name in two elements of an array": ("text[]", lambda who: f'{{"{who.first}","{who.last}"}}'),
    "wide letters": ("text", lambda who: "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in who.email)),
    "bold letters": ("text", lambda who: "".join(chr(0x1D400 + ord(each) - 65) if each.isupper() and each.isascii() else each for each in who.name.upper())),
    "letters of another script": ("text", lambda who: who.email.replace("a", "\u0430").replace("e", "\u0435").replace("o", "\u043e")),
    "letters with blanks": ("text", lambda who: " ".join(who.email)),
}  # fmt: skip


def test_every_planted_cell_is_found(pair: Pair, people: list[Person]) -> None:
    names = {f"c{at}": name for at, name in enumerate(CELLS)}
    columns = ", ".join(f"{column} {CELLS[name][0]}" for column, name in names.items())
    for each in (pair.source, pair.copy):
        with server.connect(each) as connection:
            connection.execute(f"CREATE TABLE planted (id int PRIMARY KEY, {columns})")
            connection.execute("INSERT INTO planted (id) SELECT generate_series(1, 50)")
    with server.connect(pair.copy) as connection:
        for at, (column, name) in enumerate(names.items()):
            connection.execute(
                f"UPDATE planted SET {column} = %s::text::{CELLS[name][0]} WHERE id = %s",
                [CELLS[name][1](people[at % len(people)]), 1 + at % 50],
            )
    proof = pair.prove()
    found = {each.column for each in proof.findings}
    for each in (pair.source, pair.copy):
        with server.connect(each) as connection:
            connection.execute("DROP TABLE planted")

    assert [name for column, name in names.items() if column not in found] == []
    assert {(each.kind, each.table) for each in proof.findings} == {("leak", "planted")}
    told = str(proof)
    assert not [value for who in people for value in who.values() if value in told]


# What is planted into the schema, for a person of its own; and the kind of finding, its table and its column.
SCHEMA: dict[str, tuple[Callable[[Person], str], tuple[str, str | None, str | None]]] = {
    "comment on a column": (
        lambda who: f"COMMENT ON COLUMN events.note IS {quoted('first asked for by ' + who.name)}",
        ("schema", "events", "note"),
    ),
    "comment on a table": (
        lambda who: f"COMMENT ON TABLE settings IS {quoted(who.email)}",
        ("schema", "settings", None),
    ),
    "comment on a function": (
        lambda who: f"COMMENT ON FUNCTION pick IS {quoted('ask ' + who.phone)}",
        ("schema", None, None),
    ),
    "check": (
        lambda who: f"ALTER TABLE keyless ADD CHECK (label <> {quoted(who.email)})",
        ("schema", "keyless", None),
    ),
    "check of a domain": (
        lambda who: f"CREATE DOMAIN word AS text CHECK (VALUE <> {quoted(who.email)})",
        ("schema", None, None),
    ),
    "default": (
        lambda who: f"ALTER TABLE settings ALTER value SET DEFAULT {quoted(who.name)}",
        ("schema", "settings", "value"),
    ),
    "label": (lambda who: f"ALTER TYPE level ADD VALUE {quoted(who.name)}", ("schema", None, None)),
    "partition": (
        lambda who: f"CREATE TABLE pupils (email text) PARTITION BY LIST (email); CREATE TABLE pupils_one PARTITION OF pupils"
        f" FOR VALUES IN ({quoted(who.email)})",
        ("schema", "pupils_one", None),
    ),
    "function": (
        lambda who: f"CREATE FUNCTION boss() RETURNS text LANGUAGE sql AS $$ SELECT {quoted(who.name)} $$",
        ("schema", None, None),
    ),
    "function without text": (
        lambda who: f"CREATE FUNCTION boss(w text DEFAULT {quoted(who.rut)}) RETURNS text LANGUAGE sql RETURN 'x'",
        ("schema", None, None),
    ),
    "view": (
        lambda who: f"CREATE VIEW bosses AS SELECT * FROM settings WHERE value = {quoted(who.email)}",
        ("schema", "bosses", None),
    ),
    "index": (
        lambda who: f"CREATE INDEX ON settings (name) WHERE value = {quoted(who.email)}",
        ("schema", "settings", None),
    ),
    "policy": (
        lambda who: f"CREATE POLICY p ON settings USING (value = {quoted(who.email)})",
        ("schema", "settings", None),
    ),
    "trigger": (
        lambda who: f"CREATE TRIGGER t BEFORE UPDATE ON settings FOR EACH ROW WHEN (NEW.value = {quoted(who.email)})"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ("schema", "settings", None),
    ),
    "rule": (
        lambda who: f"CREATE RULE r AS ON UPDATE TO keyless WHERE NEW.label = {quoted(who.email)} DO INSTEAD NOTHING",
        ("schema", "keyless", None),
    ),
    "statistics": (
        lambda who: f"CREATE STATISTICS s ON (value = {quoted(who.email)}), name FROM settings",
        ("schema", None, None),
    ),
    "publication": (
        lambda who: f"CREATE PUBLICATION p FOR TABLE settings WHERE (name = {quoted(who.email)})",
        ("schema", "settings", None),
    ),
    "option of a server": (
        lambda who: "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
        f" CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user {quoted(who.email)})",
        ("schema", None, None),
    ),
    "setting": (
        lambda who: f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.boss = %L', current_database(),"
        f" {quoted(who.email)}); END $$",
        ("schema", None, None),
    ),
    "name of a table": (
        lambda who: f'CREATE TABLE "notes_of_{plain(who.name).lower().replace(" ", "_")}" (id int)',
        ("schema", None, None),
    ),
    "large object": (
        lambda who: f"SELECT lo_from_bytea(0, {quoted(who.name)}::bytea)",
        ("schema", None, None),
    ),
    "start of an aggregate": (
        lambda who: f"CREATE AGGREGATE said(text) (sfunc = textcat, stype = text, initcond = {quoted(who.email)})",
        ("schema", None, None),
    ),
    "name of a result": (
        lambda who: f'CREATE FUNCTION results() RETURNS TABLE ("{who.email}" int) LANGUAGE sql AS $$ SELECT 1 $$',
        ("schema", None, None),
    ),
    "name of a dictionary": (
        lambda who: f'CREATE TEXT SEARCH DICTIONARY "{who.email}" (TEMPLATE = simple)',
        ("schema", None, None),
    ),
    "name of a collation": (
        lambda who: f"CREATE COLLATION \"{who.email}\" (locale = 'C')",
        ("schema", None, None),
    ),
    "version of a server": (
        lambda who: f"CREATE FOREIGN DATA WRAPPER w2; CREATE SERVER s2 VERSION {quoted(who.email)} FOREIGN DATA WRAPPER w2",
        ("schema", None, None),
    ),
    "option of a foreign column": (
        lambda who: f"CREATE FOREIGN TABLE far (a text OPTIONS (name {quoted(who.email)})) SERVER s2",
        ("schema", "far", "a"),
    ),
    "value of a column that was added": (
        lambda who: f"ALTER TABLE keyless ADD gone text DEFAULT {quoted(who.email)}; ALTER TABLE keyless ALTER gone"
        " DROP DEFAULT; UPDATE keyless SET gone = NULL",
        ("schema", "keyless", "gone"),
    ),
    "bounds of ranges": (
        lambda who: f"CREATE TABLE ranges (a int8range); INSERT INTO ranges SELECT int8range({digits(who.phone)},"
        f" {digits(who.phone)} + 1) FROM generate_series(1, 100); ANALYZE ranges; DELETE FROM ranges",
        ("schema", "ranges", "a"),
    ),
    "comment on a language": (
        lambda who: f"COMMENT ON LANGUAGE plpgsql IS {quoted(who.email)}",
        ("schema", None, None),
    ),
    "materialized view": (
        lambda who: f"UPDATE events SET note = {quoted(who.email)} WHERE id = 9; REFRESH MATERIALIZED VIEW busy;"
        " UPDATE events SET note = 'x' WHERE id = 9",
        ("leak", "busy", "note"),
    ),
    "partition's row": (
        lambda who: f"UPDATE visits SET remark = {quoted(who.email)} WHERE id = 300",
        ("leak", "visits_2024", "remark"),
    ),
}  # fmt: skip


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_what_is_planted_into_the_schema_is_found(pair: Pair, people: list[Person]) -> None:
    statements = [plant(people[at]) for at, (plant, _) in enumerate(SCHEMA.values())]
    with pair.changed(*statements) as copy:
        proof = copy.prove()

    found = said(proof)
    missing = [name for name, (_, finding) in SCHEMA.items() if finding not in found]
    assert not missing
    expected = sum(finding == ("schema", None, None) for _, finding in SCHEMA.values())
    times = [
        re.search(r"(\d+) times", each.what) for each in proof.findings if each.kind == "schema" and not each.table
    ]
    assert sum(int(each[1]) for each in times if each) >= expected
    told = str(proof)
    assert not [value for who in people for value in who.values() if value in told]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("students", "first_name"),
        ("students", "last_name"),
        ("students", "birth_date"),
        ("students", "address"),
        ("guardians", "full_name"),
        ("student_faces", "collection"),
    ],
)
def test_a_column_that_is_kept_by_mistake_is_found_and_with_a_reason_it_is_not(
    pair: Pair, table: str, column: str
) -> None:
    with pair.changed() as copy:
        copy.keep(table, column)
        proof = copy.prove()
        excused = copy.prove(kept={("public", table, column): "the school said so"})

    assert ("kept", table, column) in said(proof)
    assert excused.holds, excused.findings
    assert "the school said so" in [each.kept for each in excused.classified]


def test_a_search_column_that_is_kept_is_a_leak(pair: Pair) -> None:
    with pair.changed() as copy:
        copy.keep("students", "email")
        copy.keep("student_faces", "face_id")
        proof = copy.prove()
        shared = copy.prove(faces="share")

    assert {("leak", "students", "email"), ("leak", "student_faces", "face_id")} <= set(said(proof))
    assert {each.table for each in shared.findings} == {"students"}


@pytest.mark.parametrize("seed", ["second", "third"])
def test_other_masked_copies_are_clean_too(pair: Pair, target: Target, seed: str) -> None:
    copy = proof_pair.create(target, "proof_clean")
    with server.connect(copy) as connection:
        connection.execute(proof_pair.SCHEMA)
        proof_pair.fill(connection, seed)
    proof = Pair(pair.source, copy).prove()
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        maintenance.execute("DROP DATABASE proof_clean WITH (FORCE)")

    assert proof.holds, proof.findings


def test_a_catalog_that_is_not_the_sources_is_found(pair: Pair) -> None:
    changes = {
        "ALTER TABLE students DROP CONSTRAINT students_email_key": "index public.students_email_key",
        "DROP VIEW names": "view public.names",
        "ALTER TABLE guardians DROP CONSTRAINT guardians_student_id_fkey; ALTER TABLE guardians ADD CONSTRAINT"
        " guardians_student_id_fkey FOREIGN KEY (student_id) REFERENCES students NOT VALID": "is not validated",
        "ALTER TABLE settings ALTER value SET NOT NULL": "column public.settings.value is not like",
        "CREATE INDEX lonely ON ONLY visits (id)": "index lonely is not valid",
        "ALTER TYPE level ADD VALUE 'high'": "type public.level is not like",
        "DROP MATERIALIZED VIEW busy": "view public.busy",
        "ALTER TABLE settings ENABLE ROW LEVEL SECURITY": "table public.settings is not like",
        "DROP FUNCTION rut": "function public.rut(body bigint)",
        "DROP EXTENSION citext CASCADE": "extension citext",
        "SELECT setval('guardians_id_seq', 3)": "sequence public.guardians_id_seq gives",
        "ALTER TABLE student_faces ALTER id RESTART": "sequence public.student_faces_id_seq gives",
    }
    with pair.changed(*changes) as copy:
        proof = copy.prove()
        excused = copy.prove(intended=frozenset({("view", "public.names")}))
        changed = copy.prove(structure=False)

    told = " | ".join(each.what for each in proof.findings)
    assert [words for words in changes.values() if words not in told] == []
    assert {each.kind for each in proof.findings} == {"catalog", "sequence"}
    assert {each.kind for each in changed.findings} == {"catalog", "sequence"}  # what is not valid is told nevertheless
    assert "view public.names" not in " | ".join(each.what for each in excused.findings)


def test_little_memory_means_more_passes_and_the_same_findings(pair: Pair) -> None:
    with pair.changed() as copy:
        copy.keep("students", "email")
        copy.keep("students", "last_name")
        copy.keep("student_faces", "face_id")
        whole, parts = copy.prove(), copy.prove(memory=200_000)

    assert set(said(parts)) == set(said(whole))
    assert parts.values == whole.values


def test_the_memory_is_bounded_where_cells_are_longer_than_it(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOCK", "_PIECE"):
        monkeypatch.setattr(reading, name, 1 << 15)  # small pieces, so that small cells are long ones
    setting, filler, binary = 3_000_000, "- " * 1_000_000, b"\x80" * 250_000
    short = "lorem ipsum dolor\n" * 2_000
    databases = [proof_pair.create(target, f"proof_long_{each}") for each in ("source", "copy")]
    for each in databases:
        with server.connect(each) as connection:
            connection.execute("CREATE TABLE docs (note text, raw bytea, payload jsonb, tags text[], body varchar)")
            connection.execute("CREATE TABLE people (email text)")
    with server.connect(databases[0]) as connection:
        connection.execute("INSERT INTO people SELECT 'persona' || i || '@liceo.cl' FROM generate_series(1, 50) i")
        connection.execute("INSERT INTO docs (body) VALUES (%s)", [f"{short} write to ana.soto@liceo.cl, {short}"])
    with server.connect(databases[1]) as connection:
        connection.execute(
            "INSERT INTO docs (note, raw, payload, tags) VALUES (%s, %s, %s, %s)",
            [
                f"{filler}PERSONA1@liceo.cl\t{filler}",
                binary + b"persona2@liceo.cl" + binary,
                json.dumps([short, "persona3@liceo.cl"]),
                [short, "persona4@liceo.cl", short],
            ],
        )
        connection.execute("INSERT INTO docs (body) VALUES (%s)", [f"a\\{'á' * 30_000} Ana.Soto@liceo.cl {short}"])
    Pair(databases[0], databases[0]).prove()  # what is imported and remembered once does not count
    tracemalloc.start()
    proof = Pair(*databases).prove(memory=setting)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        for each in databases:
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each.name)))

    leaks = {each for each in said(proof) if each[0] == "leak"}
    assert leaks == {("leak", "docs", each) for each in ("note", "raw", "payload", "tags", "body")}
    assert 2 * len(filler) > setting > peak  # read whole, it takes six times its size


def test_a_name_whose_parts_stand_under_different_keys_is_found(pair: Pair, people: list[Person]) -> None:
    who = people[3]
    parts = json.dumps({"first_name": who.first, "age": 7, "last_name": who.last})
    with pair.changed() as copy:
        with server.connect(copy.copy) as connection:
            connection.execute("UPDATE events SET payload = %s WHERE id = 4", [parts])
        proof = copy.prove()

    assert said(proof) == [("leak", "events", "payload")]


STRANGE: dict[str, tuple[str, str, str, set[tuple[str, str | None, str | None]]]] = {
    "a table of one column": (
        "CREATE TABLE m (email text)",
        "INSERT INTO m SELECT 'p' || i || '@x.cl' FROM generate_series(1, 50) i",
        "INSERT INTO m SELECT 'p' || i || '@x.cl' FROM generate_series(1, 50) i",
        {("leak", "m", "email")},
    ),
    "empty tables, and one without columns": ("CREATE TABLE e (email text); CREATE TABLE n ()", "", "", set()),
    "one letter names": (
        "CREATE TABLE s (id int PRIMARY KEY, first_name text)",
        "INSERT INTO s SELECT i, chr(97 + i % 26) FROM generate_series(1, 100) i",
        "INSERT INTO s SELECT i, chr(97 + i % 26) FROM generate_series(1, 100) i",
        {("kept", "s", "first_name")},
    ),
    "three teachers": (
        "CREATE TABLE t (id int PRIMARY KEY, first_name text)",
        "INSERT INTO t VALUES (1, 'Ana'), (2, 'Luis'), (3, 'Rosa')",
        "INSERT INTO t VALUES (1, 'Ana'), (2, 'Luis'), (3, 'Rosa')",
        {("kept", "t", "first_name")},
    ),
    "a table without a key": (
        "CREATE TABLE k (first_name text)",
        "INSERT INTO k SELECT (ARRAY['Ana','Juan','Luis'])[1 + i * i % 3] FROM generate_series(1, 100) i",
        "INSERT INTO k SELECT (ARRAY['Ana','Juan','Luis'])[1 + i * i % 3] FROM generate_series(100, 1, -1) i",
        {("kept", "k", "first_name")},
    ),
    "a masked key": (
        "CREATE TABLE k (id int PRIMARY KEY, first_name text)",
        "INSERT INTO k SELECT i, (ARRAY['Ana','Juan','Luis'])[1 + i * i % 3] FROM generate_series(1, 100) i",
        "INSERT INTO k SELECT i + 900, (ARRAY['Ana','Juan','Luis'])[1 + i * i % 3] FROM generate_series(1, 100) i",
        {("kept", "k", "first_name")},
    ),
    "phones in numbers": (
        "CREATE TABLE n (id int PRIMARY KEY, phone numeric, other float8)",
        "INSERT INTO n SELECT i, 56912340000 + i, i FROM generate_series(1, 100) i",
        "INSERT INTO n SELECT i, 99912340000 + i, CASE i WHEN 9 THEN 912340020 ELSE i END FROM generate_series(1, 100) i",
        {("leak", "n", "other")},
    ),
    "columns that only sound like persons": (
        "CREATE TABLE c (id int PRIMARY KEY, cell_count int, run text, image_id int, television text, born_in text)",
        "INSERT INTO c SELECT i, i * 3, 'run ' || i % 9, i, 'on', 'B' || i FROM generate_series(1, 100) i",
        "INSERT INTO c SELECT i, i * 3, 'run ' || i % 9, i, 'on', 'C' || i FROM generate_series(1, 100) i",
        set(),
    ),
    "dates as texts": (
        "CREATE TABLE d (id int PRIMARY KEY, birth_date text)",
        "INSERT INTO d SELECT i, (date '2008-01-01' + i * 3)::text FROM generate_series(1, 100) i",
        "INSERT INTO d SELECT i, (date '2008-01-01' + i * 3)::text FROM generate_series(1, 100) i",
        {("kept", "d", "birth_date")},
    ),
    "dates that are shifted": (
        "CREATE TABLE d (id int PRIMARY KEY, birth_date date)",
        "INSERT INTO d SELECT i, date '2008-01-01' + i * 3 FROM generate_series(1, 900) i",
        "INSERT INTO d SELECT i, date '2008-01-01' + i * 3 + abs(hashtext('s' || i)) % 31 - 15 FROM generate_series(1, 900) i",
        set(),
    ),
    "a name beside a last name is a first name": (
        "CREATE TABLE alumnos (id int PRIMARY KEY, nombre text, apellido text, coleccion text); CREATE TABLE n (a text, b text)",
        """INSERT INTO alumnos SELECT i, (ARRAY['Ana','Juan','Luis'])[1 + i % 3], 'Ape' || translate(i::text, '0123456789', 'bcdfghjklm')
           || ' Soto', 'liceo-produccion' FROM generate_series(1, 100) i; INSERT INTO n SELECT 'x', 'y' FROM generate_series(1, 9)""",
        """INSERT INTO alumnos SELECT i, 'Eva' || i, 'Mask', 'staging' FROM generate_series(1, 100) i;
           INSERT INTO n VALUES ('vino ANA APECD SOTO ayer', 'arn:collection/liceo-produccion'); INSERT INTO n SELECT 'x', 'y' FROM generate_series(1, 8)""",
        {("leak", "n", "a"), ("leak", "n", "b")},
    ),
    "names that need quotes": (
        'CREATE TABLE "a b.""c" ("I d" int PRIMARY KEY, "E Mail" text, "select" text)',
        """INSERT INTO "a b.""c" SELECT i, 'q' || i || '@x.cl' FROM generate_series(1, 30) i""",
        """INSERT INTO "a b.""c" SELECT i, 'z', CASE i WHEN 3 THEN 'Q9@X.CL' END FROM generate_series(1, 30) i""",
        {("leak", 'a b."c', "select")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_strange_sources(target: Target, name: str) -> None:
    schema, original, copied, expected = STRANGE[name]
    databases = [proof_pair.create(target, f"proof_strange_{each}") for each in ("source", "copy")]
    for each, rows in zip(databases, (original, copied), strict=True):
        with server.connect(each) as connection:
            connection.execute(schema)
            if rows:
                connection.execute(rows)
    proof = Pair(*databases).prove()
    with server.connect(target, target.maintenance, autocommit=True) as maintenance:
        for each in databases:
            maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each.name)))

    assert set(said(proof)) == expected


def test_statistics_of_times_are_no_numbers_of_persons(origin, run):
    """At 500,000 RUTs, some are the digits of a day: 2026-03-09 is 2.026.030-9."""
    run(
        origin,
        'CREATE TABLE "T t" (d date, ts timestamptz, r daterange, mr datemultirange, ds date[], v interval, n int, w text);'
        "INSERT INTO \"T t\" SELECT date '2026-03-09' + g % 20, '2026-03-09', daterange('2026-03-09', '2026-03-10'),"
        " '{[2026-03-09,2026-03-10)}', '{2026-03-09,2026-03-10}', '1 day', 20260309, 'x' FROM generate_series(1, 90) g;"
        'ANALYZE "T t"',
    )
    with server.connect(origin) as connection:
        found = {place.column for place, _ in definitions.texts(connection) if place.what == "statistics of a column"}
    assert found == {"n", "w"}
