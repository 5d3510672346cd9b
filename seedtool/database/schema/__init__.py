"""The schema as Alembic's revisions make it: run in this process, and told apart by a fingerprint."""
