"""A small school that recipes fill, and a folder with the recipe."""

import os
import signal
import textwrap
import time
from pathlib import Path

import psycopg

from seedtool.generating.loading import LoadReport
from seedtool.generating.unload import UnloadedTable
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.settings import Settings
from seedtool.slices.ledger import Slice
from seedtool.slices.running import Done
from seedtool.workflows import load as workflow

SCHEMA = """
CREATE TABLE families (id text PRIMARY KEY, name text NOT NULL, made timestamptz NOT NULL DEFAULT now());
CREATE TABLE pupils (id text PRIMARY KEY, family_id text NOT NULL REFERENCES families, status text NOT NULL, note text);
CREATE INDEX pupils_of_family ON pupils (family_id);
COMMENT ON INDEX pupils_of_family IS 'who is whose';
CREATE TABLE photos (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pupil_id text NOT NULL REFERENCES pupils ON DELETE CASCADE DEFERRABLE,
    url text,
    CONSTRAINT once UNIQUE (url)
);
COMMENT ON CONSTRAINT once ON photos IS 'each photo once';
"""

RECIPE = """
[rows]
families = 30
pupils = "1..3 per families"
photos = { per = "pupils", weights = { 0 = 1, 2 = 1 } }

[tables.families]
id = "family-{n:04}"
name = { kind = "last_name", locale = "es_CL" }

[tables.pupils]
id = "pupil-{n:04}"
status = { kind = "choice", values = ["active", "inactive"], weights = [9, 1] }

[tables.photos]
url = "pupils/{pupil_id}/{k}.jpg"
"""


class School:
    """A project with one recipe, and its database."""

    def __init__(self, settings: Settings, target: Target) -> None:
        self.settings = settings
        self.target = target

    def write(self, recipe: str, name: str = "district") -> None:
        path = self.settings.seeds / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(recipe))

    def load(self, recipe: str = "district", **options: object) -> LoadReport:
        options = {"confirm": self.target.name, "settings": self.settings, "target": self.target, **options}
        return workflow.load(recipe, **options)

    def unload(self, recipe: str = "district", **options: object) -> dict[str, UnloadedTable]:
        options = {"confirm": self.target.name, "settings": self.settings, "target": self.target, **options}
        return {each.table: each for each in workflow.unload(recipe, **options).tables}

    def connect(self) -> psycopg.Connection:
        return server.connect(self.target)

    def execute(self, statement: str) -> None:
        with server.connect(self.target) as connection:
            connection.execute(statement.encode())

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with server.connect(self.target) as connection:
            return connection.execute(statement.encode()).fetchall()

    def value(self, statement: str) -> object:
        ((found,),) = self.query(statement)
        return found

    def checksum(self, table: str, where: str = "true") -> object:
        return self.value(f"SELECT sum(hashtextextended((to_jsonb(t) - 'made')::text, 0)) FROM {table} t WHERE {where}")

    def structure(self) -> list[object]:
        """All indexes and constraints, with their comments."""
        return [
            self.query(
                "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), obj_description(indexrelid, 'pg_class')"
                " FROM pg_index WHERE indrelid::regclass::text !~ '^(pg_|seedtool\\.)' ORDER BY 1"
            ),
            self.query(
                "SELECT conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')"
                " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
            ),
        ]


class Poison:
    """Work that kills its worker with one slice, as a slice that needs more memory than there is would."""

    def __init__(self, first: int, folder: str) -> None:
        self._first = first
        self._folder = folder

    def __call__(self, slice_: Slice) -> Done:
        if slice_.first == self._first:
            with (Path(self._folder) / f"{time.time_ns()}").open("w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return Done(slice=slice_, rows=1, size=1, checksum="1", cpu=0.0)
