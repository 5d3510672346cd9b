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
    ("text", "message", "remedy"),
    [
        ('[local]\nset = ["local"]\n', "[local]: unknown key set", "Did you mean sets?"),
        ('[local]\nzzz = 1\nsets = ["local"]\n', "unknown key zzz", "The keys are: description, sets, sync_faces"),
        ('[local]\ndescription = "x"\n', "[local]: the key sets is missing", 'sets = ["local"]'),
        ("[local]\nsets = []\n", "[local]: sets is empty", "Name the folders"),
        ('[local]\nsets = "local"\n', "[local]: sets is not a list", "Correct sets"),
        ('[local]\nsets = ["local"]\nsync_faces = "yes"\n', "sync_faces is not true or false", "Correct sync_faces"),
        ('[local]\nsets = ["loca"]\n', "the set loca has no folder", "Did you mean local?"),
        ('[local]\nsets = ["zzz"]\n', "the set zzz has no folder", "Make the folder"),
        ('[local]\nsets = ["local", "local"]\n', "names local twice", "once"),
        ('[local]\nsets = ["../local"]\n', "lies outside", "below the seeds folder"),
        ('[local]\nsets = ["/local"]\n', "lies outside", "below the seeds folder"),
        ('[local]\nsets = [""]\n', "lies outside", "below the seeds folder"),
        ('[local]\nsets = ["local\\n"]\n', "control character", "Take it out"),
        ('[local]\nsets = ["lo\\u0000cal"]\n', "control character", "Take it out"),
        ('[local]\nsets = ["local"]\nsync_faces = true\nindexed = "a\\r"\n', "control character", "Take it out"),
        ('[local]\nsets = ["local"]\nindexed = 1\n', "indexed is not a path", "Correct indexed"),
        ('[local]\nsets = ["local"]\nindexed = "a.csv"\n', "the profile has no sync", "sync_faces = true"),
        ('[local]\nsets = ["local"]\nsync_faces = true\nindexed = "../a"\n', "lies outside", "below the seeds folder"),
        ("local = 1\n", "local is not a profile", "[local]"),
        ("[local\n", "cannot be read", "TOML"),
    ],
)
def test_a_wrong_profile_names_file_and_key_with_the_cure(tmp_path, text, message, remedy):
    write(tmp_path, text)
    with pytest.raises(ProfileError) as caught:
        load_profiles(tmp_path)
    assert "profiles.toml" in caught.value.message
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_a_missing_file_is_told_with_an_example(tmp_path):
    with pytest.raises(ProfileError, match="does not exist") as caught:
        load_profiles(tmp_path)
    assert "[local]" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("ful", "Did you mean full? The profiles are: local, full."), ("zzz", "The profiles are: local, full.")],
)
def test_an_unknown_profile_is_told_with_the_list(name, remedy):
    profiles = {each: Profile(name=each, sets=("local",)) for each in ("local", "full")}
    assert find_profile(profiles, "full").name == "full"
    with pytest.raises(ProfileError, match=f"no profile {name}") as caught:
        find_profile(profiles, name)
    assert caught.value.remedy == remedy
