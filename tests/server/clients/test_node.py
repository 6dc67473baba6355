"""Programs for Node.js: the package openai, and CompatCanary, which probes servers that speak OpenAI's API."""

import json

from tests.server.clients.conftest import RunNode
from tests.server.conftest import RunningServer


def test_openai(run_node: RunNode, server: RunningServer, fixed_seed: None) -> None:
    result = run_node("openai.test.mjs", server.url)
    assert result.returncode == 0, result.stdout + result.stderr


def test_compatcanary(run_node: RunNode, server: RunningServer, fixed_seed: None) -> None:
    command = "node_modules/compatcanary/src/cli.js"
    options = ["--model", "demo", "--profile", "modern", "--format", "json", "--fail-on", "never"]
    result = run_node(command, "scan", "--base-url", server.url + "/v1", *options)
    assert result.returncode == 0, result.stderr
    probes = json.loads(result.stdout)["results"]
    assert len(probes) == 7
    assert [probe for probe in probes if probe["status"] != "pass"] == []
