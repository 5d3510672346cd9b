"""The people of the school: families, students, their faces, teachers.

Nobody here exists. Identification numbers are above 40 million, which the Chilean registry gives to nobody. Telephone
numbers begin with a 0, as no mobile number does. E-mail addresses end in ``.example``. The children's first names are
listed here, because faker's first names are those of grown-ups; all other names are faker's Chilean names.
"""

import re
import unicodedata
from datetime import date, timedelta
from typing import NamedTuple

from faker import Faker

COLLECTION = "eduguard-school-default"
STREETS = ("Los Aromos", "Av. Irarrázaval", "Pasaje El Quillay", "Dr. Johow", "Calle Ñuble", "Las Encinas")
COMUNAS = ("Ñuñoa", "Macul", "Peñalolén", "Providencia")

Row = dict[str, object]


class Section(NamedTuple):
    """A section that has students.

    Attributes:
        key: The end of its ids: ``7b`` in ``grade-7b``.
        label: Its name: ``7° Básico``.
        born: The year in which most of its students were born.
        year: The academic year its students are enrolled for.
    """

    key: str
    label: str
    born: int
    year: int


SECTIONS = {
    "k": Section("kinder", "Kínder", 2020, 2026),
    "4b": Section("4b", "4° Básico", 2016, 2026),
    "7b": Section("7b", "7° Básico", 2013, 2026),
    "2m": Section("2m", "2° Medio", 2010, 2026),
    "4m": Section("4m", "4° Medio", 2007, 2025),
}

# Family, first name, middle name, section. The first line is student-001, the second student-002, and so on.
STUDENTS = (
    ("a", "Martina", "Antonia", "7b"),
    ("b", "Benjamín", "Andrés", "7b"),
    ("c", "Millaray", None, "7b"),
    ("d", "Tomás", "Ignacio", "7b"),
    ("e", "Isidora", "Belén", "7b"),
    ("f", "Agustín", None, "7b"),
    ("g", "Wisline", "Rose", "7b"),
    ("h", "Vicente", "José", "7b"),
    ("i", "Josefa", "Ignacia", "7b"),
    ("a", "Joaquín", "Elías", "4b"),
    ("j", "Amanda", "Paz", "4b"),
    ("k", "Máximo", "Alonso", "4b"),
    ("l", "Trinidad", "Sofía", "4b"),
    ("d", "Lucas", "Gabriel", "4b"),
    ("m", "Ayelén", None, "4b"),
    ("n", "Cristóbal", "Nicolás", "4b"),
    ("o", "Emilia", "Victoria", "4b"),
    ("p", "Matías", "Íñigo", "2m"),
    ("q", "Florencia", "Andrea", "2m"),
    ("c", "Nahuel", "Antonio", "2m"),
    ("r", "Sofía", "Magdalena", "2m"),
    ("s", "Bastián", "Alexis", "2m"),
    ("t", "Daniela", "Valentina", "2m"),
    ("u", "Gaspar", None, "2m"),
    ("v", "Catalina", "Inés", "2m"),
    ("a", "Clemente", "Rafael", "k"),
    ("e", "Julieta", "Pascale", "k"),
    ("w", "Mateo", "Simón", "k"),
    ("g", "Davensky", None, "k"),
    ("x", "Antonella", "Jesús", "k"),
    ("q", "Facundo", "Martín", "k"),
    ("p", "Renata", "Ximena", "4m"),
)

# Families with rare surnames, which faker does not have. The other families' surnames are drawn.
SURNAMES: dict[str, tuple[str, str | None]] = {
    "c": ("Huenchullán", "Catrileo"),
    "g": ("Jean-Baptiste", None),
    "m": ("Paillalef", "Núñez"),
    "s": ("Uzcátegui", "Peña"),
    "x": ("D'Amico", "Ibáñez"),
    "h": ("Ñancupil", "Goñi"),
}

# The legal guardian of a family, where it is not the mother.
RELATIONS = {"b": "padre", "f": "padre", "j": "abuela", "n": "padre", "s": "padre", "t": "abuela", "w": "tía"}
LANGUAGES = {"g": "ht"}
MOVED_AWAY = ("Josefa",)

# What students.metadata has besides the date of birth.
EXTRAS: dict[str, dict[str, object]] = {
    "Martina": {"beca": True, "taller": "ajedrez"},
    "Benjamín": {"transporte": "furgón"},
    "Millaray": {"taller": "palín", "idiomas": ["es", "arn"]},
    "Wisline": {"idiomas": ["ht", "es", "fr"]},
    "Máximo": {"almuerzo": "junaeb", "talleres": ["fútbol", "robótica"]},
    "Trinidad": {"beca": False, "lentes": True},
    "Bastián": {"beca": True, "apodo": '"Bas"'},
    "Catalina": {"taller": "coro, 2ª voz"},
    "Davensky": {"idiomas": ["ht", "es"]},
    "Renata": {"promedio_egreso": 6.4},
}

