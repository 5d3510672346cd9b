"""Whose credentials, which region, which endpoint: `.env` and the environment as one, the environment first."""

import os
import subprocess
import sys

import pytest

from seedtool.errors import CredentialsError, SettingsError
from seedtool.faces.photos import FolderStore, S3Store, store
from seedtool.faces.rekognition.service import Aws
from seedtool.settings import load


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a project of a .env and returns its settings; the developer's own AWS configuration is out of sight."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "nobody"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nobody"))

    def make(dotenv="", mode="live"):
        (tmp_path / "pyproject.toml").write_text(f'[tool.seedtool]\naws = "{mode}"\n')
        (tmp_path / ".env").write_text(dotenv)
        return load(tmp_path)

    return make


KEYS = "AWS_ACCESS_KEY_ID=AKIADOTENV\nAWS_SECRET_ACCESS_KEY=secret\n"


def access_key(client):
    return client._request_signer._credentials.access_key


def test_credentials_region_and_endpoint_of_dotenv_reach_the_client(project):
    aws = Aws(project(KEYS + "AWS_REGION=eu-west-1\nAWS_ENDPOINT_URL_REKOGNITION=http://127.0.0.1:9\n"))
    client = aws.rekognition()
    assert access_key(client) == "AKIADOTENV"
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert "seedtool" in client.meta.config.user_agent_extra


def test_an_endpoint_that_is_not_awss_own_is_told(project, tmp_path, monkeypatch):
    aws = Aws(project(KEYS + "AWS_REGION=us-east-1\n"))
    assert (aws.endpoint, aws.where) == (None, "AWS in us-east-1")
    aws = Aws(project(KEYS + "AWS_REGION=us-east-1\nAWS_ENDPOINT_URL_REKOGNITION=http://jane:secret@127.0.0.1:9/\n"))
    assert (aws.endpoint, aws.where) == ("http://127.0.0.1:9", "AWS in us-east-1 at http://127.0.0.1:9")
    vpce = "https://vpce-1.rekognition.us-east-1.vpce.amazonaws.com"
    assert Aws(project(f"{KEYS}AWS_REGION=us-east-1\nAWS_ENDPOINT_URL={vpce}\n")).endpoint is None
    # what a profile's configuration names is used by botocore, so it is told
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:8\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert Aws(project(KEYS + "AWS_REGION=us-east-1\n")).endpoint == "http://127.0.0.1:8"


