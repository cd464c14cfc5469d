"""What a listening page plays: every variant's sound of the same song, as loud as the reference; anchors as the
standard has them; nothing that tells which is which."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.__main__ import main
from mss_core.data.loudness import integrated, k_weighting
from reports import study_tables
from reports.contract import to_json
from reports.inputs.directory import Tables
from reports.listening import levels, page, plan
from reports.media import Sound
from tests.reports.listening.conftest import RATE


def embedded(text: str) -> dict:
    """The data of a page, its sounds decoded."""
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    for sound in data["sounds"]:
        stream = io.BytesIO(base64.b64decode(sound["uri"].partition(",")[2]))
        sound["samples"] = soundfile.read(stream, always_2d=True)[0]
    return data


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_loudness_is_that_of_the_standard(rate: int) -> None:
    """Against the other implementation of this project, whose own tests are the standard's signals."""
    noise = np.random.default_rng(0).normal(0, 0.05, (3 * rate, 2)) * np.linspace(0.01, 1, 3 * rate)[:, None]
    assert levels.k_weighting(rate) == pytest.approx(k_weighting(rate), rel=1e-9)
    assert levels.loudness(Sound(noise, rate)) == pytest.approx(integrated(noise.T, rate), abs=1e-6)
    assert levels.loudness(Sound(noise[: rate // 5], rate)) == -np.inf


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("edge", levels.ANCHORS.values())
def test_anchors_end_where_the_standard_says(rate: int, edge: float) -> None:
    """At most 0.1 dB of ripple below the edge; 25 dB less at 4 kHz and 50 dB at 4.5 kHz, of the 3.5 kHz anchor."""
    click = np.zeros((rate, 1))
    click[rate // 2] = 1.0
    made = levels.low_passed(Sound(click, rate), edge).samples[:, 0]
    response = 20 * np.log10(np.abs(np.fft.rfft(made)) + 1e-9)
    frequency = np.fft.rfftfreq(rate, 1 / rate)
    assert len(made) == rate and int(np.argmax(made)) == rate // 2
    assert np.abs(response[frequency <= edge]).max() < 0.1
    assert response[frequency >= edge * 8 / 7].max(initial=-60.0) < -50


def test_an_anchor_that_would_be_the_sound_itself_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an anchor of 7 kHz needs sounds of 16 kHz or more"):
        levels.low_passed(Sound(np.zeros((100, 1)), 11_025), 7_000.0)


@pytest.mark.parametrize("test", plan.TESTS)
def test_all_sounds_of_an_item_are_equally_loud(tables: Tables, test: str) -> None:
    made = plan.make(tables, test, mid=True)
    data = embedded(page.to_html(made))
    known = {each.id: each for trial in made.plan.trials for each in trial.conditions}
    for trial in data["trials"]:
        sounds = [data["sounds"][trial["reference"]], *(data["sounds"][each["sound"]] for each in trial["conditions"])]
        loud = [integrated(sound["samples"].T, sound["rate"]) for sound in sounds]
        assert max(loud) - min(loud) < 0.05 and len({len(sound["samples"]) for sound in sounds}) == 1
        assert max(np.abs(sound["samples"]).max() for sound in sounds) < 1
        gains = {known[each["id"]].variant: known[each["id"]].gain for each in trial["conditions"]}
        if test == "mushra":
            assert gains["noisy"] - gains["louder"] == pytest.approx(20 * np.log10(0.9 / 0.1), abs=1.2)
    roles = sorted({each.role for each in known.values()})
    assert roles == (["estimate", "hidden reference", "low anchor", "mid anchor"] if test == "mushra" else ["estimate"])


def test_what_would_clip_turns_all_down_and_what_is_silent_stays(tables: Tables) -> None:
    rng = np.random.default_rng(0)
    loud = Sound(np.clip(rng.normal(0, 0.3, (RATE, 1)), -1, 1), RATE)
    spiky = Sound(np.where(rng.random((RATE, 1)) > 0.999, 0.9, 0.0) + 1e-4 * rng.normal(size=(RATE, 1)), RATE)
    out = plan.matched({plan.OPEN: loud, ("estimate", "a"): spiky, ("estimate", "b"): Sound(0 * loud.samples, RATE)})
    peaks = [float(np.abs(sound.samples).max()) for sound, _ in out.values()]
    assert max(peaks) == pytest.approx(1.0) and peaks[2] == 0
    assert out["estimate", "b"][1] == out[plan.OPEN][1] < 0 < out["estimate", "a"][1] - out[plan.OPEN][1] <= 20


def test_the_page_tells_no_condition_and_the_plan_all(tables: Tables, tmp_path: Path) -> None:
    made = plan.make(tables)
    first, second = page.write(made, tmp_path)
    text = first.read_text(encoding="utf-8")
    body = re.sub(r"base64,[\w+/=]+", "", text)
    for word in ("plain-", "louder", "noisy", "anchor", "estimate", "hidden reference", "song 0"):
        assert (
            word not in body.partition("<script")[0] and word not in body.partition('id="data">')[2].partition("<")[0]
        )
    assert not re.findall(r'(?:src|href)="(?!data:)', body) and first.stem == made.plan.page
    assert page.plans(tmp_path) == {made.plan.page: made.plan}
    assert {each["variant"] for trial in to_json(made.plan)["trials"] for each in trial["conditions"]} == {
        *("", "plain", "louder", "noisy")
    }
    assert page.to_html(plan.make(tables)) == text and plan.make(tables, seed=1).plan.page != made.plan.page


def test_several_runs_are_heard_each_on_every_song(tables: Tables) -> None:
    made = plan.make(tables, runs=2).plan
    heard = [
        (trial.track, trial.run, {each.seed for each in trial.conditions if each.variant}) for trial in made.trials
    ]
    assert sorted(heard, key=str) == sorted(((f"song {k}", run, {run}) for k in range(3) for run in range(2)), key=str)
    pairs = plan.make(tables, "ab", only=["noisy"]).plan
    assert [sorted(each.variant for each in trial.conditions) for trial in pairs.trials] == [["noisy", "plain"]] * 3


def test_each_block_of_a_study_is_heard_by_itself(tables: Tables) -> None:
    """A variant is judged beside what it is compared with."""
    declared = replace(tables.study.declaration, references={"plain": "plain", "louder": "louder", "noisy": "louder"})
    blocks = Tables(tables.directory, tables.store)
    blocks.__dict__["study"] = replace(tables.study, declaration=declared)
    for test, many in (("mushra", 4), ("ab", 2)):
        made = plan.make(blocks, test).plan
        assert {tuple(sorted(each.variant for each in trial.conditions)) for trial in made.trials} == {
            (*[""] * (many - 2), "louder", "noisy")
        }


def test_a_song_that_one_variant_lacks_is_left_out_by_name(tables: Tables) -> None:
    gone = [e for e in tables.study.examples if (e.track, e.variant) != ("song 1", "noisy")]
    study = replace(tables.study, examples=tuple(gone))
    less = Tables(tables.directory, tables.store)
    less.__dict__["study"] = study
    made = plan.make(less)
    assert made.left_out == ("song 1, vocals: no sound of noisy.",)
    assert {trial.track for trial in made.plan.trials} == {"song 0", "song 2"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--only", "noisey"], "--only: no variant 'noisey'; did you mean 'noisy'?"),
        (["--only", "plain"], "plain alone left sounds: there is nothing to compare it with"),
        (["--runs", "3"], "--runs 3: sounds of every variant are there of 2 runs (seeds 0 and 1)"),
        (["--runs", "0"], "--runs is 0; it must be 1 or more"),
        (["--target", "vocal"], "--target: no sound of 'vocal'; did you mean 'vocals'?"),
        (["--test", "abx"], "no --test 'abx'; did you mean 'ab'?"),
    ],
)
def test_mistakes(home: Path, words: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    try:
        status = main(["listen", str(home), *words])
    except SystemExit as end:
        status = end.code
    assert status == 2 and capsys.readouterr().err.strip() == f"error: {message}"


def test_a_study_without_sounds_says_so(tables: Tables) -> None:
    less = Tables(tables.directory, tables.store)
    less.__dict__["study"] = replace(tables.study, examples=())
    with pytest.raises(ValueError, match="heard left no sounds: none of its stages wrote examples"):
        plan.make(less)
    assert study_tables(tables.directory).study.examples
