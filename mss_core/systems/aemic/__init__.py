from mss_core.systems.aemic.recipe import (
    AEMIC,
    AS_DESCRIBED,
    AS_RUN,
    THESIS_FILTERS,
    aemic,
    aemic_as_run,
    aemic_thesis,
    separator_only,
    smoke,
)

__all__ = [
    "AEMIC",
    "AS_DESCRIBED",
    "AS_RUN",
    "THESIS_FILTERS",
    "aemic",
    "aemic_as_run",
    "aemic_thesis",
    "separator_only",
    "smoke",
]
