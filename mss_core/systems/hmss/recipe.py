"""HMSS: hierarchical separation of one instrument and its parents [Zhang; Manilow et al. 2020].

::

    prepare_levels -> train_levels (one model of all levels, or one a level) -> score_levels

Levels are counted from the leaf: level 1 is the leaf, the highest level the coarsest submix. The thesis prints no
schedule of the learning rate; this is that of MERL's code (the rate halved after more than four epochs without a new
best, going on from the best weights), as a row of phases, the last of which runs until the 100 epochs of the thesis'
Table 4 are over. MERL's code also clips gradients at the 10th percentile of their norms: ``Phase.clip``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core.data import hierarchy
from mss_core.data.sets import TrackSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.models import check, model
from mss_core.names import check as check_name
from mss_core.systems.hmss.prepare import prepare_levels
from mss_core.systems.hmss.saliency import Sampling
from mss_core.systems.hmss.score import score_levels
from mss_core.systems.hmss.train import Objective, train_levels
from mss_core.training import Phase, TrainConfig

TRAIN = TrainConfig(
    tuple(
        Phase("adam", lr=1e-4 * 0.5**halved, epochs=100, patience=4 if halved < 7 else None, eps=1e-8)
        for halved in range(8)
    ),
    batch=25,
    epoch_steps=800,
    max_epochs=100,
)


@dataclass(frozen=True)
class HMSS:
    """The recipe.

    Attributes:
        data: tracks to train and test on; its ``sources`` are all that the hierarchy knows, whatever is packed.
        hierarchy: a name of :mod:`mss_core.data.hierarchy`.
        leaves: the instruments; several need ``query``.
        scored: leaves to score; empty: all of them.
        levels: nodes from the leaf upward.
        joint: one model of all levels, or one for each.
        query: separate whatever an example of it sounds like (query by example).
        network: the mask network.
        mask, constraint: how masks are used; see :mod:`mss_core.systems.hmss.masks`.
    """

    data: TrackSet = TrackSet("slakh2100", split="split2")
    hierarchy: str = "slakh"
    leaves: tuple[str, ...] = ("clean_guitars",)
    scored: tuple[str, ...] = ()
    levels: int = 3
    joint: bool = True
    query: bool = False
    network: dict[str, Any] = field(default_factory=lambda: model("mask_inference"))
    mask: str = "direct"
    constraint: str = "none"
    objective: Objective = Objective()
    sampling: Sampling = Sampling()
    train: TrainConfig = TRAIN

    def __post_init__(self) -> None:
        tree = hierarchy.load(self.hierarchy)
        if not self.leaves or len(set(self.leaves)) < len(self.leaves):
            raise ValueError(f"'leaves' must name at least one leaf, each once; got {self.leaves}")
        if len(self.leaves) > 1 and not self.query:
            raise ValueError(
                f"{len(self.leaves)} leaves and one model: only a query says which of them is meant (set 'query')"
            )
        for leaf in self.scored:
            choose("leaf to score (it must be among 'leaves')", leaf, self.leaves)
        takes_query = self.network["name"] == "query_mask_inference"
        if self.query != takes_query:
            raise ValueError(
                f"'query' is {self.query}, and the network {self.network['name']!r} "
                f"{'needs one' if takes_query else 'reads none'}"
            )
        self.paths()
        object.__setattr__(self, "data", replace(self.data, sources=tree.everything()))
        levels = self.levels if self.joint else 1
        check(
            {"name": "level_separator", "network": self.network, "mask": self.mask, "constraint": self.constraint},
            "network",
        )
        if levels == 1 or self.mask == "direct":  # one meaning, one key
            object.__setattr__(self, "objective", replace(self.objective, judged="own"))
        if levels == 1 and (self.mask != "direct" or self.constraint != "none"):
            raise ValueError(
                f"'mask' {self.mask!r} with 'constraint' {self.constraint!r} relates levels, and a model has one"
            )
        choose("track data set with this hierarchy", self.data.name, SETS[self.hierarchy])

    def rehearsal(self) -> HMSS:
        """Chunks of one second, through which the recurrent network takes a second, and tracks of several chunks."""
        if self.data.excerpt is None:
            return self
        sampling = replace(self.sampling, seconds=min(1.0, self.sampling.seconds))
        return replace(self, sampling=sampling, data=replace(self.data, excerpt=1.5 * sampling.seconds))

    def paths(self, leaves: tuple[str, ...] = ()) -> tuple[tuple[str, ...], ...]:
        """Each leaf with its parents, leaf first."""
        tree = hierarchy.load(self.hierarchy)
        return tuple(tree.path(leaf, self.levels) for leaf in leaves or self.leaves)

    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node for path in self.paths() for node in path))

    def _siblings(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        """By wanted leaf, the leaves of which one must sound beside it; by each of those, its sources."""
        if self.sampling.beside != "root":
            return {}, {}
        tree = hierarchy.load(self.hierarchy)
        beside = {path[0]: tree.siblings(path) for path in self.paths()}
        return beside, tree.rows(tuple(dict.fromkeys(leaf for leaves in beside.values() for leaf in leaves)))

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        rows = hierarchy.load(self.hierarchy).rows(self.nodes())
        sources = tuple(dict.fromkeys(source for names in rows.values() for source in names))
        beside, siblings = self._siblings()
        sources = tuple(dict.fromkeys((*sources, *(source for names in siblings.values() for source in names))))
        segment = round(self.sampling.seconds * self.data.samplerate)
        tracks = Stage(
            prepare_levels,
            data=replace(self.data, sources=sources),
            rows=rows,
            segment=segment,
            siblings=siblings,
            beside=beside,
            hop=self.sampling.hop(self.data.samplerate) if siblings else segment,
        )
        groups = (tuple(range(self.levels)),) if self.joint else tuple((level,) for level in range(self.levels))
        trained = tuple(
            Stage(
                train_levels,
                data=tracks,
                paths=self.paths(),
                levels=group,
                network=self.network,
                query=self.query,
                mask=self.mask,
                constraint=self.constraint,
                objective=self.objective,
                sampling=self.sampling,
                train=self.train,
            )
            for group in groups
        )
        return Stage(
            score_levels,
            data=tracks,
            trained=trained,
            levels=groups,
            paths=self.paths(self.scored),
            query=self.query,
            sampling=self.sampling,
        )


SETS = {
    "synthetic": ("synthetic",),
    "four_stems": ("musdb18hq", "musdb18", "stems", "synthetic"),
    "slakh": ("slakh2100",),
    "merl": ("slakh2100",),
    "ms21": ("ms21",),
}
"""Data sets whose stems a hierarchy speaks of."""


def hmss() -> HMSS:
    """Clean guitars on Slakh2100, three direct masks, the mask loss: Table 6's second row."""
    return HMSS()


