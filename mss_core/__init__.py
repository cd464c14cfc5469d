"""Ablation and hyperparameter studies of music separation; docs/your-own-study.md says where to start."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

__version__ = "0.1.0"

for _name in ("reports", "search_spaces"):
    _spec = _find_spec(_name)
    _place = _Path(_spec.origin or next(iter(_spec.submodule_search_locations or ()), "")) if _spec else None
    if _place is not None and _place.parent.resolve() != _Path(__file__).resolve().parents[1] / _name:
        raise ImportError(f"{_place} hides the package {_name!r} of mss-ablation: give it another name")
