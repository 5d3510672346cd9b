"""The school: the tables of the face attendance application (revisions 0000 to 0003). Ids are text that people read."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, CreatedAt, Key, Small, one_of

#: Rekognition's alphabet for ExternalImageId (source: the service model).
EXTERNAL_IMAGE_ID = "external_image_id ~ '^[a-zA-Z0-9_.:-]+$' AND length(external_image_id) <= 255"


class Stage(Base):
    """A stage of schooling: Parvularia, Básica, Media."""

    __tablename__ = "stages"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    order: Mapped[int]
    description: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class Grade(Base):
    """A grade of a stage: Prekínder to 4° Medio."""

    __tablename__ = "grades"
    __table_args__ = (Index(None, "stage_id"),)

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str]
    stage_id: Mapped[str] = mapped_column(ForeignKey("stages.id"))
    order: Mapped[int]
    created_at: Mapped[CreatedAt]


class LegalGuardian(Base):
    """Who answers for a student."""

    __tablename__ = "legal_guardians"

    id: Mapped[Key]
    first_name: Mapped[str]
    middle_name: Mapped[str | None]
    last_name: Mapped[str]
    second_last_name: Mapped[str | None]
    identification_number: Mapped[str] = mapped_column(unique=True)
    phone: Mapped[str]
    email: Mapped[str]
    preferred_language: Mapped[str] = mapped_column(server_default="es")
    relation: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class Student(Base):
    """A student; `aws_collection_id` names the collection that holds the student's faces."""

    __tablename__ = "students"
    __table_args__ = (
        one_of("status", "active", "inactive", "graduated"),
        Index(None, "grade_id"),
        Index(None, "guardian_id"),
        Index(None, "grade_section_id"),
    )

    id: Mapped[Key]
    first_name: Mapped[str]
    middle_name: Mapped[str | None]
    last_name: Mapped[str]
    second_last_name: Mapped[str | None]
    identification_number: Mapped[str] = mapped_column(unique=True)
    grade_id: Mapped[str | None] = mapped_column(ForeignKey("grades.id"))
    guardian_id: Mapped[str] = mapped_column(ForeignKey("legal_guardians.id"))
    enrollment_date: Mapped[date]
    academic_year: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="active")
    aws_collection_id: Mapped[str] = mapped_column(server_default="eduguard-school-default")
    # `metadata` is the declarative base's own name
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    created_at: Mapped[CreatedAt]
    grade_section_id: Mapped[str | None] = mapped_column(ForeignKey("grade_sections.id"))


class StudentFace(Base):
    """A face of a student in the collection; `external_image_id` outlives every reset of the database."""

    __tablename__ = "student_faces"
    __table_args__ = (
        CheckConstraint("quality_score BETWEEN 0 AND 100", name="quality_score"),
        CheckConstraint(EXTERNAL_IMAGE_ID, name="external_image_id"),
        Index(None, "student_id"),
    )

    id: Mapped[Key]
    student_id: Mapped[str] = mapped_column(ForeignKey("students.id", ondelete="CASCADE"))
    face_id: Mapped[str]
    photo_url: Mapped[str | None]
    indexed_at: Mapped[datetime] = mapped_column(server_default=func.now())
    quality_score: Mapped[float | None]
    created_at: Mapped[CreatedAt]
    # nullable, so that writers from before revision 0003 keep working
    external_image_id: Mapped[str | None] = mapped_column(unique=True)


class Teacher(Base):
    """A teacher."""

    __tablename__ = "teachers"
    __table_args__ = (one_of("status", "active", "inactive"),)

    id: Mapped[Key]
    first_name: Mapped[str]
    middle_name: Mapped[str | None]
    last_name: Mapped[str]
    second_last_name: Mapped[str | None]
    email: Mapped[str] = mapped_column(unique=True)
    phone: Mapped[str | None]
    subjects: Mapped[list[str] | None]
    department: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[CreatedAt]


class Classroom(Base):
    """A room of the school."""

    __tablename__ = "classrooms"
    __table_args__ = (
        CheckConstraint("capacity > 0", name="capacity"),
        one_of("room_type", "classroom", "lab", "library", "gym", "auditorium"),
    )

    id: Mapped[Key]
    name: Mapped[str]
    building: Mapped[str | None]
    floor: Mapped[Small | None]
    capacity: Mapped[int | None]
    room_type: Mapped[str] = mapped_column(server_default="classroom")
    facilities: Mapped[list[str] | None]
    created_at: Mapped[CreatedAt]


class Course(Base):
    """A course of study, such as mathematics in 7° Básico."""

    __tablename__ = "courses"
    __table_args__ = (CheckConstraint("credits >= 0", name="credits"), one_of("status", "active", "inactive"))

    id: Mapped[Key]
    course_code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    subject: Mapped[str]
    grade_level: Mapped[str | None]
    credits: Mapped[Decimal | None]
    description: Mapped[str | None]
    department: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[CreatedAt]


