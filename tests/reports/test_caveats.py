"""What must be known of a small data set before anything is read."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reports import caveats
from reports.ablation import _apart, _tracks, analyse
from reports.contract import Kept, Note, Stage, Study, Trial, Variant
from reports.document import Table, unpublished
from reports.findings import Findings, Power
from reports.inputs.directory import Tables
from reports.inputs.tables import Scores, bare_study
from reports.level import power_sentence
from reports.published import not_beside, paper
from reports.sections import items, result, tests
from reports.sections.curves import weights
from reports.sections.items import _area, tag_areas
from reports.separation import Separation, separation
from reports.statistics.tagging import TagArea
from reports.text import style


def row(variant: str, target: str, model: float, baselines: dict[str, float], metric: str = "l1") -> Separation:
    own = style(metric)
    best = (max if own.higher_is_better else min)(baselines.values()) if baselines else 0.0
    beats = (model > best if own.higher_is_better else model < best) if baselines else None
    return Separation(variant, target, own, model, 2, baselines, beats)


def told(apart=(), areas=None, tracks=()) -> list[str]:
    return list(caveats.cautions(Study("t", "t"), areas or {}, apart, tracks))


def test_separators_that_lose_to_nothing_are_named() -> None:
    """The figures of an outside trial with two unseen songs: 7 of 8 lost, and no caution said so."""
    rows = [
        row("vocals", "vocals", 0.0190, {"silence": 0.0231, "best scalar": 0.0217}),
        row("drums", "drums", 0.0202, {"silence": 0.0166, "best scalar": 0.0165}),
        row("other", "other", -11.5, {"mixture": -4.7, "best scalar": -5.9}, "si_sdr"),
        row("none", "vocals", 1.0, {}),
    ]
    (text,) = told(rows)
    assert text.startswith(
        "2 of 3 scores of separators are no better than what needs no separator (drums, source drums: "
    )
    assert "best scalar 0.01650" in text and "other, source other: SI-SDR −11.50, mixture −4.70" in text
    assert told(rows[:1]) == []


def test_few_clips_positives_and_tracks_are_named() -> None:
    tags = {"flute": SimpleNamespace(positives=2, negatives=15), "violin": SimpleNamespace(positives=12, negatives=20)}
    texts = told(areas={"a": SimpleNamespace(tags=tags, clips=range(17))}, tracks=["song A"])
    assert texts[0].startswith("1 tag of 2 has fewer than 10 test clips with it, or without (flute 2): a single clip")
    assert "by up to 50 points" in texts[0] and "is still 10 points" in texts[0]
    assert (
        texts[1].startswith("There are 17 test clips") and "of 12 points with 17 clips, and of 5 with 100" in texts[1]
    )
    assert texts[2].startswith(
        "There is one test track (song A): a mean over them says little of other music, and nothing"
    )
    assert "7 tracks would hold such an interval to ±1 times the spread, 18 to half of it." in texts[2]
    (two,) = told(tracks=["song A", "song B"])
    assert "a 95 % interval of it is ±9.0 times the spread between tracks" in two
    enough = {"a": SimpleNamespace(tags={"violin": tags["violin"]}, clips=range(200))}
    assert told(areas=enough, tracks=list("abcdef")) == []


def test_areas_of_few_positives_are_not_tested() -> None:
    areas = tuple(
        TagArea(
            target=name, positives=positives, negatives=30, variant=1.0, variant_half=0.0, reference=0.9,
            reference_half=0.1, d=0.1, p=0.002,
        )
        for name, positives in (("flute", 2), ("violin", 12))
    )  # fmt: skip
    table = tag_areas(areas, "a", "b")
    flute, violin = ([cell.text for cell in line] for line in table.rows)
    assert flute[2:4] == ["90.00", "100.00"] and flute[-2:] == ["–", "–"]
    assert violin[2] == "90.00 ± 10.00" and violin[-1] == ".002"
    assert "uncorrected over 1 tag. Tags with fewer than 10 clips" in table.caption


def test_where_every_tag_has_few_clips_nothing_is_said_of_a_test() -> None:
    area = TagArea("flute", 3, 14, 0.58, 0.3, 0.51, 0.3, 0.0, 0.9)
    caption = tag_areas((area,), "a", "b").caption
    assert caption == "AUC in points, mean over runs. Every tag has fewer than 10 clips of one kind: none is tested."


@pytest.mark.parametrize(
    ("metric", "targets", "word"),
    [
        ("roc_auc", ("flute", "violin"), "tag"),
        ("accuracy", ("rock", "jazz"), "tag"),
        ("sdr", ("vocals", "bass"), "source"),
        ("avg", ("vocals", "bass"), "source"),
        ("activity_auc_1s", ("vocals", "bass"), "source"),
        ("si_sdr", ("level 1", "level 2"), "target"),
        ("width", ("left", "right"), "target"),
    ],
)
def test_items_are_called_what_they_are(metric: str, targets: tuple[str, str], word: str) -> None:
    """A study of separators on one song crossed its runs with "tags"."""
    rows = [
        (variant, seed, "", target, metric, "", 0.5 + 0.01 * seed + 0.02 * (variant == "b") + 0.005 * (place == seed))
        for variant in "ab"
        for seed in range(3)
        for place, target in enumerate(targets)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    scores = Scores(frame, frame.iloc[:0])
    study = bare_study(scores, "t", "f", "a", metric, "")
    main = analyse(scores, study).main
    labels = [result.label for result in main.contrasts[0].tests]
    assert f"seeds x {word}s t" in labels
    others = {"tag", "source", "target"} - {word}
    assert not [label for label in labels if any(other in label for other in others)]
    section = items.section(analyse(scores, study), {"by": "tag"}, Tables(None, Path()))
    assert section is not None and section.title == f"By {word}"


def test_runs_that_are_all_equal_give_no_interval() -> None:
    assert style("accuracy").interval(0.0, 0.0, 0.25) == "–"


def test_rows_that_are_equal_name_each_other() -> None:
    rows = [row(name, "vocals", 1.0, {"mixture": 0.5}, "sdr") for name in ("median 3", "median 5", "median 7")]
    rows.append(row("median 9", "vocals", 1.1, {"mixture": 0.5}, "sdr"))
    first, last = _apart(rows)
    assert first.variant == "median 3" and first.equal == ("median 5", "median 7") and last.equal == ()
    assert _apart([first, last, rows[1]])[0].equal == ("median 5", "median 7")


def test_the_first_and_the_last_look_are_named() -> None:
    """As the trainings recorded it; one that keeps its last weights anyhow, or had no other look, is no caution."""
    made = {
        "bass": Kept("pretrain bass", 50, 150, 1, 3, "validation loss"),
        "drums": Kept("pretrain drums", 150, 150, 3, 3, "validation loss"),
        "vocals": Kept("pretrain vocals", 100, 150, 2, 3, "validation loss"),
        "tail": Kept("train_tail", 150, 150, 3, 3, ""),
        "short": Kept("finetune", 50, 50, 1, 1, "validation loss"),
    }
    study = Study("t", "t", stages={key: Stage(kept=kept) for key, kept in made.items()} | {"score": Stage()})
    first, last = caveats.cautions(study, {}, (), ())
    twice = replace(study, stages={**study.stages, "again": Stage(kept=made["bass"])})
    assert "(pretrain bass at step 50 of 150, 2 times)" in next(iter(caveats.kept(twice)))
    assert first.startswith(
        "1 of 3 trainings that chose by a validation loss kept the weights of the first validation: later steps made"
    )
    assert "(pretrain bass at step 50 of 150)" in first
    assert last.startswith(
        "1 of 3 trainings that chose by a validation loss kept the weights of the last validation: they were still"
    )
    rows = weights(study).rows
    assert [row[0] for row in rows] == [kept.label for kept in made.values()]
    assert ("train_tail", "1", "150 of 150", "none: the last") in rows
    assert list(caveats.cautions(Study("t", "t"), {}, (), ())) == []


def test_a_source_that_no_test_track_holds_is_a_caution_before_all_others() -> None:
    note = Note("coverage", "sources silent in every test item: no score", 1, ("bass",))
    study = Study("t", "t", notes=(note, Note("silent", "sources silent in a track", 1, ("song: bass",))))
    (text,) = caveats.cautions(study, {}, (), ())
    assert text == "Sources silent in every test item: no score: bass."


def scored(model: dict[tuple[str, str], float], silence: dict[tuple[str, str], float]) -> Scores:
    """A table of one separator: L1 by (track, target), beside that of silence."""
    rows = [
        ("a", seed, track, target, metric, "", value)
        for metric, values in (("l1", model), ("l1_silence", silence))
        for (track, target), value in values.items()
        for seed in (0, 1)
    ]
    columns = ["variant", "seed", "track", "target", "metric", "aggregation", "score"]
    frame = pd.DataFrame(rows, columns=columns)
    return Scores(frame, frame.iloc[:0])


def test_a_song_that_the_mean_hides_is_named_and_macro_is_no_source() -> None:
    """The figures of an outside trial: song A is worse than silence, and song B makes the mean better."""
    model = {("song A", "vocals"): 0.0262, ("song B", "vocals"): 0.0118, ("", "macro"): 0.5}
    silence = {("song A", "vocals"): 0.0213, ("song B", "vocals"): 0.0249, ("", "macro"): 0.1}
    (row,) = separation(scored(model, silence).frame, "roc_auc")
    assert (row.target, row.beats, row.lost, row.tracks) == ("vocals", True, ("song A",), 2)
    (text,) = told([row])
    assert text == (
        "1 score of separators better than that on the mean is not so on single tracks "
        "(a, source vocals, L1: 1 of 2 (song A))."
    )
    model[("song A", "vocals")] = 0.02
    (row,) = separation(scored(model, silence).frame, "roc_auc")
    assert row.lost == () and told([row]) == []


@pytest.mark.parametrize(("lost", "tracks", "said"), [(1, 10, True), (1, 11, False), (5, 50, True), (4, 50, False)])
def test_of_many_tracks_a_tenth_may_be_lost(lost: int, tracks: int, said: bool) -> None:
    values = {(f"song {place}", "bass"): 0.3 if place < lost else 0.1 for place in range(tracks)}
    rows = separation(scored(values, dict.fromkeys(values, 0.2)).frame, "roc_auc")
    assert bool(told(rows)) == said and len(rows[0].lost) == lost


def reading(study: str, rehearsal: bool = False, **sets: str) -> Study:
    recipe = {f"{part}.name": name for part, name in sets.items()}
    variants = (Variant("a", {"source": "vocals"}, {}, recipe), Variant("b", {"source": "drums"}, {}, recipe))
    return Study(study, study, variants=variants, rehearsal=rehearsal)


@pytest.mark.parametrize(
    ("paper_id", "study", "sets", "beside"),
    [
        ("msspt", "source_ablation", {"tagging": "mtat", "separation": "musdb18", "tail": "cnn_tail"}, True),
        ("msspt", "source_ablation", {"tagging": "mtat", "separation": "musdb18hq"}, True),
        *(
            ("msspt", "source_ablation", {"tagging": name, "separation": "musdb18"}, False)
            for name in ("clips", "my_paper.data:survey", "openmic", "irmas", "gtzan", "synthetic", "mtg_jamendo")
        ),
        ("msspt", "source_ablation", {"tagging": "mtat", "separation": "moisesdb"}, False),
        ("hmss", "mask_style", {"data": "slakh2100"}, True),
        ("hmss", "mask_style", {"data": "musdb18hq"}, False),
        ("iass", "activity_ablation", {"data": "mm"}, True),
        ("iass", "blocks_ablation", {"data": "mm"}, False),
        ("aemic", "stem_quality", {"tagging": "irmas", "separation": "musdb18hq"}, True),
        ("aemic", "stem_quality", {"tagging": "mtat", "separation": "musdb18hq"}, False),
        ("tagbox", "real_tagger", {"tracks": "stems"}, False),
    ],
)
def test_published_figures_stand_only_beside_the_sets_of_the_papers_tables(
    paper_id: str, study: str, sets: dict[str, str], beside: bool
) -> None:
    why = not_beside(reading(study, **sets), paper(paper_id))
    assert (why == "") == beside
    assert beside or "printed its figures on other data than this study reads (" in why
    assert "two training steps" in not_beside(reading(study, rehearsal=True, **sets), paper(paper_id))


def test_a_set_that_no_stage_reads_is_not_named() -> None:
    """Own clips stood beside "genre: synthetic", of a task that was not run."""
    recipe = {
        "tagging.name": "clips",
        "tagging.fingerprint": "1f",
        "genre.name": "synthetic",
        "genre.fingerprint": None,
    }
    study = Study("source_ablation", "source_ablation", variants=(Variant("a", {}, {}, recipe),))
    assert not_beside(study, paper("msspt")).endswith("than this study reads (tagging: clips).")


def test_columns_and_rows_of_the_print_are_left_out_of_a_table() -> None:
    table = Table(
        ("test", "published", "ours"),
        (("Student", "1", "2"), ("Student, as printed", "3", "–")),
        "",
        (False, True, True),
    )
    assert unpublished(table) == Table(("test", "ours"), (("Student", "2"),), "", (False, True))


@pytest.mark.parametrize("metric", ["pr_auc", "accuracy"])
def test_an_interval_of_shares_ends_at_100_points(metric: str) -> None:
    assert style(metric, scores=np.array([0.5, 0.6])).interval(-1.1494, 0.9291) == "[−100.00, +92.91]"
    assert style(metric, scores=np.array([50.0, 60.0])).interval(-126.8, 97.4) == "[−100.00, +97.40]"
    assert style("sdr").interval(-126.8, 97.4) == "[−126.80, +97.40]"


@pytest.mark.parametrize(
    ("scores", "low", "high", "base", "told"),
    [
        ([0.92, 0.9], -0.1, 0.5, 0.92, "[−10.00, +8.00]"),
        ([92.0, 90.0], -126.8, 97.4, 92.0, "[−92.00, +8.00]"),
        ([0.92, 0.9], -0.01, 0.02, 0.92, "[−1.00, +2.00]"),
        ([1.0, 0.9], 0.01, 0.05, 1.0, "[0.00, 0.00]"),
    ],
)
def test_nothing_gains_more_than_what_is_left(
    scores: list[float], low: float, high: float, base: float, told: str
) -> None:
    assert style("roc_auc", scores=scores).interval(low, high, base) == told
    assert style("sdr").interval(-126.8, 97.4, 8.0) == "[−126.80, +97.40]"


@pytest.mark.parametrize(
    ("area", "half", "told"),
    [(0.9833, 0.1292, "98.33 [85.41, 100.00]"), (0.9, 0.1, "90.00 ± 10.00"), (0.05, 0.1, "5.00 [0.00, 15.00]")],
)
def test_the_interval_of_an_area_ends_where_areas_end(area: float, half: float, told: str) -> None:
    assert _area(area, half) == told


@pytest.mark.parametrize(
    ("mean", "detectable", "said", "unsaid"),
    [
        (0.92, 0.5, "Only a loss can be as large as that; a gain ends at 8.00 points.", "100.00 points"),
        (0.5, 0.6, "not even the largest difference that there can be (50.00 points) would have been", "60.00 points"),
        (0.8, 0.1, "50.00 points needs 2", "can be as large"),
    ],
)
def test_what_would_have_been_found_can_be(mean: float, detectable: float, said: str, unsaid: str) -> None:
    power = Power("run", 2, 0.05, 0.05, detectable, ((0.5, 2), (1.0, 2)))
    rows = (SimpleNamespace(is_reference=True, mean=mean), SimpleNamespace(is_reference=False, mean=0.1))
    main = SimpleNamespace(style=style("roc_auc", scores=[0.5, 0.6]), rows=rows)
    text = power_sentence(SimpleNamespace(power=power, main=main))  # type: ignore[arg-type]
    assert said in text and unsaid not in text


def test_the_songs_of_separators_count_where_the_main_metric_has_none() -> None:
    table = scored({("song A", "vocals"): 0.1}, {("song A", "vocals"): 0.2})
    assert _tracks(table, table.frame.iloc[:0]) == ["song A"]
    rows = table.frame.assign(track="song B")
    assert _tracks(table, rows) == ["song B"]


@pytest.fixture
def gaps() -> Findings:
    """As own songs gave them: no test song has vocals, so no mean over sources; a gate closed over bass in one run."""
    values = {("a", "bass"): 6.0, ("a", "drums"): -20.0, ("b", "bass"): None, ("b", "drums"): -15.0}
    rows = [
        (variant, seed, "", target, "sdr", "", None if value is None else value + 0.1 * seed)
        for (variant, target), value in values.items()
        for seed in (0, 1)
    ]
    rows += [(variant, seed, "", name, "sdr", "", None) for variant in "ab" for seed in (0, 1) for name in LACKING]
    columns = ["variant", "seed", "track", "target", "metric", "aggregation", "score"]
    frame = pd.DataFrame(rows, columns=columns).astype({"score": float})
    gone = frame["score"].isna()
    scores = Scores(frame[~gone].reset_index(drop=True), frame[gone].reset_index(drop=True))
    study = bare_study(scores, "t", "f", "a", "sdr", "macro")
    return analyse(scores, replace(study, trials=(Trial("a/seed0", "a", 0),)))


LACKING = ("macro", "vocals")


def test_a_difference_stands_beside_the_means_that_it_is_of(gaps: Findings) -> None:
    """Two means stood side by side, with a difference of the other sign."""
    text = "Over what both have, b has −14.95 and a −19.95 SDR."
    assert text in result.short(gaps.main).caption and text in gaps.cautions
    assert [row.mean for row in gaps.main.rows] == pytest.approx([-6.95, -14.95])
    (contrast,) = gaps.main.contrasts
    assert contrast.primary.difference == pytest.approx(5.0)


def test_a_mean_over_sources_that_is_none_is_said_to_be_over_the_others(gaps: Findings) -> None:
    assert "SDR is a mean over the sources that have one (bass and drums): no run has one of vocals." in gaps.cautions
    assert (
        "4 sdr scores of the mean over targets undefined and left out: where one target has none, their mean has none."
        in gaps.cautions
    )


def test_how_often_a_run_is_better_is_not_said_of_runs_that_cannot_be_tested(gaps: Findings) -> None:
    untested = replace(gaps.main.contrasts[0], primary=replace(gaps.main.contrasts[0].primary, p=float("nan")))
    sections = [tests._contrast(gaps.main, each, "") for each in (gaps.main.contrasts[0], untested)]
    assert ["A run of b is better" in part.paragraphs[0] for part in sections] == [True, False]
