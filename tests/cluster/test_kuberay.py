"""The RayJob for KubeRay: its fields against the published schema, where that is given, and what it says of a study.

``MSS_KUBERAY_CRD=ray.io_rayjobs.yaml`` names the custom resource definition of a KubeRay release (1.5.1 or later).
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

MANIFEST = REPOSITORY / "cluster" / "rayjob.yaml"
CRD = os.environ.get("MSS_KUBERAY_CRD", "")


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load(MANIFEST.read_text())


def strict(schema: Any) -> Any:
    """A schema of Kubernetes as one that refuses fields it does not name, as ``kubectl --validate=strict`` does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        found["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return found


def faults(job: dict[str, Any]) -> list[str]:
    from jsonschema import Draft7Validator

    versions = {each["name"]: each for each in yaml.safe_load(Path(CRD).read_text())["spec"]["versions"]}
    schema = strict(versions["v1"]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return sorted(error.message for error in Draft7Validator(schema).iter_errors(job))


@pytest.mark.skipif(not CRD, reason="MSS_KUBERAY_CRD names no custom resource definition of KubeRay's")
def test_the_manifest_is_what_the_published_schema_asks_for(job: dict[str, Any]) -> None:
    assert faults(job) == []
    job["spec"]["rayClusterSpec"]["authOption"] = {}
    job["spec"]["backoffLimit"] = "three"
    found = faults(job)
    assert (
        len(found) == 2 and "'three' is not of type 'integer'" in found[0] and "'authOption' was unexpected" in found[1]
    )


def test_every_pod_has_token_store_and_time_for_checkpoints(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}  # by hand, the submitter of K8sJobMode would have no token
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    store = spec["entrypoint"].partition("--store ")[2]
    for pod in pods:
        (container,) = pod["containers"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {store}
        assert pod["volumes"][0]["name"] == container["volumeMounts"][0]["name"]
        assert pod["terminationGracePeriodSeconds"] > 60 + 20
        assert not any(each["name"].startswith("RAY_AUTH") for each in container["env"])
    waited = {each["name"]: each["value"] for each in pods[0]["containers"][0]["env"]}["MSS_NODES"]
    assert int(waited) == 1 + sum(group["replicas"] for group in cluster["workerGroupSpecs"])
    import ray

    assert cluster["rayVersion"] == ray.__version__


@pytest.mark.skipif(
    bool(os.geteuid())
    or subprocess.run(["unshare", "-p", "-f", "--mount-proc", "true"], capture_output=True).returncode,
    reason="a process namespace of its own needs root",
)
def test_before_a_pod_ends_its_workers_write_checkpoints(job: dict[str, Any], tmp_path: Path) -> None:
    """In a process namespace, so that no Ray of this machine is met."""
    (container,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:2] == ["bash", "-c"]
    (tmp_path / "stop.sh").write_text(command[2])
    worker = 'trap "sleep 1; echo checkpoint; exit" TERM; touch ready; while :; do sleep 0.1; done'
    other = 'trap "echo signalled" TERM; for i in {1..40}; do sleep 0.1; done'
    (tmp_path / "pod.sh").write_text(
        f"cd {tmp_path}\nbash -c 'exec -a ray::_Worker.train bash -c \"$1\"' _ '{worker}' > worker &\n"
        f"bash -c '{other}' > other &\nuntil [ -e ready ]; do sleep 0.1; done\nbash stop.sh\ncat worker > kept\n"
    )
    begun = time.monotonic()
    subprocess.run(["unshare", "-p", "-f", "--mount-proc", "bash", str(tmp_path / "pod.sh")], check=True, timeout=100)
    assert (tmp_path / "kept").read_text() == "checkpoint\n" and (tmp_path / "other").read_text() == ""
    assert time.monotonic() - begun < 40  # no longer than the workers take
