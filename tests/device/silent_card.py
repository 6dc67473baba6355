"""Run a step on two cards of which the first never sends, and print the errors of the step and of the next one.

python -m tests.device.silent_card SECONDS [tensor_parallel]
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any
from unittest import mock

import numpy as np

from bitnet_tt.backends.base import Batch, LogitFilter
from bitnet_tt.errors import DeviceError


def main(seconds: str, sharing: str = "") -> None:
    os.environ["TT_METAL_OPERATION_TIMEOUT_SECONDS"] = seconds
    from bitnet_tt.backends.tt.backend import TTBackend
    from tests.device.chains import layers_of

    in_columns = sharing == "tensor_parallel"
    model = layers_of("bitnet-packed", 1 if in_columns else 2)
    backend = TTBackend(*model, context_length=64, precision="fast", cards=2, tensor_parallel=in_columns)
    backend.allocate(2, 32)
    batch = Batch(
        token_ids=np.zeros(1, np.int32),
        starts=np.array([0, 1], np.int32),
        positions=np.zeros(1, np.int32),
        block_tables=np.array([[0, 1]], np.int32),
        logit_rows=np.zeros(1, np.int32),
    )
    errors = []
    with _silent_gather() if in_columns else mock.patch("bitnet_tt.backends.tt.model.decoder.send"):
        for _ in range(2):
            try:
                backend.candidates(batch, [LogitFilter(1)])
            except DeviceError as error:
                errors.append(str(error))
    with contextlib.suppress(RuntimeError):  # ttnn says again that a card does not answer
        backend.close()
    print(json.dumps(errors), flush=True)
    os._exit(0)  # a thread still waits for the card in C++, and Python's own end would abort there


def _silent_gather() -> Any:
    """Let the first card of a pair go on without its gathers, so that the second one waits for columns."""
    from bitnet_tt.backends.tt.model import gather
    from bitnet_tt.backends.tt.ops.common.strips import Strips

    gather_strips = gather.gather_strips

    def gather_of_second(pair: Any, own: Strips, columns: range, features: int) -> Strips:
        if pair.out.source.place > 0:
            return gather_strips(pair, own, columns, features)
        tensor = own.tensor
        return Strips.empty(tensor.device(), own.rows, features, tensor.memory_config(), own.lines)

    return mock.patch.object(gather, "gather_strips", gather_of_second)


if __name__ == "__main__":
    main(*sys.argv[1:])
