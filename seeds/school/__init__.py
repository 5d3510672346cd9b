"""The rows of the invented school: its people, and what they teach and learn."""
