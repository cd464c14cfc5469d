"""The loop: selection, phases, exact resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mss_core.graph import Context, digest, plain, read_history
from mss_core.losses import LOSSES
from mss_core.recipe import override
from mss_core.systems import aemic, hmss, iass, msspt, tagbox, transfer
from mss_core.systems.aemic import AEMIC
from mss_core.systems.hmss import HMSS
from mss_core.systems.iass import IASS, OPEN_UNMIX
from mss_core.systems.msspt import AST_PHASES, MSSPT
from mss_core.systems.tagbox import TagBox
from mss_core.systems.transfer import Transfer
from mss_core.training import Phase, TrainConfig, fit

SMOKE = {
    MSSPT: msspt.smoke,
    AEMIC: aemic.smoke,
    IASS: iass.smoke,
    HMSS: hmss.smoke,
    TagBox: tagbox.smoke,
    Transfer: transfer.smoke,
}


class Stop(Exception):
    pass


def problem(seed: int = 0) -> tuple[nn.Module, dict]:
    """A noisy linear regression with dropout, so that both batches and the global generator matter."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
    truth = torch.tensor([[1.0], [-2.0], [0.5], [3.0]])

    def batch(step: int):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return x, x @ truth

    held = batch(10_000)
    return module, {
        "batch": batch,
        "loss": lambda m, pair: (m(pair[0]) - pair[1]).square().mean(),
        "validate": lambda m: {"loss": (m(held[0]) - held[1]).square().mean().item()},
    }


def run(out: Path, config: TrainConfig, listen=None, checkpoint_seconds: float = 1e9) -> tuple[nn.Module, dict]:
    module, parts = problem()
    out.mkdir(exist_ok=True)
    ctx = Context(out=out, checkpoint_seconds=checkpoint_seconds, listen=listen)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return module, fit(module, config, epoch_steps=5, ctx=ctx, **parts)


CONFIG = TrainConfig(
    (Phase("adam", lr=0.05, epochs=6, decay=0.5, decay_steps=7), Phase("sgd", lr=0.01, epochs=4, momentum=0.9))
)


MODERN = TrainConfig(
    (
        Phase("adamw", lr=0.05, epochs=6, weight_decay=0.1, warmup=12, cosine=0.1, clip_norm=0.5),
        Phase("torch.optim:RAdam", lr=0.01, epochs=4, warmup=3, options={"betas": [0.8, 0.99]}),
    ),
    ema=0.97,
    accumulate=2,
    epoch_steps=5,
)


@pytest.mark.parametrize(
    ("config", "at"),
    [*((CONFIG, at) for at in (1, 4, 6, 7, 9)), *((MODERN, at) for at in (2, 6, 9))],
    ids=lambda value: ("modern" if value.ema else "plain") if isinstance(value, TrainConfig) else str(value),
)
def test_resume_is_exact(tmp_path: Path, config: TrainConfig, at: int) -> None:
    whole, best = run(tmp_path / "whole", config)

    def stop(row):
        if row["step"] == 5 * at:
            raise Stop

    # A checkpoint after every step: stopping in epoch ``at`` resumes within it.
    with pytest.raises(Stop):
        run(tmp_path / "cut", config, stop, checkpoint_seconds=0)
    again, best_again = run(tmp_path / "cut", config, checkpoint_seconds=0)
    assert best_again == best
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    rows, rows_again = (read_history(tmp_path / name) for name in ("whole", "cut"))
    assert rows == rows_again and [row["step"] for row in rows] == list(range(5, 51, 5))


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    whole, best = run(tmp_path / "whole", CONFIG)
    (tmp_path / "cut" / ".work").mkdir(parents=True)
    (tmp_path / "cut" / ".work" / "checkpoint.pt").write_bytes(b"half")
    again, best_again = run(tmp_path / "cut", CONFIG)
    assert best_again == best and torch.equal(whole[0].weight, again[0].weight)


def test_a_validation_loss_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    module, parts = problem()
    parts["validate"] = lambda m: {"loss": float("nan")}
    with pytest.raises(FloatingPointError, match="validation loss became nan by step 5"):
        fit(module, CONFIG, epoch_steps=5, ctx=Context(out=tmp_path), **parts)


