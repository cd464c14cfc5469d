from mss_core.store.artefacts import MANIFEST, StageFailed, Store, materialize, partial_folder, read_manifest, run_stage

__all__ = ["MANIFEST", "StageFailed", "Store", "materialize", "partial_folder", "read_manifest", "run_stage"]
