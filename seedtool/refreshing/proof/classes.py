"""What a column of the source holds, told by its name, its type and its values, and never by a policy."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from seedtool.postgres.catalog import Column, Table
from seedtool.refreshing.proof.words import fold, words_of

Kind = Literal[
    "email", "phone", "national id", "first name", "last name", "full name", "account", "address", "birth date",
    "face", "external image id", "collection", "photo", "embedding", "subject",
]  # fmt: skip

#: Kinds whose masks have no range that a source cannot hold: a masked value may be somebody's by chance.
DRAWN: frozenset[Kind] = frozenset({"first name", "last name", "full name", "address", "birth date"})
#: Kinds whose whole values are looked for as words.
WHOLE: frozenset[Kind] = frozenset(
    {"email", "account", "address", "face", "external image id", "collection", "photo", "national id"}
)
#: What the copy must not hold unless staging shares the source's faces.
BIOMETRIC: frozenset[Kind] = frozenset({"face", "external image id", "collection", "photo", "embedding", "subject"})

#: The first that fits a column's name counts. A name is written as folded words with blanks around each. The words
#: are those of English and its abbreviations, Spanish, Portuguese, French and German.
_NAMES: tuple[tuple[Kind, str], ...] = (
    ("email", r" (e mail|email|mail|correo|correio|courriel)"),
    ("phone", r" (phone|telephone|telefono|fono|mobile|movil|celular|cell|whatsapp|fax)\w* "),
    (
        "phone",
        r" (telefone|fone|telemovel|telefon|handy|mobil|portable|gsm|tel|tlf|tfno|ph|msisdn)(nummer|numero| no)?s?\d? ",
    ),
    ("national id", r" (rut|run|dni|cedula|ssn|passport|pasaporte|nif|nie|curp|cpf|cuit|cuil|rfc|national id|tax id) "),
    (
        "national id",
        (
            r" (rg|nino|nir|niss|insee|bsn|pesel|ahv|svnr|nric|aadhaar|passaporte|passeport|social security|id card"
            r"|securite sociale|national insurance|carte identite|cartao cidadao|titulo eleitor)"
            r"( (no|nr|num|number|numero|code))? "
            r"| (reisepass|(personal)?ausweis|steuer(identifikations)?|sozialversicherungs)(nummer|nr| id| nr)? "
            r"| (numero|nro|num|documento)( de)? (documento|identidad|identidade) | driver\w* licen[cs]e( no| number)? "
        ),
    ),
    ("external image id", r" external (image )?id | image external id | rekognition image id "),
    ("embedding", r" (embedding|face vector|descriptor|faceprint)s? "),
    ("face", r" (face|faceid|rekognition|aws face|image) ids? | faceids? | face reference "),
    ("collection", r" (face |aws |rekognition )?(collection|coleccion)( id| name| arn)? "),
    (
        "photo",
        (
            r" (photo|picture|image|avatar|portrait|foto|imagen|imagem|bild|selfie|thumbnail|s3|storage"
            r"|object|bucket)s? (key|url) "
        ),
    ),
    (
        "photo",
        (
            r" (photo|picture|image|avatar|portrait|foto|imagem|bild|s3|storage|object)s?"
            r" (uri|path|file|location|address|href|pfad|caminho|chemin)s? "
        ),
    ),
    ("photo", r" (photo|foto|avatar|selfie|picture)s? | (s3|storage|photo|bucket) name "),
    ("birth date", r" (birth|dob|born|nacimiento|birthday|birthdate|bday) | (fecha|fec|fch|f) nac| birth\w* "),
    ("birth date", r" (nascimento|dt nasc|data nasc|naissance|ddn|geburt\w*|geboren|gebdat\w*|geb datum) "),
    (
        "address",
        r"(?<! ip)(?<! mac) (address|addr|adr|direccion|domicilio|street|calle|home address)\d?( line)?( ?\d)? ",
    ),
    ("address", r" (adresse|endereco|morada|logradouro|rua|rue|strasse|anschrift|domicile)\d?( \d)? "),
    (
        "full name",
        (
            r" (nombre completo|fullname|nome completo|nom complet|nom prenom|nombres? (y )?apellidos?"
            r"|nome (e )?sobrenome|vollstandiger name|vor und nachname) "
        ),
    ),
    ("last name", r" (last|family|second last|paternal|maternal)( last)? ?names? | (sur|last)names? | apellidos? "),
    ("last name", r" (lname|last nm|ap paterno|ap materno|sobrenomes?|apelidos?|nom famille|nom de famille) "),
    ("last name", r" (nachname|familienname|zuname)n? "),
    ("first name", r" (first|given|middle|second|preferred|christian)( first)? ?names? | (fore|first|given)names? "),
    ("first name", r" (fname|mname|first nm|nombres|primer nombre|nombre pila|primeiro nome|nome proprio) "),
    ("first name", r" (prenoms?|vornamen?|rufname) "),
    (
        "full name",
        (
            r" (full|legal|display|complete|person|student|teacher|guardian|parent|contact|customer|patient|employee"
            r"|member|client)( full)? ?name "
        ),
    ),
    ("account", r" (user ?name|login|nick ?name|handle|benutzername|nom utilisateur|nome usuario|nombre usuario) "),
)
_NAME_ALONE = (["name"], ["nombre"], ["nome"], ["nom"])
#: First names beside which a column called `nom` or `name` holds the last name.
_BESIDE = (["prenom"], ["prenoms"], ["vorname"], ["vornamen"])
#: A column called `name` or `nombre` is a person's when its table is about people.
_PEOPLE = re.compile(
    r" (student|pupil|teacher|person|people|user|guardian|parent|child|children|employee|staff|customer|client|patient"
    r"|member|contact|alumno|profesor|apoderado|persona|usuario|cliente|paciente|tutor|nino"
    r"|aluno|professor|pessoa|funcionario|responsavel|eleve|enseignant|personne|utilisateur|employe|enfant|membre"
    r"|schuler|lehrer|kunde|mitarbeiter|benutzer|mitglied|kontakt|kind|eltern|empleado)(e?s?|e?n|er|innen|es) "
)

EMAIL = re.compile(r"[^\s@<>\"',;:]+@[^\s@<>\"',;:]+\.[A-Za-z]{2,}")
_PHONE = re.compile(r"\+?\(?\d[\d .()/-]{5,20}\d")
_RUT = re.compile(r"\d{1,2}\.?\d{3}\.?\d{3}-?[\dkK]")
#: Ids as the United States, Brazil and Spain write them: SSN, CPF, and NIF with its letter.
_ID = re.compile(r"\d{3}-\d{2}-\d{4}|\d{3}\.\d{3}\.\d{3}-\d{2}|[XYZ]?\d{7,8}-?[A-HJ-NP-TV-Z]")
_FIVE_DIGITS = re.compile(r"(\D*\d){5,}.*", re.DOTALL)
_PICTURE = re.compile(r"\S*/\S*\.(jpe?g|png|webp|heic|gif|bmp|tiff?)(\?\S*)?|(s3|r2|gs)://\S+", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_]+(['’ .-]+[^\W\d_]+){0,5}\.?")

#: Common first names, folded, of the languages of the Americas and of western Europe: a column of which many cells
#: begin with one holds names of persons. They only have to be frequent ones (source: the statistics of births of the
#: Registro Civil of Chile and of the Social Security Administration of the United States, most frequent names; and the
#: lists of frequent names of IBGE for Brazil, INSEE for France and the Gesellschaft für deutsche Sprache for Germany).
_FIRST_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
abigail agustin agustina aiden alejandra alejandro alicia alonso amanda amelia amparo amy ana andrea andres
andrew angela anna anthony antonia antonio ashley ava barbara bastian beatriz benjamin betty brandon brenda
brian camila carlos carmen carol carolina catalina cecilia charles charlotte christopher claudia colomba
constanza cristian cristina cristobal cynthia daniel daniela david deborah diego donna eduardo edward elena
elizabeth ella emilia emily emma eric ethan evelyn felipe fernanda fernando florencia francisca francisco
frank gabriel gabriela gary gaspar george gloria grace gregory harper hector hugo ignacio isabel isabella
isidora ivan jacob jacqueline jaime james jason javier javiera jeffrey jennifer jessica joaquin john jonathan
jorge jose josefa joseph joshua juan julieta justin karen kathleen kenneth kevin kimberly larry laura liam
lily linda lisa logan lorena lucas lucia luis luz maite manuel marcela margaret margarita maria mario mark
marta martin martina mary mason mateo matias matthew maximiliano melissa mia michael michelle miguel monica
nancy natalia nicolas noah olga oliver olivia oscar pablo pamela paola patricia patricio paul paula pedro pia
pilar rafael ramon rebecca renato ricardo richard robert roberto rocio rodrigo ronald rosa ryan samuel sandra
santiago sarah scott sebastian sergio sharon shirley silvia simon sofia soledad sophia stephanie stephen
steven susan susana teresa thomas timothy tomas trinidad valentina veronica vicente victor victoria viviana
william ximena yolanda
joao tiago goncalo ines matilde leonor mariana joana rita rui nuno duarte luana caio thiago vitor guilherme rafaela
larissa leticia bruna juliana fabio marcos paulo luiz gustavo vinicius
jean pierre michel philippe nathalie isabelle catherine francoise monique sylvie julien camille chloe lea manon hugo
louis jules enzo mathis theo antoine alexandre jade louise alice lina raphael arthur adam leo claire sophie celine
aurelie nicole
hans peter wolfgang klaus jurgen dieter manfred uwe ursula renate helga karin brigitte monika sabine petra andreas
stefan christian markus lukas leon finn jonas ben felix maximilian moritz hannah lena leonie greta frieda heike jorg
katharina johanna
        """,
    )
)
#: So much of a sample has to look like a kind before the values tell it alone.
_MOST = 0.6


