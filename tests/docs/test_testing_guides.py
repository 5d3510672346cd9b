"""The code of docs/guides/testing.md and the recipes of docs/guides/ci.md are run, in a copy of this project."""

import re
from pathlib import Path

import pytest
import yaml

from seedtool.postgres import server
from seedtool.settings import load

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"


@pytest.fixture(autouse=True)
def quick(checkout, monkeypatch):
    """Only the plugins that the guides speak of, and not this repository's own options, which need others."""
    (checkout / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nfilterwarnings = error\n", encoding="utf-8")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "seedtool.pytest_plugin,xdist.plugin,anyio.pytest_plugin")


def blocks(guide, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", (GUIDES / guide).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_code_of_the_guide_works(checkout, shell):
    folder = checkout / "guide"
    folder.mkdir()
    code = blocks("testing.md", "python")
    (conftest, *tests) = sorted(code, key=lambda block: not block.startswith("# conftest.py"))
    more = [block for block in tests if block.startswith("# conftest.py")]
    # the settings of tests would lead the other examples to another collection
    used = [block for block in (conftest, *more) if "seedtool_settings" not in block]
    (folder / "conftest.py").write_text("\n".join(used), encoding="utf-8")
    (folder / "test_application.py").write_text(
        "import os\n\n\ndef test_it_is_led_there(app_environment, seeded_database):\n"
        '    assert os.environ["DATABASE_URL"] == seeded_database\n',
        encoding="utf-8",
    )
    for number, block in enumerate(block for block in tests if not block.startswith("# conftest.py")):
        (folder / f"test_{number}.py").write_text(block, encoding="utf-8")
    (overridden,) = [block for block in code if "seedtool_settings" in block]
    (folder / "overridden").mkdir()
    (folder / "overridden/conftest.py").write_text(overridden, encoding="utf-8")
    (folder / "overridden/test_settings.py").write_text(
        'def test_other(rekognition):\n    assert rekognition.environ["AWS_REKOGNITION_COLLECTION"] == "test-faces"\n',
        encoding="utf-8",
    )
    assert re.search(r"\b11 passed", shell("pytest guide"))


def lines(recipe):
    """A recipe's environment and shell lines, by the keys of each system."""
    if "jobs" in recipe:
        (job,) = recipe["jobs"].values()
        return {}, [step["run"] for step in job["steps"] if "run" in step]
    if "services" in recipe:
        service = recipe["services"]["tests"]
        return service["environment"], [service["command"]]
    return {}, [*recipe["tests"]["before_script"], *recipe["tests"]["script"]]


RECIPES = [yaml.safe_load(block) for block in blocks("ci.md", "yaml")]


@pytest.mark.parametrize("recipe", RECIPES, ids=["github", "gitlab", "compose"])
def test_a_recipe_works(checkout, shell, recipe, tmp_path):
    (checkout / "tests").mkdir(exist_ok=True)
    (checkout / "tests/test_one.py").write_text(blocks("testing.md", "python")[0], encoding="utf-8")
    environ, commands = lines(recipe)
    target = server.find(load(checkout))
    server.connect(target, target.maintenance).close()  # it is another's server for the recipe: nobody starts it
    ours = target.url.replace("/seedtool?", "/app?")
    for name, value in environ.items():
        assert "postgres:tests@database:5432/app" in value
        commands.insert(0, f"export {name}='{ours}'")
    commands = [line for line in commands if not line.startswith("pip ")]
    said = shell(f"export CI=true GITHUB_OUTPUT={tmp_path / 'output'}\n" + "\n".join(commands))
    assert "2 passed" in said
    if "GITHUB_OUTPUT" in str(commands):
        assert re.fullmatch(r"fingerprint=[0-9a-f]+\n", (tmp_path / "output").read_text())
    if "--cache" in str(commands):
        assert list((checkout / ".seedtool-cache").glob("*.dump"))
