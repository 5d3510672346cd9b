"""What the school teaches: sections, courses, classes, enrolments and one week of sessions."""

import runpy
from datetime import date, datetime, timedelta
from pathlib import Path

from faker import Faker

from school.people import SECTIONS, Row

ATTENDANCE = Path(__file__).parent.parent / "local" / "attendance.py"
SANTIAGO = "-03:00"  # summer time, until the first Saturday of April
# The sessions that have a photo.
PHOTOGRAPHED = {
    "session-mat-7b-mon-0309": "classes/7-basico-a.jpg",
    "session-len-4b-mon-0309": "classes/4-basico-a.jpg",
    "session-mat-2m-tue-0310": "classes/2-medio-a.jpg",
}

# When the eight periods of a day begin and end.
PERIODS = {
    1: ("08:00", "08:45"),
    2: ("08:45", "09:30"),
    3: ("09:50", "10:35"),
    4: ("10:35", "11:20"),
    5: ("11:35", "12:20"),
    6: ("12:20", "13:05"),
    7: ("14:00", "14:45"),
    8: ("14:45", "15:30"),
}
DAYS = {
    "monday": "2026-03-09",
    "tuesday": "2026-03-10",
    "wednesday": "2026-03-11",
    "thursday": "2026-03-12",
    "friday": "2026-03-13",
}

# Id, name, building, floor, capacity, type, facilities.
ROOMS = (
    ("room-101", "Sala 101", "Pabellón Norte", 1, 20, "classroom", ("proyector", "rincón de lectura")),
    ("room-102", "Sala 102", "Pabellón Norte", 1, 30, "classroom", ("proyector",)),
    ("room-201", "Sala 201", "Pabellón Norte", 2, 32, "classroom", ("proyector", "pizarra interactiva")),
    ("room-202", "Sala 202", "Pabellón Norte", 2, 32, "classroom", ()),
    ("room-lab", "Laboratorio de Ciencias", "Pabellón Sur", 1, 32, "lab", ("mesones", "campana, extractor")),
    ("room-cra", "Biblioteca CRA", "Pabellón Sur", 2, 40, "library", ("computadores", "sillones")),
    ("room-gym", "Gimnasio", None, None, 120, "gym", ("marcador", "camarines")),
    ("room-hall", "Salón de Actos", "Pabellón Sur", 1, 180, "auditorium", ("piano", "escenario")),
)

# Code of the subject: name, the department of the course, credits.
SUBJECTS = {
    "mat": ("Matemática", "Matemática y Ciencias", "3"),
    "len": ("Lenguaje y Comunicación", "Lenguaje", "3"),
    "cie": ("Ciencias Naturales", "Matemática y Ciencias", "2"),
    "his": ("Historia, Geografía y Ciencias Sociales", "Historia", "2"),
    "ing": ("Inglés", "Idiomas", "1.5"),
    "efi": ("Educación Física y Salud", "Deportes", "1"),
    "mus": ("Música", "Artes", "1"),
    "tec": ("Tecnología", "Matemática y Ciencias", "1"),
    "jue": ("Juego y Exploración", "Parvularia", None),
}

# The section, then one week of it: subject, teacher's number, room, day and period.
WEEK = {
    "7b": (
        ("mat", 1, "room-201", "monday", 1),
        ("len", 2, "room-201", "monday", 3),
        ("cie", 3, "room-lab", "tuesday", 1),
        ("efi", 6, "room-gym", "tuesday", 5),
        ("mat", 1, "room-201", "wednesday", 2),
        ("his", 4, "room-201", "wednesday", 4),
        ("ing", 5, "room-201", "thursday", 1),
        ("mus", 7, "room-hall", "thursday", 7),
        ("len", 2, "room-cra", "friday", 3),
    ),
    "4b": (
        ("len", 9, "room-102", "monday", 1),
        ("mat", 9, "room-102", "monday", 4),
        ("efi", 6, "room-gym", "tuesday", 3),
        ("ing", 5, "room-102", "wednesday", 1),
        ("len", 9, "room-cra", "wednesday", 3),
        ("cie", 3, "room-lab", "thursday", 2),
        ("mus", 7, "room-hall", "friday", 1),
        ("mat", 9, "room-102", "friday", 4),
    ),
    "2m": (
        ("len", 2, "room-202", "monday", 1),
        ("cie", 3, "room-lab", "monday", 7),
        ("mat", 1, "room-202", "tuesday", 2),
        ("his", 4, "room-202", "wednesday", 1),
        ("ing", 5, "room-202", "wednesday", 6),
        ("tec", 10, "room-lab", "thursday", 5),
        ("mat", 1, "room-202", "friday", 1),
        ("efi", 6, "room-gym", "friday", 7),
    ),
    "k": (
        ("jue", 8, "room-101", "monday", 2),
        ("mus", 7, "room-hall", "tuesday", 3),
        ("jue", 8, "room-101", "wednesday", 2),
        ("jue", 8, "room-101", "friday", 2),
    ),
}

# A class of last year, which its students completed.
LAST_YEAR = ("4m", "len", 2, "room-202", "tuesday", 5)