def test_best_weights_are_kept(tmp_path: Path) -> None:
    wild = TrainConfig((Phase("adam", lr=0.05, epochs=8), Phase("sgd", lr=0.3, epochs=1)), select="best")
    module, best = run(tmp_path, wild)
    losses = [row["valid_loss"] for row in read_history(tmp_path)]
    assert best["loss"] == min(losses) < losses[-1]
    assert best["epoch"] == 1 + losses.index(min(losses))
    _, parts = problem()
    module.eval()
    assert parts["validate"](module)["loss"] == pytest.approx(best["loss"], rel=1e-6)


def test_patience_ends_a_phase_after_more_than_that_many_bad_epochs(tmp_path: Path) -> None:
    still = TrainConfig((Phase("sgd", lr=1e-12, epochs=50, patience=3), Phase("sgd", lr=1e-12, epochs=2)))
    _, best = run(tmp_path, still)
    assert best["epochs"] <= 1 + 4 + 4 + 2


def test_decay_and_cap(tmp_path: Path) -> None:
    config = TrainConfig((Phase("adam", lr=0.1, epochs=9, decay=0.5, decay_steps=5),), max_epochs=3)
    run(tmp_path, config)
    assert [row["learning_rate"] for row in read_history(tmp_path)] == [0.1, 0.05, 0.025]


def test_decay_by_epochs(tmp_path: Path) -> None:
    """The AST's: halved every second epoch after the fifth, then a phase of its own."""
    from mss_core.systems.msspt import AST_PHASES

    run(tmp_path, TrainConfig(AST_PHASES, select="last"))
    rates = [row["learning_rate"] for row in read_history(tmp_path)]
    halvings = [0] * 5 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rates == [5e-5 * 0.5**n for n in halvings] + [1e-4] * 2


@pytest.mark.parametrize("stopped", [None, 7])
def test_a_plateau_lowers_the_rate_as_torch_does(tmp_path: Path, stopped: int | None) -> None:
    """Also when stopped in between: how long it has waited is in the checkpoint."""
    losses = [5.0, 4.0, 4.5, 4.2, 4.1, 3.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 2.0, 2.5]
    phase = Phase("sgd", lr=0.1, epochs=len(losses), factor=0.3, plateau=2)

    def fitted(listen=None) -> None:
        module, parts = problem()
        ctx = Context(out=tmp_path, checkpoint_seconds=0, listen=listen)
        parts["validate"] = lambda m: {"loss": losses[len(read_history(tmp_path))]}
        fit(module, TrainConfig((phase,)), epoch_steps=2, ctx=ctx, **parts)

    def stop(row):
        if row["step"] == 2 * stopped:
            raise Stop

    if stopped:
        with pytest.raises(Stop):
            fitted(stop)
    fitted()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2, threshold=0.0)
    expected = []
    for loss in losses:
        expected.append(optimizer.param_groups[0]["lr"])
        schedule.step(loss)
    rates = [row["learning_rate"] for row in read_history(tmp_path)]
    assert rates == pytest.approx(expected) and len(set(expected)) == 3 + 1


