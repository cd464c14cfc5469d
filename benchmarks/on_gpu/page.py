"""What ``benchmarks/gpu.py`` writes: JSON with one row per line, tables of one run, and a page of several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

LEAD = """# On a GPU, measured

Written by `python benchmarks/gpu.py --merge {files} --out docs/gpu.md`
from what runs of `make gpu` left; no figure is typed. Of each part the last run that has it is shown. A measurement
that failed has its reason in a column `error`.
"""
PARTS = {
    "tests": "The tests marked `gpu`. `s`: seconds, the first ones with the card's start in them.",
    "stages": (
        "`pretrain`, `train_tail` and `finetune` of MSSPT at full width, twice, and stopped in the middle and"
        " gone on with by another process. `kernels`: as `--free-kernels` sets them (`free`; `as they are` "
        "before there was a choice) or `deterministic`, the default. `byte-equal`: whether the files of "
        "weights are the same; `most`: how far their numbers are apart at most; `s`: seconds, with up to six "
        "trainings side by side."
    ),
    "models": (
        "Free kernels. `mode`: `eager` as the harness runs; `graph`: the step recorded once as a CUDA graph "
        "and replayed; `compiled` by torch's inductor; `cudnn.benchmark`: convolutions chosen by trying. "
        "`items`: segments of a batch. `ms`: median of a step; `W`: mean power meanwhile; `items/s`; `GFLOP`:"
        " operations of a step, a product and a sum being two; `MB`: bytes that pass through memory at least "
        "(parameters, moments, what the backward pass keeps); `floor ms`: the least time for either at the "
        "card's measured peak, and by which it is `bound`; `times floor`: `ms` over that; `mJ/item`: energy; "
        "`peak GB`: memory taken."
    ),
    "exact": (
        "Each network's training (eight steps) twice from one start in one process. `ms`: a step, the second "
        "time; `tensors that differ`, and by how much at `most`; `finite`: whether all weights are. In the "
        "first run deterministic kernels were asked for with `warn_only`, under which torch keeps attention "
        "that does not repeat; operations that said so are named in a column."
    ),
    "loop": (
        "`loader`: a batch assembled, with the packed set on the card (`resident`) or read from mapped files "
        "(`streamed`); `training loop`: a step of `training.fit` with it. `items/s`: segments."
    ),
    "bss": "BSS Eval v4 of one minute: one CPU core against the card; `dB apart`: the largest difference from the CPU.",
    "sharing": (
        "The same training one, two and four times side by side on the card: `steps/s`, `items/s` and "
        "`mJ/item` of all together."
    ),
    "study": (
        "`source_ablation` at smoke size, two seeds, shorter trainings, in one process, and its report. `s`, "
        "`J`: seconds and joules of all `runs` of a stage."
    ),
}
LEFT = {
    "U-Net": (
        "convolutions of few channels on large maps do not fill the matrix units; norms and activations read maps again"
    ),
    "CNN tail": "convolutions of few channels on large maps do not fill the matrix units; norms read maps again",
    "AST": "four items a batch: small products, with norms, GELU and softmax between",
    "joint CNN": "two networks of few channels one after the other; the STFT before them is float32",
    "joint AST": "a U-Net of few channels before a batch of four",
    "IASS": "convolutions of few channels on large maps do not fill the matrix units; norms read maps again",
    "BLSTM": "an LSTM's steps follow one another, and each is a small product",
    "X-UMX": "an LSTM's steps follow one another, and each is a small product",
    "VQ-VAE steering": "1-D convolutions of 32 or 64 channels on all samples; 2048 codes searched per latent",
}
"""What is expected to keep a network from its floor once launches are gone and passes are fused; not measured."""


def read(file: Path) -> dict[str, Any]:
    """What a run left. Raises ValueError where the file is not of a run at full size."""
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        rows = run["rows"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file} is not what benchmarks/gpu.py writes: no rows of measurements") from None
    if run.get("quick") or not rows:
        raise ValueError(f"{file} is of a run with --quick, or empty: measure without it")
    return {**run, "file": file.name}


def to_json(run: dict[str, Any]) -> str:
    head = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in run.items() if name != "rows")
    return "{\n" + head + ' "rows": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in run["rows"]) + "\n ]\n}\n"


def cell(value: Any) -> str:
    """
    >>> cell(12.3456), cell("a|b")
    ('12.35', 'a/b')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")


def table(rows: Sequence[Row]) -> str:
    """A column is there where a row has it."""
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "part"]
    lines = [f"| {' | '.join(cell(row.get(name, '')) for name in columns)} |\n" for row in rows]
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n{''.join(lines)}"


def tables(rows: Sequence[Row]) -> str:
    """One table per part."""
    text = "# On a GPU\n"
    for part in dict.fromkeys(row["part"] for row in rows):
        text += f"\n## {part}\n\n{table([row for row in rows if row['part'] == part])}"
    return text


