from mss_core.systems.transfer.recipe import STEMS, Transfer, smoke, transfer

__all__ = ["STEMS", "Transfer", "smoke", "transfer"]
