"""Tables at the edge: each gets a sentence, none a crash."""

import json
from pathlib import Path

import pandas as pd
import pytest

import reports
from reports.contract import hashes
from reports.export import table_rows

NAN = float("nan")
ARMS = {"base": [1.0, 1.1, 1.3], "new": [1.5, 1.8, 1.4]}


def study(
    home: Path,
    arms: dict[str, list],
    metric: str = "sdr",
    tracks: int = 0,
    declare: dict | None = None,
    variants: list[dict] | None = None,
    extra: str = "",
) -> Path:
    """A small study directory: `arms` gives one score a seed, with `tracks` each moved a little
    by track.
    """
    home = home / "studies" / "edge"
    home.mkdir(parents=True)
    lines = ["study,trial,variant,method,seed,track,target,metric,aggregation,score"]
    for name, runs in arms.items():
        wiggle = 0.013 if len(set(runs)) > 1 else 0.0
        for seed, score in enumerate(runs):
            for k in range(tracks) or [None]:
                track = "" if k is None else f"song {k}"
                moved = score if k is None or score == "" else score + 0.1 * k + wiggle * ((k * seed) % 3)
                lines.append(f"edge,{name}/seed{seed},{name},{name},{seed},{track},,{metric},,{moved}")
    (home / "scores.csv").write_text("\n".join(lines) + "\n" + extra)
    declaration = {
        "factors": [{"name": "method", "levels": {"base": {}, "new": {"loss.name": "l2"}}}],
        "seeds": [0, 1, 2],
        "reference": "base",
        "metric": metric,
        "alpha": 0.05,
    } | (declare or {})
    recipes = {"base": {"loss.name": "l1", "lr": 0.1}, "new": {"loss.name": "l2", "lr": 0.1}}
    document = {
        "title": "edge",
        "name": "edge",
        "declaration": declaration,
        "declared": hashes(declaration)[0],
        "variants": variants
        or [{"variant": v, "levels": {"method": v}, "recipe": recipes.get(v, recipes["new"])} for v in arms],
    }
    (home / "study.json").write_text(json.dumps(document))
    return home


def said(home: Path) -> str:
    """Everything the report says, in one string, after rendering all formats."""
    paths = reports.render(home, ("html", "md", "json"))
    assert all(path.stat().st_size for path in paths.values())
    found = json.loads(paths["json"].read_text())
    page = paths["html"].read_text()
    markdown = paths["md"].read_text()
    for sentence in found["findings"]["cautions"] + found["findings"]["deviations"]:
        assert sentence in markdown
    assert "nan" not in reports.summary(home).lower().split()
    assert ">nan<" not in page and " nan " not in page
    return markdown + reports.summary(home)


@pytest.mark.parametrize(
    "arms, sentence",
    [
        ({"base": [1.0], "new": [1.5]}, "Every variant has one seed"),
        ({"base": [1.0, 1.2, 1.1], "new": [1.5]}, "new has one run"),
        ({"base": [1.0, 1.2, 1.1], "new": [1.5, 1.4]}, "unequal numbers of runs (base 3, new 2)"),
        ({"base": [1.0, 1.0, 1.0], "new": [1.5, 1.5, 1.5]}, "All 3 runs of new have exactly the same SDR"),
        ({"base": [1.0, 1.2, 1.1], "new": [1.0, 1.2, 1.1]}, "new and base have identical scores in every run"),
        (
            {"base": [1.0, 1.2, 1.1], "new": [1.5, "", 1.4]},
            "All sdr scores of new/seed1 undefined (empty or not finite)",
        ),
        ({"base": [1.0, 1.2, 1.1], "new": [NAN, NAN, NAN]}, "new has no SDR score and is not compared"),
        (
            {"base": [1.0, 1.2, 1.1], "new": [1.5, float("inf"), 1.4]},
            "where other runs have a score; this run is left out.",
        ),
        ({"base": [1.0, 1.2, 1.1], "new": [NAN] * 3}, "new cannot be compared with base: new has no defined score ("),
        (ARMS, "The family has one contrast"),
    ],
)
@pytest.mark.parametrize("tracks", [0, 4])
def test_each_gets_a_sentence(tmp_path: Path, arms: dict, sentence: str, tracks: int) -> None:
    assert sentence in said(study(tmp_path, arms, tracks=tracks))


def test_constant_everything(tmp_path: Path) -> None:
    text = said(study(tmp_path, {"base": [1.0] * 3, "new": [1.0] * 3}, tracks=3))
    assert "have the same mean SDR" in text


def test_zero_spread_is_not_significance(tmp_path: Path) -> None:
    home = study(tmp_path, {"base": [1.0] * 3, "new": [1.5] * 3})
    (contrast,) = reports.read(home).main.contrasts
    assert contrast.stars == "" and contrast.p_corrected != contrast.p_corrected
    assert "no test is possible: no spread between runs" in said(home)


