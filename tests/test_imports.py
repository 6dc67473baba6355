"""Programs start quickly: what is not needed is not imported."""

import subprocess
import sys

import pytest

HELP = "import bitnet_tt.cli"
GENERATE = """
from bitnet_tt import BitNetModel
with BitNetModel.from_pretrained("demo") as model:
    model.generate("Once", max_new_tokens=1)
"""
COMMAND = """
import sys
from bitnet_tt.cli import app
try:
    app(["generate", "Once", "-n", "1"])
except SystemExit:
    pass
"""
SERVE = """
from bitnet_tt import BitNetModel
from bitnet_tt.server.app import create_app
from bitnet_tt.server.settings import ServerSettings
with BitNetModel.from_pretrained("demo") as model:
    create_app(model, ServerSettings())
"""
CORE = {"numpy", "tokenizers", "asyncio"}
WEB = {"fastapi", "uvicorn", "pydantic", "prometheus_client"}
OTHER_COMMANDS = {"bitnet_tt.cli.bench", "bitnet_tt.cli.scale", "bitnet_tt.server", "asyncio"}
RARE = {"jinja2", "llguidance", "rich", "sentencepiece", "huggingface_hub", "matplotlib", "multiprocessing"}


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (HELP, CORE | WEB | RARE),
        (GENERATE, WEB | RARE | {"asyncio"}),
        (COMMAND, WEB | RARE | OTHER_COMMANDS),
        (SERVE, RARE),
    ],
)
def test_what_is_not_needed_is_not_imported(code: str, unused: set[str]) -> None:
    code = f"{code}\nimport sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert unused & set(result.stdout.split()) == set()
