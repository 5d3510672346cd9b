import secrets

import pytest

from seedtool.errors import SettingsError
from seedtool.settings import load
from seedtool.settings.refresh import EXAMPLE_KEYS


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "5 characters"),
        ("a" * 64, "1 different"),
        ("abcabcabc" * 8, "3 different"),
        *((example, "example") for example in sorted(EXAMPLE_KEYS)),
    ],
    ids=["short", "one character", "three characters", "example 1", "example 2"],
)
def test_a_key_that_can_be_guessed_is_refused_and_never_shown(tmp_path, approved, key, why):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, environ={"HOME": "/", "SEEDTOOL_REFRESH_KEY": key})
    assert refused.value.place["setting"] == "refresh_key"
    assert why in refused.value.message
    assert key not in f"{refused.value.message} {refused.value.remedy}"
    assert "openssl rand -hex 32" in refused.value.remedy
    approved(refused.value)


def test_a_key_comes_from_the_environment_or_dotenv_alone(tmp_path):
    key = secrets.token_hex(32)
    (tmp_path / ".env").write_text(f"SEEDTOOL_REFRESH_KEY={key}\n")
    assert load(tmp_path, environ={"HOME": "/"}).refresh_key == key
    assert load(tmp_path, environ={"HOME": "/", "SEEDTOOL_REFRESH_KEY": " "}).refresh_key == key  # empty: not set
    (tmp_path / "pyproject.toml").write_text(f'[tool.seedtool]\nrefresh_key = "{key}"\n')
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, environ={"HOME": "/"})
    assert key not in refused.value.message


@pytest.mark.parametrize(
    "table", ["jobs = 0", "jobs = 'many'", "statement_timeout = 0", "polcy = 'x'", "proof_memory = 1"]
)
def test_a_wrong_key_of_the_table_is_named(tmp_path, approved, table):
    (tmp_path / "pyproject.toml").write_text(f"[tool.seedtool.refresh]\n{table}\n")
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, environ={"HOME": "/"})
    assert refused.value.place["setting"] == "refresh"
    assert table.split(" ", maxsplit=1)[0] in refused.value.message
    approved(refused.value)