@pytest.mark.parametrize("stopped", [None, 7])
def test_clipping_at_a_percentile_of_past_norms(tmp_path: Path, stopped: int | None) -> None:
    """Against a loop of its own with numpy's percentile; also when stopped in between."""
    phase = Phase("sgd", lr=0.1, epochs=4, clip=25.0)
    module, parts = problem()

    def stop(row):
        if row["step"] >= stopped:
            raise Stop

    if stopped:
        with pytest.raises(Stop):
            fit(
                module,
                TrainConfig((phase,), select="last"),
                epoch_steps=5,
                ctx=Context(out=tmp_path, checkpoint_seconds=0, listen=stop),
                **parts,
            )
        module, parts = problem()
    fit(
        module,
        TrainConfig((phase,), select="last"),
        epoch_steps=5,
        ctx=Context(out=tmp_path, checkpoint_seconds=0),
        **parts,
    )

    alone, parts = problem()
    norms, clipped = [], 0
    for step in range(20):
        parameters = list(alone.parameters())
        gradients = torch.autograd.grad(parts["loss"](alone, parts["batch"](step)), parameters)
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        scale = min(1.0, float(np.percentile(norms, 25.0)) / norms[-1])
        clipped += scale < 1
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * scale * gradient
    assert 5 < clipped < 20
    for ours, expected in zip(module.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def plain_problem() -> tuple[nn.Module, dict]:
    """As :func:`problem`, without dropout."""
    module, parts = problem()
    module[1] = nn.Identity()
    return module, parts


def fitted(out: Path, config: TrainConfig, epoch_steps: int = 5, **changes) -> tuple[nn.Module, dict]:
    module, parts = plain_problem()
    out.mkdir(exist_ok=True)
    best = fit(module, config, epoch_steps=epoch_steps, ctx=Context(out=out), **{**parts, **changes})
    return module, best


@pytest.mark.parametrize(
    ("phase", "kind", "arguments"),
    [
        (Phase("adamw", lr=0.02, weight_decay=0.3, eps=1e-8), torch.optim.AdamW, {"weight_decay": 0.3}),
        (Phase("torch.optim:AdamW", lr=0.02), torch.optim.AdamW, {}),
        (Phase("torch.optim:NAdam", lr=0.02, options={"betas": [0.7, 0.9]}), torch.optim.NAdam, {"betas": (0.7, 0.9)}),
        (Phase("torch.optim:Adagrad", lr=0.02, clip_norm=0.3), torch.optim.Adagrad, {}),
    ],
)
def test_steps_are_those_of_the_optimiser_used_directly(tmp_path: Path, phase: Phase, kind, arguments: dict) -> None:
    """Schedule and clipping included, against torch's own."""
    phase = replace(phase, epochs=4, warmup=4, cosine=0.25)
    module, _ = fitted(tmp_path, TrainConfig((phase,), select="last"))
    alone, parts = plain_problem()
    optimizer = kind(alone.parameters(), lr=0.02, **arguments)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.25, 1.0, total_iters=3),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20 - 4, eta_min=0.25 * 0.02),
        ],
        [4],
    )
    rates = []
    for step in range(20):
        optimizer.zero_grad()
        parts["loss"](alone, parts["batch"](step)).backward()
        if phase.clip_norm:
            nn.utils.clip_grad_norm_(alone.parameters(), phase.clip_norm)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    for ours, expected in zip(module.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)
    assert [row["learning_rate"] for row in read_history(tmp_path)] == pytest.approx(rates[4::5])
    assert max(rates) == pytest.approx(0.02) and rates[0] == pytest.approx(0.005)


def test_a_clipped_norm_is_no_greater(tmp_path: Path) -> None:
    """One step of plain descent is as long as the rate times the norm."""
    module, _ = fitted(tmp_path, TrainConfig((Phase("sgd", lr=1.0, epochs=1, clip_norm=0.01),), select="last"), 1)
    before, _ = plain_problem()
    change = [(a - b).flatten() for a, b in zip(module.parameters(), before.parameters(), strict=True)]
    assert float(torch.cat(change).detach().norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_batches_of_four_are_one_step_of_eight(tmp_path: Path, optimizer: str) -> None:
    def batch(number: int, size: int = 8):
        x, y = plain_problem()[1]["batch"](number * size // 8)
        first = number * size % 8
        return x[first : first + size], y[first : first + size]

    phase = Phase(optimizer, lr=0.05, epochs=3, clip_norm=1.0)
    whole, best = fitted(tmp_path / "whole", TrainConfig((phase,), batch=8), batch=batch)
    halves, best_halves = fitted(
        tmp_path / "halves",
        TrainConfig((phase,), batch=4, accumulate=2),
        epoch_steps=10,  # one pass: as many batches, half as many steps
        batch=lambda number: batch(number, 4),
    )
    assert best["steps"] == best_halves["steps"] == 15 and best["loss"] == pytest.approx(best_halves["loss"], rel=1e-6)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    rows, rows_halves = (read_history(tmp_path / name) for name in ("whole", "halves"))
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in rows_halves], rel=1e-6)


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_average_of_the_weights_is_judged_and_kept(tmp_path: Path, select: str) -> None:
    """Against a loop of its own with torch's averaged model; the raw weights jump about and are worse."""
    judged = []

    def validate(m: nn.Module) -> dict[str, float]:
        judged.append([parameter.detach().clone() for parameter in m.parameters()])
        return plain_problem()[1]["validate"](m)

    config = TrainConfig((Phase("sgd", lr=0.12, epochs=6),), ema=0.9, select=select)
    module, best = fitted(tmp_path, config, validate=validate)
    alone, parts = plain_problem()

    def decayed(average, now, number):
        decay = min(0.9, (1 + number) / (10 + number))
        return decay * average + (1 - decay) * now

    averaged = torch.optim.swa_utils.AveragedModel(alone, avg_fn=decayed)
    averaged.n_averaged += 1  # torch's first update takes the weights as they are; ours goes on from the initial ones
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.12)
    expected = []
    for step in range(30):
        optimizer.zero_grad()
        parts["loss"](alone, parts["batch"](step)).backward()
        optimizer.step()
        averaged.update_parameters(alone)
        if step % 5 == 4:
            expected.append([parameter.detach().clone() for parameter in averaged.module.parameters()])
    torch.testing.assert_close(judged, expected, rtol=1e-5, atol=1e-6)
    kept = [parameter.detach() for parameter in module.parameters()]
    epoch = best["epoch"] if select == "best" else 6
    torch.testing.assert_close(kept, judged[epoch - 1], rtol=0, atol=0)
    assert not torch.equal(kept[0], list(alone.parameters())[0])


