"""Generated rows as a layer: a recipe's rows, laid over the schema or over the rows of a profile."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from seedtool import extras
from seedtool.listener import SILENT, Listener
from seedtool.resetting.layers import Layer
from seedtool.values import version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from seedtool.generating.loading import LoadReport
    from seedtool.generating.recipe import Recipe
    from seedtool.postgres.server import Target
    from seedtool.resetting.transaction import OneTransaction


class Generated(Layer):
    """The rows of a recipe.

    Args:
        recipe: the recipe.
        folder: the project's.
        scale: how many times the numbers of the recipe are made.
        random_seed: another one makes other values.
        workers: how many processes of this machine work (see `Options`); they shape nothing.
        listener: hears how many rows are there.
    """

    step = "load"
    in_place = True

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        scale: float = 1.0,
        random_seed: str = "1",
        workers: int | None = None,
        listener: Listener = SILENT,
    ) -> None:
        self.recipe = recipe
        self._folder = folder
        self._scale = scale
        self._random_seed = random_seed
        self._workers = workers
        self._listener = listener

    @property
    def purpose(self) -> str:
        """The recipe, in words."""
        scale = "" if self._scale == 1 else f" at a scale of {self._scale:g}"
        return f"the recipe {self.recipe.name}{scale}"

    def fingerprint(self, server: Mapping[str, str]) -> str:  # noqa: ARG002 - the schema's has the server's facts
        """Return the hash of the recipe, scale, random seed and vocabulary, and of the files that the recipe names."""
        shaping = [
            self.recipe.hash,
            f"{self._scale:g}",
            self._random_seed,
            version.vocabulary(),
            *(hashlib.sha256(self._content(file)).hexdigest() for file in self.recipe.files),
        ]
        return hashlib.sha256("\n".join(shaping).encode()).hexdigest()

    def _content(self, file: str) -> bytes:
        path = self._folder / file
        return path.read_bytes() if path.is_file() else b""  # whoever reads it tells that it is missing

    def build(self, database: Target) -> Mapping[str, object]:
        """Load the rows.

        Raises:
            RecipeError: the recipe does not fit the schema.
            LoadInterrupted: a row or an index cannot be made.
        """
        extras.require("recipes")
        from seedtool.generating.loading import Options, load_apart

        options = Options(scale=self._scale, random_seed=self._random_seed, workers=self._workers, folder=self._folder)
        return _short(load_apart(database, self.recipe, options, self._listener))

    def build_in_place(self, connection: OneTransaction) -> Mapping[str, object]:
        """Load the rows within the transaction that builds the schema.

        Raises:
            RecipeError: the recipe does not fit the schema.
        """
        extras.require("recipes")
        from seedtool.generating.loading import Options, load_within

        connection.lower_fence()
        options = Options(scale=self._scale, random_seed=self._random_seed, folder=self._folder)
        return _short(load_within(connection, self.recipe, options, self._listener))


def _short(report: LoadReport) -> Mapping[str, object]:
    """Return what is remembered with the template."""
    tables = {each.table: [each.rows, each.checksum] for each in report.tables}
    return {"recipe": report.recipe, "scale": report.scale, "rows": report.rows, "tables": tables}


class LoadedRows(msgspec.Struct, frozen=True, kw_only=True):
    """The generated rows that came with a reset.

    Args:
        recipe: the recipe's name.
        scale: how many times the numbers of the recipe are there.
        rows: how many rows they are.
        tables: the rows of each table, and their checksum.
    """

    recipe: str
    scale: float
    rows: int
    tables: dict[str, tuple[int, str]]


def loaded_rows(result: Mapping[str, object]) -> LoadedRows:
    """Return what `Generated.build` returned, as a report."""
    return msgspec.convert(result, LoadedRows)