class Role(msgspec.Struct, frozen=True):
    """What a column holds.

    Args:
        kind: of its values.
        by: what told it.
    """

    kind: Kind
    by: Literal["name", "values"]


def is_rut(text: str) -> bool:
    """Tell whether a text is a Chilean RUT with the right check digit (modulo 11, Registro Civil)."""
    digits = re.sub(r"[.\s-]", "", text).upper()
    return bool(re.fullmatch(r"\d{6,9}[\dK]", digits)) and check_digit(int(digits[:-1])) == digits[-1]


def check_digit(body: int) -> str:
    """Return the check digit of a RUT: weights 2 to 7 from the right, modulo 11; 10 is written K."""
    total, weight = 0, 2
    while body:
        body, digit = divmod(body, 10)
        total += digit * weight
        weight = 2 if weight == 7 else weight + 1
    return "0123456789K0"[11 - total % 11] if total % 11 else "0"


def classify(table: Table, samples: Mapping[str, Sequence[str]]) -> dict[str, Role]:
    """Return what the columns of a table hold, for those that hold something of a person.

    Args:
        table: the source's.
        samples: some values of each column, without NULL, as text.
    """
    found = {name: _role(table, column, samples.get(name, ())) for name, column in table.columns.items()}
    roles = {name: role for name, role in found.items() if role is not None}
    for name, role in roles.items():
        # beside a last name, `name` and `nombre` hold the first one
        if role.kind == "full name" and _parts(name) in _NAME_ALONE and _has_last_name(roles):
            roles[name] = Role("first name", role.by)
    if any(_parts(name) in _BESIDE for name in roles) and not _has_last_name(roles):
        alone = (name for name, column in table.columns.items() if _parts(name) in _NAME_ALONE and column.is_text)
        roles |= dict.fromkeys(alone, Role("last name", "name"))
    return roles