def test_buffers_beside_an_average_are_the_present_ones(tmp_path: Path) -> None:
    module, parts = problem()
    module[1] = nn.BatchNorm1d(8)
    fit(
        module,
        TrainConfig((Phase("sgd", lr=0.01, epochs=1),), ema=0.5, select="last"),
        epoch_steps=3,
        ctx=Context(out=tmp_path),
        **parts,
    )
    alone, _ = problem()
    alone[1] = nn.BatchNorm1d(8)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.01)
    for step in range(3):
        optimizer.zero_grad()
        parts["loss"](alone, parts["batch"](step)).backward()
        optimizer.step()
    torch.testing.assert_close(dict(module[1].named_buffers()), dict(alone[1].named_buffers()))


def test_what_is_not_set_is_no_part_of_a_key() -> None:
    """A phase and a configuration have the keys that they had before they could do more."""
    names = {"options", "warmup", "cosine", "clip_norm", "accumulate", "ema"}
    assert not names & plain(TrainConfig()).keys() and not names & plain(Phase()).keys()
    assert digest(TrainConfig()) != digest(TrainConfig(ema=0.9)) != digest(TrainConfig(accumulate=2))
    assert digest(Phase()) != digest(Phase(warmup=5)) != digest(Phase(cosine=0.0)) != digest(Phase(clip_norm=5.0))


class Idle(nn.Module):
    """Takes what an optimiser does and is none."""

    def __init__(self, parameters: object, lr: float) -> None:
        super().__init__()


def test_a_diverging_loss_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="the training loss became nan|inf.*lower the learning rate"):
        run(tmp_path, TrainConfig((Phase("sgd", lr=1e6, epochs=30),)))


