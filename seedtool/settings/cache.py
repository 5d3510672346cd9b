"""The settings of what is kept for the next reset: templates and spares."""

from typing import Annotated

from seedtool.settings.project import ProjectSettings
from seedtool.settings.setting import Amount, Count, Setting


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