def _has_last_name(roles: Mapping[str, Role]) -> bool:
    return any(role.kind == "last name" for role in roles.values())


def _role(table: Table, column: Column, sample: Sequence[str]) -> Role | None:
    kind, values = column.value.kind, [each.strip() for each in sample if each.strip()]
    scalar = column.value.name
    if kind == "array" and column.value.part is not None:
        scalar = column.value.part.name
    named = _by_name(table.name, column.name)
    if scalar in {"vector", "halfvec", "cube"} or (named == "embedding" and scalar in {"float4", "float8", "bytea"}):
        return Role("embedding", "values" if scalar != "cube" and named is None else "name")
    if scalar in {"date", "timestamp", "timestamptz"}:
        return Role("birth date", "name") if named == "birth date" else None
    if scalar in {"bool", "float4", "float8", "time", "timetz", "interval", "json", "jsonb", "hstore", "xml", "bytea"}:
        return None
    if scalar == "tsvector" or column.labels:
        return None
    if scalar in {"int2", "int4", "int8", "numeric"}:
        return Role(named, "name") if named in {"phone", "national id"} and _fits(named, values) else None
    if kind not in {"scalar", "array"}:
        return None
    if named is not None and _fits(named, values):
        return Role(named, "name")
    told = _by_values(values)
    return Role(told, "values") if told is not None else None


