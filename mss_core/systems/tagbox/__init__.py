from mss_core.systems.tagbox.recipe import (
    AS_RELEASED,
    SMALL,
    TAGS,
    TagBox,
    Tagger,
    listening,
    smoke,
    stem,
    supervised,
    tagbox,
    tagbox_as_released,
)

__all__ = [
    "AS_RELEASED",
    "SMALL",
    "TAGS",
    "TagBox",
    "Tagger",
    "listening",
    "smoke",
    "stem",
    "supervised",
    "tagbox",
    "tagbox_as_released",
]