class Class(Base):
    """A course held for a section by a teacher, in a room, on a day and period of the week."""

    __tablename__ = "classes"
    __table_args__ = (
        CheckConstraint("period BETWEEN 1 AND 8", name="period"),
        one_of("schedule_day", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        CheckConstraint("end_time > start_time", name="end_time"),
        CheckConstraint("semester IN (1, 2)", name="semester"),
        CheckConstraint("max_students > 0", name="max_students"),
        one_of("status", "active", "inactive"),
        Index(None, "course_id"),
        Index(None, "teacher_id"),
        Index(None, "classroom_id"),
    )

    id: Mapped[Key]
    course_id: Mapped[str] = mapped_column(ForeignKey("courses.id"))
    section: Mapped[str]
    teacher_id: Mapped[str] = mapped_column(ForeignKey("teachers.id"))
    classroom_id: Mapped[str] = mapped_column(ForeignKey("classrooms.id"))
    period: Mapped[Small]
    schedule_day: Mapped[str]
    start_time: Mapped[time | None]
    end_time: Mapped[time | None]
    academic_year: Mapped[int | None]
    semester: Mapped[Small | None]
    max_students: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[CreatedAt]


class ClassEnrollment(Base):
    """A student in a class."""

    __tablename__ = "class_enrollments"
    __table_args__ = (
        one_of("status", "active", "dropped", "completed"),
        UniqueConstraint("class_id", "student_id"),
        Index(None, "student_id"),
    )

    id: Mapped[Key]
    class_id: Mapped[str] = mapped_column(ForeignKey("classes.id"))
    student_id: Mapped[str] = mapped_column(ForeignKey("students.id"))
    enrolled_date: Mapped[date | None]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[CreatedAt]


class Session(Base):
    """One lesson of a class, with the photos from which attendance was taken."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("expected_students >= 0", name="expected_students"),
        CheckConstraint("present_count >= 0", name="present_count"),
        CheckConstraint("absent_count >= 0", name="absent_count"),
        CheckConstraint("aws_faces_detected >= 0", name="aws_faces_detected"),
        Index(None, "teacher_id"),
        Index(None, "classroom_id"),
        Index(None, "class_id", "started_at"),
    )

    id: Mapped[Key]
    class_id: Mapped[str] = mapped_column(ForeignKey("classes.id"))
    teacher_id: Mapped[str] = mapped_column(ForeignKey("teachers.id"))
    classroom_id: Mapped[str] = mapped_column(ForeignKey("classrooms.id"))
    started_at: Mapped[datetime]
    expected_students: Mapped[int | None]
    present_count: Mapped[int | None]
    absent_count: Mapped[int | None]
    photo_urls: Mapped[list[Any] | None]
    aws_faces_detected: Mapped[int | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    created_at: Mapped[CreatedAt]


class Attendance(Base):
    """Whether a student was in a session; `face_id` is the FaceId seen, `marked_by` is `auto` or a teacher."""

    __tablename__ = "attendance"
    __table_args__ = (
        one_of("status", "present", "absent", "excused", "late"),
        CheckConstraint("confidence BETWEEN 0 AND 100", name="confidence"),
        UniqueConstraint("session_id", "student_id"),
        Index(None, "class_id"),
        Index(None, "classroom_id"),
        Index(None, "student_id", "session_id"),
        # for the most frequent query: who was missing
        Index("ix_attendance_missing", "student_id", "session_id", postgresql_where=text("status <> 'present'")),
    )

    id: Mapped[Key]
    student_id: Mapped[str] = mapped_column(ForeignKey("students.id"))
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    class_id: Mapped[str] = mapped_column(ForeignKey("classes.id"))
    classroom_id: Mapped[str | None] = mapped_column(ForeignKey("classrooms.id"))
    status: Mapped[str]
    confidence: Mapped[float | None]
    face_id: Mapped[str | None]
    marked_at: Mapped[datetime | None]
    marked_by: Mapped[str | None]
    corrected: Mapped[bool] = mapped_column(server_default=false())
    corrected_at: Mapped[datetime | None]
    corrected_by: Mapped[str | None]
    notes: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class GradeSection(Base):
    """A section of a grade in a year, such as 4° Básico A."""

    __tablename__ = "grade_sections"
    __table_args__ = (
        CheckConstraint("max_students > 0", name="max_students"),
        one_of("status", "active", "inactive"),
        UniqueConstraint("grade_id", "label", "academic_year"),
        Index(None, "homeroom_teacher_id"),
    )

    id: Mapped[Key]
    grade_id: Mapped[str] = mapped_column(ForeignKey("grades.id"))
    label: Mapped[str]
    display_name: Mapped[str]
    academic_year: Mapped[int]
    homeroom_teacher_id: Mapped[str | None] = mapped_column(ForeignKey("teachers.id"))
    max_students: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[CreatedAt]
