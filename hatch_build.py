"""The README as package indexes show it: they know no files of this repository, so links and pictures are absolute."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def absolute(text: str, source: str) -> str:
    """Return Markdown whose links and pictures lead from anywhere.

    Args:
        text: Markdown whose links are relative to the repository's root.
        source: the repository's address.
    """

    def lead(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['label']}]({source}/{kind}/main/{found['path']})"

    return re.sub(r"(?P<picture>!?)\[(?P<label>[^\]]*)\]\((?!https?:|#|mailto:)(?P<path>[^)\s]+)\)", lead, text)


class Readme(MetadataHookInterface):
    """Gives the package its README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the project's `readme`."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, metadata["urls"]["Source"])}
