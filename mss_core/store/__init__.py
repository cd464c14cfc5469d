from mss_core.store.artefacts import StageFailed, Store, materialize, run_stage
from mss_core.store.attempts import partial_folder
from mss_core.store.manifest import MANIFEST, read_manifest

__all__ = ["MANIFEST", "StageFailed", "Store", "materialize", "partial_folder", "read_manifest", "run_stage"]