def page(runs: Sequence[dict[str, Any]]) -> str:
    """The page of several runs, the later ones before the earlier where both have a part."""
    text = LEAD.format(files=" ".join(f"benchmarks/{run['file']}" for run in runs))
    text += f"\n## The runs\n\n{table([_run(number, run) for number, run in enumerate(runs, 1)])}"
    text += "\nPeak rates of a matrix product of 8192 x 8192 (TFLOP/s) and of a copy, read and written (GB/s):\n\n"
    text += table([_rates(number, run) for number, run in enumerate(runs, 1)])
    chosen: dict[str, tuple[int, list[Row]]] = {}
    for number, run in enumerate(runs, 1):
        for part in PARTS:
            rows = [row for row in run["rows"] if row["part"] == part]
            if rows and (part not in chosen or any("error" not in row for row in rows)):
                chosen[part] = (number, rows)
    if "models" in chosen:
        text += "\n## Each network's training step against the card's floor\n\n" + _floors(chosen["models"][1])
    if "exact" in chosen:
        text += "\n## What deterministic kernels cost\n\n" + _price(chosen["exact"][1])
    for part, description in PARTS.items():
        if part in chosen:
            number, rows = chosen[part]
            text += f"\n## {part}\n\nRun {number}. {description}\n\n{table(rows)}"
    return text


def _facts(run: dict[str, Any]) -> dict[str, Row]:
    return {row["what"]: row for row in run["rows"] if row["part"] == "machine" and "what" in row}


def _run(number: int, run: dict[str, Any]) -> Row:
    facts = {name: row["value"] for name, row in _facts(run).items() if "unit" not in row and "value" in row}
    return {"run": number, "date": run.get("date", "unknown"), **facts, "command": f"`{run.get('command', 'unknown')}`"}


def _rates(number: int, run: dict[str, Any]) -> Row:
    return {"run": number, **{name: row["value"] for name, row in _facts(run).items() if "unit" in row}}


def _floors(rows: Sequence[Row]) -> str:
    """For each network and precision the fastest way of a training step, and what stands between it and the floor."""
    timed = {
        (row["model"], row["precision"], row["mode"]): row
        for row in rows
        if row.get("task") == "training step" and "ms" in row
    }
    found = []
    for model, precision in dict.fromkeys((model, precision) for model, precision, _ in timed):
        modes = {mode: row for (m, p, mode), row in timed.items() if (m, p) == (model, precision)}
        floor = next((row["floor ms"] for row in modes.values() if "floor ms" in row), None)
        if floor is None:
            continue
        best = min(modes, key=lambda mode: modes[mode]["ms"])
        times = modes[best]["ms"] / floor
        found.append(
            {
                "model": model,
                "precision": precision,
                "eager ms": modes["eager"]["ms"],
                "fastest": best,
                "its ms": modes[best]["ms"],
                "floor ms": floor,
                "times floor": times,
                "reason": "within 2" if times <= 2 else "; ".join([*_gains(modes), LEFT.get(model, "not known")]),
            }
        )
    return (
        "`fastest`: the mode that took least; `floor ms` as below; `reason`: why it is not within 2 of the floor: what "
        f"was measured (gains of a graph and of a compiler), then what is expected of the rest.\n\n{table(found)}"
    )


def _price(rows: Sequence[Row]) -> str:
    """Milliseconds with either kind of kernels."""
    done = {(row["model"], row["task"], row["precision"], row["kernels"]): row for row in rows if "ms" in row}
    found = []
    for model, task, precision, kernels in done:
        free = done.get((model, task, precision, "free")) or done.get((model, task, precision, "as they are"))
        if kernels == "deterministic" and free is not None:
            strict = done[model, task, precision, kernels]
            labels = {"model": model, "task": task, "precision": precision}
            times = {"free ms": free["ms"], "deterministic ms": strict["ms"], "times": strict["ms"] / free["ms"]}
            found.append({**labels, **times, "free repeats": free["equal"], "deterministic repeats": strict["equal"]})
    return f"From `exact` below; the default is deterministic, `--free-kernels` is the other.\n\n{table(found)}"


def _gains(modes: dict[str, Row]) -> list[str]:
    """What a graph and a compiler gain, where it is a tenth or more."""
    found = []
    for before, after, what in (
        ("eager", "graph", "eager waits for launches, a graph is {:.1f} times as fast"),
        ("graph", "compiled, graph", "fusing passes over memory makes that {:.1f} times as fast"),
    ):
        if before in modes and after in modes and (gain := modes[before]["ms"] / modes[after]["ms"]) >= 1.1:
            found.append(what.format(gain))
    return found
