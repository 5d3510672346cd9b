"""The list of photos that were indexed before the database came to be."""

import pytest

from seedtool.errors import FixtureError
from seedtool.seeding.indexed import IndexedPhoto, read_indexed

HEADER = "collection,external_image_id,photo\n"


@pytest.fixture
def read(tmp_path):
    photos = tmp_path / "seeds" / "photos"
    (photos / "elena").mkdir(parents=True)
    (photos / "elena" / "a.jpg").write_bytes(b"a picture")
    (tmp_path / "seeds" / "secret.jpg").write_bytes(b"another")
    path = photos / "indexed.csv"

    def from_text(text):
        path.write_text(text, encoding="utf-8")
        return read_indexed(path, tmp_path)

    return from_text


def test_columns_may_stand_in_any_order(read, tmp_path):
    wanted = IndexedPhoto("mine", "id-1", tmp_path / "seeds" / "photos" / "elena" / "a.jpg")
    assert read(HEADER + "mine,id-1,elena/a.jpg\n") == (wanted,)
    assert read("photo,collection,external_image_id\nelena/a.jpg,mine,id-1\n") == (wanted,)
    assert read(HEADER) == ()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("collection,photo\n", ":1", "the header"),
        (HEADER + "mine,id-1,elena/b.jpg\n", ":2, column photo", "there is no photo elena/b.jpg in seeds/photos"),
        (HEADER + "mine,id-1,elena\n", ":2, column photo", "there is no photo elena in seeds/photos"),
        (HEADER + "mine,id-1,../secret.jpg\n", ":2, column photo", "there is no photo ../secret.jpg"),
        (HEADER + "mine,,elena/a.jpg\n", ":2, column external_image_id", "the cell is empty"),
        (HEADER + "my faces,id-1,elena/a.jpg\n", ":2, column collection", "'my faces' cannot be a collection's id"),
        (HEADER + "mine,id-1\n", ":2, column photo", "the row has 2 cells and the header 3"),
    ],
)
def test_a_wrong_line_is_named_with_its_cure(read, text, place, message):
    with pytest.raises(FixtureError) as caught:
        read(text)
    assert caught.value.message.startswith(f"seeds/photos/indexed.csv{place}: {message}")
    assert caught.value.remedy


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(FixtureError, match="cannot be read: No such file") as caught:
        read_indexed(tmp_path / "seeds" / "none.csv", tmp_path)
    assert "profiles.toml" in caught.value.remedy
