import json
import re
from datetime import date, datetime, time, timedelta

import pytest

REFERENCES = [
    ("grades", "stage_id", "stages"),
    ("grade_sections", "grade_id", "grades"),
    ("grade_sections", "homeroom_teacher_id", "teachers"),
    ("students", "grade_id", "grades"),
    ("students", "grade_section_id", "grade_sections"),
    ("students", "guardian_id", "legal_guardians"),
    ("student_faces", "student_id", "students"),
    ("classes", "course_id", "courses"),
    ("classes", "teacher_id", "teachers"),
    ("classes", "classroom_id", "classrooms"),
    ("class_enrollments", "class_id", "classes"),
    ("class_enrollments", "student_id", "students"),
    ("sessions", "class_id", "classes"),
    ("sessions", "teacher_id", "teachers"),
    ("sessions", "classroom_id", "classrooms"),
    ("attendance", "student_id", "students"),
    ("attendance", "session_id", "sessions"),
    ("attendance", "class_id", "classes"),
    ("attendance", "classroom_id", "classrooms"),
    ("attendance", "corrected_by", "teachers"),
]
UNIQUE = [
    ("stages", ("name",)),
    ("grades", ("name",)),
    ("legal_guardians", ("identification_number",)),
    ("legal_guardians", ("email",)),
    ("students", ("identification_number",)),
    ("student_faces", ("external_image_id",)),
    ("student_faces", ("photo_url",)),
    ("teachers", ("email",)),
    ("courses", ("course_code",)),
    ("grade_sections", ("grade_id", "label", "academic_year")),
    ("class_enrollments", ("class_id", "student_id")),
    ("attendance", ("session_id", "student_id")),
]
ALLOWED = [
    ("students", "status", {"active", "inactive", "graduated"}),
    ("teachers", "status", {"active", "inactive"}),
    ("classrooms", "room_type", {"classroom", "lab", "library", "gym", "auditorium"}),
    ("class_enrollments", "status", {"active", "dropped", "completed"}),
    ("attendance", "status", {"present", "absent", "excused", "late"}),
]
# Age at which a child enters the grade, completed by 31 March.
ENTRY = {"grade-kinder": 5, "grade-4b": 9, "grade-7b": 12, "grade-2m": 15, "grade-4m": 17}


def by_id(rows):
    return {row["id"]: row for row in rows}


def test_every_table_of_the_school_has_rows(school):
    assert set(school) == {table for table, _, _ in REFERENCES} | {parent for _, _, parent in REFERENCES}
    assert all(school.values())
    assert len(school["stages"]) == 3
    assert len(school["grades"]) == 14
    assert len(school["students"]) >= 24


def test_ids_are_unique_and_readable(school):
    for table, rows in school.items():
        ids = [row["id"] for row in rows]
        assert len(set(ids)) == len(ids), table
        assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in ids), table


@pytest.mark.parametrize(("table", "column", "parent"), REFERENCES)
def test_references_resolve(school, table, column, parent):
    known = by_id(school[parent])
    assert {row[column] for row in school[table]} - {None} <= set(known)


@pytest.mark.parametrize(("table", "columns"), UNIQUE)
def test_unique_constraints_hold(school, table, columns):
    keys = [tuple(row[column] for column in columns) for row in school[table]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("table", "column", "values"), ALLOWED)
def test_values_are_legal(school, table, column, values):
    assert {row[column] for row in school[table]} <= values


def test_ruts_end_in_their_check_digit_and_some_in_k(school):
    ruts = [row["identification_number"] for table in ("students", "legal_guardians") for row in school[table]]
    assert len(set(ruts)) == len(ruts)
    assert sum(rut.endswith("-K") for rut in ruts) >= 2
    for rut in ruts:
        number, digit = rut.split("-")
        # The other way round than the generator: with the digit's value added, the sum divides by eleven.
        value = 10 if digit == "K" else int(digit)
        weights = [2, 3, 4, 5, 6, 7, 2, 3, 4]
        total = sum(int(n) * w for n, w in zip(reversed(number), weights, strict=False)) + value
        assert total % 11 == 0, rut


def test_nobody_can_be_reached(school):
    for table in ("teachers", "legal_guardians"):
        for row in school[table]:
            assert row["email"].endswith(".example")
            assert row["phone"] is None or re.fullmatch(r"\+56 9 0\d{3} \d{4}", row["phone"])
    assert all(int(row["identification_number"][:-2]) > 40_000_000 for row in school["students"])


def test_names_are_chilean(school):
    names = [" ".join(filter(None, (row["first_name"], row["last_name"]))) for row in school["students"]]
    assert sum(not name.isascii() for name in names) >= 10
    assert sum(row["second_last_name"] is not None for row in school["students"]) >= 24
    assert any(row["second_last_name"] is None for row in school["students"])


def test_siblings_share_surnames_and_guardian(school):
    families = {}
    for row in school["students"]:
        families.setdefault(row["guardian_id"], []).append((row["last_name"], row["second_last_name"]))
    assert all(len(set(surnames)) == 1 for surnames in families.values())
    assert sum(len(surnames) > 1 for surnames in families.values()) >= 5
    assert set(families) == set(by_id(school["legal_guardians"]))
    for row in school["legal_guardians"]:
        assert row["last_name"] in families[row["id"]][0]