def test_items_make_the_crossed_test_primary(tmp_path: Path) -> None:
    main = reports.read(study(tmp_path, ARMS, tracks=4)).main
    assert (main.test, main.item, main.items) == ("crossed", "track", 4)
    assert reports.read(study(tmp_path / "b", ARMS)).main.test == "half_pooled"


def test_declared_test_wins_and_falls_back_in_words(tmp_path: Path) -> None:
    assert reports.read(study(tmp_path / "a", ARMS, tracks=4, declare={"test": "welch"})).main.test == "welch"
    text = said(study(tmp_path / "b", ARMS, declare={"test": "crossed"}))
    assert "The declared test 'crossed' needs scores of at least two tracks" in text


def test_undeclared_difference_is_refused(tmp_path: Path) -> None:
    variants = [
        {"variant": "base", "levels": {"method": "base"}, "recipe": {"loss.name": "l1", "lr": 0.1}},
        {"variant": "new", "levels": {"method": "new"}, "recipe": {"loss.name": "l2", "lr": 0.2}},
    ]
    home = study(tmp_path, ARMS, variants=variants)
    (contrast,) = reports.read(home).main.contrasts
    assert contrast.comparability.undeclared == ("lr",)
    assert contrast.primary.difference != contrast.primary.difference and len(contrast.tests) == 1
    text = said(home)
    assert "also differ in lr" in text and "refused" in text
    assert "+0.43" not in text


def test_several_things_at_once_are_said(tmp_path: Path) -> None:
    variants = [
        {"variant": "base", "levels": {"method": "base"}, "recipe": {"loss.name": "l1", "lr": 0.1}},
        {"variant": "new", "levels": {"method": "new"}, "recipe": {"loss.name": "l2", "lr": 0.2}},
    ]
    levels = {"base": {}, "new": {"loss.name": "l2", "lr": 0.2}}
    declare = {"factors": [{"name": "method", "levels": levels}]}
    text = said(study(tmp_path, ARMS, variants=variants, declare=declare))
    assert "new against base: changes 2 settings at once: loss.name and lr" in text


def test_edited_declaration_is_a_deviation(tmp_path: Path) -> None:
    home = study(tmp_path, ARMS)
    document = json.loads((home / "study.json").read_text())
    assert reports.read(home).study.hash_matches
    document["declaration"]["alpha"] = 0.1
    (home / "study.json").write_text(json.dumps(document))
    assert "it was edited after it was declared" in said(home)


def test_declared_exclusions_are_applied_and_said(tmp_path: Path) -> None:
    home = study(tmp_path, ARMS, tracks=4, declare={"exclude": ["song 3"]})
    assert reports.read(home).main.items == 3
    assert "6 scores left out as declared: song 3" in said(home)


def test_a_track_missing_in_one_run_is_left_out_of_all(tmp_path: Path) -> None:
    home = study(tmp_path, ARMS, tracks=4)
    table = (home / "scores.csv").read_text().splitlines()
    kept = [line for line in table if not line.startswith("edge,new/seed1,new,new,1,song 2,")]
    assert len(kept) == len(table) - 1
    (home / "scores.csv").write_text("\n".join(kept) + "\n")
    main = reports.read(home).main
    (contrast,) = main.contrasts
    assert contrast.left_out == {"new": {"track": ("song 2",)}} and main.items == 3
    frame = pd.read_csv(home / "scores.csv")
    means = frame[frame["track"] != "song 2"].groupby("variant")["score"].mean()
    assert contrast.primary.difference == pytest.approx(means["new"] - means["base"])
    assert "Not every run of new is scored on 1 track (song 2), left out of its mean" in said(home)


def test_stray_variants_and_seeds_are_deviations(tmp_path: Path) -> None:
    extra = "edge,odd/seed0,odd,odd,0,,,sdr,,9\nedge,new/seed7,new,new,7,,,sdr,,1.5\n"
    text = said(study(tmp_path, ARMS, extra=extra))
    assert "variants that were not declared and are not compared: odd" in text
    assert "new has seeds that were not declared: 7" in text


def test_failed_trials_are_named_with_their_error(tmp_path: Path) -> None:
    home = study(tmp_path, ARMS)
    document = json.loads((home / "study.json").read_text())
    trial = {
        "trial": "new/seed2",
        "variant": "new",
        "seed": 2,
        "status": "failed",
        "error": "Traceback\nStageFailed: out of memory",
        "stages": {},
        "command": "run it",
    }
    document["trials"] = [trial]
    (home / "study.json").write_text(json.dumps(document))
    assert "Trial new/seed2 failed: StageFailed: out of memory" in said(home)


def test_margin_gives_an_equivalence_test(tmp_path: Path) -> None:
    main = reports.read(study(tmp_path, ARMS, declare={"margin": 2.0})).main
    assert main.contrasts[0].equivalence.p < 0.05