# Female or male, subjects, department, status. The names are drawn.
TEACHERS = (
    ("f", ("matemática", "física"), "Matemática y Ciencias", "active"),
    ("m", ("lenguaje y comunicación", "filosofía"), "Lenguaje", "active"),
    ("f", ("ciencias naturales", "biología", "química"), "Matemática y Ciencias", "active"),
    ("m", ("historia, geografía y ciencias sociales",), "Historia", "active"),
    ("f", ("inglés",), "Idiomas", "active"),
    ("m", ("educación física y salud",), "Deportes", "active"),
    ("f", ("música", "artes visuales"), "Artes", "active"),
    ("f", ("educación parvularia",), "Parvularia", "active"),
    ("f", ("educación general básica", "lenguaje y comunicación"), "Básica", "active"),
    ("m", ("tecnología", "robótica"), "Matemática y Ciencias", "active"),
    ("m", ("lengua mapuche", "orientación"), "Idiomas", "active"),
    ("f", (), None, "inactive"),
)


def guardians(fake: Faker) -> dict[str, tuple[Row, tuple[str, str | None]]]:
    """Draw the family names and one guardian for each family."""
    families: dict[str, tuple[Row, tuple[str, str | None]]] = {}
    for number, family in enumerate(sorted({student[0] for student in STUDENTS}), 1):
        drawn = (fake.unique.last_name(), fake.unique.last_name())
        paternal, maternal = SURNAMES.get(family, drawn)
        relation = RELATIONS.get(family, "madre")
        male = relation == "padre"
        # A child has the father's first surname and then the mother's, so the mother has the second one.
        surname = paternal if male or maternal is None else maternal
        first = fake.unique.first_name_male() if male else fake.unique.first_name_female()
        second = None if maternal is None else fake.unique.last_name()
        middle = fake.first_name_male() if male else fake.first_name_female()
        row: Row = {
            "id": f"guardian-{number:02}",
            "first_name": first,
            "middle_name": middle if number % 3 and middle != first else None,
            "last_name": surname,
            "second_last_name": second,
            "identification_number": _rut(41_000_000 + fake.random_int(0, 899_999)),
            "phone": _phone(fake),
            "email": f"{_ascii(first)}.{_ascii(surname)}@familia.example",
            "preferred_language": LANGUAGES.get(family, "es"),
            "relation": relation,
            "address": f"{fake.random_element(STREETS)} {fake.random_int(100, 4999)}"
            + (f", depto. {fake.random_int(11, 129)}" if number % 4 == 0 else "")
            + f", {fake.random_element(COMUNAS)}",
        }
        families[family] = (row, (paternal, maternal))
    return families


def students(fake: Faker, guardians: dict[str, tuple[Row, tuple[str, str | None]]]) -> list[Row]:
    """Make the students: surnames, identification number, date of birth and section of every child."""
    rows: list[Row] = []
    for number, (family, first, middle, where) in enumerate(STUDENTS, 1):
        guardian, (paternal, maternal) = guardians[family]
        section = SECTIONS[where]
        # The ministry counts ages on 31 March, so a section was born between April and March of the next year.
        born = date(section.born, 4, 1) + timedelta(days=fake.random_int(0, 360))
        years_here = fake.random_int(0, min(3, section.year - section.born - 5))
        status = "graduated" if section.year < 2026 else "inactive" if first in MOVED_AWAY else "active"
        rows.append(
            {
                "id": f"student-{number:03}",
                "first_name": first,
                "middle_name": middle,
                "last_name": paternal,
                "second_last_name": maternal,
                "identification_number": _rut(40_000_000 + fake.random_int(0, 899_999)),
                "grade_id": f"grade-{section.key}",
                "grade_section_id": f"section-{section.key}-a-{section.year}",
                "guardian_id": guardian["id"],
                "enrollment_date": date(section.year - years_here, 3, 4),
                "academic_year": section.year,
                "status": status,
                "aws_collection_id": COLLECTION,
                "metadata": {"fecha_nacimiento": born.isoformat()} | EXTRAS.get(first, {}),
            }
        )
    return rows


def face(student_id: str, photo: int) -> Row:
    """Make the row of one photo of a student. The seed writes a placeholder for the face id."""
    return {
        "id": f"face-{student_id}-{photo}",
        "student_id": student_id,
        "external_image_id": f"{student_id}-photo-{photo}",
        "photo_url": f"students/{student_id}/photo-{photo}.jpg",
    }


def teachers(fake: Faker) -> list[Row]:
    """Draw the names of the teachers that the timetable needs."""
    rows: list[Row] = []
    for number, (sex, subjects, department, status) in enumerate(TEACHERS, 1):
        first = fake.unique.first_name_female() if sex == "f" else fake.unique.first_name_male()
        last = fake.unique.last_name()
        rows.append(
            {
                "id": f"teacher-{number:02}",
                "first_name": first,
                "middle_name": (fake.first_name_female() if sex == "f" else fake.first_name_male())
                if number % 2
                else None,
                "last_name": last,
                "second_last_name": fake.last_name(),
                "email": f"{_ascii(first)[0]}{_ascii(last)}@colegiolosboldos.example",
                "phone": _phone(fake) if number % 5 else None,
                "subjects": subjects or None,
                "department": department,
                "status": status,
            }
        )
    return rows


def check_digit(number: int) -> str:
    """Compute the check digit of a RUT by module 11.

    Args:
        number: The RUT without its check digit.

    Returns:
        ``0`` to ``9`` or ``K``.
    """
    total = sum(int(digit) * (2 + place % 6) for place, digit in enumerate(reversed(str(number))))
    return "0123456789K0"[11 - total % 11]


def _rut(number: int) -> str:
    return f"{number}-{check_digit(number)}"


def _phone(fake: Faker) -> str:
    return f"+56 9 0{fake.random_int(0, 999):03} {fake.random_int(0, 9999):04}"


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]", "", plain)
