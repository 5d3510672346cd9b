"""pytest loads the plugin in every project, so loading it costs next to nothing."""

import json
import subprocess
import sys

LIST = """
import json, sys
before = set(sys.modules)
import pytest
with_pytest = set(sys.modules)
{load}
print(json.dumps(sorted(set(sys.modules) - with_pytest)))
"""


def modules(load):
    done = subprocess.run([sys.executable, "-c", LIST.format(load=load)], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_loading_the_plugin_imports_nothing_but_pytest():
    installed = {
        name for name in modules("import seedtool.pytest_plugin") if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert installed == {"seedtool", "seedtool.pytest_plugin", "seedtool.version"}


def test_installing_seedtool_is_enough_and_a_run_that_needs_none_of_it_imports_no_more(library):
    library.write(
        "test_plain.py",
        """
        import sys

        def test_plain():
            print(sorted(name for name in sys.modules if name.split(".")[0] in ("seedtool", "psycopg", "msgspec", "click")))
        """,
    )
    ran = library.run("-s", "-p", "no:pytest_postgresql", PYTEST_DISABLE_PLUGIN_AUTOLOAD="", PYTEST_PLUGINS="")
    assert ran.counts == {"passed": 1}
    assert "['seedtool', 'seedtool.pytest_plugin', 'seedtool.version']" in ran.text
