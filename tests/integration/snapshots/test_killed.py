"""A process that dies at any step: what is listed is whole, the target is whole, and the next command cleans up."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from seedtool.database.snapshots import archive, shelf

# at a step given as name or, where it comes again, name:2
DOOMED = textwrap.dedent(
    """
    import os, sys
    from collections import Counter
    from pathlib import Path
    from seedtool.database.guard import Consent
    from seedtool.database.server import Target
    from seedtool.database.snapshots import archive, restoring, saving, shelf
    from seedtool.settings import load

    work, root, conninfo, name, fatal, number = sys.argv[1:]
    root, seen = Path(root), Counter()

    def step(reached):
        seen[reached] += 1
        print(f"{reached}:{seen[reached]}", flush=True)
        if f"{reached}:{seen[reached]}" == fatal:
            os.kill(os.getpid(), int(number))

    settings, target = load(root), Target(conninfo=conninfo, name=name, maintenance="postgres")
    {
        "save": lambda: saving.save(settings, target, "second", step=step),
        "replace": lambda: saving.save(settings, target, "first", replace=True, step=step),
        "restore": lambda: restoring.restore(settings, target, "first", lambda _: Consent.NAME, step=step),
        "restore ahead": lambda: restoring.restore(settings, target, "first", lambda _: Consent.NAME, step=step),
        "rename": lambda: shelf.rename(target, "first", "second", step=step),
        "delete": lambda: shelf.delete(target, ["first", "extra"], step=step),
        "export": lambda: archive.export(target, "first", root / "out.dump", force=True, step=step),
        "import": lambda: archive.import_file(target, root / "in.dump", "second", step=step),
    }[work]()
    """
)


@pytest.fixture
def stocked(shop):
    """The target holds `new`, the snapshots `first` and `extra` hold `old`, and so does the file in.dump."""
    shop.save("first")
    shop.save("extra")
    archive.export(shop.target, "first", shop.settings.root / "in.dump")
    archive.export(shop.target, "first", shop.settings.root / "out.dump")
    shop.fill("new")
    return shop


def run(shop, work, fatal, number):
    arguments = (work, str(shop.settings.root), shop.target.conninfo, shop.target.name, fatal, str(int(number)))
    spares = "1" if work == "restore ahead" else "0"
    environ = {**os.environ, "SEEDTOOL_SPARES": spares}
    return subprocess.run(
        [sys.executable, "-c", DOOMED, *arguments], env=environ, capture_output=True, text=True, check=False
    )


def steps_of(shop, work):
    """The steps of a run that nothing happens to, each with the how-manieth of its name it is."""
    put_back(shop, work)
    done = run(shop, work, "never", 9)
    assert done.returncode == 0, done.stderr
    return [step for step in done.stdout.splitlines() if step not in {"connect:1", "read:1"}]


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
# work → what the snapshots may hold afterwards, and the target
OUTCOMES = {
    "save": ([BEFORE, {**BEFORE, "second": "new"}], {"new"}),
    "replace": ([BEFORE, {**BEFORE, "first": "new"}], {"new"}),
    "restore": ([BEFORE], {"old", "new"}),
    "restore ahead": ([BEFORE], {"old", "new"}),
    "rename": ([BEFORE, {"second": "old", "extra": "old"}], {"new"}),
    "delete": ([BEFORE, {"extra": "old"}, {}], {"new"}),
    "export": ([BEFORE], {"new"}),
    "import": ([BEFORE, {**BEFORE, "second": "old"}], {"new"}),
}


@pytest.mark.parametrize("work", OUTCOMES)
def test_killed_at_any_step_everything_is_whole_and_the_next_command_sweeps(stocked, work):
    snapshots, values = OUTCOMES[work]
    steps = steps_of(stocked, work)
    assert len(steps) >= 3
    for fatal in steps:
        put_back(stocked, work)
        assert run(stocked, work, fatal, signal.SIGKILL).returncode == -signal.SIGKILL, fatal
        assert stocked.value() in values, fatal
        assert stocked.names() in [sorted(whole) for whole in snapshots], fatal
        shelf.delete(stocked.target, [])
        assert stocked.passing() == [], fatal
        if fatal in {"commit:1", "drop:1", "drop:2"}:
            assert look(stocked) in snapshots, fatal
    put_back(stocked, work)
    archive.export(stocked.target, "extra", stocked.settings.root / "out.dump", force=True)
    assert list(stocked.settings.root.glob("*.part")) == []


def put_back(shop, work):
    """Make it as `stocked` is, where it is not, with a clone made ahead where that is what is tried."""
    shelf.delete(shop.target, [name for name in shop.names() if name not in BEFORE])
    for name in BEFORE.keys() - set(shop.names()):
        archive.import_file(shop.target, shop.settings.root / "in.dump", name)
    if work == "restore ahead":
        shop.restore("first")
        shop.passing()
    if shop.value() != "new":
        shop.fill("new")


@pytest.mark.parametrize(
    ("work", "fatal"),
    [
        ("save", "look:1"),
        ("save", "commit:1"),
        ("restore", "swap:1"),
        ("export", "dump:1"),
        ("import", "load:1"),
        ("import", "commit:1"),
    ],
)
def test_ctrl_c_leaves_all_as_it_was_and_nothing_to_sweep(stocked, work, fatal):
    done = run(stocked, work, fatal, signal.SIGINT)
    assert "KeyboardInterrupt" in done.stderr
    assert stocked.passing() == []
    assert stocked.value() == "new"
    assert look(stocked) == BEFORE
    assert [path.name for path in stocked.settings.root.glob("*.dump*")].count("out.dump") == 1
    assert list(stocked.settings.root.glob("*.part")) == []
