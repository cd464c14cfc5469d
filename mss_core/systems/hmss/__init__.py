from mss_core.systems.hmss.recipe import HMSS, four_stems, hmss, hmss_ms21, mask_network, smoke

__all__ = ["HMSS", "four_stems", "hmss", "hmss_ms21", "mask_network", "smoke"]
