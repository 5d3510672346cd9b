"""The folder of photos: whole files or none, and nothing outside the folder."""

import os
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedtool.errors import PhotoError, SettingsError
from seedtool.faces.photos import SCHEMES, Addresses, FolderStore, is_address, readable, s3, shown, store
from seedtool.faces.photos.store import Scheme
from seedtool.settings import load


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


def test_a_link_does_not_lead_out_of_the_folder(photos, tmp_path, approved):
    photos.put("a/photo.jpg", b"x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "photo.jpg").write_bytes(b"secret")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(PhotoError) as caught:
        photos.get("link/photo.jpg")
    approved(caught.value)


def test_a_failed_write_leaves_the_old_photo_and_no_half_file(photos, tmp_path, monkeypatch):
    photos.put("a/photo.jpg", b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PhotoError) as caught:
        photos.put("a/photo.jpg", b"new")
    assert os.strerror(28) in caught.value.message
    assert str(tmp_path) not in str(caught.value)
    assert photos.get("a/photo.jpg") == b"old"
    assert [path.name for path in (tmp_path / "photos" / "a").iterdir()] == ["photo.jpg"]


def test_what_a_killed_process_left_is_not_listed_and_goes_with_the_next_write(photos, tmp_path):
    photos.put("a/photo.jpg", b"x")
    (tmp_path / "photos" / "a" / ".photo.jpg.0123abcd.part").write_bytes(b"half")
    assert list(photos.keys()) == ["a/photo.jpg"]
    photos.put("a/photo.jpg", b"y")
    assert [path.name for path in (tmp_path / "photos" / "a").iterdir()] == ["photo.jpg"]


def test_a_directory_in_the_way_is_told(photos, tmp_path):
    (tmp_path / "photos" / "a" / "photo.jpg").mkdir(parents=True)
    with pytest.raises(PhotoError):
        photos.get("a/photo.jpg")
    with pytest.raises(PhotoError):
        photos.put("a/photo.jpg", b"x")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda key: len(key.encode()) <= 1024))
@example("/photo.jpg")
@example("a//b")
@example("IMG#7.jpg?x=%20+ñ")
def test_a_key_of_s3_comes_back_as_it_went_in(key):
    address = f"s3://a-bucket/{key}"
    assert is_address(address)
    assert s3.parse(address) == ("a-bucket", key)
    assert s3.S3Store(SimpleNamespace(s3=lambda: None), None, "a-bucket")._whole(key) == key
    assert shown(address) == address


@pytest.mark.parametrize("key", ["", "k" * 1025, "ñ" * 513])
def test_a_key_that_s3_does_not_take_is_refused(key):
    with pytest.raises(PhotoError):
        s3.S3Store(SimpleNamespace(s3=lambda: None), None, "a-bucket")._whole(key)


@pytest.mark.parametrize(
    ("url", "named"),
    [("ftp://x", "ftp://"), ("https://x/photos", "https://"), ("s3://", "s3://"), ("s3://A_B/c", "s3://A_B")],
)
def test_an_address_in_which_no_photo_can_be_kept_is_refused(tmp_path, url, named, approved):
    with pytest.raises(SettingsError) as caught:
        store(msgspec.structs.replace(load(tmp_path), photos_url=url), None)
    assert caught.value.place == {"setting": "photos_url"}
    assert named in caught.value.message
    assert "s3://bucket/prefix" in caught.value.remedy
    approved(caught.value)


def test_a_store_is_added_by_one_entry(tmp_path, monkeypatch):
    class Cloud(FolderStore):
        """Keeps the photos of gs://bucket in a folder."""

    scheme = Scheme(
        open_store=lambda rest, _: Cloud(tmp_path / rest),
        open_photo=lambda address, _: (Cloud(tmp_path / "school"), address.removeprefix("gs://school/")),
    )
    monkeypatch.setitem(SCHEMES, "gs", scheme)
    settings = msgspec.structs.replace(load(tmp_path), photos_url="gs://school")
    photos = store(settings, None)
    photos.put("a.jpg", b"x")
    addresses = Addresses(settings, None, photos)
    assert readable("gs://school/a.jpg")
    assert addresses.get("gs://school/a.jpg") == addresses.get("a.jpg") == b"x"
    with pytest.raises(PhotoError):
        addresses.get("az://school/a.jpg")
