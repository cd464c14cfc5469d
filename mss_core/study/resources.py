"""What each stage asks of the cluster. Edit this table for your machines: hardware is no part of a result.

``gpu`` is used only where the cluster has GPUs; a fraction lets several stages share one.
"""

RESOURCES: dict[str, dict[str, float]] = {
    "prepare_tracks": {"cpu": 1},
    "prepare_clips": {"cpu": 1},
    "pretrain": {"cpu": 1, "gpu": 1},
    "train_tail": {"cpu": 1, "gpu": 1},
    "finetune": {"cpu": 1, "gpu": 1},
    "infer": {"cpu": 1, "gpu": 0.25},
    "score_separator": {"cpu": 1, "gpu": 0.25},
    "train_autoencoder": {"cpu": 1, "gpu": 1},
    "train_classifier": {"cpu": 1, "gpu": 1},
    "separate_clips": {"cpu": 1, "gpu": 0.25},
    "separate_tracks": {"cpu": 1, "gpu": 0.25},
    "evaluate": {"cpu": 1},
}
DEFAULT: dict[str, float] = {"cpu": 1}


def resources(stage: str, gpus: float) -> dict[str, float]:
    """Ray's request for one stage on a cluster with this many GPUs."""
    asked = RESOURCES.get(stage, DEFAULT)
    request = {"CPU": asked["cpu"]}
    if gpus and asked.get("gpu"):
        request["GPU"] = min(asked["gpu"], gpus)
    return request
