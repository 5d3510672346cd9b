"""The list of photos that were indexed before the database came to be."""

import errno
import os

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
    ("text", "line", "column"),
    [
        ("collection,photo\n", 1, None),
        (HEADER + "mine,id-1,elena/b.jpg\n", 2, "photo"),
        (HEADER + "mine,id-1,elena\n", 2, "photo"),
        (HEADER + "mine,id-1,../secret.jpg\n", 2, "photo"),
        (HEADER + "mine,,elena/a.jpg\n", 2, "external_image_id"),
        (HEADER + "my faces,id-1,elena/a.jpg\n", 2, "collection"),
        (HEADER + "mine,id-1\n", 2, "photo"),
    ],
)
def test_a_wrong_line_is_named_with_its_cure(read, text, line, column, approved):
    with pytest.raises(FixtureError) as caught:
        read(text)
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/photos/indexed.csv", line, column)
    assert caught.value.message.startswith(f"seeds/photos/indexed.csv:{line}")
    assert caught.value.remedy
    approved(caught.value)


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(FixtureError) as caught:
        read_indexed(tmp_path / "seeds" / "none.csv", tmp_path)
    assert caught.value.place == {"file": "seeds/none.csv"}
    assert os.strerror(errno.ENOENT) in caught.value.message
    assert "profiles.toml" in caught.value.remedy
