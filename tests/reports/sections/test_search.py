"""The report of a search, from its tables alone."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import optuna
import pytest

import reports
from reports.inputs import searches
from reports.inputs.searches import Arm, Training, expected_best, front, importance, read, scores
from reports.sections.search import arm_section, overview, section, words
from reports.writers.markdown import blocks

LR = {"name": "FloatDistribution", "attributes": {"step": None, "low": 1e-4, "high": 1e-1, "log": True}}
DROPOUT = {"name": "FloatDistribution", "attributes": {"step": None, "low": 0.0, "high": 1.0, "log": False}}
BATCH = {"name": "CategoricalDistribution", "attributes": {"choices": [4, 8, 16]}}
RANGES = {"finetune.phases.0.lr": LR, "tail.dropout": DROPOUT, "finetune.batch": BATCH}


def value(departures) -> float:
    """Nearly all of it is the learning rate's."""
    lr, dropout, batch = departures.values()
    return (math.log10(lr) + 2.5) ** 2 + 0.2 * dropout + 0.01 * batch


def arm_of(count=30, variant="bass", seed=0, maximised=False, pruned=(), diverged=()) -> Arm:
    rng = np.random.default_rng(seed)
    trainings = []
    for trial in range(count):
        departures = {
            "finetune.phases.0.lr": float(10 ** rng.uniform(-4, -1)),
            "tail.dropout": float(rng.random()),
            "finetune.batch": int(rng.choice([4, 8, 16])),
        }
        reached = value(departures) * (-1 if maximised else 1)
        state = "pruned" if trial in pruned else "diverged" if trial in diverged else "complete"
        shown = math.nan if state == "diverged" else reached
        epochs = 3 if state == "pruned" else 9
        trainings.append(Training(trial, None, state, (shown,), epochs, 9, 2.0, departures, (5.0, shown)))
    done = [t for t in trainings if t.state == "complete"]
    best = sorted(done, key=lambda t: t.values[0] * (-1 if maximised else 1))[:2]
    for t in best:
        trainings += [
            Training(t.trial, 1001 + k, "complete", (t.values[0] + 0.1 * k,), 9, 9, 2.0, t.departures, ())
            for k in range(2)
        ]
    return Arm(
        variant,
        "ab" * 32,
        "finetune",
        "search/" + "ab" * 32,
        ("valid_loss",),
        (maximised,),
        RANGES,
        {"finetune.phases.0.lr": 1e-4},
        (),
        best[0].departures,
        best[0].trial,
        tuple(t.trial for t in best),
        tuple(trainings),
    )


def write(folder, arms) -> None:
    """The two files, as the study leaves them."""
    declared = {
        "scope": "each_variant",
        "trials": 30,
        "metrics": ["valid_loss"],
        "directions": ["minimize"],
        "sampler": "tpe",
        "pruner": None,
        "concurrency": 4,
        "top": 2,
        "reruns": 2,
        "seed": 1000,
        "spaces": {"finetune": RANGES},
        "paths": sorted(RANGES),
    }
    lines = ["variant,trial,rerun,state,valid_loss,epochs,most,seconds,departures,reported"]
    for arm in arms:
        for t in arm.trainings:
            shown = "" if math.isnan(t.values[0]) else repr(t.values[0])
            rerun = "" if t.rerun is None else t.rerun
            cells = [arm.variant, t.trial, rerun, t.state, shown, t.epochs, t.most, t.seconds]
            texts = [
                '"' + json.dumps(x).replace('"', '""') + '"'
                for x in (dict(t.departures), [v for v in t.reported if not math.isnan(v)])
            ]
            lines.append(",".join([*map(str, cells), *texts]))
    (folder / "search.csv").write_text("\n".join(lines) + "\n")
    searches = [
        {
            "variant": a.variant,
            "key": a.key,
            "trained": a.trained,
            "directory": a.directory,
            "given": a.given,
            "points": [],
            "departures": a.chosen,
            "trial": a.winner,
            "candidates": a.candidates,
        }
        for a in arms
    ]
    (folder / "search.json").write_text(json.dumps({"declared": declared, "searches": searches}))


def test_expected_best_is_the_mean_over_all_draws():
    values = [0.9, 0.2, 0.5, 0.4]
    means, deviations = expected_best(values)
    for n in (1, 2, 3, 4):
        draws = [min(chosen) for chosen in itertools.product(values, repeat=n)]
        assert means[n - 1] == pytest.approx(np.mean(draws))
        assert deviations[n - 1] == pytest.approx(np.std(draws))


