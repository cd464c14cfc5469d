"""A listening test as one page for listeners, and beside it the plan that tells which condition is which."""

import json
from pathlib import Path

from reports import media
from reports.contract import from_json, to_json
from reports.listening.plan import Plan, Test
from reports.text import count
from reports.writers.files import replace_file
from reports.writers.html import HERE, template


def to_html(test: Test) -> str:
    """The page. Sounds and conditions stand under numbers, in an order that says nothing either."""
    plan = test.plan
    uris = {name: media.flac_uri(sound) for name, sound in {**test.sounds, **test.references}.items()}
    rates = {uris[name]: sound.rate for name, sound in {**test.sounds, **test.references}.items()}
    order = sorted(rates)
    places = {name: order.index(uri) for name, uri in uris.items()}
    trials = [
        {
            "id": trial.id,
            "target": trial.target,
            "reference": places[trial.id],
            "conditions": [{"id": each.id, "sound": places[each.id]} for each in trial.conditions],
        }
        for trial in plan.trials
    ]
    content = {"study": plan.study, "test": plan.test, "page": plan.page, "question": plan.question}
    data = json.dumps({**content, "trials": trials, "sounds": [{"uri": uri, "rate": rates[uri]} for uri in order]})
    css, player, script = (_file(name) for name in ("report.css", "players.js", "listening.js"))
    return template("listening.html").render(
        page=plan.page,
        question=plan.question,
        test=plan.test,
        count=count(len(trials), "item"),
        data=data.replace("<", "\\u003c"),
        css=css,
        js=player + script,
    )


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def write(test: Test, out: Path) -> tuple[Path, Path]:
    """Write the page and its plan below `out`, under names that hold the page's hash; returns both paths."""
    out.mkdir(parents=True, exist_ok=True)
    page, plan = out / f"{test.plan.page}.html", plan_file(out, test.plan.page)
    replace_file(page, to_html(test))
    replace_file(plan, json.dumps(to_json(test.plan), indent=1) + "\n")
    return page, plan


def plan_file(folder: Path, page: str) -> Path:
    """Where the plan of a page lies."""
    return folder / f"{page}.plan.json"


def plans(folder: Path) -> dict[str, Plan]:
    """The plans of all pages below a folder, by hash of their page."""
    found = {}
    for path in sorted(folder.glob("*.plan.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON: {error}") from error
        plan = from_json(Plan, raw, str(path))
        found[plan.page] = plan
    return found
