from dataclasses import dataclass, field

from my_paper.stages import evaluate, train

from mss_core.data.config import TrackSet
from mss_core.graph import Stage
from mss_core.models import model
from mss_core.stages.prepare import prepare_tracks
from mss_core.study import Factor, Study, run
from mss_core.training import Phase, TrainConfig
from reports.contract import Metric


@dataclass(frozen=True)
class Recipe:
    data: TrackSet = TrackSet(size=12)
    network: dict = field(default_factory=lambda: model("my_paper.networks:Filter"))
    loss: str = "my_paper.networks:log_energy"
    config: TrainConfig = TrainConfig((Phase(epochs=2),), batch=2)

    def pipeline(self) -> Stage:
        data = Stage(prepare_tracks, data=self.data, segment=32_000)
        trained = Stage(train, data=data, network=self.network, loss=self.loss, config=self.config)
        return Stage(evaluate, data=data, model=trained)


study = Study(
    name="taps",
    question="How long must a filter be?",
    baseline=Recipe(),
    factors=[Factor("taps", {"15": {}, "1": {"network.taps": 1}})],
    reference={"taps": "15"},
    metric="rms_error",
    target="vocals",
    own_metrics={"rms_error": Metric("RMS error", higher_is_better=False, digits=4)},
    sections=[{"kind": "my_paper.report", "factor": "taps"}],
    seeded=["config.seed"],
    smoke=lambda recipe: recipe,
)
if __name__ == "__main__":
    run(study)
