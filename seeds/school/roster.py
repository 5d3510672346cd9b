"""Who goes to the drawn school: the tables that ``make_school.py`` builds the people from.

Everyone here is invented. Given names of the children are written down, because a child of 2026 is not
called what faker's grown-ups are called; everything else is drawn from faker's Chilean names.
"""

from typing import NamedTuple


class Section(NamedTuple):
    """A section that has students.

    Attributes:
        key: The end of its ids: ``7b`` in ``grade-7b``.
        label: What follows "Colegio" on a door: ``7° Básico``.
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

# Family, first name, middle name, section. The order gives the ids: student-001 is the first line.
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

# Families whose surnames faker's most frequent ones would never give; the rest are drawn.
SURNAMES: dict[str, tuple[str, str | None]] = {
    "c": ("Huenchullán", "Catrileo"),
    "g": ("Jean-Baptiste", None),
    "m": ("Paillalef", "Núñez"),
    "s": ("Uzcátegui", "Peña"),
    "x": ("D'Amico", "Ibáñez"),
    "h": ("Ñancupil", "Goñi"),
}

# Who answers for the family, where it is not the mother.
RELATIONS = {"b": "padre", "f": "padre", "j": "abuela", "n": "padre", "s": "padre", "t": "abuela", "w": "tía"}
LANGUAGES = {"g": "ht"}
MOVED_AWAY = ("Josefa",)

# What the application keeps in students.metadata besides the date of birth.
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
