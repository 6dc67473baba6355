"""llm-comply checks the answers of three APIs against their published schemas."""

import json
import subprocess
import sys

import pytest

from tests.server.conftest import CLIENTS_MISSING, RunningServer

pytest.importorskip("llm_comply", reason=CLIENTS_MISSING)

CLAUDE = ["--auth-header", "x-api-key", "--no-bearer", "--header", "anthropic-version:2023-06-01"]

NO_IMAGES = "the model reads no images"
NO_REASONING = "the model does not reason"
NO_COMPACTION = "the server keeps no conversations, so it has none to compact"


NOT_PASSED = {
    "open-responses": {
        "image-input": NO_IMAGES,
        "reasoning-summary": NO_REASONING,
        "compact-response": NO_COMPACTION,
    },
    "openai-chat": {"chat-image-input": NO_IMAGES, "chat-reasoning-summary": NO_REASONING},
    "anthropic": {
        "anth-image-input": NO_IMAGES,
        "anth-thinking-display": NO_REASONING,
    },
}
"""The checks that fail, warn or skip themselves, and why. All others must pass, and these must not."""


@pytest.mark.parametrize("api", list(NOT_PASSED))
def test_llm_comply(api: str, server: RunningServer, fixed_seed: None) -> None:
    command = [sys.executable, "-m", "llm_comply.cli", "--json", "--format", api, "--base-url", server.url + "/v1"]
    command += ["--model", "demo", "--api-key", "none", *(CLAUDE if api == "anthropic" else [])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout, result.stderr
    checks = json.loads(result.stdout)["results"]
    assert len(checks) >= 9
    odd = {check["id"]: check for check in checks if check["status"] != "passed" or check.get("warnings")}
    assert set(odd) == set(NOT_PASSED[api]), odd
