"""The options of the programs that run the emulator in the foreground, in one place for all of them.

`rekognition-standin` (`python -m seedtool.emulator`) and `seedtool emulator` take the same ones. Only where faces are
kept by default differs: the latter keeps them in its project.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from seedtool.emulator import process

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from seedtool.emulator.access import Access
    from seedtool.emulator.process import Key

F = TypeVar("F", bound="Callable[..., Any]")


class _Folder(click.Path):
    """A folder that is named: an empty path, often a variable that is unset, would be the current one."""

    name = "folder"

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("the folder's name is empty. Is a variable unset?", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(file_okay=False, path_type=Path)


class Options(TypedDict):
    """What `serving_options` gives a command, by the names of its parameters."""

    port: int
    host: str
    host_name: tuple[str, ...]
    any_credentials: bool
    require_signature: bool
    cors: tuple[str, ...]
    admin_token: str | None
    photos: Path | None
    s3_endpoint: str | None
    album: Path | None
    vision: str | None
    faults: str


_OPTIONS = (
    click.option(
        "--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one]."
    ),
    click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Address to listen on [default: 127.0.0.1]."),
    click.option("--host-name", metavar="NAME", multiple=True, help="One more name that clients may use; repeatable."),
    click.option(
        "--any-credentials", is_flag=True, help="Accept any credentials from other machines, too: between containers."
    ),
    click.option("--require-signature", is_flag=True, help="Accept only what AWS_ACCESS_KEY_ID and its secret signed."),
    click.option("--cors", metavar="ORIGIN", multiple=True, help="Answer web pages of this origin; repeatable."),
    click.option("--admin-token", metavar="TOKEN", help="Let other machines that send TOKEN use /_seedtool."),
    click.option("--photos", metavar="FOLDER", type=FOLDER, help="Folder that S3Objects are read from, as BUCKET/KEY."),
    click.option("--s3-endpoint", metavar="URL", help="S3 endpoint that S3Objects are read from."),
    click.option(
        "--album",
        metavar="FOLDER",
        type=FOLDER,
        help="Labelled pictures to learn: copies and parts of them regain their names.",
    ),
    click.option(
        "--vision",
        type=click.Choice(["dlib"]),
        help="Find and compare real faces in pictures without names; needs the extra vision.",
    ),
    click.option("--faults", metavar="JSON", default="", help='Faults, such as {"tps": "published", "lag": 2}.'),
)


def serving_options(command: F) -> F:
    """Give a command the options of `Options`.

    Args:
        command: the command's body, which passes them to `rules` and `serve`.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def rules(state_dir: Path, options: Options, *, key: Key | None = None) -> Access:
    """Return who may use the emulator, as the options say.

    Args:
        state_dir: where faces are kept.
        options: what `serving_options` gave the command.
        key: the key that every request has to be signed with, when `--require-signature` is not given.

    Raises:
        EmulatorError: an option is not valid, or the key cannot be read.
        ModuleNotFoundError: a package of the extra `emulator` is not installed.
    """
    from seedtool.emulator.access import access

    return access(
        state_dir,
        host=options["host"],
        host_names=options["host_name"],
        origins=options["cors"],
        admin_token=options["admin_token"],
        key=process.key_of_environment() if options["require_signature"] else key,
        any_credentials=options["any_credentials"],
    )


def serve(
    state_dir: Path, options: Options, access: Access, announce: Callable[[str, list[str]], None] | None = None
) -> None:
    """Serve a state directory as the options say, until a signal ends it.

    Args:
        state_dir: where faces are kept.
        options: what `serving_options` gave the command.
        access: who may use it; see `rules`.
        announce: as `seedtool.emulator.server.run` takes it.

    Raises:
        EmulatorError: the emulator cannot start.
    """
    from seedtool.emulator import server

    server.run(
        state_dir,
        host=options["host"],
        port=options["port"],
        photos=options["photos"],
        s3_endpoint=options["s3_endpoint"],
        faults=options["faults"],
        album=options["album"],
        vision=options["vision"],
        access=access,
        announce=announce,
    )
