"""What the emulator remembers, and how it finds faces that are alike."""

from seedtool.emulator.state.gallery import Gallery
from seedtool.emulator.state.records import Collection, NewFace
from seedtool.emulator.state.store import CollectionFullError, CollectionGoneError, Store

__all__ = ["Collection", "CollectionFullError", "CollectionGoneError", "Gallery", "NewFace", "Store"]
