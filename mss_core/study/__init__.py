"""Studies: what a study file imports."""

from mss_core.study.designs import Factor, Variant, cumulative, full_factorial, one_at_a_time, only_listed, table_cells
from mss_core.study.run import run
from mss_core.study.search.declare import Asha, Search
from mss_core.study.study import Study, Trial
from mss_core.study.trained import Trained, load
from mss_core.study.until import Until
from reports.contract import Control, Metric

__all__ = [
    "Asha",
    "Control",
    "Factor",
    "Metric",
    "Search",
    "Study",
    "Trained",
    "Trial",
    "Until",
    "Variant",
    "cumulative",
    "full_factorial",
    "load",
    "one_at_a_time",
    "only_listed",
    "run",
    "table_cells",
]
