"""Seed profiles: fixtures read, checked, merged into the database, and dumped back."""
