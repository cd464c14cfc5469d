"""python -m mss_core.metrics REFERENCES ESTIMATES."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from mss_core.metrics import museval_io
from mss_core.metrics.__main__ import main
from mss_core.metrics.runs import runs
from reports.__main__ import main as report
from tests.metrics.signals import HERE, made_up, to_int16

RATE = 8000
TARGETS = ["bass", "drums", "vocals"]  # as the command sorts them


@pytest.fixture
def folders(tmp_path):
    """Three tracks of three stems: references with a mixture, and estimates."""
    for i, name in enumerate(["A", "B", "C"]):
        references, estimates = (to_int16(x) for x in made_up(60 + i, 3, 2, 2.2, RATE))
        if name == "B":
            references[0, RATE:] = 0
        for kind, signals in (("references", references), ("estimates", estimates)):
            folder = tmp_path / kind / "test" / name
            folder.mkdir(parents=True)
            for target, signal in zip(TARGETS, signals, strict=True):
                soundfile.write(folder / f"{target}.wav", signal, RATE)
        mixture = references.sum(0).clip(-32768, 32767).astype(np.int16)
        soundfile.write(tmp_path / "references" / "test" / name / "mixture.wav", mixture, RATE)
    return tmp_path


def run(folders, *options):
    where = [str(folders / "references"), str(folders / "estimates"), "--output"]
    return main([*where, str(folders / "scores"), *options])


def test_scores_are_those_of_museval(folders, capsys):
    assert run(folders, "--jobs", "2") == 0
    printed = capsys.readouterr().out
    assert "3 tracks: 0 already evaluated, 3 to do" in printed
    assert "median over frames, median over tracks, 3 tracks, dB" in printed
    assert "1 frames dropped because a source is silent in them, 1 of them in test/B" in printed
    table = pd.read_csv(folders / "scores" / "scores.csv")
    for name in ("A", "B", "C"):
        signals = [
            np.stack([soundfile.read(folders / kind / "test" / name / f"{t}.wav")[0]
                      for t in TARGETS])
            for kind in ("references", "estimates")
        ]  # fmt: skip
        theirs = museval_io.museval_bss_eval(*signals, RATE)
        rows = table[table.track == f"test/{name}"].set_index(["target", "metric"])
        for j, target in enumerate(TARGETS):
            for metric in ("SDR", "ISR", "SIR", "SAR"):
                expected = np.nanmedian(getattr(theirs, metric.lower())[j])
                assert rows.loc[(target, metric), "score"] == pytest.approx(expected, abs=2e-5)
                assert rows.loc[(target, metric), "dropped"] == (name == "B")
    overall = table[table.track.isna()].set_index(["target", "metric"])
    by_hand = table[(table.target == "drums") & (table.metric == "SIR")]["score"].iloc[:3].median()
    assert overall.loc[("drums", "SIR"), "score"] == pytest.approx(by_hand)
    report = json.loads((folders / "scores" / "test" / "A.json").read_text())
    assert [t["name"] for t in report["targets"]] == TARGETS


def test_it_resumes(folders, capsys):
    (folders / "estimates" / "test" / "C" / "bass.wav").rename(folders / "aside.wav")
    assert run(folders) == 1
    captured = capsys.readouterr()
    assert "failed: test/C: references and estimates differ in bass" in captured.err
    (folders / "aside.wav").rename(folders / "estimates" / "test" / "C" / "bass.wav")
    written = folders / "scores" / "test" / "A.json"
    before = written.stat().st_mtime_ns
    assert run(folders) == 0
    assert "2 already evaluated, 1 to do" in capsys.readouterr().out
    assert written.stat().st_mtime_ns == before
    first = (folders / "scores" / "scores.csv").read_text()
    assert run(folders) == 0
    assert "3 already evaluated, 0 to do" in capsys.readouterr().out
    assert (folders / "scores" / "scores.csv").read_text() == first
    written.write_text(written.read_text()[:100])  # cut short
    assert run(folders) == 0
    assert "2 already evaluated, 1 to do" in capsys.readouterr().out
    assert (folders / "scores" / "scores.csv").read_text() == first
    assert run(folders, "--hop", "0.5") == 0  # other settings, other scores
    assert "0 already evaluated, 3 to do" in capsys.readouterr().out
    changed = folders / "estimates" / "test" / "B" / "drums.wav"
    signal, _ = soundfile.read(changed)
    soundfile.write(changed, 0.5 * signal, RATE)
    assert run(folders, "--hop", "0.5") == 0
    assert "2 already evaluated, 1 to do" in capsys.readouterr().out


def test_aggregation_targets_and_cache(folders, capsys):
    options = ["--frames", "mean", "--tracks", "mean", "--targets", "vocals", "drums"]
    assert run(folders, *options, "--cache", str(folders / "cache")) == 0
    assert "mean over frames, mean over tracks" in capsys.readouterr().out
    assert len(list((folders / "cache").iterdir())) == 3
    table = pd.read_csv(folders / "scores" / "scores.csv")
    assert set(table.target) == {"vocals", "drums"}
    assert run(folders, "--targets", "guitar") == 1
    assert "no guitar in" in capsys.readouterr().err


def test_failures_name_the_track_and_spare_the_others(folders, capsys):
    a, b, c = (folders / "estimates" / "test" / name for name in "ABC")
    soundfile.write(a / "bass.wav", np.zeros((int(2.2 * RATE), 2)), RATE)
    soundfile.write(b / "bass.wav", np.ones((100, 2)), RATE)
    for path in c.iterdir():
        path.unlink()
    c.rmdir()
    assert run(folders) == 1
    errors = capsys.readouterr().err
    assert "failed: test/A: track 'test/A': estimate 0 is silent in the whole track" in errors
    assert "failed: test/B:" in errors and "drums.wav has (time, channel)" in errors
    assert "failed: test/C: no folder" in errors
    assert run(folders, "--silent", "drop") == 1
    assert "failed: test/A" not in capsys.readouterr().err
    table = pd.read_csv(folders / "scores" / "scores.csv")
    assert table[(table.track == "test/A") & (table.target == "bass")]["score"].isna().all()


def test_rates_differ(folders, capsys):
    folder = folders / "estimates" / "test" / "A"
    for path in folder.iterdir():
        signal, _ = soundfile.read(path)
        soundfile.write(path, signal, 2 * RATE)
    assert run(folders) == 1
    assert "'test/A': estimates have 16000 samples per second and references 8000" in (capsys.readouterr().err)


def test_folders_without_audio_are_refused(tmp_path, capsys):
    assert main([str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "none is no folder" in capsys.readouterr().err
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert "no .wav, .flac, .ogg or .mp3 file in" in capsys.readouterr().err


def test_as_a_command_and_without_museval(folders):
    """A folder of stems itself is a track; museval is not imported, so ffmpeg is not needed."""
    where = [str(folders / kind / "test" / "A") for kind in ("references", "estimates")]
    code = (
        "import sys, runpy; sys.argv = ['metrics', *sys.argv[1:]]\n"
        "try: runpy.run_module('mss_core.metrics', run_name='__main__')\n"
        "finally: assert 'museval' not in sys.modules and 'sklearn' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *where, "--output", str(folders / "out")],
        capture_output=True, text=True, timeout=120, cwd=HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folders / "out" / "track.json").exists()
    assert len(pd.read_csv(folders / "out" / "scores.csv")) == 24


def test_ill_conditioned_tracks_are_named(folders, capsys):
    folder = folders / "references" / "test" / "B"
    for path in folder.iterdir():
        signal, _ = soundfile.read(path)
        spectrum = np.fft.rfft(signal, axis=0)
        spectrum[len(spectrum) // 2 :] = 0
        narrow = np.fft.irfft(spectrum, n=len(signal), axis=0)
        soundfile.write(path, narrow, RATE, subtype="DOUBLE")
    assert run(folders) == 0
    assert "more than 1e-6 dB):\n  test/B\n" in capsys.readouterr().out
    table = pd.read_csv(folders / "scores" / "scores.csv").dropna(subset="track")
    flagged = table[table["ill_conditioned"].astype(str) == "True"]["track"]
    assert set(flagged) == {"test/B"}


@pytest.fixture
def methods(folders):
    """Two methods of two runs each, as folders of estimates; one is nearer to the references."""
    for method, noise in (("near", 1), ("far", 4)):
        for seed in (0, 1):
            for name in "ABC":
                place = folders / "est" / method / f"seed{seed}" / "test" / name
                place.mkdir(parents=True)
                for number, target in enumerate(TARGETS):
                    signal, _ = soundfile.read(folders / "references" / "test" / name / f"{target}.wav")
                    luck = np.random.default_rng([noise, seed, number, ord(name)]).normal(0, 0.02 * noise, signal.shape)
                    soundfile.write(place / f"{target}.wav", signal + luck, RATE)
    return folders


def test_several_methods_and_runs_at_once_are_what_a_report_reads(methods, capsys):
    references, estimates = str(methods / "references"), str(methods / "est" / "{method}" / "{seed}")
    assert main([references, estimates]) == 0
    printed = capsys.readouterr().out
    assert "near, run 1:" in printed and "--factor method --reference far --metric SDR\n" in printed
    table = pd.read_csv(methods / "est" / "methods.csv")
    assert len(table) == 2 * 2 * 3 * 3 * 4 and set(table["seed"]) == {0, 1}
    one = museval_io.read(methods / "est" / "near" / "seed1" / "test" / "A.json")
    sdr = one[(one.target == "bass") & (one.metric == "SDR")]["score"].median()
    row = table.query("method == 'near' and seed == 1 and track == 'test/A' and target == 'bass' and metric == 'SDR'")
    assert row["score"].item() == pytest.approx(sdr)
    flags = ["--reference", "far", "--metric", "SDR", "--target", "bass"]
    assert report([str(methods / "est" / "methods.csv"), "--factor", "method", *flags]) == 0
    of_table = capsys.readouterr().out.replace("test/", "").split()
    assert report([str(methods / "est"), *flags]) == 0
    of_folders = capsys.readouterr().out
    assert of_folders.split() == of_table and "near (+" in of_folders
    assert main([references, estimates]) == 0 and "3 already evaluated, 0 to do" in capsys.readouterr().out
    assert pd.read_csv(methods / "est" / "methods.csv").equals(table)


def test_one_run_per_method_and_an_output_of_its_own(methods, capsys):
    words = [str(methods / "references"), str(methods / "est" / "{method}" / "seed0"), "--output", str(methods / "out")]
    assert main(words) == 0
    assert "--metric SDR --test item_means" in capsys.readouterr().out
    assert (methods / "out" / "near" / "seed0" / "test" / "A.json").is_file()
    assert set(pd.read_csv(methods / "out" / "methods.csv")["seed"]) == {0}
    assert not list((methods / "est").rglob("*.json"))


@pytest.mark.parametrize(
    "pattern, more, message",
    [
        ("{seed}", [], "needs {method} once, and {seed} at most once"),
        ("{method}/{method}", [], "needs {method} once"),
        ("{method}/best{seed}", [], "no folder is like "),
        ("{method}/{seed}/{seed}", [], "{seed} at most once"),
        ("near/{seed}/{method}", ["--label", "x"], "--label x: the methods are called by {method} in "),
    ],
)
def test_patterns_that_say_too_little(methods, capsys, pattern, more, message):
    assert main([str(methods / "references"), str(methods / "est" / pattern), *more]) == 2
    assert message in capsys.readouterr().err


def test_runs_need_numbers_of_their_own(methods):
    (methods / "est" / "near" / "seed1").rename(methods / "est" / "near" / "best")
    with pytest.raises(ValueError, match=r"\{seed\} is 'best' there, which ends with no number, such as seed0"):
        runs(methods / "est" / "{method}" / "{seed}")
    (methods / "est" / "near" / "best").rename(methods / "est" / "near" / "run_0")
    with pytest.raises(ValueError, match="are both run 0 of near"):
        runs(methods / "est" / "{method}" / "{seed}")
