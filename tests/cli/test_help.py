"""--help of every command: sections, an example that can be run, no wider than the terminal; what is meant by a slip."""

import re
import shlex

import click
import pytest

from seedtool import cli
from seedtool.cli import examples
from seedtool.cli.console import CONTEXT


def walk(command, path=""):
    yield path, command
    context = click.Context(command)
    names = command.list_commands(context) if isinstance(command, click.Group) else getattr(command, "commands", ())
    for name in names:
        yield from walk(command.get_command(context, name), f"{path} {name}".strip())


def help_of(command, width):
    return command.get_help(click.Context(command, terminal_width=width, max_content_width=width, **CONTEXT))


EVERY = dict(walk(cli.seedtool))


def test_every_command_has_one_example():
    assert set(EVERY) - {""} == set(examples.EXAMPLES)


@pytest.mark.parametrize("path", [path for path in EVERY if path])
def test_an_example_is_shown_and_its_arguments_can_be_read(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in re.findall(r"[-\w]+\.(?:jpg|dump)", examples.EXAMPLES[path]):
        (tmp_path / file).touch()
    example = examples.EXAMPLES[path]
    assert f"Example: {example}" in help_of(EVERY[path], 200)
    words = shlex.split(re.sub(r'^eval "\$\((.*)\)"$', r"\1", example).partition(" > ")[0])
    assert words[:1] + words[1:][: len(path.split())] == ["seedtool", *path.split()]
    command, arguments = cli.seedtool, words[1:]
    while isinstance(command, click.Group):
        command, arguments = command.get_command(click.Context(command), arguments[0]), arguments[1:]
    command.make_context("example", arguments, **CONTEXT)  # a wrong flag or a missing argument is an error


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_commands_stand_in_sections(width):
    text = help_of(cli.seedtool, width)
    assert re.findall(r"^(\S.*):$", text, flags=re.MULTILINE) == ["Options", *cli.SECTIONS]
    for name in cli.COMMANDS:
        assert re.search(rf"^  {name} ", text, flags=re.MULTILINE)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("sync", "sync-faces"),
        ("reset", "db-reset"),
        ("dump", "seed-dump"),
        ("db-rest", "db-reset"),
        ("help", "--help"),
        ("version", "--version"),
        ("status", "guard status, faces status or server status"),
        ("restore", "snapshot restore"),
        ("snapshot-restore", "snapshot restore"),
        ("scan", "refresh scan"),
        ("recipe", "seed recipe"),
        ("protetc", "guard protect"),
        ("seed unlod demo", "seed unload"),
        ("refresh chek", "refresh check"),
    ],
)
def test_a_slip_is_told_what_may_be_meant(slip, meant):
    with pytest.raises(click.UsageError) as caught:
        cli.seedtool.main(slip.split(), prog_name="seedtool", standalone_mode=False)
    (given, *_) = slip.removeprefix("seed ").removeprefix("refresh ").split()
    assert caught.value.format_message() == f"No such command {given!r}. Did you mean {meant}?"


@pytest.mark.parametrize("line", ["db-reset local", "db-reset --yes local", "fingerprint local", "ci prepare local"])
def test_a_profile_without_its_flag_is_told_the_flag(line):
    with pytest.raises(click.UsageError) as caught:
        cli.seedtool.main(line.split(), prog_name="seedtool", standalone_mode=False)
    assert caught.value.format_message().endswith("(local). Did you mean --seed local?")


@pytest.mark.parametrize("line", ["seed local more", "seed lod --sead", "seed local --dry-runn"])
def test_an_argument_too_many_of_a_profile_is_no_slip(line):
    with pytest.raises(click.UsageError) as caught:
        cli.seedtool.main(line.split(), prog_name="seedtool", standalone_mode=False)
    assert "such command" not in caught.value.format_message()
