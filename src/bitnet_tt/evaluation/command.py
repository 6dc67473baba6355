"""`bitnet-tt-lm-eval`: the command line of lm-evaluation-harness, which then knows the model `bitnet-tt`.

The harness finds no models of other packages by itself.
"""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the harness with the arguments of this process."""
    if importlib.util.find_spec("lm_eval") is None:
        sys.exit("bitnet-tt-lm-eval needs lm-evaluation-harness: run `uv sync --extra eval`, or pip install lm-eval")
    # Imported here because they are optional and take seconds to import.
    from lm_eval.__main__ import cli_evaluate

    from bitnet_tt.evaluation import harness  # noqa: F401 (registers the model)

    cli_evaluate()
