"""Without PyTorch, the error names the extra that brings it, and the rest of the package works."""

import subprocess
import sys

WITHOUT = """
import sys
sys.modules["torch"] = None
import bitnet_tt
try:
    import bitnet_tt.pytorch
except ImportError as error:
    print(isinstance(error, bitnet_tt.errors.BitNetError), error)
"""


def test_without_pytorch_the_error_names_the_extra() -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("True ")
    assert "uv sync --extra torch" in result.stdout
    assert "pip install 'bitnet-tt[torch]'" in result.stdout
