"""What stands behind people: backdrops of portraits, rooms of the school, places of the library."""
