from mss_core.systems.tagbox.recipe import SMALL, TAGS, TagBox, Tagger, listening, smoke, stem, supervised, tagbox

__all__ = ["SMALL", "TAGS", "TagBox", "Tagger", "listening", "smoke", "stem", "supervised", "tagbox"]
