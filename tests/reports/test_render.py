"""Files written from the fixture: complete, self-contained, equal bytes each time."""

import base64
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

import reports
from reports import media
from reports.__main__ import main
from reports.sections import listen, reproduce


def test_five_files(rendered: dict[str, Path]) -> None:
    assert sorted(rendered) == ["csv", "html", "json", "md", "tex"]
    assert all(path.stat().st_size > 500 for path in rendered.values())


def test_html_needs_no_network(rendered: dict[str, Path]) -> None:
    page = rendered["html"].read_text()
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["'(]?(?:https?:)?//""", page)
    assert "<!doctype html>" in page[:40].lower()
    for words in (
        "no U-Net",
        "Bonferroni, family of 6",
        "drums/seed2",
        "Each separator is trained once for all seeds",
        "bass and no U-Net ran on different kinds of device",
        "Source silent in this track",
        "best scalar",
        "--trial &#39;vocals/seed1&#39;",
        "0123456789abcdef",
    ):
        assert words in page, words


def test_equal_bytes(study_directory: Path, rendered: dict[str, Path]) -> None:
    before = {name: path.read_bytes() for name, path in rendered.items()}
    reports.render(study_directory)
    assert {name: path.read_bytes() for name, path in rendered.items()} == before


def test_csv_and_json_hold_the_means_of_the_table(study_directory: Path, rendered: dict[str, Path]) -> None:
    scores = pd.read_csv(study_directory / "scores.csv", keep_default_na=False)
    rows = scores[(scores["metric"] == "roc_auc") & (scores["target"] == "macro")].astype({"score": float})
    table = pd.read_csv(rendered["csv"]).query("metric == 'roc_auc'").set_index("variant")
    contrasts = {
        c["variant"]: c for c in json.loads(rendered["json"].read_text())["contrasts"] if c["metric"] == "roc_auc"
    }
    for variant, group in rows.groupby("variant"):
        assert table.loc[variant, "mean"] == pytest.approx(group["score"].mean())
        assert table.loc[variant, "se"] == pytest.approx(group["score"].sem())
        if variant != "no U-Net":
            assert contrasts[variant]["difference"] == pytest.approx(table.loc[variant, "difference"])
            assert contrasts[variant]["family"] == 6


def test_summary_fits_a_terminal(study_directory: Path) -> None:
    text = reports.summary(study_directory)
    assert max(map(len, text.splitlines())) <= 100
    assert "family of 6" in text and all(v in text for v in ("no U-Net", "vocals", "multiple"))