@pytest.mark.parametrize("eps", [1e-7, 1e-8, 1.0])
def test_adam_s_first_step_is_the_rate_by_gradient_over_its_size_and_eps(tmp_path: Path, eps: float) -> None:
    """After the bias correction both moments are those of the one gradient: step = lr g / (|g| + eps)."""
    module, parts = problem()
    before: dict[str, torch.Tensor] = {}

    def loss(m: nn.Module, pair: tuple) -> torch.Tensor:
        before.update({name: parameter.detach().clone() for name, parameter in m.named_parameters()})
        return sum(1e-7 * (k + 1) * parameter.sum() for k, parameter in enumerate(m.parameters()))

    config = TrainConfig((Phase("adam", lr=0.5, epochs=1, eps=eps),), select="last")
    fit(module, config, epoch_steps=1, ctx=Context(out=tmp_path), **{**parts, "loss": loss})
    for k, (name, parameter) in enumerate(module.named_parameters()):
        step = 0.5 * 1e-7 * (k + 1) / (1e-7 * (k + 1) + eps)
        torch.testing.assert_close(
            before[name] - parameter.detach(), torch.full_like(parameter, step), rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize(
    ("recipe", "eps"),
    [
        (MSSPT(), 1e-7),
        (MSSPT(train_tail=TrainConfig(AST_PHASES)), 1e-7),
        (AEMIC(), 1e-7),
        (IASS(), 1e-8),
        (override(IASS(), OPEN_UNMIX), 1e-8),
        (HMSS(), 1e-8),
        (Transfer(), 1e-8),
        (TagBox(), 1e-8),
    ],
)
def test_eps_is_that_of_each_paper_s_framework(recipe: object, eps: float) -> None:
    """Keras for MSSPT and AE-MIC, PyTorch for the others; smoke runs keep it."""
    found = [
        phase
        for small in (recipe, SMOKE[type(recipe)](recipe))
        for config in vars(small).values()
        if isinstance(config, TrainConfig)
        for phase in config.phases
        if phase.optimizer == "adam"
    ]
    assert len(found) > 1 and {phase.eps for phase in found} == {eps}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Phase("adan"), "no optimizer 'adan'; did you mean 'adam'"),
        (lambda: Phase("torch.optim:AdamX"), "torch.optim has no 'AdamX'; did you mean 'Adam"),
        (lambda: Phase("torch.optim:AdamW", options={"beta": 0.9}), "cannot be made of {'beta': 0.9}.*'beta'"),
        (lambda: Phase("torch.optim:LBFGS"), "'torch.optim:LBFGS' evaluates the loss by itself"),
        (lambda: Phase(f"{__name__}:Idle"), "makes a Idle, no torch.optim.Optimizer"),
        (lambda: Phase("torch.optim:AdamW", weight_decay=0.1), "'weight_decay' and the like are said in 'options'"),
        (lambda: Phase("adam", options={}), "'options' are those of an optimizer named package.module:Class"),
        (lambda: Phase(warmup=0), "'warmup' is a number of steps from 1 on"),
        (lambda: Phase(cosine=1.5), "'cosine' is a share of the rate from 0 to 1"),
        (lambda: Phase(clip_norm=0.0), "'clip_norm' is a norm above 0"),
        (lambda: Phase(clip_norm=1.0, clip=10.0), "not given beside 'clip'"),
        (lambda: TrainConfig(ema=1.0), "'ema' is a decay above 0 and below 1"),
        (lambda: TrainConfig(accumulate=0), "'accumulate' is a number of batches from 1 on"),
        (lambda: Phase(lr=-1), "needs lr > 0"),
        (lambda: Phase(decay_epochs=0), "decay_epochs >= 1"),
        (lambda: Phase(decay_after=-1), "decay_after >= 0"),
        (lambda: Phase(clip=0.0), "'clip' is a percentile above 0 and at most 100"),
        (lambda: Phase(eps=0.0), "'eps' must be above 0, not 0.0"),
        (lambda: Phase(factor=0.0), "needs 0 < factor <= 1"),
        (lambda: TrainConfig(select="beste"), "no select 'beste'; did you mean 'best'"),
        (lambda: TrainConfig(batch=1), "'batch' must be at least 2"),
        (lambda: TrainConfig(phases=()), "'phases' is empty"),
        (lambda: TrainConfig(max_epochs=0), "'max_epochs' and 'epoch_steps' must be at least 1"),
        (lambda: TrainConfig(epoch_steps=0), "'max_epochs' and 'epoch_steps' must be at least 1"),
        (lambda: TrainConfig(precision="float16"), "no precision 'float16'"),
    ],
)
def test_mistakes(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_one_value_an_item_and_finite_gradients(name: str) -> None:
    torch.manual_seed(0)
    classes = "cross_entropy" in name
    references = torch.eye(3)[[0, 2]] if classes else torch.randn(2, 3, 5)
    estimates = torch.randn_like(references).requires_grad_()
    value = LOSSES[name](estimates, references)
    perfect = (references * 2 - 1) * 40 if classes else references
    least = LOSSES[name](perfect, references)
    assert value.shape == (2,) and (value > least).all()
    value.sum().backward()
    assert torch.isfinite(estimates.grad).all()
    if name == "si_sdr":  # in dB, without a bound but float32's
        assert (least < -60).all()
    else:
        assert least == pytest.approx(torch.zeros(2), abs=1e-6)


def test_losses_against_torch() -> None:
    x, y = torch.randn(4, 3), torch.eye(3)[[0, 1, 2, 1]]
    assert LOSSES["cross_entropy"](x, y).mean() == pytest.approx(
        float(nn.functional.cross_entropy(x, y.argmax(1))), rel=1e-6
    )
    assert LOSSES["binary_cross_entropy"](x, y).mean() == pytest.approx(
        float(nn.functional.binary_cross_entropy(x.sigmoid(), y)), rel=1e-5
    )
    assert LOSSES["l1"](x, y).mean() == pytest.approx(float((x - y).abs().mean()), rel=1e-6)
