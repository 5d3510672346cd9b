"""Which git branch and commit the project is at."""

import subprocess
from pathlib import Path

from seedtool.snapshots.description import printable


def branch_and_commit(root: Path) -> tuple[str | None, str | None]:
    """Return the branch and the commit's full hash; None for what there is not.

    Args:
        root: the project's folder. Without git, outside a checkout or before the first commit there is neither; a
            detached head has no branch.
    """
    try:
        done = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace",
            check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None, None
    commit, head = done.stdout.splitlines()
    branch = head.removeprefix("refs/heads/")
    return (branch if head != branch and printable(branch) else None), commit
