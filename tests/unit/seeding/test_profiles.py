import os

import pytest

from seedtool.errors import ProfileError
from seedtool.seeding.profiles import Profile, find_profile, load_profiles


def write(folder, text):
    (folder / "local").mkdir(exist_ok=True)
    (folder / "profiles.toml").write_text(text)
    return folder


def test_profiles_keep_the_order_of_the_file(tmp_path):
    write(tmp_path, '[local]\ndescription = "base"\nsets = ["local"]\n[full]\nsets = ["local"]\nsync_faces = true\n')
    assert load_profiles(tmp_path) == {
        "local": Profile(name="local", description="base", sets=("local",)),
        "full": Profile(name="full", sets=("local",), sync_faces=True),
    }
    assert list(load_profiles(tmp_path)) == ["local", "full"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("set", '[local]\nset = ["local"]\n'),
        ("zzz", '[local]\nzzz = 1\nsets = ["local"]\n'),
        ("sets", '[local]\ndescription = "x"\n'),
        ("sets", "[local]\nsets = []\n"),
        ("sets", '[local]\nsets = "local"\n'),
        ("sync_faces", '[local]\nsets = ["local"]\nsync_faces = "yes"\n'),
        ("sets", '[local]\nsets = ["loca"]\n'),
        ("sets", '[local]\nsets = ["zzz"]\n'),
        ("sets", '[local]\nsets = ["local", "local"]\n'),
        ("sets", '[local]\nsets = ["../local"]\n'),
        ("sets", '[local]\nsets = ["/local"]\n'),
        ("sets", '[local]\nsets = [""]\n'),
        ("sets", '[local]\nsets = ["local\\n"]\n'),
        ("sets", '[local]\nsets = ["lo\\u0000cal"]\n'),
        ("indexed", '[local]\nsets = ["local"]\nsync_faces = true\nindexed = "a\\r"\n'),
        ("indexed", '[local]\nsets = ["local"]\nindexed = 1\n'),
        ("indexed", '[local]\nsets = ["local"]\nindexed = "a.csv"\n'),
        ("indexed", '[local]\nsets = ["local"]\nsync_faces = true\nindexed = "../a"\n'),
        (None, "local = 1\n"),
    ],
)
def test_a_wrong_profile_names_file_and_key_with_the_cure(tmp_path, key, text, approved):
    write(tmp_path, text)
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert caught.value.place == {"file": "profiles.toml", "profile": "local"} | ({"key": key} if key else {})
    assert "profiles.toml" in caught.value.message
    assert caught.value.remedy
    approved(caught.value)


def test_a_file_that_is_no_toml_is_told_with_line_and_column(tmp_path):
    write(tmp_path, "[local\n")
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert caught.value.place == {"file": "profiles.toml"}
    assert "line 1, column 7" in caught.value.message
    assert "TOML" in caught.value.remedy


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_text("x = " + "[" * 50_000), "cannot be read: maximum recursion depth exceeded"),
        (lambda path: path.write_text("[local]\n[local]\n"), "cannot be read: Cannot declare"),
    ],
)
def test_what_is_no_file_of_profiles_is_told(tmp_path, make, fault):
    make(tmp_path / "profiles.toml")
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert caught.value.place == {"file": "profiles.toml"}
    assert fault in caught.value.message
    assert caught.value.remedy


def test_a_missing_file_is_told_with_an_example(tmp_path, approved):
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert caught.value.place == {"file": "profiles.toml"}
    assert "[local]" in caught.value.remedy
    approved(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("ful", "Did you mean full? The profiles are: local, full."), ("zzz", "The profiles are: local, full.")],
)
def test_an_unknown_profile_is_told_with_the_list(name, remedy):
    profiles = {each: Profile(name=each, sets=("local",)) for each in ("local", "full")}
    assert find_profile(profiles, "full").name == "full"
    with pytest.raises(ProfileError) as caught:
        find_profile(profiles, name)
    assert caught.value.place == {"file": "profiles.toml", "profile": name}
    assert caught.value.remedy == remedy
