"""Refreshing: the layer of a masked copy of another database, and the proof that nothing personal came through."""
