"""The AWS command line client talks to the emulator as to AWS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AWS = Path(sys.executable).parent / "aws"


@pytest.mark.skipif(not AWS.exists(), reason="awscli is not installed in this environment")
def test_awscli_lists_the_faces(emulator, rekognition, collection, picture, tmp_path):
    rekognition.index_faces(
        CollectionId=collection, Image={"Bytes": picture(1, "Ana", "Beto")}, ExternalImageId="student-001-photo-1"
    )
    command = [sys.executable, str(AWS), "rekognition", "list-faces", "--collection-id", collection]
    command += ["--endpoint-url", emulator.endpoint, "--region", "us-east-1", "--output", "json"]
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=True)
    assert json.loads(done.stdout)["Faces"] == rekognition.list_faces(CollectionId=collection)["Faces"]
