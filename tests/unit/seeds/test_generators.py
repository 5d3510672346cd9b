"""The scripts still make what is committed: nobody edited a generated file by hand, or forgot to run one."""

import importlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest
from PIL import Image


def run(script, folder):
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=100)


def faker_is_40():
    try:
        return version("faker").startswith("40.")
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not faker_is_40(), reason="the committed names were drawn by faker 40; another may draw others")
def test_the_school_is_what_its_script_writes(seeds, tmp_path):
    run(seeds / "make_school.py", tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in (seeds / "local").glob("*.csv")}


def test_the_library_is_what_its_script_writes(seeds, tmp_path):
    run(seeds / "make_library.py", tmp_path)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    committed = [*(seeds / "library").iterdir(), seeds / "photos" / "library" / "indexed.csv"]
    assert written == {path.relative_to(seeds): path.read_bytes() for path in committed}


def test_neither_a_photo_nor_what_draws_it_was_changed_alone(seeds, monkeypatch):
    monkeypatch.syspath_prepend(seeds)
    digests = importlib.import_module("draw_photos").digests
    # when this fails, run seeds/draw_photos.py and look at each picture that has changed
    assert digests(seeds / "photos") == (seeds / "photos" / "drawn.txt").read_text(encoding="utf-8")


@pytest.mark.torture
def test_the_photos_are_what_their_script_draws(seeds, tmp_path):
    run(seeds / "draw_photos.py", tmp_path)
    drawn = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg")}
    committed = seeds / "photos"
    assert drawn == {path.relative_to(committed) for path in committed.rglob("*.jpg")}
    for path in drawn:
        # Another Pillow may round a pixel or choose another encoder table; a changed look moves much more.
        with Image.open(tmp_path / path) as one, Image.open(committed / path) as other:
            assert one.size == other.size
            assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).mean() < 3, path
            assert one.info.get("xmp") == other.info.get("xmp"), path
