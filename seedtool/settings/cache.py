"""The settings of what is kept for later: templates, spares, and archives in files."""

from typing import Annotated

from seedtool.settings.project import ProjectSettings
from seedtool.settings.setting import Amount, Count, Fault, Setting

#: HMAC-SHA256 is as strong as its key up to 32 bytes (RFC 2104, section 3). A text has fewer bits a character.
KEY_LENGTH = 32


def _check_key(text: str) -> Fault | None:
    if len(text) >= KEY_LENGTH:
        return None
    return Fault(f"has fewer than {KEY_LENGTH} characters", "Take what `openssl rand -hex 32` prints.")


class CacheSettings(ProjectSettings, frozen=True, kw_only=True):
    """How many templates and spares are kept, and how much room they take."""

    spares: Annotated[
        Count,
        Setting(
            "how many clones seedtool keeps ready for the next reset of a database; 0 for none",
            variables=("SEEDTOOL_SPARES",),
            default="1; 0 with `CI=true`",
            in_ci=0,  # nobody comes back to use them
        ),
    ] = 1
    spare_max_gb: Annotated[
        Amount,
        Setting("the size in GB above which no spare is made of a template", variables=("SEEDTOOL_SPARE_MAX_GB",)),
    ] = 5
    cache_templates: Annotated[
        Count,
        Setting(
            "how many templates are kept; those that were not used for longest go first",
            variables=("SEEDTOOL_CACHE_TEMPLATES",),
        ),
    ] = 10
    cache_gb: Annotated[
        Amount, Setting("how many GB the templates may take together", variables=("SEEDTOOL_CACHE_GB",))
    ] = 5
    archive_key: Annotated[
        str | None,
        Setting(
            "the key that signs exported snapshots and the files of `ci prepare --cache`; whoever has it can read and "
            "write such files for others who have it",
            variables=("SEEDTOOL_ARCHIVE_KEY",),
            default="a key in the project's state folder",
            check=_check_key,
            secret=True,
        ),
    ] = None
