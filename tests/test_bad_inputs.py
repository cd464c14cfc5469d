"""What is refused, and in which words: command lines, studies, variables, cluster files, tables, stores.

Each is a mistake that somebody can make; each gets one line that names the value, the place and what would be right,
before anything is computed.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mss_core.data.__main__ import main as data_command
from mss_core.data.fingerprints import Fingerprints
from mss_core.graph import Context, Stage
from mss_core.store import Store, materialize
from mss_core.store.command import main as store_command
from mss_core.study import Factor, Study, resources
from mss_core.study import run as run_study
from mss_core.study.execution import nodes
from mss_core.study.search import optuna_storage, phase
from mss_core.study.tracking.__main__ import main as tracking_command
from reports.__main__ import main as reports_command
from tests.reports.fixture import write_study
from tests.study import toy


@dataclass(frozen=True)
class Light:
    """As the toy study's recipe, with a stage that loads nothing."""

    kind: str = "a"
    rate: float = 0.1
    steps: int = 9
    seed: int = 0
    parts: tuple[int, ...] = (1, 2)

    def pipeline(self) -> Stage:
        return Stage(scored, kind=self.kind, rate=self.rate, steps=self.steps, seed=self.seed)


def scored(*, kind: str, rate: float, steps: int, seed: int, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,roc_auc,,{seed}\n")


KIND = Factor("kind", {"a": {}, "b": {"kind": "b"}})


def study(**changes: Any) -> Study:
    return toy.study(None, (KIND,), **{"baseline": Light(), "seeded": ("seed",), **changes})


def said(call: Callable[[], Any]) -> tuple[int, str]:
    """The status of a command and what it says on stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = call() or 0
        except SystemExit as ended:
            status = ended.code
    return status, errors.getvalue()


def check_line(result: tuple[int, str], sentence: str, folder: Path) -> None:
    status, text = result
    assert status == 2 and text.startswith("error: "), text
    assert len(text.splitlines()) == 1, text
    assert sentence in text.replace(str(folder), "HERE"), text


def ids(case: tuple[Any, ...]) -> str:
    return " ".join(map(str, case[:-1]))[:60]


# ---- the command line of a study


FLAGS: list[tuple[str, str]] = [
    ("--smok", "no flag '--smok'; did you mean '--smoke'?"),
    ("--dryrun", "no flag '--dryrun'; did you mean '--dry-run'?"),
    ("--in-proces", "no flag '--in-proces'; did you mean '--in-process'?"),
    ("--sets kind=b", "no flag '--sets'; did you mean '--set'?"),
    ("--Dry-Run", "no flag '--Dry-Run'; did you mean '--dry-run'?"),
    ("-n", "no flag '-n'; choose from '--"),
    ("source_ablation", "'source_ablation' belongs to no flag"),
    ("--smoke=1", "--smoke takes no value"),
    ("--seeds", "--seeds needs a value after it"),
    ("--seeds abc", "--seeds takes a whole number, not 'abc'"),
    ("--seeds 1.5", "--seeds takes a whole number, not '1.5'"),
    ("--seeds 0", "--seeds takes a number of replicates of at least 1, not 0"),
    ("--seeds -1", "--seeds takes a number of replicates of at least 1, not -1"),
    ("--seeds 99999999999", "--seeds takes a number of replicates of at most 10000, not 99999999999"),
    ("--set", "--set needs a value after it"),
    ("--set rate", "--set takes PATH=VALUE, not 'rate'"),
    ("--set =3", "--set takes PATH=VALUE, not '=3'"),
    ("--set rat=3", "no 'rat' in recipe path 'rat'; did you mean 'rate'?"),
    ("--set rate.x=3", "no 'rate.x' in the recipe: 'rate' is 0.1"),
    ("--set rate=1e999", "--set rate=1e999: 1e999 is not a number to compute with"),
    ("--set rate=NaN", "--set rate=NaN: NaN is not a number to compute with"),
    ("--set rate=-Infinity", "--set rate=-Infinity: -Infinity is not a number to compute with"),
    ("--set parts=[1,NaN]", "--set parts=[1,NaN]: [1,NaN] is not a number to compute with"),
    ("--set rate=fast", "'rate' is a number (0.1); 'fast' is a str"),
    ("--set rate=true", "'rate' is a number (0.1); True is a bool"),
    ("--set rate={}", "'rate' is a number (0.1); {} is a dict"),
    ("--set rate=null", "'rate' cannot be left out (None): it is 0.1"),
    ("--set steps=1.5", "'steps' takes a whole number, not 1.5"),
    ("--set steps=ten", "'steps' takes a whole number, not 'ten'"),
    ("--set seed=3", "--set seed: this seed is set by --seeds"),
    ("--set kind=c", "--set kind: level 'b' of factor 'kind' sets kind to 'b'"),
    ("--set rate=1 --set rate=2", "--set rate is given twice: 1 and 2"),
    ("--set search.trials=9", "--search is needed: study 'toy' declares no search"),
    ("--only", "--only needs a value after it"),
    ("--only c", "--only: study 'toy' has no variant 'c'; choose from 'a', 'b'"),
    ("--only a kind=b", "--only: study 'toy' has no variant 'kind=b'; choose from 'a', 'b'"),
    ("--only b --until decided --at-most 5", "--only goes with no study that stops when it knows"),
    ("--factor", "--factor needs a value after it"),
    ("--factor rate", "--factor takes NAME=LEVEL:PATH=VALUE,..., not 'rate'"),
    ("--factor rate=fast", "--factor takes NAME=LEVEL:PATH=VALUE,..., not 'rate=fast'"),
    ("--factor rate=fast:", "--factor takes NAME=LEVEL:PATH=VALUE,..., not 'rate=fast:'"),
    ("--factor =fast:rate=1", "--factor takes NAME=LEVEL:PATH=VALUE,..., not '=fast:rate=1'"),
    ("--factor rate=fast:rate", "--factor rate=fast:rate: 'rate' is no PATH=VALUE"),
    ("--factor rate=fast:rate=NaN", "--factor rate=fast:rate=NaN: NaN is not a number to compute with"),
    ("--factor rate=fast:rat=1", "--factor rate=fast:rat=1: no 'rat' in recipe path 'rat'; did you mean 'rate'?"),
    ("--factor rate=fast:rate=x", "--factor rate=fast:rate=x: 'rate' is a number (0.1); 'x' is a str"),
    ("--factor rate=fast:rate=1,rate=2", "--factor rate=fast:rate=1,rate=2: rate is given twice"),
    ("--factor rate=fast:seed=1", "--factor rate=fast:seed=1: seed is a seed, which --seeds sets"),
    ("--factor kind=b:rate=1", "--factor kind=b:rate=1: factor 'kind' has a level 'b' already"),
    ("--factor kind=c:kind=b", "levels 'b' and 'c' of factor 'kind' are the same"),
    ("--factor score=fast:rate=1", "a factor cannot be called 'score': that is a column of scores.csv"),
    ("--factor rate=fast:rate=1 --set rate=2", "--set rate: level 'fast' of factor 'rate' sets rate to 1"),
    ("--cpus 0", "--cpus takes a number of CPUs of at least 1, not 0"),
    ("--cpus -4", "--cpus takes a number of CPUs of at least 1, not -4"),
    ("--cpus many", "--cpus takes a whole number, not 'many'"),
    ("--gpus -1", "--gpus takes a number of GPUs of at least 0, not -1"),
    ("--gpus 0.5", "--gpus takes a whole number, not '0.5'"),
    ("--probe -5", "--probe takes a number of seconds above 0, not -5"),
    ("--probe nan", "--probe takes a number of seconds above 0, not nan"),
    ("--probe inf", "--probe takes a number of seconds above 0, not inf"),
    ("--probe long", "--probe takes a number, not 'long'"),
    ("--data stems", "--data takes NAME=PATH, not 'stems'"),
    ("--data =/music", "--data takes NAME=PATH, not '=/music'"),
    ("--data stems=", "--data takes NAME=PATH, not 'stems='"),
    ("--data stems=/nowhere", "--data stems=/nowhere: /nowhere is not a folder"),
    ("--data stems=HERE", "--data stems=HERE: this study reads no data set"),
    ("--data a=/x --data a=/y", "--data names 'a' twice: /x and /y"),
    ("--search each_variant", "--search each_variant: study 'toy' declares no search"),
    ("--resources /nowhere.toml", "the file of resources /nowhere.toml cannot be read (No such file or directory)"),
    ("--resources HERE", "the file of resources HERE cannot be read (Is a directory)"),
    ("--smoke --rehearse", "--smoke is on synthetic music, --rehearse on your own: choose one"),
    ("--store /etc/passwd", "--store /etc/passwd: /etc/passwd is a file, and a store is a folder"),
    ("--store /etc/passwd/x", "--store /etc/passwd/x: /etc/passwd is a file, and a store is a folder"),
    ("--store /dev/full", "--store /dev/full: /dev/full is a file, and a store is a folder"),
    ("--store HERE/link", "--store HERE/link: HERE/link is a link that leads nowhere, and a store is a folder"),
    ("--store a\udcff", "--store 'a\\udcff' cannot be the name of a folder"),
    ("--store a\x00", "--store 'a\\x00' cannot be the name of a folder"),
    ("--store=", "--store (or MSS_STORE) names no folder: it is empty"),
    ("--tracking-uri=", "--tracking-uri names no server: it is empty"),
]
WITHOUT_DRY_RUN = [
    (flag, f"{flag.partition(' ')[0]} is for a plan alone: add --dry-run")
    for flag in ("--json", "--why", "--diff", "--probe", "--probe 3", "--cpus 4", "--gpus 0")
] + [
    ("--store /proc/x", "the store /proc/x cannot be written to (No such file or directory); name another with --store")
]


@pytest.mark.parametrize("case", FLAGS, ids=ids)
def test_flags(case: tuple[str, str], tmp_path: Path) -> None:
    words, sentence = case
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    store = [] if "--store" in words else ["--store", str(tmp_path / "s")]
    given = [word.replace("HERE", str(tmp_path)) for word in words.split(" ")]
    check_line(said(lambda: run_study(study(), [*given, "--dry-run", *store])), sentence, tmp_path)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("case", WITHOUT_DRY_RUN, ids=ids)
def test_flags_of_a_run(case: tuple[str, str], tmp_path: Path) -> None:
    words, sentence = case
    store = [] if "--store" in words else ["--store", str(tmp_path / "s")]
    check_line(said(lambda: run_study(study(), [*words.split(), "--in-process", *store])), sentence, tmp_path)
    assert not (tmp_path / "s").exists()


# ---- environment variables


VARIABLES: list[tuple[str, str, str]] = [
    *(
        (name, text, f"{name}={text} is not a number of seconds, such as {usual}")
        for name, usual in (
            ("MSS_CHECKPOINT_SECONDS", 20),
            ("MSS_STOP_SECONDS", 30),
            ("MSS_NODES_SECONDS", 600),
            ("MSS_TRACKING_SECONDS", 60),
        )
        for text in ("abc", "nan", "-1", "inf", "")
    ),
    ("MSS_STORE", "", "--store (or MSS_STORE) names no folder: it is empty"),
    ("MSS_STORE", "/etc/passwd", "--store /etc/passwd: /etc/passwd is a file, and a store is a folder"),
    ("MSS_DATA", "/nowhere", "MSS_DATA=/nowhere is not a folder; it should hold one folder per data set"),
    ("MSS_DATA", "/etc/passwd", "MSS_DATA=/etc/passwd is not a folder; it should hold one folder per data set"),
    ("MSS_RESOURCES", "/nowhere", "the file of resources /nowhere cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize("case", VARIABLES, ids=ids)
def test_variables(case: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, text, sentence = case
    monkeypatch.setenv(name, text)
    store = [] if name == "MSS_STORE" else ["--store", str(tmp_path / "s")]
    check_line(said(lambda: run_study(study(), ["--dry-run", *store])), sentence, tmp_path)


@pytest.mark.parametrize("text", ["two", "0", "-1", "²", "1.5", ""])
def test_a_number_of_nodes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSS_NODES", text)
    with pytest.raises(ValueError, match=f"^MSS_NODES={text} is not a number of nodes, from 1 on$"):
        nodes.expected_nodes({})


@pytest.mark.parametrize("text", ["nonsense://x", "sqlite:///nowhere/x.db", "postgresql+nothing://a/b"])
def test_a_database_of_suggestions(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        optuna_storage.open_storage(text)
    assert str(refused.value).startswith(f"MSS_SEARCH_STORAGE={text} is no database that can be opened (")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["x", "/tmp/journal.log", "postgres"])
def test_a_database_is_a_url(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MSS_SEARCH_STORAGE", text)
    with pytest.raises(ValueError, match=f"MSS_SEARCH_STORAGE={text} is not the URL of a database, such as sqlite:"):
        phase.where(None, Store(tmp_path))  # type: ignore[arg-type]


# ---- studies


def levels(**changes: Any) -> dict[str, Any]:
    return {"factors": (Factor("k", {"a": {}, "b": {"kind": "b"}, **changes}),), "reference": {}}


def factor(name: Any, labels: Any) -> dict[str, Any]:
    return {"factors": (Factor(name, labels),), "reference": {}}


TWO = {"a": {}, "b": {"kind": "b"}}
NAME = "a study's name is a folder of the store: letters, digits, '_', '-', '+' and '.', not "
STUDIES: list[tuple[dict[str, Any], str]] = [
    *(({"name": name}, f"{NAME}{name!r}") for name in ("a/b", "../x", "/x", "", " ", "a\nb", ".x", None, 3)),
    *(
        ({"seeds": seeds}, f"'seeds' are whole numbers from 0 to 4294967295; got {seeds}")
        for seeds in ([1.5], ["1"], [True], [-1], [1e30], [2**40])
    ),
    ({"seeds": [1, 1]}, "'seeds' must be distinct and at least one; got [1, 1]"),
    ({"seeds": []}, "'seeds' must be distinct and at least one; got []"),
    ({"seeds": None}, "'seeds' of a study is a list, not None"),
    ({"seeds": 3}, "'seeds' of a study is a list, not 3"),
    ({"question": ""}, "'question' of a study is empty"),
    ({"question": None}, "'question' of a study is a text, not None"),
    ({"metric": ""}, "'metric' of a study is empty"),
    ({"metric": None}, "'metric' of a study is a text, not None"),
    ({"metric": "roc"}, "the scores have no metric 'roc'; did you mean 'roc_auc'?"),
    ({"target": 3}, "'target' of a study is a text, not 3"),
    ({"alpha": 0}, "declaration.alpha is 0; it must lie between"),
    ({"alpha": 2}, "declaration.alpha is 2; it must lie between"),
    ({"alpha": "x"}, "declaration.alpha is 'x'; it must be a number"),
    ({"correction": "bonf"}, "unknown correction 'bonf' in declaration.correction; choose from"),
    ({"test": "t"}, "unknown test 't' in declaration.test; choose from"),
    ({"margin": -1}, "declaration.margin is -1; it must be a positive number"),
    ({"margin": "x"}, "declaration.margin is 'x'; it must be a number"),
    ({"reference": {"kin": "a"}}, "no factor in 'reference' 'kin'; did you mean 'kind'?"),
    ({"reference": {"kind": "c"}}, "no level of factor 'kind' in 'reference' 'c'; choose from 'a', 'b'"),
    ({"reference": None}, "'reference' of a study is a table, not None"),
    ({"within": ["x"]}, "no factor in 'within' 'x'; choose from 'kind'"),
    ({"within": "kind"}, "'within' of a study is a list, not 'kind'"),
    ({"exclude": [3]}, "'exclude' of a study holds texts, not 3"),
    ({"exclude": "abc"}, "'exclude' of a study is a list, not 'abc'"),
    ({"sections": [{"kind": "nope"}]}, "no report section 'nope'; choose from"),
    ({"sections": ["x"]}, "'sections' of a study holds {'kind': ...} tables, not 'x'"),
    ({"metrics": {"zz": "roc_auc"}}, "no level in 'metrics' 'zz'; choose from 'a', 'b'"),
    ({"metrics": None}, "'metrics' of a study is a table, not None"),
    ({"own_metrics": {"x": 3}}, "declaration.own_metrics.x is 3; it must be a JSON object"),
    ({"seeded": ["sed"]}, "no seed 'sed' in the recipe of any variant; did you mean 'seed'?"),
    ({"seeded": "seed"}, "'seeded' of a study is a list, not 'seed'"),
    ({"seeded": [3]}, "'seeded' of a study holds texts, not 3"),
    ({"higher_is_better": "yes"}, "declaration.higher_is_better is 'yes'; it must be true or false"),
    ({"smoke_levels": {"x": ["a"]}}, "no factor in 'smoke_levels' 'x'; choose from 'kind'"),
    ({"smoke_levels": {"kind": ["z"]}}, "no level of factor 'kind' in 'smoke_levels' 'z'; choose from 'a', 'b'"),
    ({"baseline": None}, "'baseline' of a study is a recipe, a dataclass with a pipeline(), not None"),
    ({"baseline": {"a": 1}}, "'baseline' of a study is a recipe, a dataclass with a pipeline(), not {'a': 1}"),
    ({"factors": ["x"]}, "'factors' of a study holds Factor(name, levels), not 'x'"),
    ({"factors": None}, "'factors' of a study is a list, not None"),
    ({"factors": [], "reference": {}}, "factors need distinct names; got []"),
    ({"factors": [KIND, KIND]}, "factors need distinct names; got ['kind', 'kind']"),
    *(
        (factor(name, TWO), f"a factor cannot be called {name!r}: that is a column of scores.csv")
        for name in ("score", "seed", "trial", "variant", "track", "metric")
    ),
    *((factor(name, TWO), f"a factor's name is a line of text, not {name!r}") for name in ("", " ", "a\nb", 3)),
    *((factor("k", table), "factor 'k' has no levels: it takes {label: {path: value}}") for table in ({}, None, ["a"])),
    *(
        (factor("k", {label: {}, "b": {"kind": "b"}}), f"factor 'k': a level's label is a line of text, not {label!r}")
        for label in ("", 3, "a\nb", None)
    ),
    *(
        (
            levels(a=changes),
            f"level 'a' of factor 'k' must be {{path: value}}, what departs from the baseline, not {changes}",
        )
        for changes in (None, 3, {3: 4}, ["kind"])
    ),
    (factor("k", {"a": {}, "b": {}}), "levels 'a' and 'b' of factor 'k' are the same: {}"),
    (levels(c={"kind": "b"}), "levels 'b' and 'c' of factor 'k' are the same: {'kind': 'b'}"),
    (levels(c={"kin": "b"}), "variant 'c' of study 'toy': no 'kin' in recipe path 'kin'; did you mean 'kind'?"),
    (levels(c={"kind": 3}), "variant 'c' of study 'toy': 'kind' is a str ('a'); 3 is a number"),
    (levels(c={"kind": Path("x")}), "variant 'c' of study 'toy': 'kind' cannot be PosixPath('x'), no plain data"),
    (
        levels(c={"rate": float("nan")}),
        "variant 'c' of study 'toy': 'rate' of the recipe is nan, no number to compute with",
    ),
    (levels(c={"steps": 1.5}), "variant 'c' of study 'toy': 'steps' takes a whole number, not 1.5"),
]


@pytest.mark.parametrize("case", STUDIES, ids=ids)
def test_studies(case: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    changes, sentence = case
    wrong = replace(study(), **changes)
    result = said(lambda: run_study(wrong, ["--in-process", "--store", str(tmp_path / "s")]))
    check_line(result, sentence, tmp_path)
    assert not (tmp_path / "s").exists()


# ---- cluster files and files of resources


LOCAL = {"provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}}
TYPES = {"available_node_types": {"w": {"min_workers": 1, "resources": {"CPU": 4}}}}


def worker(**changes: Any) -> dict[str, Any]:
    return {"available_node_types": {"w": {**TYPES["available_node_types"]["w"], **changes}}}


CLUSTERS: list[tuple[Any, str]] = [
    ([], "its content must be a table, not []"),
    ("text", "its content must be a table, not 'text'"),
    ({"provider": []}, "provider must be a table, not []"),
    ({"provider": "aws"}, "provider must be a table, not 'aws'"),
    (
        {"provider": {"type": "local", "worker_ips": "10.0.0.2"}},
        "provider.worker_ips must be a list of addresses, not '10",
    ),
    ({"provider": {"type": "local", "worker_ips": [1]}}, "provider.worker_ips must be a list of addresses, not [1]"),
    ({**LOCAL, "max_workers": "two"}, "max_workers must be a whole number of at least 0, not 'two'"),
    ({**LOCAL, "max_workers": -1}, "max_workers must be a whole number of at least 0, not -1"),
    ({**LOCAL, "max_workers": 1.5}, "max_workers must be a whole number of at least 0, not 1.5"),
    ({**LOCAL, "max_workers": True}, "max_workers must be a whole number of at least 0, not True"),
    ({"available_node_types": []}, "available_node_types must be a table, not []"),
    ({"available_node_types": {"w": 3}}, "available_node_types.w must be a table, not 3"),
    (worker(min_workers="1"), "available_node_types.w.min_workers must be a whole number of at least 0, not '1'"),
    (worker(max_workers=-2), "available_node_types.w.max_workers must be a whole number of at least 0, not -2"),
    (worker(resources=[]), "available_node_types.w.resources must be a table, not []"),
    (worker(resources={"GPU": "1"}), "available_node_types.w.resources.GPU must be a number of at least 0, not '1'"),
    (worker(resources={"CPU": -1}), "available_node_types.w.resources.CPU must be a number of at least 0, not -1"),
]


@pytest.mark.parametrize("case", CLUSTERS, ids=ids)
def test_cluster_files(case: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, sentence = case
    monkeypatch.setattr(nodes, "CLUSTER_FILE", tmp_path / "cluster.yaml")
    nodes.CLUSTER_FILE.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError) as refused:
        nodes.cluster_file()
    assert str(refused.value).startswith(f"the cluster file {nodes.CLUSTER_FILE}: {sentence}")


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\xff", b"a: !!python/object:os.system x"])
def test_what_is_no_cluster_file(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "CLUSTER_FILE", tmp_path / "cluster.yaml")
    nodes.CLUSTER_FILE.write_bytes(content)
    with pytest.raises(ValueError, match="^the cluster file .*cluster.yaml cannot be read \\([^\n]*\\)$"):
        nodes.cluster_file()


def test_fields_of_a_cluster_file_that_stand_empty_count_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "CLUSTER_FILE", tmp_path / "cluster.yaml")
    for content, expected in (
        (None, 0),
        ({"provider": None, "available_node_types": None}, 0),
        ({"provider": {"type": "local", "worker_ips": None}, "max_workers": None}, 1),
        ({**worker(min_workers=None, resources=None), "head_node_type": "h"}, 1),
        (TYPES, 2),
        (LOCAL, 2),
    ):
        nodes.CLUSTER_FILE.write_text(yaml.safe_dump(content))
        cluster = nodes.cluster_file()
        assert nodes.expected_nodes(cluster) == expected
        assert all(isinstance(each, dict) for each in nodes.possible_nodes(cluster))


RESOURCES: list[tuple[str, str]] = [
    ("finetune = 3", "'finetune' must be a table such as {'gpu': 0.5}, not 3"),
    ("[finetune]\ngpus = 1", "no field of 'finetune' in FILE: 'gpus'; did you mean 'gpu'?"),
    ("[finetune]\ngpu = -1", "'gpu' of 'finetune' must be a number of at least 0, not -1"),
    ("[finetune]\ngpu = 'x'", "'gpu' of 'finetune' must be a number of at least 0, not 'x'"),
    ("[finetune]\ngpu = true", "'gpu' of 'finetune' must be a number of at least 0, not True"),
    ("[finetune]\ngpu = inf", "'gpu' of 'finetune' must be a number of at least 0, not inf"),
    ("[finetune", "is not TOML: "),
    ("\x00", "is not TOML: "),
]


@pytest.mark.parametrize("case", RESOURCES, ids=ids)
def test_files_of_resources(case: tuple[str, str], tmp_path: Path) -> None:
    text, sentence = case
    (tmp_path / "r.toml").write_text(text)
    resources._read.cache_clear()
    words = ["--dry-run", "--store", str(tmp_path / "s"), "--resources", str(tmp_path / "r.toml")]
    check_line(said(lambda: run_study(study(), words)), sentence.replace("FILE", "HERE/r.toml"), tmp_path)


# ---- stores


COMMANDS: list[tuple[str, str]] = [
    ("", "command is missing"),
    ("lst", "no command 'lst'; did you mean 'list'?"),
    ("list --keyz", "no flag '--keyz'; did you mean '--keys'?"),
    ("list --store", "--store needs a value after it"),
    ("list --store=", "--store (or MSS_STORE) names no folder: it is empty"),
    ("list --store HERE/no", "HERE/no is no folder: name the store with --store"),
    ("verify --store /etc/passwd", "--store /etc/passwd: /etc/passwd is a file, and a store is a folder"),
    ("verify --store /etc", "/etc is no store: no study has run there; name the store with --store"),
    ("list --store HERE --store HERE/no", "--store is given twice: HERE and HERE/no"),
    ("prune --store HERE", "HERE/studies names no study: everything would go"),
    ("show --store HERE", "KEY is missing"),
    ("show --store HERE zz", "no artefact in HERE has a key that starts with 'zz'"),
    ("show --store HERE ../../etc", "no artefact in HERE has a key that starts with '../../etc'"),
    ("export --store HERE KEY", "FILE is missing"),
    ("export --store HERE KEY HERE/x", "holds no weights.pt: it is no trained model"),
    ("export --store HERE TRAINED HERE/no/x", "HERE/no/x is no file that could be written"),
]


@pytest.mark.parametrize("case", COMMANDS, ids=ids)
def test_the_command_of_stores(case: tuple[str, str], tmp_path: Path) -> None:
    words, sentence = case
    plain = materialize(study().trials([0], False, {}, lambda r: r)[0].root, Store(tmp_path), Context())
    trained = plain
    if "TRAINED" in words:
        trained = materialize(toy.Toy().pipeline().arguments["models"][0], Store(tmp_path), Context())
    names = {"HERE": str(tmp_path), "KEY": plain.name, "TRAINED": trained.name}
    for name, value in names.items():
        words = words.replace(name, value)
    check_line(said(lambda: store_command(words.split())), sentence, tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"key": "KEY"}', "", "{", '[{"key": 1}]', '"x"', "\x00"])
def test_a_manifest_that_is_none_is_counted_as_damage(content: str, tmp_path: Path) -> None:
    folder = materialize(study().trials([0], False, {}, lambda r: r)[0].root, Store(tmp_path), Context())
    (folder / "manifest.json").write_text(content.replace("KEY", folder.name))
    assert said(lambda: store_command(["list", "--store", str(tmp_path)])) == (0, "")
    assert said(lambda: store_command(["verify", "--store", str(tmp_path)])) == (1, "")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"{", b"\xff\xfe", b'{"x": 3}', b'{"x": []}', b"[" * 100_000, b'{"x": [1, 2, 3, 4]}']
)
def test_a_damaged_memory_of_checksums_is_forgotten(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "fingerprints.json").write_bytes(content)
    (tmp_path / "x").write_text("music")
    hashes = Fingerprints(tmp_path / "fingerprints.json")
    assert hashes.of(tmp_path / "x") == Fingerprints(None).of(tmp_path / "x")


TRACKING: list[tuple[str, str]] = [
    ("uii", "no command 'uii'; did you mean 'ui'?"),
    ("ui --store HERE", "HERE holds no mlflow.db: run a study first, or name its store with --store"),
    ("ui --store HERE --port x", "--port takes a whole number, not 'x'"),
    ("ui --store HERE --port 99999", "--port takes a number from 1 to 65535, not 99999"),
    ("rebuild --store HERE", "HERE/studies holds no study: run one first, or name its store with --store"),
    ("rebuild --store /etc/passwd", "--store /etc/passwd: /etc/passwd is a file, and a store is a folder"),
]


@pytest.mark.parametrize("case", TRACKING, ids=ids)
def test_the_command_of_tracking(case: tuple[str, str], tmp_path: Path) -> None:
    words, sentence = case
    check_line(said(lambda: tracking_command(words.replace("HERE", str(tmp_path)).split())), sentence, tmp_path)


DATA: list[tuple[str, str]] = [
    ("chek", "no command 'chek'; did you mean 'check'?"),
    ("check stems", "path is missing"),
    ("check stems HERE --workers 0", "--workers takes a number of threads of at least 1, not 0"),
    ("check stems HERE --workers x", "--workers takes a whole number, not 'x'"),
    ("check stems HERE --fast", "no flag '--fast'; "),
]


@pytest.mark.parametrize("case", DATA, ids=ids)
def test_the_command_of_data_sets(case: tuple[str, str], tmp_path: Path) -> None:
    words, sentence = case
    check_line(said(lambda: data_command(words.replace("HERE", str(tmp_path)).split())), sentence, tmp_path)


# ---- tables and studies of python -m reports


GOOD = "model,seed,score\n" + "".join(
    f"{m},{s},{0.5 + 0.1 * (m == 'b') + 0.01 * s:.2f}\n" for m in "ab" for s in range(3)
)
TABLES: list[tuple[str, str, str]] = [
    ("", "", "HERE/t.csv: no column 'model'"),
    ("model,seed,score\n", "", "HERE/t.csv holds no scores: there is no row below its head"),
    ("model,score\na,1\nb,2\n", "", "HERE/t.csv: no column 'seed'; choose from 'model', 'score'"),
    (GOOD.replace("model", "net"), "", "HERE/t.csv: no column 'model'; choose from 'net', 'score', 'seed'"),
    (GOOD.replace("0.51", "x"), "", "HERE/t.csv line 3: score is 'x', which is no number"),
    (GOOD.replace("a,1,", "a,1.5,"), "", "HERE/t.csv line 3: seed is '1.5', which is no whole number"),
    (GOOD.replace("a,1,", "a,one,"), "", "HERE/t.csv line 3: seed is 'one', which is no whole number"),
    (GOOD.replace("a,1,", "a,1e30,"), "", "HERE/t.csv line 3: seed is '1e30', which is no whole number"),
    (GOOD + "a,1,0.9\n", "", "HERE/t.csv line 8: a second score for variant 'a', seed '1'"),
    ("model,seed,score,score\na,1,1,2\nb,1,1,2\n", "", "HERE/t.csv: two columns are called 'score'"),
    (GOOD.replace("a,", "c,"), "", "--reference 'a' is no level of 'model'; choose from 'b', 'c'"),
    (GOOD + "a\n", "", "HERE/t.csv, line 8: 1 fields where the head has 3"),
    (GOOD, "--margin -1", "declaration.margin is -1; it must be a positive number"),
    (GOOD, "--margin x", "--margin takes a number, not 'x'"),
    (GOOD, "--alpha 0", "declaration.alpha is 0; it must lie between"),
    (GOOD, "--alpha nan", "declaration.alpha is nan; it must lie between"),
    (GOOD, "--test ttest", "no --test 'ttest'; choose from"),
    (GOOD, "--correction bonferoni", "no --correction 'bonferoni'; did you mean 'bonferroni'?"),
    (GOOD, "--reference z", "--reference 'z' is no level of 'model'; choose from 'a', 'b'"),
    (GOOD, "--factor z", "HERE/t.csv: no column 'z'; choose from 'model', 'score', 'seed'"),
    (GOOD, "--metric accuracy", "the scores have no metric 'accuracy'"),
    (GOOD, "--formt csv", "no flag '--formt'; did you mean '--format'?"),
    (GOOD, "--format pdf --out HERE/o", "'pdf'"),
    (GOOD, "--out HERE/t.csv", "HERE/t.csv: File exists"),
    (GOOD, "--json HERE/no/x.json", "HERE/no/x.json: No such file or directory"),
]


@pytest.mark.parametrize("case", TABLES, ids=lambda case: f"{case[1]} {case[2]}"[:60])
def test_tables(case: tuple[str, str, str], tmp_path: Path) -> None:
    text, more, sentence = case
    (tmp_path / "t.csv").write_text(text)
    flags = ["--higher-is-better", *more.replace("HERE", str(tmp_path)).split()]
    for flag, value in (("--factor", "model"), ("--reference", "a")):
        flags += [] if flag in flags else [flag, value]
    check_line(said(lambda: reports_command([str(tmp_path / "t.csv"), *flags])), sentence, tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a study that has run, and its study.json."""
    folder = write_study(tmp_path_factory.mktemp("finished"), clips=24)
    return folder, json.loads((folder / "study.json").read_text())


def at(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a dotted path; without it where the value is KeyError."""
    found = copy.deepcopy(content)
    node: Any = found
    *above, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in above:
        node = node[part]
    if value is KeyError:
        del node[last]
    else:
        node[last] = value
    return found


STUDY_FILES: list[tuple[str, Any, str]] = [
    ("variants", {}, "study.json.variants is {}; it must be a list"),
    ("variants", [3], "study.json.variants[0] is 3; it must be a JSON object"),
    ("trials.0.seed", KeyError, "study.json.trials[0] has no 'seed'"),
    ("trials.0.seed", "x", "study.json.trials[0].seed is 'x'; it must be a number"),
    ("trials.0", 3, "study.json.trials[0] is 3; it must be a JSON object"),
    ("stages", [], "study.json.stages is []; it must be a JSON object"),
    ("examples", [{"target": "x"}], "study.json.examples[0] has no 'track'"),
    ("examples", "x", "study.json.examples is 'x'; it must be a list"),
    ("notes", "x", "study.json.notes is 'x'; it must be a list"),
    ("notes", [3], "study.json.notes[0] is 3; it must be a JSON object"),
    ("environment", "x", "study.json.environment is 'x'; it must be a JSON object"),
    ("declaration.seeds", "x", "declaration.seeds is 'x'; it must be a list"),
    ("declaration.factors", {}, "declaration.factors is {}; it must be a list"),
    ("declaration.alpha", "x", "declaration.alpha is 'x'; it must be a number"),
    ("smoke", "yes", "study.json.smoke is 'yes'; it must be true or false"),
]


@pytest.mark.parametrize("case", STUDY_FILES, ids=ids)
def test_files_of_studies(case: tuple[str, Any, str], finished: tuple[Path, dict[str, Any]]) -> None:
    path, value, sentence = case
    folder, good = finished
    (folder / "study.json").write_text(json.dumps(at(good, path, value)))
    check_line(said(lambda: reports_command([str(folder), "--format", "json"])), sentence, folder)


BROKEN_FILES: Mapping[str, tuple[str, str]] = {
    "[": ("study.json", "HERE/study.json is not JSON: "),
    "[]": ("study.json", "HERE/study.json must hold a JSON object, not list"),
    "3": ("study.json", "HERE/study.json must hold a JSON object, not int"),
    "": ("scores.csv", "HERE/scores.csv cannot be read as a CSV table: "),
    "x,y\n1,2\n": ("scores.csv", "HERE/scores.csv has no column 'variant'; choose from 'x', 'y'"),
    "x,\x00,,\n1": ("curves.csv", "HERE/curves.csv has no column 'stage'; choose from "),
}


@pytest.mark.parametrize("text", BROKEN_FILES)
def test_broken_files_of_studies(text: str, finished: tuple[Path, dict[str, Any]]) -> None:
    folder, good = finished
    (folder / "study.json").write_text(json.dumps(good))
    name, sentence = BROKEN_FILES[text]
    whole = (folder / name).read_text()
    (folder / name).write_text(text)
    try:
        check_line(said(lambda: reports_command([str(folder), "--format", "json"])), sentence, folder)
    finally:
        (folder / name).write_text(whole)
