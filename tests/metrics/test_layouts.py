"""References and estimates as other programs leave them, before python -m mss_core.metrics."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from mss_core.metrics.__main__ import main
from mss_core.metrics.stems import Estimates, tracks

RATE = 8000
NAMES = {
    "as the references": "{track}/{stem}.wav",
    "Demucs": "htdemucs/{track}/{stem}.wav",
    "Demucs as MP3": "htdemucs/{track}/{stem}.mp3",
    "Demucs in its folder": "separated/htdemucs/{track}/{stem}.wav",
    "under the track's name": "{track}_{stem}.wav",
    "under the track's name, a folder per track": "{track}/{track}_{stem}.flac",
    "audio-separator": "{track}_({Stem})_model_bs_roformer.wav",
    "audio-separator, a folder per track": "{track}/{track}_({Stem})_htdemucs.FLAC",
    "audio-separator of mixture.wav": "{track}/mixture_({Stem})_htdemucs.wav",
}


@pytest.fixture
def references(tmp_path):
    """Tracks A and B of two stems, with mixtures; there is a mixture of the whole set too."""
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 2, int(1.1 * RATE)))
    for track, stems in zip("AB", noise, strict=True):
        (tmp_path / "ref" / track).mkdir(parents=True)
        for name, samples in {"drums": stems[0], "vocals": stems[1], "mixture": stems.sum(0)}.items():
            soundfile.write(tmp_path / "ref" / track / f"{name}.wav", samples, RATE)
    shutil.copy(tmp_path / "ref" / "A" / "mixture.wav", tmp_path / "ref" / "mixture.wav")
    return tmp_path


def estimate(root, pattern, change=lambda samples: 0.9 * samples):
    for track in "AB":
        for stem in ("drums", "vocals"):
            samples, _ = soundfile.read(root / "ref" / track / f"{stem}.wav")
            path = root / "est" / pattern.format(track=track, stem=stem, Stem=stem.title())
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, change(samples), RATE, format=path.suffix[1:].upper())


def run(root, *options):
    return main([str(root / "ref"), str(root / "est"), "--output", str(root / "out"), *options])


@pytest.mark.parametrize("pattern", NAMES.values(), ids=NAMES)
def test_the_estimates_of_other_programs_are_found(references, pattern, capsys):
    """Hidden files beside references and estimates, estimates as MP3 and under the names of other programs."""
    estimate(references, pattern)
    (references / "est" / "._vocals.wav").write_bytes(b"Mac OS X")
    (references / "ref" / ".ipynb_checkpoints").mkdir()
    shutil.copy(references / "ref" / "A" / "drums.wav", references / "ref" / ".ipynb_checkpoints" / "drums.wav")
    shutil.copy(references / "ref" / "A" / "drums.wav", references / "ref" / "A" / "._drums.wav")
    assert run(references) == 0, capsys.readouterr().err
    table = pd.read_csv(references / "out" / "scores.csv")
    sdr = table[(table.metric == "SDR") & table.track.notna()]
    assert set(sdr.track) == {"A", "B"} and set(sdr.target) == {"drums", "vocals"}
    if not pattern.endswith("mp3"):
        assert np.allclose(sdr.score, 20.0, atol=0.05)  # an error of a tenth


def test_other_names_need_a_pattern(references, capsys):
    estimate(references, "{stem}-of-{track}.wav")
    assert run(references) == 1
    error = capsys.readouterr().err
    assert "failed: A: no folder" in error and "there are drums-of-A.wav, vocals-of-A.wav" in error
    assert "--pattern" in error
    assert run(references, "--pattern", "{stem}-of-{track}") == 0
    assert run(references, "--pattern", "{track}") == 2
    assert "--pattern '{track}' has no {stem}" in capsys.readouterr().err


def test_two_estimates_of_one_stem_are_named(references, capsys):
    estimate(references, "{track}_({Stem})_one.wav")
    estimate(references, "{track}_({Stem})_two.wav")
    assert run(references) == 1
    assert "two estimates of drums, A_(Drums)_one.wav and A_(Drums)_two.wav" in capsys.readouterr().err
    assert run(references, "--pattern", "{track}_({stem})_two") == 0


def test_messages_speak_of_the_command(references, capsys):
    """Estimates some samples longer, and a reference scored against itself."""
    estimate(references, "{track}/{stem}.wav", lambda samples: np.append(samples, samples[:37]))
    assert run(references) == 1
    assert "--pad cuts them or appends zeros" in capsys.readouterr().err
    assert run(references, "--pad") == 0  # what is left equals the references
    assert "perfect: A: drums, vocals (no error in some frames" in capsys.readouterr().out
    estimate(references, "{track}/{stem}.wav", lambda samples: 0 * samples)
    assert run(references) == 1
    assert "--silent drop leaves that source out" in capsys.readouterr().err
    (references / "est" / "A" / "vocals.wav").rename(references / "est" / "A" / "voice.wav")
    assert run(references) == 1
    assert "the estimates are drums.wav, voice.wav" in capsys.readouterr().err


def test_a_folder_without_stems_is_no_track(references, tmp_path):
    """A folder that holds nothing but a mixture."""
    assert tracks(references / "ref") == ["A", "B"]
    only = references / "only" / "A"
    only.mkdir(parents=True)
    shutil.copy(references / "ref" / "mixture.wav", only)
    with pytest.raises(ValueError, match="only: no stem in it or below, only mixtures such as A/mixture.wav"):
        tracks(only.parent)


def test_references_behind_links_are_read(references):
    (references / "linked").mkdir()
    (references / "linked" / "A").symlink_to(references / "ref" / "A")
    assert tracks(references / "linked") == ["A"]
    found = Estimates(references / "linked", ["A"]).of("A", ["drums", "vocals"])
    assert set(found) == {"drums", "vocals"}


def test_methods_are_collected_in_one_table_that_reports_reads(references, capsys):
    from reports.__main__ import main as report

    table = references / "scores of methods.csv"
    for label, gain in (("loud", 0.9), ("quiet", 0.5), ("loud", 0.8)):
        estimate(references, "{track}/{stem}.wav", lambda samples, gain=gain: gain * samples)
        assert run(references, "--table", str(table), "--label", label) == 0
    assert f"python -m reports '{table}' --factor method --reference quiet" in capsys.readouterr().out
    scores = pd.read_csv(table)
    assert len(scores) == 2 * 2 * 2 * 4 and set(scores.columns) == {
        "method",
        "seed",
        "track",
        "target",
        "metric",
        "score",
    }
    assert np.allclose(scores[(scores.method == "loud") & (scores.metric == "SDR")].score, 13.979, atol=0.05)
    assert (
        report([str(table), "--factor", "method", "--reference", "quiet", "--metric", "SDR", "--test", "item_means"])
        == 0
    )
    assert "loud" in capsys.readouterr().out


def test_a_track_whose_name_begins_as_another(references, capsys):
    """Estimates of "A (live)" were taken for further stems of "A"."""
    shutil.copytree(references / "ref" / "A", references / "ref" / "A_(x)")
    estimate(references, "{track}_({Stem})_m.wav")
    for path in list((references / "est").glob("A_*")):
        shutil.copy(path, path.with_name(path.name.replace("A_", "A_(x)_")))
    assert run(references) == 0, capsys.readouterr().err


def test_what_is_wrong_with_a_file_is_told_with_its_name(references, capsys):
    """A file that was cut off was said to have another shape, and a silent estimate was called by its number."""
    estimate(references, "{track}/{stem}.wav")
    path = references / "est" / "A" / "vocals.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert run(references) == 1
    assert f"{path}: holds less audio than its header says (truncated)" in capsys.readouterr().err
    path.write_bytes(b"")
    assert run(references) == 1 and f"{path}: not a readable audio file" in capsys.readouterr().err
    soundfile.write(path, np.zeros(int(1.1 * RATE)), RATE)
    assert run(references) == 1 and f"(estimate 1 is {path})" in capsys.readouterr().err


def test_each_estimate_is_cut_or_padded_by_itself(references, capsys):
    estimate(references, "{track}/{stem}.wav")
    path = references / "est" / "A" / "vocals.wav"
    samples, _ = soundfile.read(path)
    assert run(references) == 0
    plain = (references / "out" / "A.json").read_text()
    soundfile.write(path, np.append(samples, samples[:99]), RATE)
    assert run(references) == 1 and "vocals.wav has (time, channel)" in capsys.readouterr().err
    assert run(references, "--pad") == 0
    assert json.loads((references / "out" / "A.json").read_text())["targets"] == json.loads(plain)["targets"]


def test_a_pattern_with_a_suffix_and_a_folder_that_is_not_there(references, capsys):
    estimate(references, "{stem}-of-{track}.wav")
    assert run(references, "--pattern", "{stem}-of-{track}.wav") == 0
    shutil.rmtree(references / "est")
    assert run(references) != 0
    assert f"error: {references / 'est'} is no folder; it should hold the estimates" in capsys.readouterr().err