def test_import_is_cheap_and_free_of_the_core() -> None:
    code = (
        "import sys, reports; heavy = {'pandas', 'scipy', 'matplotlib', 'mss_core'} & "
        "set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(reports.__file__).parent.parent)
    sources = "".join(p.read_text() for p in Path(reports.__file__).parent.glob("*.py"))
    assert not re.findall(r"^\s*(?:from|import) mss_core", sources, re.MULTILINE)


def test_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(
        "loss,seed,score\n"
        + "".join(
            f"{loss},{seed},{score + 0.01 * seed}\n"
            for loss, score in (("None", 1.0), ("L1", 1.2))
            for seed in range(4)
        )
    )
    assert main([str(table), "--factor", "loss", "--reference", "None", "--json", "-", "--higher-is-better"]) == 0
    (contrast,) = json.loads(capsys.readouterr().out)
    assert contrast["difference"] == pytest.approx(0.2)
    assert set(contrast) >= {
        "difference",
        "ci",
        "t",
        "df",
        "p",
        "p_corrected",
        "family",
        "effect_size",
        "n",
        "test",
        "naive_p",
    }
    assert contrast["test"] == "half_pooled" and contrast["n"] == [4, 4] and contrast["family"] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--factor", "los", "--reference", "L1"], "no column 'los'; did you mean 'loss'"),
        (["--factor", "loss", "--reference", "l1"], "did you mean 'L1'"),
        (["--factor", "loss", "--reference", "L1", "--metric", "sdr"], "no metric 'sdr'"),
        (["--reference", "L1"], "--factor is needed"),
    ],
)
def test_own_table_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("loss,seed,score\nL1,0,1\nL1,1,2\nL2,0,1\nL2,1,3\n")
    assert main([str(table), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "row, message",
    [
        ("L1,0,5", "line 4: a second score for variant 'L1', seed '0'"),
        ("L1,x,5", "line 4: seed is 'x'"),
        ("L1,3,five", "line 4: score is 'five'"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, message: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(f"loss,seed,score\nL1,0,1\nL2,0,2\n{row}\n")
    assert main([str(table), "--factor", "loss", "--reference", "L1"]) == 2
    assert message in capsys.readouterr().err


def test_unknown_study_names_the_nearest(study_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source_ablation", "--store", str(study_directory.parent.parent)]) == 2
    assert "did you mean 'source_ablation-smoke'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("--metric accuracy", "--metric"),
        ("--test paired --alpha 0.05", "--test"),
        ("--alpha 0.01", "--alpha"),
        ("--correction none", "--correction"),
        ("--lower-is-better", "--lower-is-better"),
        ("--margin 0.1", "--margin"),
        ("--one-run", "--one-run"),
    ],
)
def test_what_a_study_declared_is_not_said_again(
    study_directory: Path, capsys: pytest.CaptureFixture[str], words: str, flag: str
) -> None:
    assert main([str(study_directory), *words.split(), "--format", ""]) == 2
    assert f"is a study, whose report is as it was declared: {flag} is of tables" in capsys.readouterr().err


def test_trials_of_one_command_are_named_together(findings) -> None:
    trials = tuple(replace(trial, command="make run") for trial in findings.study.trials)
    together = replace(findings, study=replace(findings.study, trials=trials))
    (line,) = reproduce.commands(together)
    assert line.endswith("multiple/seed2: `make run`") and "drums/seed2 (missing)" in line
    assert len(reproduce.commands(findings)) == 21


def test_examples_take_turns_by_target(study_directory: Path, findings) -> None:
    one = next(e for e in findings.study.examples if e.variant == "vocals")
    many = tuple(
        replace(one, target=target, track=track) for target in ("bass", "drums", "vocals") for track in ("a", "b", "c")
    )
    lost = replace(one, track="z", target="other", estimate="gone.wav")
    study = replace(findings.study, examples=(*many, lost))
    made = listen.section(replace(findings, study=study), {}, reports.study_tables(study_directory))
    assert made is not None and [part.title for part in made.parts] == ["a, bass", "a, drums", "a, vocals", "z, other"]
    labels = ["mixture, 2.0 s", "reference bass, 2.0 s", "estimate, vocals, 2.0 s"]
    assert [figure.caption for figure in made.parts[0].figures] == labels
    assert all(figure.audio and figure.image and figure.svg for figure in made.parts[0].figures)
    assert made.points == ("The audio gone.wav (z, estimate, vocals) could not be read.",)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_activity_bar_and_spectrogram_follow_the_sound(rate: int) -> None:
    def heard(mono: np.ndarray) -> media.Sound:
        return media.Sound(np.stack([mono, mono], axis=1), rate)

    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * 1000 * time) * (time >= 1)
    sound = heard(tone)
    ((start, length),) = media.activity(sound, 1.0)
    assert (start, length) == pytest.approx((0.5, 0.5), abs=0.02)
    levels, size = media.magnitudes(sound), {16_000: 512, 44_100: 1024}[rate]
    assert levels.shape[0] == size // 2 + 1 and levels.mean(axis=1).argmax() == round(1000 / rate * size)
    silent = heard(np.zeros(rate))
    assert media.activity(silent, 1.0) == () and media.activity(silent, 0.0) == ()
    assert media.activity(heard(1e-3 * tone), 1.0) == ()  # beside sounds 60 dB louder nobody hears it


def test_a_page_has_the_samples_of_a_file_bit_for_bit(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(-(2**15), 2**15, (3000, 2)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", whole, 44_100, subtype="PCM_16")
    sound = media.load(tmp_path / "a.wav")
    assert sound is not None and sound.samples.shape == (3000, 2)
    held = base64.b64decode(media.flac_uri(sound).partition(",")[2])
    back, rate = soundfile.read(io.BytesIO(held), dtype="int16")
    assert rate == 44_100 and np.array_equal(back, whole)
    assert media.flac_uri(sound) == media.flac_uri(sound)


def test_a_picture_has_the_greatest_of_neighbouring_rows() -> None:
    levels = np.full((513, 4), -60.0)
    levels[200, 1], levels[511, 2] = 0.0, -20.0
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(media.png_uri(levels).partition(",")[2]))))
    wanted = np.stack([levels[k : k + 2].max(axis=0) for k in range(0, 513, 2)])[::-1]
    assert np.array_equal(picture, (np.clip((wanted + 80) / 80, 0, 1) * 255).astype(np.uint8))
