"""The manifests for Kubernetes are valid, and agree with the command line and the metrics."""

import re
from pathlib import Path
from typing import Any

import pytest

from bitnet_tt.scale.worker_status import status_app
from bitnet_tt.server.text_service import Load
from tests.cli.conftest import run  # noqa: F401 (a fixture)

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the dependency group clients is not installed")
yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
OBJECTS: dict[str, Any] = {
    f"{path.stem} {one['kind']} {one['metadata']['name']}": one
    for path in sorted(FOLDER.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text())
}
CONTAINERS = {
    container["name"]: (one["spec"]["template"]["spec"], container)
    for one in OBJECTS.values()
    if one["kind"] == "Deployment"
    for container in one["spec"]["template"]["spec"]["containers"]
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_an_object_fits_its_schema(name, version) -> None:
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


@pytest.mark.parametrize("name", ["worker", "frontend"])
def test_options_exist(run, name) -> None:  # noqa: F811
    _, container = CONTAINERS[name]
    command, options = container["args"][:2], [one for one in container["args"] if one.startswith("--")]
    text = run(*command, "--help").stdout
    assert command == ["scale", name]
    for option in options:
        assert re.search(rf"{option.partition('=')[0]}\s", text), option


@pytest.mark.parametrize("name", ["worker", "frontend"])
def test_pods_have_probes_resources_and_time_to_leave(name) -> None:
    pod, container = CONTAINERS[name]
    [port] = container["ports"]
    option = "--status-port" if name == "worker" else "--port"
    assert f"{option}={port['containerPort']}" in container["args"]
    for probe, path in (("startupProbe", "/health"), ("readinessProbe", "/ready"), ("livenessProbe", "/health")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    drain = next((one for one in container["args"] if one.startswith("--drain-timeout=")), "--drain-timeout=6")
    assert pod["terminationGracePeriodSeconds"] > float(drain.partition("=")[2]) + 5


def test_the_autoscaler_reads_gauges_that_workers_have() -> None:
    from starlette.testclient import TestClient

    app = status_app(lambda: Load(1, 2, 8, 4, 0, 0, 0), lambda: True)
    text = TestClient(app).get("/metrics").text
    names = [metric["pods"]["metric"]["name"] for metric in OBJECTS[AUTOSCALER]["spec"]["metrics"]]
    assert names == ["bitnet_requests_running", "bitnet_requests_waiting"]
    for name in [*names, "bitnet_kv_cache_usage_ratio"]:
        assert f"# TYPE {name} gauge" in text


AUTOSCALER = "autoscaler HorizontalPodAutoscaler bitnet-worker"
