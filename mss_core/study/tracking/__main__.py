"""The page of a store's MLflow database, and the database written anew.

python -m mss_core.study.tracking ui --store STORE [--port 5000]
python -m mss_core.study.tracking rebuild --store STORE [--tracking-uri URI]
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mss_core.errors import Flags
from mss_core.folders import place
from mss_core.store import Store, read_manifest
from mss_core.store.place import check_place
from mss_core.study.tracking.columns import VIEW
from mss_core.study.tracking.mirror import database
from mss_core.study.tracking.moved import FOLDER, settle
from mss_core.study.tracking.tracker import Tracker
from mss_core.study.view import of_folder


def rebuild(store: Store, uri: str | None, say: Callable[[str], None]) -> int:
    """Write every study of a store to a tracking server, from the store and its ``studies/`` folders alone.

    Returns how many studies there were. Runs that are there already are completed, not written twice.

    Raises ValueError where the store holds no study, RuntimeError where the server does not take it in time.
    """
    folders = sorted(path.parent for path in store.root.glob("studies/*/study.json"))
    if not folders:
        raise ValueError(f"{store.root}/studies holds no study: run one first, or name its store with --store")
    for folder in folders:
        view = of_folder(folder)
        Tracker(uri, store, view.title, "rebuild", say).write(view, folder)
        done = [trial for trial in view.trials if read_manifest(store.root / trial.stages[trial.root] / trial.root)]
        say(f"{view.title}: {len(view.trials)} trials, {len(done)} of them finished")
    return len(folders)


def ui(store: Path, port: int) -> int:
    """Serve a store's MLflow database and say where each study's page is; runs until interrupted."""
    if not (store / "mlflow.db").exists():
        raise ValueError(f"{store} holds no mlflow.db: run a study first, or name its store with --store")
    if settle(store):
        print("this store was moved or copied: MLflow now shows the files that are in it", flush=True)
    experiments = [e for e in MlflowClient(database(store)).search_experiments() if e.name != "Default"]
    address = f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server's processes too
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            database(store),
            "--artifacts-destination",
            str(store.absolute() / FOLDER),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            if server.poll() is not None:
                raise ValueError(f"MLflow did not start: is port {port} in use? Try another with --port")
            time.sleep(0.5)
        pages = {
            e.name: f"{address}/#/experiments/{e.experiment_id}/runs?viewStateShareKey={VIEW}"
            "&workflowType=machine_learning&compareRunsMode=TABLE"
            for e in experiments
        }
        for name, page in pages.items():
            print(f"{name:<40} {page}", flush=True)
        print("Ctrl-C stops it", flush=True)
        if pages and (os.environ.get("DISPLAY") or sys.platform == "darwin"):
            webbrowser.open(next(iter(pages.values())))
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # The server starts helpers of its own: end the whole group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=20)


def main(arguments: list[str] | None = None) -> int:
    """``python -m mss_core.study.tracking ui | rebuild``."""
    parser = Flags("python -m mss_core.study.tracking", description="MLflow over a store")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("ui", help="open the tracking page of a store")
    show.add_argument("--port", type=int, default=5000)
    again = commands.add_parser("rebuild", help="write what a store holds to MLflow again")
    again.add_argument("--tracking-uri", metavar="URI", help="default: the SQLite file in the store")
    for command in (show, again):
        command.add_argument("--store", default=os.environ.get("MSS_STORE", "store"))
    options = parser.parse_args(arguments)
    try:
        check_place(options.store)
        if options.command == "ui":
            if not 0 < options.port < 2**16:
                raise ValueError(f"--port takes a number from 1 to {2**16 - 1}, not {options.port}")
            return ui(place(options.store), options.port)
        rebuild(Store(place(options.store)), options.tracking_uri, lambda text: print(text, flush=True))
    except (ValueError, RuntimeError, OSError, MlflowException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
