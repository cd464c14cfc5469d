from mss_core.systems.iass.recipe import (
    EXCEPTIONS,
    IASS,
    MUSDB,
    OPEN_UNMIX,
    STEREO,
    iass_mm,
    iass_musdb,
    iass_musdb_stereo,
    smoke,
)

__all__ = ["EXCEPTIONS", "IASS", "MUSDB", "OPEN_UNMIX", "STEREO", "iass_mm", "iass_musdb", "iass_musdb_stereo", "smoke"]