def test_importance_agrees_with_optunas_functional_anova():
    arm = arm_of(60)
    study = optuna.create_study()
    space = {path: optuna.distributions.json_to_distribution(json.dumps(r)) for path, r in RANGES.items()}
    for t in arm.trials:
        study.add_trial(optuna.trial.create_trial(params=dict(t.departures), distributions=space, value=t.values[0]))
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0), normalize=False
    )
    ours = importance(arm, np.random.default_rng(0))
    assert list(ours)[0] == list(theirs)[0] == "finetune.phases.0.lr"
    for path, (middle, low, high) in ours.items():
        assert low <= middle <= high
        mine = middle / sum(m for m, _, _ in ours.values())  # theirs are shares of the main effects' sum
        assert mine == pytest.approx(theirs[path] / sum(theirs.values()), abs=0.08)
    assert 0.7 < ours["finetune.phases.0.lr"][0] < 0.987  # its true share; forests see some interaction in noise


def test_importance_is_less_sure_with_fewer_suggestions():
    def width(count: int) -> float:
        _, low, high = importance(arm_of(count), np.random.default_rng(0))["finetune.phases.0.lr"]
        return high - low

    assert width(10) > 1.5 * width(80)
    assert importance(arm_of(searches.LEAST - 1), np.random.default_rng(0)) == {}


def test_scores_of_pruned_and_diverged_suggestions():
    arm = arm_of(10, pruned=(1,), diverged=(2,))
    found = scores(arm)
    assert found[1] == arm.trials[1].values[0] and found[2] == max(v for k, v in enumerate(found) if k != 2)


def test_best_so_far_follows_the_direction():
    for maximised in (False, True):
        path = [v for _, v in arm_of(30, maximised=maximised).best_so_far()]
        assert path == sorted(path, reverse=not maximised) and len(path) > 1


def test_front_of_two_metrics():
    arm = arm_of(4)
    points = [(1.0, 4.0), (2.0, 3.0), (2.5, 3.5), (4.0, 1.0)]
    trainings = tuple(Training(k, None, "complete", p, 1, 1, 1.0, {}, ()) for k, p in enumerate(points))
    two = Arm(
        **{**vars(arm), "metrics": ("valid_loss", "parameters"), "maximised": (False, False), "trainings": trainings}
    )
    assert front(two) == [0, 1, 3]


def test_no_more_are_trained_again_than_were_suggested(tmp_path):
    write(tmp_path, [arm_of(2, "bass")])
    found = read(tmp_path)
    few = replace(found, declared={**found.declared, "top": 3, "trials": 2, "reruns": 1})
    assert "The best 2 were then trained again" in " ".join(words(few))


def test_sections_say_what_the_tables_hold(tmp_path):
    arms = [arm_of(30, "bass", pruned=(3, 4), diverged=(5,)), arm_of(30, "no U-Net", seed=1)]
    write(tmp_path, arms)
    found = read(tmp_path)
    assert found is not None and [vars(a)["winner"] for a in found.arms] == [a.winner for a in arms]
    text = "\n\n".join([*blocks(overview(found)), *blocks(arm_section(found, found.arm("bass")))])
    assert "All 2 arms have 30 finished suggestions." in text
    assert "Halving ended 2 trainings early, after 6 of at most 18 epochs: 12 epochs saved" in text
    assert "the test split was sealed until every winner was known" in text
    best = min(t.values[0] for t in arms[0].trials if t.state == "complete")
    again = [t.values[0] for t in arms[0].trainings if t.trial == arms[0].winner and t.rerun is not None]
    assert f"{np.mean(again):.2f} ± {np.std(again, ddof=1) / math.sqrt(2):.2f} (2)" in text  # range of about 2
    assert "| 95 % of resamplings |" in text and "is no confidence interval" in text  # it holds the truth in 8 of 10
    assert f"| 30 | 2 | 1 | 0 | {28 * 9 + 2 * 3 + 4 * 9} | {30 * 9 + 4 * 9} |" in text
    assert f" {best:.2f} |" in text
    ends = (" complete |", " pruned |", " diverged |")
    history = [line for line in text.splitlines() if line[2:3].isdigit() and any(end in line for end in ends)]
    assert len(history) == 30 + 4
    for drawn in (f for s in (overview(found), arm_section(found, found.arm("bass"))) for f in s.figures):
        assert drawn.svg.startswith("<svg") and "nan" not in drawn.svg


def test_unequal_budgets_are_said(tmp_path):
    write(tmp_path, [arm_of(30, "bass"), arm_of(29, "drums")])
    assert "The arms have unequal budgets: bass 30 and drums 29." in "\n".join(overview(read(tmp_path)).paragraphs)


def test_without_a_search_there_is_no_section(tmp_path):
    assert section(None, {}, reports.study_tables(tmp_path)) is None


def test_mistakes_name_what_is_near(tmp_path):
    write(tmp_path, [arm_of(8, "bass")])
    with pytest.raises(ValueError, match="no search of variant 'bas'; did you mean 'bass'"):
        section(None, {"variant": "bas"}, reports.study_tables(tmp_path))
    table = (tmp_path / "search.csv").read_text().replace("epochs", "epoch")
    (tmp_path / "search.csv").write_text(table)
    with pytest.raises(ValueError, match="has no column 'epochs'; did you mean 'epoch'"):
        read(tmp_path)
