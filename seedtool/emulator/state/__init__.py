"""What the emulator remembers, and how it finds faces that are alike."""

from seedtool.emulator.state.gallery import Gallery
from seedtool.emulator.state.store import Collection, CollectionGoneError, NewFace, Store

__all__ = ["Collection", "CollectionGoneError", "Gallery", "NewFace", "Store"]
