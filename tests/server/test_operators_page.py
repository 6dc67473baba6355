"""The page for operators tells the truth: the server has the metrics and options that page and dashboard name."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bitnet_tt.energy import EnergyCounters
from bitnet_tt.server.metrics import Metrics
from tests.server.test_metrics import energy_counter, idle

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "server-operators.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
BY_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds."""


@pytest.fixture(scope="module")
def metrics(server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the labels of each metric of a server that has answered requests, with those of other machines."""
    server.post("/v1/completions", {"prompt": "Once", "max_tokens": 5})
    server.post("/v1/completions", {"prompt": 1})
    folder = tmp_path_factory.mktemp("powercap")
    energy_counter(folder)
    texts = server.get("/metrics").text, Metrics(idle, EnergyCounters(folder)).text().decode()
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    labels: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels.setdefault(sample.name, set()).update(sample.labels)
    return {name: found for name, found in labels.items() if not name.endswith("_created")}


def check(query: str, metrics: dict[str, set[str]], other_labels: tuple[str, ...] = ()) -> None:
    """Check that a server has each metric of a PromQL query, and the metric each label."""
    names = re.findall(r"\bbitnet_\w+", query)
    assert names, query
    labels = {*re.findall(r"(\w+)\s*[=!]~?\s*\"", query), *other_labels}
    for group in re.findall(r"\bby \(([^)]*)\)", query):
        labels |= {label.strip() for label in group.split(",")}
    for name in names:
        assert name in metrics, query
        assert labels <= metrics[name] | BY_PROMETHEUS, query


def dashboard_queries() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each query of the dashboard, with the labels that its legend shows."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"], tuple(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            yield metric, (label,)


def test_the_dashboard_asks_for_what_the_server_has(metrics) -> None:
    for query, labels in dashboard_queries():
        check(query, metrics, labels)


def test_the_dashboard_works_with_any_data_source() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used == variables
    for panel in DASHBOARD["panels"]:
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_panels_do_not_overlap() -> None:
    places = [
        (x, y)
        for grid in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24


def test_alerts_ask_for_what_the_server_has(metrics) -> None:
    queries = re.findall(r"^ +expr: (.*)$", PAGE, re.MULTILINE)
    assert queries
    for query in queries:
        check(query, metrics)


@pytest.mark.parametrize("query", ["rate(bitnet_prompt_tokens[5m])", 'bitnet_http_requests_total{code="429"}'])
def test_a_wrong_query_is_found(query: str, metrics) -> None:
    with pytest.raises(AssertionError):
        check(query, metrics)


def test_the_page_lists_every_metric(metrics) -> None:
    table = PAGE.partition("| metric | meaning |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`(bitnet_\w+)", table)) - {"bitnet_process_"}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metrics}
    assert listed == {name for name in ours if not name.startswith("bitnet_process_")}


def test_the_page_names_options_that_exist(run) -> None:
    known = set(re.findall(r"(--[a-z][a-z-]+)", run("serve", "--help").stdout))
    other_programs = {"--compile-bytecode"}
    assert set(re.findall(r"(--[a-z][a-z-]+)", PAGE)) - other_programs <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)[1]
    program = re.search(r"^ExecStart=(\S+)", unit, re.MULTILINE)[1]
    path = tmp_path / "bitnet-tt.service"
    path.write_text(unit.replace(program, "/bin/true"))
    result = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
