"""What networks, loaders, BSS Eval and a study cost on this machine's GPU, and whether its results repeat: make gpu.

    python benchmarks/gpu.py [--out FOLDER] [--seconds 450] [--only PART ...] [--networks NAME ...]
    python benchmarks/gpu.py --merge A.json B.json --out docs/gpu.md     the page of several runs

Needs torch and this checkout; neither Ray nor MLflow. Runs the tests marked ``gpu``, and writes ``gpu.json`` and
``gpu.md`` after every measurement. Each part has a process of its own, forked from one that has never touched the
device, so that neither an error nor a hang (each part has a limit) costs more than itself: it becomes a row.
Parts run in the order in which ``--only`` names them; ``models`` draws ``tests`` and ``stages`` to it, while which it
compiles. Trainings of ``models``, ``loop`` and ``sharing`` have free kernels; ``exact`` has both.

    machine   peak rates of matrix products and of a copy, which the other rows are held against
    tests     the tests marked gpu
    stages    three real trainings twice, and stopped and gone on with: byte for byte the same?
    models    training step and inference of each network: float32, TF32 and bfloat16; eager, as a CUDA graph, compiled
    exact     each network's training twice, with deterministic and with free kernels: equal? at what price?
    loop      the training loop and the loader, with the data on the device and streamed to it
    bss       BSS Eval on the device and on one CPU core
    sharing   one, two and four trainings side by side
    study     a study at smoke size, cut short, in one process, with its report
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")  # of each network; nine are compiled side by side

from on_gpu import exact, feeding, networks, page, parts  # noqa: E402  (the folder beside this file)
from on_gpu.cases import CASES  # noqa: E402
from on_gpu.tools import Channel, Options, short  # noqa: E402

FORK = multiprocessing.get_context("fork")
READY, DONE = "ready", "done"
PARTS = ("tests", "stages", "models", "exact", "loop", "bss", "sharing", "study")
COMPILING = 100
"""Seconds that all networks together have for being compiled, before the first is measured."""
Row = dict[str, Any]


class Child:
    """A measurement in a process of its own; its rows come through a pipe."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self.ours, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_child, args=(theirs, function, arguments), daemon=False)
        sys.stdout.flush()
        sys.stderr.flush()
        self.process.start()
        theirs.close()
        self.over = False

    def messages(self, limit: float) -> Iterator[Any]:
        """What it sends within ``limit`` seconds, until it is ready or done; a row with the reason where it stops."""
        end = time.monotonic() + limit
        while not self.over:
            try:
                if self.ours.poll(0.1):
                    message = self.ours.recv()
                    self.over = message == DONE
                    if message in (READY, DONE):
                        return
                    yield message
                    continue
            except (EOFError, OSError):
                self.over = True
                self.process.join(5)
                yield {"error": f"the process ended with exit code {self.process.exitcode}"}
                break
            if time.monotonic() > end:
                self.over = True
                yield {"error": f"stopped after {limit:.0f} s"}

    def go(self, message: Any = None) -> None:
        if not self.over:
            self.ours.send(message)

    def close(self) -> None:
        """End it, and what it started."""
        self.process.join(3 if self.over else 0)
        if self.process.is_alive():
            try:
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            except OSError:
                self.process.kill()
            self.process.join(5)
        self.ours.close()


