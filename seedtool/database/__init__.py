"""The target database: reset it, guard it, read its catalog, copy rows in and out."""
