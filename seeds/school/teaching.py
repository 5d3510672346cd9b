"""What the drawn school does: sections, courses, classes, who is enrolled, one week of sessions."""

import runpy
from datetime import date, datetime, timedelta
from pathlib import Path

from faker import Faker

from school.people import Row
from school.roster import SECTIONS
from school.timetable import DAYS, LAST_YEAR, PERIODS, SUBJECTS, WEEK

ATTENDANCE = Path(__file__).parent.parent / "local" / "attendance.py"
SANTIAGO = "-03:00"  # summer time, until the first Saturday of April
# The sessions whose photograph was kept; of the others only the marks remain.
PHOTOGRAPHED = {
    "session-mat-7b-mon-0309": "classes/7-basico-a.jpg",
    "session-len-4b-mon-0309": "classes/4-basico-a.jpg",
    "session-mat-2m-tue-0310": "classes/2-medio-a.jpg",
}


def sections() -> list[Row]:
    """List a section A for every grade, one B, and the one that finished last year."""
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
    """Enrol every student in the classes of the own grade."""
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
    """Hold every class of this year once, in the week of 9 March, and count who came."""
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