def sections() -> list[Row]:
    """Make a section A for every grade, one section B, and one of last year."""
    grades = ["prekinder", "kinder", *(f"{n}b" for n in range(1, 9)), *(f"{n}m" for n in range(1, 5))]
    names = ["Prekínder", "Kínder", *(f"{n}° Básico" for n in range(1, 9)), *(f"{n}° Medio" for n in range(1, 5))]
    homerooms = {"kinder": 8, "3b": 11, "4b": 9, "7b": 1, "8b": 4, "1m": 5, "2m": 2, "4m": 3}
    rows = [
        _section(grade, name, "A", 2026, homerooms.get(grade), 20 if "kinder" in grade else 30)
        for grade, name in zip(grades, names, strict=True)
    ]
    rows += [_section("7b", "7° Básico", "B", 2026, 10, 30), _section("4m", "4° Medio", "A", 2025, 4, 30)]
    return rows


def _section(grade: str, name: str, label: str, year: int, teacher: int | None, seats: int) -> Row:
    return {
        "id": f"section-{grade}-{label.lower()}-{year}",
        "grade_id": f"grade-{grade}",
        "label": label,
        "display_name": f"{name} {label}",
        "academic_year": year,
        "homeroom_teacher_id": f"teacher-{teacher:02}" if teacher else None,
        "max_students": seats,
        "status": "active" if year == 2026 else "inactive",
    }


def teaching() -> tuple[list[Row], list[Row]]:
    """Turn the timetable into courses and the classes that teach them."""
    courses: dict[str, Row] = {}
    classes: list[Row] = []
    lessons = [(where, *lesson) for where, week in WEEK.items() for lesson in week]
    for where, subject, teacher, room, day, period in [*lessons, LAST_YEAR]:
        section = SECTIONS[where]
        name, department, credit = SUBJECTS[subject]
        course_id = f"course-{subject}-{section.key}"
        courses[course_id] = {
            "id": course_id,
            "course_code": f"{subject}-{section.key}".upper(),
            "name": f"{name} {section.label}",
            "subject": name,
            "grade_level": section.label,
            "credits": credit,
            "description": f"{name} para {section.label}, según bases curriculares." if credit else None,
            "department": department,
            "status": "active" if section.year == 2026 else "inactive",
        }
        start, end = PERIODS[period]
        classes.append(
            {
                "id": f"class-{subject}-{section.key}-{day[:3]}" + ("" if section.year == 2026 else "-2025"),
                "course_id": course_id,
                "section": "A",
                "teacher_id": f"teacher-{teacher:02}",
                "classroom_id": room,
                "period": period,
                "schedule_day": day,
                "start_time": start,
                "end_time": end,
                "academic_year": section.year,
                "semester": 1 if section.year == 2026 else 2,
                "max_students": 20 if section.key == "kinder" else 30,
                "status": "active" if section.year == 2026 else "inactive",
            }
        )
    return list(courses.values()), classes


def enrollments(tables: dict[str, list[Row]]) -> list[Row]:
    """Enrol every student in the classes of the student's grade."""
    of_status = {"active": "active", "inactive": "dropped", "graduated": "completed"}
    return [
        {
            "id": f"enrollment-{str(row['id']).removeprefix('class-')}-{str(student['id'])[-3:]}",
            "class_id": row["id"],
            "student_id": student["id"],
            "enrolled_date": date(int(str(row["academic_year"])), 3, 4),
            "status": of_status[str(student["status"])],
        }
        for row in tables["classes"]
        for student in tables["students"]
        if str(student["grade_id"]).removeprefix("grade-") == str(row["course_id"]).split("-")[2]
    ]


def sessions(fake: Faker, tables: dict[str, list[Row]]) -> list[Row]:
    """Make one session of every class of this year, in the week of 9 March, and count who was there."""
    mark = runpy.run_path(str(ATTENDANCE))["mark"]
    rows: list[Row] = []
    for lesson in (row for row in tables["classes"] if row["academic_year"] == 2026):
        day = DAYS[str(lesson["schedule_day"])]
        started = datetime.fromisoformat(f"{day}T{lesson['start_time']}:00{SANTIAGO}")
        started += timedelta(seconds=fake.random_int(20, 280))
        session_id = f"session-{str(lesson['id']).removeprefix('class-')}-{day[5:].replace('-', '')}"
        session: Row = {
            "id": session_id,
            "class_id": lesson["id"],
            "teacher_id": lesson["teacher_id"],
            "classroom_id": lesson["classroom_id"],
            "started_at": started.isoformat(),
        }
        marks = [
            mark(session, enrollment["student_id"])
            for enrollment in tables["class_enrollments"]
            if enrollment["class_id"] == lesson["id"] and enrollment["status"] == "active"
        ]
        here = sum(row["status"] in {"present", "late"} for row in marks)
        seen = sum(row["confidence"] is not None and row["status"] == "present" for row in marks)
        rows.append(
            session
            | {
                "expected_students": len(marks),
                "present_count": here,
                "absent_count": len(marks) - here,
                "photo_urls": [PHOTOGRAPHED[session_id]] if session_id in PHOTOGRAPHED else None,
                "aws_faces_detected": seen,
                "metadata": {"device": "tablet-sala", "app": "1.8.2"} if fake.random_int(0, 2) else None,
            }
        )
    return rows
