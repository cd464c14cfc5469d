"""A folder that any web server shows: what goes into it, and what it never touches."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from reports.overview.publish import MARK, main, publish
from tests.reports.store import ONE, Read, add


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two studies, one with a stray sound and a search, and all that a store has beside studies."""
    store = tmp_path / "store"
    home = add(store, "a")
    for name in ("search.json", "search.csv", "looks.json", "predictions.parquet", "song.wav", "notes.txt", ".x.tmp"):
        (home / name).write_text(name)
    add(store, "b#%", ONE)
    (store / "mlflow.db").write_text("secret")
    (store / "pretrain/0a").mkdir(parents=True)
    (store / "pretrain/0a/weights.pt").write_text("")
    return store


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_site_has_the_page_the_reports_and_the_tables(store: Path, tmp_path: Path) -> None:
    written = publish(store, tmp_path / "site")
    made = files(tmp_path / "site")
    reported = {f"report.{kind}" for kind in ("html", "md", "csv", "tex", "json")} | {"study.json", "scores.csv"}
    tables = {"search.json", "search.csv", "looks.json", "predictions.parquet"}
    assert set(made) == {
        *("index.html", MARK),
        *(f"studies/a/{name}" for name in reported | tables),
        *(f"studies/b#%/{name}" for name in reported),
    }
    for name in set(made) - {"index.html", MARK}:
        assert made[name] == (store / name).read_bytes()
    shown = Read(written.read_text(encoding="utf-8"))
    assert len(shown.cards) == 2 and all(path.is_file() for path in shown.files(written.parent))
    assert json.loads(made[MARK])["files"] == sorted(set(made) - {MARK})


def test_publishing_again_follows_the_store_and_keeps_what_others_put_there(store: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish(store, site)
    first = files(site)
    publish(store, site)
    assert files(site) == first
    shutil.rmtree(store / "studies/b#%")
    (store / "studies/a/search.csv").unlink()
    (store / "studies/a/report.md").write_text("new")
    (site / "CNAME").write_text("example.org")
    (site / "studies/a/mine.txt").write_text("kept")
    publish(store, site)
    gone = {name for name in first if name.startswith("studies/b#%/") or name == "studies/a/search.csv"}
    assert set(files(site)) == set(first) - gone | {"CNAME", "studies/a/mine.txt"}
    assert not (site / "studies/b#%").exists()
    assert (site / "studies/a/report.md").read_text() == "new"
    assert len(Read((site / "index.html").read_text()).cards) == 1


def test_damaged_studies_are_named_on_the_site_too(store: Path, tmp_path: Path, capsys) -> None:
    (store / "studies/a/report.json").write_text("{")
    (store / "studies/nothing").mkdir()
    assert main([str(store), str(tmp_path / "site")]) == 0
    told = capsys.readouterr()
    assert "unreadable: a: report.json is not JSON" in told.err and "unreadable: nothing: it holds" in told.err
    assert told.out == f"{tmp_path / 'site/index.html'}  (1 study)\n"
    shown = Read((tmp_path / "site/index.html").read_text())
    assert "nothing: it holds no study.json" in shown.text
    assert all(path.is_file() for path in shown.files(tmp_path / "site"))


@pytest.mark.parametrize(
    "made, told",
    [
        (lambda site: (site.mkdir(), (site / "index.html").write_text("mine")), "did not make it"),
        (lambda site: (site.mkdir(), (site / ".git").mkdir()), "holds '.git' and no published.json"),
        (lambda site: site.write_text(""), "is a file: name a folder"),
        (lambda site: (site.mkdir(), (site / MARK).write_text("[]")), "cannot be read"),
        (lambda site: (site.mkdir(), (site / MARK).write_text("{")), "cannot be read"),
    ],
)
def test_a_site_of_others_is_refused_and_left(store: Path, tmp_path: Path, capsys, made, told: str) -> None:
    site = tmp_path / "site"
    made(site)
    before = files(tmp_path)
    assert main([str(store), str(site)]) == 2
    assert told in capsys.readouterr().err and files(tmp_path) == before


def test_an_empty_folder_will_do(store: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    assert publish(store, tmp_path / "site").is_file()


@pytest.mark.parametrize("site", ["store", "store/site", "store/studies", "."])
def test_a_site_within_the_store_or_around_it_is_refused(store: Path, tmp_path: Path, site: str) -> None:
    before = files(tmp_path)
    with pytest.raises(ValueError, match="lie in each other"):
        publish(store, tmp_path / site)
    assert files(tmp_path) == before


def test_no_store_is_no_site(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "gone"), str(tmp_path / "site")]) == 2
    assert "is no store" in capsys.readouterr().err and not (tmp_path / "site").exists()


def test_only_what_publish_writes_is_ever_removed(store: Path, tmp_path: Path) -> None:
    """A list of files that somebody changed names others, and leads out of the site."""
    site, mine = tmp_path / "site", tmp_path / "mine.txt"
    publish(store, site)
    mine.write_text("kept")
    (site / "CNAME").write_text("kept")
    other = [str(mine), "../mine.txt", "CNAME", "studies/../../mine.txt", "studies/../report.md", 3, None, "studies/a"]
    (site / "report.md").write_text("kept")
    (site / MARK).write_text(json.dumps({"files": other}))
    publish(store, site)
    assert mine.exists() and (site / "CNAME").exists() and (site / "report.md").exists()


def test_links_lead_neither_out_of_the_store_nor_out_of_the_site(store: Path, tmp_path: Path) -> None:
    secret, site = tmp_path / "secret.csv", tmp_path / "site"
    secret.write_text("secret")
    (store / "studies/a/scores.csv").unlink()
    os.symlink(secret, store / "studies/a/scores.csv")
    with pytest.raises(ValueError, match="a/scores.csv leads out of the store"):
        publish(store, site)
    assert not site.exists()
    (store / "studies/a/scores.csv").unlink()
    os.symlink(tmp_path, store / "studies/c")
    with pytest.raises(ValueError, match="c leads out of the store"):
        publish(store, site)
    (store / "studies/c").unlink()
    publish(store, site)
    away = tmp_path / "away"
    (site / "studies/a").rename(away)
    os.symlink(away, site / "studies/a")
    kept = files(away)
    for changed in (lambda: None, lambda: shutil.rmtree(store / "studies/a")):
        changed()
        with pytest.raises(ValueError, match="is a link"):
            publish(store, site)
        assert files(away) == kept
