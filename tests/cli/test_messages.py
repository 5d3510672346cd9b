"""The approved words of errors: tests/cli/messages.txt."""

from tests import messages


def test_every_approved_case_is_of_a_test():
    for name in messages.read():
        file, _, test = name.partition("::")
        function = test.split("[")[0].split(" ")[0].rpartition("::")[2]
        assert f"def {function}(" in (messages.ROOT / "tests" / file).read_text(encoding="utf-8"), name
