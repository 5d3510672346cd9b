"""The drawn school: its plan (roster, timetable) and the rows made of it (people, teaching)."""
