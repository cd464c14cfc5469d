"""Models by name. A model in a recipe is ``{"name": ..., **every keyword argument}``; see :func:`model`. A network of
another package is named ``package.module:Class``.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from mss_core.errors import choose, nearest
from mss_core.names import imported, outside

NAMES = {
    "unet": ("mss_core.models.unet", "UNet"),
    "cnn_tail": ("mss_core.systems.msspt.cnn_tail", "CnnTail"),
    "ast_tail": ("mss_core.systems.msspt.ast_tail", "AstTail"),
    "vqvae": ("mss_core.systems.tagbox.vqvae", "VqVae"),
    "fcn": ("mss_core.systems.tagbox.taggers", "Fcn"),
    "harmonic_cnn": ("mss_core.systems.tagbox.taggers", "HarmonicCnn"),
    "short_chunk_cnn": ("mss_core.systems.tagbox.taggers", "ShortChunkCnn"),
    "musicnn": ("mss_core.systems.tagbox.taggers", "Musicnn"),
    "mask_codec": ("mss_core.systems.tagbox.mask_codec", "MaskCodec"),
    "published_musicnn": ("mss_core.models.musicnn", "PublishedMusicnn"),
    "published_vgg": ("mss_core.models.musicnn", "PublishedVgg"),
    "joint_cnn": ("mss_core.systems.msspt.joint", "JointCnn"),
    "level_separator": ("mss_core.systems.hmss.levels", "LevelSeparator"),
    "mask_inference": ("mss_core.systems.hmss.mask_inference", "MaskInference"),
    "hdemucs": ("mss_core.models.released", "HDemucs"),
    "xumx": ("mss_core.models.xumx", "XUMX"),
    "query_mask_inference": ("mss_core.systems.hmss.mask_inference", "QueryMaskInference"),
    "joint_ast": ("mss_core.systems.msspt.joint", "JointAst"),
    "iass_unet": ("mss_core.systems.iass.unet", "IassUNet"),
    "mask_network": ("mss_core.systems.separation.mask_network", "MaskNetwork"),
    "open_unmix": ("mss_core.systems.iass.open_unmix", "OpenUnmix"),
    "spectrogram_autoencoder": ("mss_core.systems.aemic.autoencoder", "SpectrogramAutoencoder"),
    "aemic_classifier": ("mss_core.systems.aemic.classifier", "AemicClassifier"),
}
DECIDED_BY_DATA = ("classes", "channels", "sources")
DECIDED_ALSO = {
    "iass_unet": ("bins", "max_bin"),
    "open_unmix": ("bins", "max_bin"),
    "spectrogram_autoencoder": ("grid", "stored"),
    "aemic_classifier": ("grid", "stored"),
}
"""Arguments that the data and the graph decide; they stand in an artefact's model.json, not in a recipe."""


_CHECKED: set[str] = set()


def _class(name: str) -> Any:
    if not outside(name):
        choose("model", name, NAMES)
        name = ":".join(NAMES[name])
    return imported("model", name)


def arguments(name: str) -> tuple[str, ...]:
    """The names of the arguments of a model."""
    return tuple(inspect.signature(_class(name)).parameters)


def model(name: str, **changes: Any) -> dict[str, Any]:
    """A recipe's description of a model: its name and every argument, defaults filled from the signature."""
    parameters = inspect.signature(_class(name)).parameters
    decided = (*DECIDED_BY_DATA, *DECIDED_ALSO.get(name, ()))
    described: dict[str, Any] = {"name": name}
    for argument, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty and argument not in decided:
            described[argument] = parameter.default
    for argument, value in changes.items():
        if argument not in described:
            raise ValueError(f"model {name!r} has no argument {argument!r}; {nearest(argument, described)}")
        described[argument] = value
    return described


def check(described: dict[str, Any], place: str) -> None:
    """Raise ValueError, naming ``place``, for a description that builds no model; allocates nothing."""
    import torch

    text = repr(described)  # several times as fast as JSON: every recipe of a study comes here
    if text in _CHECKED:
        return
    try:
        with torch.device("meta"):
            module = build(described)
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"model {described['name']!r} makes a {type(module).__name__}, no torch.nn.Module")
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ValueError(f"{error} (in {place!r})") from None
    _CHECKED.add(text)


def build(described: dict[str, Any]) -> Any:
    """The module that a description (a recipe's, with what data decide, or a model.json) stands for."""
    arguments = {
        name: build(value) if isinstance(value, dict) else value for name, value in described.items() if name != "name"
    }
    return _class(described["name"])(**arguments)


def save(directory: Path, described: dict[str, Any], module: Any) -> None:
    """Write ``model.json`` and ``weights.pt`` (a state_dict): enough to rebuild the module anywhere."""
    import torch

    (directory / "model.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    torch.save(state, directory / "weights.pt")


def state(directory: Path) -> dict[str, Any]:
    """The weights of an artefact, on the CPU."""
    import torch

    return torch.load(directory / "weights.pt", map_location="cpu", weights_only=True)


def take(module: Any, weights: dict[str, Any], what: str) -> set[str]:
    """Load weights by name into a module that may have more; returns the names it keeps as they are.

    Raises ValueError, naming ``what`` and the first tensor, where the module lacks one or has it in another shape.
    """
    own = module.state_dict()
    for name, value in weights.items():
        if name not in own:
            raise ValueError(f"{what}: the model has no {name!r}; {nearest(name, own)}")
        if own[name].shape != value.shape:
            raise ValueError(
                f"{what}: {name!r} has shape {tuple(value.shape)}; the model's is {tuple(own[name].shape)}"
            )
    module.load_state_dict({**own, **weights})
    return set(own) - set(weights)


def take_all(module: Any, weights: dict[str, Any], what: str) -> None:
    """As :func:`take`; ValueError also where the weights lack a tensor."""
    _refuse(take(module, weights, what), what)


def take_backbone(module: Any, weights: dict[str, Any], what: str) -> None:
    """As :func:`take_all`, of everything but the head."""
    _refuse({name for name in take(module, weights, what) if not name.startswith("head")}, what)


def _refuse(missing: set[str], what: str) -> None:
    lacking = sorted(missing)
    if lacking:
        raise ValueError(f"{what}: no {lacking[0]!r}, which the model has ({len(lacking)} tensors are missing)")


def load(directory: Path) -> Any:
    """The trained module of an artefact, in evaluation mode, on the CPU."""
    module = build(json.loads((directory / "model.json").read_text(encoding="utf-8")))
    module.load_state_dict(state(directory))
    return module.eval()
