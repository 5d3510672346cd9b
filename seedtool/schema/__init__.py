"""The layer that Alembic builds: its fingerprint, and Alembic run in this process."""
