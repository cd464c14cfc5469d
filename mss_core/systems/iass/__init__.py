from mss_core.systems.iass.recipe import EXCEPTIONS, IASS, MUSDB, OPEN_UNMIX, iass_mm, iass_musdb, smoke

__all__ = ["EXCEPTIONS", "IASS", "MUSDB", "OPEN_UNMIX", "iass_mm", "iass_musdb", "smoke"]
