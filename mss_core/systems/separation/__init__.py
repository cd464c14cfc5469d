from mss_core.systems.separation.recipe import Separation, smoke

__all__ = ["Separation", "smoke"]
