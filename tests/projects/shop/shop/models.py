"""The tables."""

import sqlalchemy as sa

metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s", "fk": "fk_%(table_name)s_%(column_0_name)s"})
goods = sa.Table("goods", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("price", sa.Numeric(9, 2)))
sa.Table("sales", metadata, sa.Column("good_id", sa.ForeignKey("goods.id"), primary_key=True))
