"""The folder of photos: whole files or none, and nothing outside the folder."""

import os
import time

import pytest

from seedtool.errors import PhotoError
from seedtool.faces.photos import FolderStore


@pytest.fixture
def photos(tmp_path):
    return FolderStore(tmp_path / "photos")


def test_a_photo_is_kept_found_listed_replaced_and_removed(photos):
    assert photos.get("students/a/photo-1.jpg") is None
    assert list(photos.keys()) == []
    photos.put("students/a/photo-1.jpg", b"one")
    photos.put("students/b/photo-1.jpg", b"two")
    photos.put("students/a/photo-1.jpg", b"three")
    assert photos.get("students/a/photo-1.jpg") == b"three"
    assert photos.exists("students/a/photo-1.jpg")
    assert list(photos.keys()) == ["students/a/photo-1.jpg", "students/b/photo-1.jpg"]
    assert list(photos.keys("students/b")) == ["students/b/photo-1.jpg"]
    assert photos.uploads == 3
    photos.delete("students/a/photo-1.jpg")
    photos.delete("students/a/photo-1.jpg")
    photos.delete("students/a/photo-1.jpg/deeper")
    assert not photos.exists("students/a/photo-1.jpg")
    assert photos.get("students/b/photo-1.jpg/deeper") is None


def test_a_folder_that_is_made_is_closed_to_others(photos, tmp_path):
    photos.put("a/photo.jpg", b"x")
    assert (tmp_path / "photos").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", "a\0b", ".hidden", "a/", "x" * 901]
)
def test_a_key_that_is_not_a_plain_path_is_refused(photos, key):
    for call in (photos.get, photos.exists, photos.delete, lambda each: photos.put(each, b"")):
        with pytest.raises(PhotoError):
            call(key)


def test_a_link_does_not_lead_out_of_the_folder(photos, tmp_path):
    photos.put("a/photo.jpg", b"x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "photo.jpg").write_bytes(b"secret")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(PhotoError, match="leads out"):
        photos.get("link/photo.jpg")


def test_a_failed_write_leaves_the_old_photo_and_no_half_file(photos, tmp_path, monkeypatch):
    photos.put("a/photo.jpg", b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PhotoError, match="No space left") as caught:
        photos.put("a/photo.jpg", b"new")
    assert str(tmp_path) not in str(caught.value)
    assert photos.get("a/photo.jpg") == b"old"
    assert [path.name for path in (tmp_path / "photos" / "a").iterdir()] == ["photo.jpg"]


def test_what_a_killed_process_left_is_not_listed_and_swept_in_time(photos, tmp_path):
    photos.put("a/photo.jpg", b"x")
    for name, age in ((".photo.jpg.old.part", 7200), (".photo.jpg.new.part", 0)):
        (tmp_path / "photos" / "a" / name).write_bytes(b"half")
        then = time.time() - age
        os.utime(tmp_path / "photos" / "a" / name, (then, then))
    assert list(photos.keys()) == ["a/photo.jpg"]
    photos.put("a/other.jpg", b"y")
    names = sorted(path.name for path in (tmp_path / "photos" / "a").iterdir())
    assert names == [".photo.jpg.new.part", "other.jpg", "photo.jpg"]


def test_a_directory_in_the_way_is_told(photos, tmp_path):
    (tmp_path / "photos" / "a" / "photo.jpg").mkdir(parents=True)
    with pytest.raises(PhotoError):
        photos.get("a/photo.jpg")
    with pytest.raises(PhotoError):
        photos.put("a/photo.jpg", b"x")
