"""Every word of docs/guides/recipes.md: its parameters, its examples and what they make."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

from seedtool.values.kinds import VERSION, WORDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_words", DOCS / "write_words.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project(writer, tmp_path_factory):
    return writer.lay_out(tmp_path_factory.mktemp("project"))


def test_the_page_is_what_the_words_say(writer, project):
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(project), "run make docs"


#: Words without a parameter, or with a locale alone.
PLAIN = {"currency", "language", "timezone", "mime_type", "user_agent", "emoji", "country_code", "mac"}


def test_every_word_has_examples_that_use_every_parameter(writer):
    for name, word in WORDS.items():
        used = set()
        for example in writer.EXAMPLES.get(name, ()):
            for given in tomllib.loads(example).values():
                used |= set(given) - {"kind"} if isinstance(given, dict) and given["kind"] == name else set()
        assert used == set(word.parameters), name
        assert name in writer.EXAMPLES or name in PLAIN
        assert word.summary.endswith((".", ")")), name


@pytest.mark.everywhere
def test_the_values_are_those_of_this_version_on_every_machine(writer, project):
    """The checksums were computed once; with another Python or numpy they have to be the same.

    When a change makes other values on purpose, raise WORDS in seedtool/values/version.py and run make docs.
    """
    lines = writer.CHECKSUMS.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"version {VERSION}"
    assert writer.checksums(project).splitlines()[1:] == lines[1:]
