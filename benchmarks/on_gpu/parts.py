"""The other parts of ``benchmarks/gpu.py``: the machine, the tests, BSS Eval, trainings side by side, a study."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import platform
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

from mss_core import runtime
from mss_core.graph import Stage
from mss_core.metrics.bss_eval import bss_eval
from on_gpu.cases import CASES, TINY
from on_gpu.tools import PRECISIONS, Channel, Meter, Options, set_precision, synchronise, timed, training_step

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("BLSTM", "U-Net")


def machine(channel: Channel, options: Options) -> None:
    """What it is; nothing where the device is absent."""
    if options.cuda and not torch.cuda.is_available():
        return
    facts: dict[str, Any] = {
        "device": runtime.device_name(options.device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
    }
    if options.cuda:
        free, total = torch.cuda.mem_get_info()
        facts |= {
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "driver": _driver(),
            "memory, GB": round(total / 1e9, 1),
            "free, GB": round(free / 1e9, 1),
            "energy from": Meter(options.device).source,
        }
    for name, value in facts.items():
        channel.send({"what": name, "value": value})


def _driver() -> str:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    return "unknown"


def peaks(channel: Channel, options: Options) -> None:
    """Rates of a large matrix product (TFLOP/s) and of a large copy (GB/s, read and written)."""
    runtime.prepare_process()
    size = 8192 if options.cuda else 256

    def product(dtype: torch.dtype, side: int) -> dict[str, Any]:
        a, b = (torch.randn(side, side, device=options.device).to(dtype) for _ in range(2))
        ms = timed(lambda: a @ b, options)["ms"]
        return {"value": 2e-9 * side**3 / ms, "unit": "TFLOP/s"}

    def copied() -> dict[str, Any]:
        source = torch.randn(size * size * (16 if options.cuda else 1), device=options.device)
        target = torch.empty_like(source)
        ms = timed(lambda: target.copy_(source), options)["ms"]
        return {"value": 2e-6 * source.nbytes / ms, "unit": "GB/s"}

    for precision in PRECISIONS:
        set_precision(precision)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        channel.attempt(lambda dtype=dtype: product(dtype, size), what=precision)
    channel.attempt(lambda: product(torch.float64, size // 2), what="float64")
    channel.attempt(copied, what="copy")


def tests(channel: Channel, options: Options) -> None:
    """Every test marked gpu, by pytest; the test modules need it."""
    if importlib.util.find_spec("pytest") is None:
        raise ModuleNotFoundError("pytest is not installed, and the test modules import it")
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "pytest.mark.gpu" in path.read_text()]
    files = files[-1:] if options.quick else files
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider", "-q", f"--junitxml={report}"]
        subprocess.run([sys.executable, "-m", "pytest", *words, *map(str, files)], cwd=ROOT, check=False)
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            outcome, reason = "passed", ""
            for child in case:
                if child.tag in ("failure", "error", "skipped"):
                    outcome, reason = child.tag, (child.get("message") or "").strip()[:200]
            name = f"{case.get('classname', '')}:{case.get('name', '')}"
            channel.send({"test": name, "outcome": outcome, "s": float(case.get("time", 0)), "reason": reason})


def bss(channel: Channel, options: Options) -> None:
    """Four stereo sources at 44.1 kHz; the CPU's are of one core, and ``dB apart`` is the difference from them."""
    runtime.prepare_process()
    generator = np.random.default_rng(0)
    rate, seconds = (8000, 3) if options.quick else (44_100, 60)
    references = generator.standard_normal((4, rate * seconds + 31, 2))
    references = sum(references[:, lag : lag + rate * seconds] * 0.9**lag for lag in range(32))
    references = np.round(1000 * references) / 32768
    estimates = references + 0.1 * references.sum(0) + 0.01 * generator.standard_normal(references.shape)
    scores: list[Any] = []
    for where in dict.fromkeys(("cpu", options.device)):
        pair = [torch.from_numpy(x).to(where) for x in (references, estimates)]
        for sides in ("cold", "references cached"):
            kept: dict[Any, Any] | None = {} if sides == "references cached" else None

            def run(pair: list[torch.Tensor] = pair, kept: Any = kept) -> dict[str, Any]:
                bss_eval(*pair, rate, cache=kept)
                synchronise(options)
                begun = time.perf_counter()
                scores.append(bss_eval(*pair, rate, cache=kept))
                synchronise(options)
                apart = max(
                    float(np.nanmax(abs(getattr(scores[-1], metric) - getattr(scores[0], metric))))
                    for metric in ("sdr", "isr", "sir", "sar")
                )
                return {"s": time.perf_counter() - begun, "dB apart": apart}

            channel.attempt(run, where=where, side=sides, audio=f"{seconds} s, 4 x 2 channels, {rate} Hz")