def _by_name(table: str, column: str) -> Kind | None:
    """Return the kind that a column's name tells."""
    name = f" {' '.join(_parts(column))} "
    for kind, pattern in _NAMES:
        if re.search(pattern, name):
            return kind
    if _parts(column) in _NAME_ALONE and _PEOPLE.search(f" {' '.join(_parts(table))} "):
        return "full name"
    return None


def _parts(name: str) -> list[str]:
    """Return the words of a name that is written in snake_case or camelCase."""
    return words_of(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " "))


def _fits(kind: Kind, values: Sequence[str]) -> bool:
    """Tell whether values can be of the kind that their column's name tells; no values can."""
    looks: dict[Kind, re.Pattern[str]] = {
        "email": EMAIL,
        "full name": _NAME,
        # a column `cells` that counts, and a column `run` of a pipeline, hold no phone and no RUT
        "phone": _FIVE_DIGITS,
        "national id": _FIVE_DIGITS,
    }
    return kind not in looks or not values or _share(looks[kind], values) >= 0.2


def _by_values(values: Sequence[str]) -> Kind | None:
    """Return the kind that most of the values look like."""
    if len(values) < 2:
        return "email" if values and EMAIL.fullmatch(values[0]) else None
    if _share(EMAIL, values) >= _MOST:
        return "email"
    if sum(map(is_rut, values)) >= _MOST * len(values) and _share(_RUT, values) >= _MOST:
        return "national id"
    if _share(_ID, values) >= _MOST:
        return "national id"
    written = [each for each in values if _PHONE.fullmatch(each) and 8 <= sum(map(str.isdigit, each)) <= 15]
    if (
        len(written) >= _MOST * len(values)
        and sum(each[0] == "+" or " " in each for each in written) >= len(written) / 2
    ):
        return "phone"
    if _share(_PICTURE, values) >= _MOST:
        return "photo"
    names = [fold(each).split() for each in values if _NAME.fullmatch(each)]
    known = sum(each[0] in _FIRST_NAMES for each in names)
    if known >= 0.3 * len(values) and len(names) >= 0.8 * len(values) and len(set(values)) >= 2:
        return "full name" if sum(len(each) > 1 for each in names) >= len(names) / 2 else "first name"
    return None


def _share(pattern: re.Pattern[str], values: Iterable[str]) -> float:
    found = [bool(pattern.fullmatch(each)) for each in values]
    return sum(found) / len(found)
