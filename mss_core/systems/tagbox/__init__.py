from mss_core.systems.tagbox.recipe import (
    AS_RELEASED,
    TAGS,
    TagBox,
    Tagger,
    listening,
    stem,
    supervised,
    tagbox,
    tagbox_as_released,
)
from mss_core.systems.tagbox.small import SMALL, real_tagger, smoke

__all__ = [
    "AS_RELEASED",
    "SMALL",
    "TAGS",
    "TagBox",
    "Tagger",
    "listening",
    "real_tagger",
    "smoke",
    "stem",
    "supervised",
    "tagbox",
    "tagbox_as_released",
]