def share(channel: Channel, options: Options, name: str) -> None:
    """Train in bfloat16 for a few seconds, beside others that do the same."""
    runtime.prepare_process()
    torch.manual_seed(0)
    case = CASES[name](options.device, options.quick)
    case.module.train()
    step = training_step(case, options, "bfloat16")
    for _ in range(1 if options.quick else 5):
        step()
    synchronise(options)
    meter = Meter(options.device)
    channel.wait()
    begun, before, steps = time.perf_counter(), meter.read(), 0
    while time.perf_counter() - begun < (0.05 if options.quick else 3.0):
        step()
        synchronise(options)
        steps += 1
    taken, after = time.perf_counter() - begun, meter.read()
    watts = None if before is None or after is None else (after - before) / taken
    channel.send({"steps/s": steps / taken, "items/s": steps * case.items / taken, "W": watts})


def together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What trainings side by side do in all."""
    errors = [row["error"] for row in rows if "error" in row]
    if errors:
        return {"error": "; ".join(dict.fromkeys(errors))}
    watts = [row["W"] for row in rows if row["W"] is not None]
    found = {name: sum(row[name] for row in rows) for name in ("steps/s", "items/s")}
    if watts:
        found |= {"W": statistics.mean(watts), "mJ/item": 1e3 * statistics.mean(watts) / found["items/s"]}
    return found


def study(channel: Channel, options: Options, out: Path) -> None:
    """The source ablation at smoke size with shorter trainings, in this process, where neither ray nor mlflow can be
    imported; seconds and joules by stage, and its report."""
    sys.modules.update(dict.fromkeys(("ray", "mlflow"), None))  # type: ignore[arg-type]
    from mss_core.study import run
    from mss_core.study.execution import in_process

    meter = Meter(options.device)
    spent: dict[str, list[tuple[float, float | None]]] = {}
    inner = in_process.run_stage

    def measured(stage: Stage, *rest: Any) -> Path:
        begun, before = time.perf_counter(), meter.read()
        done = inner(stage, *rest)
        after = meter.read()
        joules = None if before is None or after is None else after - before
        spent.setdefault(stage.name, []).append((time.perf_counter() - begun, joules))
        return done

    in_process.run_stage = measured
    declared = runpy.run_path(str(ROOT / "studies" / "source_ablation.py"))["study"]
    settings: dict[str, Any] = {"pretrain.phases.0.epochs": 2, "train_tail.phases.0.epochs": 6}
    if options.quick:
        settings = {**TINY, "train_tail.phases.0.epochs": 1}
        levels = {**(declared.smoke_levels or {}), "source": ["no U-Net", "vocals"]}
        declared = dataclasses.replace(declared, smoke_levels=levels)
    words = ["--smoke", "--in-process", "--seeds", "1" if options.quick else "2"]
    for path, value in settings.items():
        words += ["--set", f"{path}={json.dumps(value)}"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        try:
            run(declared, [*words, "--store", folder])
        except SystemExit as end:
            channel.send({"stage": "the study", "error": f"it ended with status {end.code}"})
        for name, values in spent.items():
            row: dict[str, Any] = {"stage": name, "runs": len(values), "s": sum(s for s, _ in values)}
            joules = [j for _, j in values if j is not None]
            channel.send({**row, **({"J": sum(joules), "J each": sum(joules) / len(joules)} if joules else {})})
        channel.send({"stage": "all, with planning and report", "s": time.perf_counter() - begun})
        for file in sorted(path for kind in ("html", "md") for path in Path(folder).glob(f"studies/*/report.{kind}")):
            shutil.copy(file, out / f"study_{file.name}")
            channel.send({"stage": f"written: study_{file.name}", "bytes": file.stat().st_size})
