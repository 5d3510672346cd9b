"""What is taught at the drawn school, by whom, where and when: the tables ``make_school.py`` reads."""

# Bell times of the eight periods: the same every day.
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

# First name is drawn by faker for f(emale) and m(ale); subjects, department, status.
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

# Last year's class: it is over, its students finished it.
LAST_YEAR = ("4m", "len", 2, "room-202", "tuesday", 5)
