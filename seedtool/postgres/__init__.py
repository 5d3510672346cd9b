"""A PostgreSQL server and its databases: connecting, the embedded server, facts, locks, the catalog, COPY."""
