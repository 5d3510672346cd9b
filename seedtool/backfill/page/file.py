"""Where the page goes: looked at before any money is spent, written in one step at the end."""

import os
import tempfile
from pathlib import Path

from seedtool.errors import UsageError


class PageFile:
    """The file that a page will be written to.

    Args:
        path: where; a file that is there is replaced.

    Attributes:
        path: the same.

    Raises:
        UsageError: nothing could be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise UsageError(f"{path} is a folder", remedy="Name a file in it: --html report.html.")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}", remedy="Make it first, or name another.")
        try:
            self._temporary().unlink()
        except OSError as error:
            raise UsageError(
                f"nothing can be written into {path.parent}: {error.strerror}", remedy="Name another folder."
            ) from error

    def write(self, page: str) -> None:
        """Write the page: whoever opens the file meanwhile sees the old one or the new one, never half of it."""
        temporary = self._temporary()
        try:
            temporary.write_text(page, encoding="utf-8", errors="replace")
            # mkstemp's file is the owner's alone; a report is as public as other files made here
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _temporary(self) -> Path:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name[:100]}-")
        os.close(handle)
        return Path(name)