def hmss_ms21() -> HMSS:
    """Electric guitar on MS21: Table 7."""
    return HMSS(data=TrackSet("ms21"), hierarchy="ms21", leaves=("electric_guitar",))


def four_stems(leaf: str = "other") -> HMSS:
    """A stem and the accompaniment it is part of, on MUSDB18-HQ: what the thesis leaves to future work."""
    return HMSS(data=TrackSet("musdb18hq"), hierarchy="four_stems", leaves=(leaf,), levels=2)


def mask_network(name: str, **changes: Any) -> dict[str, Any]:
    """A network that gives masks of magnitudes: ``"mask_inference"``, ``"query_mask_inference"``, or ``"unet"``."""
    check_name("mask network", name, ("mask_inference", "query_mask_inference", "unet"))
    return model(name, **changes)


def smoke(recipe: HMSS) -> HMSS:
    """The same recipe on the embedded synthetic music: ``other`` in ``harmonic`` in ``accompaniment``, two-second
    chunks, a network of one small layer.

    MS21 becomes ``bass``; several leaves become ``other`` and ``bass``.
    """
    two = ("bass", "other") if recipe.hierarchy == "ms21" else ("other", "bass")
    small: dict[str, Any] = {"hidden": 32, "layers": 1}
    if recipe.network["name"] == "unet":
        small = {"widths": (4, 8, 8, 16), "post": 4, "bn_momentum": 0.1}
    elif recipe.query:
        small |= {"query_layers": 1, "anchor": 4}
    levels = min(3, recipe.levels)
    first = replace(recipe.train.phases[0], lr=3e-3, epochs=2, patience=None)
    return replace(
        recipe,
        data=TrackSet("synthetic", size=30),
        hierarchy="four_stems" if recipe.hierarchy == "four_stems" else "synthetic",
        leaves=two if len(recipe.leaves) > 1 else two[:1],
        scored=two[:1] if recipe.scored else (),
        levels=levels,
        network={**recipe.network, **small},
        sampling=replace(recipe.sampling, seconds=2.0, hop_ratio=0.5, valid_items=8, test_items=24),
        train=replace(recipe.train, phases=(first,), batch=8, epoch_steps=25, precision="float32"),
    )
