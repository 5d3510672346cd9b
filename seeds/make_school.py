"""Write the drawn school's tables into ``seeds/local/``, or into another folder.

Run it as ``python seeds/make_school.py [FOLDER]``. It needs faker. The seed is fixed, so it writes the same bytes each
time. It does not write stages and grades, which are written by hand, and attendance, which ``attendance.py`` computes
from these files.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from faker import Faker
from school import people, teaching
from school.people import Row
from school.teaching import ROOMS

SEED = 20260309  # the committed names come from this seed and faker 40
PHOTOS = (1, 2)


def make_school() -> dict[str, list[Row]]:
    """Build every generated table, parents before children.

    Returns:
        The rows of each table by its name. Values are Python objects.
    """
    fake = Faker("es_CL")
    fake.seed_instance(SEED)
    tables: dict[str, list[Row]] = {"legal_guardians": [], "students": [], "student_faces": []}
    guardians = people.guardians(fake)
    tables["legal_guardians"] = [row for row, _ in guardians.values()]
    tables["teachers"] = people.teachers(fake)
    tables["grade_sections"] = teaching.sections()
    tables["students"] = people.students(fake, guardians)
    tables["student_faces"] = [people.face(str(row["id"]), photo) for row in tables["students"] for photo in PHOTOS]
    tables["classrooms"] = [
        dict(zip(("id", "name", "building", "floor", "capacity", "room_type", "facilities"), room, strict=True))
        for room in ROOMS
    ]
    tables["courses"], tables["classes"] = teaching.teaching()
    tables["class_enrollments"] = teaching.enrollments(tables)
    tables["sessions"] = teaching.sessions(fake, tables)
    return tables


def as_csv(rows: Iterable[Row]) -> str:
    """Render rows as RFC 4180 text with a header; an empty cell is NULL."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def write_school(folder: Path) -> None:
    """Write one csv file for each table.

    Args:
        folder: Where the files are written. Files of the same names are replaced.
    """
    for table, rows in make_school().items():
        (folder / f"{table}.csv").write_text(as_csv(rows), encoding="utf-8", newline="")


def _cell(value: object) -> object:
    """Write a value as PostgreSQL reads it; None becomes the empty cell that means NULL."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return "{" + ",".join(f'"{item}"' if re.search(r'[,{}"\s]', item) else item for item in value) + "}"
    return value


if __name__ == "__main__":
    write_school(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "local")
