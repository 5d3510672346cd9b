"""A process that dies at any step: what is listed is whole, the target is whole, and the next command cleans up."""

import shutil
import signal
import textwrap

import pytest

from seedtool.snapshots import registry
from tests import processes

# at a step given as name or, where it comes again, name:2
DOOMED = textwrap.dedent(
    """
    import os, sys
    from collections import Counter
    from pathlib import Path
    from seedtool.files.signing import Keys
    from seedtool.listener import Listener
    from seedtool.postgres.server import Target
    from seedtool.resetting.guard import Consent
    from seedtool.settings import load
    from seedtool.snapshots import archive, snapshots, registry

    work, root, conninfo, name, fatal, number = sys.argv[1:]
    root, seen = Path(root), Counter()

    def step(reached):
        seen[reached] += 1
        if fatal in {f"{reached}:{seen[reached]}", reached}:
            os.kill(os.getpid(), int(number))

    listener = Listener()
    listener.step = step

    settings, target = load(root), Target(conninfo=conninfo, name=name, maintenance="postgres")
    keys = Keys(None, root / "state")
    {
        "save": lambda: snapshots.save(settings, target, "second", listener=listener),
        "replace": lambda: snapshots.save(settings, target, "first", replace=True, listener=listener),
        "restore": lambda: snapshots.restore(settings, target, "first", lambda _: Consent.NAME, listener=listener),
        "restore ahead": lambda: snapshots.restore(settings, target, "first", lambda _: Consent.NAME, listener=listener),
        "rename": lambda: registry.rename(target, "first", "second", listener=listener),
        "delete": lambda: registry.delete(target, ["first", "extra"], listener=listener),
        "export": lambda: archive.export(target, "first", root / "out.dump", keys, force=True, listener=listener),
        "import": lambda: archive.import_file(target, root / "in.dump", keys, "second", listener=listener),
    }[work]()
    """
)


@pytest.fixture
def stocked(shop):
    """The target holds `new`, the snapshots `first` and `extra` hold `old`, and so does the file in.dump."""
    shop.save("first")
    shop.save("extra")
    shop.export(shop.settings.root / "in.dump")
    shutil.copy(shop.settings.root / "in.dump", shop.settings.root / "out.dump")
    shop.fill("new")
    return shop


def run(shop, work, fatal, number):
    arguments = (work, str(shop.settings.root), shop.target.conninfo, shop.target.name, fatal, str(int(number)))
    spares = "1" if work == "restore ahead" else "0"
    environ = {"SEEDTOOL_SPARES": spares}
    return processes.run(*arguments, code=DOOMED, env=environ)


def look(shop):
    """What each snapshot holds, by restoring it; the target is put back afterwards."""
    value = shop.value()
    found = {}
    for name in shop.names():
        shop.restore(name)
        found[name] = shop.value()
    shop.fill(value)
    return found


BEFORE = {"first": "old", "extra": "old"}
AFTER = {"second": "new"}
#: work → the steps at which it dies: where something is made already, and of several alike one; then what the snapshots
#: may hold afterwards, and the target
DEATHS = {
    "save": (["look", "rename", "commit"], [BEFORE, BEFORE | AFTER], {"new"}),
    "replace": (["rename", "commit", "drop"], [BEFORE, BEFORE | {"first": "new"}], {"new"}),
    "restore": (["rename", "commit", "leave"], [BEFORE], {"old", "new"}),
    "restore ahead": (["commit", "leave"], [BEFORE], {"old", "new"}),
    "rename": (["commit"], [BEFORE, {"second": "old", "extra": "old"}], {"new"}),
    "delete": (["drop", "drop:2"], [BEFORE, {"extra": "old"}, {}], {"new"}),
    "export": (["dump", "rename file"], [BEFORE], {"new"}),
    "import": (["load", "commit"], [BEFORE, BEFORE | {"second": "old"}], {"new"}),
}


@pytest.mark.parametrize(
    "works",
    [("restore", "restore ahead"), ("rename", "delete"), ("export", "import"), ("save", "replace")],
    ids=" and ".join,
)
def test_killed_between_two_steps_everything_is_whole_and_the_next_command_sweeps(stocked, works):
    for work, fatal in [(each, step) for each in works for step in DEATHS[each][0]]:
        _, snapshots, values = DEATHS[work]
        put_back(stocked, work)
        assert run(stocked, work, fatal, signal.SIGKILL).returncode == -signal.SIGKILL, (work, fatal)
        assert stocked.value() in values, (work, fatal)
        assert stocked.names() in [sorted(whole) for whole in snapshots], (work, fatal)
        registry.delete(stocked.target, [])
        assert stocked.passing() == [], (work, fatal)
        if fatal in {"commit", "drop", "drop:2"} and values == {"new"}:
            assert look(stocked) in snapshots, (work, fatal)
    put_back(stocked, works[-1])
    stocked.export(stocked.settings.root / "out.dump", "extra", force=True)
    assert list(stocked.settings.root.glob("*.part")) == []


def put_back(shop, work):
    """Make it as `stocked` is, where it is not, with a clone made ahead where that is what is tried."""
    registry.delete(shop.target, [name for name in shop.names() if name not in BEFORE])
    for name in BEFORE.keys() - set(shop.names()):
        shop.import_file(shop.settings.root / "in.dump", name)
    if work == "restore ahead":
        shop.restore("first")
        shop.passing()
    if shop.value() != "new":
        shop.fill("new")


def test_ctrl_c_leaves_all_as_it_was_and_nothing_to_sweep(stocked):
    for work, fatal in (("save", "look"), ("restore", "swap"), ("export", "dump"), ("import", "load")):
        done = run(stocked, work, fatal, signal.SIGINT)
        assert "KeyboardInterrupt" in done.stderr
        assert stocked.passing() == [], work
        assert (stocked.value(), stocked.names()) == ("new", sorted(BEFORE)), work
        assert [path.name for path in stocked.settings.root.glob("*.dump*")].count("out.dump") == 1
        assert list(stocked.settings.root.glob("*.part")) == []
    assert look(stocked) == BEFORE
