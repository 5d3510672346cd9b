"""The settings of the server and of the database on it."""

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from seedtool.errors import SettingsError
from seedtool.settings.setting import Fault, Setting, Surroundings, no_control

NAME_BYTES = 63  # source: PostgreSQL's NAMEDATALEN is 64, with the zero at the end


def check_name(text: str) -> Fault | None:
    """Tell why a text cannot be the name of a database."""
    if not text or len(text.encode()) > NAME_BYTES:
        return Fault(f"{text!r} cannot be a database name", f"Use 1 to {NAME_BYTES} bytes.")
    return no_control(text)


def slug(text: str) -> str:
    """Return a text in small letters, digits and dashes, at most 40 of them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40]


def check_url(text: str) -> Fault | None:
    """Tell why a text cannot be the address of a database."""
    if text[:1] in {"'", '"'}:  # a shell takes quotes away, an env_file of Docker does not
        return Fault("the address begins with a quote", "Take the quotes away.")
    scheme = re.match(r"([a-zA-Z][\w+.\-]*)://", text)
    if scheme is None:
        if "=" in text:
            return None  # libpq's key=value form
        return Fault("the value is not a database URL", "Write postgresql://user:password@host:5432/database.")
    if scheme[1].split("+")[0] not in {"postgres", "postgresql"}:
        return Fault(
            f"the address is that of a {scheme[1]} database",
            "seedtool works on PostgreSQL: postgresql://user@host:5432/database.",
        )
    if no_control(text):  # the text itself may hold a password
        return Fault("the address holds a control character, such as a line end", "Take it out, or percent-encode it.")
    return None


def _name(at: Surroundings) -> str:
    return slug(at.name or at.root.name).replace("-", "_")[:NAME_BYTES] or "app"


def _home(at: Surroundings) -> Path:
    # not platformdirs': docs/decisions.md, "The state folder stays where it is"
    if os.geteuid() == 0:
        return Path("/var/lib/seedtool")
    state = at.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "seedtool"
    except RuntimeError:  # a user without HOME and without an entry in /etc/passwd, as in some containers
        raise SettingsError(
            "setting home: this user has no home folder", remedy="Set SEEDTOOL_HOME.", setting="home"
        ) from None


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The server and the database on it."""

    database_url: Annotated[
        str | None,
        Setting(
            "the database on a server of your own, in libpq's or SQLAlchemy's form",
            variables=("DATABASE_URL",),
            default="the embedded server",
            check=check_url,
            lines=True,
        ),
    ] = None
    database: Annotated[
        str,
        Setting(
            "the name of the database on the embedded server",
            variables=("SEEDTOOL_DATABASE",),
            default="the project's name",
            found=_name,
            check=check_name,
        ),
    ] = "app"
    maintenance_database: Annotated[
        str,
        Setting(
            "the database that seedtool is connected to while it replaces the target; the same one for all users of a "
            "server",
            variables=("SEEDTOOL_MAINTENANCE_DATABASE",),
            check=check_name,
        ),
    ] = "postgres"
    in_place: Annotated[
        bool,
        Setting(
            "rebuild the schemas of the target itself, as for a role that may not create databases, where a new "
            "database lacks what the target has (an administrator's extension, pg_cron, grants)",
            variables=("SEEDTOOL_IN_PLACE",),
            default="no",
            written="Write in_place = true.",
        ),
    ] = False
    test_server: Annotated[
        bool,
        Setting(
            "tests (the pytest plugin and `ci prepare`) use an embedded server of their own, which does not wait for "
            "the disk, so it makes databases sooner",
            variables=("SEEDTOOL_TEST_SERVER",),
            default="no; yes with `CI=true`",
            in_ci=True,
            written="Write test_server = true.",
        ),
    ] = False
    base_template: Annotated[
        str,
        Setting(
            "the database that templates are built from, such as one with an administrator's extensions; after a "
            "change of it: `db-reset --fresh`",
            variables=("SEEDTOOL_BASE_TEMPLATE",),
            check=check_name,
        ),
    ] = "template0"
    home: Annotated[
        Path,
        Setting(
            "the folder that holds the embedded server, the state of the emulator, and its photos",
            variables=("SEEDTOOL_HOME",),
            default="`~/.local/state/seedtool`; `/var/lib/seedtool` for root",
            found=_home,
        ),
    ]
