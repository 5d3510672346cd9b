"""Face bindings, looked up in the catalog: which table and columns hold the ids, and in which collection faces are."""

from seedtool.faces.bindings.bound import Bound
from seedtool.faces.bindings.catalog import resolve
from seedtool.faces.bindings.choice import bind, chosen, collections_of, first, the_collection, used
from seedtool.faces.bindings.errors import database_errors
from seedtool.faces.bindings.places import Place, key_name
from seedtool.faces.bindings.references import Reference, references

__all__ = [
    "Bound",
    "Place",
    "Reference",
    "bind",
    "chosen",
    "collections_of",
    "database_errors",
    "first",
    "key_name",
    "references",
    "resolve",
    "the_collection",
    "used",
]
