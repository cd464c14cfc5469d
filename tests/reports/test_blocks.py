"""Studies split into blocks, and sections that a study asks for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

import reports

MEANS = {"cnn, none": 0.60, "cnn, vocals": 0.70, "ast, none": 0.80, "ast, vocals": 0.80}


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    home = tmp_path / "studies" / "blocks"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [
        dict(
            study="blocks",
            trial=f"{name}/seed{k}",
            variant=name,
            seed=k,
            track="",
            target="macro",
            metric="roc_auc",
            aggregation="",
            score=mean + rng.normal(0, 0.01),
        )
        for name, mean in MEANS.items()
        for k in range(5)
    ]
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "blocks",
                "declaration": {
                    "reference": "cnn, none",
                    "within": ["backend"],
                    "seeds": list(range(5)),
                    "metric": "roc_auc",
                    "target": "macro",
                    "references": {name: f"{name[:3]}, none" for name in MEANS},
                    "sections": [],
                },
                "variants": [{"variant": name, "levels": {"backend": name[:3]}} for name in MEANS],
            }
        )
    )
    return home


def test_each_block_has_its_own_reference_and_all_share_a_family(blocks: Path) -> None:
    found = reports.read(blocks).main
    assert found.family == 2
    assert found.references == ("cnn, none", "ast, none")
    assert {c.variant: c.reference for c in found.contrasts} == {"cnn, vocals": "cnn, none", "ast, vocals": "ast, none"}
    table = pd.read_csv(blocks / "scores.csv")
    for contrast in found.contrasts:
        a, b = (table[table["variant"] == n]["score"] for n in (contrast.variant, contrast.reference))
        assert contrast.primary.statistic == pytest.approx(ttest_ind(a, b, equal_var=False).statistic, rel=1e-9)
        assert contrast.p_corrected == pytest.approx(min(1.0, 2 * contrast.primary.p))


def test_what_is_printed_names_the_block(blocks: Path) -> None:
    written = reports.render(blocks)
    for name in ("html", "md", "tex"):
        assert "the reference of the same backend" in written[name].read_text(), name
    assert "cnn, vocals" in written["md"].read_text()
    assert "than cnn, none" not in reports.summary(blocks)
    table = pd.read_csv(written["csv"]).set_index("variant")["reference"]
    assert table["ast, vocals"] == "ast, none" == table["ast, none"]


def test_a_reference_that_does_not_exist_is_named(blocks: Path) -> None:
    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"]["references"]["ast, vocals"] = "ast, non"
    (blocks / "study.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="'ast, non' of 'ast, vocals' is no variant .* did you mean 'ast, none'"):
        reports.read(blocks)


def test_blocks_have_tracks_of_their_own_and_songs_may_be_the_sample(blocks: Path) -> None:
    from scipy.stats import ttest_rel

    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"] |= {
        "metric": "si_sdr",
        "test": "item_means",
        "factors": [{"name": "backend", "levels": {}}, {"name": "source", "levels": {}}],
    }
    for variant in raw["variants"]:  # data that only one of the two reads is no difference between them
        variant["recipe"] = {"clips.fingerprint": "" if "none" in variant["variant"] else "abc"}
    (blocks / "study.json").write_text(json.dumps(raw))
    rng = np.random.default_rng(1)
    songs = {"cnn": ["a", "b", "c", "d"], "ast": ["e", "f", "g"]}
    rows = [
        dict(
            variant=name,
            seed=k,
            track=song,
            target="macro",
            metric="si_sdr",
            aggregation="",
            score=MEANS[name] + rng.normal(0, 0.1) * (k == 0),
        )
        for name in MEANS
        for k in range(2)
        for song in songs[name[:3]]
    ]
    table = pd.DataFrame(rows)
    table.to_csv(blocks / "scores.csv", index=False)
    found = reports.read(blocks).main
    assert found.test == "item_means" and not any(c.refused for c in found.contrasts)
    for contrast in found.contrasts:
        a, b = (
            table[table["variant"] == n].groupby("track")["score"].mean()
            for n in (contrast.variant, contrast.reference)
        )
        assert contrast.primary.p == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-9)
    assert "paired t over tracks (models as given)" in reports.render(blocks)["md"].read_text()
