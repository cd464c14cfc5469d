from mss_core.systems.aemic.recipe import AEMIC, THESIS_FILTERS, aemic, separator_only, smoke

__all__ = ["AEMIC", "THESIS_FILTERS", "aemic", "separator_only", "smoke"]
