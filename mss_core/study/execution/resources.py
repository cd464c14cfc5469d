"""What each stage asks of the cluster. Edit this table for your machines: hardware is no part of a result.

``cpu``         cores to reserve.
``gpu``         GPUs, used only where the cluster has any; a fraction lets several stages share one.
``gpu_memory``  the share of the GPU's memory a stage may use; the same as ``gpu`` where it is not given.
``warm``        1: trains nothing, so one process may run many such stages one after another. Each other stage gets a
                process of its own, because what a training leaves behind must not reach the next.
"""

from __future__ import annotations

RESOURCES: dict[str, dict[str, float]] = {
    "prepare_tracks": {"cpu": 1},
    "prepare_clips": {"cpu": 1},
    "pretrain": {"cpu": 1, "gpu": 1},
    "train_tail": {"cpu": 1, "gpu": 1},
    "finetune": {"cpu": 1, "gpu": 1},
    "infer": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "score_separator": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "train_levels": {"cpu": 1, "gpu": 1},
    "train_stems": {"cpu": 1, "gpu": 1},
    "score_levels": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "score_songs": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "evaluate": {"cpu": 1, "warm": 1},
    "train_target": {"cpu": 1, "gpu": 1},
    "infer_target": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "train_autoencoder": {"cpu": 1, "gpu": 1},
    "train_classifier": {"cpu": 1, "gpu": 1},
    "separate_clips": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "separate_tracks": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "train_vqvae": {"cpu": 1, "gpu": 1},
    "infer_steered": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "infer_classic": {"cpu": 1, "warm": 1},
    "infer_separated": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "score_estimates": {"cpu": 1, "warm": 1},
    "infer_ideal": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "infer_gate": {"cpu": 1, "warm": 1},
    "score_target": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "score_activity": {"cpu": 1, "warm": 1},
    "evaluate_targets": {"cpu": 1, "warm": 1},
    "prepare_activity": {"cpu": 1},
    "prepare_statistics": {"cpu": 1, "gpu": 0.25},
    "prepare_weights": {"cpu": 1},
    "prepare_levels": {"cpu": 1},
    "prepare_stems": {"cpu": 1},
    "prepare_separator": {"cpu": 1},
    "prepare_vqvae": {"cpu": 1},
    "prepare_tagger": {"cpu": 1},
    "cut_tracks": {"cpu": 1},
    "cut_clips": {"cpu": 1},
    "remove_soft": {"cpu": 1},
    "reconstruct": {"cpu": 1, "gpu": 0.25, "warm": 1},
    "score_stems": {"cpu": 1, "warm": 1},
}
DEFAULT: dict[str, float] = {"cpu": 1}
TABLE = "mss_core/study/execution/resources.py"


def resources(stage: str, gpus: float) -> dict[str, float]:
    """Ray's request for one stage on a cluster with this many GPUs."""
    asked = RESOURCES.get(stage, DEFAULT)
    request = {"CPU": asked["cpu"]}
    if gpus and asked.get("gpu"):
        request["GPU"] = min(asked["gpu"], gpus)
    return request


def warm(stage: str) -> bool:
    """Whether one process may run several of these stages."""
    return bool(RESOURCES.get(stage, DEFAULT).get("warm"))


def memory_share(stage: str) -> float:
    """The part of one GPU's memory that a stage may use, at most 1."""
    asked = RESOURCES.get(stage, DEFAULT)
    return min(1.0, asked.get("gpu_memory", asked.get("gpu", 1.0)) or 1.0)


def out_of_memory(stage: str) -> str:
    """What to do where a stage found too little GPU memory."""
    asked = RESOURCES.get(stage, DEFAULT)
    share = memory_share(stage)
    change = (
        f"raise 'gpu' (or 'gpu_memory') of {stage!r} in {TABLE}, or make its batch smaller"
        if share < 1
        else "it had the whole GPU: make its batch smaller, or use a GPU with more memory"
    )
    return (
        f"not enough GPU memory: {stage!r} asks for {asked.get('gpu', 0):g} of a GPU and may use {share:.0%} of "
        f"its memory; {change}"
    )
