"""How a database is replaced: layers, templates, clones, spares, the swap and the guard. Begin with `reset.py`."""