@pytest.mark.parametrize(
    "change, message",
    [
        ({"test": "welsh"}, "unknown test 'welsh' in declaration.test; did you mean 'welch'"),
        ({"correction": "bonferoni"}, "did you mean 'bonferroni'"),
        ({"alpha": 5}, "declaration.alpha is 5"),
        ({"metric": "sdrr"}, "no metric 'sdrr'; did you mean 'sdr'"),
        ({"reference": "bass"}, "reference 'bass' is no variant of the study; did you mean 'base'"),
    ],
)
def test_wrong_declarations_name_the_nearest(tmp_path: Path, change: dict, message: str) -> None:
    home = study(tmp_path, ARMS)
    document = json.loads((home / "study.json").read_text())
    document["declaration"] |= change
    (home / "study.json").write_text(json.dumps(document))
    with pytest.raises(ValueError) as caught:
        reports.summary(home)
    assert message in str(caught.value)


def test_no_scores_at_all(tmp_path: Path) -> None:
    home = study(tmp_path, {"base": ["", ""], "new": ["", ""]})
    with pytest.raises(ValueError, match="no defined score"):
        reports.render(home)
    (home / "scores.csv").unlink()
    with pytest.raises(ValueError, match="has no scores.csv"):
        reports.render(home)


def test_plain_table_of_a_comparison_has_no_nan(tmp_path: Path) -> None:
    home = study(tmp_path, {"base": [1.0], "new": [1.5]})
    assert all(value == value for row in table_rows(reports.read(home).main) for value in row.values())


def test_a_done_trial_without_a_score_is_named(tmp_path: Path) -> None:
    home = study(tmp_path, {"base": [1.0, 1.2, 1.1], "new": [1.5, 1.4]})
    document = json.loads((home / "study.json").read_text())
    document["trials"] = [{"trial": f"new/seed{k}", "variant": "new", "seed": k} for k in range(3)]
    (home / "study.json").write_text(json.dumps(document))
    assert "Done, but without a SDR score: new/seed2." in said(home)


def test_rows_in_which_nothing_is_random_are_one_sentence(tmp_path: Path) -> None:
    """Runs of stages that no seed reaches are the same stages; of others, equal scores are odd."""
    home = study(tmp_path, {name: [score] * 3 for name, score in (("base", 1.0), ("new", 1.5), ("odd", 2.0))})
    document = json.loads((home / "study.json").read_text())
    document["trials"] = [
        {"trial": f"{v}/seed{k}", "variant": v, "seed": k, "stages": {"score": f"{v}{k if v == 'odd' else ''}"}}
        for v in ("base", "new", "odd")
        for k in range(3)
    ]
    (home / "study.json").write_text(json.dumps(document))
    text = said(home)
    assert "Nothing in base and new depends on the seed: the runs of each are one." in text
    assert "All 3 runs of odd have exactly the same SDR." in text and "All 3 runs of new" not in text


def test_other_metrics_of_the_same_tracks_follow_as_secondary(tmp_path: Path) -> None:
    extra = "".join(
        f"edge,{v}/seed{s},{v},{v},{s},song {k},,{metric},,{s + k + (v == 'new') + 0.1 * s * k}\n"
        for v in ("base", "new")
        for s in range(3)
        for k in range(4)
        for metric in ("sir", "sir_mixture")
    )
    found = reports.read(study(tmp_path, ARMS, tracks=4, extra=extra)).comparisons
    assert [(c.style.name, c.primary, c.test) for c in found] == [("sdr", True, "crossed"), ("sir", False, "crossed")]
    assert found[1].contrasts[0].primary.difference == pytest.approx(1.0)


@pytest.mark.parametrize("test, floor", [("wilcoxon", 0.25), ("permutation", 0.1)])
def test_a_test_that_cannot_reach_alpha_is_said(tmp_path: Path, test: str, floor: float) -> None:
    far = {"base": [1.0, 1.1, 1.2], "new": [9.0, 9.5, 9.9]}
    home = study(tmp_path, far, declare={"test": test})
    assert reports.read(home).main.contrasts[0].primary.p == pytest.approx(floor)
    assert f"cannot give a p below {floor:g}, so after correction no contrast" in said(home)


def test_scores_of_tracks_and_of_a_split_are_not_mixed(tmp_path: Path) -> None:
    extra = "".join(f"edge,{v}/seed{s},{v},{v},{s},,,sdr,,99\n" for v in ARMS for s in range(3))
    plain_study = reports.read(study(tmp_path / "a", ARMS, tracks=4)).main
    assert reports.read(study(tmp_path / "b", ARMS, tracks=4, extra=extra)).main == plain_study


def test_a_stray_variant_does_not_cost_tracks(tmp_path: Path) -> None:
    extra = "edge,odd/seed0,odd,odd,0,song 0,,sdr,,9\n"
    assert reports.read(study(tmp_path, ARMS, tracks=4, extra=extra)).main.items == 4