def _child(pipe: Any, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.setsid()

    def wait() -> Any:
        pipe.send(READY)
        return pipe.recv()

    try:
        function(Channel(pipe.send, wait), *arguments)
    except Exception as error:
        traceback.print_exc()
        pipe.send({"error": short(error)})
    pipe.send(DONE)


class Table:
    """All rows so far, on disk after each."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options, self.start = folder, options, time.monotonic()
        self.rows: list[Row] = []

    def add(self, part: str, row: Row, **labels: Any) -> None:
        row = {"part": part, **labels, **row}
        self.rows.append(row)
        shown = "  ".join(f"{name} {page.cell(value)}" for name, value in row.items() if name != "part")
        print(f"[{time.monotonic() - self.start:5.0f} s] {part}: {shown}", flush=True)
        self.write()

    def write(self) -> None:
        content = {
            "device": self.options.device,
            "quick": self.options.quick,
            "date": datetime.date.today().isoformat(),
            "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "gpu.json").write_text(page.to_json({**content, "rows": self.rows}), encoding="utf-8")
        (self.folder / "gpu.md").write_text(page.tables(self.rows), encoding="utf-8")

    def facts(self) -> Row:
        """What the machine's rows say, by name."""
        return {row["what"]: row.get("value") for row in self.rows if row["part"] == "machine" and "what" in row}


class Run:
    """All parts in turn, within the time there is."""

    def __init__(self, table: Table, options: Options, seconds: float, only: list[str]) -> None:
        self.table, self.options, self.only = table, options, only
        self.end = time.monotonic() + seconds

    def left(self, limit: float) -> float:
        return min(limit, self.end - time.monotonic())

    def collect(self, part: str, child: Child, limit: float, **labels: Any) -> None:
        for row in child.messages(self.left(limit)):
            self.table.add(part, row, **labels)

    def one(self, part: str, function: Callable[..., None], limit: float, *arguments: Any, **labels: Any) -> None:
        """A part that is one child from start to end."""
        if self.left(limit) < min(5.0, limit):
            self.table.add(part, {"error": "no time was left"}, **labels)
            return
        child = Child(function, self.options, *arguments)
        self.collect(part, child, limit, **labels)
        child.close()

    def networks(self) -> None:
        """They are compiled side by side, while what needs no quiet device runs, and measured one after another."""
        names = self.options.networks
        children = {name: Child(networks.model, self.options, name) for name in names}
        compiled = time.monotonic() + COMPILING
        if "tests" in self.only:
            self.one("tests", parts.tests, 150)
        if "stages" in self.only:
            self.stages()
        for name, child in children.items():
            self.collect("models", child, max(1.0, compiled - time.monotonic()), model=name)
        self.one("machine", parts.peaks, 30)
        for name, child in children.items():
            if child.over:
                child.close()
                child = Child(networks.model, self.options, name, False)
                self.collect("models", child, 30, model=name)
            if self.left(60) < 5:
                self.table.add("models", {"error": "no time was left"}, model=name)
            elif not child.over:
                child.go(self.table.facts())
                self.collect("models", child, 60, model=name)
            child.close()

    def sharing(self) -> None:
        for name in parts.SHARED[: 1 if self.options.quick else None]:
            for count in (1, 2) if self.options.quick else (1, 2, 4):
                labels = {"model": name, "trainings": count}
                if self.left(60) < 15:
                    self.table.add("sharing", {"error": "no time was left"}, **labels)
                    continue
                children = [Child(parts.share, self.options, name) for _ in range(count)]
                rows: list[Row] = []
                for child in children:
                    rows += child.messages(self.left(40))
                for child in children:
                    child.go()
                for child in children:
                    rows += child.messages(self.left(20))
                    child.close()
                self.table.add("sharing", parts.together(rows), **labels)

    def everything(self) -> None:
        steps = {
            "tests": lambda: self.one("tests", parts.tests, 150),
            "stages": self.stages,
            "models": self.networks,
            "exact": self.exact,
            "loop": lambda: self.one("loop", feeding.loop, 60),
            "bss": lambda: self.one("bss", parts.bss, 45),
            "sharing": self.sharing,
            "study": lambda: self.one("study", parts.study, 150, self.table.folder),
        }
        with_models = ("tests", "stages") if "models" in self.only else ()
        if "models" not in self.only:
            self.one("machine", parts.peaks, 30)
        for name in self.only:
            if name not in with_models:
                steps[name]()

    def exact(self) -> None:
        for setting in exact.settings(self.options):
            self.one("exact", exact.repeats, 80, setting, kernels=setting)

    def stages(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._stages(Path(folder))

    def _stages(self, folder: Path) -> None:
        """Three trainings that feed each other: twice, and stopped and gone on with by another process. Whether they
        agree does not depend on what else the device does, so they run side by side."""
        self.one("stages", exact.stages_data, 60, folder)
        for turn in exact.TURNS:
            names = [(setting, name) for setting in exact.settings(self.options) for name in turn]
            children = {pair: Child(exact.stages, self.options, folder, *pair) for pair in names}
            for (setting, name), child in children.items():
                self.collect("stages", child, 60, kernels=setting, what=name)
                child.close()
        self.one("stages", exact.compare_stages, 30, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--merge", nargs="+", type=Path, metavar="JSON", help="write a page of these runs to --out")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="everything tiny and once: does the script work?")
    parser.add_argument("--seconds", type=float, default=450.0, help="what is not begun by then is left out")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--networks", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES)
    )
    given = parser.parse_args()
    if given.merge:
        given.out.write_text(page.page([page.read(file) for file in given.merge]), encoding="utf-8")
        return
    options = Options(given.device, given.quick, tuple(given.networks))
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    table = Table(given.out, options)
    run = Run(table, options, given.seconds, given.only)
    run.one("machine", parts.machine, 60)
    if given.device == "cuda" and not table.facts().get("device"):
        print("no CUDA device here: nothing was measured")
        return
    run.everything()
    print((given.out / "gpu.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