def test_ages_fit_grades(school):
    for row in school["students"]:
        born = date.fromisoformat(json.loads(row["metadata"])["fecha_nacimiento"])
        year = int(row["academic_year"])
        on = date(year, 3, 31)
        age = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
        assert age == ENTRY[row["grade_id"]], row["id"]
        assert born < date.fromisoformat(row["enrollment_date"]) <= date(year, 3, 31)


def test_students_sit_in_a_section_of_their_grade_and_year(school):
    sections = by_id(school["grade_sections"])
    for row in school["students"]:
        section = sections[row["grade_section_id"]]
        assert section["grade_id"] == row["grade_id"]
        assert section["academic_year"] == row["academic_year"]


def test_faces_are_named_after_the_student_and_carry_no_face_id(school, seeds):
    faces = school["student_faces"]
    assert "face_id" not in faces[0]
    for row in faces:
        student, number = row["student_id"], row["id"].rsplit("-", 1)[1]
        assert row["external_image_id"] == f"{student}-photo-{number}"
        assert (seeds / "photos" / row["photo_url"]).is_file()
    assert len(faces) == 2 * len(school["students"])


def test_nobody_is_in_two_places_at_once(school):
    grades = {row["id"]: row["grade_level"] for row in school["courses"]}
    for who in ("teacher_id", "classroom_id", "course_id"):
        busy = [
            (
                grades[row["course_id"]] if who == "course_id" else row[who],
                row["academic_year"],
                row["schedule_day"],
                row["period"],
            )
            for row in school["classes"]
        ]
        assert len(set(busy)) == len(busy), who


def test_classes_keep_the_bells_and_fit_the_room(school):
    rooms = by_id(school["classrooms"])
    bells = {}
    for row in school["classes"]:
        assert 1 <= int(row["period"]) <= 8
        assert bells.setdefault(row["period"], (row["start_time"], row["end_time"])) == (
            row["start_time"],
            row["end_time"],
        )
        enrolled = [e for e in school["class_enrollments"] if e["class_id"] == row["id"]]
        assert len(enrolled) <= int(row["max_students"]) <= int(rooms[row["classroom_id"]]["capacity"])
        if row["status"] == "active":
            assert len(enrolled) >= 5


def test_sessions_lie_within_their_class(school):
    classes = by_id(school["classes"])
    for row in school["sessions"]:
        lesson = classes[row["class_id"]]
        started = datetime.fromisoformat(row["started_at"])
        assert started.utcoffset() == timedelta(hours=-3)
        assert date(2026, 3, 9) <= started.date() <= date(2026, 3, 13)
        assert f"{started:%A}".lower() == lesson["schedule_day"]
        assert time.fromisoformat(lesson["start_time"]) <= started.time() < time.fromisoformat(lesson["end_time"])
        assert (row["teacher_id"], row["classroom_id"]) == (lesson["teacher_id"], lesson["classroom_id"])


def test_photos_of_sessions_exist(school, seeds):
    photos = [photo for row in school["sessions"] for photo in json.loads(row["photo_urls"] or "[]")]
    assert len(photos) >= 3
    assert all((seeds / "photos" / photo).is_file() for photo in photos)


def test_attendance_tells_the_same_as_the_counts_of_the_session(school):
    for session in school["sessions"]:
        marks = [row for row in school["attendance"] if row["session_id"] == session["id"]]
        here = sum(row["status"] in {"present", "late"} for row in marks)
        assert len(marks) == int(session["expected_students"])
        assert here == int(session["present_count"])
        assert len(marks) - here == int(session["absent_count"])
        assert int(session["aws_faces_detected"]) <= here


def test_attendance_is_marked_during_the_class_by_camera_or_teacher(school):
    classes, sessions = by_id(school["classes"]), by_id(school["sessions"])
    enrolled = {
        (row["class_id"], row["student_id"]) for row in school["class_enrollments"] if row["status"] == "active"
    }
    for row in school["attendance"]:
        session = sessions[row["session_id"]]
        start, end = datetime.fromisoformat(session["started_at"]), classes[row["class_id"]]["end_time"]
        assert (row["class_id"], row["student_id"]) in enrolled
        assert row["class_id"] == session["class_id"]
        assert start <= row["marked_at"]
        assert row["marked_at"].time() <= time.fromisoformat(end)
        assert row["marked_by"] in {"auto", session["teacher_id"]}
        if row["confidence"] is not None:
            assert 95 <= row["confidence"] <= 100
            assert row["marked_by"] == "auto"
        assert (row["corrected_at"] is not None) == row["corrected"] == (row["corrected_by"] is not None)
        if row["corrected"]:
            assert row["marked_at"] < row["corrected_at"]


def test_every_way_to_attend_occurs(school):
    assert {row["status"] for row in school["attendance"]} == {"present", "absent", "late", "excused"}
    assert any(row["corrected"] for row in school["attendance"])
    present = sum(row["status"] in {"present", "late"} for row in school["attendance"])
    assert 0.8 < present / len(school["attendance"]) < 0.98
