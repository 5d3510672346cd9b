"""A project's columns may be called what they will, also by the words that the statements of a seed use themselves."""

import re
from pathlib import Path

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql

import seedtool.seeding
from seedtool.errors import FixtureError
from seedtool.seeding.dump import dump
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed
from seedtool.settings import FaceBinding

SOURCE = "\n".join(path.read_text() for path in Path(seedtool.seeding.__file__).parent.glob("*.py"))
#: every word that stands in a text of the code: keywords, aliases, names of temporary tables and of their columns
WORDS = sorted(
    {word for text in re.findall(r'"([^"\n]*)"', SOURCE) for word in re.findall(r"[a-z_][a-z_0-9]{0,40}", text.lower())}
    | {f"{prefix}{n}" for prefix in ("k", "seedtool_part", "seedtool_key_", "seedtool1_key_") for n in range(2)}
    | {
        f"seedtool{n}_{word}"
        for n in ("", 1, 2)
        for word in ["batch", "line", "placeholder", "order", "new", "changed", "round"]
    }
    | {"Key", "SELECT", 'a"b', "a b", "a;b", "%s", "{}", "{0}", "ñ", "Table"}
)
WORDS = [word for word in WORDS if word not in {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}]  # PostgreSQL's own
words = st.lists(st.sampled_from(WORDS), min_size=5, max_size=5, unique=True)


def test_the_words_of_the_statements_are_among_them():
    assert {"k0", "seedtool_batch", "i", "t", "seedtool_before", "content", "relation", "key"} <= set(WORDS)


@settings(max_examples=15)
@given(words)
@example(["k0", "k1", "before", "shared", "image"])
@example(["seedtool_key_0", "seedtool_key_1", "seedtool_order", "seedtool_batch", "seedtool_line"])
@example(["seedtool_before", "seedtool_new", "seedtool_changed", "seedtool_round", "seedtool_placeholder"])
@example(["seedtool_batch", "seedtool1_batch", "seedtool2_batch", "seedtool_image", "seedtool_shared"])
@example(["i", "t", "s", "h", "n"])
@example(["key", "relation", "content", "seed_set", "name"])
@example(["count", "max", "row_number", "lag", "concat_ws"])
def test_columns_that_carry_our_words_are_seeded_checked_and_pruned(connection: psycopg.Connection, tmp_path, names):
    key, unique, parent, face, image = map(sql.Identifier, names)
    with connection.transaction():
        connection.execute("DROP SCHEMA IF EXISTS seedtool CASCADE")
        connection.execute(
            sql.SQL(
                "DROP TABLE IF EXISTS words; CREATE TABLE words ({key} int PRIMARY KEY, {unique} text UNIQUE,"
                " {parent} int REFERENCES words, {face} text NOT NULL UNIQUE, {image} text,"
                " CHECK ({unique} <> 'never'), UNIQUE NULLS NOT DISTINCT ({key}, {unique}))"
            ).format(key=key, unique=unique, parent=parent, face=face, image=image)
        )
    folder = tmp_path / "local"
    folder.mkdir(exist_ok=True)
    binding = FaceBinding(table="words", face_id=names[3], external_image_id=names[4], key=(names[0],))
    columns = sql.SQL(", ").join((key, unique, parent, face))

    def seeded(*rows: tuple[object, ...]) -> tuple[int, int, int, int]:
        header = [names[0], names[1], names[2], names[4]]
        cells = [header, *([str(cell) if cell is not None else "" for cell in row] for row in rows)]
        quoted = [['"{}"'.format(cell.replace('"', '""')) if cell else "" for cell in row] for row in cells]
        (folder / "words.csv").write_text("".join(",".join(row) + "\n" for row in quoted))
        report = seed(connection, read_fixtures(tmp_path, ["local"], tmp_path), bindings=[binding])
        (table,) = report.tables
        return table.inserted, table.updated, table.unchanged, table.deleted

    def there() -> list[tuple]:
        with connection.transaction():
            return connection.execute(sql.SQL("SELECT {} FROM words ORDER BY 1").format(columns)).fetchall()

    assert seeded((1, "a", None, "x"), (2, "b", 1, "x"), (3, None, 2, "y")) == (3, 0, 0, 0)
    # a value moves on from row to row, an image changes, and a line leaves
    assert seeded((1, "b", None, "x"), (2, "c", 1, "z")) == (0, 2, 0, 1)
    assert there() == [(1, "b", None, "placeholder:x:1"), (2, "c", 1, "placeholder:z")]
    assert seeded((1, "b", None, "x"), (2, "c", 1, "z")) == (0, 0, 2, 0)
    for wrong, line in [((3, "b", 1, "y"), 2), ((3, "d", 9, "y"), 4), ((3, "never", 1, "y"), 4), ((2, "e", 1, "y"), 4)]:
        with pytest.raises(FixtureError) as caught:
            seeded((1, "b", None, "x"), (2, "c", 1, "z"), wrong)
        assert caught.value.line in {line, 4}
    before = there()
    dump(connection, ["words"], tmp_path, "local", root=tmp_path, bindings=[binding])
    seed(connection, read_fixtures(tmp_path, ["local"], tmp_path), bindings=[binding])
    assert there() == before
