"""The people of the drawn school: families, students, their faces, teachers.

Nobody here exists: identification numbers lie above 40 million, which the Chilean registry has not given to
people, telephone numbers begin with a 0 that no mobile number has, and mail goes to ``.example``.
"""

import re
import unicodedata
from datetime import date, timedelta

from faker import Faker

from school.roster import EXTRAS, LANGUAGES, MOVED_AWAY, RELATIONS, SECTIONS, STUDENTS, SURNAMES
from school.timetable import TEACHERS

COLLECTION = "eduguard-school-default"
STREETS = ("Los Aromos", "Av. Irarrázaval", "Pasaje El Quillay", "Dr. Johow", "Calle Ñuble", "Las Encinas")
COMUNAS = ("Ñuñoa", "Macul", "Peñalolén", "Providencia")

Row = dict[str, object]


def guardians(fake: Faker) -> dict[str, tuple[Row, tuple[str, str | None]]]:
    """Draw the family names and one guardian for each family."""
    families: dict[str, tuple[Row, tuple[str, str | None]]] = {}
    for number, family in enumerate(sorted({student[0] for student in STUDENTS}), 1):
        drawn = (fake.unique.last_name(), fake.unique.last_name())
        paternal, maternal = SURNAMES.get(family, drawn)
        relation = RELATIONS.get(family, "madre")
        male = relation == "padre"
        # A child carries the father's first surname and then the mother's; so a mother is found by the second.
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
    """Give every child of the roster its surnames, RUT, date of birth and section."""
    rows: list[Row] = []
    for number, (family, first, middle, where) in enumerate(STUDENTS, 1):
        guardian, (paternal, maternal) = guardians[family]
        section = SECTIONS[where]
        # Of age on 31 March, as the ministry asks: born between April of one year and March of the next.
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
    """Name one photo of a student; the face id is left to the seed, which writes a placeholder."""
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
