"""psql, shell and `python -m seedtool` reach the project's database."""

import subprocess
import sys


def test_psql_reaches_the_database_and_passes_its_exit_code_on(school):
    done = school.ok("psql", "-Atc", "SELECT count(*) > 0 FROM students")
    assert done.out == "t\n"
    own = school.ok("psql", "-q", "-v", "n=4", "-Atc", "\\echo :n", "-c", "SELECT 1")
    assert own.out.split() == ["4", "1"]
    refused = school.run("psql", "-c", "SELEC")
    assert refused.code == 1
    assert "syntax error" in refused.err
    assert school.run("psql --json").code == 2


def test_a_shell_has_the_settings_a_connection_and_the_public_functions(school):
    code = (
        "connection.execute('CREATE TEMPORARY TABLE one (id int)')\n"
        "print(settings.collection, target.name, seedtool.guard_status().consent, connection.autocommit)"
    )
    assert school.ok("shell", "-c", code).out == "eduguard-school-default seedtool yes True\n"


def test_a_shell_runs_what_comes_through_a_pipe_and_shows_its_errors(school):
    piped = subprocess.run(
        [sys.executable, "-m", "seedtool", "shell"],
        input="print(1)\n1 / 0\n", cwd=school.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout) == (1, "1\n")
    assert 'File "<shell>", line 2' in piped.stderr
    assert "seedtool/cli" not in piped.stderr
