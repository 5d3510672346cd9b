"""The revisions of the reference schema; `migrations.models` is Alembic's target."""