def test_the_environment_wins(project, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRON")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    client = Aws(project(KEYS)).rekognition()
    assert access_key(client) == "AKIAENVIRON"
    assert client.meta.region_name == "us-west-2"


def test_credentials_of_dotenv_and_environment_are_not_mixed(project, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRON")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    aws = Aws(project(f"{KEYS}AWS_SESSION_TOKEN=token\nAWS_PROFILE=nobody\nAWS_REGION=eu-west-1\n"))
    credentials = aws.rekognition()._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("AKIAENVIRON", "other", None)
    assert aws.region == "eu-west-1"
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError):  # rather than the environment's key with .env's secret
        Aws(project(KEYS + "AWS_REGION=eu-west-1\n")).rekognition()


def test_a_profile_of_the_environment_wins_over_keys_of_dotenv(project, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("[profile school]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "school")
    aws = Aws(project(f"{KEYS}AWS_S3_ACCESS_KEY_ID=r2key\nAWS_S3_SECRET_ACCESS_KEY=r2\nAWS_REGION=eu-west-1\n"))
    assert access_key(aws.rekognition()) == "AKIAPROFILE"
    assert access_key(aws.s3()) == "r2key"  # another store's keys, not of that group


def test_keys_of_another_store_are_not_mixed(project, monkeypatch):
    monkeypatch.setenv("AWS_S3_ACCESS_KEY_ID", "r2environ")
    monkeypatch.setenv("AWS_S3_SECRET_ACCESS_KEY", "other")
    dotenv = f"{KEYS}AWS_S3_ACCESS_KEY_ID=r2key\nAWS_S3_SECRET_ACCESS_KEY=r2\nAWS_S3_SESSION_TOKEN=t\n"
    aws = Aws(project(dotenv + "AWS_REGION=eu-west-1\n"))
    credentials = aws.s3()._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("r2environ", "other", None)
    assert access_key(aws.rekognition()) == "AKIADOTENV"
    monkeypatch.delenv("AWS_S3_ACCESS_KEY_ID")
    with pytest.raises(CredentialsError):  # rather than AWS's keys for another store
        Aws(project(dotenv + "AWS_REGION=eu-west-1\n")).s3()


def test_a_profile_named_in_dotenv_gives_credentials_and_region(project, tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        "[profile school]\nregion = us-west-2\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n"
    )
    settings = project(f"AWS_PROFILE=school\nAWS_CONFIG_FILE={tmp_path / 'config'}\n")
    # the fixture's AWS_CONFIG_FILE is in the environment, which wins
    assert "AWS_CONFIG_FILE" not in settings.aws_variables
    monkeypatch.delenv("AWS_CONFIG_FILE")
    settings = load(tmp_path)
    aws = Aws(settings)
    assert aws.region == "us-west-2"
    assert access_key(aws.rekognition()) == "AKIAPROFILE"
    assert "AWS_PROFILE" not in os.environ


def test_a_profile_that_does_not_exist_is_told(project):
    with pytest.raises(SettingsError, match="nobody") as caught:
        Aws(project("AWS_PROFILE=nobody\nAWS_REGION=us-east-1\n")).rekognition()
    assert "AWS_" in caught.value.remedy


def test_no_region_is_told_with_the_cure(project):
    with pytest.raises(SettingsError) as caught:
        Aws(project(KEYS)).rekognition()
    assert caught.value.place == {"setting": "region"}
    assert "AWS_REGION" in caught.value.remedy
    assert "embedded" in caught.value.remedy


def test_no_credentials_are_told_with_the_cure(project):
    with pytest.raises(CredentialsError) as caught:
        Aws(project("AWS_REGION=us-east-1\n")).collection("school").describe()
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    with pytest.raises(CredentialsError):
        Aws(project("AWS_REGION=us-east-1\n")).who()


def test_half_a_credential_is_told(project):
    with pytest.raises(CredentialsError):
        Aws(project("AWS_ACCESS_KEY_ID=AKIA\nAWS_REGION=us-east-1\n")).rekognition()


def test_an_endpoint_that_is_no_address_is_told(project):
    with pytest.raises(SettingsError) as caught:
        Aws(project(KEYS + "AWS_REGION=us-east-1\nAWS_ENDPOINT_URL_REKOGNITION=nonsense\n")).rekognition()
    assert caught.value.place == {"setting": "AWS_ENDPOINT_URL_REKOGNITION"}


def test_embedded_never_uses_the_developers_own_credentials_profile_or_proxy(project, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://example.com")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    aws = Aws(project(mode="embedded"), "http://127.0.0.1:9")
    client = aws.rekognition()
    assert access_key(client) == "seedtool"
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.config.proxies == {}
    assert aws.region == "us-east-1"
    assert str(aws.who()) == "the embedded emulator (us-east-1)"
    with pytest.raises(SettingsError) as caught:
        Aws(project(mode="embedded"))
    assert caught.value.place == {"setting": "aws"}


def test_the_photo_store_that_the_settings_name(project, tmp_path):
    embedded = project(mode="embedded")
    kept = store(embedded, Aws(embedded, "http://127.0.0.1:9"))
    assert isinstance(kept, FolderStore)
    assert kept._folder == embedded.state_dir / "photos"
    live = project(KEYS)
    with pytest.raises(SettingsError) as caught:
        store(live, Aws(live))
    assert caught.value.place == {"setting": "photos_url"}
    assert "s3://" in caught.value.remedy
    for url in ("pictures", f"file://{tmp_path}/pictures"):
        there = project(f"{KEYS}PHOTOS_URL={url}\n")
        assert store(there, Aws(there))._folder == tmp_path / "pictures"
    s3 = project(f"{KEYS}PHOTOS_URL=s3://bucket/a/prefix/\nAWS_REGION=eu-west-1\n")
    bucket = store(s3, Aws(s3))
    assert isinstance(bucket, S3Store)
    assert (bucket._bucket, bucket._prefix, bucket._client.meta.region_name) == ("bucket", "a/prefix/", "eu-west-1")


def test_r2_has_its_region_its_paths_its_checksums_and_its_own_keys(project):
    settings = project(
        f"{KEYS}AWS_REGION=us-east-1\nAWS_S3_ACCESS_KEY_ID=r2key\nAWS_S3_SECRET_ACCESS_KEY=r2secret\n"
        "S3_ENDPOINT_URL=https://account.r2.cloudflarestorage.com\nAWS_SESSION_TOKEN=token\n"
    )
    client = Aws(settings).s3()
    assert client.meta.region_name == "auto"
    assert client.meta.config.s3["addressing_style"] == "path"
    assert client.meta.config.request_checksum_calculation == "when_required"
    assert access_key(client) == "r2key"
    assert client._request_signer._credentials.token is None
    assert access_key(Aws(settings).rekognition()) == "AKIADOTENV"


@pytest.mark.parametrize(
    ("dotenv", "reads"),
    [
        ("", True),
        ("S3_ENDPOINT_URL=https://abc.r2.cloudflarestorage.com\n", False),
        ("AWS_ENDPOINT_URL_S3=https://abc.r2.cloudflarestorage.com\n", False),  # beside Rekognition itself
        ("AWS_S3_ACCESS_KEY_ID=r2key\nAWS_S3_SECRET_ACCESS_KEY=r2secret\n", False),
        ("S3_ENDPOINT_URL=https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com\n", True),
        ("AWS_ENDPOINT_URL_REKOGNITION=http://127.0.0.1:9\n", False),  # AWS's S3 beside a stand-in
        ("AWS_ENDPOINT_URL=http://127.0.0.1:9\n", True),
        ("AWS_ENDPOINT_URL=http://127.0.0.1:9\nS3_ENDPOINT_URL=http://127.0.0.1:9\n", False),
    ],
)
def test_where_rekognition_reads_s3_by_itself(project, dotenv, reads):
    assert Aws(project(KEYS + "AWS_REGION=us-east-1\n" + dotenv)).reads_s3 is reads


def test_the_embedded_emulator_reads_no_s3(project):
    assert not Aws(project("AWS_ENDPOINT_URL_S3=http://127.0.0.1:9\n", mode="embedded"), "http://127.0.0.1:8").reads_s3


def test_importing_the_gateways_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from seedtool.faces import sync, enroll, recognize, photos, pictures, vendors\nimport seedtool.faces.rekognition.service\n"
        "print([m for m in ('boto3', 'botocore', 'PIL', 'numpy', 'rich', 'sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
