"""Sounds of a report: their rate, their channels, what they score, and silence that says so."""

import json

import numpy as np
import pytest
import soundfile

import reports
from reports.document import Section
from reports.sections import listen
from tests.reports.test_edges import study

RATE = 22_050
SOUNDS = {"mixture": 0.5, "reference": 0.3, "base": 0.25, "new": 1e-4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """Two arms with a stereo sound each, of which one can hardly be heard."""
    store = tmp_path_factory.mktemp("store")
    home = study(store, {"base": [3.0, 3.5], "new": [1.0, 1.5]}, "si_sdr", tracks=3, declare={"target": ""})
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    for name, level in SOUNDS.items():
        soundfile.write(store / f"{name}.wav", level * np.stack([tone, 0.5 * tone], 1), RATE, subtype="FLOAT")
    places = {"mixture": "mixture.wav", "reference": "reference.wav"}
    raw = json.loads((home / "study.json").read_text())
    raw["examples"] = [
        {"track": "song 1", "target": "", "variant": name, "seed": 1, **places, "estimate": f"{name}.wav"}
        for name in ("base", "new")
    ]
    (home / "study.json").write_text(json.dumps(raw))
    found = listen.section(reports.read(home), {}, reports.study_tables(home))
    assert found is not None
    return found


def test_scores_are_those_of_the_run_that_is_heard(made: Section) -> None:
    """Of song 1 with seed 1: the fixture adds 0.1 a song and 0.013 times (song x seed) modulo 3."""
    notes = {figure.caption.partition(", 1.0 s")[0]: figure.note for figure in made.parts[0].figures}
    assert notes == {
        "mixture": "",
        "reference": "",
        "estimate, base": f"SI-SDR {3.5 + 0.1 + 0.013:.2f} dB",
        "estimate, new": f"silent, SI-SDR {1.5 + 0.1 + 0.013:.2f} dB",
    }


def test_a_silent_output_looks_silent(made: Section) -> None:
    bars = {figure.caption.partition(", 1.0 s")[0]: figure.svg.count("<rect") for figure in made.parts[0].figures}
    assert bars["estimate, new"] == 0 < bars["estimate, base"]


def test_sounds_keep_their_rate_and_channels(made: Section) -> None:
    assert {figure.rate for figure in made.parts[0].figures} == {RATE}
    assert "0 to 11.025 kHz" in made.paragraphs[0]
