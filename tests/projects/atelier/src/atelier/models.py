"""The tables."""

import sqlalchemy as sa

metadata = sa.MetaData(schema="atelier")
sa.Table("works", metadata, sa.Column("id", sa.Integer, primary_key=True))
