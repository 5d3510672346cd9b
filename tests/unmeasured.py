"""Which tests need no measuring of coverage, which costs a third of their time: others show the same lines and branches.

`make unmeasured` measures all tests, each in a context of its own, and writes tests/unmeasured.txt. A test that is not
listed there is measured. So the total that `make test` prints is never higher than that of all tests.
"""

import contextlib
import sqlite3
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

LIST = Path(__file__).with_name("unmeasured.txt")

Step = tuple[int, int, int]  # file, from line, to line


def listed() -> frozenset[str]:
    """Return functions and, where none of its functions is measured, files: `tests/x.py::test_y`, `tests/x.py`."""
    return frozenset(LIST.read_text(encoding="utf-8").splitlines())


def function_of(node: str) -> str:
    """Return the function of a test: all its parameters are measured, or none."""
    return node.partition("[")[0]


def steps(data: Path) -> tuple[dict[str, set[Step]], set[Step]]:
    """Read coverage's data.

    Args:
        data: a file that was written with `--cov-context=test`.

    Returns:
        The steps from line to line of each test function; and those that are not of the body of one: of imports,
        fixtures and other processes.
    """
    of_tests: dict[str, set[Step]] = defaultdict(set)
    others: set[Step] = set()
    with contextlib.closing(sqlite3.connect(data)) as database:
        contexts = dict(database.execute("SELECT id, context FROM context"))
        for file, context, start, end in database.execute("SELECT file_id, context_id, fromno, tono FROM arc"):
            node, _, phase = contexts[context].rpartition("|")
            (of_tests[function_of(node)] if phase == "run" else others).add((file, start, end))
    return of_tests, others


def needed(of_tests: dict[str, set[Step]], others: set[Step], seconds: Counter[str]) -> set[str]:
    """Choose test functions that show all steps in little time: again and again the one that shows most in a second."""
    left = {name: each - others for name, each in of_tests.items()}
    chosen: set[str] = set()
    while any(left.values()):
        best = max(left, key=lambda name: len(left[name]) / (seconds[name] + 0.05))
        shown = left.pop(best)
        chosen.add(best)
        left = {name: each - shown for name, each in left.items() if each - shown}
    return chosen


def durations(report: Path) -> Counter[str]:
    """Return the seconds of each test function, from pytest's report in XML."""
    seconds: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        name = function_of(case.attrib["name"])
        seconds[f"{case.attrib['classname']}.{name}"] += float(case.attrib["time"])
    return seconds


def main() -> None:
    """Write the list from `.coverage` and the report `.unmeasured.xml`."""
    of_tests, others = steps(Path(".coverage"))
    reported = durations(Path(".unmeasured.xml"))
    seconds = Counter(
        {name: reported[name.replace(".py::", ".").replace("::", ".").replace("/", ".")] for name in of_tests}
    )
    chosen = needed(of_tests, others, seconds)
    measured = {name.partition("::")[0] for name in chosen}
    spared = {
        name if name.partition("::")[0] in measured else name.partition("::")[0] for name in of_tests.keys() - chosen
    }
    LIST.write_text("".join(f"{name}\n" for name in sorted(spared)), encoding="utf-8")


if __name__ == "__main__":
    main()
